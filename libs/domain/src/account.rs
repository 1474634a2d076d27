//! Service accounts: who they are, how they sign in, and what they may use.

use std::time::Duration;

use time::Date;

use crate::{name::slug_name, outcome::words};

slug_name!(
    /// The name of a service account, unique in its site.
    AccountName
);

words!(
    /// What a service account is for.
    Purpose {
        /// Reads the directory: lists mailboxes, resolves groups.
        Reader = "reader",
        /// Writes permissions: has a pool and a budget.
        Grantor = "grantor",
        /// Is in the delegation group; what the timetable product signs in with. No administrative right.
        Member = "member",
        /// Makes service accounts and delegation groups. It is used while a set-up runs, and for nothing else.
        Setup = "setup",
    }
);

words!(
    /// What an operator wants of an account.
    AccountStand {
        /// It works.
        Working = "working",
        /// Nothing new is started.
        Paused = "paused",
        /// Nothing new is started, and it is watched until nothing is under way any more.
        Draining = "draining",
    }
);

/// Where a secret is found. The secret itself is read by the process that uses it, and travels nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// The name of an environment variable.
    Env(String),
    /// The path of a file; a trailing line break is not part of the secret.
    File(String),
}

/// How an account proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A client secret.
    Secret(SecretRef),
    /// A certificate: an assertion is signed with its private key.
    Certificate {
        /// The RSA private key, PEM (PKCS #8).
        key: SecretRef,
        /// The certificate, PEM; its thumbprint names the key.
        certificate: SecretRef,
    },
}

/// So many calls in any window of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallWindow {
    /// Calls allowed. At least 1.
    pub calls: u32,
    /// Length of the sliding window. More than zero.
    pub length: Duration,
}

/// Exchange's balance of server time: a call in flight costs its own duration, and the balance fills up again steadily.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTime {
    /// The full balance. More than zero.
    pub burst: Duration,
    /// What comes back in an hour. More than zero.
    pub recharge_per_hour: Duration,
    /// The balance that no new call may touch. Less than `burst`.
    pub floor: Duration,
}

/// What an account may use: several limits at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Calls under way at the same moment. At least 1.
    pub in_flight: u32,
    /// Calls per sliding window; none means only `in_flight` bounds.
    pub windows: Vec<CallWindow>,
    /// Server time, where the server counts it.
    pub server_time: Option<ServerTime>,
}

/// What all accounts of a site may use together, where the server counts them together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedLimits {
    /// Calls under way at the same moment, at least 1; `None` for any number.
    pub in_flight: Option<u32>,
    /// Calls per sliding window.
    pub windows: Vec<CallWindow>,
}

/// A service account of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSpec {
    /// Its name.
    pub name: AccountName,
    /// What it is for. Not empty.
    pub purposes: Vec<Purpose>,
    /// Its app registration's client id; empty where it signs in with a name.
    pub client_id: String,
    /// The name it signs in with on premises: `UNI\sa-1`, `sa-1@uni.example`, for the directory also a distinguished name. Empty
    /// where it signs in as an app.
    pub user: String,
    /// How it signs in.
    pub credential: Credential,
    /// Its budget.
    pub limits: Limits,
    /// Concurrency wanted: mailboxes worked on at the same moment. At least 1.
    pub workers: u32,
    /// The day on which its credential expires, as whoever wrote the tenant file says. Of a certificate that is known without.
    pub expires: Option<Date>,
}

impl AccountSpec {
    /// Whether it has this purpose.
    pub fn is(&self, purpose: Purpose) -> bool {
        self.purposes.contains(&purpose)
    }

    /// Whether the server takes it and the other for one and the same.
    pub fn signs_in_as(&self, other: &Self) -> bool {
        self.client_id.eq_ignore_ascii_case(&other.client_id)
            && self.user.to_lowercase() == other.user.to_lowercase()
    }
}

/// An account for tests: one that grants, on premises.
#[cfg(test)]
pub(crate) fn sample() -> AccountSpec {
    AccountSpec {
        name: "sa-1".parse().unwrap(),
        purposes: vec![Purpose::Grantor],
        client_id: String::new(),
        user: "UNI\\sa-1".to_owned(),
        credential: Credential::Secret(SecretRef::Env("SECRET".to_owned())),
        limits: Limits {
            in_flight: 4,
            windows: Vec::new(),
            server_time: None,
        },
        workers: 1,
        expires: None,
    }
}

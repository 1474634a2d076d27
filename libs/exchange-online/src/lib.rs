//! The adapter for Exchange Online: the ports of `calgrant-exchange` over Microsoft Graph, Admin API
//! v2.0 and InvokeCommand.
//!
//! * [`OnlineCalendars`]: finds calendar folders and reads and changes their permission lists.
//! * [`OnlineDirectory`]: lists mailboxes, looks names up, checks trustees.
//! * [`OnlineAdministration`]: users, licences and groups, for set-up.
//! * [`device`]: a person signs in for one run.
//!
//! They sign in for themselves, send one request for one call (or one batch for several), and class
//! what came back in one place, `classify` (for set-up further, in `administration/refusal.rs`). None repeats a call.
//! The process installs rustls' ring provider before it makes any.

mod administration;
mod assertion;
mod batch;
mod body;
mod calendars;
mod classify;
mod command;
pub mod connect;
pub mod device;
mod directory;
mod dn;
mod fault;
mod first_byte;
mod graph;
mod http;
mod link;
mod lookup;
mod pages;
mod tally;
mod token;
mod token_cache;
mod wire;

use std::fmt;

use reqwest::Url;
use secrecy::SecretString;

pub use administration::{OnlineAdministration, applications::Consented};
pub use calendars::OnlineCalendars;
pub use directory::OnlineDirectory;

/// The clock, handed in.
pub type Now = fn() -> time::OffsetDateTime;

/// Where an organisation's interfaces are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Base URL of the token endpoint, such as `https://login.microsoftonline.com`.
    pub login_url: String,
    /// Base URL of Microsoft Graph, such as `https://graph.microsoft.com`.
    pub graph_url: String,
    /// Base URL of the administrative interfaces, such as `https://outlook.office365.com`.
    pub admin_url: String,
    /// The directory's (Entra tenant's) GUID.
    pub directory_id: String,
}

/// How an account proves who it is.
#[derive(Clone)]
pub enum Secret {
    /// A client secret.
    Client(SecretString),
    /// A certificate and its private key.
    Certificate {
        /// The RSA private key, PEM (PKCS #8 or PKCS #1).
        key_pem: SecretString,
        /// The certificate, PEM.
        certificate_pem: String,
    },
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client(_) => "Client([redacted])",
            Self::Certificate { .. } => "Certificate([redacted])",
        })
    }
}

/// An app registration.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its client id.
    pub client_id: String,
    /// Its credential.
    pub secret: Secret,
}

/// Why an adapter can't be made: a setting is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// A URL isn't one.
    #[error(
        "{field}: {value:?} is not a base URL: {why}; write it as https://outlook.office365.com"
    )]
    Url {
        /// Which setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The directory's id can't be part of a URL.
    #[error("directory_id: {0:?} is not the GUID or the domain of a directory")]
    DirectoryId(String),
    /// The certificate or its key can't be read.
    #[error("certificate: {0}")]
    Certificate(String),
    /// No HTTP client could be made.
    #[error("HTTP client: {0}")]
    Client(String),
}

impl Endpoints {
    /// Checks every value and takes trailing slashes off.
    fn checked(self) -> Result<Self, ConnectError> {
        let base = |field: &'static str, value: String| {
            let bad = |why: &str| ConnectError::Url {
                field,
                value: value.clone(),
                why: why.to_owned(),
            };
            let url = Url::parse(&value).map_err(|e| bad(&e.to_string()))?;
            if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
                return Err(bad("it doesn't begin with https:// and a host"));
            }
            if url.query().is_some() || url.fragment().is_some() {
                return Err(bad("it has a query or a fragment"));
            }
            Ok(value.trim_end_matches('/').to_owned())
        };
        let id = self.directory_id.trim();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if id.is_empty() || !id.chars().all(fits) {
            return Err(ConnectError::DirectoryId(self.directory_id));
        }
        Ok(Self {
            directory_id: id.to_owned(),
            login_url: base("login_url", self.login_url)?,
            graph_url: base("graph_url", self.graph_url)?,
            admin_url: base("admin_url", self.admin_url)?,
        })
    }

    /// One of the directory's sign-in endpoints: `token`, or `devicecode`.
    fn sign_in_url(&self, endpoint: &str) -> String {
        let Self {
            login_url,
            directory_id,
            ..
        } = self;
        format!("{login_url}/{directory_id}/oauth2/v2.0/{endpoint}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints() -> Endpoints {
        Endpoints {
            login_url: "https://login.example/".into(),
            graph_url: "https://graph.example".into(),
            admin_url: "http://127.0.0.1:8443".into(),
            directory_id: "6f1c".into(),
        }
    }

    #[test]
    fn settings_are_checked() {
        assert_eq!(
            endpoints().checked().unwrap().login_url,
            "https://login.example"
        );
        for bad in ["", "graph", "ftp://x", "https://x/?a=b"] {
            let endpoints = Endpoints {
                graph_url: bad.into(),
                ..endpoints()
            };
            assert!(
                matches!(
                    endpoints.checked(),
                    Err(ConnectError::Url {
                        field: "graph_url",
                        ..
                    })
                ),
                "{bad}"
            );
        }
        let endpoints = Endpoints {
            directory_id: "a/b".into(),
            ..endpoints()
        };
        assert!(endpoints.checked().is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let account = Account {
            client_id: "c".into(),
            secret: Secret::Client("hush".into()),
        };
        assert!(!format!("{account:?}").contains("hush"));
    }
}

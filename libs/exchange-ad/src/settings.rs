//! How a directory is reached, checked whole before anything connects.

use std::{fmt, sync::Arc, time::Duration};

use calgrant_domain::DisabledAccounts;
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};

use crate::{dn::Dn, tls};

/// How members of nested groups are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nesting {
    /// By the server, which follows the links itself; where that is too much for it, by walking.
    #[default]
    InChain,
    /// By reading group after group.
    Walk,
}

/// A domain controller and the account that reads there.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `ldaps://dc1.uni.example`, or `ldap://dc1.uni.example`, which begins with `StartTLS`: a password is never sent
    /// over an unprotected connection. Port 636 or 389 unless it names another; 3269 and 3268 ask a global catalogue.
    pub url: String,
    /// Certificates of the authorities that are trusted, PEM; `None`: those of the system.
    pub ca_pem: Option<String>,
    /// The account's name: `reader@uni.example`, `UNI\reader` or its distinguished name. Any account may read.
    pub bind_name: String,
    /// Its password.
    pub password: SecretString,
    /// The part of the directory that is looked at; `None`: the controller's own domain.
    pub base: Option<String>,
    /// What becomes of disabled accounts.
    pub disabled: DisabledAccounts,
    /// How members of nested groups are found.
    pub nesting: Nesting,
    /// The longest wait for one answer. More than zero; Active Directory itself gives up after 120 s.
    pub answer_limit: Duration,
}

/// A setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The address isn't one.
    #[error(
        "url: {0:?} is not the address of a domain controller; write it as ldaps://dc1.uni.example"
    )]
    Url(String),
    /// The authorities can't be read.
    #[error("ca: the certificates of the trusted authorities can't be read: {0}; give them as PEM")]
    Authority(String),
    /// No name or no password: a server would take that for a stranger and let him in.
    #[error("{0} is empty: the account needs a name and a password")]
    Empty(&'static str),
    /// The base isn't a distinguished name.
    #[error("base: {0:?} is not a distinguished name; write it as DC=uni,DC=example")]
    Base(String),
    /// No time to answer.
    #[error("answer_limit: it must be more than zero")]
    NoTime,
}

/// Settings that are right.
pub(crate) struct Checked {
    pub(crate) url: String,
    pub(crate) host: String,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) bind_name: String,
    pub(crate) password: SecretString,
    pub(crate) base: Option<String>,
    pub(crate) disabled: DisabledAccounts,
    pub(crate) nesting: Nesting,
    pub(crate) limit: Duration,
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Checks every value.
    pub(crate) fn checked(self) -> Result<Checked, SettingsError> {
        let url = self.url.trim().trim_end_matches('/').to_owned();
        let place = url
            .strip_prefix("ldaps://")
            .or_else(|| url.strip_prefix("ldap://"));
        let host = place
            .and_then(host)
            .ok_or_else(|| SettingsError::Url(self.url.clone()))?
            .to_owned();
        if self.bind_name.trim().is_empty() {
            return Err(SettingsError::Empty("bind_name"));
        }
        if self.password.expose_secret().is_empty() {
            return Err(SettingsError::Empty("password"));
        }
        if let Some(base) = &self.base
            && Dn::parse(base).is_none()
        {
            return Err(SettingsError::Base(base.clone()));
        }
        if self.answer_limit.is_zero() {
            return Err(SettingsError::NoTime);
        }
        Ok(Checked {
            host,
            tls: tls::config(self.ca_pem.as_deref())?,
            url,
            bind_name: self.bind_name,
            password: self.password,
            base: self.base,
            disabled: self.disabled,
            nesting: self.nesting,
            limit: self.answer_limit,
        })
    }
}

/// The host of `host`, `host:port` or `[address]:port`.
fn host(place: &str) -> Option<&str> {
    let (host, rest) = match place.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse::<u16>().ok()? > 0,
        None => rest.is_empty(),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_');
    (port && !host.is_empty() && host.chars().all(fits)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Settings {
        Settings {
            url: url.into(),
            ca_pem: None,
            bind_name: "reader@uni.example".into(),
            password: "hush".into(),
            base: None,
            disabled: DisabledAccounts::Refuse,
            nesting: Nesting::InChain,
            answer_limit: Duration::from_secs(60),
        }
    }

    #[test]
    fn addresses_of_controllers() {
        for (url, want) in [
            ("ldaps://dc1.uni.example", Some("dc1.uni.example")),
            ("ldap://dc1.uni.example:3268/", Some("dc1.uni.example")),
            ("ldaps://127.0.0.1:1636", Some("127.0.0.1")),
            ("ldaps://[::1]:636", Some("::1")),
            ("dc1.uni.example", None),
            ("https://dc1.uni.example", None),
            ("ldaps://", None),
            ("ldaps://dc1:0", None),
            ("ldaps://dc1:x", None),
            ("ldaps://dc1/DC=uni", None),
            ("ldaps://reader@dc1", None),
            ("ldapi:///x", None),
        ] {
            let checked = settings(url).checked();
            assert_eq!(checked.ok().map(|it| it.host).as_deref(), want, "{url}");
        }
    }

    #[test]
    fn each_fault_is_named() {
        let good = settings("ldaps://dc1");
        assert!(good.clone().checked().is_ok());
        let faults = [
            (
                Settings {
                    bind_name: " ".into(),
                    ..good.clone()
                },
                SettingsError::Empty("bind_name"),
            ),
            (
                Settings {
                    password: "".into(),
                    ..good.clone()
                },
                SettingsError::Empty("password"),
            ),
            (
                Settings {
                    base: Some("uni".into()),
                    ..good.clone()
                },
                SettingsError::Base("uni".into()),
            ),
            (
                Settings {
                    answer_limit: Duration::ZERO,
                    ..good.clone()
                },
                SettingsError::NoTime,
            ),
        ];
        for (settings, want) in faults {
            assert_eq!(settings.checked().unwrap_err(), want);
        }
        assert!(!format!("{good:?}").contains("hush"));
    }
}

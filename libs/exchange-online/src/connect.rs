//! From a site and an account as they are registered to a connected adapter: secrets are read here, where they
//! are used, and travel nowhere.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use calgrant_domain::{AccountSpec, Credential, SecretRef, SiteSpec};
use calgrant_exchange::{Calendars, Directory};

use crate::{Account, Endpoints, Now, OnlineCalendars, OnlineDirectory, Secret};

/// A grantor account's calendars.
///
/// # Errors
/// A secret can't be read, or a setting is wrong: says which and what to do.
pub fn calendars(
    site: &SiteSpec,
    account: &AccountSpec,
    now: Now,
) -> Result<Arc<dyn Calendars>, String> {
    let connected = OnlineCalendars::new(
        endpoints(site),
        registration(account)?,
        site.write_path,
        now,
    );
    connected
        .map(|calendars| Arc::new(calendars) as Arc<dyn Calendars>)
        .map_err(|cause| cause.to_string())
}

/// A reader account's directory.
///
/// # Errors
/// As [`calendars`].
pub fn directory(
    site: &SiteSpec,
    account: &AccountSpec,
    now: Now,
) -> Result<Arc<dyn Directory>, String> {
    let connected = OnlineDirectory::new(endpoints(site), registration(account)?, now);
    connected
        .map(|directory| Arc::new(directory) as Arc<dyn Directory>)
        .map_err(|cause| cause.to_string())
}

/// Changes when what a credential refers to changes; `None` while that can't be read. Only for comparing within one process.
pub fn fingerprint(credential: &Credential) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    let refs = match credential {
        Credential::Secret(secret) => vec![secret],
        Credential::Certificate { key, certificate } => vec![key, certificate],
    };
    for secret in refs {
        read(secret).ok()?.hash(&mut hasher);
    }
    Some(hasher.finish())
}

fn endpoints(site: &SiteSpec) -> Endpoints {
    Endpoints {
        login_url: site.login_url.clone(),
        graph_url: site.graph_url.clone(),
        admin_url: site.admin_url.clone(),
        directory_id: site.directory_id.clone(),
    }
}

fn registration(account: &AccountSpec) -> Result<Account, String> {
    let secret = match &account.credential {
        Credential::Secret(secret) => Secret::Client(read(secret)?.into()),
        Credential::Certificate { key, certificate } => Secret::Certificate {
            key_pem: read(key)?.into(),
            certificate_pem: read(certificate)?,
        },
    };
    Ok(Account {
        client_id: account.client_id.clone(),
        secret,
    })
}

fn read(secret: &SecretRef) -> Result<String, String> {
    let text = match secret {
        SecretRef::Env(name) => std::env::var(name).map_err(|_| format!("the environment variable {name} is not set in this process; set it, or refer to a file"))?,
        SecretRef::File(path) => std::fs::read_to_string(path).map_err(|cause| format!("the secret's file {path} can't be read: {cause}"))?,
    };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        Err("the secret is empty".into())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_changes_the_fingerprint_and_a_missing_one_is_named() {
        let path = std::env::temp_dir().join(format!("calgrant-secret-{}", std::process::id()));
        let credential = Credential::Secret(SecretRef::File(path.display().to_string()));
        assert_eq!(fingerprint(&credential), None);
        std::fs::write(&path, "one\n").unwrap();
        let one = fingerprint(&credential);
        std::fs::write(&path, "two\n").unwrap();
        let two = fingerprint(&credential);
        std::fs::remove_file(&path).unwrap();
        assert!(one.is_some() && two.is_some() && one != two);
        assert!(
            read(&SecretRef::File(path.display().to_string()))
                .unwrap_err()
                .contains("calgrant-secret")
        );
    }
}

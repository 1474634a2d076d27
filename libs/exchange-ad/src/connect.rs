//! From a site and an account as they are registered to a connected adapter: secrets are read here, where they
//! are used, and travel nowhere.

use std::{sync::Arc, time::Duration};

use calgrant_domain::{AccountSpec, Credential, OnpremSite};
use calgrant_exchange::{Directory, secret};

use crate::{ActiveDirectory, Nesting, Now, Settings, SettingsError};

/// The longest wait for one answer: somewhat longer than a domain controller works on it.
const ANSWER: Duration = Duration::from_secs(125);

/// A reader account's directory.
///
/// # Errors
/// A secret or a certificate can't be read, or a setting is wrong: says which and what to do.
pub fn directory(
    site: &OnpremSite,
    account: &AccountSpec,
    now: Now,
) -> Result<Arc<dyn Directory>, String> {
    let password = match &account.credential {
        Credential::Secret(at) => secret::read(at)?,
        Credential::Certificate { .. } => {
            return Err("a domain controller takes no certificate from us; give a secret".into());
        }
    };
    let settings = Settings {
        url: site.ldap_url.clone(),
        ca_pem: secret::authorities(site.ca_file.as_deref())?,
        bind_name: account.user.clone(),
        password: password.into(),
        base: site.ldap_base.clone(),
        disabled: site.disabled_accounts,
        nesting: Nesting::InChain,
        answer_limit: ANSWER,
    };
    let connected = ActiveDirectory::new(settings, now);
    connected
        .map(|directory| Arc::new(directory) as Arc<dyn Directory>)
        .map_err(|cause| match cause {
            // With the settings as the site's file calls them.
            SettingsError::Url(_) | SettingsError::Base(_) => format!("ldap_{cause}"),
            SettingsError::Authority(_) => format!("ca_file: {cause}"),
            SettingsError::Empty(_) | SettingsError::NoTime => cause.to_string(),
        })
}

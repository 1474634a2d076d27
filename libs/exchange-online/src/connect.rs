//! From a site and an account as they are registered to a connected adapter: secrets are read here, where they
//! are used, and travel nowhere.

use std::sync::Arc;

use calgrant_domain::{AccountSpec, Credential, OnlineSite};
use calgrant_exchange::{Administration, Calendars, Directory, secret::read};
use secrecy::SecretString;

use crate::{
    Account, Endpoints, Now, OnlineAdministration, OnlineCalendars, OnlineDirectory, Secret,
    device::Device,
};

/// A grantor account's calendars.
///
/// # Errors
/// A secret can't be read, or a setting is wrong: says which and what to do.
pub fn calendars(
    site: &OnlineSite,
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
    site: &OnlineSite,
    account: &AccountSpec,
    now: Now,
) -> Result<Arc<dyn Directory>, String> {
    let connected = OnlineDirectory::new(endpoints(site), registration(account)?, now);
    connected
        .map(|directory| Arc::new(directory) as Arc<dyn Directory>)
        .map_err(|cause| cause.to_string())
}

/// A set-up credential's hand in the organisation.
///
/// # Errors
/// As [`calendars`].
pub fn administration(
    site: &OnlineSite,
    account: &AccountSpec,
    now: Now,
) -> Result<Arc<dyn Administration>, String> {
    let connected = applications(site, account, now)?;
    Ok(Arc::new(connected))
}

/// The same, to look at applications.
///
/// # Errors
/// As [`calendars`].
pub fn applications(
    site: &OnlineSite,
    account: &AccountSpec,
    now: Now,
) -> Result<OnlineAdministration, String> {
    OnlineAdministration::new(endpoints(site), registration(account)?, now)
        .map_err(|cause| cause.to_string())
}

/// The same for a credential that is given for one run: a token for each of the two resources. When one of them ends, so does what
/// can be done.
///
/// # Errors
/// A setting is wrong: says which and what to do.
pub fn administration_with_tokens(
    site: &OnlineSite,
    graph_token: SecretString,
    exchange_token: SecretString,
    now: Now,
) -> Result<Arc<dyn Administration>, String> {
    let connected = applications_with_tokens(site, graph_token, exchange_token, now)?;
    Ok(Arc::new(connected))
}

/// The same, to look at applications.
///
/// # Errors
/// As [`administration_with_tokens`].
pub fn applications_with_tokens(
    site: &OnlineSite,
    graph_token: SecretString,
    exchange_token: SecretString,
    now: Now,
) -> Result<OnlineAdministration, String> {
    OnlineAdministration::with_tokens(endpoints(site), graph_token, exchange_token, now)
        .map_err(|cause| cause.to_string())
}

/// Where a person signs in for one run, to this app.
///
/// # Errors
/// A setting is wrong: says which and what to do.
pub fn device(site: &OnlineSite, client_id: &str, now: Now) -> Result<Device, String> {
    Device::new(endpoints(site), client_id, now).map_err(|cause| cause.to_string())
}

fn endpoints(site: &OnlineSite) -> Endpoints {
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

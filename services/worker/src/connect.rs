//! From a site and an account to what reads and changes calendars there.

use std::sync::Arc;

use calgrant_domain::{AccountSpec, Organisation, SiteSpec};
use calgrant_exchange::Calendars;
use calgrant_exchange_online::connect as online;
use calgrant_exchange_onprem::connect as onprem;
use calgrant_runtime::clock;

/// A grantor account's calendars, by the site's write path.
///
/// # Errors
/// A secret can't be read, or a setting is wrong: says which and what to do.
pub(crate) fn calendars(
    site: &SiteSpec,
    account: &AccountSpec,
) -> Result<Arc<dyn Calendars>, String> {
    match &site.organisation {
        Organisation::Online(site) => online::calendars(site, account, clock::now),
        Organisation::Onprem(site) => onprem::calendars(site, account, clock::now),
    }
}

//! What each budget key is limited to: from the tenants' files, and what operators want.

use std::collections::HashMap;

use calgrant_budget::{KeyLimits, KeyName, Operator, Stand};
use calgrant_domain::{AccountSpec, AccountStand, Purpose, TenantSpec};
use calgrant_leases::keys;
use calgrant_store::Stopped;

/// The share of an account's budget that is left to the calendar product, where a grantor is also a member: in percent.
const RESERVE_PERCENT: u8 = 50;

/// A key's limits, and whether it may be used at all.
pub(crate) type Limits = HashMap<KeyName, (KeyLimits, Operator)>;

/// The limits of every key of these tenants.
pub(crate) fn of(tenants: &[TenantSpec], stopped: &[Stopped]) -> Limits {
    let mut limits = Limits::new();
    for tenant in tenants {
        for site in &tenant.sites {
            let shared = (KeyLimits::from(&site.shared), Operator::default());
            limits.insert(keys::of_site(&tenant.name, site, keys::EXCHANGE), shared);
            for family in [keys::EXCHANGE, keys::directory(site.kind())] {
                for account in &site.accounts {
                    let stand = stopped
                        .iter()
                        .find(|stopped| {
                            stopped.tenant == tenant.name
                                && stopped.site == site.kind()
                                && stopped.account == account.name
                        })
                        .map_or(AccountStand::Working, |stopped| stopped.stand);
                    let mut keys =
                        keys::of_account(&tenant.name, site, account, family).into_iter();
                    if let Some(own) = keys.next() {
                        limits.insert(own, of_account(account, stand, family));
                    }
                    // What the server counts together and nobody told us is learned.
                    for shared in keys {
                        limits.entry(shared).or_default();
                    }
                }
            }
        }
    }
    limits
}

fn of_account(account: &AccountSpec, stand: AccountStand, family: &str) -> (KeyLimits, Operator) {
    let of_file = KeyLimits::from(&account.limits);
    let also_member = account.is(Purpose::Grantor) && account.is(Purpose::Member);
    let on_directory = family == keys::LDAP;
    let limits = KeyLimits {
        // Exchange's balance; a domain controller counts none.
        server_time: of_file.server_time.filter(|_| !on_directory),
        reserve_percent: if also_member { RESERVE_PERCENT } else { 0 },
        latency_led: true,
        ..of_file
    };
    let operator = Operator {
        stand: match stand {
            AccountStand::Working => Stand::Working,
            AccountStand::Paused => Stand::Paused,
            AccountStand::Draining => Stand::Draining,
        },
        workers: (family == keys::EXCHANGE).then_some(account.workers),
    };
    (limits, operator)
}

//! Sites whose accounts can all do nothing: operations there wait for a person, and say so.

use std::collections::BTreeSet;

use calgrant_domain::{AccountStand, Purpose, TenantSpec};
use calgrant_store::{HeldUp, Pause, Stopped, Store, StoreError};
use time::OffsetDateTime;

use super::scene::{Standing, standing};

/// Of a server's words, as much as a sentence bears.
const WORDS: usize = 200;

/// Says of running operations what they wait for, or that they don't any more.
pub(crate) async fn tell(store: &Store, now: OffsetDateTime) -> Result<u64, StoreError> {
    let (stopped, refused) = (store.stopped().await?, store.pauses().await?);
    let names: BTreeSet<_> = stopped
        .iter()
        .map(|stopped| &stopped.tenant)
        .chain(refused.iter().map(|pause| &pause.tenant))
        .collect();
    let mut tenants = Vec::with_capacity(names.len());
    for name in names {
        tenants.extend(store.tenant(name).await?.map(|stored| stored.spec));
    }
    store
        .hold_up(&sites(&tenants, &stopped, &refused), now)
        .await
}

/// The sites of which every grantor is stopped or refused.
fn sites(tenants: &[TenantSpec], stopped: &[Stopped], refused: &[Pause]) -> Vec<HeldUp> {
    let mut held = Vec::new();
    for tenant in tenants {
        for site in &tenant.sites {
            let grantors = site
                .accounts
                .iter()
                .filter(|account| account.is(Purpose::Grantor));
            let all: Vec<_> = grantors
                .map(|account| {
                    let standing =
                        standing(stopped, refused, &tenant.name, site.kind(), &account.name);
                    (account.name.as_str(), standing)
                })
                .collect();
            let words: Option<Vec<_>> = all
                .iter()
                .map(|(name, standing)| said(name, *standing))
                .collect();
            if let Some(words) = words.filter(|words| !words.is_empty()) {
                held.push(HeldUp {
                    tenant: tenant.name.clone(),
                    site: site.kind(),
                    text: format!(
                        "an account of {}: {}. Let one work again: calgrant accounts resume {} --tenant {} --site {}",
                        site.kind(),
                        words.join("; "),
                        all[0].0,
                        tenant.name,
                        site.kind()
                    ),
                });
            }
        }
    }
    held
}

/// Why an account isn't used; `None` if it is.
pub(crate) fn said(name: &str, standing: Standing<'_>) -> Option<String> {
    match standing {
        Standing::Working => None,
        Standing::Refused(pause) => {
            let words: String = pause.reason.chars().take(WORDS).collect();
            Some(format!(
                "{name} is refused: {}",
                words.trim_end_matches('.')
            ))
        }
        Standing::Stopped(stopped) => {
            let what = match stopped.stand {
                AccountStand::Draining => "drained",
                AccountStand::Paused | AccountStand::Working => "paused",
            };
            let why = if stopped.reason.is_empty() {
                String::new()
            } else {
                format!(" ({})", stopped.reason)
            };
            Some(format!("{name} is {what} by {}{why}", stopped.changed_by))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calgrant_testkit::sample;

    fn stopped(account: &str, stand: AccountStand) -> Stopped {
        Stopped {
            tenant: "uni".parse().unwrap(),
            site: calgrant_domain::SiteKind::Online,
            account: account.parse().unwrap(),
            stand,
            reason: "exams".to_owned(),
            changed_by: "cli:ann".to_owned(),
            changed_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn refused(account: &str) -> Pause {
        Pause {
            tenant: "uni".parse().unwrap(),
            site: calgrant_domain::SiteKind::Online,
            account: account.parse().unwrap(),
            reason: "the secret is wrong.".to_owned(),
            paused_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_site_is_held_up_when_none_of_its_accounts_is_used() {
        let mut tenant = sample::tenant("uni");
        let mut second = tenant.sites[0].accounts[0].clone();
        second.name = "sa-2".parse().unwrap();
        tenant.sites[0].accounts.push(second);
        let tenants = [tenant];
        let one = [stopped("sa-1", AccountStand::Paused)];
        assert!(sites(&tenants, &[], &[]).is_empty());
        assert!(sites(&tenants, &one, &[]).is_empty());
        assert!(sites(&tenants, &one, &[refused("sa-1")]).is_empty());
        let held = sites(&tenants, &one, &[refused("sa-2")]);
        assert_eq!(held.len(), 1);
        assert_eq!(
            held[0].text,
            "an account of online: sa-1 is paused by cli:ann (exams); sa-2 is refused: the secret is wrong. \
             Let one work again: calgrant accounts resume sa-1 --tenant uni --site online"
        );
        let drained = ["sa-1", "sa-2"].map(|account| stopped(account, AccountStand::Draining));
        let held = sites(&tenants, &drained, &[]);
        assert!(held[0].text.contains("sa-2 is drained"), "{held:?}");
        let both = [refused("sa-1"), refused("sa-2")];
        assert_eq!(sites(&tenants, &[], &both).len(), 1);
    }
}

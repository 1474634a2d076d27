//! Why a site isn't going faster, in one sentence.

use std::time::Duration;

use calgrant_budget::{Terms, message::Why};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    capacity::feedable,
    held_up::said,
    key_view::KeyView,
    site_view::{AccountView, SiteView},
};

/// Why, as a word and as a sentence.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pace {
    pub(crate) why: &'static str,
    pub(crate) text: String,
    pub(crate) ready: u64,
    pub(crate) rate: f64,
    pub(crate) feedable: u32,
}

/// Looks at what there is to do, then at who could do it, then at what binds them: wide keys before narrow ones.
pub(crate) fn explain(site: &SiteView<'_>, terms: &Terms, now: Duration) -> Pace {
    let (why, mut text) = main(site);
    let listing = site.backlog.map_or(0, |backlog| backlog.listing);
    if listing > 0 && !matches!(why, "listing" | "idle") {
        text.push_str("; mailboxes are still being listed");
    }
    if why != "stopped" {
        for account in &site.accounts {
            if let Some(said) = said(account.spec.name.as_str(), account.standing) {
                text.push_str("; ");
                text.push_str(&said);
            }
        }
    }
    Pace {
        why,
        text: format!("{}/{}: {text}.", site.tenant, site.kind),
        ready: site.ready(),
        rate: site.accounts.iter().map(|account| account.key.rate).sum(),
        feedable: feedable(site, terms, now),
    }
}

fn main(site: &SiteView<'_>) -> (&'static str, String) {
    let Some(backlog) = site.backlog else {
        return ("idle", "nothing is to be done".to_owned());
    };
    if site.accounts.is_empty() {
        let text = "no account of it is a grantor: add one to the tenant's file and apply it";
        return ("stopped", text.to_owned());
    }
    if site.working().next().is_none() {
        let words = site
            .accounts
            .iter()
            .filter_map(|account| said(account.spec.name.as_str(), account.standing));
        let words: Vec<_> = words.collect();
        let text = format!(
            "no account is used: {}; let one work again with calgrant accounts resume",
            words.join("; ")
        );
        return ("stopped", text);
    }
    if backlog.ready == 0 {
        return if backlog.listing > 0 {
            let text = "its mailboxes are being listed, and all that are listed are done";
            ("listing", text.to_owned())
        } else {
            let text = "all that is left waits for a later time: to be tried again, or for mailboxes that aren't ready";
            ("idle", text.to_owned())
        };
    }
    let jobs = backlog.ready;
    if site.working().all(|account| account.no_worker) {
        let text = format!(
            "{jobs} jobs wait and no worker can serve them: start calgrant worker, and see that --only doesn't leave {} out",
            site.tenant
        );
        return ("no_worker", text);
    }
    let wide = site.working().filter_map(|account| account.app);
    for key in site.key.into_iter().chain(wide) {
        if !matches!(key.why, Why::Enough) {
            let text = format!(
                "{jobs} jobs wait; all accounts that share {} are held by it: {}",
                key.name,
                bound(key)
            );
            return (word(&key.why), text);
        }
    }
    narrow(site, jobs)
}

/// What binds the accounts one by one.
fn narrow(site: &SiteView<'_>, jobs: u64) -> (&'static str, String) {
    let working: Vec<_> = site.working().collect();
    let free: Vec<_> = working
        .iter()
        .filter(|account| matches!(account.key.why, Why::Enough) && !account.no_worker)
        .collect();
    if free.len() == working.len() {
        let text = format!(
            "{jobs} jobs wait, and no budget binds: calls start as fast as answers come; more workers per account would help, with calgrant accounts scale"
        );
        return ("enough", text);
    }
    let mut words: Vec<_> = working.iter().map(|account| of_account(account)).collect();
    words.dedup();
    // What holds most of them, and of those the first.
    let counts = working.iter().map(|account| {
        let why = word_of(account);
        let same = working.iter().filter(|other| word_of(other) == why).count();
        (same, why)
    });
    let held = counts.filter(|(_, why)| *why != "enough");
    let why = held
        .fold(
            (0, "enough"),
            |best, next| {
                if next.0 > best.0 { next } else { best }
            },
        )
        .1;
    (why, format!("{jobs} jobs wait; {}", words.join(", ")))
}

fn word_of(account: &AccountView<'_>) -> &'static str {
    if account.no_worker {
        "no_worker"
    } else {
        word(&account.key.why)
    }
}

fn of_account(account: &AccountView<'_>) -> String {
    let name = &account.spec.name;
    if account.no_worker {
        return format!("no worker can serve {name}");
    }
    format!("{name} {}", bound(account.key))
}

/// The word for it.
pub(crate) fn word(why: &Why) -> &'static str {
    match why {
        Why::Enough => "enough",
        Why::InFlight => "in_flight",
        Why::Window(_) => "window",
        Why::ServerTime => "server_time",
        Why::Workers => "workers",
        Why::Learned => "learned",
        Why::Blocked { .. } => "blocked",
        Why::Paused | Why::Draining => "stopped",
        Why::Silent => "silent",
        Why::Quarantine => "quarantine",
    }
}

/// How a key is bound, after its name.
fn bound(key: &KeyView) -> String {
    let most = key.most.map_or_else(String::new, |most| most.to_string());
    match &key.why {
        Why::Enough => "has all it asks for".to_owned(),
        Why::InFlight => format!(
            "has all of its {most} calls under way (calgrant accounts budget set --in-flight)"
        ),
        Why::Workers => format!("is set to {most} workers (calgrant accounts scale)"),
        Why::Window(length) => {
            let window = key.windows.iter().find(|window| window.length == *length);
            let calls = window.map_or(0, |window| window.calls);
            format!(
                "has used up its {calls} calls in {} s (calgrant accounts budget set --window)",
                length.as_secs_f64()
            )
        }
        Why::ServerTime => "has used up its server time, which comes back by and by".to_owned(),
        Why::Learned => {
            let window = key.windows.iter().find(|window| window.learned);
            let learned = match (key.learned, window) {
                (Some(most), _) => format!("{most} calls at once"),
                (None, Some(window)) => {
                    format!(
                        "{} calls in {} s",
                        window.calls,
                        window.length.as_secs_f64()
                    )
                }
                (None, None) => "what it does".to_owned(),
            };
            format!("was found to be allowed no more than {learned}, less than configured")
        }
        Why::Blocked { cause } => {
            let until = key.blocked.as_ref().map(|(until, _)| *until);
            let until = until
                .and_then(|until| {
                    (OffsetDateTime::UNIX_EPOCH + until)
                        .replace_nanosecond(0)
                        .ok()
                })
                .and_then(|until| until.format(&Rfc3339).ok())
                .unwrap_or_default();
            format!("must wait until {until}, says the server: {cause}")
        }
        Why::Paused => "is paused".to_owned(),
        Why::Draining => "is drained".to_owned(),
        Why::Silent => {
            "waits until the calls of a worker that fell silent are surely over".to_owned()
        }
        Why::Quarantine => "waits a few seconds, because the database's clock was set".to_owned(),
    }
}

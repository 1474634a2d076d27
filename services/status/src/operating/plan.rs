//! Asked ahead: how long so many mailboxes take, and how many accounts would be enough.

use std::time::Duration;

use calgrant_budget::{
    KeyName, Moment, Scope, Terms,
    estimate::{Accounts, Node, Work, accounts_for, estimate},
};

use super::{
    capacity::{UNMEASURED, tree},
    site_view::SiteView,
};

/// Calls for a mailbox of which nothing is known: find the calendar, read, write, read back.
pub(crate) const CALLS_PER_MAILBOX: u64 = 4;

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) calls: u64,
    /// `None` if no account is used, or if it would take over a year.
    pub(crate) takes: Option<Duration>,
    pub(crate) bound_by: Option<KeyName>,
    pub(crate) accounts: u32,
    /// If it was asked by when.
    pub(crate) needed: Option<Accounts>,
    pub(crate) call_takes: Duration,
    pub(crate) measured: bool,
}

/// Plans `mailboxes` on the accounts of `site`, and asks how many it needs to be done within `by`.
pub(crate) fn plan(
    site: &SiteView<'_>,
    mailboxes: u64,
    by: Option<Duration>,
    terms: &Terms,
    now: Moment,
) -> Plan {
    let calls = mailboxes.saturating_mul(CALLS_PER_MAILBOX);
    let measured = site.call_takes();
    let work = Work {
        calls,
        call_takes: measured.unwrap_or(UNMEASURED),
    };
    let root = tree(site, now);
    let found = root.as_ref().and_then(|root| estimate(root, &work, terms));
    let needed = match (&root, by) {
        (Some(root), Some(by)) => Some(needed(root, &work, by, terms)),
        _ => None,
    };
    Plan {
        calls,
        takes: found.as_ref().map(|found| found.takes),
        bound_by: found.and_then(|found| found.binds),
        accounts: u32::try_from(site.working().count()).unwrap_or(u32::MAX),
        needed,
        call_takes: work.call_takes,
        measured: measured.is_some(),
    }
}

/// Accounts like the first. Where all share one app registration, its limits are those of all.
fn needed(root: &Node, work: &Work, by: Duration, terms: &Terms) -> Accounts {
    let only_app = match root.parts.as_slice() {
        [app] if app.name.scope == Scope::App => Some(app),
        _ => None,
    };
    if let Some(app) = only_app
        && let useless @ Accounts::Useless { .. } = accounts_for(app, work, by, terms)
    {
        return useless;
    }
    let mut flat = root.clone();
    flat.parts = leaves(root);
    // Those that the server wants left alone for now are no measure for others.
    for part in &mut flat.parts {
        part.blocked_for = Duration::ZERO;
    }
    accounts_for(&flat, work, by, terms)
}

fn leaves(node: &Node) -> Vec<Node> {
    let parts = node.parts.iter();
    parts
        .flat_map(|part| {
            if part.name.scope == Scope::App {
                leaves(part)
            } else {
                vec![part.clone()]
            }
        })
        .collect()
}

/// It in a sentence.
pub(crate) fn text(plan: &Plan, mailboxes: u64) -> String {
    let how = if plan.measured {
        "as measured"
    } else {
        "a guess: nothing was measured yet"
    };
    let mut text = match plan.takes {
        None if plan.accounts == 0 => {
            "No account of the site is used now: resume one, or add one.".to_owned()
        }
        None => format!(
            "{mailboxes} mailboxes need {} calls, which take over a year.",
            plan.calls
        ),
        Some(takes) => format!(
            "{mailboxes} mailboxes need {} calls, which take {} on {}, at {:.3} s a call ({how}).",
            plan.calls,
            span(takes),
            many(plan.accounts),
            plan.call_takes.as_secs_f64()
        ),
    };
    if let Some(key) = &plan.bound_by {
        text.push_str(&format!(" What binds is {key}."));
    }
    match &plan.needed {
        None => {}
        Some(Accounts::Needed(needed)) if *needed <= plan.accounts => text.push_str(&format!(
            " To be done by then takes {}: these are enough.",
            many(*needed)
        )),
        Some(Accounts::Needed(needed)) => text.push_str(&format!(
            " To be done by then takes {} like the first: {} more.",
            many(*needed),
            needed - plan.accounts
        )),
        Some(Accounts::Useless { because }) if because.scope == Scope::Account => text.push_str(&format!(
            " No number of accounts like {because} is done by then."
        )),
        Some(Accounts::Useless { because }) => text.push_str(&format!(
            " More accounts are useless: all share {because}, which lets no more through. Give the work more time, or have that limit raised."
        )),
    }
    text
}

fn many(accounts: u32) -> String {
    match accounts {
        1 => "1 account".to_owned(),
        many => format!("{many} accounts"),
    }
}

/// A length of time for people.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{} s", seconds.max(1)),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

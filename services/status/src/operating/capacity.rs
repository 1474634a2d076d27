//! What a site's budgets let through: the tree of its keys, and the workers it can feed.

use std::{collections::BTreeMap, time::Duration};

use calgrant_budget::{
    KeyName, Moment, Terms,
    estimate::{Node, Work, estimate},
    key::KeyLimits,
};

use super::{key_view::KeyView, site_view::SiteView};

/// What a call is taken to last before one was measured.
pub(crate) const UNMEASURED: Duration = Duration::from_millis(500);
/// An account that the server wants left alone for longer needs no workers.
const SOON: Duration = Duration::from_secs(60);

/// The keys of a site, narrow ones below wide ones, with the accounts that are used; `None` if none is.
pub(crate) fn tree(site: &SiteView<'_>, now: Moment) -> Option<Node> {
    let mut apps: BTreeMap<&KeyName, Node> = BTreeMap::new();
    let mut parts = Vec::new();
    for account in site.working() {
        let leaf = node(account.key, now);
        match account.app {
            None => parts.push(leaf),
            Some(app) => apps
                .entry(&app.name)
                .or_insert_with(|| node(app, now))
                .parts
                .push(leaf),
        }
    }
    parts.extend(apps.into_values());
    if parts.is_empty() {
        return None;
    }
    let root = site.key.map_or_else(
        || Node {
            name: KeyName::new(calgrant_budget::Scope::Site, site.kind.as_str(), ""),
            limits: KeyLimits::default(),
            blocked_for: Duration::ZERO,
            parts: Vec::new(),
        },
        |key| node(key, now),
    );
    Some(Node { parts, ..root })
}

fn node(key: &KeyView, now: Moment) -> Node {
    Node {
        name: key.name.clone(),
        limits: key.limits.clone(),
        blocked_for: key
            .blocked
            .as_ref()
            .map_or(Duration::ZERO, |(until, _)| until.saturating_sub(now)),
        parts: Vec::new(),
    }
}

/// Mailboxes that can be worked on at the same moment by what the budgets allow, for the jobs that wait; 0 if none does.
pub(crate) fn feedable(site: &SiteView<'_>, terms: &Terms, now: Moment) -> u32 {
    const MANY: u64 = 1_000_000;
    let ready = u32::try_from(site.ready()).unwrap_or(u32::MAX);
    let Some(mut root) = tree(site, now).filter(|_| ready > 0) else {
        return 0;
    };
    if root.blocked_for > SOON {
        return 0;
    }
    open(&mut root);
    let call_takes = site.call_takes().unwrap_or(UNMEASURED);
    let work = Work {
        calls: MANY,
        call_takes,
    };
    let Some(found) = estimate(&root, &work, terms) else {
        return 0;
    };
    // As many as are under way at that rate.
    let together = 1e6 * call_takes.as_secs_f64() / found.takes.as_secs_f64().max(1e-3);
    // What comes within a thousandth of a whole number is that number.
    ready.min(whole((together - 1e-3).ceil()).max(1))
}

/// Leaves out what the server wants left alone for long, and takes the rest as open.
fn open(node: &mut Node) {
    node.blocked_for = Duration::ZERO;
    node.parts.retain(|part| part.blocked_for <= SOON);
    for part in &mut node.parts {
        open(part);
    }
    if node.parts.is_empty() && node.name.scope != calgrant_budget::Scope::Account {
        // Nothing below it: it lets nothing through.
        node.limits.in_flight = Some(0);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is never negative"
)]
fn whole(number: f64) -> u32 {
    number as u32
}

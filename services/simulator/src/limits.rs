//! What a key may do at once and per window: an account, a tenant, or a mailbox that calls are about.

use serde::{Deserialize, Serialize};

/// The limits of one key; nothing set means no limit.
///
/// A call that arrives while one of them is used up is refused with 429, isn't carried out, and is a violation. A call
/// holds its place from its arrival until it was carried out to its end, whether or not its client is still there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Calls that may be under way together.
    pub max_in_flight: Option<u32>,
    /// Sliding windows that all hold: so many calls in so many seconds. `Rate-Limit-*` headers tell of the first.
    pub windows: Vec<(u32, u64)>,
    /// Calls that may be under way together, below what anybody is told.
    pub hidden_max_in_flight: Option<u32>,
    /// Sliding windows that are enforced like the others, but stand in no header.
    pub hidden_windows: Vec<(u32, u64)>,
    /// Refusals don't say when to come back.
    pub without_retry_after: bool,
}

impl Limits {
    /// Whether anything is limited.
    pub(crate) fn any(&self) -> bool {
        self.in_flight().next().is_some() || self.all_windows().next().is_some()
    }

    /// The bounds on calls in flight, with whether they are hidden.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = (u32, bool)> {
        let open = self.max_in_flight.map(|most| (most, false));
        open.into_iter()
            .chain(self.hidden_max_in_flight.map(|most| (most, true)))
    }

    /// Every window, with whether it is hidden.
    pub(crate) fn all_windows(&self) -> impl Iterator<Item = (u32, u64, bool)> {
        let open = self
            .windows
            .iter()
            .map(|(calls, secs)| (*calls, *secs, false));
        let hidden = self
            .hidden_windows
            .iter()
            .map(|(calls, secs)| (*calls, *secs, true));
        open.chain(hidden)
    }

    /// Everything that is wrong with these limits, each with its place.
    pub(crate) fn mistakes(&self, place: &str) -> Vec<String> {
        let windows = self.all_windows();
        windows
            .filter(|(_, secs, _)| !(1..=86_400).contains(secs))
            .map(|(_, secs, hidden)| {
                let field = if hidden { "hidden_windows" } else { "windows" };
                format!("{place}.{field}: a window of {secs} s; it takes 1 to 86400")
            })
            .collect()
    }
}

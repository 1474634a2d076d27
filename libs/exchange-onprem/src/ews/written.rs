//! Lists as they were before a write, until a read shows whether the entries of others are still the same. Pure.
//!
//! "No error" is no proof: servers are known to drop entries silently.

use std::collections::VecDeque;

use calgrant_domain::{Address, PermissionList, Reason};
use calgrant_exchange::{CallError, Meaning, one_line};
use time::{Duration, OffsetDateTime};

/// Lists that are remembered: those of mailboxes under work, and not many more.
const MOST: usize = 256;
/// A read that comes later than this shows what people have done since.
const LATE: Duration = Duration::seconds(60);

/// What was written and not yet read.
#[derive(Debug, Default)]
pub(crate) struct Written(VecDeque<Before>);

#[derive(Debug)]
struct Before {
    folder: String,
    trustee: Address,
    list: PermissionList,
    at: OffsetDateTime,
}

impl Written {
    /// A list is about to be written over this one.
    pub(crate) fn note(
        &mut self,
        folder: &str,
        trustee: &Address,
        list: PermissionList,
        at: OffsetDateTime,
    ) {
        self.0.retain(|known| known.folder != folder);
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(Before {
            folder: folder.to_owned(),
            trustee: trustee.clone(),
            list,
            at,
        });
    }

    /// Holds a list that was read against what was there before it was written, once.
    ///
    /// # Errors
    /// Entries of others are gone, or changed: by the server, or by somebody at the same moment.
    pub(crate) fn check(
        &mut self,
        folder: &str,
        read: &PermissionList,
        now: OffsetDateTime,
    ) -> Result<(), CallError> {
        let Some(at) = self.0.iter().position(|known| known.folder == folder) else {
            return Ok(());
        };
        let before = self.0.remove(at).filter(|known| now - known.at < LATE);
        let Some(before) = before else {
            return Ok(());
        };
        let lost: Vec<_> = before
            .list
            .lost_in(read, &before.trustee)
            .iter()
            .map(ToString::to_string)
            .collect();
        if lost.is_empty() {
            return Ok(());
        }
        Err(CallError::new(
            Meaning::GiveUp(Reason::ChangedByOthers),
            "others_entries_changed",
            one_line(&format!(
                "after the list was written, {} of its other entries are gone or changed: {}",
                lost.len(),
                lost.join("; ")
            )),
        ))
    }
}

#[cfg(test)]
mod tests {
    use calgrant_domain::permission_list::{Entry, Identity, Level};

    use super::*;

    #[test]
    fn what_others_lost_is_told_once_and_not_late() {
        let entry = |identity, level: Level| Entry {
            identity,
            flags: level.flags().unwrap(),
        };
        let trustee: Address = "group@uni.example".parse().unwrap();
        let before = PermissionList {
            entries: vec![
                entry(Identity::Default, Level::FreeBusyTimeOnly),
                entry(Identity::Anonymous, Level::None),
            ],
            unknown: Vec::new(),
        };
        let mut after = before.clone();
        after.entries[0].flags = Level::Reviewer.flags().unwrap();
        let start = OffsetDateTime::UNIX_EPOCH;
        for (read, late, lost) in [(&before, 1, false), (&after, 1, true), (&after, 61, false)] {
            let mut written = Written::default();
            written.note("f", &trustee, before.clone(), start);
            assert!(written.check("g", read, start).is_ok());
            let told = written.check("f", read, start + Duration::seconds(late));
            assert_eq!(told.is_err(), lost);
            if let Err(error) = told {
                assert!(error.detail.server_text.contains("Default"), "{error}");
            }
            assert!(written.check("f", read, start).is_ok());
        }
    }
}

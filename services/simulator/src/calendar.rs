//! One mailbox: its calendar folders, their permission lists, and the lag of its reads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::scenario::Kind;

/// Who an entry is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Principal {
    Default,
    Anonymous,
    User(usize),
    Group(usize),
    /// Somebody who has left: only the SID remains.
    Orphan(Box<str>),
    /// Somebody of another organisation, by the name that cmdlets show: [`EXTERNAL`] and an identity.
    External(Box<str>),
}

/// What the names of entries for people of other organisations begin with.
pub(crate) const EXTERNAL: &str = "ExchangePublishedUser.";

/// One permission list: principal and stored mask, in the order a read shows them.
pub(crate) type Acl = Vec<(Principal, u32)>;

pub(crate) fn mask_of(acl: &Acl, principal: &Principal) -> Option<u32> {
    acl.iter()
        .find(|(who, _)| who == principal)
        .map(|(_, mask)| *mask)
}

/// One change of an entry, as it was made.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) who: Principal,
    pub(crate) from: Option<u32>,
    pub(crate) to: Option<u32>,
    /// By the owner of the mailbox; else by an app.
    pub(crate) by_user: bool,
}

/// How many of the latest steps a folder remembers.
const STORY: usize = 1000;

#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) guid: Uuid,
    pub(crate) kind: Kind,
    /// Milliseconds since the start; the largest number means never.
    there_from_ms: AtomicU64,
    /// How long reads of this mailbox lag behind at most; `None` where reads never do.
    pub(crate) read_lag: Option<Duration>,
    folders: Mutex<Vec<Folder>>,
}

#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: String,
    acl: Acl,
    /// What the list was at the start, kept from the first write on.
    seed: Option<Acl>,
    /// Older lists that reads still show, each until its time.
    shown: Vec<(Duration, Acl)>,
    pub(crate) user_has_edited: bool,
    /// What was written, in the order of time.
    story: VecDeque<Step>,
    /// How often the list or an event was written; a change key tells of it.
    version: u32,
    pub(crate) events: Vec<Event>,
}

/// An event in a calendar.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) number: u32,
    pub(crate) subject: String,
    pub(crate) start: String,
    pub(crate) end: String,
    /// The user who made it.
    pub(crate) owner: usize,
}

impl Mailbox {
    pub(crate) fn new(
        guid: Uuid,
        kind: Kind,
        provisioned_at: Option<Duration>,
        read_lag: Option<Duration>,
        folders: Vec<Folder>,
    ) -> Self {
        Self {
            guid,
            kind,
            there_from_ms: AtomicU64::new(provisioned_at.map_or(u64::MAX, millis)),
            read_lag,
            folders: Mutex::new(folders),
        }
    }

    pub(crate) fn is_there(&self, now: Duration) -> bool {
        millis(now) >= self.there_from_ms.load(Ordering::Relaxed)
    }

    /// The mailbox is there from this time on, or never.
    pub(crate) fn provision(&self, at: Option<Duration>) {
        let at = at.map_or(u64::MAX, millis);
        self.there_from_ms.store(at, Ordering::Relaxed);
    }

    /// Whether it will be there one day, without anybody's doing.
    pub(crate) fn is_coming(&self) -> bool {
        self.there_from_ms.load(Ordering::Relaxed) != u64::MAX
    }

    pub(crate) fn folders(&self) -> MutexGuard<'_, Vec<Folder>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1)
}

impl Folder {
    pub(crate) fn new(path: String, acl: Acl) -> Self {
        Self {
            path,
            acl,
            seed: None,
            shown: Vec::new(),
            user_has_edited: false,
            story: VecDeque::new(),
            version: 1,
            events: Vec::new(),
        }
    }

    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// Notes that something of the folder was written.
    pub(crate) fn touch(&mut self) {
        self.version += 1;
    }

    /// The root of a mailbox; its path is empty.
    pub(crate) fn root() -> Self {
        let acl = vec![(Principal::Default, 0), (Principal::Anonymous, 0)];
        Self::new(String::new(), acl)
    }

    pub(crate) fn is_root(&self) -> bool {
        self.path.is_empty()
    }

    pub(crate) fn name(&self) -> &str {
        if self.is_root() {
            return "Top of Information Store";
        }
        self.path.rsplit('\\').next().unwrap_or(&self.path)
    }

    /// The true list.
    pub(crate) fn acl(&self) -> &Acl {
        &self.acl
    }

    /// The list a read shows now.
    pub(crate) fn shown(&self, now: Duration) -> &Acl {
        self.shown
            .iter()
            .find(|(until, _)| *until > now)
            .map_or(&self.acl, |(_, acl)| acl)
    }

    pub(crate) fn seed(&self) -> &Acl {
        self.seed.as_ref().unwrap_or(&self.acl)
    }

    /// Sets or removes one entry; reads show it when the lag has passed.
    pub(crate) fn write(
        &mut self,
        principal: &Principal,
        mask: Option<u32>,
        now: Duration,
        lag: Duration,
    ) {
        if self.seed.is_none() {
            self.seed = Some(self.acl.clone());
        }
        self.shown.retain(|(until, _)| *until > now);
        if !lag.is_zero() || !self.shown.is_empty() {
            // replicas apply writes in order: none shows before one that came earlier
            let earlier = self.shown.last().map_or(now, |(until, _)| *until);
            self.shown
                .push(((now + lag).max(earlier), self.acl.clone()));
        }
        self.remember(principal, mask, false);
        put(&mut self.acl, principal, mask);
        self.touch();
    }

    fn remember(&mut self, who: &Principal, to: Option<u32>, by_user: bool) {
        if self.story.len() == STORY {
            self.story.pop_front();
        }
        self.story.push_back(Step {
            who: who.clone(),
            from: mask_of(&self.acl, who),
            to,
            by_user,
        });
    }

    /// What was written of a principal's entry, in the order of time: the latest part if it is long.
    pub(crate) fn story(&self, who: &Principal) -> impl Iterator<Item = &Step> {
        self.story.iter().filter(move |step| step.who == *who)
    }

    /// Leaves one entry for a principal that has several, the first.
    pub(crate) fn drop_duplicate(&mut self, principal: &Principal) {
        if self.seed.is_none() {
            self.seed = Some(self.acl.clone());
        }
        let last = self.acl.iter().rposition(|(who, _)| who == principal);
        if let Some(last) = last {
            self.acl.remove(last);
        }
    }

    /// The owner of the mailbox changes an entry: from now on that is how it was at the start.
    pub(crate) fn user_edit(&mut self, principal: &Principal, mask: Option<u32>) {
        self.user_has_edited = true;
        self.remember(principal, mask, true);
        put(&mut self.acl, principal, mask);
        if let Some(seed) = &mut self.seed {
            put(seed, principal, mask);
        }
        self.touch();
    }
}

fn put(acl: &mut Acl, principal: &Principal, mask: Option<u32>) {
    let at = acl.iter().position(|(who, _)| who == principal);
    match (at, mask) {
        (Some(at), Some(mask)) => acl[at].1 = mask,
        (Some(at), None) => drop(acl.remove(at)),
        (None, Some(mask)) => acl.push((principal.clone(), mask)),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Folder, Principal, mask_of};

    #[test]
    fn reads_lag_behind_writes() {
        let mut folder = Folder::new("Calendar".to_owned(), Vec::new());
        let (who, lag, at) = (
            Principal::Group(0),
            Duration::from_secs(5),
            Duration::from_secs,
        );
        folder.write(&who, Some(1), at(10), lag);
        folder.write(&who, Some(2), at(12), lag);
        let seen = [14, 15, 17].map(|now| mask_of(folder.shown(at(now)), &who));
        assert_eq!(seen, [None, Some(1), Some(2)]);
        assert_eq!(mask_of(folder.acl(), &who), Some(2));
        assert!(folder.seed().is_empty());
        let story: Vec<_> = folder
            .story(&who)
            .map(|step| (step.from, step.to))
            .collect();
        assert_eq!(story, [(None, Some(1)), (Some(1), Some(2))]);
    }
}

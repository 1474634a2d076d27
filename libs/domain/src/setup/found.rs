//! What a step finds, and what it did before.

use std::time::Duration;

use time::OffsetDateTime;

use crate::{GroupFound, GroupMemberFound, MailboxFound, SkuFound, UserFound, outcome::words};

words!(
    /// Whether an account's password is known here.
    PasswordKept {
        /// It isn't: whoever made the account has it.
        No = "no",
        /// One is sealed, and perhaps not yet the account's.
        Pending = "pending",
        /// The sealed one is the account's.
        InEffect = "in_effect",
    }
);

words!(
    /// How an action ended.
    ActionEnd {
        /// It was begun, and nobody heard how it ended: it may have been carried out, or not, or may still be.
        Unknown = "unknown",
        /// The server carried it out.
        Done = "done",
        /// The server said that the name is taken.
        Taken = "taken",
    }
);

words!(
    /// Where a step stands.
    StepState {
        /// It is to be looked at.
        Due = "due",
        /// Something was begun for it.
        Doing = "doing",
        /// It waits for a server.
        Waiting = "waiting",
        /// A person must do something first. It is looked at again now and then.
        Refused = "refused",
        /// It is as it should be.
        Done = "done",
        /// It was only looked what would be done.
        Planned = "planned",
    }
);

/// The trustee, as the directory shows it to those who look it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrusteeSeen {
    /// It can hold rights.
    Suits,
    /// It isn't there yet.
    Missing,
    /// It can't hold rights: why.
    Unsuited(String),
    /// Nobody who could look it up is at hand.
    NotAsked,
}

/// What was found for a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// For [`Step::Seats`](super::Step::Seats).
    Seats {
        /// The products that there are.
        skus: Vec<SkuFound>,
        /// Accounts that have none of the wanted product.
        lacking: u32,
    },
    /// For the user.
    User {
        /// The user, if it is there.
        user: Option<UserFound>,
        /// Whether its password is known.
        password: PasswordKept,
    },
    /// For its licence, given or taken.
    Licence {
        /// The user, if it is there.
        user: Option<UserFound>,
        /// The products that there are.
        skus: Vec<SkuFound>,
    },
    /// For its mailbox.
    Mailbox(MailboxFound),
    /// For the group.
    Group(Option<GroupFound>),
    /// For a member, put in or taken out.
    Member {
        /// The group, if it is there.
        group: Option<GroupFound>,
        /// Who is in it.
        members: Vec<GroupMemberFound>,
        /// The user, if it is there.
        user: Option<UserFound>,
    },
    /// For the trustee.
    Trustee {
        /// The group, if it is there.
        group: Option<GroupFound>,
        /// What the directory says.
        seen: TrusteeSeen,
    },
    /// For an account that is to be disabled.
    Account(Option<UserFound>),
    /// For a new password.
    Rotation {
        /// The user, if it is there.
        user: Option<UserFound>,
        /// Whether the password that this set-up made is the account's.
        renewed: bool,
    },
}

/// The last action of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// What, as [`Action::word`](super::Action::word) says.
    pub action: String,
    /// How it ended.
    pub end: ActionEnd,
    /// When it was begun, or ended.
    pub at: OffsetDateTime,
}

/// What is on record of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// Where it stands.
    pub state: StepState,
    /// The same for people: what was found or done, or what it waits for.
    pub says: String,
    /// What would be run to do it; empty if nothing is to be done.
    pub script: String,
    /// What was done for it in this set-up, for people; what was begun and whose end nobody heard included.
    pub did: Vec<String>,
    /// The last action; `None` if nothing was ever begun.
    pub last: Option<Last>,
    /// When it was first looked at.
    pub since: Option<OffsetDateTime>,
    /// It isn't looked at before.
    pub not_before: Option<OffsetDateTime>,
}

impl StepRecord {
    /// A step that nobody has looked at.
    pub fn due() -> Self {
        Self {
            state: StepState::Due,
            says: String::new(),
            script: String::new(),
            did: Vec::new(),
            last: None,
            since: None,
            not_before: None,
        }
    }

    /// What a decision is told of the past.
    pub fn past(&self, now: OffsetDateTime) -> Past {
        let ago = |at: OffsetDateTime| Duration::try_from(now - at).unwrap_or_default();
        Past {
            last: self
                .last
                .as_ref()
                .map(|last| (last.action.clone(), last.end, ago(last.at))),
            waited: self.since.map(ago).unwrap_or_default(),
        }
    }
}

/// What a step did before, seen from now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// The last action, how it ended, and how long ago.
    pub last: Option<(String, ActionEnd, Duration)>,
    /// How long ago the step was first looked at.
    pub waited: Duration,
}

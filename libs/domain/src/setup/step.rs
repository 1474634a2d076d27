//! The steps of a set-up: which there are, in which order, and which wait for which.

use std::{fmt, str::FromStr};

use crate::{
    BadInput, SiteKind,
    outcome::words,
    setup::{Setting, StepRecord, StepState},
};

words!(
    /// Where a set-up stands. Done, planned and cancelled are final.
    SetupState {
        /// Its steps are being done.
        Running = "running",
        /// All that is left waits for a server.
        Waiting = "waiting",
        /// Something of what is left waits for a person.
        Blocked = "blocked",
        /// All its steps are done.
        Done = "done",
        /// It was only looked what would be done.
        Planned = "planned",
        /// It was cancelled.
        Cancelled = "cancelled",
    }
);

impl SetupState {
    /// Whether nothing can change it any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Planned | Self::Cancelled)
    }
}

/// What a set-up is to bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetupAim {
    /// Everything is there as the tenant's file wants it.
    Ensure,
    /// The account of this number isn't used any more: out of the group, its licence freed, disabled. It is not deleted.
    Remove(u32),
    /// The account of this number has a new password.
    Rotate(u32),
}

impl fmt::Display for SetupAim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ensure => f.write_str("ensure"),
            Self::Remove(number) => write!(f, "remove/{number}"),
            Self::Rotate(number) => write!(f, "rotate/{number}"),
        }
    }
}

impl FromStr for SetupAim {
    type Err = BadInput;

    fn from_str(raw: &str) -> Result<Self, BadInput> {
        let (word, number) = numbered(raw)?;
        match (word, number) {
            ("ensure", None) => Ok(Self::Ensure),
            ("remove", Some(number)) => Ok(Self::Remove(number)),
            ("rotate", Some(number)) => Ok(Self::Rotate(number)),
            _ => Err(BadInput::new(
                "",
                raw,
                "use ensure, remove/1 or rotate/1, with the number of the account",
            )),
        }
    }
}

/// A step. The number is an account's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// The product has a mailbox plan and seats for those who lack one.
    Seats,
    /// The user is there; on premises with its mailbox.
    User(u32),
    /// It has the product, with the mailbox plan alone.
    Licence(u32),
    /// Exchange knows its mailbox.
    Mailbox(u32),
    /// The delegation group is there, closed and hidden.
    Group,
    /// The account is in it.
    Member(u32),
    /// The group can be named in permissions.
    Trustee,
    /// The account is not in the group.
    Outside(u32),
    /// Its licence is free.
    Unlicensed(u32),
    /// It can't sign in.
    Disabled(u32),
    /// It has a new password.
    Rotated(u32),
}

impl Step {
    /// The account's number, of steps that are about one.
    pub fn number(self) -> Option<u32> {
        match self {
            Self::Seats | Self::Group | Self::Trustee => None,
            Self::User(number)
            | Self::Licence(number)
            | Self::Mailbox(number)
            | Self::Member(number)
            | Self::Outside(number)
            | Self::Unlicensed(number)
            | Self::Disabled(number)
            | Self::Rotated(number) => Some(number),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Seats => "seats",
            Self::User(_) => "user",
            Self::Licence(_) => "licence",
            Self::Mailbox(_) => "mailbox",
            Self::Group => "group",
            Self::Member(_) => "member",
            Self::Trustee => "trustee",
            Self::Outside(_) => "outside",
            Self::Unlicensed(_) => "unlicensed",
            Self::Disabled(_) => "disabled",
            Self::Rotated(_) => "rotated",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            None => f.write_str(self.word()),
            Some(number) => write!(f, "{}/{number}", self.word()),
        }
    }
}

impl FromStr for Step {
    type Err = BadInput;

    fn from_str(raw: &str) -> Result<Self, BadInput> {
        let (word, number) = numbered(raw)?;
        Ok(match (word, number) {
            ("seats", None) => Self::Seats,
            ("group", None) => Self::Group,
            ("trustee", None) => Self::Trustee,
            ("user", Some(number)) => Self::User(number),
            ("licence", Some(number)) => Self::Licence(number),
            ("mailbox", Some(number)) => Self::Mailbox(number),
            ("member", Some(number)) => Self::Member(number),
            ("outside", Some(number)) => Self::Outside(number),
            ("unlicensed", Some(number)) => Self::Unlicensed(number),
            ("disabled", Some(number)) => Self::Disabled(number),
            ("rotated", Some(number)) => Self::Rotated(number),
            _ => return Err(BadInput::new("", raw, "not a step of a set-up")),
        })
    }
}

/// A word, and the number after its slash.
fn numbered(raw: &str) -> Result<(&str, Option<u32>), BadInput> {
    let raw = raw.trim();
    let Some((word, number)) = raw.split_once('/') else {
        return Ok((raw, None));
    };
    let number = number
        .parse()
        .map_err(|_| BadInput::new("", raw, "a number is needed after the slash"))?;
    Ok((word, Some(number)))
}

/// The steps of a set-up, in their order. A step waits for those before it that [`needs`] names, and for no others.
pub fn steps(setting: &Setting, aim: SetupAim) -> Vec<Step> {
    let online = setting.site == SiteKind::Online;
    match aim {
        SetupAim::Ensure => {
            let all = |step: fn(u32) -> Step| setting.spec.numbers().map(step);
            let mut steps = Vec::new();
            steps.extend(online.then_some(Step::Seats));
            steps.extend(all(Step::User));
            if online {
                steps.extend(all(Step::Licence));
            }
            steps.push(Step::Group);
            steps.extend(all(Step::Mailbox));
            steps.extend(all(Step::Member));
            steps.push(Step::Trustee);
            steps
        }
        SetupAim::Remove(number) => {
            let mut steps = vec![Step::Outside(number)];
            steps.extend(online.then_some(Step::Unlicensed(number)));
            steps.push(Step::Disabled(number));
            steps
        }
        SetupAim::Rotate(number) => vec![Step::Rotated(number)],
    }
}

/// What must be done before a step can be.
pub fn needs(step: Step, site: SiteKind) -> Vec<Step> {
    match step {
        Step::Seats | Step::User(_) | Step::Group | Step::Outside(_) | Step::Rotated(_) => {
            Vec::new()
        }
        Step::Licence(number) => vec![Step::Seats, Step::User(number)],
        Step::Mailbox(number) if site == SiteKind::Online => vec![Step::Licence(number)],
        Step::Mailbox(number) => vec![Step::User(number)],
        Step::Member(number) => vec![Step::Group, Step::Mailbox(number)],
        Step::Trustee => vec![Step::Group],
        Step::Disabled(number) if site == SiteKind::Online => vec![Step::Unlicensed(number)],
        Step::Unlicensed(number) | Step::Disabled(number) => vec![Step::Outside(number)],
    }
}

/// Where a set-up stands by its steps, when none of them can go on at present. `planning`: nothing is done, it is only looked.
pub fn standing<'a>(
    records: impl IntoIterator<Item = &'a StepRecord>,
    planning: bool,
) -> SetupState {
    let states: Vec<_> = records.into_iter().map(|record| record.state).collect();
    let any = |state: StepState| states.contains(&state);
    if planning {
        SetupState::Planned
    } else if any(StepState::Refused) {
        SetupState::Blocked
    } else if any(StepState::Waiting) {
        SetupState::Waiting
    } else if any(StepState::Due) || any(StepState::Doing) {
        SetupState::Running
    } else {
        SetupState::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::spec::tests::setting;

    #[test]
    fn steps_come_after_what_they_need_and_are_told_apart_as_text() {
        for site in [SiteKind::Online, SiteKind::Onprem] {
            for aim in [SetupAim::Ensure, SetupAim::Remove(2), SetupAim::Rotate(1)] {
                assert_eq!(aim.to_string().parse(), Ok(aim));
                let steps = steps(&setting(site), aim);
                for (at, step) in steps.iter().enumerate() {
                    assert_eq!(step.to_string().parse(), Ok(*step));
                    for need in needs(*step, site) {
                        assert!(steps[..at].contains(&need), "{step} needs {need}");
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_that_are_left_out_have_no_steps() {
        let steps = steps(&setting(SiteKind::Online), SetupAim::Ensure);
        assert!(steps.contains(&Step::User(1)) && steps.contains(&Step::User(3)));
        assert!(steps.iter().all(|step| step.number() != Some(2)));
    }

    #[test]
    fn what_is_no_step_is_refused() {
        for raw in ["", "user", "seats/1", "user/x", "cake/1"] {
            assert!(raw.parse::<Step>().is_err(), "{raw}");
        }
    }
}

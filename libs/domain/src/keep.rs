//! Delegations that are kept: looked at again and again, and listed anew, without being asked.

use std::time::Duration;

use time::OffsetDateTime;

use crate::{Address, outcome::words};

words!(
    /// What is done about an entry that differs from what is on record.
    Drift {
        /// It is said.
        Report = "report",
        /// What is missing of the right is given again, and it is said.
        Repair = "repair",
    }
);

words!(
    /// What is done about new members of what a delegation selects.
    Joiners {
        /// They are given the right.
        Add = "add",
        /// Nothing.
        Ignore = "ignore",
    }
);

words!(
    /// What is done about those whom a delegation doesn't select any more.
    Leavers {
        /// Our entry is taken away from them.
        Revoke = "revoke",
        /// It is said.
        Report = "report",
        /// Nothing.
        Ignore = "ignore",
    }
);

words!(
    /// What is done by itself for a delegation that is kept.
    KeptRun {
        /// Some of its mailboxes are looked at.
        Verify = "verify",
        /// It is listed who is selected, and joiners are given the right.
        List = "list",
        /// Our entry is taken away from those who departed.
        Leave = "leave",
    }
);

/// What a tenant wants to be done by itself for its delegations of the policy `keep`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    /// Within this time every mailbox is looked at once; `None`: never. A week by default.
    pub verify_every: Option<Duration>,
    /// What is done about differences. They are reported by default.
    pub drift: Drift,
    /// How often it is listed who is selected; `None`: never. Once a day by default.
    pub list_every: Option<Duration>,
    /// What is done about new members. They are added by default.
    pub joiners: Joiners,
    /// What is done about departed ones. They are reported by default.
    pub leavers: Leavers,
    /// How often it is looked who is in the delegation groups; `None`: never. Once an hour by default.
    pub watch_every: Option<Duration>,
    /// Who is expected in them, by any address: what the calendar product signs in with. Members are not compared while it is empty.
    pub group_members: Vec<Address>,
    /// Who is expected to own them, as Exchange calls them. Owners are not compared while it is empty.
    pub group_owners: Vec<String>,
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            verify_every: Some(Duration::from_secs(7 * 24 * 3600)),
            drift: Drift::Report,
            list_every: Some(Duration::from_secs(24 * 3600)),
            joiners: Joiners::Add,
            leavers: Leavers::Report,
            watch_every: Some(Duration::from_secs(3600)),
            group_members: Vec::new(),
            group_owners: Vec::new(),
        }
    }
}

/// Who asks for what is done by itself.
pub const CALLER: &str = "calgrant";

/// Mailboxes that are worth an operation of their own, unless a delegation has fewer.
const ENOUGH: u64 = 500;
/// Mailboxes of one operation at most, so that what they are compared with is still true when their turn comes.
const MOST: u64 = 5000;
/// Who is missing from a listing is looked for once more after this time, before they count as departed.
const CONFIRM: Duration = Duration::from_secs(600);
/// Whose departure couldn't be carried out are tried again after this time.
pub const DEPART_AGAIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Mailboxes to look at now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// How many: those whose last look is longest ago.
    pub mailboxes: u64,
    /// Up to when that keeps to the pace.
    pub paced_to: OffsetDateTime,
}

/// How many of `cohort` mailboxes are to be looked at now, so that all of them have a turn within `every`: as many as have fallen
/// due since `paced_to`, but few large operations rather than many small ones. `None`: not yet. What a standstill left undone is
/// made up for once, not more.
pub fn look(
    cohort: u64,
    paced_to: OffsetDateTime,
    every: Duration,
    now: OffsetDateTime,
) -> Option<Look> {
    if cohort == 0 || every.is_zero() {
        return None;
    }
    let since = Duration::try_from(now - paced_to).unwrap_or_default();
    // A little late is made up for, so that no period is longer than it should be.
    let since = if since > every + every / 8 {
        every
    } else {
        since
    };
    let part = |whole: u128, share: u128, of: u128| whole * share / of;
    let due = part(u128::from(cohort), since.as_nanos(), every.as_nanos());
    let due = u64::try_from(due).unwrap_or(u64::MAX);
    if due < cohort.min(ENOUGH) {
        return None;
    }
    let mailboxes = due.min(cohort).min(MOST);
    let paced = part(every.as_nanos(), u128::from(mailboxes), u128::from(cohort));
    let paced = Duration::from_nanos(u64::try_from(paced).unwrap_or(u64::MAX));
    Some(Look {
        mailboxes,
        paced_to: (now - since + paced).min(now),
    })
}

/// Whether it is to be listed again who is selected. `unconfirmed`: somebody was missing from the last listing who was there before.
pub fn is_listing_due(
    listed_at: OffsetDateTime,
    every: Duration,
    unconfirmed: bool,
    now: OffsetDateTime,
) -> bool {
    let wait = if unconfirmed {
        every.min(CONFIRM)
    } else {
        every
    };
    now >= listed_at + wait
}

/// A complete listing, compared with what is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compared {
    /// Selected and not excluded.
    pub seen: u64,
    /// Covered, and missing for the first time.
    pub missing: u64,
    /// Covered, and missing from the last listing too.
    pub departed: u64,
    /// An earlier departure is still under way, or waits for a person.
    pub departing: bool,
}

/// What follows from a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody at all is selected: that is no departure of everybody, and nothing is done.
    Empty,
    /// It counts.
    Counts {
        /// Those who have departed are said.
        report: bool,
        /// Their entries are to be taken away.
        revoke: bool,
    },
}

/// Decides what follows from a listing.
pub fn compared(compared: &Compared, leavers: Leavers) -> Verdict {
    if compared.seen == 0 {
        return Verdict::Empty;
    }
    let departed = compared.departed > 0;
    Verdict::Counts {
        report: departed && leavers == Leavers::Report,
        revoke: departed && leavers == Leavers::Revoke && !compared.departing,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: f64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH
            + Duration::from_secs(1_800_000_000)
            + Duration::from_secs_f64(seconds)
    }

    const WEEK: Duration = Duration::from_secs(604_800);

    #[test]
    fn few_are_looked_at_together_and_many_in_parts() {
        for (cohort, since, want) in [
            (0, 1e9, None),
            (60, 604_799.0, None),
            (60, 604_800.0, Some(60)),
            (60, 1e9, Some(60)),
            (100_000, 3_023.0, None),
            (100_000, 3_025.0, Some(500)),
            (100_000, 604_800.0, Some(5000)),
        ] {
            let found = look(cohort, at(0.0), WEEK, at(since));
            assert_eq!(found.map(|look| look.mailboxes), want, "{cohort} {since}");
        }
        let caught_up = look(60, at(0.0), WEEK, at(1e7));
        assert_eq!(caught_up.map(|look| look.paced_to), Some(at(1e7)));
        // What is left of a standstill is due at once.
        let first = look(100_000, at(0.0), WEEK, at(604_800.0));
        let paced_to = first.map_or(at(0.0), |look| look.paced_to);
        let second = look(100_000, paced_to, WEEK, at(604_800.0));
        assert_eq!(second.map(|look| look.mailboxes), Some(5000));
        // A clock that went back makes nothing due.
        assert_eq!(look(60, at(10.0), WEEK, at(0.0)), None);
    }

    proptest! {
        /// However often it is looked, everybody has a turn within each period, and nobody many more.
        #[test]
        fn the_whole_cohort_is_gone_round_once_a_period(cohort in 1u64..60_000, tick in 600.0f64..6000.0, periods in 1u32..4) {
            let (mut paced_to, mut looked, mut operations) = (at(0.0), 0, 0u64);
            let end = 604_800.0 * f64::from(periods) + tick;
            let mut now = 0.0;
            while now <= end {
                while let Some(look) = look(cohort, paced_to, WEEK, at(now)) {
                    prop_assert!(look.paced_to > paced_to && look.paced_to <= at(now));
                    (paced_to, looked, operations) = (look.paced_to, looked + look.mailboxes, operations + 1);
                }
                now += tick;
            }
            let whole = cohort * u64::from(periods);
            // More than the last part of a period may have passed since it was over.
            let beyond = cohort.min(ENOUGH) + cohort / 100 + 1;
            prop_assert!(looked + ENOUGH >= whole && looked <= whole + beyond, "{looked} of {whole}");
            prop_assert!(operations <= (whole + beyond) / cohort.min(ENOUGH), "{operations}");
        }

        /// An empty listing never takes anything away, whatever the policy; nor does somebody who is missing for the first time.
        #[test]
        fn only_who_is_missing_twice_departs(seen in 0u64..3, missing: u64, departed in 0u64..3, departing: bool, policy in 0usize..3) {
            let leavers = Leavers::ALL[policy];
            let verdict = compared(&Compared { seen, missing, departed, departing }, leavers);
            prop_assert_eq!(verdict == Verdict::Empty, seen == 0);
            let revokes = matches!(verdict, Verdict::Counts { revoke: true, .. });
            prop_assert_eq!(revokes, seen > 0 && departed > 0 && leavers == Leavers::Revoke && !departing);
        }
    }

    #[test]
    fn who_is_missing_is_looked_for_again_soon() {
        let day = Duration::from_secs(86_400);
        for (every, unconfirmed, after, want) in [
            (day, false, 86_399.0, false),
            (day, false, 86_400.0, true),
            (day, true, 599.0, false),
            (day, true, 600.0, true),
            (Duration::from_secs(60), true, 60.0, true),
        ] {
            let due = is_listing_due(at(0.0), every, unconfirmed, at(after));
            assert_eq!(due, want, "{every:?} {unconfirmed} {after}");
        }
    }
}

use super::*;
use crate::history::{ABSENT, Step};

fn one(number: usize, kind: OperationKind, outcome: Outcome, before: &str) -> Told {
    let job = Job {
        mailbox: "m".to_owned(),
        state: JobState::Ended,
        waiting: String::new(),
        outcome,
        reason: String::new(),
        before: before.to_owned(),
        kept_by: String::new(),
        ended: Some(1000 * i64::try_from(number).unwrap()),
    };
    Told {
        id: format!("op_{number}"),
        tenant: "t".to_owned(),
        kind,
        delegation: "d".to_owned(),
        trustee: "tr".to_owned(),
        role: String::new(),
        group: None,
        validate_only: false,
        undoes: String::new(),
        ticket: String::new(),
        created: 1000 * i64::try_from(number).unwrap(),
        state: OperationState::Done,
        failure: String::new(),
        accepted: 1,
        outstanding: 0,
        outcomes: [(outcome.into(), 1)].into(),
        jobs: vec![job],
    }
}

fn run(number: usize, role: &str, outcome: Outcome, before: &str) -> Told {
    Told {
        role: role.to_owned(),
        group: Some("g".to_owned()),
        ..one(number, OperationKind::Delegate, outcome, before)
    }
}

fn revoke(number: usize, outcome: Outcome, before: &str) -> Told {
    one(number, OperationKind::Revoke, outcome, before)
}

fn undo(number: usize, of: usize, outcome: Outcome, before: &str) -> Told {
    Told {
        undoes: format!("op_{of}"),
        ..one(number, OperationKind::Undo, outcome, before)
    }
}

fn steps(entries: &[&str]) -> Vec<Step> {
    let step = |pair: &[&str]| Step {
        from: pair[0].to_owned(),
        to: pair[1].to_owned(),
        by_user: false,
    };
    entries.windows(2).map(step).collect()
}

/// Judges what is told of a mailbox whose entry was all of this, one after the other.
fn judged(entries: &[&str], told: &[Told]) -> Verdict {
    judged_of(&claimed(told), entries, told)
}

/// All that is told was asked for.
fn claimed(told: &[Told]) -> Wanted {
    let claims = told.iter().enumerate().map(|(number, one)| Claim {
        number,
        ids: vec![one.id.clone()],
        cancelled: false,
        named: 0,
    });
    Wanted {
        claims: claims.collect(),
        happenings: Vec::new(),
    }
}

fn judged_of(wanted: &Wanted, entries: &[&str], told: &[Told]) -> Verdict {
    judged_by(wanted, steps(entries), told)
}

fn judged_by(wanted: &Wanted, steps: Vec<Step>, told: &[Told]) -> Verdict {
    let entry = Entry {
        now: steps.last().map_or(ABSENT, |last| &last.to).to_owned(),
        steps,
        is_there: true,
        plain: true,
    };
    let key = |last: &str| ("t".to_owned(), last.to_owned());
    let members = [(key("g"), ["m".to_owned()].into())].into();
    let truth = [(("t".to_owned(), "m".to_owned(), "tr".to_owned()), entry)].into();
    judge(wanted, told, &members, &truth)
}

fn broken(verdict: &Verdict) -> [usize; 4] {
    let Verdict {
        lost,
        stuck,
        wrong,
        disagree,
        ..
    } = verdict;
    [lost.len(), stuck.len(), wrong.len(), disagree.len()]
}

#[test]
fn a_true_history_breaks_nothing() {
    let told = [
        run(1, "Author", Outcome::Added, ABSENT),
        run(2, "Author", Outcome::Unchanged, ""),
        run(3, "Reviewer", Outcome::Updated, "Author"),
        undo(4, 3, Outcome::Restored, "Reviewer"),
        revoke(5, Outcome::Removed, "Author"),
        revoke(6, Outcome::Unchanged, ABSENT),
    ];
    let verdict = judged(&[ABSENT, "Author", "Reviewer", "Author", ABSENT], &told);
    assert_eq!(broken(&verdict), [0; 4], "{verdict:?}");
    assert_eq!(verdict.needed_writes, 4);
}

#[test]
fn what_the_owner_of_a_mailbox_undid_at_once_may_go_unnoticed() {
    let told = [
        run(1, "Author", Outcome::Added, ABSENT),
        revoke(2, Outcome::LeftChangedSince, "Author"),
    ];
    let wrong = |by_user: bool| {
        let mut steps = steps(&[ABSENT, "Author", ABSENT, "Reviewer"]);
        steps[2].by_user = by_user;
        judged_by(&claimed(&told), steps, &told).wrong.len()
    };
    assert_eq!(wrong(true), 0);
    assert_ne!(wrong(false), 0);
}

#[test]
fn a_write_that_was_repeated_is_no_lie() {
    let told = [run(1, "Author", Outcome::Added, ABSENT)];
    let verdict = judged(&[ABSENT, "Author", "Author"], &told);
    assert_eq!(broken(&verdict), [0; 4], "{verdict:?}");
}

#[test]
fn lies_are_seen() {
    for (what, entries, told) in [
        (
            "it said added, and nothing is there",
            &[ABSENT][..],
            vec![run(1, "Author", Outcome::Added, ABSENT)],
        ),
        (
            "it said added over something",
            &["Reviewer", "Author"],
            vec![run(1, "Author", Outcome::Added, ABSENT)],
        ),
        (
            "it said unchanged of what never was",
            &[ABSENT],
            vec![run(1, "Author", Outcome::Unchanged, "")],
        ),
        (
            "a write that nobody owns up to",
            &[ABSENT, "Author"],
            vec![run(1, "Author", Outcome::Unchanged, "")],
        ),
        (
            "the earlier one wrote last",
            &[ABSENT, "Author", "Reviewer", "Author"],
            vec![
                run(1, "Author", Outcome::Updated, "Reviewer"),
                run(2, "Reviewer", Outcome::Updated, "Author"),
            ],
        ),
        (
            "a refusal without a reason",
            &[ABSENT],
            vec![run(1, "Author", Outcome::Refused, "")],
        ),
        (
            "it said removed, and it is there",
            &[ABSENT, "Author"],
            vec![
                run(1, "Author", Outcome::Added, ABSENT),
                revoke(2, Outcome::Removed, "Author"),
            ],
        ),
        (
            "given again after it was revoked",
            &[ABSENT, "Author", ABSENT, "Author"],
            vec![
                run(1, "Author", Outcome::Added, ABSENT),
                revoke(2, Outcome::Removed, "Author"),
            ],
        ),
        (
            "kept for nobody",
            &[ABSENT, "Author"],
            vec![
                run(1, "Author", Outcome::Added, ABSENT),
                revoke(2, Outcome::KeptBy, ""),
            ],
        ),
        (
            "undone to what it never was",
            &[ABSENT, "Author"],
            vec![
                run(1, "Author", Outcome::Added, ABSENT),
                undo(2, 1, Outcome::Restored, "Author"),
            ],
        ),
    ] {
        let verdict = judged(entries, &told);
        assert!(!verdict.wrong.is_empty(), "{what}: {verdict:?}");
    }
}

#[test]
fn what_was_given_is_not_said_to_be_of_others() {
    let mut refused = revoke(9, Outcome::Refused, "");
    refused.jobs[0].reason = "not_granted_here".to_owned();
    let given = run(1, "Author", Outcome::Added, ABSENT);
    let verdict = judged(&[ABSENT, "Author"], &[given, refused.clone()]);
    assert_eq!(verdict.wrong.len(), 1, "{verdict:?}");
    let verdict = judged(&[ABSENT], &[refused]);
    assert!(verdict.wrong.is_empty(), "{verdict:?}");
}

#[test]
fn what_is_revoked_for_another_delegation_has_no_last_word() {
    let told = |by: &str| {
        [
            run(1, "Author", Outcome::Added, ABSENT),
            Told {
                delegation: by.to_owned(),
                ..revoke(2, Outcome::Removed, "Reviewer")
            },
            run(0, "Reviewer", Outcome::Added, ABSENT),
        ]
    };
    let entries = [ABSENT, "Reviewer", ABSENT, "Author"];
    assert!(judged(&entries, &told("other")).wrong.is_empty());
    assert_eq!(judged(&entries, &told("d")).wrong.len(), 1);
}

#[test]
fn the_lost_the_stuck_and_the_miscounted_are_seen() {
    let good = || run(1, "Author", Outcome::Added, ABSENT);
    let spoilt = |spoil: fn(&mut Told)| {
        let mut told = good();
        spoil(&mut told);
        broken(&judged(&[ABSENT, "Author"], &[told]))
    };
    assert_eq!(spoilt(|_| {}), [0; 4]);
    assert_eq!(spoilt(|told| told.accepted = 2)[3], 1);
    assert_eq!(spoilt(|told| told.jobs.clear())[0], 1);
    assert_eq!(
        spoilt(|told| told.jobs[0].state = JobState::Published)[1],
        1
    );
    assert_eq!(spoilt(|told| told.state = OperationState::Listing)[1], 1);
    assert_eq!(spoilt(|told| told.state = OperationState::Cancelled)[2], 1);
    let claim = |ids: &[&str]| Wanted {
        claims: vec![Claim {
            number: 1,
            ids: ids.iter().map(ToString::to_string).collect(),
            cancelled: false,
            named: 0,
        }],
        happenings: Vec::new(),
    };
    let of = |ids: &[&str]| {
        judged_of(&claim(ids), &[ABSENT, "Author"], &[good()])
            .lost
            .len()
    };
    assert_eq!(
        (of(&["op_1", "op_1"]), of(&["op_2"]), of(&["op_1", "op_2"])),
        (0, 1, 2)
    );
}

#[test]
fn events_that_nobody_acted_on_are_lost_unless_a_later_one_was() {
    let happening = |id: &str, seconds: i64, kind| {
        let moment = EventMoment {
            at: time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds),
            kind,
            source: "s".to_owned(),
            id: id.to_owned(),
        };
        Happening {
            ticket: format!("event {id} of s"),
            moment,
            subject: "m".to_owned(),
            delegations: vec!["d".to_owned()],
        }
    };
    let wanted = Wanted {
        claims: Vec::new(),
        happenings: vec![
            happening("1", 1, EventKind::Joined),
            happening("2", 2, EventKind::Left),
        ],
    };
    let mut acted = revoke(1, Outcome::Unchanged, ABSENT);
    acted.ticket = "event 2 of s".to_owned();
    let lost = |told: &[Told]| judged_of(&wanted, &[ABSENT], told).lost.len();
    assert_eq!(lost(&[]), 1);
    assert_eq!(lost(std::slice::from_ref(&acted)), 0);
    let twice = Told {
        id: "op_2".to_owned(),
        ..acted.clone()
    };
    assert_eq!(lost(&[acted, twice]), 1);
}

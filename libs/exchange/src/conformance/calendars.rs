//! Checks of the calendars' port.

use calgrant_domain::{AccessRole, Address, Calendar, Observed, Reason};

use super::{State, World, asking, good, roles};
use crate::{Answer, Ask, CalendarCall, CallError, Meaning, Performed};

/// All of them.
pub async fn all(world: &dyn World) {
    the_calendar_is_found(world).await;
    an_entry_is_added_set_and_removed(world).await;
    every_role_is_read_as_it_was_given(world).await;
    what_is_held_is_read(world).await;
    a_delegate_is_told_from_an_editor(world).await;
    mailboxes_that_are_not_ready_are_told_apart(world).await;
    trustees_that_cannot_hold_rights_are_refused(world).await;
    a_folder_that_is_gone_is_said_to_be_gone(world).await;
    a_round_answers_each_call_in_its_place(world).await;
    a_mailbox_costs_no_more_than_it_must(world).await;
    assert_eq!(
        world.foreign_changes().await,
        0,
        "entries of others changed"
    );
}

/// The main calendar is found by its type; neither name nor place tell.
pub async fn the_calendar_is_found(world: &dyn World) {
    let calendar = find(world, &world.mailbox(State::Free)).await;
    assert!(!calendar.folder_id.is_empty());
    assert!(
        calendar.path.starts_with('\\') && calendar.path.len() > 1,
        "{calendar:?}"
    );
    assert_ne!(calendar.path, "\\Calendar", "the world has a localised one");
}

/// The life of an entry, with what is there already or not there any more.
pub async fn an_entry_is_added_set_and_removed(world: &dyn World) {
    let mailbox = world.mailbox(State::Free);
    let calendar = find(world, &mailbox).await;
    let (calendar, trustee) = (&calendar, world.trustee());
    let ask = |ask| one(world, &mailbox, ask);
    let author = AccessRole::AUTHOR;
    let editor: AccessRole = good("Editor".parse());
    let held = |role: AccessRole| Observed::Present(role.rights());

    assert_eq!(read(world, &mailbox, calendar).await, Observed::Absent);
    let failed = ask(set(calendar, &trustee, author)).await.1;
    assert_eq!(meaning(failed), Meaning::NoEntry);
    let failed = ask(remove(calendar, &trustee)).await.1;
    assert_eq!(meaning(failed), Meaning::NoEntry);
    assert_eq!(world.truth(&mailbox).await, Observed::Absent);

    assert_eq!(
        good(ask(add(calendar, &trustee, author)).await.1),
        Answer::Accepted
    );
    assert_eq!(read(world, &mailbox, calendar).await, held(author));
    assert_eq!(world.truth(&mailbox).await, held(author));
    let failed = ask(add(calendar, &trustee, editor)).await.1;
    assert_eq!(meaning(failed), Meaning::EntryExists);
    assert_eq!(world.truth(&mailbox).await, held(author));

    // Once more the same is no error.
    for role in [editor, editor, author] {
        assert_eq!(
            good(ask(set(calendar, &trustee, role)).await.1),
            Answer::Accepted
        );
        assert_eq!(read(world, &mailbox, calendar).await, held(role));
    }
    assert_eq!(
        good(ask(remove(calendar, &trustee)).await.1),
        Answer::Accepted
    );
    assert_eq!(read(world, &mailbox, calendar).await, Observed::Absent);
    assert_eq!(world.truth(&mailbox).await, Observed::Absent);
}

/// Each role and each set of rights comes back as what was given.
pub async fn every_role_is_read_as_it_was_given(world: &dyn World) {
    let mailbox = world.mailbox(State::Free);
    let calendar = find(world, &mailbox).await;
    let trustee = world.trustee();
    for (at, role) in roles().into_iter().enumerate() {
        let ask = if at == 0 {
            add(&calendar, &trustee, role)
        } else {
            set(&calendar, &trustee, role)
        };
        assert_eq!(good(one(world, &mailbox, ask).await.1), Answer::Accepted);
        let Observed::Present(held) = read(world, &mailbox, &calendar).await else {
            panic!("{role} isn't there after it was given");
        };
        assert!(held.same_as(role.rights()), "{role} is read as {held}");
        let truth = world.truth(&mailbox).await;
        // Servers differ in whether the right to edit all items is kept with the right to edit one's own.
        let the_same = matches!(truth, Observed::Present(truth) if truth.same_as(held));
        assert!(the_same, "{role} is kept as {truth:?} and read as {held}");
    }
}

/// What was there before is read, whatever it is; the trustee's display name, which others share, confuses nobody.
pub async fn what_is_held_is_read(world: &dyn World) {
    for role in roles() {
        let mailbox = world.mailbox(State::Holds(role.rights()));
        let calendar = find(world, &mailbox).await;
        let Observed::Present(held) = read(world, &mailbox, &calendar).await else {
            panic!("{role} isn't seen");
        };
        assert!(held.same_as(role.rights()), "{role} is read as {held}");
    }
}

/// A delegate's flags would be lost when its entry is set, so they are told.
pub async fn a_delegate_is_told_from_an_editor(world: &dyn World) {
    let editor: AccessRole = good("Editor".parse());
    for (state, want) in [
        (State::Delegate, world.tells_delegates()),
        (State::Holds(editor.rights()), false),
    ] {
        let mailbox = world.mailbox(state);
        let calendar = find(world, &mailbox).await;
        let ask = Ask::Read {
            calendar,
            trustee: world.trustee(),
        };
        match good(one(world, &mailbox, ask).await.1) {
            Answer::Entry { seen, delegate } => {
                assert_eq!((seen, delegate), (Observed::Present(editor.rights()), want));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A mailbox that may come is waited for; one without a calendar isn't; one out of scope is left as it is.
pub async fn mailboxes_that_are_not_ready_are_told_apart(world: &dyn World) {
    for (state, want) in [
        (State::Missing, Meaning::Park),
        (State::Unlicensed, Meaning::Park),
        (State::NotProvisioned, Meaning::Park),
        (State::NoCalendar, Meaning::GiveUp(Reason::NoCalendar)),
    ] {
        let mailbox = world.mailbox(state);
        let failed = one(world, &mailbox, Ask::FindCalendar).await.1;
        assert_eq!(meaning(failed), want, "{state:?}");
    }
    let mailbox = world.mailbox(State::OutOfScope);
    let failed = match one(world, &mailbox, Ask::FindCalendar).await.1 {
        Ok(Answer::Calendar(calendar)) => {
            let ask = add(&calendar, &world.trustee(), AccessRole::AUTHOR);
            one(world, &mailbox, ask).await.1
        }
        // Whoever acts for the owner may not even look.
        failed => failed,
    };
    assert_eq!(meaning(failed), Meaning::GiveUp(Reason::OutOfWriteScope));
    assert_eq!(world.truth(&mailbox).await, Observed::Absent);
}

/// Nobody, or a distribution group.
pub async fn trustees_that_cannot_hold_rights_are_refused(world: &dyn World) {
    let mailbox = world.mailbox(State::Free);
    let calendar = find(world, &mailbox).await;
    for trustee in [world.unknown(), world.powerless()] {
        let failed = one(
            world,
            &mailbox,
            add(&calendar, &trustee, AccessRole::AUTHOR),
        )
        .await
        .1;
        let meaning = meaning(failed);
        let refused = matches!(
            meaning,
            Meaning::GiveUp(Reason::TrusteeRefused | Reason::SharingPolicy)
        );
        assert!(refused, "{trustee}: {meaning:?}");
    }
}

/// A folder known from before, renamed or replaced since.
pub async fn a_folder_that_is_gone_is_said_to_be_gone(world: &dyn World) {
    let mailbox = world.mailbox(State::Free);
    for (folder_id, path) in [("LgAAAAAgone", "\\Gone"), ("", "")] {
        let calendar = Calendar {
            folder_id: folder_id.to_owned(),
            path: path.to_owned(),
        };
        for ask in [
            Ask::Read {
                calendar: calendar.clone(),
                trustee: world.trustee(),
            },
            add(&calendar, &world.trustee(), AccessRole::AUTHOR),
            remove(&calendar, &world.trustee()),
        ] {
            let failed = one(world, &mailbox, ask).await.1;
            assert_eq!(meaning(failed), Meaning::FolderGone, "{path:?}");
        }
    }
}

/// As many calls as a round holds, good ones and bad ones.
pub async fn a_round_answers_each_call_in_its_place(world: &dyn World) {
    let size = world.calendars().round_size();
    let states = [State::Free, State::Missing, State::NoCalendar];
    let wanted: Vec<State> = (0..size).map(|at| states[at % states.len()]).collect();
    let calls = wanted
        .iter()
        .map(|state| CalendarCall {
            mailbox: world.mailbox(*state),
            ask: Ask::FindCalendar,
        })
        .collect();
    let performed = world.calendars().perform(calls).await;
    assert_eq!(performed.answers.len(), size);
    assert!(performed.round_trips >= 1);
    assert!(!performed.abandoned());
    for (state, answer) in wanted.iter().zip(performed.answers) {
        match (state, answer) {
            (State::Free, Ok(Answer::Calendar(_))) => {}
            (State::Missing, Err(error)) if error.meaning == Meaning::Park => {}
            (State::NoCalendar, Err(error))
                if error.meaning == Meaning::GiveUp(Reason::NoCalendar) => {}
            (state, answer) => panic!("{state:?} was answered {answer:?}"),
        }
    }
}

/// Two requests for a mailbox that is as wanted, one when its folder is known, two more and the change itself for one that is
/// changed.
pub async fn a_mailbox_costs_no_more_than_it_must(world: &dyn World) {
    let (mailbox, trustee) = (world.mailbox(State::Free), world.trustee());
    let mut spent = 0;
    let mut spend = |performed: &Performed| {
        assert!(performed.sent_after.is_some());
        spent += performed.round_trips;
        spent
    };
    let (performed, found) = one(world, &mailbox, Ask::FindCalendar).await;
    spend(&performed);
    let Answer::Calendar(calendar) = good(found) else {
        panic!("no calendar");
    };
    let read = Ask::Read {
        calendar: calendar.clone(),
        trustee: trustee.clone(),
    };
    let (performed, _) = one(world, &mailbox, read.clone()).await;
    assert_eq!(spend(&performed), 2, "unchanged");
    let (performed, _) = one(
        world,
        &mailbox,
        add(&calendar, &trustee, AccessRole::AUTHOR),
    )
    .await;
    spend(&performed);
    let (performed, _) = one(world, &mailbox, read).await;
    let changed = 3 + world.requests_of_a_change();
    assert_eq!(spend(&performed), changed, "changed");
}

async fn find(world: &dyn World, mailbox: &Address) -> Calendar {
    good(world.calendars().sign_in().await);
    asking::calendar(world.calendars(), mailbox).await
}

async fn read(world: &dyn World, mailbox: &Address, calendar: &Calendar) -> Observed {
    let ask = Ask::Read {
        calendar: calendar.clone(),
        trustee: world.trustee(),
    };
    match good(one(world, mailbox, ask).await.1) {
        Answer::Entry { seen, .. } => seen,
        other => panic!("{other:?}"),
    }
}

async fn one(
    world: &dyn World,
    mailbox: &Address,
    ask: Ask,
) -> (Performed, Result<Answer, CallError>) {
    good(world.calendars().sign_in().await);
    asking::one(world.calendars(), mailbox, ask).await
}

fn meaning(answer: Result<Answer, CallError>) -> Meaning {
    match answer {
        Ok(answer) => panic!("it was answered: {answer:?}"),
        Err(error) => {
            assert!(!error.detail.server_code.is_empty(), "{error:?}");
            error.meaning
        }
    }
}

fn add(calendar: &Calendar, trustee: &Address, role: AccessRole) -> Ask {
    Ask::Add {
        calendar: calendar.clone(),
        trustee: trustee.clone(),
        role,
    }
}

fn set(calendar: &Calendar, trustee: &Address, role: AccessRole) -> Ask {
    Ask::Set {
        calendar: calendar.clone(),
        trustee: trustee.clone(),
        role,
    }
}

fn remove(calendar: &Calendar, trustee: &Address) -> Ask {
    Ask::Remove {
        calendar: calendar.clone(),
        trustee: trustee.clone(),
    }
}

//! At which site of a hybrid tenant a mailbox is worked on: at the one where it lives, and nowhere else.
//!
//! Both directories may know it: Active Directory holds everybody who is synchronised, and Entra gets them from there. Which
//! organisation has the mailbox is said by Active Directory alone (`msExchRecipientTypeDetails`); whom it doesn't know lives
//! in the cloud.

use crate::{Listed, Mailbox, Reason, SiteKind};

/// What a directory says of a recipient.
pub type What = Result<Mailbox, Reason>;

/// Whether a recipient that the directory of `here` lists has its mailbox at the tenant's other site. `on_premises` is what
/// Active Directory says of it; it is not asked of what it lists itself.
pub fn lives_elsewhere(here: SiteKind, what: &What, on_premises: Option<&What>) -> bool {
    match here {
        SiteKind::Onprem => matches!(what, Err(Reason::OtherSite)),
        SiteKind::Online => {
            matches!(on_premises, Some(Ok(_) | Err(Reason::AccountDisabled)))
        }
    }
}

/// What is recorded of a recipient at the site that lists it: nothing if it lives elsewhere and is worked on there; that it
/// lives elsewhere, if nobody works there.
pub fn recorded_here(listed: Listed, elsewhere: bool, worked_on_there: bool) -> Option<Listed> {
    match (elsewhere, worked_on_there) {
        (false, _) => Some(listed),
        (true, true) => None,
        (true, false) => Some(Listed {
            what: Err(Reason::OtherSite),
            ..listed
        }),
    }
}

/// Whether a mailbox that is waited for at `here` lives at the other site by now: `on_premises` and `online` are what the two
/// directories say of its name.
pub fn has_moved(here: SiteKind, on_premises: Option<&What>, online: Option<&What>) -> bool {
    match here {
        SiteKind::Online => matches!(on_premises, Some(Ok(_))),
        SiteKind::Onprem => {
            matches!(on_premises, Some(Err(Reason::OtherSite))) && matches!(online, Some(Ok(_)))
        }
    }
}

/// Whether a recipient without a mailbox, whom a listing found, is left to the other site's listing: its directory knows it too.
pub fn left_to_other(what: &What, other: Option<&What>) -> bool {
    *what == Err(Reason::NotAMailbox) && other.is_some_and(|other| *other != Err(Reason::NotFound))
}

/// Which of the answers of several sites to one name counts: a mailbox before a reason why there is none, and any reason before
/// not being known. `None` where nothing is recorded of it.
pub fn what_counts<'a>(answers: impl IntoIterator<Item = Option<&'a What>>) -> Option<usize> {
    let rank = |what: &What| match what {
        Ok(_) => 0,
        Err(Reason::NotFound) => 2,
        Err(_) => 1,
    };
    let known = answers.into_iter().enumerate();
    let known = known.filter_map(|(at, what)| Some((rank(what?), at)));
    known.min().map(|(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MailboxId;

    fn mailbox() -> Mailbox {
        Mailbox {
            id: MailboxId::of_unknown("here", "ada"),
            address: "ada@uni.example".parse().unwrap(),
            aliases: Vec::new(),
            kind: None,
            licensed: None,
        }
    }

    fn listed(what: What) -> Listed {
        Listed {
            id: MailboxId::of_unknown("here", "ada"),
            name: "ada@uni.example".into(),
            what,
            lines: vec![3],
        }
    }

    #[test]
    fn active_directory_decides() {
        use SiteKind::{Online, Onprem};
        let ok = || Ok(mailbox());
        for (here, what, on_premises, elsewhere) in [
            (Onprem, ok(), None, false),
            (Onprem, Err(Reason::OtherSite), None, true),
            (Onprem, Err(Reason::NotAMailbox), None, false),
            // No hybrid tenant: nobody is asked.
            (Online, ok(), None, false),
            (Online, ok(), Some(ok()), true),
            // Synchronised, without a licence: the mailbox is on premises.
            (Online, Err(Reason::Unlicensed), Some(ok()), true),
            (Online, ok(), Some(Err(Reason::AccountDisabled)), true),
            (Online, ok(), Some(Err(Reason::OtherSite)), false),
            (Online, ok(), Some(Err(Reason::NotFound)), false),
            (Online, ok(), Some(Err(Reason::NotAMailbox)), false),
            (Online, ok(), Some(Err(Reason::Ambiguous)), false),
        ] {
            let found = lives_elsewhere(here, &what, on_premises.as_ref());
            assert_eq!(found, elsewhere, "{here} {what:?} {on_premises:?}");
        }
    }

    #[test]
    fn a_mailbox_has_moved_once_the_other_site_has_it() {
        use SiteKind::{Online, Onprem};
        let (ok, other, unknown): (What, What, What) =
            (Ok(mailbox()), Err(Reason::OtherSite), Err(Reason::NotFound));
        for (here, on_premises, online, moved) in [
            (Online, Some(&ok), None, true),
            (Online, Some(&other), Some(&ok), false),
            (Online, Some(&unknown), None, false),
            (Online, None, None, false),
            (Onprem, Some(&other), Some(&ok), true),
            // On its way: no longer here, and not there yet.
            (Onprem, Some(&other), Some(&unknown), false),
            (Onprem, Some(&ok), Some(&ok), false),
            (Onprem, None, Some(&ok), false),
        ] {
            let found = has_moved(here, on_premises, online);
            assert_eq!(found, moved, "{here} {on_premises:?} {online:?}");
        }
    }

    #[test]
    fn what_lives_elsewhere_is_left_to_the_other_site_or_refused() {
        assert_eq!(recorded_here(listed(Ok(mailbox())), true, true), None);
        let refused = recorded_here(listed(Ok(mailbox())), true, false);
        assert_eq!(refused, Some(listed(Err(Reason::OtherSite))));
        let kept = recorded_here(listed(Ok(mailbox())), false, true);
        assert_eq!(kept, Some(listed(Ok(mailbox()))));
    }

    #[test]
    fn who_has_no_mailbox_is_reported_once() {
        let (ok, unknown, none): (What, What, What) = (
            Ok(mailbox()),
            Err(Reason::NotFound),
            Err(Reason::NotAMailbox),
        );
        for (what, other, left) in [
            (&none, Some(&none), true),
            (&none, Some(&ok), true),
            (&none, Some(&unknown), false),
            (&none, None, false),
            (&ok, Some(&none), false),
        ] {
            assert_eq!(left_to_other(what, other), left, "{what:?} {other:?}");
        }
    }

    #[test]
    fn a_mailbox_counts_before_reasons_and_any_reason_before_not_being_known() {
        let (ok, unknown, group) = (
            Ok(mailbox()),
            Err(Reason::NotFound),
            Err(Reason::NotAMailbox),
        );
        for (answers, want) in [
            (vec![Some(&unknown), Some(&ok)], Some(1)),
            (vec![Some(&group), Some(&ok)], Some(1)),
            (vec![Some(&unknown), Some(&group)], Some(1)),
            (vec![Some(&unknown), Some(&unknown)], Some(0)),
            (vec![None, Some(&unknown)], Some(1)),
            (vec![None, None], None),
            (vec![], None),
        ] {
            assert_eq!(what_counts(answers.clone()), want, "{answers:?}");
        }
    }
}

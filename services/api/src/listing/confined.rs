//! Listing for a run that is confined to some mailboxes: looked up by name, so that nobody waits for a whole institution to be listed.

use std::{collections::HashSet, time::Duration};

use calgrant_domain::{
    Address, Confined, DelegationSpec, Listed, Mailbox, MailboxId, Reason, Selector, SiteKind,
    delays,
};
use calgrant_exchange::Selection;

use super::{
    Listing, Place, Stopped,
    sites::{Goals, Known},
};

/// What a run is confined to.
#[derive(Debug, Clone)]
pub struct Confines {
    /// The mailboxes.
    pub confined: Confined,
    /// How long ago the operation was accepted.
    pub age: Duration,
}

impl Listing {
    /// Records those of the mailboxes that are known, each at the site where it lives, and waits for the others if that is wanted.
    pub(super) async fn select_confined(
        &mut self,
        goals: &Goals,
        spec: &DelegationSpec,
        confines: &Confines,
    ) -> Result<(), Stopped> {
        let Confined {
            mailboxes,
            beyond_selector,
            awaits,
        } = &confines.confined;
        let all = self.look_up_everywhere(goals, mailboxes).await?;
        let (unknown, known): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|known| not_there_yet(known, *awaits));
        for goal in &goals.all {
            let here = known.iter().filter(|known| known.site == goal.kind());
            let mut listed: Vec<_> = here.map(|known| known.listed.clone()).collect();
            if !listed.is_empty() && !beyond_selector {
                listed = self.only_selected(&goal.place, spec, listed).await?;
            }
            if *awaits {
                listed.iter_mut().for_each(await_licence);
            }
            if !listed.is_empty() {
                self.record_jobs(goal, listed).await?;
            }
        }
        self.await_unknown(goals, &unknown, confines).await
    }

    /// Waits for mailboxes that no site knows, if they are to be waited for and aren't too late; else records them as refused.
    async fn await_unknown(
        &mut self,
        goals: &Goals,
        unknown: &[Known],
        confines: &Confines,
    ) -> Result<(), Stopped> {
        let Some(first) = unknown.first() else {
            return Ok(());
        };
        let sites = || goals.all.iter().map(|goal| &goal.place.site);
        let limit = sites().map(|site| site.park_limit).max();
        let soonest = sites().map(|site| site.park_first).min();
        if confines.confined.awaits
            && let Some(wait) = wait(
                soonest.unwrap_or_default(),
                limit.unwrap_or_default(),
                confines.age,
            )
        {
            let more = match unknown.len() {
                1 => String::new(),
                all => format!(" and {} more", all - 1),
            };
            let why = format!(
                "{}{more}, who has no mailbox yet by the directory",
                first.asked
            );
            self.prolong_for(wait, Some(&why)).await?;
            return Err(Stopped::Later);
        }
        for goal in &goals.all {
            let here = unknown.iter().filter(|known| known.site == goal.kind());
            let refused: Vec<_> = here.map(|known| known.listed.clone()).collect();
            if !refused.is_empty() {
                self.record_jobs(goal, refused).await?;
            }
        }
        Ok(())
    }

    /// Those of these recipients that the selector selects.
    async fn only_selected(
        &mut self,
        place: &Place,
        spec: &DelegationSpec,
        listed: Vec<Listed>,
    ) -> Result<Vec<Listed>, Stopped> {
        // What can be looked up is a mailbox of the site.
        if spec.selector == Selector::All {
            return Ok(listed);
        }
        let selection = match super::asked(spec) {
            Ok(selection) => selection,
            Err(list) => return self.only_listed(&list.to_string(), listed).await,
        };
        let asked: Vec<_> = listed.iter().map(|listed| listed.id).collect();
        let members = match &selection {
            Selection::Group(group) => self.members_among(place, group, &asked).await?,
            _ => None,
        };
        let selected = match members {
            Some(members) => members,
            None => self.found_among(place, &selection, asked).await?,
        };
        let is_selected = |listed: &Listed| selected.contains(&listed.id);
        Ok(listed.into_iter().filter(is_selected).collect())
    }

    /// Those of these mailboxes that a group has as members; `None` where the directory can't be asked that.
    async fn members_among(
        &mut self,
        place: &Place,
        group: &Address,
        mailboxes: &[MailboxId],
    ) -> Result<Option<HashSet<MailboxId>>, Stopped> {
        self.ask(place, |reader| {
            let (group, mailboxes) = (group.clone(), mailboxes.to_vec());
            async move { reader.directory.members_among(&group, &mailboxes).await }
        })
        .await
    }

    /// Those of these mailboxes that a listing has: the directory is read page by page until all are found.
    async fn found_among(
        &mut self,
        place: &Place,
        selection: &Selection,
        mailboxes: Vec<MailboxId>,
    ) -> Result<HashSet<MailboxId>, Stopped> {
        let mut left: HashSet<_> = mailboxes.into_iter().collect();
        let mut selected = HashSet::new();
        let mut from = None;
        while !left.is_empty() {
            // An expired page means that it took too long between two: start again.
            let Some(page) = self.page(place, selection, from.take()).await? else {
                continue;
            };
            let found = page.listed.into_iter().map(|listed| listed.id);
            selected.extend(found.filter(|id| left.remove(id)));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        Ok(selected)
    }

    /// Those of these recipients that an uploaded list names, by whichever of their names.
    async fn only_listed(
        &mut self,
        list: &str,
        listed: Vec<Listed>,
    ) -> Result<Vec<Listed>, Stopped> {
        let mut named = HashSet::new();
        let mut after_line = 0;
        loop {
            let names = self.names(list, after_line).await?;
            let mine = names.names.into_iter().map(|name| name.address);
            named.extend(mine.filter(|name| listed.iter().any(|listed| is_called(listed, name))));
            after_line = names.next_after;
            if after_line == 0 {
                break;
            }
        }
        let is_named = |listed: &Listed| named.iter().any(|name| is_called(listed, name));
        Ok(listed.into_iter().filter(is_named).collect())
    }
}

fn is_called(listed: &Listed, name: &str) -> bool {
    let of_mailbox = |mailbox: &Mailbox| {
        mailbox.address.as_str() == name
            || mailbox.aliases.iter().any(|alias| alias.as_str() == name)
    };
    listed.name == name || listed.what.as_ref().is_ok_and(of_mailbox)
}

/// Whether no directory knows anybody of this name; or, if that is waited for, nobody who was given a mailbox.
fn not_there_yet(known: &Known, awaits: bool) -> bool {
    match known.listed.what {
        Err(Reason::NotFound) => true,
        Err(Reason::Unlicensed) => awaits,
        // In Active Directory a person is there before the mailbox is.
        Err(Reason::NotAMailbox) => awaits && known.site == SiteKind::Onprem,
        _ => false,
    }
}

/// Somebody who just joined may get the licence later: the mailbox is waited for either way.
fn await_licence(listed: &mut Listed) {
    if let Ok(mailbox) = &mut listed.what
        && mailbox.licensed == Some(false)
    {
        mailbox.licensed = None;
    }
}

/// How long to wait before looking again: as long as it took so far, up to an hour; `None` when it is too late.
fn wait(first: Duration, limit: Duration, age: Duration) -> Option<Duration> {
    let left = limit.checked_sub(age).filter(|left| !left.is_zero())?;
    Some(age.max(first).min(delays::PARK_CAP).min(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour_and_end_at_the_limit() {
        let (first, limit) = (Duration::from_secs(60), Duration::from_secs(86_400));
        let wait = |age| wait(first, limit, Duration::from_secs(age)).map(|wait| wait.as_secs());
        for (age, want) in [
            (0, Some(60)),
            (61, Some(61)),
            (1000, Some(1000)),
            (10_000, Some(3600)),
            (86_390, Some(10)),
            (86_400, None),
            (90_000, None),
        ] {
            assert_eq!(wait(age), want, "{age}");
        }
    }
}

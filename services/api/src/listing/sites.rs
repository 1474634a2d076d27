//! Several sites of one tenant: each mailbox is recorded at the one where it lives, whichever of them listed it.

use std::collections::HashMap;

use calgrant_domain::{
    Address, Listed, MailboxId, OperationFailure, Reason, SiteKind,
    whereabouts::{left_to_other, lives_elsewhere, recorded_here, what_counts},
};
use calgrant_exchange::Resolved;

use super::{Listing, Place, Stopped};

/// A site where an operation gives the right, and to whom.
pub(super) struct Goal {
    pub(super) place: Place,
    /// By its primary address.
    pub(super) trustee: Address,
}

impl Goal {
    /// Which site it is.
    pub(super) fn kind(&self) -> SiteKind {
        self.place.site.kind()
    }
}

/// Where an operation gives the right, and who says where mailboxes live.
pub(super) struct Goals {
    /// One or two, Exchange Online first.
    pub(super) all: Vec<Goal>,
    /// The tenant's site on premises, if it has one: its directory knows who lives there, whether or not the right is given there.
    on_premises: Option<Place>,
}

/// What counts of what the sites say of a name.
pub(super) struct Known {
    pub(super) asked: Address,
    /// At which site.
    pub(super) site: SiteKind,
    pub(super) listed: Listed,
}

impl Goals {
    /// These goals.
    pub(super) fn new(mut all: Vec<Goal>, on_premises: Option<Place>) -> Self {
        all.sort_by_key(Goal::kind);
        Self { all, on_premises }
    }

    /// The goal at a site of this kind.
    pub(super) fn at(&self, kind: SiteKind) -> Option<&Goal> {
        self.all.iter().find(|goal| goal.kind() == kind)
    }
}

/// Whether a failure says no more than that a site's directory doesn't know what is selected: another site's may.
pub(super) fn is_unknown_there(stopped: &Stopped) -> bool {
    use OperationFailure::{AdministrativeUnitNotFound, GroupNotFound, OuNotFound};
    let unknown = [GroupNotFound, OuNotFound, AdministrativeUnitNotFound];
    matches!(stopped, Stopped::Failed { failure, .. } if unknown.contains(failure))
}

impl Listing {
    /// Records a page that a site listed. `online_knows` says whether Exchange Online's directory knows what is selected: then it
    /// lists by itself who lives there.
    pub(super) async fn record_page(
        &mut self,
        goals: &Goals,
        goal: &Goal,
        listed: Vec<Listed>,
        online_knows: bool,
    ) -> Result<(), Stopped> {
        let here = match goal.kind() {
            SiteKind::Online => self.listed_online(goals, listed).await?,
            SiteKind::Onprem => self.listed_on_premises(goals, listed, online_knows).await?,
        };
        self.record_jobs(goal, here).await
    }

    /// Hands over what lives on premises. Answers what is recorded online.
    async fn listed_online(
        &mut self,
        goals: &Goals,
        listed: Vec<Listed>,
    ) -> Result<Vec<Listed>, Stopped> {
        let on_premises = self.on_premises(goals, &listed).await?;
        let worked_on_there = goals.at(SiteKind::Onprem);
        let (mut here, mut there) = (Vec::with_capacity(listed.len()), Vec::new());
        for listed in listed {
            let known = on_premises.get(&listed.id);
            if worked_on_there.is_some() && left_to_other(&listed.what, known.map(|one| &one.what))
            {
                continue;
            }
            let elsewhere =
                lives_elsewhere(SiteKind::Online, &listed.what, known.map(|one| &one.what));
            if elsewhere && worked_on_there.is_some() {
                there.extend(known.cloned());
            }
            here.extend(recorded_here(listed, elsewhere, worked_on_there.is_some()));
        }
        if let Some(goal) = worked_on_there.filter(|_| !there.is_empty()) {
            self.record_jobs(goal, there).await?;
        }
        Ok(here)
    }

    /// What Active Directory says of recipients that Exchange Online listed, by their keys there. Nothing for a tenant that
    /// isn't hybrid.
    async fn on_premises(
        &mut self,
        goals: &Goals,
        listed: &[Listed],
    ) -> Result<HashMap<MailboxId, Listed>, Stopped> {
        let Some(place) = &goals.on_premises else {
            return Ok(HashMap::new());
        };
        let names: HashMap<Address, MailboxId> = listed
            .iter()
            .filter_map(|listed| Some((address(listed)?, listed.id)))
            .collect();
        let asked: Vec<_> = names.keys().cloned().collect();
        let found = self.look_up_all(place, &asked).await?;
        let by_key = found
            .into_iter()
            .filter_map(|Resolved { asked, listed }| Some((*names.get(&asked)?, listed)));
        Ok(by_key.collect())
    }

    /// Hands over what lives in the cloud, unless it is listed there. Answers what is recorded on premises.
    async fn listed_on_premises(
        &mut self,
        goals: &Goals,
        listed: Vec<Listed>,
        online_knows: bool,
    ) -> Result<Vec<Listed>, Stopped> {
        let Some(goal) = goals.at(SiteKind::Online) else {
            let refused = listed.into_iter().filter_map(|listed| {
                let elsewhere = lives_elsewhere(SiteKind::Onprem, &listed.what, None);
                recorded_here(listed, elsewhere, false)
            });
            return Ok(refused.collect());
        };
        let is_asked = |listed: &&Listed| match listed.what {
            Err(Reason::OtherSite) => !online_knows,
            Err(Reason::NotAMailbox) => true,
            _ => false,
        };
        let names: Vec<_> = listed.iter().filter(is_asked).filter_map(address).collect();
        let online = self.look_up_all(&goal.place, &names).await?;
        let online: HashMap<Address, Listed> = online
            .into_iter()
            .map(|resolved| (resolved.asked, resolved.listed))
            .collect();
        let (mut here, mut there) = (Vec::with_capacity(listed.len()), Vec::new());
        for listed in listed {
            let said = address(&listed).and_then(|name| online.get(&name));
            if left_to_other(&listed.what, said.map(|listed| &listed.what)) {
                continue;
            }
            let elsewhere = lives_elsewhere(SiteKind::Onprem, &listed.what, None);
            if elsewhere {
                there.extend(said.cloned());
            }
            here.extend(recorded_here(listed, elsewhere, true));
        }
        if !there.is_empty() {
            self.record_jobs(goal, there).await?;
        }
        Ok(here)
    }

    /// Asks every site for names: each is answered once, at the site where it lives. What no site knows is answered as not found.
    pub(super) async fn look_up_everywhere(
        &mut self,
        goals: &Goals,
        names: &[Address],
    ) -> Result<Vec<Known>, Stopped> {
        let on_premises = match &goals.on_premises {
            Some(place) => self.look_up_all(place, names).await?,
            None => Vec::new(),
        };
        let online = match goals.at(SiteKind::Online) {
            Some(goal) => self.look_up_all(&goal.place, names).await?,
            None => Vec::new(),
        };
        let of = |found: &[Resolved], name: &Address| {
            let mut found = found.iter();
            let resolved = found.find(|resolved| resolved.asked == *name)?;
            Some(resolved.listed.clone())
        };
        let is_goal = |kind| goals.at(kind).is_some();
        let mut known = Vec::with_capacity(names.len());
        for name in names {
            let there = of(&on_premises, name);
            let mut answers: [(SiteKind, Option<Listed>); 2] = [
                (
                    SiteKind::Onprem,
                    there.clone().filter(|_| is_goal(SiteKind::Onprem)),
                ),
                (SiteKind::Online, of(&online, name)),
            ];
            for (kind, answer) in &mut answers {
                let other = match kind {
                    SiteKind::Online => SiteKind::Onprem,
                    SiteKind::Onprem => SiteKind::Online,
                };
                *answer = answer.take().and_then(|listed| {
                    let said = there.as_ref().map(|listed| &listed.what);
                    let elsewhere = lives_elsewhere(*kind, &listed.what, said);
                    recorded_here(listed, elsewhere, is_goal(other))
                });
            }
            let whats = answers
                .iter()
                .map(|(_, answer)| answer.as_ref().map(|listed| &listed.what));
            if let Some(at) = what_counts(whats)
                && let (site, Some(listed)) = &answers[at]
            {
                known.push(Known {
                    asked: name.clone(),
                    site: *site,
                    listed: listed.clone(),
                });
            }
        }
        Ok(known)
    }

    /// As [`Listing::look_up`], for any number of names.
    async fn look_up_all(
        &mut self,
        place: &Place,
        names: &[Address],
    ) -> Result<Vec<Resolved>, Stopped> {
        let mut found = Vec::with_capacity(names.len());
        for names in names.chunks(self.lookup_size(place).await?) {
            found.extend(self.look_up(place, names).await?);
        }
        Ok(found)
    }
}

/// A name that another directory may know a recipient by.
fn address(listed: &Listed) -> Option<Address> {
    match &listed.what {
        Ok(mailbox) => Some(mailbox.address.clone()),
        Err(_) => listed.name.parse().ok(),
    }
}

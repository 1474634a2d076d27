//! Writes entries of permission lists: the one way that every front takes, so that the judge hears of each.

use std::sync::Arc;

use crate::app::App;
use crate::calendar::{Folder, Mailbox, Principal, mask_of};
use crate::faults::About;
use crate::judge::Written;
use crate::rights;
use crate::tenant::Tenant;
use crate::world::World;

/// Who writes, and in whose mailbox.
pub(crate) struct Writer<'a> {
    pub(crate) world: &'a World,
    pub(crate) tenant: &'a Tenant,
    pub(crate) app: &'a Arc<App>,
    pub(crate) mailbox: &'a Mailbox,
}

impl Writer<'_> {
    /// Sets or removes one entry of a folder, which is known by the places of its user and its own.
    pub(crate) fn write(
        &self,
        (user, number): (usize, usize),
        folder: &mut Folder,
        principal: &Principal,
        mask: Option<u32>,
    ) {
        let lag = self.world.lag(self.mailbox.read_lag);
        folder.write(principal, mask, self.world.clock.now(), lag);
        let written = Written {
            app: self.app,
            user,
            folder: number,
            principal,
            before: mask_of(folder.seed(), principal),
            after: mask,
        };
        self.world.judge.wrote(self.tenant, &written);
    }
}

/// The owner of the mailbox may change an entry right after a read, once, before anything was granted.
pub(crate) fn user_edits(world: &World, tenant: &Tenant, about: About<'_>, folder: &mut Folder) {
    let Some(managed) = tenant.managed().into_iter().next() else {
        return;
    };
    let mask = mask_of(folder.acl(), &managed);
    if folder.user_has_edited
        || mask.is_some_and(rights::at_least_author)
        || !world.fault("user_edits_between", about)
    {
        return;
    }
    world.judge.user_edit();
    let reviewer = rights::parse(&["Reviewer"]).unwrap_or_default();
    folder.user_edit(&managed, if mask.is_some() { None } else { Some(reviewer) });
    folder.user_edit(&Principal::Default, Some(reviewer));
}

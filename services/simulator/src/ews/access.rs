//! Who asks, in whose mailbox, and what they may do there.

use std::sync::Arc;

use uuid::Uuid;

use crate::calendar::{Folder, Mailbox, Principal, mask_of};
use crate::ews::error::EwsError;
use crate::ews::ids::{self, Spot};
use crate::onprem::{Account, Rights};
use crate::tenant::{Object, Tenant};
use crate::user::Side;
use crate::world::World;
use crate::xml::Element;

pub(crate) const CREATE: u32 = 0x2;
pub(crate) const READ: u32 = 0x1;
pub(crate) const DELETE_OWN: u32 = 0x10;
pub(crate) const DELETE_ANY: u32 = 0x40;
const SUBFOLDERS: u32 = 0x80;
const OWNER: u32 = 0x100;
const VISIBLE: u32 = 0x400;
/// Everything an owner may do.
const ALL: u32 = 2043;

/// One request's caller.
pub(crate) struct Session<'a> {
    pub(crate) world: &'a World,
    pub(crate) tenant: &'a Arc<Tenant>,
    pub(crate) account: &'a Account,
    pub(crate) rights: Arc<Rights>,
    /// The user whose rights count: the account's own, or the one it impersonates.
    pub(crate) acting: usize,
    pub(crate) impersonating: bool,
    pub(crate) kind: &'a str,
}

/// A folder of a mailbox that is here.
#[derive(Clone, Copy)]
pub(crate) struct Spotted<'a> {
    pub(crate) user: usize,
    pub(crate) mailbox: &'a Mailbox,
    pub(crate) spot: Spot,
}

impl<'a> Session<'a> {
    /// The mailbox of a user, when it is here now.
    pub(crate) fn mailbox(&self, user: usize) -> Option<&'a Mailbox> {
        let mailbox = self.tenant.users[user].mailbox_at(Side::OnPremises)?;
        mailbox.is_there(self.world.clock.now()).then_some(mailbox)
    }

    fn own_mailbox(&self) -> Result<(usize, &'a Mailbox), EwsError> {
        let missing = || {
            EwsError::new(
                "ErrorMissingEmailAddress",
                "When making a request as an account that does not have a mailbox, you must specify the mailbox primary SMTP address for any distinguished folder Ids.",
            )
        };
        let mailbox = self.mailbox(self.acting).ok_or_else(missing)?;
        Ok((self.acting, mailbox))
    }

    fn by_address(&self, address: &str) -> Result<(usize, &'a Mailbox), EwsError> {
        let none = || EwsError::no_mailbox(address);
        let Some(Object::User(user)) = self.tenant.by_address(address) else {
            return Err(none());
        };
        Ok((user, self.mailbox(user).ok_or_else(none)?))
    }

    pub(crate) fn by_guid(&self, guid: Uuid) -> Result<(usize, &'a Mailbox), EwsError> {
        let Some(Object::User(user)) = self.tenant.object(&guid.to_string()) else {
            return Err(EwsError::no_item());
        };
        Ok((
            user,
            self.mailbox(user).ok_or_else(|| EwsError::no_mailbox(""))?,
        ))
    }

    /// The folder that a `FolderId` or `DistinguishedFolderId` means; it is seen by the caller.
    pub(crate) fn folder(&self, id: &Element) -> Result<Spotted<'a>, EwsError> {
        let text = id.attribute("Id").unwrap_or_default();
        let found = if id.name == "FolderId" {
            let (guid, spot) = ids::read_folder(text)?;
            let (user, mailbox) = self.by_guid(guid)?;
            Spotted {
                user,
                mailbox,
                spot,
            }
        } else {
            let address = id
                .child("Mailbox")
                .map(|mailbox| mailbox.child_text("EmailAddress").unwrap_or_default());
            let (user, mailbox) = match address {
                None => self.own_mailbox()?,
                Some(address) => self.by_address(address)?,
            };
            let spot = match text {
                "calendar" => Spot::Calendar(0),
                "msgfolderroot" => Spot::Top,
                "root" => Spot::Root,
                _ => return Err(EwsError::no_folder()),
            };
            Spotted {
                user,
                mailbox,
                spot,
            }
        };
        if self.world.fault("mailbox_move_in_progress", self.about()) {
            return Err(EwsError::new(
                "ErrorMailboxMoveInProgress",
                "The mailbox is being moved. Try again later.",
            ));
        }
        let mask = {
            let folders = found.mailbox.folders();
            let folder = held(&folders, found.spot);
            if matches!(found.spot, Spot::Calendar(_)) && folder.is_none() {
                return Err(EwsError::no_folder());
            }
            self.mask(found.user, folder)
        };
        if mask & (VISIBLE | READ | OWNER) == 0 {
            let hides = self.world.dials().hides_folders;
            return Err(if hides {
                EwsError::no_folder()
            } else {
                EwsError::access_denied()
            });
        }
        Ok(found)
    }

    pub(crate) fn about(&self) -> crate::faults::About<'_> {
        crate::faults::About {
            kind: self.kind,
            app: &self.account.name,
        }
    }

    /// Whether the caller is as good as the owner of a mailbox.
    fn owns(&self, user: usize) -> bool {
        user == self.acting
            || !self.impersonating && self.rights.full_access.holds(self.tenant, user)
    }

    /// What the caller may do in a folder of a user's mailbox: by an entry of its own, else by those of its groups
    /// together, else by that of everybody.
    pub(crate) fn mask(&self, user: usize, folder: Option<&Folder>) -> u32 {
        if self.owns(user) {
            return ALL;
        }
        let Some(folder) = folder else {
            return 0;
        };
        let acl = folder.acl();
        if let Some(mask) = mask_of(acl, &Principal::User(self.acting)) {
            return mask;
        }
        let mut by_groups = None;
        for (principal, mask) in acl {
            if let Principal::Group(group) = principal
                && self.tenant.carries(self.acting, *group)
            {
                by_groups = Some(by_groups.unwrap_or(0) | mask);
            }
        }
        by_groups
            .or_else(|| mask_of(acl, &Principal::Default))
            .unwrap_or(0)
    }

    pub(crate) fn may_grant(&self, mask: u32) -> Result<(), EwsError> {
        (mask & OWNER != 0)
            .then_some(())
            .ok_or_else(EwsError::access_denied)
    }
}

/// The folder of a spot that holds a permission list, when there is one.
pub(crate) fn held(folders: &[Folder], spot: Spot) -> Option<&Folder> {
    match spot {
        Spot::Calendar(number) => folders.get(number).filter(|folder| !folder.is_root()),
        Spot::Top => folders.iter().find(|folder| folder.is_root()),
        Spot::Root => None,
    }
}

/// `EffectiveRights` of a mask.
pub(crate) fn effective(mask: u32) -> String {
    let may = |bits: u32| if mask & bits != 0 { "true" } else { "false" };
    let rights = [
        ("CreateAssociated", may(OWNER)),
        ("CreateContents", may(CREATE)),
        ("CreateHierarchy", may(SUBFOLDERS)),
        ("Delete", may(OWNER)),
        ("Modify", may(OWNER)),
        ("Read", may(READ)),
        ("ViewPrivateItems", may(OWNER)),
    ];
    let shown = |(name, value): &(&str, &str)| crate::xml::leaf(&format!("t:{name}"), value);
    let inner: String = rights.iter().map(shown).collect();
    crate::xml::tag("t:EffectiveRights", &inner)
}

//! The port to the directory: listings, names and trustees.

use std::collections::HashSet;

use async_trait::async_trait;
use calgrant_domain::{
    Address, GroupMember, GroupSeen, Listed, MailboxId, MailboxType, OperationFailure,
};

use crate::CallError;

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Members of a group, nested ones included.
    Group(Address),
    /// What lies in an organisational unit.
    OrganizationalUnit {
        /// The unit's distinguished name.
        dn: String,
        /// How deep.
        depth: Depth,
    },
    /// Members of an administrative unit.
    AdministrativeUnit(String),
    /// Every mailbox.
    All {
        /// Of these types.
        types: Vec<MailboxType>,
    },
}

/// How deep an organisational unit is looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything below it.
    Subtree,
    /// What lies in the unit itself, not what lies in units inside it.
    OneLevel,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Recipients, suitable or not.
    pub listed: Vec<Listed>,
    /// Where to go on; `None` on the last page. Short-lived, so pages are fetched without delay.
    pub next: Option<String>,
}

/// What a trustee turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalKind {
    /// A mail-enabled security group.
    SecurityGroup,
    /// A user with a mailbox.
    Mailbox,
}

/// A trustee that can hold rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrusteeFound {
    /// Its immutable id in the directory.
    pub id: MailboxId,
    /// Its primary address.
    pub address: Address,
    /// What it is.
    pub kind: PrincipalKind,
}

/// A name of an uploaded list, looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The name that was asked for.
    pub asked: Address,
    /// What it is; lines are left empty.
    pub listed: Listed,
}

/// What came of names that were looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookedUp {
    /// Those that were answered.
    pub resolved: Vec<Resolved>,
    /// What happened to the others, if there are any: they are asked for again, as it says.
    pub rest: Option<CallError>,
}

/// Why a listing or a look-up came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    /// A call failed: what to do is in its meaning.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The place to go on from has expired: start again from the first page.
    #[error("the listing took too long between two pages and must start again")]
    Expired,
    /// It can't be carried out: a person must change the request or the directory.
    #[error("{why}")]
    Refused {
        /// The typed reason.
        failure: OperationFailure,
        /// What is wrong and what to do, naming the value.
        why: String,
    },
}

/// A reader account's access to the directory. One method call is one server call unless said otherwise.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Signs in, or does nothing while the token is good.
    ///
    /// # Errors
    /// As the sign-in endpoint says.
    async fn sign_in(&self) -> Result<(), CallError>;

    /// The app roles that the account's tokens for the directory carry; `None` where tokens don't tell, or there are none.
    ///
    /// # Errors
    /// As [`Self::sign_in`].
    async fn app_roles(&self) -> Result<Option<Vec<String>>, CallError> {
        Ok(None)
    }

    /// One page of a selection: the first with `from` = `None`. A group or unit is looked up by name first, which is one call more.
    ///
    /// # Errors
    /// The selection doesn't exist, or a call failed.
    async fn page(&self, selection: &Selection, from: Option<&str>) -> Result<Page, ListingError>;

    /// Looks names up, at most [`Self::lookup_size`] of them, in one round trip, or two where some are unknown
    /// as mailboxes. Servers may answer some names and not others, so that a full batch need never get through whole.
    ///
    /// # Errors
    /// The call as a whole failed.
    async fn look_up(&self, names: &[Address]) -> Result<LookedUp, ListingError>;

    /// How many names [`Self::look_up`] takes.
    fn lookup_size(&self) -> usize;

    /// Which of these mailboxes a group has as members, nested groups resolved; as many calls as finding the group takes, and one
    /// for each [`Self::lookup_size`] of them, however large the group is. `None` where that can't be asked: then the group is listed.
    ///
    /// # Errors
    /// There is no such group, or a call failed.
    async fn members_among(
        &self,
        _group: &Address,
        _mailboxes: &[MailboxId],
    ) -> Result<Option<HashSet<MailboxId>>, ListingError> {
        Ok(None)
    }

    /// Finds the trustee and checks that it can hold rights on a folder.
    ///
    /// # Errors
    /// There is none, or it can't.
    async fn trustee(&self, address: &Address) -> Result<TrusteeFound, ListingError>;

    /// Who is in a group, nested groups resolved, up to 1,000 or so of them; and who manages it, where the account may ask. As
    /// many calls as that takes: a page of members, or a few.
    ///
    /// # Errors
    /// There is no such group, or a call failed.
    async fn group(&self, address: &Address) -> Result<GroupSeen, ListingError> {
        members_of(self, address).await
    }
}

/// Members that are looked at.
const MEMBERS: usize = 1000;

/// Who is in a group, as a listing shows it; not who manages it.
///
/// # Errors
/// There is no such group, or a call failed.
pub async fn members_of<D: Directory + ?Sized>(
    directory: &D,
    address: &Address,
) -> Result<GroupSeen, ListingError> {
    let selection = Selection::Group(address.clone());
    let mut members = Vec::new();
    let mut from = None;
    loop {
        let page = directory.page(&selection, from.as_deref()).await?;
        members.extend(page.listed.into_iter().map(member));
        from = page.next;
        if from.is_none() || members.len() >= MEMBERS {
            return Ok(GroupSeen {
                members,
                more: from.is_some(),
                managed: None,
            });
        }
    }
}

fn member(listed: Listed) -> GroupMember {
    let aliases = match listed.what {
        Ok(mailbox) => {
            let names = std::iter::once(mailbox.address).chain(mailbox.aliases);
            names.map(|name| name.to_string()).collect()
        }
        Err(_) => Vec::new(),
    };
    GroupMember {
        name: listed.name,
        aliases,
    }
}

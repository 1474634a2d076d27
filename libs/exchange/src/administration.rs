//! The port to administration: users, licences and groups, as set-up looks for them and makes them.
//!
//! One adapter is bound to one set-up credential and, on premises, to one domain controller for as long as it lives, so that
//! what was just made is seen by the next call. Online what was made may be missing from reads for a while: callers look again.

use async_trait::async_trait;
use calgrant_domain::{
    Address, GroupChange, GroupFound, GroupMemberFound, MailboxFound, MailboxId, NewGroup, NewUser,
    SkuFound, ThrottlingPolicy, UserChange, UserFound,
};

use crate::CallError;

/// Why an administrative call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdministrationError {
    /// The call failed: what to do is in its meaning. After an unanswered one callers look before they repeat.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The name is taken, by an object that was there before or that an unanswered call made.
    #[error("the name {name} is taken")]
    Taken {
        /// The name.
        name: String,
    },
    /// What it was asked of isn't there (yet).
    #[error("{what} isn't there")]
    Missing {
        /// What was named.
        what: String,
    },
    /// The credential may not do this.
    #[error("the set-up credential may not {what}: {grant}")]
    Forbidden {
        /// What was tried, as a verb: `create users`.
        what: String,
        /// What to grant.
        grant: String,
    },
    /// The server refuses it, and repeating doesn't help: a person must change something.
    #[error("{why}")]
    Refused {
        /// What is wrong and what to do, naming the value.
        why: String,
    },
}

/// What a call gives.
pub type Administered<T> = Result<T, AdministrationError>;

/// What a set-up credential's tokens let it do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppRoles {
    /// In the directory.
    pub directory: Vec<String>,
    /// At Exchange.
    pub exchange: Vec<String>,
}

/// A set-up credential's hand in a directory and its Exchange. One method call is one server call unless said otherwise. None
/// repeats by itself.
#[async_trait]
pub trait Administration: Send + Sync {
    /// Signs in, or does nothing while the token or session is good.
    ///
    /// # Errors
    /// As the sign-in endpoint says.
    async fn sign_in(&self) -> Result<(), CallError>;

    /// The app roles that its tokens carry; `None` where tokens don't tell, or there are none.
    ///
    /// # Errors
    /// As [`Self::sign_in`].
    async fn app_roles(&self) -> Result<Option<AppRoles>, CallError> {
        Ok(None)
    }

    /// The cmdlets of Exchange that exist for it: those that its management roles have, of mailboxes and groups at least.
    ///
    /// # Errors
    /// A call failed.
    async fn cmdlets(&self) -> Administered<Vec<String>>;

    /// The throttling policy that an account is held to, by the name it signs in with; two calls. `None` where there are none.
    ///
    /// # Errors
    /// There is no such account, not allowed, or a call failed.
    async fn throttling_policy(&self, _user: &str) -> Administered<Option<ThrottlingPolicy>> {
        Ok(None)
    }

    /// The user of a user principal name; `None`: there is none, or it isn't shown yet.
    ///
    /// # Errors
    /// A call failed, or the credential may not read users.
    async fn user(&self, user_name: &Address) -> Administered<Option<UserFound>>;

    /// Makes a user; on premises (`New-Mailbox`) its mailbox too, and its mark by a second call: after an error between them the
    /// user is there without it.
    ///
    /// # Errors
    /// The name is taken; the domain isn't verified; the unit isn't there; not allowed; a call failed.
    async fn create_user(&self, user: &NewUser) -> Administered<UserFound>;

    /// Changes a user.
    ///
    /// # Errors
    /// It isn't there, is synchronised from on premises, not allowed, or a call failed.
    async fn change_user(&self, id: &MailboxId, change: &UserChange) -> Administered<()>;

    /// The products that the organisation has; none on premises.
    ///
    /// # Errors
    /// Not allowed, or a call failed.
    async fn skus(&self) -> Administered<Vec<SkuFound>>;

    /// Gives a user a product with these plans switched off; one it has already gets these plans instead.
    ///
    /// # Errors
    /// No free seat, no usage location, conflicting plans, not allowed, or a call failed.
    async fn assign_licence(
        &self,
        user: &MailboxId,
        sku_id: &str,
        disabled_plans: &[String],
    ) -> Administered<()>;

    /// Takes a product from a user.
    ///
    /// # Errors
    /// It comes through a group, not allowed, or a call failed.
    async fn remove_licence(&self, user: &MailboxId, sku_id: &str) -> Administered<()>;

    /// Whether Exchange knows the user's mailbox.
    ///
    /// # Errors
    /// Not allowed, or a call failed.
    async fn mailbox(&self, user_name: &Address) -> Administered<MailboxFound>;

    /// The group of an address, of whatever kind; `None`: there is none, or it isn't shown yet.
    ///
    /// # Errors
    /// Not allowed, or a call failed.
    async fn group(&self, address: &Address) -> Administered<Option<GroupFound>>;

    /// Makes a mail-enabled security group, closed for joining and leaving, whose owners are no members. Hiding it is a change of
    /// its own: servers can't at creation.
    ///
    /// # Errors
    /// The name or address is taken, the unit isn't there, not allowed, or a call failed.
    async fn create_group(&self, group: &NewGroup) -> Administered<GroupFound>;

    /// Changes a group.
    ///
    /// # Errors
    /// It isn't there, is synchronised from on premises, not allowed, or a call failed.
    async fn change_group(&self, address: &Address, change: &GroupChange) -> Administered<()>;

    /// The direct members of a group, all of them: a page a call.
    ///
    /// # Errors
    /// It isn't there, not allowed, or a call failed.
    async fn members(&self, address: &Address) -> Administered<Vec<GroupMemberFound>>;

    /// Makes a user a member; nothing happens to one who is.
    ///
    /// # Errors
    /// Either isn't there (yet), the group is synchronised, not allowed, or a call failed.
    async fn add_member(&self, group: &Address, member: &Address) -> Administered<()>;

    /// Takes a member out; nothing happens to one who isn't.
    ///
    /// # Errors
    /// The group isn't there or is synchronised, not allowed, or a call failed.
    async fn remove_member(&self, group: &Address, member: &Address) -> Administered<()>;

    /// Ends what is kept open at the server, after the last call. The server ends it too, later.
    async fn sign_out(&self) {}
}

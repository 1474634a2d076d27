//! What set-up tries, in words: for whoever is told that it may not, or that it came to nothing. Pure.

use calgrant_domain::{Address, GroupChange, MailboxId, NewGroup, NewUser, Password, UserChange};
use uuid::Uuid;

/// One call of set-up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attempt<'a> {
    /// Which cmdlets there are for it.
    Cmdlets,
    FindUser(&'a Address),
    CreateUser(&'a NewUser),
    ChangeUser(MailboxId, &'a UserChange),
    Products,
    AssignLicence(MailboxId, &'a str),
    RemoveLicence(MailboxId, &'a str),
    FindMailbox(&'a Address),
    /// In Exchange.
    FindGroup(&'a Address),
    /// In the directory.
    FindOtherGroup(&'a Address),
    CreateGroup(&'a NewGroup),
    ChangeGroup(&'a Address, &'a GroupChange),
    Members(&'a Address),
    AddMember(&'a Address, &'a Address),
    RemoveMember(&'a Address, &'a Address),
    /// What an application may do in Exchange; in a mailbox.
    Authorizations(Uuid, Option<&'a Address>),
    /// A management scope.
    Scope(&'a str),
    NestedGroups(&'a str),
    /// For an application.
    Consents(Uuid),
}

/// Rights in Graph, and in Exchange.
const USERS: &str = "the Graph application permission User.ReadWrite.All";
const EXCHANGE: &str = "Exchange.ManageAsApp, and the directory role Exchange Administrator or an Exchange role group that has the cmdlet and its parameters";

impl Attempt<'_> {
    /// What is tried, as a verb.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Cmdlets => "ask what it may do",
            Self::FindUser(_) => "read users",
            Self::CreateUser(_) => "create users",
            Self::ChangeUser(_, change) if change.password.is_some() => "reset passwords",
            Self::ChangeUser(..) => "change users",
            Self::Products => "read the organisation's products",
            Self::AssignLicence(..) | Self::RemoveLicence(..) => "assign licences",
            Self::FindMailbox(_) => "read mailboxes",
            Self::FindGroup(_) | Self::FindOtherGroup(_) => "read groups",
            Self::CreateGroup(_) => "create mail-enabled security groups",
            Self::ChangeGroup(..) => "change groups",
            Self::Members(_) | Self::NestedGroups(_) => "read the members of groups",
            Self::Authorizations(..) => "ask what applications may do in Exchange",
            Self::Scope(_) => "read management scopes",
            Self::Consents(_) => "see what was consented to",
            Self::AddMember(..) | Self::RemoveMember(..) => "change the members of groups",
        }
    }

    /// What to grant so that it may.
    pub(super) fn grant(&self) -> String {
        match self {
            Self::FindUser(_) => {
                "grant it the Graph application permission User.Read.All".to_owned()
            }
            Self::CreateUser(_) => format!("grant it {USERS}"),
            Self::ChangeUser(_, change) if change.password.is_some() => format!(
                "grant it {USERS} and User-PasswordProfile.ReadWrite.All, or the directory role User Administrator"
            ),
            Self::ChangeUser(..) => {
                format!("grant it {USERS}, or the directory role User Administrator")
            }
            Self::Products => {
                "grant it the Graph application permission LicenseAssignment.Read.All".to_owned()
            }
            Self::AssignLicence(..) | Self::RemoveLicence(..) => {
                "grant it the Graph application permission LicenseAssignment.ReadWrite.All"
                    .to_owned()
            }
            Self::FindOtherGroup(_) => {
                "grant it the Graph application permission GroupMember.Read.All".to_owned()
            }
            Self::Consents(_) => {
                "grant it the Graph application permission Application.Read.All".to_owned()
            }
            Self::Authorizations(..) | Self::Scope(_) => format!(
                "use a credential whose role group has the management role Role Management ({})",
                self.cmdlet()
            ),
            Self::Cmdlets => format!("grant it {EXCHANGE}"),
            Self::FindMailbox(_)
            | Self::FindGroup(_)
            | Self::CreateGroup(_)
            | Self::ChangeGroup(..)
            | Self::Members(_)
            | Self::NestedGroups(_)
            | Self::AddMember(..)
            | Self::RemoveMember(..) => format!("grant it {EXCHANGE} ({})", self.cmdlet()),
        }
    }

    /// The cmdlet it is; empty where it is a call to Graph.
    pub(super) fn cmdlet(&self) -> &'static str {
        match self {
            Self::FindMailbox(_) => "Get-Mailbox",
            Self::FindGroup(_) => "Get-DistributionGroup",
            Self::CreateGroup(_) => "New-DistributionGroup",
            Self::ChangeGroup(..) => "Set-DistributionGroup",
            Self::Members(_) | Self::NestedGroups(_) => "Get-DistributionGroupMember",
            Self::Authorizations(..) => "Test-ServicePrincipalAuthorization",
            Self::Scope(_) => "Get-ManagementScope",
            Self::AddMember(..) => "Add-DistributionGroupMember",
            Self::RemoveMember(..) => "Remove-DistributionGroupMember",
            Self::Cmdlets
            | Self::FindUser(_)
            | Self::CreateUser(_)
            | Self::ChangeUser(..)
            | Self::Products
            | Self::AssignLicence(..)
            | Self::RemoveLicence(..)
            | Self::FindOtherGroup(_)
            | Self::Consents(_) => "",
        }
    }

    /// What is tried, with its object.
    pub(super) fn deed(&self) -> String {
        match self {
            Self::Cmdlets => "ask which cmdlets there are".to_owned(),
            Self::FindUser(name) => format!("look the user {name} up"),
            Self::CreateUser(user) => format!("create the user {}", user.user_name),
            Self::ChangeUser(id, _) => format!("change the user {}", id.as_uuid()),
            Self::Products => "list the organisation's products".to_owned(),
            Self::AssignLicence(user, sku) => {
                format!("give the product {sku} to the user {}", user.as_uuid())
            }
            Self::RemoveLicence(user, sku) => {
                format!("take the product {sku} from the user {}", user.as_uuid())
            }
            Self::FindMailbox(name) => format!("look the mailbox {name} up"),
            Self::FindGroup(group) | Self::FindOtherGroup(group) => {
                format!("look the group {group} up")
            }
            Self::CreateGroup(group) => format!("create the group {}", group.address),
            Self::ChangeGroup(group, _) => format!("change the group {group}"),
            Self::Members(group) => format!("list the members of the group {group}"),
            Self::NestedGroups(group) => format!("list the members of the group {group}"),
            Self::Authorizations(application, _) => {
                format!("ask what the application {application} may do in Exchange")
            }
            Self::Scope(scope) => format!("look the management scope {scope} up"),
            Self::Consents(application) => {
                format!("list what was consented to for the application {application}")
            }
            Self::AddMember(group, member) => format!("add {member} to the group {group}"),
            Self::RemoveMember(group, member) => format!("take {member} out of the group {group}"),
        }
    }

    /// Whom or what it is about.
    pub(super) fn about(&self) -> String {
        match self {
            Self::FindUser(name) | Self::FindMailbox(name) => format!("the user {name}"),
            Self::CreateUser(user) => format!("the user {}", user.user_name),
            Self::ChangeUser(id, _) | Self::AssignLicence(id, _) | Self::RemoveLicence(id, _) => {
                format!("the user {}", id.as_uuid())
            }
            Self::Authorizations(application, _) | Self::Consents(application) => {
                format!("the application {application}")
            }
            Self::Scope(scope) => format!("the management scope {scope}"),
            Self::NestedGroups(group) => format!("the group {group}"),
            Self::Cmdlets => "the list of cmdlets".to_owned(),
            Self::Products => "the list of products".to_owned(),
            Self::CreateGroup(group) => format!("the group {}", group.address),
            Self::FindGroup(group)
            | Self::FindOtherGroup(group)
            | Self::ChangeGroup(group, _)
            | Self::Members(group)
            | Self::AddMember(group, _)
            | Self::RemoveMember(group, _) => format!("the group {group}"),
        }
    }

    /// The name that what it makes has; `None` if it makes nothing.
    pub(super) fn makes(&self) -> Option<&Address> {
        match self {
            Self::CreateUser(user) => Some(&user.user_name),
            Self::CreateGroup(group) => Some(&group.address),
            _ => None,
        }
    }

    /// Which of the names that it gives is taken, by the server's text in lower case.
    pub(super) fn taken(&self, text: &str) -> String {
        let address = self.makes().map(Address::as_str).unwrap_or_default();
        match self {
            Self::CreateGroup(group)
                if !text.contains(address) && text.contains(&group.name.to_lowercase()) =>
            {
                group.name.clone()
            }
            _ => address.to_owned(),
        }
    }

    /// Who else is named, beside whom it is about: owners, a member, or a mailbox.
    pub(super) fn others(&self) -> &[Address] {
        match self {
            Self::CreateGroup(group) => &group.owners,
            Self::ChangeGroup(_, change) => change.owners.as_deref().unwrap_or_default(),
            Self::AddMember(_, member)
            | Self::RemoveMember(_, member)
            | Self::Authorizations(_, Some(member)) => std::slice::from_ref(*member),
            _ => &[],
        }
    }

    /// The password that it carries: what a server says of it is not passed on.
    pub(super) fn password(&self) -> Option<&str> {
        match self {
            Self::CreateUser(user) => Some(user.password.reveal()),
            Self::ChangeUser(_, change) => change.password.as_ref().map(Password::reveal),
            _ => None,
        }
    }
}

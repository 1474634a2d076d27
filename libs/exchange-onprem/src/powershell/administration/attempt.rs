//! What set-up tries: as a command, and in words for whoever is told that it came to nothing. Pure.

use calgrant_domain::{Address, GroupChange, MailboxId, NewGroup, NewUser, Password};

use crate::powershell::pipeline::{Argument, Command};

/// One command of set-up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attempt<'a> {
    /// Whichever: it tells which domain controller is asked.
    AnyMailbox,
    /// What there is of mailboxes and groups for whoever asks. Every session has this one, without a domain controller.
    Cmdlets,
    /// Which throttling policy an account has of its own.
    PolicyOf(&'a str),
    /// One of its own; `None`: those that others have by default.
    Policy(Option<&'a str>),
    FindUser(&'a Address),
    CreateUser(&'a NewUser),
    Mark(MailboxId, &'a str),
    SetPassword(MailboxId, &'a Password),
    /// Lets it sign in, or not any more.
    Enable(MailboxId, bool),
    ReadBack(MailboxId),
    FindGroup(&'a Address),
    CreateGroup(&'a NewGroup),
    ChangeGroup(&'a Address, &'a GroupChange),
    Members(&'a Address),
    AddMember(&'a Address, &'a Address),
    RemoveMember(&'a Address, &'a Address),
}

type Parameters = Vec<(&'static str, Argument)>;

fn text(text: impl Into<String>) -> Argument {
    Argument::Text(text.into())
}

fn texts(addresses: &[Address]) -> Argument {
    Argument::Texts(addresses.iter().map(ToString::to_string).collect())
}

/// A mailbox, by its user's GUID.
fn this(id: MailboxId) -> (&'static str, Argument) {
    ("Identity", text(id.as_uuid().to_string()))
}

/// What stands before the `@`.
fn alias(address: &Address) -> Argument {
    text(address.as_str().split('@').next().unwrap_or_default())
}

/// Managers of a security group are asked for by cmdlets that change it; whoever sets up is none.
const NO_MANAGER: (&str, Argument) = ("BypassSecurityGroupManagerCheck", Argument::Switch(true));

impl Attempt<'_> {
    /// The command, by this domain controller.
    pub(super) fn command(&self, domain_controller: Option<&str>) -> Command {
        let mut parameters = self.parameters();
        if let Some(controller) = domain_controller {
            parameters.push(("DomainController", text(controller)));
        }
        Command {
            name: self.cmdlet(),
            parameters,
        }
    }

    /// The cmdlet.
    pub(super) fn cmdlet(&self) -> &'static str {
        match self {
            Self::AnyMailbox | Self::FindUser(_) | Self::ReadBack(_) => "Get-Mailbox",
            Self::Cmdlets => "Get-Command",
            Self::PolicyOf(_) => "Get-ThrottlingPolicyAssociation",
            Self::Policy(_) => "Get-ThrottlingPolicy",
            Self::CreateUser(_) => "New-Mailbox",
            Self::Mark(..) | Self::SetPassword(..) | Self::Enable(..) => "Set-Mailbox",
            Self::FindGroup(_) => "Get-DistributionGroup",
            Self::CreateGroup(_) => "New-DistributionGroup",
            Self::ChangeGroup(..) => "Set-DistributionGroup",
            Self::Members(_) => "Get-DistributionGroupMember",
            Self::AddMember(..) => "Add-DistributionGroupMember",
            Self::RemoveMember(..) => "Remove-DistributionGroupMember",
        }
    }

    fn parameters(&self) -> Parameters {
        match self {
            Self::AnyMailbox => vec![("ResultSize", text("1"))],
            // With wildcards, so that none that isn't there is an error.
            Self::Cmdlets => {
                let names = ["*-Mailbox", "*-DistributionGroup*", "*-ManagementRole*"];
                let names = names.map(str::to_owned).to_vec();
                vec![("Name", Argument::Texts(names))]
            }
            Self::PolicyOf(user) => vec![("Identity", text(*user))],
            Self::Policy(None) => Vec::new(),
            Self::Policy(Some(name)) => vec![("Identity", text(*name))],
            Self::FindUser(name) | Self::FindGroup(name) => {
                vec![("Identity", text(name.as_str()))]
            }
            Self::CreateUser(user) => new_mailbox(user),
            Self::ReadBack(id) => vec![this(*id)],
            Self::Mark(id, mark) => vec![this(*id), ("CustomAttribute15", text(*mark))],
            Self::SetPassword(id, password) => vec![
                this(*id),
                ("Password", Argument::Secret((*password).clone())),
                ("ResetPasswordOnNextLogon", Argument::Switch(false)),
            ],
            Self::Enable(id, enabled) => {
                vec![this(*id), ("AccountDisabled", Argument::Switch(!enabled))]
            }
            Self::CreateGroup(group) => new_group(group),
            Self::ChangeGroup(address, change) => {
                let mut parameters = vec![("Identity", text(address.as_str()))];
                parameters.extend(changes_of_group(change));
                parameters.push(NO_MANAGER);
                parameters
            }
            Self::Members(group) => vec![
                ("Identity", text(group.as_str())),
                ("ResultSize", text("Unlimited")),
            ],
            Self::AddMember(group, member) => vec![
                ("Identity", text(group.as_str())),
                ("Member", text(member.as_str())),
                NO_MANAGER,
            ],
            Self::RemoveMember(group, member) => vec![
                ("Identity", text(group.as_str())),
                ("Member", text(member.as_str())),
                NO_MANAGER,
                ("Confirm", Argument::Switch(false)),
            ],
        }
    }

    /// Whether it would be a change of nothing.
    pub(super) fn changes_nothing(&self) -> bool {
        matches!(self, Self::ChangeGroup(_, change) if changes_of_group(change).is_empty())
    }

    /// What is tried, as a verb.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::AnyMailbox | Self::FindUser(_) | Self::ReadBack(_) => "read mailboxes",
            Self::Cmdlets => "ask what it may do",
            Self::PolicyOf(_) | Self::Policy(_) => "read throttling policies",
            Self::CreateUser(_) => "create users with mailboxes",
            Self::SetPassword(..) => "reset passwords",
            Self::Mark(..) | Self::Enable(..) => "change mailboxes",
            Self::FindGroup(_) => "read groups",
            Self::CreateGroup(_) => "create mail-enabled security groups",
            Self::ChangeGroup(..) => "change groups",
            Self::Members(_) => "read the members of groups",
            Self::AddMember(..) | Self::RemoveMember(..) => "change the members of groups",
        }
    }

    /// The management roles that it takes.
    pub(super) fn roles(&self) -> &'static str {
        match self {
            Self::AnyMailbox
            | Self::Cmdlets
            | Self::FindUser(_)
            | Self::ReadBack(_)
            | Self::FindGroup(_)
            | Self::Members(_) => "View-Only Recipients",
            Self::PolicyOf(_) | Self::Policy(_) => "View-Only Configuration",
            Self::CreateUser(_) => "Mail Recipient Creation",
            Self::SetPassword(..) => "Reset Password",
            Self::Mark(..) | Self::Enable(..) => "Mail Recipients",
            Self::CreateGroup(_)
            | Self::ChangeGroup(..)
            | Self::AddMember(..)
            | Self::RemoveMember(..) => {
                "Distribution Groups and Security Group Creation and Membership"
            }
        }
    }

    /// What is tried, with its object.
    pub(super) fn deed(&self) -> String {
        match self {
            Self::AnyMailbox => "list mailboxes".to_owned(),
            Self::Cmdlets => "ask which cmdlets there are".to_owned(),
            Self::PolicyOf(user) => format!("look the throttling policy of {user} up"),
            Self::Policy(_) => "read throttling policies".to_owned(),
            Self::FindUser(name) => format!("look the mailbox {name} up"),
            Self::CreateUser(user) => format!("create the user {}", user.user_name),
            Self::ReadBack(id) => format!("look the user {} up", id.as_uuid()),
            Self::Mark(id, _) | Self::Enable(id, _) => {
                format!("change the user {}", id.as_uuid())
            }
            Self::SetPassword(id, _) => {
                format!("reset the password of the user {}", id.as_uuid())
            }
            Self::FindGroup(group) => format!("look the group {group} up"),
            Self::CreateGroup(group) => format!("create the group {}", group.address),
            Self::ChangeGroup(group, _) => format!("change the group {group}"),
            Self::Members(group) => format!("list the members of the group {group}"),
            Self::AddMember(group, member) => format!("add {member} to the group {group}"),
            Self::RemoveMember(group, member) => format!("take {member} out of the group {group}"),
        }
    }

    /// Whom or what it is about.
    pub(super) fn about(&self) -> String {
        match self {
            Self::AnyMailbox => "a mailbox".to_owned(),
            Self::Cmdlets => "the list of cmdlets".to_owned(),
            Self::PolicyOf(user) => format!("the account {user}"),
            Self::Policy(_) => "the throttling policies".to_owned(),
            Self::FindUser(name) => format!("the user {name}"),
            Self::CreateUser(user) => format!("the user {}", user.user_name),
            Self::Mark(id, _)
            | Self::SetPassword(id, _)
            | Self::Enable(id, _)
            | Self::ReadBack(id) => format!("the user {}", id.as_uuid()),
            Self::CreateGroup(group) => format!("the group {}", group.address),
            Self::FindGroup(group)
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

    /// The unit that what it makes is put into.
    pub(super) fn unit(&self) -> Option<&str> {
        match self {
            Self::CreateUser(user) => user.organizational_unit.as_deref(),
            Self::CreateGroup(group) => group.organizational_unit.as_deref(),
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

    /// Who else is named, beside whom it is about: owners, or a member.
    pub(super) fn others(&self) -> &[Address] {
        match self {
            Self::CreateGroup(group) => &group.owners,
            Self::ChangeGroup(_, change) => change.owners.as_deref().unwrap_or_default(),
            Self::AddMember(_, member) | Self::RemoveMember(_, member) => {
                std::slice::from_ref(*member)
            }
            _ => &[],
        }
    }

    /// The password that it carries: what a server says of it is not passed on.
    pub(super) fn password(&self) -> Option<&str> {
        match self {
            Self::CreateUser(user) => Some(user.password.reveal()),
            Self::SetPassword(_, password) => Some(password.reveal()),
            _ => None,
        }
    }
}

fn new_mailbox(user: &NewUser) -> Parameters {
    let mut parameters = vec![
        // Unique, as the name that it signs in with is; what people see may not be.
        ("Name", alias(&user.user_name)),
        ("Alias", alias(&user.user_name)),
        ("DisplayName", text(&user.display_name)),
        ("UserPrincipalName", text(user.user_name.as_str())),
        ("Password", Argument::Secret(user.password.clone())),
        ("ResetPasswordOnNextLogon", Argument::Switch(false)),
    ];
    if let Some(unit) = &user.organizational_unit {
        parameters.push(("OrganizationalUnit", text(unit)));
    }
    parameters
}

fn new_group(group: &NewGroup) -> Parameters {
    let mut parameters = vec![
        ("Name", text(&group.name)),
        ("DisplayName", text(&group.name)),
        ("Alias", alias(&group.address)),
        ("PrimarySmtpAddress", text(group.address.as_str())),
        ("Type", text("Security")),
        ("MemberJoinRestriction", text("Closed")),
        ("MemberDepartRestriction", text("Closed")),
        ("RequireSenderAuthenticationEnabled", Argument::Switch(true)),
    ];
    if !group.owners.is_empty() {
        parameters.push(("ManagedBy", texts(&group.owners)));
    }
    if let Some(unit) = &group.organizational_unit {
        parameters.push(("OrganizationalUnit", text(unit)));
    }
    parameters
}

fn changes_of_group(change: &GroupChange) -> Parameters {
    let mut parameters = Parameters::new();
    if let Some(closed) = change.join_closed {
        // `Open` doesn't go with security groups.
        let word = if closed { "Closed" } else { "ApprovalRequired" };
        parameters.push(("MemberJoinRestriction", text(word)));
    }
    if let Some(closed) = change.depart_closed {
        let word = if closed { "Closed" } else { "Open" };
        parameters.push(("MemberDepartRestriction", text(word)));
    }
    if let Some(hidden) = change.hidden {
        parameters.push(("HiddenFromAddressListsEnabled", Argument::Switch(hidden)));
    }
    if let Some(owners) = &change.owners {
        parameters.push(("ManagedBy", texts(owners)));
    }
    parameters
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;

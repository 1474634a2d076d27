//! The cmdlets that make distribution groups, set them, and change who is in them.

use serde_json::{Value, json};

use crate::cmdlet::{Command, Output};
use crate::dials::GROUP_NAME;
use crate::exchange::Front;
use crate::group::{MadeGroup, Settings};
use crate::ldap::escaped;
use crate::names;
use crate::parameters::Parameters;
use crate::recipients::{find, find_recipient, group_object};
use crate::reply::CmdletError;
use crate::scenario::{GroupKind, GroupSpec, JoinRestriction};
use crate::tenant::Object;
use crate::user::Side;

/// The longest name of a group.
const LONGEST: usize = 64;

fn invalid(text: impl Into<String>) -> CmdletError {
    CmdletError::new("Microsoft.Exchange.Data.DataValidationException", text)
}

/// Open, closed, or by approval, where that is given.
fn join(parameters: &Parameters<'_>) -> Result<Option<JoinRestriction>, CmdletError> {
    let all = [
        JoinRestriction::Closed,
        JoinRestriction::ApprovalRequired,
        JoinRestriction::Open,
    ];
    let called = JoinRestriction::as_str;
    named(parameters, "MemberJoinRestriction", &all, called)
}

/// One of the values a parameter takes, by its name.
fn named<T: Copy>(
    parameters: &Parameters<'_>,
    name: &str,
    all: &[T],
    called: impl Fn(T) -> &'static str,
) -> Result<Option<T>, CmdletError> {
    let Some(text) = parameters.text(name) else {
        return Ok(None);
    };
    let mut all = all.iter().copied();
    let found = all.find(|one| called(*one).eq_ignore_ascii_case(text));
    found.map(Some).ok_or_else(|| {
        CmdletError::parameter(format!(
            "Cannot bind parameter '{name}'. Cannot convert value \"{text}\" to it."
        ))
    })
}

fn leaves_freely(parameters: &Parameters<'_>) -> Result<Option<bool>, CmdletError> {
    let called = |free: bool| if free { "Open" } else { "Closed" };
    named(
        parameters,
        "MemberDepartRestriction",
        &[true, false],
        called,
    )
}

/// Who is to manage a group, as cmdlets call them.
fn owners(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Option<Vec<Object>>, CmdletError> {
    if parameters.value("ManagedBy").is_none() {
        return Ok(None);
    }
    let names = parameters.list("ManagedBy")?;
    let found = names.into_iter().map(|name| find_recipient(command, name));
    found.collect::<Result<_, _>>().map(Some)
}

fn called(command: &Command<'_>, owner: Object) -> String {
    let tenant = command.tenant;
    let on_premises = command.front.side() == Side::OnPremises;
    match owner {
        Object::User(at) if on_premises => tenant.canonical_name(at),
        Object::User(at) => tenant.users[at].common_name().to_owned(),
        Object::Group(at) if on_premises => tenant.canonical(&tenant.group_directory_name(at)),
        Object::Group(at) => tenant.groups[at].common_name.clone(),
        Object::Contact(at) => tenant.contacts[at].1.clone(),
        Object::Device(at) => tenant.devices[at].1.clone(),
    }
}

const NEW: [&str; 17] = [
    "Name",
    "Type",
    "Alias",
    "DisplayName",
    "PrimarySmtpAddress",
    "ManagedBy",
    "Members",
    "MemberJoinRestriction",
    "MemberDepartRestriction",
    "RequireSenderAuthenticationEnabled",
    "CopyOwnerToMember",
    "IgnoreNamingPolicy",
    "Notes",
    "Confirm",
    // in the cloud
    "HiddenGroupMembershipEnabled",
    "Description",
    "RoomList",
];
const NEW_ON_PREMISES: [&str; 3] = ["SamAccountName", "OrganizationalUnit", "DomainController"];

/// `New-DistributionGroup`.
pub(crate) fn create(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    match command.front {
        Front::Admin | Front::Invoke => parameters.only(&NEW)?,
        Front::Shell => parameters.only(&[&NEW[..14], &NEW_ON_PREMISES].concat())?,
    }
    let (tenant, on_premises) = (command.tenant, command.front == Front::Shell);
    let asked = parameters.required("Name")?.trim();
    let kinds = [GroupKind::Distribution, GroupKind::MailSecurity];
    let kind = named(parameters, "Type", &kinds, |kind| match kind {
        GroupKind::MailSecurity => "Security",
        _ => "Distribution",
    })?
    .unwrap_or(GroupKind::Distribution);
    let join = join(parameters)?.unwrap_or_default();
    if kind == GroupKind::MailSecurity && join == JoinRestriction::Open {
        return Err(invalid(
            "The value 'Open' for MemberJoinRestriction isn't valid for security groups.",
        ));
    }
    let alias = match parameters.text("Alias") {
        Some(alias) => names::alias(alias)?.to_owned(),
        None => names::alias_from(asked),
    };
    let policy = if on_premises || parameters.is_on("IgnoreNamingPolicy") {
        String::new()
    } else {
        command.world.dials().group_naming_policy.clone()
    };
    let by_policy = |name: &str| {
        if policy.is_empty() {
            name.to_owned()
        } else {
            policy.replace(GROUP_NAME, name)
        }
    };
    let name = by_policy(asked);
    let display = by_policy(parameters.text("DisplayName").unwrap_or(asked));
    if name.chars().count() > LONGEST {
        return Err(invalid(format!(
            "Property Name can't be longer than {LONGEST} characters; it has {}.",
            name.chars().count()
        )));
    }
    let mail = match parameters.text("PrimarySmtpAddress") {
        Some(address) => address.to_owned(),
        None => format!("{alias}@{}", tenant.domain),
    };
    names::address(tenant, &mail)?;
    let (dn, sam) = if on_premises {
        let unit = names::unit(tenant, parameters.text("OrganizationalUnit"))?;
        let sam = parameters.text("SamAccountName").unwrap_or(&alias);
        (
            Some(format!("CN={},{unit}", escaped(&name))),
            Some(sam.to_owned()),
        )
    } else {
        (None, None)
    };
    let owners = owners(command, parameters)?;
    let mut members = Vec::new();
    for member in parameters.list("Members")? {
        members.push(member_named(command, member)?);
    }
    if parameters.is_on("CopyOwnerToMember") {
        members.extend(owners.iter().flatten().copied());
    }
    let mut unique: Vec<Object> = Vec::new();
    for member in members {
        if !unique.contains(&member) {
            unique.push(member);
        }
    }
    let settings = Settings {
        owners: match owners {
            Some(owners) => owners.iter().map(|it| called(command, *it)).collect(),
            None => creator(command),
        },
        join,
        leaves_freely: leaves_freely(parameters)?.unwrap_or(kind == GroupKind::Distribution),
        takes_strangers: parameters.value("RequireSenderAuthenticationEnabled")
            == Some(&json!(false)),
        ..Settings::default()
    };
    let spec = GroupSpec {
        name: display,
        mail: Some(mail.clone()),
        alias: Some(alias.clone()),
        dn,
        synced: on_premises,
        kind,
        hidden_membership: parameters.is_on("HiddenGroupMembershipEnabled"),
        ..GroupSpec::default()
    };
    let shows = command.shows();
    let made = MadeGroup {
        common_name: name.clone(),
        sam,
        settings,
        shows,
        by: command.app.client_id.clone(),
    };
    let at = {
        let _alone = tenant.alone();
        names::free_group_name(tenant, &name)?;
        names::free_address(tenant, &mail, &alias)?;
        let at = tenant.make_group(spec, made, &command.world.dice);
        tenant.set_members(at, unique.clone(), shows);
        at
    };
    let added = u64::try_from(unique.len()).unwrap_or(u64::MAX);
    command.world.judge.did("groups_created", 1);
    command.world.judge.did("members_added", added);
    Ok(Output {
        value: vec![group_object(command, at)],
        ..Output::default()
    })
}

/// Who makes a group on premises manages it; an app is nobody who could.
fn creator(command: &Command<'_>) -> Vec<String> {
    let tenant = command.tenant;
    let user = tenant
        .user(&command.app.client_id)
        .filter(|_| command.front == Front::Shell);
    let user = user.map(|user| tenant.canonical_name(user));
    user.into_iter().collect()
}

/// Refuses who may not change this group.
fn check_manager(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
    at: usize,
) -> Result<(), CmdletError> {
    let tenant = command.tenant;
    let group = &tenant.groups[at];
    if group.spec.synced && command.front.side() == Side::Online {
        return Err(CmdletError::new(
            "Microsoft.Exchange.Configuration.Tasks.OperationRequiresWriteScopeException",
            format!(
                "The operation couldn't be performed because object '{}' is out of the current user's write scope. \
                 The object is being synchronized from your on-premises organization.",
                group.common_name
            ),
        ));
    }
    if parameters.is_on("BypassSecurityGroupManagerCheck") {
        return Ok(());
    }
    let user = tenant
        .user(&command.app.client_id)
        .filter(|_| command.front == Front::Shell);
    let owns = user.is_some_and(|at| {
        let user = &tenant.users[at];
        let canonical = tenant.canonical_name(at);
        let names = [
            user.common_name(),
            user.spec.upn.as_str(),
            user.mail.as_str(),
            user.spec.name.as_str(),
            canonical.as_str(),
        ];
        group.is_managed_by(&names)
    });
    if owns {
        return Ok(());
    }
    Err(CmdletError::new(
        "Microsoft.Exchange.Configuration.Tasks.OperationRequiresGroupManagerException",
        "You don't have sufficient permissions. This operation can only be performed by a manager of the group.",
    ))
}

const SET: [&str; 11] = [
    "Identity",
    "HiddenFromAddressListsEnabled",
    "MemberJoinRestriction",
    "MemberDepartRestriction",
    "ManagedBy",
    "AcceptMessagesOnlyFrom",
    "AcceptMessagesOnlyFromSendersOrMembers",
    "RequireSenderAuthenticationEnabled",
    "BypassSecurityGroupManagerCheck",
    "CustomAttribute15",
    "Confirm",
];

/// `Set-DistributionGroup`.
pub(crate) fn set(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    match command.front {
        Front::Admin | Front::Invoke => parameters.only(&SET)?,
        Front::Shell => parameters.only(&[&SET[..], &["DomainController"]].concat())?,
    }
    let tenant = command.tenant;
    let at = find(command, parameters.required("Identity")?)?;
    check_manager(command, parameters, at)?;
    let group = &tenant.groups[at];
    let mut settings = group.settings().as_ref().clone();
    if let Some(join) = join(parameters)? {
        if group.spec.kind == GroupKind::MailSecurity && join == JoinRestriction::Open {
            return Err(invalid(
                "The value 'Open' for MemberJoinRestriction isn't valid for security groups.",
            ));
        }
        settings.join = join;
    }
    if let Some(freely) = leaves_freely(parameters)? {
        settings.leaves_freely = freely;
    }
    if let Some(hidden) = parameters.yes_or_no("HiddenFromAddressListsEnabled")? {
        settings.hidden = hidden;
    }
    if let Some(inside_only) = parameters.yes_or_no("RequireSenderAuthenticationEnabled")? {
        settings.takes_strangers = !inside_only;
    }
    if let Some(value) = parameters.value("CustomAttribute15") {
        settings.custom_15 = value.as_str().map(str::to_owned);
    }
    if let Some(owners) = owners(command, parameters)? {
        settings.owners = owners.iter().map(|it| called(command, *it)).collect();
    }
    let shows = command.shows();
    group.set(settings, shows);
    tenant.happens(shows);
    command.world.judge.did("groups_changed", 1);
    Ok(Output::default())
}

const MEMBER: [&str; 4] = [
    "Identity",
    "Member",
    "BypassSecurityGroupManagerCheck",
    "Confirm",
];

fn member_named(command: &Command<'_>, name: &str) -> Result<Object, CmdletError> {
    let missing = |mut error: CmdletError| {
        if error.exception.ends_with("NotFoundException") {
            error.text = format!(
                "Couldn't find object \"{name}\". Please make sure that it was spelled correctly or specify a different object."
            );
        }
        error
    };
    let found = find_recipient(command, name).map_err(missing)?;
    match found {
        Object::Group(at) if command.tenant.groups[at].spec.kind == GroupKind::Unified => {
            Err(CmdletError::new(
                "Microsoft.Exchange.Management.Tasks.RecipientTaskException",
                format!(
                    "The recipient \"{name}\" is of the type GroupMailbox, which can't be a member of this group."
                ),
            ))
        }
        found => Ok(found),
    }
}

/// The group a change is about, and the one member.
fn one_member(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<(usize, Object), CmdletError> {
    match command.front {
        Front::Admin | Front::Invoke => parameters.only(&MEMBER)?,
        Front::Shell => parameters.only(&[&MEMBER[..], &["DomainController"]].concat())?,
    }
    if matches!(parameters.value("Member"), Some(Value::Array(_))) {
        return Err(CmdletError::parameter(
            "Cannot process argument transformation on parameter 'Member'. Cannot convert a list to one recipient.",
        ));
    }
    let at = find(command, parameters.required("Identity")?)?;
    check_manager(command, parameters, at)?;
    let member = member_named(command, parameters.required("Member")?)?;
    if member == Object::Group(at) {
        return Err(CmdletError::new(
            "Microsoft.Exchange.Management.Tasks.RecipientTaskException",
            "A group can't be a member of itself.",
        ));
    }
    Ok((at, member))
}

fn say(command: &Command<'_>, exception: &'static str, at: usize, member: Object) -> CmdletError {
    let is = if exception.contains("NotFound") {
        "isn't"
    } else {
        "is already"
    };
    let (member, group) = (
        called(command, member),
        &command.tenant.groups[at].common_name,
    );
    let text = format!("The recipient \"{member}\" {is} a member of the group \"{group}\".");
    CmdletError::new(exception, text)
}

/// Writes who is in a group.
fn write(command: &Command<'_>, at: usize, members: Vec<Object>, changed: Object) {
    let (tenant, shows) = (command.tenant, command.shows());
    tenant.set_members(at, members, shows);
    tenant.happens(shows);
    let licenses = !tenant.groups[at].spec.licences.is_empty();
    if let Object::User(user) = changed
        && licenses
    {
        let lag = command.world.dials().provisioning_lag_ms;
        let lag = std::time::Duration::from_millis(lag);
        tenant.relicense(user, command.now(), lag);
    }
}

/// `Add-DistributionGroupMember`.
pub(crate) fn add(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    let (at, member) = one_member(command, parameters)?;
    let _alone = command.tenant.alone();
    let mut members = command.tenant.groups[at].members().to_vec();
    if members.contains(&member) {
        let exception = "Microsoft.Exchange.Management.Tasks.MemberAlreadyExistsException";
        return Err(say(command, exception, at, member));
    }
    members.push(member);
    write(command, at, members, member);
    command.world.judge.did("members_added", 1);
    Ok(Output::default())
}

/// `Remove-DistributionGroupMember`.
pub(crate) fn remove(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    let (at, member) = one_member(command, parameters)?;
    let _alone = command.tenant.alone();
    let mut members = command.tenant.groups[at].members().to_vec();
    let before = members.len();
    members.retain(|held| *held != member);
    if members.len() == before {
        let exception = "Microsoft.Exchange.Management.Tasks.MemberNotFoundException";
        return Err(say(command, exception, at, member));
    }
    write(command, at, members, member);
    command.world.judge.did("members_removed", 1);
    Ok(Output::default())
}

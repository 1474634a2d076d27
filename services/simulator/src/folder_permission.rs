//! Get-, Add-, Set- and Remove-MailboxFolderPermission.

use serde_json::{Value, json};

use crate::calendar::{Acl, Folder, Mailbox, Principal, mask_of};
use crate::cmdlet::{Command, Output, Parameters, folder_id};
use crate::exchange::Front;
use crate::reply::CmdletError;
use crate::rights;
use crate::tenant::Object;

const NOTIFIABLE: [&str; 4] = ["AvailabilityOnly", "LimitedDetails", "Reviewer", "Editor"];

/// Where an identity points: a mailbox, and a calendar folder by its number.
struct Place<'a> {
    user: usize,
    mailbox: &'a Mailbox,
    /// `None` is the root of the mailbox.
    folder: Option<usize>,
}

fn place<'a>(command: &'a Command<'_>, identity: &str) -> Result<Place<'a>, CmdletError> {
    let (who, rest) = identity
        .split_once(':')
        .map_or((identity, None), |(who, rest)| (who, Some(rest)));
    let found = command.token.tenant.mailbox(who, command.world.clock.now());
    let (user, mailbox) = found.ok_or_else(|| CmdletError::not_found(who))?;
    let Some(rest) = rest.filter(|rest| !rest.is_empty() && *rest != "\\") else {
        return Ok(Place {
            user,
            mailbox,
            folder: None,
        });
    };
    let folders = mailbox.folders();
    let folder = match rest.strip_prefix('\\') {
        Some(path) => folders
            .iter()
            .position(|folder| folder.path.to_lowercase() == path.to_lowercase()),
        None if command.front == Front::Admin && !command.world.dials().folder_id_in_admin_api => {
            None
        }
        None => (0..folders.len()).find(|number| folder_id(mailbox, *number) == rest),
    };
    drop(folders);
    match folder {
        Some(folder) => Ok(Place {
            user,
            mailbox,
            folder: Some(folder),
        }),
        None => Err(CmdletError::not_found(identity)),
    }
}

/// Finds the trustee a call means, precisely first, by display name when that is unambiguous.
fn trustee(command: &Command<'_>, name: &str, granting: bool) -> Result<Principal, CmdletError> {
    let tenant = &command.token.tenant;
    if name.eq_ignore_ascii_case("Default") {
        return Ok(Principal::Default);
    }
    if name.eq_ignore_ascii_case("Anonymous") {
        return Ok(Principal::Anonymous);
    }
    if !granting && name.starts_with("NT:S-1-") {
        return Ok(Principal::Orphan(name.to_owned()));
    }
    let object = match (tenant.object(name), tenant.named(name)) {
        (Some(object), _) => object,
        (None, []) => {
            return Err(CmdletError::new(
                "Microsoft.Exchange.Management.StoreTasks.InvalidExternalUserIdException",
                format!(
                    "The user \"{name}\" is not valid SMTP address and there is no matching information."
                ),
            ));
        }
        (None, [only]) => *only,
        (None, _) => {
            let mut error = CmdletError::new(
                "Microsoft.Exchange.Configuration.Tasks.ManagementObjectAmbiguousException",
                format!(
                    "The operation couldn't be performed because object '{name}' matches multiple entries."
                ),
            );
            error.id = "Ex9E65A2";
            return Err(error);
        }
    };
    let now = command.world.clock.now();
    let principal = match object {
        Object::User(at)
            if tenant.users[at]
                .mailbox
                .as_ref()
                .is_some_and(|mailbox| mailbox.is_there(now)) =>
        {
            Some(Principal::User(at))
        }
        Object::Group(at) if tenant.may_hold_rights(at) => Some(Principal::Group(at)),
        _ => None,
    };
    principal.ok_or_else(|| {
        CmdletError::new(
            "Microsoft.Exchange.Management.StoreTasks.InvalidInternalUserIdException",
            format!("The user \"{name}\" is either not valid SMTP address, or there is no matching information."),
        )
    })
}

fn no_entry(command: &Command<'_>, principal: &Principal) -> CmdletError {
    let name = command.token.tenant.display_name(principal);
    CmdletError::new(
        "Microsoft.Exchange.Management.StoreTasks.UserNotFoundInPermissionEntryException",
        format!("There is no existing permission entry found for user: {name}."),
    )
}

fn show(
    command: &Command<'_>,
    place: &Place<'_>,
    folder: &Folder,
    principal: &Principal,
    mask: u32,
) -> Value {
    let tenant = &command.token.tenant;
    let name = tenant.display_name(principal);
    json!({
        "FolderName": folder.name(),
        "User": name,
        "AccessRights": rights::names(mask),
        "AccessRights@odata.type": "#Collection(String)",
        "SharingPermissionFlags": null,
        "Identity": format!("{}:\\{}\\{name}", tenant.users[place.user].alias, folder.path),
        "IsValid": true,
        "IsValid@data.type": "System.Boolean",
        "ObjectState": "New",
    })
}

pub(crate) fn get(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    match command.front {
        Front::Admin => parameters.only(&["Identity", "User", "ResultSize"])?,
        Front::Invoke => parameters.only(&[
            "Identity",
            "User",
            "ResultSize",
            "SkipCount",
            "GroupMailbox",
            "UseCustomRouting",
        ])?,
    }
    let place = place(command, parameters.required("Identity")?)?;
    let only = parameters
        .text("User")
        .map(|name| trustee(command, name, false))
        .transpose()?;
    let most = parameters.result_size()?;
    let now = command.world.clock.now();
    let Some(number) = place.folder else {
        let root = Folder::new(
            "Top of Information Store".to_owned(),
            vec![(Principal::Default, 0), (Principal::Anonymous, 0)],
        );
        let value = root
            .acl()
            .iter()
            .map(|(who, mask)| show(command, &place, &root, who, *mask))
            .collect();
        return Ok(Output {
            value,
            ..Output::default()
        });
    };
    let mut folders = place.mailbox.folders();
    let folder = &mut folders[number];
    let value: Vec<Value> = folder
        .shown(now)
        .iter()
        .filter(|(who, _)| only.as_ref().is_none_or(|only| only == who))
        .take(most)
        .map(|(who, mask)| show(command, &place, folder, who, *mask))
        .collect();
    user_edits(command, folder);
    match only {
        Some(principal) if value.is_empty() => Err(no_entry(command, &principal)),
        _ => Ok(Output {
            value,
            ..Output::default()
        }),
    }
}

/// The owner of the mailbox may change an entry right after a read, once, before anything was granted.
fn user_edits(command: &Command<'_>, folder: &mut Folder) {
    let Some(managed) = command.token.tenant.managed.first() else {
        return;
    };
    let mask = mask_of(folder.acl(), managed);
    if folder.user_has_edited
        || mask.is_some_and(rights::at_least_author)
        || !command.world.fault("user_edits_between")
    {
        return;
    }
    let reviewer = rights::parse(&["Reviewer"]).unwrap_or_default();
    folder.user_edit(managed, if mask.is_some() { None } else { Some(reviewer) });
    folder.user_edit(&Principal::Default, Some(reviewer));
}

/// Reads the rights of a grant, and refuses options that don't go with them.
fn wanted_rights(parameters: &Parameters<'_>) -> Result<u32, CmdletError> {
    let names = parameters.list("AccessRights")?;
    let mask = rights::parse(&names).map_err(CmdletError::parameter)?;
    let single = rights::names(mask);
    if parameters
        .value("SendNotificationToUser")
        .is_some_and(|value| *value == json!(true))
        && !single.iter().all(|name| NOTIFIABLE.contains(name))
    {
        return Err(CmdletError::new(
            "Microsoft.Exchange.Management.StoreTasks.InvalidSharingPermissionException",
            "SendNotificationToUser is only valid with AvailabilityOnly, LimitedDetails, Reviewer or Editor.",
        ));
    }
    let flags = parameters.list("SharingPermissionFlags")?;
    if flags.iter().any(|flag| !flag.eq_ignore_ascii_case("None")) && single != ["Editor"] {
        return Err(CmdletError::new(
            "Microsoft.Exchange.Management.StoreTasks.InvalidSharingPermissionException",
            "SharingPermissionFlags is only valid with Editor.",
        ));
    }
    Ok(mask)
}

fn grant_parameters(command: &Command<'_>, parameters: &Parameters<'_>) -> Result<(), CmdletError> {
    match command.front {
        Front::Admin => {
            parameters.only(&["Identity", "User", "AccessRights", "SharingPermissionFlags"])
        }
        Front::Invoke => parameters.only(&[
            "Identity",
            "User",
            "AccessRights",
            "SharingPermissionFlags",
            "SendNotificationToUser",
            "Confirm",
        ]),
    }
}

/// Finds folder and trustee, lets `decide` choose the new mask, and carries that out.
fn change(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
    granting: bool,
    decide: impl FnOnce(&Acl, &Principal) -> Result<Option<Option<u32>>, CmdletError>,
) -> Result<(Output, Option<Value>), CmdletError> {
    let place = place(command, parameters.required("Identity")?)?;
    let principal = trustee(command, parameters.required("User")?, granting)?;
    let Some(number) = place.folder else {
        return Err(CmdletError::new(
            "Microsoft.Exchange.Management.StoreTasks.CannotChangePermissionsOnFolderException",
            "Permissions of the top of the information store can't be changed here.",
        ));
    };
    let now = command.world.clock.now();
    let mut folders = place.mailbox.folders();
    let folder = &mut folders[number];
    let Some(mask) = decide(folder.acl(), &principal)? else {
        let name = command.token.tenant.display_name(&principal);
        let warning = format!(
            "The permission entry of {name} has these rights already; nothing was changed."
        );
        return Ok((
            Output {
                warning: Some(warning),
                ..Output::default()
            },
            None,
        ));
    };
    folder.write(&principal, mask, now, place.mailbox.read_lag);
    let judge = &command.world.judge;
    judge.wrote();
    let difference = (mask_of(folder.seed(), &principal), mask);
    judge.entry(
        &command.token.tenant,
        place.user,
        (number, &folder.path),
        &principal,
        difference,
    );
    let shown = mask.map(|mask| show(command, &place, folder, &principal, mask));
    Ok((Output::default(), shown))
}

pub(crate) fn add(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    grant_parameters(command, parameters)?;
    let mask = wanted_rights(parameters)?;
    let (mut output, created) = change(command, parameters, true, |acl, principal| {
        let special = matches!(principal, Principal::Default | Principal::Anonymous);
        match mask_of(acl, principal) {
            Some(old) if !special || old != 0 => Err(CmdletError::new(
                "Microsoft.Exchange.Management.StoreTasks.UserAlreadyExistsInPermissionEntryException",
                format!(
                    "An existing permission entry was found for user: {}.",
                    command.token.tenant.display_name(principal)
                ),
            )),
            _ => Ok(Some(Some(mask))),
        }
    })?;
    output.value.extend(created);
    Ok(output)
}

pub(crate) fn set(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    grant_parameters(command, parameters)?;
    let mask = wanted_rights(parameters)?;
    let (output, _) = change(command, parameters, false, |acl, principal| {
        match mask_of(acl, principal) {
            None => Err(no_entry(command, principal)),
            Some(old) if rights::names(old) == rights::names(mask) => Ok(None),
            Some(_) => Ok(Some(Some(mask))),
        }
    })?;
    Ok(output)
}

pub(crate) fn remove(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    match command.front {
        Front::Admin => parameters.only(&["Identity", "User"])?,
        Front::Invoke => parameters.only(&[
            "Identity",
            "User",
            "Confirm",
            "Force",
            "ResetDelegateUserCollection",
            "SendNotificationToUser",
        ])?,
    }
    let (output, _) = change(command, parameters, false, |acl, principal| {
        if matches!(principal, Principal::Default | Principal::Anonymous) {
            return Err(CmdletError::new(
                "Microsoft.Exchange.Management.StoreTasks.CannotRemoveSpecialUserException",
                "You can't remove the permission entry of the special users Default and Anonymous.",
            ));
        }
        if mask_of(acl, principal).is_none() {
            return Err(no_entry(command, principal));
        }
        Ok(Some(None))
    })?;
    Ok(output)
}

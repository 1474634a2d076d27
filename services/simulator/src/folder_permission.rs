//! Get-, Add-, Set- and Remove-MailboxFolderPermission.

use serde_json::{Value, json};

use crate::calendar::{Acl, Folder, Principal, mask_of};
use crate::cmdlet::{Command, Output};
use crate::exchange::Front;
use crate::faults::About;
use crate::parameters::Parameters;
use crate::place::{Place, Where, place, trustee};
use crate::reply::CmdletError;
use crate::rights;
use crate::writer::{Writer, user_edits};

const NOTIFIABLE: [&str; 4] = ["AvailabilityOnly", "LimitedDetails", "Reviewer", "Editor"];

fn no_entry(command: &Command<'_>, principal: &Principal) -> CmdletError {
    let name = command.tenant.display_name(principal);
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
    let tenant = command.tenant;
    let name = tenant.display_name(principal);
    json!({
        "FolderName": folder.name(),
        "User": name,
        "AccessRights": rights::names(mask),
        "AccessRights@odata.type": "#Collection(String)",
        "SharingPermissionFlags": rights::flag_names(mask),
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
        Front::Shell => parameters.only(&["Identity", "User", "DomainController"])?,
    }
    let place = place(command, parameters.required("Identity")?)?;
    let only = parameters
        .text("User")
        .map(|name| trustee(command, name, false))
        .transpose()?;
    let (skip, most) = (parameters.count("SkipCount")?, parameters.result_size()?);
    let now = command.world.clock.now();
    let mut folders = place.mailbox.folders();
    let mut plain = Folder::root();
    let folder = match place.folder {
        Where::Calendar(number) => &mut folders[number],
        Where::Root => match folders.iter_mut().find(|folder| folder.is_root()) {
            Some(root) => root,
            None => &mut plain,
        },
        Where::Birthdays => {
            plain.path = "Birthdays".to_owned();
            &mut plain
        }
    };
    let value: Vec<Value> = folder
        .shown(now)
        .iter()
        .filter(|(who, _)| only.as_ref().is_none_or(|only| only == who))
        .skip(skip)
        .take(most)
        .map(|(who, mask)| show(command, &place, folder, who, *mask))
        .collect();
    if matches!(place.folder, Where::Calendar(_)) {
        let about = About {
            kind: "Get-MailboxFolderPermission",
            app: &command.app.client_id,
        };
        user_edits(command.world, command.tenant, about, folder);
    }
    match only {
        Some(principal) if value.is_empty() => Err(no_entry(command, &principal)),
        _ => Ok(Output {
            value,
            ..Output::default()
        }),
    }
}

/// Rights as a grant asks for them.
struct Wanted {
    mask: u32,
    /// Sharing flags; `None` when the call says nothing about them.
    flags: Option<u32>,
}

impl Wanted {
    /// What an entry becomes: flags stay on an Editor, unless the call says otherwise.
    fn over(&self, old: u32) -> u32 {
        let editor = rights::names(self.mask) == ["Editor"];
        let kept = if editor { old & rights::FLAGS } else { 0 };
        self.mask | self.flags.unwrap_or(kept)
    }
}

/// Reads the rights of a grant, and refuses options that don't go with them.
fn wanted_rights(parameters: &Parameters<'_>) -> Result<Wanted, CmdletError> {
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
    let given = parameters.list("SharingPermissionFlags")?;
    let flags = rights::parse_flags(&given).map_err(CmdletError::parameter)?;
    if flags != 0 && single != ["Editor"] {
        return Err(CmdletError::new(
            "Microsoft.Exchange.Management.StoreTasks.InvalidSharingPermissionException",
            "SharingPermissionFlags is only valid with Editor.",
        ));
    }
    // naming SendNotificationToUser at all resets the flags
    let named = !given.is_empty() || parameters.value("SendNotificationToUser").is_some();
    Ok(Wanted {
        mask,
        flags: named.then_some(flags),
    })
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
        Front::Shell => parameters.only(&[
            "Identity",
            "User",
            "AccessRights",
            "SharingPermissionFlags",
            "SendNotificationToUser",
            "Confirm",
            "DomainController",
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
    let tenant = command.tenant;
    let user = &tenant.users[place.user];
    if user.spec.outside_write_scope {
        return Err(CmdletError::new(
            "Microsoft.Exchange.Configuration.Tasks.OperationRequiresWriteScopeException",
            format!(
                "The operation couldn't be performed because object '{}' is out of the current user's write scope.",
                user.alias
            ),
        ));
    }
    let mut folders = place.mailbox.folders();
    let number = match place.folder {
        Where::Calendar(number) => number,
        Where::Root => match folders.iter().position(Folder::is_root) {
            Some(number) => number,
            None => {
                folders.push(Folder::root());
                folders.len() - 1
            }
        },
        Where::Birthdays => {
            return Err(CmdletError::new(
                "Microsoft.Exchange.Management.StoreTasks.CannotChangePermissionsOnFolderException",
                "The permissions of this folder can't be changed.",
            ));
        }
    };
    let folder = &mut folders[number];
    let Some(mask) = decide(folder.acl(), &principal)? else {
        let name = command.tenant.display_name(&principal);
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
    let mask = match mask {
        Some(mask) if folder.is_root() => {
            let plain = rights::without_free_busy(mask);
            if plain == 0 && mask != 0 {
                return Err(CmdletError::parameter(
                    "AvailabilityOnly and LimitedDetails are valid on calendar folders only.",
                ));
            }
            Some(plain)
        }
        other => other,
    };
    let writer = Writer {
        world: command.world,
        tenant,
        app: command.app,
        mailbox: place.mailbox,
    };
    writer.write((place.user, number), folder, &principal, mask);
    let shown = mask.map(|mask| show(command, &place, folder, &principal, mask));
    Ok((Output::default(), shown))
}

pub(crate) fn add(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    grant_parameters(command, parameters)?;
    let wanted = wanted_rights(parameters)?;
    let (mut output, created) = change(command, parameters, true, |acl, principal| {
        let special = matches!(principal, Principal::Default | Principal::Anonymous);
        match mask_of(acl, principal) {
            Some(old) if !special || old != 0 => Err(CmdletError::new(
                "Microsoft.Exchange.Management.StoreTasks.UserAlreadyExistsInPermissionEntryException",
                format!(
                    "An existing permission entry was found for user: {}.",
                    command.tenant.display_name(principal)
                ),
            )),
            _ => Ok(Some(Some(wanted.over(0)))),
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
    let wanted = wanted_rights(parameters)?;
    let (output, _) = change(command, parameters, false, |acl, principal| {
        match mask_of(acl, principal) {
            None => Err(no_entry(command, principal)),
            Some(old) => {
                let new = wanted.over(old);
                let same = rights::names(old) == rights::names(new)
                    && rights::flag_names(old) == rights::flag_names(new);
                Ok((!same).then_some(Some(new)))
            }
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
        Front::Shell => parameters.only(&[
            "Identity",
            "User",
            "Confirm",
            "ResetDelegateUserCollection",
            "DomainController",
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
    if parameters.value("ResetDelegateUserCollection") == Some(&json!(true)) {
        reset_delegates(command, parameters)?;
    }
    Ok(output)
}

/// Takes the sharing flags off every entry of the folder, whoever's it is.
fn reset_delegates(command: &Command<'_>, parameters: &Parameters<'_>) -> Result<(), CmdletError> {
    let place = place(command, parameters.required("Identity")?)?;
    let Where::Calendar(number) = place.folder else {
        return Ok(());
    };
    let writer = Writer {
        world: command.world,
        tenant: command.tenant,
        app: command.app,
        mailbox: place.mailbox,
    };
    let mut folders = place.mailbox.folders();
    let folder = &mut folders[number];
    let flagged = |(_, mask): &&(Principal, u32)| mask & rights::FLAGS != 0;
    let delegates: Acl = folder.acl().iter().filter(flagged).cloned().collect();
    for (principal, mask) in delegates {
        let after = Some(mask & !rights::FLAGS);
        writer.write((place.user, number), folder, &principal, after);
    }
    Ok(())
}

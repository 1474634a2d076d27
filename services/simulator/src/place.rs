//! What the names in a permission cmdlet mean: a folder of a mailbox, and a trustee.

use crate::calendar::{EXTERNAL, Folder, Mailbox, Principal};
use crate::cmdlet::{BIRTHDAYS, Command, birthdays, find_mailbox, folder_id};
use crate::exchange::Front;
use crate::reply::CmdletError;
use crate::tenant::Object;
use crate::user::Side;

/// Where an identity points: a mailbox, and a folder of it.
pub(crate) struct Place<'a> {
    pub(crate) user: usize,
    pub(crate) mailbox: &'a Mailbox,
    pub(crate) folder: Where,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Where {
    /// A calendar folder by its number.
    Calendar(usize),
    /// The top of the mailbox.
    Root,
    /// A folder whose list can't be changed.
    Birthdays,
}

pub(crate) fn place<'a>(
    command: &'a Command<'_>,
    identity: &str,
) -> Result<Place<'a>, CmdletError> {
    let (who, rest) = identity
        .split_once(':')
        .map_or((identity, ""), |(who, rest)| (who, rest));
    let (user, mailbox) = find_mailbox(command, who)?;
    let folder = if rest.is_empty() || rest == "\\" {
        Some(Where::Root)
    } else {
        let by_id = command.front != Front::Admin || command.world.dials().folder_id_in_admin_api;
        let folders = mailbox.folders();
        match rest.strip_prefix('\\') {
            Some(path) => by_path(&folders, &path.to_lowercase()),
            None if by_id && rest == folder_id(mailbox, BIRTHDAYS) => Some(Where::Birthdays),
            None if by_id => (0..folders.len())
                .find(|number| folder_id(mailbox, *number) == rest)
                .map(Where::Calendar),
            None => None,
        }
    };
    match folder {
        Some(folder) => Ok(Place {
            user,
            mailbox,
            folder,
        }),
        None => Err(CmdletError::not_found(identity)),
    }
}

fn by_path(folders: &[Folder], path: &str) -> Option<Where> {
    let found = folders
        .iter()
        .position(|folder| !folder.is_root() && folder.path.to_lowercase() == path);
    let main = folders.first().filter(|folder| !folder.is_root());
    found.map(Where::Calendar).or_else(|| {
        main.filter(|main| birthdays(&main.path).to_lowercase() == path)
            .map(|_| Where::Birthdays)
    })
}

/// Finds the trustee a call means, precisely first, by display name when that is unambiguous.
pub(crate) fn trustee(
    command: &Command<'_>,
    name: &str,
    granting: bool,
) -> Result<Principal, CmdletError> {
    let tenant = command.tenant;
    if name.eq_ignore_ascii_case("Default") {
        return Ok(Principal::Default);
    }
    if name.eq_ignore_ascii_case("Anonymous") {
        return Ok(Principal::Anonymous);
    }
    if !granting && name.starts_with("NT:S-1-") {
        return Ok(Principal::Orphan(name.into()));
    }
    if !granting && name.starts_with(EXTERNAL) {
        return Ok(Principal::External(name.into()));
    }
    let now = command.world.clock.now();
    let seen = |object: &Object| command.knows(*object);
    let named: Vec<Object> = tenant
        .named(name)
        .into_iter()
        .filter(seen)
        .take(2)
        .collect();
    let here = match command.front.side() {
        Side::Online => None,
        Side::OnPremises => {
            let group = tenant.group_by_directory_name(name).map(Object::Group);
            group.or_else(|| tenant.by_directory_name(name).map(Object::User))
        }
    };
    let found = here.or_else(|| tenant.recipient(name)).filter(seen);
    let object = match (found, named.as_slice()) {
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
            return Err(CmdletError::ambiguous(name));
        }
    };
    let principal = match object {
        Object::User(at)
            if tenant.users[at]
                .mailbox_at(command.front.side())
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

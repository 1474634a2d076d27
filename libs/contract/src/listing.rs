//! Listed recipients, to and from the domain.

use calgrant_domain::{BadInput, Listed, Mailbox, MailboxId};

use crate::{
    bus::{parse, uuid},
    pb::ledger::v1 as pb,
};

/// Writes a recipient.
pub fn to_wire(listed: Listed) -> pb::Listed {
    let mut wire = pb::Listed {
        mailbox: listed.id.as_uuid().into_bytes().to_vec(),
        name: listed.name,
        lines: listed.lines,
        ..pb::Listed::default()
    };
    match listed.what {
        Ok(mailbox) => {
            wire.address = mailbox.address.to_string();
            wire.aliases = mailbox.aliases.iter().map(ToString::to_string).collect();
            wire.licensed = mailbox.licensed;
        }
        Err(reason) => wire.unsuitable = reason.to_string(),
    }
    wire
}

/// Reads a recipient.
///
/// # Errors
/// Names the field that can't be read.
pub fn from_wire(wire: pb::Listed) -> Result<Listed, BadInput> {
    let id = MailboxId::from_uuid(uuid("mailbox", &wire.mailbox)?);
    let what = if wire.unsuitable.is_empty() {
        let aliases = wire
            .aliases
            .iter()
            .map(|alias| parse("aliases", alias))
            .collect::<Result<_, _>>()?;
        Ok(Mailbox {
            kind: None,
            id,
            address: parse("address", &wire.address)?,
            aliases,
            licensed: wire.licensed,
        })
    } else {
        Err(parse("unsuitable", &wire.unsuitable)?)
    };
    Ok(Listed {
        id,
        name: wire.name,
        what,
        lines: wire.lines,
    })
}

//! Ids of folders and items, and change keys: opaque to clients, and readable here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use crate::calendar::{Folder, Mailbox};
use crate::ews::error::EwsError;

/// Every id begins like this, which reads `AAMk`.
const HEAD: [u8; 3] = [0x00, 0x03, 0x24];
/// Every change key begins like this.
const KEY_HEAD: [u8; 6] = [0x02, 0x00, 0x00, 0x00, 0x16, 0x00];

/// A folder of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spot {
    /// A calendar, by its number.
    Calendar(usize),
    /// What users see as the top of their mailbox.
    Top,
    /// The root above it.
    Root,
}

fn number(spot: Spot) -> u32 {
    match spot {
        Spot::Calendar(number) => u32::try_from(number).unwrap_or(u32::MAX - 2),
        Spot::Top => u32::MAX - 1,
        Spot::Root => u32::MAX,
    }
}

fn spot(number: u32) -> Spot {
    match number {
        u32::MAX => Spot::Root,
        n if n == u32::MAX - 1 => Spot::Top,
        n => Spot::Calendar(usize::try_from(n).unwrap_or(usize::MAX)),
    }
}

pub(crate) fn folder(mailbox: &Mailbox, spot: Spot) -> String {
    let number = number(spot).to_be_bytes();
    STANDARD.encode([&HEAD[..], mailbox.guid.as_bytes(), &number, &[1]].concat())
}

pub(crate) fn item(mailbox: &Mailbox, folder: usize, event: u32) -> String {
    let number = number(Spot::Calendar(folder)).to_be_bytes();
    let event = event.to_be_bytes();
    STANDARD.encode([&HEAD[..], mailbox.guid.as_bytes(), &number, &event, &[2]].concat())
}

/// The change key of a folder whose mailbox this is.
pub(crate) fn change_key(mailbox: &Mailbox, folder: Option<&Folder>) -> String {
    let version = folder.map_or(1, Folder::version).to_be_bytes();
    STANDARD.encode([&KEY_HEAD[..], &mailbox.guid.as_bytes()[..8], &version].concat())
}

fn bytes<'a>(text: &str, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    *buffer = STANDARD.decode(text).ok()?;
    buffer.strip_prefix(&HEAD)
}

/// The mailbox and the folder an id is of.
pub(crate) fn read_folder(text: &str) -> Result<(Uuid, Spot), EwsError> {
    let mut buffer = Vec::new();
    let read = bytes(text, &mut buffer).and_then(|rest| {
        let (guid, rest) = rest.split_first_chunk::<16>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        (rest == [1]).then(|| (Uuid::from_bytes(*guid), spot(u32::from_be_bytes(*number))))
    });
    read.ok_or_else(EwsError::bad_id)
}

/// The mailbox, the folder and the event an id is of.
pub(crate) fn read_item(text: &str) -> Result<(Uuid, usize, u32), EwsError> {
    let mut buffer = Vec::new();
    let read = bytes(text, &mut buffer).and_then(|rest| {
        let (guid, rest) = rest.split_first_chunk::<16>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (event, rest) = rest.split_first_chunk::<4>()?;
        let Spot::Calendar(folder) = spot(u32::from_be_bytes(*number)) else {
            return None;
        };
        (rest == [2]).then(|| (Uuid::from_bytes(*guid), folder, u32::from_be_bytes(*event)))
    });
    read.ok_or_else(EwsError::bad_id)
}

/// Whether a change key that came with a write is the current one.
pub(crate) fn check_change_key(given: Option<&str>, current: &str) -> Result<(), EwsError> {
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Err(EwsError::new(
            "ErrorChangeKeyRequiredForWriteOperations",
            "The change key is required for this operation.",
        ));
    };
    let readable = STANDARD
        .decode(given)
        .is_ok_and(|bytes| bytes.len() == 18 && bytes.starts_with(&KEY_HEAD));
    if !readable {
        return Err(EwsError::new(
            "ErrorInvalidChangeKey",
            "The change key is invalid.",
        ));
    }
    if given != current {
        return Err(EwsError::new(
            "ErrorIrresolvableConflict",
            "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item.",
        ));
    }
    Ok(())
}

//! Whole permission lists of calendars, for servers that know no smaller change than the whole list.
//!
//! Such a list is read, one entry of it changed, and the list written back: everybody else's entry must be the same
//! after as before. What can't be written back as it is makes the change impossible, and is named; nothing is lost silently.
//!
//! * [`level`]: an entry's rights as eight flags, and the names some sets of flags have.
//! * [`entry`]: whose an entry is, and how it is written back.
//! * [`list`]: the list, and the change of one entry in it.

pub mod entry;
pub mod level;
pub mod list;

#[cfg(test)]
mod tests;

pub use entry::{Entry, Identity, Sid, Written, WrittenEntry, WrittenIdentity};
pub use level::{Extent, Flags, Level, ReadExtent};
pub use list::{CannotRebuild, Change, PermissionList, Rebuilt, Unfaithful};

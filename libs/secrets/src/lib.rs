//! Secrets that are made here: drawn, sealed to be kept, opened where they are used, and handed over as files.
//!
//! What is sealed may be kept anywhere: without the key, which is given to a process at its start, it tells nothing, and it opens
//! under no other name than its own. Nothing here shows a secret in `Debug`, `Display` or an error.

mod folder;
mod key;

pub use folder::{Folder, HandOverError};
pub use key::{Key, KeyError, OpenError, Undrawable, draw_password};

//! Secrets that are made here: drawn, sealed to be kept, opened where they are used, and handed over as files or as
//! keys of a Secret of Kubernetes.
//!
//! What is sealed may be kept anywhere: without the key, which is given to a process at its start, it tells nothing, and it opens
//! under no other name than its own. Nothing here shows a secret in `Debug`, `Display` or an error.

mod folder;
mod key;
mod kubernetes;
mod sink;

pub use folder::Folder;
pub use key::{Key, KeyError, OpenError, Undrawable, draw_password};
pub use kubernetes::KubernetesSecret;
pub use sink::{HandOverError, Sink};

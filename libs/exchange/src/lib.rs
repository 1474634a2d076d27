//! The ports to Exchange: what the services ask of it, whichever adapter answers.
//!
//! * [`administration`]: users, licences, groups; used by set-up.
//! * [`directory`]: who is there (listings, names, trustees); used by the planner.
//! * [`calendars`]: the calendar's permission list; used by the workers.
//! * `conformance` (a feature, for tests): what every adapter must do.
//! * [`secret`]: secrets, read by whoever connects.
//! * [`error`]: what a refused or failed call means for us, classed once, in the adapter.

pub mod administration;
pub mod calendars;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod directory;
pub mod error;
pub mod secret;

pub use administration::{Administered, Administration, AdministrationError, AppRoles};
pub use calendars::{Answer, Ask, CalendarCall, Calendars, Performed};
pub use directory::{
    Depth, Directory, ListingError, LookedUp, Page, PrincipalKind, Resolved, Selection,
    TrusteeFound, members_of,
};
pub use error::{CallError, Meaning, Scope, one_line};

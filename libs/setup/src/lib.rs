//! Set-up, carried out: looks, has decided what to do, does it, and keeps a journal, so that whoever comes after a crash goes on.
//!
//! ```text
//! claim ──▶ Run ── look ──▶ hands ──▶ a directory and its Exchange, one call at a time, under the set-up credential's budget
//!            │      └─▶ decide (libs/domain/src/setup)
//!            │           └─▶ do: the journal says that it begins, then it is done, then the journal says how it ended
//!            └─▶ journal: steps; passwords, sealed before they are used
//! ```

mod hands;
pub mod journal;
mod passwords;
mod run;
pub mod wire;

pub use hands::{Budgets, Hands, Trustees};
pub use journal::{Journal, JournalError, Kept};
pub use passwords::Passwords;
pub use run::{Ended, Run};

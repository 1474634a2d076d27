//! Rules about the code itself. Each is a pure function from what is in the repository to the list of what breaks it,
//! with a planted violation in its own tests; `tests/house.rs` applies them all.

pub mod arrows;
pub mod house;
pub mod locked;
pub mod migrations;
pub mod text;

/// What breaks a rule: where, and what to do about it. Empty means kept.
pub type Violations = Vec<String>;

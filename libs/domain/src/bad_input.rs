//! The refusal of a value that came from outside.

use std::fmt;

/// One fault in what somebody sent: which field, what it held, why that is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct BadInput {
    /// Path of the field in the sender's own words, such as `site[0].account[2].workers`.
    pub field: String,
    /// The offending value as sent, shortened; empty when nothing was sent.
    pub value: String,
    /// What is wrong with it, and what would be right.
    pub why: String,
}

impl BadInput {
    /// A fault of `field`, whose value was `value`.
    pub fn new(field: impl Into<String>, value: impl fmt::Display, why: impl Into<String>) -> Self {
        const SHOWN: usize = 120;
        let mut value = value.to_string();
        if value.chars().count() > SHOWN {
            value = value.chars().take(SHOWN).chain("…".chars()).collect();
        }
        Self {
            field: field.into(),
            value,
            why: why.into(),
        }
    }

    /// A fault of a field that was left out.
    pub fn missing(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(field, "", why)
    }

    /// The same fault, seen from the message that holds the field under `outer`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = if self.field.is_empty() {
            outer.to_owned()
        } else {
            format!("{outer}.{}", self.field)
        };
        self
    }
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            write!(f, "{}: {}", self.field, self.why)
        } else {
            write!(f, "{}: {:?}: {}", self.field, self.value, self.why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_field_value_and_cure() {
        let bad =
            BadInput::new("role", "Autor", "not a calendar role; use Author").within("delegation");
        assert_eq!(
            bad.to_string(),
            "delegation.role: \"Autor\": not a calendar role; use Author"
        );
        assert_eq!(
            BadInput::missing("tenant", "name the tenant").to_string(),
            "tenant: name the tenant"
        );
    }

    #[test]
    fn long_values_are_shortened() {
        assert!(
            BadInput::new("x", "é".repeat(1000), "too long")
                .value
                .chars()
                .count()
                <= 121
        );
    }
}

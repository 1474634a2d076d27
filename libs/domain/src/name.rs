//! Names that people give: lower-case slugs, safe in queue names, URLs and file names.

use std::{fmt, str::FromStr};

use crate::BadInput;

/// Checks a slug: 1 to 63 of `a-z 0-9 -`, beginning and ending with a letter or digit.
pub(crate) fn slug(raw: &str) -> Result<String, BadInput> {
    let name = raw.trim();
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() {
        return Err(BadInput::missing(
            "",
            "a name is needed: lower-case letters, digits and hyphens",
        ));
    }
    if name.len() > 63 || !name.chars().all(inner) || name.starts_with('-') || name.ends_with('-') {
        return Err(BadInput::new(
            "",
            raw,
            "a name has 1 to 63 lower-case letters, digits and inner hyphens, such as uni-example",
        ));
    }
    Ok(name.to_owned())
}

macro_rules! slug_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::BadInput;

            fn from_str(raw: &str) -> Result<Self, Self::Err> {
                crate::name::slug(raw).map(Self)
            }
        }
    };
}
pub(crate) use slug_name;

slug_name!(
    /// The name of a tenant: one institution. Part of queue names, so it never changes.
    TenantName
);

/// Who asks: recorded with every command, and the space in which a `request_id` is unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller(String);

impl Caller {
    /// The caller as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Caller {
    type Err = BadInput;

    /// 1 to 200 printable characters.
    fn from_str(raw: &str) -> Result<Self, BadInput> {
        let caller = raw.trim();
        if caller.is_empty() || caller.chars().count() > 200 || caller.chars().any(char::is_control)
        {
            return Err(BadInput::new(
                "caller",
                raw,
                "1 to 200 printable characters that say who asks",
            ));
        }
        Ok(Self(caller.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs() {
        for (raw, good) in [
            ("uni", true),
            (" uni-1 ", true),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("Uni", false),
            ("a.b", false),
            (&"x".repeat(64), false),
        ] {
            assert_eq!(raw.parse::<TenantName>().is_ok(), good, "{raw}");
        }
    }

    #[test]
    fn callers() {
        assert!("svc:timetable".parse::<Caller>().is_ok());
        assert!(" ".parse::<Caller>().is_err());
        assert!("a\nb".parse::<Caller>().is_err());
    }
}

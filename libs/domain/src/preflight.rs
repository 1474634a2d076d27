//! Whether an account may do what it is for, and whether it may do more than that.
//!
//! Rights that an app registration holds stand in its tokens (the claim `roles`). What each purpose needs at the least, and which
//! broader right includes it, is from Microsoft's permissions reference for Graph and from "App-only authentication" of Exchange Online.

use std::fmt;

use crate::Purpose;

/// Whether a capability is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is.
    Yes,
    /// It isn't, and is needed.
    No,
    /// It couldn't be found out.
    Unknown,
    /// It is, and isn't needed: more than the least privilege.
    Beyond,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
            Self::Beyond => "beyond",
        })
    }
}

/// What was found out about one capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What an account may do, such as `read users`.
    pub capability: String,
    /// Whether it may.
    pub held: Held,
    /// Why that is so, for people; empty if there is nothing to say.
    pub why: String,
    /// What to grant, or to take away; empty if nothing is to be done.
    pub todo: String,
}

impl Finding {
    /// It is as it should be.
    pub fn yes(capability: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            capability: capability.into(),
            held: Held::Yes,
            why: why.into(),
            todo: String::new(),
        }
    }

    /// It couldn't be found out, for this reason.
    pub fn unknown(capability: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            held: Held::Unknown,
            ..Self::yes(capability, why)
        }
    }

    /// It is missing: why, and what to do.
    pub fn no(
        capability: impl Into<String>,
        why: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self {
            held: Held::No,
            todo: todo.into(),
            ..Self::yes(capability, why)
        }
    }
}

/// A capability that app roles give.
struct Need {
    capability: &'static str,
    /// The least of them.
    least: &'static str,
    /// Others that include it.
    broader: &'static [&'static str],
    /// Some organisations do without.
    optional: Option<&'static str>,
}

const READER: &[Need] = &[
    Need {
        capability: "read users",
        least: "User.Read.All",
        broader: &[
            "User.ReadWrite.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
        optional: None,
    },
    Need {
        capability: "read members of groups",
        least: "GroupMember.Read.All",
        broader: &[
            "GroupMember.ReadWrite.All",
            "Group.Read.All",
            "Group.ReadWrite.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
        optional: None,
    },
    Need {
        capability: "read hidden members of groups",
        least: "Member.Read.Hidden",
        broader: &[],
        optional: Some("needed only where a selected group hides its members"),
    },
    Need {
        capability: "read administrative units",
        least: "AdministrativeUnit.Read.All",
        broader: &[
            "AdministrativeUnit.ReadWrite.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
        optional: Some("needed only to select by administrative units"),
    },
];

const GRANTOR: &[Need] = &[Need {
    capability: "administer Exchange as an app",
    least: "Exchange.ManageAsApp",
    broader: &["Exchange.ManageAsAppV2"],
    optional: None,
}];

/// Not a broader right, though it is called another name.
const AS_GOOD: [&str; 1] = ["Exchange.ManageAsAppV2"];

/// What the app roles of an account say about its purposes: `directory` are those in its tokens for Graph, `exchange` those in its
/// tokens for Exchange; `None` where no token was had.
pub fn app_roles(
    purposes: &[Purpose],
    directory: Option<&[String]>,
    exchange: Option<&[String]>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is = |purpose| purposes.contains(&purpose);
    for (held, needs, wanted) in [
        (directory, READER, is(Purpose::Reader)),
        (exchange, GRANTOR, is(Purpose::Grantor)),
    ] {
        let Some(held) = held else {
            continue;
        };
        let needs = if wanted { needs } else { &[] };
        findings.extend(needs.iter().map(|need| of_need(need, held)));
        findings.extend(held.iter().filter_map(|role| beyond(role, needs)));
    }
    findings
}

fn of_need(need: &Need, held: &[String]) -> Finding {
    let holds = |role: &str| held.iter().any(|one| one == role);
    if holds(need.least) {
        return Finding::yes(need.capability, need.least);
    }
    if let Some(role) = need.broader.iter().find(|role| holds(role)) {
        return Finding::yes(need.capability, *role);
    }
    let grant = format!(
        "grant the application permission {} and consent to it",
        need.least
    );
    match need.optional {
        Some(when) => Finding {
            todo: format!("if so: {grant}"),
            ..Finding::unknown(need.capability, when)
        },
        None => Finding::no(
            need.capability,
            format!("its tokens don't carry {}", need.least),
            grant,
        ),
    }
}

fn beyond(role: &str, needs: &[Need]) -> Option<Finding> {
    let is_least = needs.iter().any(|need| need.least == role);
    let is_as_good =
        AS_GOOD.contains(&role) && needs.iter().any(|need| need.broader.contains(&role));
    if is_least || is_as_good {
        return None;
    }
    let instead = needs.iter().find(|need| need.broader.contains(&role));
    Some(Finding {
        capability: role.to_owned(),
        held: Held::Beyond,
        why: "more than the account is for".to_owned(),
        todo: match instead {
            Some(need) => format!("grant {} instead, and take this away", need.least),
            None => "take it away".to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn told(findings: &[Finding]) -> Vec<(&str, Held)> {
        let told = findings.iter();
        told.map(|one| (one.capability.as_str(), one.held))
            .collect()
    }

    fn reader(held: &[&str]) -> Vec<Finding> {
        app_roles(&[Purpose::Reader], Some(&roles(held)), None)
    }

    #[test]
    fn who_has_everything_is_told_nothing_to_do() {
        let all = [
            "User.Read.All",
            "GroupMember.Read.All",
            "Member.Read.Hidden",
            "AdministrativeUnit.Read.All",
        ];
        let findings = reader(&all);
        assert!(
            findings
                .iter()
                .all(|one| one.held == Held::Yes && one.todo.is_empty())
        );
        assert_eq!(findings.len(), all.len());
    }

    #[test]
    fn each_missing_role_is_named() {
        let needed = ["User.Read.All", "GroupMember.Read.All"];
        for missing in needed {
            let held: Vec<_> = needed.into_iter().filter(|role| *role != missing).collect();
            let findings = reader(&held);
            let no: Vec<_> = findings.iter().filter(|one| one.held == Held::No).collect();
            assert_eq!(no.len(), 1, "{missing}");
            assert!(no[0].todo.contains(missing), "{no:?}");
        }
        let grantor = app_roles(&[Purpose::Grantor], None, Some(&[]));
        assert_eq!(
            told(&grantor),
            [("administer Exchange as an app", Held::No)]
        );
    }

    #[test]
    fn what_is_too_much_is_named() {
        let findings = reader(&[
            "User.Read.All",
            "GroupMember.Read.All",
            "Calendars.ReadWrite",
        ]);
        let beyond: Vec<_> = findings
            .iter()
            .filter(|one| one.held == Held::Beyond)
            .collect();
        assert_eq!(beyond.len(), 1);
        assert_eq!(
            (beyond[0].capability.as_str(), beyond[0].todo.as_str()),
            ("Calendars.ReadWrite", "take it away")
        );
        // One that includes what is needed will do, and is told all the same.
        let findings = reader(&["Directory.Read.All"]);
        assert!(findings.iter().all(|one| one.held != Held::No));
        let beyond = findings.iter().find(|one| one.held == Held::Beyond);
        assert!(beyond.is_some_and(|one| one.todo.contains("User.Read.All")));
        // The second version of the right is no more than the first.
        let v2 = roles(&["Exchange.ManageAsAppV2"]);
        let grantor = app_roles(&[Purpose::Grantor], None, Some(&v2));
        assert_eq!(
            told(&grantor),
            [("administer Exchange as an app", Held::Yes)]
        );
        // Who only reads needs nothing of Exchange's.
        let both = app_roles(&[Purpose::Reader], None, Some(&v2));
        assert_eq!(told(&both), [("Exchange.ManageAsAppV2", Held::Beyond)]);
    }
}

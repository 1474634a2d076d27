//! An application that works in calendars without any delegation, by roles of Exchange's own (RBAC for Applications): what it may
//! do, where, and what undoes the limits that were meant.
//!
//! That roles in Exchange add to what the directory consented to, and that a scope by group sees direct members alone, is from "Role
//! Based Access Control for Applications in Exchange Online".

use std::fmt;

use crate::{Address, Finding};

/// A role that Exchange gave an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Its name, such as `Application Calendars.ReadWrite`.
    pub role: String,
    /// What it permits, such as `Calendars.ReadWrite`.
    pub permissions: Vec<String>,
    /// Where.
    pub scope: ApplicationScope,
    /// Whether the mailbox that was asked about is in the scope; `None` where none was, or Exchange doesn't say.
    pub in_scope: Option<bool>,
}

/// In which mailboxes a role counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplicationScope {
    /// In all of the organisation.
    Organization,
    /// In those of a management scope, by its name.
    Recipients(String),
    /// In those of another kind of scope, such as an administrative unit.
    Other {
        /// What kind, as Exchange calls it.
        kind: String,
        /// Which one.
        name: String,
    },
}

impl fmt::Display for ApplicationScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization => f.write_str("every mailbox"),
            Self::Recipients(name) => write!(f, "the scope {name}"),
            Self::Other { kind, name } => write!(f, "the {kind} {name}"),
        }
    }
}

/// An application permission that the directory consented to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Such as `Calendars.ReadWrite`.
    pub permission: String,
    /// The API that it is a permission of, by the name it shows.
    pub api: String,
}

/// What is found out by looking at roles in Exchange.
pub const WORK: &str = "work in calendars";
/// What is found out by looking at consents.
pub const NO_CONSENT: &str = "no consent beside the scope";
/// What a calendar product needs.
const WANTED: &str = "Calendars.ReadWrite";
/// What the others of a calendar product's permissions begin with.
const CALENDARS: &str = "Calendars.";
/// What permissions begin with that open mailboxes, of every API.
const OPENS_MAILBOXES: [&str; 9] = [
    CALENDARS,
    "Contacts.",
    "EWS.",
    "Exchange.",
    "Mail.",
    "MailboxFolder.",
    "MailboxItem.",
    "MailboxSettings.",
    "full_access_as_app",
];

/// What its roles in Exchange let it do, and whether in this mailbox.
pub fn authorized(all: &[Authorization], mailbox: Option<&Address>) -> Vec<Finding> {
    let permits = |one: &&Authorization| one.permissions.iter().any(|it| it == WANTED);
    let wanted: Vec<_> = all.iter().filter(permits).collect();
    let mut findings = vec![work(&wanted, mailbox)];
    for one in all {
        let is_more = |permission: &String| !permission.starts_with(CALENDARS);
        if one.permissions.iter().any(is_more) {
            findings.push(Finding::beyond(
                one.role.as_str(),
                "more than a calendar product needs",
                "remove this role assignment",
            ));
        } else if one.scope == ApplicationScope::Organization {
            findings.push(Finding::beyond(
                one.role.as_str(),
                "it counts in every mailbox",
                "assign it with -CustomResourceScope, and remove this assignment",
            ));
        }
    }
    findings
}

fn work(wanted: &[&Authorization], mailbox: Option<&Address>) -> Finding {
    if wanted.is_empty() {
        return Finding::no(
            WORK,
            format!("no role in Exchange gives it {WANTED}"),
            "run what `calgrant setup scripts --site online` prints",
        );
    }
    let scopes: Vec<_> = wanted.iter().map(|one| one.scope.to_string()).collect();
    let scopes = scopes.join(", ");
    let Some(mailbox) = mailbox else {
        return Finding::yes(
            WORK,
            format!("in {scopes}; --mailbox tries whether one is in it"),
        );
    };
    if wanted.iter().any(|one| one.in_scope == Some(true)) {
        Finding::yes(WORK, format!("{mailbox} is in {scopes}"))
    } else if wanted.iter().all(|one| one.in_scope == Some(false)) {
        Finding::no(
            WORK,
            format!("{mailbox} isn't in {scopes}"),
            "change the scope, if it should be",
        )
    } else {
        let why = format!("Exchange doesn't say whether {mailbox} is in {scopes}");
        Finding::unknown(WORK, why)
    }
}

/// What the directory consented to beside the roles in Exchange, whatever their scope.
pub fn consented(all: &[Consent]) -> Vec<Finding> {
    let opens = |one: &&Consent| {
        let mut known = OPENS_MAILBOXES.iter();
        known.any(|known| one.permission.starts_with(known))
    };
    let found: Vec<_> = all
        .iter()
        .filter(opens)
        .map(|one| {
            Finding::beyond(
                one.permission.as_str(),
                format!("the directory consented to it in {}: it counts in every mailbox, whatever the scope is", one.api),
                "take this consent away",
            )
        })
        .collect();
    if found.is_empty() {
        vec![Finding::yes(NO_CONSENT, "")]
    } else {
        found
    }
}

/// The groups that a scope's recipient filter names, by distinguished name.
pub fn groups_of(filter: &str) -> Vec<String> {
    let lower = filter.to_ascii_lowercase();
    let named = lower.match_indices("memberofgroup");
    named
        .filter_map(|(at, property)| quoted(&filter[at + property.len()..]))
        .collect()
}

/// What is compared with `-eq` at the beginning of this, between its quotes.
fn quoted(text: &str) -> Option<String> {
    let operator = text.trim_start();
    let is_equal = operator.get(..3)?.eq_ignore_ascii_case("-eq");
    let value = is_equal.then(|| operator[3..].trim_start())?;
    let mut rest = value.strip_prefix('\'')?.chars().peekable();
    let mut found = String::new();
    while let Some(next) = rest.next() {
        // A quote within is written twice.
        if next == '\'' && rest.next_if_eq(&'\'').is_none() {
            return Some(found).filter(|found| !found.is_empty());
        }
        found.push(next);
    }
    None
}

/// What is found out by looking at a scope.
pub fn scope_capability(scope: &str) -> String {
    format!("scope {scope}")
}

/// What follows from the groups within a group that a scope is made of.
pub fn scope_group(scope: &str, group: &str, nested: &[String]) -> Finding {
    let capability = scope_capability(scope);
    if nested.is_empty() {
        return Finding::yes(
            capability,
            format!("the members of {group}, which has no groups within"),
        );
    }
    Finding::no(
        capability,
        format!(
            "a scope sees direct members of {group} alone: those of {} aren't in it",
            nested.join(", ")
        ),
        "make them direct members, or limit the role by an administrative unit or an attribute",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Held;

    fn role(name: &str, scope: ApplicationScope, in_scope: Option<bool>) -> Authorization {
        Authorization {
            role: format!("Application {name}"),
            permissions: vec![name.to_owned()],
            scope,
            in_scope,
        }
    }

    fn timetable() -> ApplicationScope {
        ApplicationScope::Recipients("Timetable".to_owned())
    }

    fn told(findings: &[Finding]) -> Vec<(&str, Held)> {
        let told = findings.iter();
        told.map(|one| (one.capability.as_str(), one.held))
            .collect()
    }

    #[test]
    fn a_scope_holds_a_mailbox_or_does_not() {
        let ada: Address = "ada@uni.example".parse().unwrap();
        for (in_scope, mailbox, held) in [
            (None, None, Held::Yes),
            (Some(true), Some(&ada), Held::Yes),
            (Some(false), Some(&ada), Held::No),
            (None, Some(&ada), Held::Unknown),
        ] {
            let all = [role(WANTED, timetable(), in_scope)];
            let findings = authorized(&all, mailbox);
            assert_eq!(told(&findings), [("work in calendars", held)]);
            assert!(findings[0].why.contains("the scope Timetable"));
        }
        // One of two scopes is enough.
        let both = [
            role(WANTED, timetable(), Some(false)),
            role(WANTED, timetable(), Some(true)),
        ];
        assert_eq!(authorized(&both, Some(&ada))[0].held, Held::Yes);
        let none = authorized(&[role("Calendars.Read", timetable(), None)], None);
        assert_eq!(told(&none), [("work in calendars", Held::No)]);
        assert!(none[0].todo.contains("setup scripts"));
    }

    #[test]
    fn what_counts_everywhere_or_is_of_no_use_is_too_much() {
        let all = [
            role(WANTED, ApplicationScope::Organization, None),
            role("Mail.Read", timetable(), None),
        ];
        let findings = authorized(&all, None);
        assert_eq!(
            told(&findings),
            [
                ("work in calendars", Held::Yes),
                ("Application Calendars.ReadWrite", Held::Beyond),
                ("Application Mail.Read", Held::Beyond)
            ]
        );
        assert!(findings[1].todo.contains("-CustomResourceScope"));
    }

    #[test]
    fn consents_that_open_mailboxes_are_told() {
        let consent = |permission: &str| Consent {
            permission: permission.to_owned(),
            api: "Microsoft Graph".to_owned(),
        };
        let harmless = [consent("User.Read.All"), consent("MailboxLike.Read")];
        assert_eq!(told(&consented(&harmless)), [(NO_CONSENT, Held::Yes)]);
        let all = [
            consent("User.Read.All"),
            consent(WANTED),
            consent("full_access_as_app"),
        ];
        assert_eq!(
            told(&consented(&all)),
            [(WANTED, Held::Beyond), ("full_access_as_app", Held::Beyond)]
        );
    }

    #[test]
    fn the_groups_of_a_filter_are_found() {
        for (filter, groups) in [
            ("MemberOfGroup -eq 'CN=staff,DC=x'", vec!["CN=staff,DC=x"]),
            (
                "((memberofgroup -EQ 'CN=o''neil,DC=x') -or (MemberOfGroup -eq 'CN=b')) -and Alias -ne 'x'",
                vec!["CN=o'neil,DC=x", "CN=b"],
            ),
            ("CustomAttribute1 -eq 'MemberOfGroup'", vec![]),
            ("MemberOfGroup -ne 'CN=b'", vec![]),
            ("MemberOfGroup -eq 'unfinished", vec![]),
            ("MemberOfGroup -eq ''", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(groups_of(filter), groups, "{filter}");
        }
    }

    #[test]
    fn groups_within_a_scopes_group_are_told() {
        let none = scope_group("Timetable", "CN=staff", &[]);
        assert_eq!(none.held, Held::Yes);
        let some = scope_group("Timetable", "CN=staff", &["Students".to_owned()]);
        assert_eq!(some.held, Held::No);
        assert!(some.why.contains("Students") && some.why.contains("CN=staff"));
    }
}

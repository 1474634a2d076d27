//! Whether an account may do what it is for, and whether it may do more than that.
//!
//! Rights that an app registration holds stand in its tokens (the claim `roles`). What each purpose needs at the least, and which
//! broader right includes it, is from Microsoft's permissions reference for Graph and from "App-only authentication" of Exchange Online.

use std::fmt;

use crate::{
    Purpose, SiteKind,
    setup::{ManagedBy, ManagedParts},
};

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

    /// It is there and isn't needed: why that matters, and what to take away.
    pub fn beyond(
        capability: impl Into<String>,
        why: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self {
            held: Held::Beyond,
            ..Self::no(capability, why, todo)
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

const SETUP: &[Need] = &[
    Need {
        capability: "create and change users",
        least: "User.ReadWrite.All",
        broader: &["Directory.ReadWrite.All"],
        optional: None,
    },
    Need {
        capability: "assign licences",
        least: "LicenseAssignment.ReadWrite.All",
        broader: &["User.ReadWrite.All", "Directory.ReadWrite.All"],
        optional: None,
    },
    Need {
        capability: "read products",
        least: "LicenseAssignment.Read.All",
        broader: &[
            "LicenseAssignment.ReadWrite.All",
            "Organization.Read.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
        optional: None,
    },
    Need {
        capability: "see groups of every kind",
        least: "GroupMember.Read.All",
        broader: &[
            "Group.Read.All",
            "Group.ReadWrite.All",
            "GroupMember.ReadWrite.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
        optional: None,
    },
    Need {
        capability: "see what was consented to",
        least: "Application.Read.All",
        broader: &["Directory.Read.All", "Directory.ReadWrite.All"],
        optional: Some("needed only to look at an application with `calgrant check --application`"),
    },
    Need {
        capability: "reset passwords",
        least: "User-PasswordProfile.ReadWrite.All",
        broader: &[],
        optional: Some(
            "needed only to rotate passwords; the directory role User Administrator will do, too",
        ),
    },
];

/// Why a right is too much.
const MORE: &str = "more than the account is for";

/// Not broader rights, though they are called other names.
const AS_GOOD: [&str; 2] = ["Exchange.ManageAsAppV2", "Organization.Read.All"];

/// What the app roles of an account say about its purposes: `directory` are those in its tokens for Graph, `exchange` those in its
/// tokens for Exchange; `None` where no token was had.
pub fn app_roles(
    purposes: &[Purpose],
    directory: Option<&[String]>,
    exchange: Option<&[String]>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is = |purpose| purposes.contains(&purpose);
    let of = |purpose, needs: &'static [Need]| if is(purpose) { needs } else { &[] };
    let exchange_needs = is(Purpose::Grantor) || is(Purpose::Setup);
    let exchange_needs: &[Need] = if exchange_needs { GRANTOR } else { &[] };
    for (held, needs) in [
        (
            directory,
            [of(Purpose::Reader, READER), of(Purpose::Setup, SETUP)],
        ),
        (exchange, [exchange_needs, &[]]),
    ] {
        let Some(held) = held else {
            continue;
        };
        let needs: Vec<&Need> = needs.into_iter().flatten().collect();
        findings.extend(needs.iter().map(|need| of_need(need, held)));
        findings.extend(held.iter().filter_map(|role| beyond(role, &needs)));
    }
    findings
}

/// Cmdlets that a part of a set-up takes.
struct Work {
    capability: &'static str,
    cmdlets: &'static [&'static str],
    /// The management roles that have them, at the least.
    roles: &'static str,
}

const FIND: Work = Work {
    capability: "find mailboxes and groups",
    cmdlets: &[
        "Get-Mailbox",
        "Get-DistributionGroup",
        "Get-DistributionGroupMember",
    ],
    roles: "View-Only Recipients",
};
const MAKE_ACCOUNTS: Work = Work {
    capability: "create accounts with mailboxes",
    cmdlets: &["New-Mailbox"],
    roles: "Mail Recipient Creation",
};
const CHANGE_ACCOUNTS: Work = Work {
    capability: "change accounts and reset passwords",
    cmdlets: &["Set-Mailbox"],
    roles: "Mail Recipients and Reset Password",
};
const MAKE_GROUPS: Work = Work {
    capability: "create and change groups",
    cmdlets: &["New-DistributionGroup", "Set-DistributionGroup"],
    roles: "Security Group Creation and Membership",
};
const CHANGE_MEMBERS: Work = Work {
    capability: "change the members of groups",
    cmdlets: &[
        "Add-DistributionGroupMember",
        "Remove-DistributionGroupMember",
    ],
    roles: "Security Group Creation and Membership",
};

/// What no set-up needs, by a cmdlet that tells of it: the role that has it, and at which site that is so; `None`: at both.
const TOO_MUCH: [(&str, &str, Option<SiteKind>); 3] = [
    ("New-ManagementRoleAssignment", "Role Management", None),
    (
        "Set-MailboxFolderPermission",
        "Mail Recipients",
        Some(SiteKind::Online),
    ),
    ("New-MailboxExportRequest", "Mailbox Import Export", None),
];

/// What the cmdlets that there are for a set-up credential say of its work at this site; nothing of the parts that somebody else makes.
pub fn set_up(site: SiteKind, managed: &ManagedParts, cmdlets: &[String]) -> Vec<Finding> {
    let ours = |part: ManagedBy| part == ManagedBy::Calgrant;
    let on_premises = site == SiteKind::Onprem;
    let there = |name: &str| cmdlets.iter().any(|one| one.eq_ignore_ascii_case(name));
    let mut findings: Vec<_> = [
        (true, FIND),
        (on_premises && ours(managed.accounts), MAKE_ACCOUNTS),
        (on_premises && ours(managed.accounts), CHANGE_ACCOUNTS),
        (ours(managed.group), MAKE_GROUPS),
        (ours(managed.members), CHANGE_MEMBERS),
    ]
    .into_iter()
    .filter_map(|(wanted, work)| wanted.then_some(work))
    .map(|work| {
        let missing = work.cmdlets.iter().copied().filter(|name| !there(name));
        let missing: Vec<_> = missing.collect();
        if missing.is_empty() {
            return Finding::yes(work.capability, work.cmdlets.join(", "));
        }
        Finding::no(
            work.capability,
            format!("there is no {} for it", missing.join(", ")),
            format!("assign it the management role {}", work.roles),
        )
    })
    .collect();
    let too_much = TOO_MUCH
        .iter()
        .filter(|(cmdlet, _, at)| there(cmdlet) && at.is_none_or(|at| at == site));
    findings.extend(too_much.map(|(cmdlet, role, _)| {
        let todo = format!("take the management role {role} away, or the role group that has it");
        Finding::beyond(*cmdlet, MORE, todo)
    }));
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

fn beyond(role: &str, needs: &[&Need]) -> Option<Finding> {
    let is_least = needs.iter().any(|need| need.least == role);
    let is_as_good =
        AS_GOOD.contains(&role) && needs.iter().any(|need| need.broader.contains(&role));
    if is_least || is_as_good {
        return None;
    }
    let instead = needs.iter().find(|need| need.broader.contains(&role));
    let todo = match instead {
        Some(need) => format!("grant {} instead, and take this away", need.least),
        None => "take it away".to_owned(),
    };
    Some(Finding::beyond(role, MORE, todo))
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
    fn a_set_up_needs_its_cmdlets_and_no_more() {
        let all = [
            FIND.cmdlets,
            MAKE_ACCOUNTS.cmdlets,
            CHANGE_ACCOUNTS.cmdlets,
            MAKE_GROUPS.cmdlets,
            CHANGE_MEMBERS.cmdlets,
        ]
        .concat();
        let mine = ManagedParts::default();
        let everything = set_up(SiteKind::Onprem, &mine, &roles(&all));
        assert!(everything.iter().all(|one| one.held == Held::Yes));
        assert_eq!(everything.len(), 5);
        for missing in &all {
            let rest: Vec<_> = all.iter().copied().filter(|one| one != missing).collect();
            let findings = set_up(SiteKind::Onprem, &mine, &roles(&rest));
            let no: Vec<_> = findings.iter().filter(|one| one.held == Held::No).collect();
            assert_eq!(no.len(), 1, "{missing}");
            assert!(no[0].why.contains(missing) && no[0].todo.contains("management role"));
        }
        let theirs = ManagedParts {
            accounts: ManagedBy::External,
            group: ManagedBy::External,
            ..mine
        };
        let less = set_up(SiteKind::Onprem, &theirs, &roles(&all));
        assert_eq!(less.len(), 2, "{less:?}");
        let online = set_up(SiteKind::Online, &mine, &[]);
        assert_eq!(online.len(), 3, "Graph makes the accounts: {online:?}");
        for (cmdlet, site, wanted) in [
            ("New-ManagementRoleAssignment", SiteKind::Onprem, 1),
            ("Set-MailboxFolderPermission", SiteKind::Online, 1),
            // There the role is needed for accounts.
            ("Set-MailboxFolderPermission", SiteKind::Onprem, 0),
        ] {
            let held = [&all[..], &[cmdlet]].concat();
            let findings = set_up(site, &mine, &roles(&held));
            let beyond = findings.iter().filter(|one| one.held == Held::Beyond);
            assert_eq!(beyond.count(), wanted, "{cmdlet} {site}");
        }
    }

    #[test]
    fn each_role_that_a_set_up_misses_is_named() {
        let needed = [
            "User.ReadWrite.All",
            "LicenseAssignment.ReadWrite.All",
            "GroupMember.Read.All",
        ];
        let told = |held: &[&str]| app_roles(&[Purpose::Setup], Some(&roles(held)), None);
        assert!(told(&needed).iter().all(|one| one.held != Held::No));
        for (missing, wanted) in [
            ("User.ReadWrite.All", 1),
            // Users may be changed, and their licences with them; products can't be read.
            ("LicenseAssignment.ReadWrite.All", 1),
            ("GroupMember.Read.All", 1),
        ] {
            let held: Vec<_> = needed.into_iter().filter(|role| *role != missing).collect();
            let findings = told(&held);
            let no = findings.iter().filter(|one| one.held == Held::No);
            assert_eq!(no.count(), wanted, "{missing}: {findings:?}");
        }
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
        // What one of an account's purposes needs is not too much for another.
        let held = roles(&["User.ReadWrite.All", "GroupMember.Read.All"]);
        let both = app_roles(&[Purpose::Reader, Purpose::Setup], Some(&held), None);
        assert!(both.iter().all(|one| one.held != Held::Beyond), "{both:?}");
        // Who only reads needs nothing of Exchange's.
        let both = app_roles(&[Purpose::Reader], None, Some(&v2));
        assert_eq!(told(&both), [("Exchange.ManageAsAppV2", Held::Beyond)]);
    }
}

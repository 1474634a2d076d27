//! The suite that every adapter passes, as far as it concerns directories.

use async_trait::async_trait;
use calgrant_domain::{Address, MailboxType, Observed, Reason};
use calgrant_exchange::{
    Calendars, Depth, Directory, Selection, conformance,
    conformance::{Expected, Names, State, World},
};
use calgrant_exchange_ad::{ActiveDirectory, Nesting};
use serde_json::json;

use crate::rig::{Part, UNIVERSAL_SECURITY};

/// More than fit on a page.
const STUDENTS: usize = 1010;

struct School {
    part: Part,
    directory: ActiveDirectory,
    suitable: Vec<Address>,
}

impl School {
    fn new(nesting: Nesting) -> Option<Self> {
        let mut part = Part::new()?;
        let mut suitable = Vec::new();
        let mut students = Vec::new();
        for number in 0..STUDENTS {
            let name = format!("s{number}");
            students.push(part.mailbox(&name, "", "1", &[]));
            suitable.push(part.address(&name));
        }
        let ada = part.address("ada");
        let aliases = [part.address("ada.lovelace"), part.address("al")];
        let proxies = [
            format!("SMTP:{ada}"),
            format!("smtp:{}", aliases[0]),
            "X500:/o=x".to_owned(),
        ];
        let mut staff = vec![
            part.mailbox(
                "ada",
                "",
                "1",
                &[
                    ("proxyAddresses", json!(proxies)),
                    ("userPrincipalName", json!(aliases[1].as_str())),
                ],
            ),
            part.mailbox("lab", "", "16", &[("userAccountControl", json!("546"))]),
            part.mailbox("office", "", "4", &[("userAccountControl", json!("546"))]),
        ];
        for name in ["ada", "lab", "office"] {
            suitable.push(part.address(name));
        }
        staff.push(part.mailbox("left", "", "1", &[("userAccountControl", json!("546"))]));
        staff.push(part.mailbox("cloud", "", "2147483648", &[]));
        staff.push(part.person(
            "bare",
            "",
            &[("mail", json!(part.address("bare").as_str()))],
        ));
        let contact = part.dn("CN=guest");
        part.object(
            &contact,
            "contact",
            &[("mail", json!("guest@other.example"))],
        );
        staff.push(contact);
        // Each in the other: it must end nevertheless.
        let (all, inner) = (part.dn("CN=everyone"), part.dn("CN=inner"));
        part.object(
            &inner,
            "group",
            &[
                ("sAMAccountName", json!(part.account("inner"))),
                ("groupType", json!(UNIVERSAL_SECURITY)),
                ("member", json!(staff)),
            ],
        );
        let mut members = students;
        members.extend([inner.clone(), staff[0].clone()]);
        part.group("everyone", UNIVERSAL_SECURITY, &members);
        part.group("delegates", UNIVERSAL_SECURITY, &[]);
        part.group("news", "8", &[]);
        part.make();
        let members = [staff, vec![all]].concat();
        part.order(&json!({"change": {inner: {"member": members}}}));
        let unit = part.dn("");
        let directory = part.reach(|settings| {
            settings.nesting = nesting;
            settings.base = Some(unit);
        });
        Some(Self {
            part,
            directory,
            suitable,
        })
    }
}

#[async_trait]
impl World for School {
    fn calendars(&self) -> &dyn Calendars {
        unreachable!("a directory has no calendars")
    }

    fn directory(&self) -> &dyn Directory {
        &self.directory
    }

    fn mailbox(&self, state: State) -> Address {
        self.part.address(match state {
            State::Free => "s7",
            State::Unlicensed => "bare",
            other => unreachable!("{other:?} is for calendars"),
        })
    }

    fn trustee(&self) -> Address {
        self.part.address("delegates")
    }

    fn powerless(&self) -> Address {
        self.part.address("news")
    }

    fn unknown(&self) -> Address {
        self.part.address("o'nobody")
    }

    fn selections(&self) -> Vec<Expected> {
        let expected = |selection, unsuitable: &[Reason]| Expected {
            selection,
            suitable: self.suitable.clone(),
            unsuitable: unsuitable.to_vec(),
        };
        let unit = Selection::OrganizationalUnit {
            dn: self.part.dn("").to_uppercase(),
            depth: Depth::Subtree,
        };
        let types = vec![MailboxType::User, MailboxType::Shared, MailboxType::Room];
        vec![
            expected(
                Selection::Group(self.part.address("everyone")),
                &[
                    Reason::NotAMailbox,
                    Reason::OtherSite,
                    Reason::AccountDisabled,
                ],
            ),
            expected(unit, &[Reason::OtherSite, Reason::AccountDisabled]),
            expected(Selection::All { types }, &[]),
        ]
    }

    fn missing_selections(&self) -> Vec<Selection> {
        let unit = |dn: String| Selection::OrganizationalUnit {
            dn,
            depth: Depth::Subtree,
        };
        vec![
            Selection::Group(self.part.address("no.such.group")),
            unit(self.part.dn("OU=dents\\, all")),
            unit("Students".to_owned()),
            unit("OU=Students,DC=other,DC=example".to_owned()),
            Selection::AdministrativeUnit("Faculty of Alchemy".to_owned()),
        ]
    }

    fn names(&self) -> Names {
        Names {
            address: self.part.address("ada"),
            aliases: vec![self.part.address("ada.lovelace"), self.part.address("al")],
        }
    }

    async fn truth(&self, _: &Address) -> Observed {
        Observed::Absent
    }

    async fn foreign_changes(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn where_the_server_follows_nested_groups() {
    if let Some(school) = School::new(Nesting::InChain) {
        conformance::directory::all(&school).await;
    }
}

#[tokio::test]
async fn where_we_walk_through_nested_groups() {
    if let Some(school) = School::new(Nesting::Walk) {
        conformance::directory::all(&school).await;
    }
}

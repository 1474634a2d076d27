//! Who is in the simulated organisation, and what a listing must say of them.

use calgrant_domain::{Address, Rights};
use calgrant_exchange::conformance::{self, ROLES};
use calgrant_simulator::{
    AppSpec, CalendarSpec, DEMO_CERTIFICATE_PEM, GroupKind, GroupSpec, Kind, TenantSpec, UnitSpec,
    UserSpec,
};
use serde_json::json;
use uuid::Uuid;

use super::{BY_CERTIFICATE, BY_SECRET, READER, SECRET};

pub(crate) const TENANT: Uuid = Uuid::from_u128(0x1111_1111_2222_3333_4444_5555_5555_5555);
pub(crate) const TRUSTEE: &str = "delegates@uni.example";
pub(crate) const EVERYONE: &str = "everyone@uni.example";
pub(crate) const STUDENTS: &str = "OU=Students\\, all,DC=uni,DC=example";
pub(crate) const UNIT: &str = "Faculty of Science";
/// Somebody with many names.
pub(crate) const ADA: &str = "ada@uni.example";
/// More than fit on one page.
const CROWD: usize = 1_050;
const FREE: usize = 40;

pub(crate) struct People {
    users: Vec<UserSpec>,
}

impl People {
    pub(crate) fn new() -> Self {
        let mut users = vec![
            UserSpec {
                mail: Some("ada.lovelace@uni.example".to_owned()),
                addresses: vec![ADA.to_owned(), "al@mail.uni.example".to_owned()],
                ..user(ADA)
            },
            UserSpec {
                calendars: vec![calendar("Kalender", &[(TRUSTEE, "Editor", "Delegate")])],
                ..user("delegate@uni.example")
            },
            UserSpec {
                licensed: false,
                ..user("unlicensed@uni.example")
            },
            UserSpec {
                never_provisioned: true,
                ..user("never@uni.example")
            },
            UserSpec {
                without_calendar: true,
                ..user("no.calendar@uni.example")
            },
            UserSpec {
                outside_write_scope: true,
                ..user("o'brien@uni.example")
            },
            UserSpec {
                kind: Kind::Shared,
                licensed: false,
                ..user("shared@uni.example")
            },
            UserSpec {
                kind: Kind::Room,
                licensed: false,
                ..user("room@uni.example")
            },
            UserSpec {
                kind: Kind::None,
                licensed: false,
                ..user("guest_b.example#EXT#@uni.example")
            },
            // Shares its display name with the trustee, and has entries where the trustee has.
            UserSpec {
                name: "Delegates".to_owned(),
                ..user("twin@uni.example")
            },
            // In no group, no unit, and in a place whose name only ends the same.
            UserSpec {
                dn: Some("CN=x,OU=Ex-Students\\, all,DC=uni,DC=example".to_owned()),
                ..user("outsider@uni.example")
            },
        ];
        users.extend((0..FREE).map(|at| UserSpec {
            calendars: vec![
                calendar(
                    "Kalender",
                    &[(ADA, "Owner", ""), ("Default", "Reviewer", "")],
                ),
                calendar("Kalender\\Projekt", &[(TRUSTEE, "Owner", "")]),
                calendar("Archiv\\Kalender", &[]),
            ],
            ..user(&format!("free{at:02}@uni.example"))
        }));
        users.extend(ROLES.iter().enumerate().map(|(at, held)| UserSpec {
            calendars: vec![calendar(
                "Lịch",
                &[("twin@uni.example", "Owner", ""), (TRUSTEE, held, "")],
            )],
            ..user(&format!("holds{at:02}@uni.example"))
        }));
        users.extend((0..CROWD).map(|at| user(&format!("p{at:04}@uni.example"))));
        for user in &mut users {
            user.id = Uuid::new_v5(&TENANT, user.upn.as_bytes());
            if user.dn.is_none() {
                user.dn = Some(format!("CN={},OU=2026,{STUDENTS}", user.upn));
            }
        }
        Self { users }
    }

    pub(crate) fn free(&self, at: usize) -> Address {
        assert!(at < FREE, "make more");
        address(&format!("free{at:02}@uni.example"))
    }

    pub(crate) fn holding(&self, rights: Rights) -> Address {
        let at = conformance::place_of(rights);
        address(&format!("holds{at:02}@uni.example"))
    }

    /// Users whom Graph shows as people with a mailbox, or a licence that may bring one.
    pub(crate) fn in_graph(&self) -> Vec<Address> {
        let users = self.members();
        users
            .filter(|user| !user.upn.contains("#EXT#"))
            .map(|user| address(&user.upn))
            .collect()
    }

    /// Mailboxes that are there.
    pub(crate) fn in_exchange(&self) -> Vec<Address> {
        let there = |user: &&UserSpec| match user.kind {
            Kind::User => user.licensed && !user.never_provisioned,
            Kind::None => false,
            Kind::Shared | Kind::Room | Kind::Equipment => true,
        };
        self.users
            .iter()
            .filter(there)
            .map(|user| address(&user.upn))
            .collect()
    }

    pub(crate) fn in_unit(&self) -> Vec<Address> {
        let first: Vec<_> = (0..5).map(|at| self.free(at)).collect();
        [first, vec![address(ADA)]].concat()
    }

    fn members(&self) -> impl Iterator<Item = &UserSpec> {
        let outside = |user: &&UserSpec| user.upn != "outsider@uni.example";
        self.users.iter().filter(outside)
    }

    pub(crate) fn tenant(&self) -> TenantSpec {
        TenantSpec {
            id: TENANT,
            domain: "uni.example".to_owned(),
            managed: vec![TRUSTEE.to_owned()],
            apps: apps(),
            users: self.users.clone(),
            groups: self.groups(),
            units: vec![UnitSpec {
                id: Uuid::new_v5(&TENANT, UNIT.as_bytes()),
                name: UNIT.to_owned(),
                members: self.in_unit().iter().map(ToString::to_string).collect(),
            }],
            contacts: vec!["visitor@partner.example".to_owned()],
            devices: vec!["LAB-PC".to_owned()],
            ..TenantSpec::default()
        }
    }

    fn groups(&self) -> Vec<GroupSpec> {
        let group = |name: &str, mail: Option<&str>, kind, members: Vec<String>| GroupSpec {
            id: Uuid::new_v5(&TENANT, name.as_bytes()),
            name: name.to_owned(),
            mail: mail.map(str::to_owned),
            kind,
            members,
            ..GroupSpec::default()
        };
        let (some, others): (Vec<_>, Vec<_>) = self
            .members()
            .map(|user| user.upn.clone())
            .partition(|upn| upn.starts_with('p'));
        let list = |members: &[&str]| members.iter().map(|name| (*name).to_owned()).collect();
        vec![
            group(
                "Everyone",
                Some(EVERYONE),
                GroupKind::MailSecurity,
                list(&[
                    "students@uni.example",
                    "Plain",
                    "LAB-PC",
                    "visitor@partner.example",
                    ADA,
                ]),
            ),
            group(
                "Students",
                Some("students@uni.example"),
                GroupKind::Distribution,
                [others, list(&[EVERYONE])].concat(),
            ),
            group("Plain", None, GroupKind::Security, some),
            group(
                "Hidden",
                Some("hidden@uni.example"),
                GroupKind::MailSecurity,
                list(&[ADA]),
            ),
            group(
                "Delegates",
                Some(TRUSTEE),
                GroupKind::MailSecurity,
                Vec::new(),
            ),
        ]
        .into_iter()
        .map(|mut group| {
            group.hidden_membership = group.name == "Hidden";
            group
        })
        .collect()
    }
}

pub(crate) fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

fn user(upn: &str) -> UserSpec {
    UserSpec {
        name: format!("Name of {upn}"),
        upn: upn.to_owned(),
        ..UserSpec::default()
    }
}

fn calendar(path: &str, entries: &[(&str, &str, &str)]) -> CalendarSpec {
    let words = |text: &str| {
        let words = text.split(',').filter(|word| !word.is_empty());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    CalendarSpec {
        path: path.to_owned(),
        entries: entries
            .iter()
            .map(|(principal, rights, flags)| {
                let entry =
                    json!({"principal": principal, "rights": words(rights), "flags": words(flags)});
                serde_json::from_value(entry).expect("an entry as scenario files write it")
            })
            .collect(),
    }
}

fn apps() -> Vec<AppSpec> {
    let texts = |all: &[&str]| {
        all.iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    let id = |text: &str| text.parse().expect("a GUID");
    let grantor = AppSpec {
        roles: texts(&["Exchange.ManageAsApp", "Exchange.ManageAsAppV2"]),
        cmdlets: texts(&[
            "Get-MailboxFolderStatistics",
            "Get-MailboxFolderPermission",
            "Add-MailboxFolderPermission",
            "Set-MailboxFolderPermission",
            "Remove-MailboxFolderPermission",
        ]),
        ..AppSpec::default()
    };
    vec![
        AppSpec {
            client_id: id(READER),
            secret: Some(SECRET.to_owned()),
            roles: texts(&[
                "User.Read.All",
                "GroupMember.Read.All",
                "AdministrativeUnit.Read.All",
                "Exchange.ManageAsApp",
            ]),
            cmdlets: texts(&["Get-Mailbox"]),
            ..AppSpec::default()
        },
        AppSpec {
            client_id: id(BY_SECRET),
            secret: Some(SECRET.to_owned()),
            ..grantor.clone()
        },
        AppSpec {
            client_id: id(BY_CERTIFICATE),
            certificate: Some(DEMO_CERTIFICATE_PEM.to_owned()),
            ..grantor
        },
    ]
}

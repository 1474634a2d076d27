//! The simulator as the conformance suite wants it described.

use async_trait::async_trait;
use calgrant_domain::{Address, MailboxType, Observed, Reason, Rights};
use calgrant_exchange::{
    Calendars, Depth, Directory, Selection,
    conformance::{Expected, Names, State, World},
};

use super::{
    ADA, Rig, TRUSTEE,
    people::{EVERYONE, STUDENTS, UNIT, address},
};

fn unit(dn: &str) -> Selection {
    Selection::OrganizationalUnit {
        dn: dn.to_owned(),
        depth: Depth::Subtree,
    }
}

#[async_trait]
impl World for Rig {
    fn calendars(&self) -> &dyn Calendars {
        &self.calendars
    }

    fn directory(&self) -> &dyn Directory {
        &self.directory
    }

    fn mailbox(&self, state: State) -> Address {
        match state {
            State::Free => self.free(),
            State::Holds(rights) => self.people.holding(rights),
            State::Delegate => address("delegate@uni.example"),
            State::Missing => address("nobody@uni.example"),
            State::Unlicensed => address("unlicensed@uni.example"),
            State::NotProvisioned => address("never@uni.example"),
            State::NoCalendar => address("no.calendar@uni.example"),
            State::OutOfScope => address("o'brien@uni.example"),
        }
    }

    fn trustee(&self) -> Address {
        address(TRUSTEE)
    }

    fn powerless(&self) -> Address {
        address("students@uni.example")
    }

    fn unknown(&self) -> Address {
        address("o'nobody@uni.example")
    }

    fn selections(&self) -> Vec<Expected> {
        let all = Selection::All {
            types: vec![MailboxType::User, MailboxType::Shared, MailboxType::Room],
        };
        let expected = |selection, suitable, unsuitable: &[Reason]| Expected {
            selection,
            suitable,
            unsuitable: unsuitable.to_vec(),
        };
        vec![
            expected(
                Selection::Group(address(EVERYONE)),
                self.people.in_graph(),
                &[Reason::NotAMailbox],
            ),
            expected(
                unit(&STUDENTS.to_lowercase()),
                self.people.in_graph(),
                &[Reason::NotAMailbox],
            ),
            expected(
                Selection::AdministrativeUnit(UNIT.to_owned()),
                self.people.in_unit(),
                &[],
            ),
            expected(all, self.people.in_exchange(), &[]),
        ]
    }

    fn missing_selections(&self) -> Vec<Selection> {
        vec![
            Selection::Group(address("no.such.group@uni.example")),
            unit("OU=dents\\, all,DC=uni,DC=example"),
            unit("Students"),
            Selection::AdministrativeUnit("Faculty of Alchemy".to_owned()),
        ]
    }

    fn names(&self) -> Names {
        Names {
            address: address(ADA),
            aliases: vec![
                address("ada.lovelace@uni.example"),
                address("al@mail.uni.example"),
            ],
        }
    }

    async fn truth(&self, mailbox: &Address) -> Observed {
        let list = self
            .get(&format!(
                "permissions?mailbox={}",
                mailbox.as_str().replace('\'', "%27")
            ))
            .await;
        let entry = list
            .as_array()
            .and_then(|list| list.iter().find(|entry| entry["principal"] == TRUSTEE));
        entry.map_or(Observed::Absent, |entry| {
            let names = entry["rights"].as_array().into_iter().flatten();
            let rights = Rights::from_names(names.filter_map(|name| name.as_str()));
            Observed::Present(rights.expect("names of rights"))
        })
    }

    async fn foreign_changes(&self) -> u64 {
        let report = self.report().await;
        report["foreign_entries_changed"].as_u64().expect("a count")
    }
}

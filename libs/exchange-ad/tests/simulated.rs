//! The adapter on the simulator's directory: the suite that every adapter passes, and both ways of signing in.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use async_trait::async_trait;
use calgrant_domain::{Address, DisabledAccounts, MailboxType, Observed, Reason};
use calgrant_exchange::{
    Calendars, Depth, Directory, Selection, conformance,
    conformance::{Expected, Names, State, World},
};
use calgrant_exchange_ad::{ActiveDirectory, Nesting, Settings};
use calgrant_runtime::clock;
use calgrant_simulator::{Config, Running, Scenario, start};

/// More than fit on a page, and than one answer gives of the values of an attribute.
const STUDENTS: usize = 1510;
const UNIT: &str = "OU=Schule\\, alle,DC=uni,DC=example";

struct School {
    _running: Running,
    directory: ActiveDirectory,
    suitable: Vec<Address>,
}

fn address(local: &str) -> Address {
    format!("{local}@uni.example").parse().unwrap()
}

fn user(text: &mut String, local: &str, more: &str) {
    let dn = format!("CN={local},{UNIT}");
    write!(
        text,
        "\n[[tenant.user]]\nupn = \"{local}@uni.example\"\ndn = {dn:?}\n{more}\n"
    )
    .unwrap();
}

/// Everybody the suite asks for, and the scenario that holds them.
fn scenario() -> (String, Vec<Address>) {
    let mut text = r#"
ldap = "127.0.0.1:0"
ldaps = "127.0.0.1:0"
[[tenant]]
id = "33333333-4444-5555-6666-777777777777"
domain = "uni.example"
contacts = ["guest@other.example"]
[tenant.onprem]
domain = "UNI"
[[tenant.onprem.account]]
user = "reader@uni.example"
password = "reader secret"
[[tenant.user]]
upn = "reader@uni.example"
kind = "none"
[[tenant.user]]
upn = "al@uni.example"
mail = "ada@uni.example"
addresses = ["ada.lovelace@uni.example"]
dn = 'CN=ada,OU=Schule\, alle,DC=uni,DC=example'
on_premises = true
"#
    .to_owned();
    let mut students = Vec::new();
    for number in 0..STUDENTS {
        let local = format!("s{number}");
        user(&mut text, &local, "on_premises = true");
        students.push(local);
    }
    for (local, more) in [
        ("lab", "on_premises = true\nkind = \"room\""),
        ("office", "on_premises = true\nkind = \"shared\""),
        ("left", "on_premises = true\nenabled = false"),
        ("cloud", ""),
        ("bare", "on_premises = true\nkind = \"none\""),
    ] {
        user(&mut text, local, more);
    }
    let addresses = |locals: &[&str]| -> Vec<String> {
        let locals = locals.iter();
        locals.map(|local| format!("{local}@uni.example")).collect()
    };
    let mut inner = addresses(&["ada", "lab", "office", "left", "cloud", "bare", "everyone"]);
    inner.push("guest@other.example".to_owned());
    let locals: Vec<&str> = students.iter().map(String::as_str).collect();
    let mut everyone = addresses(&locals);
    everyone.extend(["Inner".to_owned(), "ada@uni.example".to_owned()]);
    // each in the other: it must end nevertheless
    for (name, more) in [
        (
            "Everyone",
            format!("mail = \"everyone@uni.example\"\nmembers = {everyone:?}"),
        ),
        ("Inner", format!("kind = \"security\"\nmembers = {inner:?}")),
        ("Delegates", "mail = \"delegates@uni.example\"".to_owned()),
        (
            "News",
            "kind = \"distribution\"\nmail = \"news@uni.example\"".to_owned(),
        ),
    ] {
        write!(text, "\n[[tenant.group]]\nname = {name:?}\n{more}\n").unwrap();
    }
    let suitable = locals.into_iter().chain(["ada", "lab", "office"]);
    let suitable = suitable.map(address).collect();
    (text, suitable)
}

impl School {
    async fn new(nesting: Nesting, scheme: &str) -> Self {
        let (text, suitable) = scenario();
        let scenario = Scenario::from_toml(&text).unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = start(Config { listen, scenario }).await.unwrap();
        let port = if scheme == "ldaps" {
            running.ldaps
        } else {
            running.ldap
        };
        let settings = Settings {
            url: format!("{scheme}://localhost:{}", port.unwrap().port()),
            ca_pem: running.certificate().map(str::to_owned),
            bind_name: "UNI\\reader".to_owned(),
            password: "reader secret".into(),
            base: None,
            disabled: DisabledAccounts::Refuse,
            nesting,
            answer_limit: Duration::from_secs(60),
        };
        Self {
            directory: ActiveDirectory::new(settings, clock::now).unwrap(),
            _running: running,
            suitable,
        }
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
        address(match state {
            State::Free => "s7",
            State::Unlicensed => "bare",
            other => unreachable!("{other:?} is for calendars"),
        })
    }

    fn trustee(&self) -> Address {
        address("delegates")
    }

    fn powerless(&self) -> Address {
        address("news")
    }

    fn unknown(&self) -> Address {
        address("o'nobody")
    }

    fn selections(&self) -> Vec<Expected> {
        let expected = |selection, unsuitable: &[Reason]| Expected {
            selection,
            suitable: self.suitable.clone(),
            unsuitable: unsuitable.to_vec(),
        };
        let unit = Selection::OrganizationalUnit {
            dn: UNIT.to_uppercase(),
            depth: Depth::Subtree,
        };
        let types = vec![MailboxType::User, MailboxType::Shared, MailboxType::Room];
        vec![
            expected(
                Selection::Group(address("everyone")),
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
        let unit = |dn: &str| Selection::OrganizationalUnit {
            dn: dn.to_owned(),
            depth: Depth::Subtree,
        };
        vec![
            Selection::Group(address("no.such.group")),
            unit("OU=dents\\, all,DC=uni,DC=example"),
            unit("Students"),
            unit("OU=Students,DC=other,DC=example"),
            Selection::AdministrativeUnit("Faculty of Alchemy".to_owned()),
        ]
    }

    fn names(&self) -> Names {
        Names {
            address: address("ada"),
            aliases: vec![address("ada.lovelace"), address("al")],
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
    let school = School::new(Nesting::InChain, "ldaps").await;
    conformance::directory::all(&school).await;
}

#[tokio::test]
async fn where_we_walk_through_nested_groups() {
    let school = School::new(Nesting::Walk, "ldap").await;
    conformance::directory::all(&school).await;
}

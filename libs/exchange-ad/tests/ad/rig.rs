//! A real domain controller, and a part of its directory for each test.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use calgrant_domain::{Address, DisabledAccounts, Listed};
use calgrant_exchange::{Directory, ListingError, Selection};
use calgrant_exchange_ad::{ActiveDirectory, Nesting, Settings};
use calgrant_runtime::clock;
use serde_json::{Map, Value, json};
use uuid::Uuid;

const BASE: &str = "DC=calgrant,DC=test";
pub(crate) const UNIVERSAL_SECURITY: &str = "-2147483640";

/// A unit of the directory that is one test's own. Names in it are nobody else's.
pub(crate) struct Part {
    host: String,
    configuration: String,
    mark: String,
    add: Vec<Value>,
}

impl Part {
    /// A new unit. `None` where there is no domain controller, which `cargo xtask test` says, and why.
    pub(crate) fn new() -> Option<Self> {
        let Ok(host) = std::env::var("CALGRANT_TEST_AD_HOST") else {
            eprintln!("CALGRANT_TEST_AD_HOST is not set: there is no Active Directory here");
            return None;
        };
        let mark = Uuid::new_v4().simple().to_string()[..8].to_owned();
        let mut part = Self {
            host,
            configuration: named("CALGRANT_TEST_AD_CONFIGURATION"),
            mark,
            add: Vec::new(),
        };
        part.object(&part.dn(""), "organizationalUnit", &[]);
        Some(part)
    }

    /// The name of something in this part, or of the part itself.
    pub(crate) fn dn(&self, inner: &str) -> String {
        let comma = if inner.is_empty() { "" } else { "," };
        format!("{inner}{comma}OU=Test {},{BASE}", self.mark)
    }

    /// An address that nobody has outside of this part.
    pub(crate) fn address(&self, local: &str) -> Address {
        format!("{local}@{}.example", self.mark)
            .parse()
            .expect("a test's own")
    }

    /// An account's name that nobody has outside of this part.
    pub(crate) fn account(&self, name: &str) -> String {
        format!("{}{name}", self.mark)
    }

    /// An object is to be made.
    pub(crate) fn object(&mut self, dn: &str, class: &str, attributes: &[(&str, Value)]) {
        let mut entry = Map::from_iter([
            ("dn".to_owned(), json!(dn)),
            ("objectClass".to_owned(), json!(class)),
        ]);
        entry.extend(
            attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        self.add.push(Value::Object(entry));
    }

    /// A person's account in this part, enabled; gives its name. `inner` is the unit within the part, or empty.
    pub(crate) fn person(
        &mut self,
        name: &str,
        inner: &str,
        attributes: &[(&str, Value)],
    ) -> String {
        let dn = if inner.is_empty() {
            self.dn(&format!("CN={name}"))
        } else {
            self.dn(&format!("CN={name},{inner}"))
        };
        let mut all = vec![
            ("sAMAccountName", json!(self.account(name))),
            (
                "userPrincipalName",
                json!(format!("{name}@upn.{}.example", self.mark)),
            ),
            // Enabled, and without a password.
            ("userAccountControl", json!("544")),
        ];
        all.retain(|(known, _)| !attributes.iter().any(|(given, _)| given == known));
        all.extend_from_slice(attributes);
        self.object(&dn, "user", &all);
        dn
    }

    /// A mailbox of this type, as `msExchRecipientTypeDetails` has it.
    pub(crate) fn mailbox(
        &mut self,
        name: &str,
        inner: &str,
        details: &str,
        more: &[(&str, Value)],
    ) -> String {
        let address = self.address(name);
        let mut attributes = vec![
            ("mail", json!(address.as_str())),
            ("proxyAddresses", json!([format!("SMTP:{address}")])),
            ("msExchRecipientTypeDetails", json!(details)),
            ("msExchMailboxGuid", guid(Uuid::new_v4())),
        ];
        attributes.retain(|(known, _)| !more.iter().any(|(given, _)| given == known));
        attributes.extend_from_slice(more);
        self.person(name, inner, &attributes)
    }

    /// A group with a mail address, of this type, as `groupType` has it.
    pub(crate) fn group(&mut self, name: &str, kind: &str, members: &[String]) -> String {
        let address = self.address(name);
        let dn = self.dn(&format!("CN={name}"));
        self.group_at(
            &dn,
            name,
            kind,
            members,
            &[
                ("mail", json!(address.as_str())),
                ("proxyAddresses", json!([format!("SMTP:{address}")])),
            ],
        );
        dn
    }

    /// A group of this name and account.
    pub(crate) fn group_at(
        &mut self,
        dn: &str,
        name: &str,
        kind: &str,
        members: &[String],
        more: &[(&str, Value)],
    ) {
        let mut attributes = vec![
            ("sAMAccountName", json!(self.account(name))),
            ("groupType", json!(kind)),
        ];
        if !members.is_empty() {
            attributes.push(("member", json!(members)));
        }
        attributes.extend_from_slice(more);
        self.object(dn, "group", &attributes);
    }

    /// Makes everything that is to be made, in one transaction.
    pub(crate) fn make(&mut self) {
        let add = std::mem::take(&mut self.add);
        self.order(&json!({"add": add}));
    }

    /// Has the domain's own tools change or read something.
    pub(crate) fn order(&self, orders: &Value) -> Vec<Option<String>> {
        let mut python = Command::new("/usr/bin/python3")
            .args(["-c", include_str!("directory.py"), &self.configuration])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the system's Python");
        let mut stdin = python.stdin.take().expect("a test's own");
        stdin
            .write_all(orders.to_string().as_bytes())
            .expect("a test's own");
        drop(stdin);
        let output = python.wait_with_output().expect("a test's own");
        assert!(output.status.success(), "the directory refused it");
        serde_json::from_slice(&output.stdout).expect("a test's own")
    }

    /// How the reader account reaches the domain.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            url: format!("ldaps://{}", self.host),
            ca_pem: Some(
                std::fs::read_to_string(named("CALGRANT_TEST_AD_CA")).expect("a test's own"),
            ),
            bind_name: named("CALGRANT_TEST_AD_READER"),
            password: named("CALGRANT_TEST_AD_READER_PASSWORD").into(),
            // Samba looks at every object there is for what Active Directory looks up.
            base: Some(self.dn("")),
            disabled: DisabledAccounts::Refuse,
            nesting: Nesting::InChain,
            answer_limit: Duration::from_secs(60),
        }
    }

    /// The directory, as these settings reach it.
    pub(crate) fn reach(&self, change: impl FnOnce(&mut Settings)) -> ActiveDirectory {
        let mut settings = self.settings();
        change(&mut settings);
        ActiveDirectory::new(settings, clock::now).expect("a test's own")
    }

    /// The directory, nested groups followed by the server and by us.
    pub(crate) fn both_ways(&self) -> [ActiveDirectory; 2] {
        [Nesting::InChain, Nesting::Walk].map(|nesting| self.reach(|it| it.nesting = nesting))
    }
}

/// A variable that `cargo xtask test` sets where there is a domain controller.
pub(crate) fn named(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run `cargo xtask test`"))
}

/// A GUID as the directory keeps it.
pub(crate) fn guid(guid: Uuid) -> Value {
    let hex: String = guid
        .to_bytes_le()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    json!({"hex": hex})
}

/// A whole listing.
pub(crate) async fn list(
    directory: &ActiveDirectory,
    selection: &Selection,
) -> Result<Vec<Listed>, ListingError> {
    let (mut listed, mut from) = (Vec::new(), None);
    loop {
        let page = directory.page(selection, from.as_deref()).await?;
        listed.extend(page.listed);
        from = page.next;
        if from.is_none() {
            return Ok(listed);
        }
    }
}

/// The parts before the @ of those who suit, sorted; one that is listed twice is there twice.
pub(crate) fn suitable(listed: &[Listed]) -> Vec<String> {
    let mut names: Vec<String> = listed
        .iter()
        .filter_map(|one| {
            Some(
                one.what
                    .as_ref()
                    .ok()?
                    .address
                    .as_str()
                    .split_once('@')?
                    .0
                    .to_owned(),
            )
        })
        .collect();
    names.sort();
    names
}

//! The tenants: a generated university with all its oddities, and two plain ones whose trustees are given rights and others, over and
//! over.

use std::fmt::Write as _;

use calgrant_contract::pb::{
    fleet::v1::{
        AccountSpec, CallWindow, Purpose, SecretRef, SiteSpec, TenantSpec, WritePath,
        account_spec::Credential, secret_ref::At,
    },
    provisioning::v1::SiteKind,
};

/// Longest time the simulator works on a call, in milliseconds: then its place is free, whoever waits for the answer.
pub(crate) const SLOW_CALL_MILLIS: u64 = 3000;
const IN_FLIGHT: u32 = 6;
const CMDLETS: &str = r#"["Get-MailboxFolderStatistics", "Get-MailboxFolderPermission", "Add-MailboxFolderPermission", "Set-MailboxFolderPermission", "Remove-MailboxFolderPermission"]"#;

/// A delegation that stands from the beginning.
pub(crate) struct Wish {
    pub(crate) group: &'static str,
    pub(crate) trustee: &'static str,
    pub(crate) role: &'static str,
    /// Whether it is for those, too, of whom events tell.
    pub(crate) keep: bool,
}

const fn wish(group: &'static str, trustee: &'static str, role: &'static str) -> Wish {
    Wish {
        group,
        trustee,
        role,
        keep: false,
    }
}

const fn kept(group: &'static str, trustee: &'static str, role: &'static str) -> Wish {
    Wish {
        keep: true,
        ..wish(group, trustee, role)
    }
}

const UNI_TRUSTEE: &str = "timetable-delegates@uni.example";

/// A tenant as work is planned for it.
pub(crate) struct Tenant {
    pub(crate) name: &'static str,
    /// Its directory id.
    pub(crate) id: &'static str,
    pub(crate) groups: &'static [&'static str],
    pub(crate) trustees: &'static [&'static str],
    /// Some are for the same mailboxes and the same trustee, and want different rights; some are alone.
    pub(crate) wishes: &'static [Wish],
    /// Whether it is the university that the simulator generates.
    generated: bool,
    /// Whether a run lowers what is higher: then every run has something to write.
    pub(crate) lower: bool,
    mailboxes: u32,
    write_path: WritePath,
    /// Calls in so many seconds.
    window: Option<(u32, u64)>,
    /// Client ids: the reader's, then the grantors'.
    clients: [&'static str; 3],
    secrets: [&'static str; 3],
}

/// All of them.
pub(crate) const TENANTS: [Tenant; 3] = [
    Tenant {
        name: "uni",
        id: "11111111-2222-3333-4444-555555555555",
        groups: &[
            "staff@uni.example",
            "staff-and-students@uni.example",
            "students@uni.example",
        ],
        trustees: &[UNI_TRUSTEE],
        wishes: &[
            wish("staff@uni.example", UNI_TRUSTEE, "Author"),
            wish("staff-and-students@uni.example", UNI_TRUSTEE, "Author"),
            wish("students@uni.example", UNI_TRUSTEE, "Author"),
        ],
        generated: true,
        lower: false,
        mailboxes: 50,
        write_path: WritePath::Unspecified,
        window: None,
        clients: [
            "aaaaaaaa-0000-0000-0000-000000000000",
            "bbbbbbbb-0000-0000-0000-000000000002",
            "bbbbbbbb-0000-0000-0000-000000000003",
        ],
        secrets: ["reader-secret", "grantor-secret-2", "grantor-secret-3"],
    },
    Tenant {
        name: "north",
        id: "22222222-2222-3333-4444-555555555555",
        groups: &[
            "all@north.example",
            "g0@north.example",
            "g1@north.example",
            "g2@north.example",
            "g3@north.example",
        ],
        trustees: &["t0@north.example", "t1@north.example", "t2@north.example"],
        wishes: &[
            wish("all@north.example", "t0@north.example", "Author"),
            wish("g0@north.example", "t0@north.example", "Editor"),
            wish("g1@north.example", "t0@north.example", "Reviewer"),
            wish("g2@north.example", "t1@north.example", "Author"),
            wish("g3@north.example", "t1@north.example", "PublishingAuthor"),
            kept("all@north.example", "t2@north.example", "Author"),
            kept("g1@north.example", "t1@north.example", "Reviewer"),
        ],
        generated: false,
        lower: true,
        mailboxes: 32,
        write_path: WritePath::Unspecified,
        window: None,
        clients: [
            "cccccccc-0000-0000-0000-000000000000",
            "cccccccc-0000-0000-0000-000000000001",
            "cccccccc-0000-0000-0000-000000000002",
        ],
        secrets: ["reader", "first", "second"],
    },
    Tenant {
        name: "south",
        id: "33333333-2222-3333-4444-555555555555",
        groups: &[
            "all@south.example",
            "g0@south.example",
            "g1@south.example",
            "g2@south.example",
            "g3@south.example",
        ],
        trustees: &["t0@south.example", "t1@south.example", "t2@south.example"],
        wishes: &[
            wish("all@south.example", "t0@south.example", "Author"),
            wish("g0@south.example", "t0@south.example", "Editor"),
            wish("g1@south.example", "t0@south.example", "Reviewer"),
            wish("g2@south.example", "t1@south.example", "Author"),
            wish("g3@south.example", "t1@south.example", "PublishingAuthor"),
            kept("all@south.example", "t2@south.example", "Author"),
            kept("g1@south.example", "t1@south.example", "Reviewer"),
        ],
        generated: false,
        lower: true,
        mailboxes: 32,
        write_path: WritePath::InvokeCommand,
        window: Some((150, 10)),
        clients: [
            "dddddddd-0000-0000-0000-000000000000",
            "dddddddd-0000-0000-0000-000000000001",
            "dddddddd-0000-0000-0000-000000000002",
        ],
        secrets: ["reader", "first", "second"],
    },
];

/// The simulator's scenario: it enforces just what Calgrant is told.
pub(crate) fn scenario(seed: u64) -> String {
    let mut text = format!(
        "seed = {seed}\n[dials]\nlatency_ms = 30\nlatency_jitter_ms = 90\nslow_call_ms = {SLOW_CALL_MILLIS}\ntoken_life_secs = 400\n\
         [school]\nseed = {seed}\nmailboxes = {}\ngrantors = 3\nmax_in_flight = {IN_FLIGHT}\nread_lag_max_secs = 3\nprovision_delay_secs = 20\n",
        TENANTS[0].mailboxes
    );
    for tenant in &TENANTS[1..] {
        // Writing to a string can't fail.
        let _written = write_out(&mut text, tenant);
    }
    text
}

fn person(tenant: &str, number: u32) -> String {
    format!("p{number}@{tenant}.example")
}

fn write_out(text: &mut String, tenant: &Tenant) -> std::fmt::Result {
    let Tenant {
        name,
        id,
        mailboxes,
        trustees,
        ..
    } = tenant;
    let windows = tenant
        .window
        .map(|(calls, secs)| format!(", windows = [[{calls}, {secs}]]"))
        .unwrap_or_default();
    let limits = format!("{{ max_in_flight = {IN_FLIGHT}{windows} }}");
    writeln!(
        text,
        "[[tenant]]\nid = \"{id}\"\ndomain = \"{name}.example\"\nmanaged = {trustees:?}"
    )?;
    for (number, (client, secret)) in tenant.clients.iter().zip(tenant.secrets).enumerate() {
        let (roles, cmdlets) = if number == 0 {
            (
                r#"["User.Read.All", "GroupMember.Read.All", "AdministrativeUnit.Read.All", "Exchange.ManageAsApp"]"#,
                r#"["Get-Mailbox"]"#,
            )
        } else {
            (
                r#"["Exchange.ManageAsApp", "Exchange.ManageAsAppV2"]"#,
                CMDLETS,
            )
        };
        writeln!(
            text,
            "[[tenant.app]]\nclient_id = \"{client}\"\nsecret = \"{secret}\"\nroles = {roles}\ncmdlets = {cmdlets}\nlimits = {limits}"
        )?;
    }
    let person = |number: u32| person(name, number);
    for number in 0..*mailboxes {
        writeln!(
            text,
            "[[tenant.user]]\nupn = \"{}\"\nname = \"Person {number}\"",
            person(number)
        )?;
        let mut entries =
            vec![r#"{ principal = "Default", rights = ["LimitedDetails"] }"#.to_owned()];
        entries.push(format!(
            r#"{{ principal = "{}", rights = ["Editor"], flags = ["Delegate"] }}"#,
            person((number + 1) % mailboxes)
        ));
        if number % 7 == 3 {
            entries.push(format!(
                r#"{{ principal = "{}", rights = ["Reviewer"] }}"#,
                trustees[0]
            ));
        }
        let path = if number % 3 == 0 {
            "Kalender"
        } else {
            "Agenda"
        };
        writeln!(
            text,
            "[[tenant.user.calendar]]\npath = \"{path}\"\nentries = [{}]",
            entries.join(", ")
        )?;
    }
    for (number, trustee) in trustees.iter().enumerate() {
        writeln!(
            text,
            "[[tenant.group]]\nname = \"Trustee {number}\"\nmail = \"{trustee}\"\nkind = \"mail_security\""
        )?;
    }
    for (number, group) in tenant.groups.iter().enumerate() {
        let step = u32::try_from(tenant.groups.len()).unwrap_or(1) - 1;
        let part = u32::try_from(number).unwrap_or(0);
        // The first has everybody; the others overlap by half.
        let members: Vec<_> = (0..*mailboxes)
            .filter(|member| part == 0 || member % step == part - 1 || member % step == part % step)
            .map(person)
            .collect();
        writeln!(
            text,
            "[[tenant.group]]\nname = \"Group {number}\"\nmail = \"{group}\"\nkind = \"mail_security\"\nmembers = {members:?}"
        )?;
    }
    Ok(())
}

impl Tenant {
    /// Whether events tell it something.
    pub(crate) fn keeps(&self) -> bool {
        self.wishes.iter().any(|wish| wish.keep)
    }

    /// The address of a person, by number.
    pub(crate) fn person(&self, number: u32) -> String {
        if self.generated {
            format!("u{number:06}@{}.example", self.name)
        } else {
            person(self.name, number)
        }
    }

    /// Whether nothing about its mailboxes is odd: whatever is asked of them can be done.
    pub(crate) fn is_plain(&self) -> bool {
        !self.generated
    }

    /// Client ids of the accounts that write.
    pub(crate) fn grantors(&self) -> impl Iterator<Item = &'static str> {
        self.clients.into_iter().skip(1)
    }

    /// As it is applied. `secret` keeps a secret in a file, and says which.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn spec(
        &self,
        exchange: &str,
        mut secret: impl FnMut(&str, &str) -> anyhow::Result<String>,
    ) -> anyhow::Result<TenantSpec> {
        let mut accounts = Vec::new();
        for (number, client) in self.clients.iter().enumerate() {
            let account = if number == 0 {
                "reader".to_owned()
            } else {
                format!("sa-{number}")
            };
            let purpose = if number == 0 {
                Purpose::Reader
            } else {
                Purpose::Grantor
            };
            let file = secret(&format!("{}-{account}", self.name), self.secrets[number])?;
            accounts.push(AccountSpec {
                name: account,
                purposes: vec![purpose.into()],
                client_id: (*client).to_owned(),
                credential: Some(Credential::Secret(SecretRef {
                    at: Some(At::File(file)),
                })),
                max_in_flight: IN_FLIGHT,
                windows: self
                    .window
                    .iter()
                    .map(|(calls, secs)| CallWindow {
                        calls: *calls,
                        millis: 1000 * secs,
                    })
                    .collect(),
                workers: IN_FLIGHT,
                ..AccountSpec::default()
            });
        }
        Ok(TenantSpec {
            name: self.name.to_owned(),
            sites: vec![SiteSpec {
                kind: SiteKind::Online.into(),
                directory_id: self.id.to_owned(),
                login_url: exchange.to_owned(),
                graph_url: exchange.to_owned(),
                admin_url: exchange.to_owned(),
                write_path: self.write_path.into(),
                park_first_millis: 1000,
                accounts,
                ..SiteSpec::default()
            }],
            ..TenantSpec::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenario_is_one() {
        let scenario = calgrant_simulator::Scenario::from_toml(&scenario(3)).unwrap();
        assert_eq!(scenario.tenants.len(), TENANTS.len());
    }
}

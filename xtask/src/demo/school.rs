//! The school of a demo: which sites it has, as the simulator is told of it, and as Calgrant is.

use std::path::Path;

use crate::workspace::root;

use super::stage::TENANT;

/// Grantor accounts of each site.
pub(super) const GRANTORS: u32 = 3;
/// What the simulated Exchange Online allows each account: calls under way, and calls in so many seconds.
const IN_FLIGHT: u32 = 8;
const WINDOW: (u32, u32) = (1000, 10);
/// What Calgrant is told of the window: a little less, for the way there takes now longer, now shorter.
const WINDOW_TOLD: u32 = 950;

/// Accounts of the calendar product that set-up makes at each site.
const MEMBERS: u32 = 2;

/// One of a school's Exchange organisations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Online,
    Onprem,
}

impl Kind {
    /// As the command line calls it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Onprem => "onprem",
        }
    }

    /// The delegation group, which set-up makes.
    pub(super) fn trustee(self) -> &'static str {
        match self {
            Self::Online => "timetable-delegates@uni.example",
            Self::Onprem => "timetable-delegates-onprem@uni.example",
        }
    }

    /// An account that set-up makes.
    fn member(self, number: &str) -> String {
        format!("sa-mytt-{}-{number}@uni.example", self.word())
    }
}

/// Which Exchange organisations there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Site {
    /// Exchange Online.
    Online,
    /// Servers on premises.
    Onprem,
    /// Both, each with half of the mailboxes.
    Hybrid,
}

/// Which interface changes permissions on premises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum WritePath {
    /// Entry by entry.
    Powershell,
    /// Whole lists; entry by entry where a list can't be rebuilt.
    Ews,
}

/// What a demo is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct School {
    pub(super) site: Site,
    pub(super) write_path: WritePath,
    pub(super) mailboxes: u32,
}

/// Where the simulator serves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    /// Every interface over HTTP.
    pub(super) http: u16,
    /// The directory on premises, over TLS.
    pub(super) ldaps: u16,
}

impl School {
    /// Its organisations, Exchange Online first.
    pub(super) fn kinds(&self) -> &'static [Kind] {
        match self.site {
            Site::Online => &[Kind::Online],
            Site::Onprem => &[Kind::Onprem],
            Site::Hybrid => &[Kind::Online, Kind::Onprem],
        }
    }

    /// Whether Exchange Online is all there is.
    pub(super) fn is_online(&self) -> bool {
        self.site == Site::Online
    }

    /// In a sentence.
    pub(super) fn described(&self) -> String {
        let path = match self.write_path {
            WritePath::Powershell => "PowerShell",
            WritePath::Ews => "EWS",
        };
        match self.site {
            Site::Online => "in Exchange Online".to_owned(),
            Site::Onprem => format!("on premises, written by {path}"),
            Site::Hybrid => format!("half in Exchange Online, half on premises, written by {path}"),
        }
    }

    /// For the simulator: some reads lag behind writes, and online some mailboxes appear late. Active Directory lists nobody whose mailbox isn't there.
    pub(super) fn scenario(&self, ports: Ports) -> String {
        let (calls, seconds) = WINDOW;
        let (share, mailboxes) = (self.on_premises_share(), self.mailboxes);
        let (ldaps, late) = if self.is_online() {
            (String::new(), 5)
        } else {
            (format!("ldaps = \"127.0.0.1:{}\"\n", ports.ldaps), 0)
        };
        format!(
            "seed = 1\n\
             {ldaps}\
             [school]\n\
             seed = 1\n\
             mailboxes = {mailboxes}\n\
             grantors = {GRANTORS}\n\
             max_in_flight = {IN_FLIGHT}\n\
             windows = [[{calls}, {seconds}]]\n\
             on_premises_share = {share:.1}\n\
             provision_delay_secs = {late}\n\
             unprepared = true\n\
             [dials]\n\
             latency_ms = 20\n\
             latency_jitter_ms = 30\n\
             ews_latency_ms = 20\n\
             ews_item_latency_ms = 5\n\
             shell_latency_ms = 200\n\
             cmdlet_latency_ms = 50\n"
        )
    }

    fn on_premises_share(&self) -> f64 {
        match self.site {
            Site::Online => 0.0,
            Site::Onprem => 1.0,
            Site::Hybrid => 0.5,
        }
    }

    /// For Calgrant. `authority` holds the certificate that the directory on premises shows, `passwords` is where those of new accounts go.
    pub(super) fn tenant(&self, ports: Ports, authority: &Path, passwords: &Path) -> String {
        let mut text =
            format!("name = \"{TENANT}\"\ndisplay_name = \"University of the Simulator\"\n");
        if self.site != Site::Onprem {
            text.push_str(&online(ports.http));
            text.push_str(&set_up(Kind::Online, passwords));
        }
        if !self.is_online() {
            text.push_str(&onprem(self.write_path, ports, authority, passwords));
            text.push_str(&set_up(Kind::Onprem, passwords));
        }
        text
    }

    /// The secrets that this file refers to, as environment variables.
    pub(super) fn secrets(&self) -> Vec<(String, String)> {
        let mut secrets = vec![
            (
                "CALGRANT_DEMO_READER_SECRET".to_owned(),
                "reader-secret".to_owned(),
            ),
            (
                "CALGRANT_DEMO_ONLINE_SETUP_SECRET".to_owned(),
                "setup-secret".to_owned(),
            ),
            (
                "CALGRANT_DEMO_ONPREM_SETUP_SECRET".to_owned(),
                "sa-setup-secret".to_owned(),
            ),
        ];
        for number in 2..=GRANTORS {
            secrets.push((
                format!("CALGRANT_DEMO_GRANTOR_{number}_SECRET"),
                format!("grantor-secret-{number}"),
            ));
        }
        secrets.push((
            "CALGRANT_DEMO_ONPREM_READER_SECRET".to_owned(),
            "sa-reader-secret".to_owned(),
        ));
        for number in 1..=GRANTORS {
            secrets.push((
                format!("CALGRANT_DEMO_ONPREM_{number}_SECRET"),
                format!("sa-onprem-{number}-secret"),
            ));
        }
        secrets
    }
}

/// One account signs in by certificate, the others by secret.
fn online(port: u16) -> String {
    let url = format!("http://127.0.0.1:{port}");
    let seconds = WINDOW.1;
    let mut text = format!(
        r#"
[[site]]
kind = "online"
directory_id = "11111111-2222-3333-4444-555555555555"
login_url = "{url}"
graph_url = "{url}"
admin_url = "{url}"
write_path = "invoke_command"
park_first_secs = 3

[[site.account]]
name = "reader"
purpose = ["reader"]
client_id = "aaaaaaaa-0000-0000-0000-000000000000"
secret = {{ env = "CALGRANT_DEMO_READER_SECRET" }}
"#
    );
    let identity = root().join("services/simulator/identity");
    for number in 1..=GRANTORS {
        let credential = if number == 1 {
            let file = |name: &str| identity.join(name).display().to_string();
            format!(
                "certificate = {{ key = {{ file = {:?} }}, certificate = {{ file = {:?} }} }}",
                file("demo-key.pem"),
                file("demo-certificate.pem")
            )
        } else {
            format!("secret = {{ env = \"CALGRANT_DEMO_GRANTOR_{number}_SECRET\" }}")
        };
        text.push_str(&format!(
            r#"
[[site.account]]
name = "sa-demo-{number}"
purpose = ["grantor"]
client_id = "bbbbbbbb-0000-0000-0000-{number:012}"
{credential}
max_in_flight = {IN_FLIGHT}
workers = {IN_FLIGHT}
window = [{{ calls = {WINDOW_TOLD}, seconds = {seconds} }}]
"#
        ));
    }
    text
}

/// Who sets a site up, and what is wanted there.
fn set_up(kind: Kind, passwords: &Path) -> String {
    let (who, rest) = match kind {
        Kind::Online => (
            "client_id = \"cccccccc-0000-0000-0000-000000000000\"",
            "usage_location = \"NL\"\nsku = \"EXCHANGESTANDARD_FACULTY\"\ngroup_owners = [\"timetable.delegates@uni.example\"]",
        ),
        Kind::Onprem => (
            "user = 'UNI\\sa-setup'",
            "organizational_unit = \"OU=Service Accounts,DC=uni,DC=example\"\ngroup_owners = [\"u000000@uni.example\"]",
        ),
    };
    format!(
        r#"
[[site.account]]
name = "set-up"
purpose = ["setup"]
{who}
secret = {{ env = "CALGRANT_DEMO_{upper}_SETUP_SECRET" }}

[site.setup]
count = {MEMBERS}
name = "{name}"
display_name = "MyTimetable {word} {{n}}"
group = "{group}"
group_name = "Timetable delegates, {word}"
password_folder = {folder:?}
{rest}
"#,
        upper = kind.word().to_uppercase(),
        name = kind.member("{n}"),
        word = kind.word(),
        group = kind.trustee(),
        folder = passwords.display().to_string(),
    )
}

fn onprem(write_path: WritePath, ports: Ports, authority: &Path, passwords: &Path) -> String {
    let url = format!("http://127.0.0.1:{}", ports.http);
    let path = match write_path {
        WritePath::Powershell => "powershell",
        WritePath::Ews => "ews",
    };
    let mut text = format!(
        r#"
[[site]]
kind = "onprem"
write_path = "{path}"
park_first_secs = 3

[site.onprem]
ews_url = "{url}/EWS/Exchange.asmx"
ews_sign_in = "basic"
powershell_url = "{url}/PowerShell/"
ldap_url = "ldaps://localhost:{}"
ca_file = {:?}

[[site.account]]
name = "reader"
purpose = ["reader"]
user = "sa-reader@uni.example"
secret = {{ env = "CALGRANT_DEMO_ONPREM_READER_SECRET" }}

[[site.account]]
name = "member"
purpose = ["member"]
user = "{}"
secret = {{ file = {:?} }}
"#,
        ports.ldaps,
        authority.display().to_string(),
        Kind::Onprem.member("1"),
        passwords
            .join(Kind::Onprem.member("1"))
            .display()
            .to_string(),
    );
    for number in 1..=GRANTORS {
        text.push_str(&format!(
            r#"
[[site.account]]
name = "sa-onprem-{number}"
purpose = ["grantor"]
user = 'UNI\sa-onprem-{number}'
secret = {{ env = "CALGRANT_DEMO_ONPREM_{number}_SECRET" }}
"#
        ));
    }
    text
}

//! A tenant's file: TOML in, the contract's tenant out, every mistake named at once.

use std::fmt;

use calgrant_contract::{fleet, pb::fleet::v1 as pb, words};
use calgrant_domain::BadInput;
use toml::{Table, Value};

/// Everything that is wrong with a file.
#[derive(Debug)]
pub(crate) struct Faults {
    file: &'static str,
    faults: Vec<BadInput>,
}

impl Faults {
    /// The faults of `file`, as it is called in a sentence.
    pub(crate) fn new(file: &'static str, faults: Vec<BadInput>) -> Self {
        Self { file, faults }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has {} mistakes:", self.file, self.faults.len())?;
        self.faults
            .iter()
            .try_for_each(|bad| write!(f, "\n  {bad}"))
    }
}

impl std::error::Error for Faults {}

const FILE: &str = "the tenant's file";

/// Reads a file.
///
/// # Errors
/// All mistakes of its shape, and then all mistakes of its values.
pub(crate) fn read(text: &str) -> Result<pb::TenantSpec, Faults> {
    let table: Table = text.parse().map_err(|cause: toml::de::Error| {
        Faults::new(FILE, vec![BadInput::new("file", "", cause.to_string())])
    })?;
    let mut section = Section {
        path: String::new(),
        table,
        faults: Vec::new(),
    };
    let wire = pb::TenantSpec {
        name: section.text("name"),
        display_name: section.text("display_name"),
        sites: section.tables("site", site),
        keeping: section.tables("keep", keep).pop(),
    };
    let mut faults = section.end();
    if let Err(more) = fleet::tenant(wire.clone()) {
        // A field that couldn't be read is named once, by what is wrong with it.
        faults.extend(
            more.into_iter()
                .filter(|bad| !faults.iter().any(|known| known.field == bad.field))
                .collect::<Vec<_>>(),
        );
    }
    if faults.is_empty() {
        Ok(wire)
    } else {
        Err(Faults::new(FILE, faults))
    }
}

fn keep(section: &mut Section) -> pb::Keeping {
    pb::Keeping {
        verify_every_millis: section.hours("verify_every_hours"),
        drift: section.word("drift", words::drift_to_wire),
        list_every_millis: section.hours("list_every_hours"),
        joiners: section.word("joiners", words::joiners_to_wire),
        leavers: section.word("leavers", words::leavers_to_wire),
        watch_every_millis: section.hours("watch_every_hours"),
        group_members: section.texts("group_members"),
        group_owners: section.texts("group_owners"),
    }
}

fn site(section: &mut Section) -> pb::SiteSpec {
    pb::SiteSpec {
        kind: section.word("kind", words::site_kind_to_wire),
        directory_id: section.text("directory_id"),
        login_url: section.text("login_url"),
        graph_url: section.text("graph_url"),
        admin_url: section.text("admin_url"),
        write_path: section.word("write_path", |WritePath(wire)| wire),
        park_first_millis: section.seconds("park_first_secs"),
        park_limit_millis: section.seconds("park_limit_secs"),
        max_in_flight: section.number("max_in_flight"),
        windows: section.tables("window", window),
        accounts: section.tables("account", account),
        onprem: section.tables("onprem", onprem).pop(),
        setup: section.tables("setup", setup).pop(),
    }
}

fn setup(section: &mut Section) -> pb::SetupSpec {
    pb::SetupSpec {
        count: section.number("count"),
        without: section.numbers("without"),
        name: section.text("name"),
        display_name: section.text("display_name"),
        usage_location: section.text("usage_location"),
        sku: section.text("sku"),
        organizational_unit: section.text("organizational_unit"),
        group: section.text("group"),
        group_name: section.text("group_name"),
        group_owners: section.texts("group_owners"),
        managed: section
            .tables("managed", |section| pb::ManagedParts {
                accounts: section.word("accounts", words::managed_by_to_wire),
                licences: section.word("licences", words::managed_by_to_wire),
                group: section.word("group", words::managed_by_to_wire),
                members: section.word("members", words::managed_by_to_wire),
            })
            .pop(),
        password_folder: section.text("password_folder"),
        kubernetes_secret: section.text("kubernetes_secret"),
        password_days: section.number("password_days"),
    }
}

/// A write path of either kind of site, as the contract has it. Which of them a site takes is for the contract to say.
struct WritePath(i32);

impl std::str::FromStr for WritePath {
    type Err = BadInput;

    fn from_str(raw: &str) -> Result<Self, BadInput> {
        let online = raw.parse().map(words::write_path_to_wire);
        let onprem = raw.parse().map(words::onprem_write_path_to_wire);
        online.or(onprem).map(Self).map_err(|_: BadInput| {
            let why =
                "use one of auto, admin_api, invoke_command online, powershell or ews on premises";
            BadInput::new("", raw, why)
        })
    }
}

fn onprem(section: &mut Section) -> pb::OnpremSite {
    pb::OnpremSite {
        ews_url: section.text("ews_url"),
        ews_sign_in: section.word("ews_sign_in", words::sign_in_to_wire),
        powershell_url: section.text("powershell_url"),
        powershell_sign_in: section.word("powershell_sign_in", words::sign_in_to_wire),
        access: section.word("access", words::mailbox_access_to_wire),
        budget_key: section.word("budget_key", words::budget_key_to_wire),
        token_url: section.text("token_url"),
        token_scope: section.text("token_scope"),
        ldap_url: section.text("ldap_url"),
        ldap_base: section.text("ldap_base"),
        disabled_accounts: section.word("disabled_accounts", words::disabled_accounts_to_wire),
        ca_file: section.text("ca_file"),
    }
}

fn account(section: &mut Section) -> pb::AccountSpec {
    use pb::account_spec::Credential;
    let secret = section
        .tables("secret", secret_ref)
        .pop()
        .map(Credential::Secret);
    let certificate = section
        .tables("certificate", |section| pb::CertificateRef {
            key: section.tables("key", secret_ref).pop(),
            certificate: section.tables("certificate", secret_ref).pop(),
        })
        .pop();
    pb::AccountSpec {
        name: section.text("name"),
        purposes: section.words("purpose", words::purpose_to_wire),
        client_id: section.text("client_id"),
        user: section.text("user"),
        credential: secret.or(certificate.map(Credential::Certificate)),
        max_in_flight: section.number("max_in_flight"),
        windows: section.tables("window", window),
        workers: section.number("workers"),
        expires: section.text("expires"),
        server_time: section
            .tables("server_time", |section| pb::ServerTime {
                burst_millis: section.seconds("burst_secs"),
                recharge_millis_per_hour: section.seconds("recharge_secs_per_hour"),
                floor_millis: section.seconds("floor_secs"),
            })
            .pop(),
    }
}

fn window(section: &mut Section) -> pb::CallWindow {
    pb::CallWindow {
        calls: section.number("calls"),
        millis: section.seconds("seconds"),
    }
}

fn secret_ref(section: &mut Section) -> pb::SecretRef {
    use pb::secret_ref::At;
    let (env, file) = (section.text("env"), section.text("file"));
    pb::SecretRef {
        at: if !env.is_empty() {
            Some(At::Env(env))
        } else if !file.is_empty() {
            Some(At::File(file))
        } else {
            None
        },
    }
}

/// A table of the file: what is taken from it is known, what is left is a mistake.
struct Section {
    path: String,
    table: Table,
    faults: Vec<BadInput>,
}

impl Section {
    fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn fault(&mut self, key: &str, value: &Value, why: &str) {
        let bad = BadInput::new(self.path(key), value.to_string(), why);
        self.faults.push(bad);
    }

    fn text(&mut self, key: &str) -> String {
        match self.table.remove(key) {
            None => String::new(),
            Some(Value::String(text)) => text,
            Some(other) => {
                self.fault(key, &other, "text in quotes is needed");
                String::new()
            }
        }
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        let items = match self.table.remove(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(single) => vec![single],
        };
        let mut texts = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text),
                other => self.fault(&format!("{key}[{at}]"), &other, "text in quotes is needed"),
            }
        }
        texts
    }

    fn number(&mut self, key: &str) -> u32 {
        match self.table.remove(key) {
            None => 0,
            Some(Value::Integer(number)) if number > 0 && u32::try_from(number).is_ok() => {
                u32::try_from(number).unwrap_or_default()
            }
            Some(other) => {
                self.fault(key, &other, "a whole number of at least 1 is needed");
                1
            }
        }
    }

    fn numbers(&mut self, key: &str) -> Vec<u32> {
        let items = match self.table.remove(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(single) => vec![single],
        };
        let mut numbers = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            match item.as_integer().map(u32::try_from) {
                Some(Ok(number)) => numbers.push(number),
                _ => self.fault(&format!("{key}[{at}]"), &item, "a whole number is needed"),
            }
        }
        numbers
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "checked to be a sensible number of seconds"
    )]
    fn seconds(&mut self, key: &str) -> u64 {
        let seconds = match self.table.remove(key) {
            None => return 0,
            Some(Value::Integer(seconds)) => seconds as f64,
            Some(Value::Float(seconds)) => seconds,
            Some(other) => {
                self.fault(key, &other, "a number of seconds is needed");
                return 1000;
            }
        };
        if (0.001..1e9).contains(&seconds) {
            return (seconds * 1000.0) as u64;
        }
        self.fault(
            key,
            &Value::Float(seconds),
            "more than 0 seconds are needed",
        );
        1000
    }

    /// Hours, as milliseconds; 0 stands for never.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "checked to be a sensible number of hours"
    )]
    fn hours(&mut self, key: &str) -> Option<u64> {
        let value = self.table.remove(key)?;
        let hours = match value {
            Value::Integer(hours) => hours as f64,
            Value::Float(hours) => hours,
            _ => f64::NAN,
        };
        if (0.0..1e6).contains(&hours) {
            return Some((hours * 3_600_000.0) as u64);
        }
        self.fault(key, &value, "a number of hours is needed, or 0 for never");
        None
    }

    fn word<T: std::str::FromStr<Err = BadInput>>(
        &mut self,
        key: &str,
        to_wire: fn(T) -> i32,
    ) -> i32 {
        let raw = self.text(key);
        if raw.is_empty() {
            return 0;
        }
        match raw.parse() {
            Ok(word) => to_wire(word),
            Err(bad) => {
                let path = self.path(key);
                self.faults.push(bad.within(&path));
                0
            }
        }
    }

    fn words<T: std::str::FromStr<Err = BadInput>>(
        &mut self,
        key: &str,
        to_wire: fn(T) -> i32,
    ) -> Vec<i32> {
        let items = match self.table.remove(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(single) => vec![single],
        };
        let mut out = Vec::new();
        for (at, item) in items.into_iter().enumerate() {
            match item.as_str().map(str::parse) {
                Some(Ok(word)) => out.push(to_wire(word)),
                Some(Err(bad)) => {
                    let path = self.path(&format!("{key}[{at}]"));
                    self.faults.push(bad.within(&path));
                }
                None => self.fault(&format!("{key}[{at}]"), &item, "text in quotes is needed"),
            }
        }
        out
    }

    /// Reads a table, or each of several.
    fn tables<T>(&mut self, key: &str, read: impl Fn(&mut Self) -> T) -> Vec<T> {
        let (items, many) = match self.table.remove(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => (items, true),
            Some(single) => (vec![single], false),
        };
        let mut out = Vec::new();
        for (at, item) in items.into_iter().enumerate() {
            let name = if many {
                format!("{key}[{at}]")
            } else {
                key.to_owned()
            };
            let Value::Table(table) = item else {
                self.fault(&name, &item, "a table is needed");
                continue;
            };
            let mut inner = Self {
                path: self.path(&name),
                table,
                faults: Vec::new(),
            };
            out.push(read(&mut inner));
            self.faults.extend(inner.end());
        }
        out
    }

    fn end(mut self) -> Vec<BadInput> {
        for (key, value) in std::mem::take(&mut self.table) {
            self.fault(
                &key,
                &value,
                "there is no such setting here; check its spelling",
            );
        }
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "uni-example"
        [[site]]
        kind = "online"
        directory_id = "11111111-2222-3333-4444-555555555555"
        [[site.account]]
        name = "reader"
        purpose = ["reader"]
        client_id = "r"
        secret = { env = "READER" }
        [[site.account]]
        name = "sa-1"
        purpose = ["grantor"]
        client_id = "g"
        certificate = { key = { file = "k.pem" }, certificate = { file = "c.pem" } }
        workers = 8
        window = [{ calls = 100, seconds = 10 }]
        [keep]
        verify_every_hours = 0.5
        list_every_hours = 0
        leavers = "revoke"
        group_members = ["sa-1@uni.example"]
    "#;

    #[test]
    fn a_good_file_is_read() {
        let spec = read(GOOD).unwrap();
        assert_eq!(spec.sites[0].accounts[1].windows[0].millis, 10_000);
        let keep = spec.keeping.unwrap();
        assert_eq!(
            (keep.verify_every_millis, keep.list_every_millis),
            (Some(1_800_000), Some(0))
        );
        assert_eq!(keep.leavers(), pb::Leavers::Revoke);
    }

    const ON_PREMISES: &str = r#"
        name = "uni-example"
        [[site]]
        kind = "onprem"
        write_path = "ews"
        [site.onprem]
        ews_url = "https://mail.uni.example/EWS/Exchange.asmx"
        powershell_url = "https://mail.uni.example/PowerShell/"
        ldap_url = "ldaps://dc1.uni.example"
        ca_file = "/etc/calgrant/ca.pem"
        [[site.account]]
        name = "reader"
        purpose = ["reader"]
        user = "reader@uni.example"
        secret = { env = "READER" }
        [[site.account]]
        name = "sa-1"
        purpose = ["grantor"]
        user = "UNI\\sa-1"
        secret = { env = "SA_1" }
    "#;

    #[test]
    fn a_site_on_premises_is_read() {
        let spec = read(ON_PREMISES).unwrap();
        assert_eq!(spec.sites[0].write_path(), pb::WritePath::Ews);
        assert_eq!(spec.sites[0].accounts[1].user, "UNI\\sa-1");
        let onprem = spec.sites[0].onprem.clone().unwrap();
        assert_eq!(onprem.ca_file, "/etc/calgrant/ca.pem");
    }

    #[test]
    fn what_a_site_is_set_up_with_is_read() {
        let text = format!(
            "{ON_PREMISES}{}",
            r#"
            [site.setup]
            count = 3
            without = [2]
            name = "sa-mytt-exch-{n}@uni.example"
            organizational_unit = "OU=Service,DC=uni,DC=example"
            group = "mytt-delegates@uni.example"
            group_owners = ["ann@uni.example"]
            managed = { members = "external" }
            "#
        );
        let spec = read(&text).unwrap();
        let setup = spec.sites[0].setup.clone().unwrap();
        assert_eq!((setup.count, setup.without), (3, vec![2]));
        assert_eq!(setup.managed.unwrap().members(), pb::ManagedBy::External);
        let Faults { faults, .. } = read(&text.replace("[2]", "[\"b\"]")).unwrap_err();
        assert_eq!(faults[0].field, "site[0].setup.without[0]");
    }

    #[test]
    fn the_example_of_a_hybrid_tenant_is_a_good_file() {
        let example = include_str!("../../../deploy/examples/tenant-hybrid.toml");
        let spec = read(example).unwrap();
        assert_eq!(spec.sites.len(), 2);
        assert_eq!(spec.sites[1].accounts[1].user, "UNI\\sa-onprem-1");
    }

    #[test]
    fn its_mistakes_are_named_as_they_are_written() {
        let bad = ON_PREMISES
            .replace("write_path = \"ews\"", "write_path = \"powershel\"")
            .replace("ldaps://", "https://")
            .replace("ca_file", "ca_fiel");
        let Faults { faults, .. } = read(&bad).unwrap_err();
        let mut fields: Vec<_> = faults.iter().map(|bad| bad.field.as_str()).collect();
        fields.sort_unstable();
        let want = ["onprem.ca_fiel", "onprem.ldap_url", "write_path"];
        assert_eq!(fields, want.map(|field| format!("site[0].{field}")));
    }

    #[test]
    fn five_mistakes_are_all_named() {
        let bad = GOOD
            .replace("uni-example", "Uni")
            .replace("kind = \"online\"", "kind = \"cloud\"")
            .replace("purpose = [\"reader\"]", "purpose = [\"raeder\"]")
            .replace("workers = 8", "workers = -1\nwokers = 3")
            .replace("verify_every_hours = 0.5", "verify_every_hours = -1");
        let Faults { faults, .. } = read(&bad).unwrap_err();
        let fields: Vec<_> = faults.iter().map(|bad| bad.field.as_str()).collect();
        for field in [
            "name",
            "site[0].kind",
            "site[0].account[0].purpose[0]",
            "site[0].account[1].workers",
            "site[0].account[1].wokers",
            "keep.verify_every_hours",
        ] {
            assert!(fields.contains(&field), "{field} in {fields:?}");
        }
    }
}

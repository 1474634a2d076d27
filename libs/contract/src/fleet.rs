//! Tenants, sites and accounts, to and from the domain. All faults at once.

use std::time::Duration;

use calgrant_domain::{
    AccountSpec, Address, BadInput, BudgetKey, CallWindow, Credential, Keeping, Limits, Purpose,
    SecretRef, ServerTime, SharedLimits, SiteSpec, TenantSpec,
    assumed::{DEFAULT_IN_FLIGHT, DEFAULT_IN_FLIGHT_ONPREM, DEFAULT_SERVER_TIME},
};
use time::{Date, format_description::BorrowedFormatItem, macros::format_description};

use crate::{
    bus::{millis, parse},
    organisation::{self, AccountRules},
    pb::fleet::v1 as pb,
    setup, words,
};

pub use words::site_kind;

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const DEFAULT_WORKERS: u32 = 4;
const DEFAULT_PARK_FIRST: Duration = Duration::from_secs(300);
const DEFAULT_PARK_LIMIT: Duration = Duration::from_secs(86_400);
const MOST_EXPECTED: usize = 100;
const LONGEST_EVERY: Duration = Duration::from_secs(366 * 86_400);

/// Reads a tenant.
///
/// # Errors
/// All its faults, those between fields included.
pub fn tenant(wire: pb::TenantSpec) -> Result<TenantSpec, Vec<BadInput>> {
    let mut faults = Vec::new();
    let name = parse("name", &wire.name)
        .map_err(|bad| faults.push(bad))
        .ok();
    if wire.sites.is_empty() {
        faults.push(BadInput::missing("site", "a tenant has at least one site"));
    }
    for (at, site) in wire.sites.iter().enumerate() {
        if site.kind != 0 && wire.sites[..at].iter().any(|other| other.kind == site.kind) {
            faults.push(BadInput::new(
                format!("site[{at}].kind"),
                site.kind().as_str_name(),
                "each kind of site may stand once",
            ));
        }
    }
    let mut sites = Vec::new();
    for (at, wire) in wire.sites.into_iter().enumerate() {
        match site(wire) {
            Ok(site) => sites.push(site),
            Err(bad) => faults.extend(
                bad.into_iter()
                    .map(|bad| bad.within(&format!("site[{at}]"))),
            ),
        }
    }
    setup::between_sites(&sites, &mut faults);
    let keeping = keeping(wire.keeping.unwrap_or_default(), &mut faults);
    match name {
        Some(name) if faults.is_empty() => {
            let display_name = if wire.display_name.trim().is_empty() {
                wire.name
            } else {
                wire.display_name
            };
            Ok(TenantSpec {
                name,
                display_name,
                sites,
                keeping,
            })
        }
        _ => Err(faults),
    }
}

fn keeping(wire: pb::Keeping, faults: &mut Vec<BadInput>) -> Keeping {
    let usual = Keeping::default();
    let every = |millis: Option<u64>, usual| match millis {
        None => usual,
        Some(0) => None,
        Some(millis) => Some(Duration::from_millis(millis)),
    };
    let keeping = Keeping {
        verify_every: every(wire.verify_every_millis, usual.verify_every),
        list_every: every(wire.list_every_millis, usual.list_every),
        drift: word(usual.drift, "keep.drift", wire.drift, words::drift, faults),
        joiners: word(
            usual.joiners,
            "keep.joiners",
            wire.joiners,
            words::joiners,
            faults,
        ),
        watch_every: every(wire.watch_every_millis, usual.watch_every),
        group_members: addresses("keep.group_members", &wire.group_members, faults),
        group_owners: wire.group_owners,
        leavers: word(
            usual.leavers,
            "keep.leavers",
            wire.leavers,
            words::leavers,
            faults,
        ),
    };
    for (field, every) in [
        ("keep.verify_every_hours", keeping.verify_every),
        ("keep.list_every_hours", keeping.list_every),
        ("keep.watch_every_hours", keeping.watch_every),
    ] {
        if every.is_some_and(|every| every > LONGEST_EVERY) {
            faults.push(BadInput::new(
                field,
                every.unwrap_or_default().as_secs() / 3600,
                "up to 8,784 hours (a year), or 0 for never",
            ));
        }
    }
    for (field, count) in [
        ("keep.group_members", keeping.group_members.len()),
        ("keep.group_owners", keeping.group_owners.len()),
    ] {
        if count > MOST_EXPECTED {
            faults.push(BadInput::new(field, count, "up to 100"));
        }
    }
    keeping
}

fn addresses(field: &str, raw: &[String], faults: &mut Vec<BadInput>) -> Vec<Address> {
    let mut read = Vec::with_capacity(raw.len());
    for (at, raw) in raw.iter().enumerate() {
        match parse(&format!("{field}[{at}]"), raw) {
            Ok(address) => read.push(address),
            Err(bad) => faults.push(bad),
        }
    }
    read
}

/// A word that may be left out.
fn word<T>(
    usual: T,
    field: &str,
    raw: i32,
    read: fn(&str, i32) -> Result<T, BadInput>,
    faults: &mut Vec<BadInput>,
) -> T {
    if raw == 0 {
        return usual;
    }
    read(field, raw).unwrap_or_else(|bad| {
        faults.push(bad);
        usual
    })
}

fn site(wire: pb::SiteSpec) -> Result<SiteSpec, Vec<BadInput>> {
    let mut faults = Vec::new();
    let kind = site_kind("kind", wire.kind)
        .map_err(|bad| faults.push(bad))
        .ok();
    let organisation = organisation::read(kind, &wire, &mut faults);
    let rules = AccountRules::of(kind, organisation.as_ref());
    let wait = |millis: u64, default| {
        if millis == 0 {
            default
        } else {
            Duration::from_millis(millis)
        }
    };
    let shared = SharedLimits {
        in_flight: (wire.max_in_flight > 0).then_some(wire.max_in_flight),
        windows: windows(&wire.windows, &mut faults),
    };
    let setup = setup::read(organisation.as_ref(), wire.setup.as_ref(), &mut faults);
    between_accounts(&wire.accounts, &mut faults);
    let mut accounts = Vec::new();
    for (at, wire) in wire.accounts.into_iter().enumerate() {
        match account(wire, &rules) {
            Ok(account) => accounts.push(account),
            Err(bad) => faults.extend(
                bad.into_iter()
                    .map(|bad| bad.within(&format!("account[{at}]"))),
            ),
        }
    }
    match (kind, organisation) {
        (Some(_), Some(organisation)) if faults.is_empty() => Ok(SiteSpec {
            organisation,
            park_first: wait(wire.park_first_millis, DEFAULT_PARK_FIRST),
            park_limit: wait(wire.park_limit_millis, DEFAULT_PARK_LIMIT),
            shared,
            accounts,
            setup,
        }),
        _ => Err(faults),
    }
}

/// Faults that no single account shows: a name that stands twice, a purpose that nobody has.
fn between_accounts(accounts: &[pb::AccountSpec], faults: &mut Vec<BadInput>) {
    for purpose in [pb::Purpose::Reader, pb::Purpose::Grantor] {
        if !accounts
            .iter()
            .any(|account| account.purposes().any(|known| known == purpose))
        {
            let word = purpose.as_str_name().trim_start_matches("PURPOSE_");
            faults.push(BadInput::missing(
                "account",
                format!(
                    "at least one account with the purpose {} is needed",
                    word.to_lowercase()
                ),
            ));
        }
    }
    for (at, account) in accounts.iter().enumerate() {
        if !account.name.is_empty()
            && accounts[..at]
                .iter()
                .any(|other| other.name == account.name)
        {
            faults.push(BadInput::new(
                format!("account[{at}].name"),
                &account.name,
                "an account's name may stand once in its site",
            ));
        }
    }
}

fn account(wire: pb::AccountSpec, rules: &AccountRules) -> Result<AccountSpec, Vec<BadInput>> {
    use pb::account_spec::Credential as Wire;
    let mut faults = Vec::new();
    let name = parse("name", &wire.name)
        .map_err(|bad| faults.push(bad))
        .ok();
    let purposes: Vec<_> = wire
        .purposes
        .iter()
        .enumerate()
        .filter_map(|(at, raw)| {
            words::purpose(&format!("purpose[{at}]"), *raw)
                .map_err(|bad| faults.push(bad))
                .ok()
        })
        .collect();
    if wire.purposes.is_empty() {
        faults.push(BadInput::missing(
            "purpose",
            "say what the account is for: reader, grantor, member, setup",
        ));
    }
    rules.names(&wire, &mut faults);
    let credential = match wire.credential {
        None => Err(BadInput::missing(
            "secret",
            "say how it signs in: a secret or a certificate, each by env or file",
        )),
        Some(Wire::Secret(secret)) => secret_ref("secret", Some(secret)).map(Credential::Secret),
        Some(Wire::Certificate(_)) if rules.is_onprem() => Err(BadInput::missing(
            "secret",
            "servers on premises take no certificate from us: say where its password or secret is, by env or file",
        )),
        Some(Wire::Certificate(certificate)) => secret_ref("certificate.key", certificate.key)
            .and_then(|key| {
                Ok(Credential::Certificate {
                    key,
                    certificate: secret_ref("certificate.certificate", certificate.certificate)?,
                })
            }),
    };
    let credential = credential.map_err(|bad| faults.push(bad)).ok();
    let windows = windows(&wire.windows, &mut faults);
    let grantor = purposes.contains(&Purpose::Grantor);
    let server_time = match (wire.server_time, rules.ews) {
        (Some(_), Some(key)) if key != BudgetKey::Caller && grantor => {
            faults.push(BadInput::new(
                "server_time",
                "",
                format!("the site's budget_key is {key}, so the server counts no time of the account: take one of the two away"),
            ));
            None
        }
        (Some(time), _) => Some(server_time(time, &mut faults)),
        (None, Some(BudgetKey::Caller)) if grantor => Some(DEFAULT_SERVER_TIME),
        (None, _) => None,
    };
    let or = |number: u32, default| if number == 0 { default } else { number };
    let (in_flight, workers) = if rules.is_onprem() {
        let in_flight = or(wire.max_in_flight, DEFAULT_IN_FLIGHT_ONPREM);
        (in_flight, in_flight)
    } else {
        (or(wire.max_in_flight, DEFAULT_IN_FLIGHT), DEFAULT_WORKERS)
    };
    let expires = day(&wire.expires, &mut faults);
    match (name, credential) {
        (Some(name), Some(credential)) if faults.is_empty() => Ok(AccountSpec {
            name,
            purposes,
            client_id: wire.client_id.trim().to_owned(),
            user: wire.user.trim().to_owned(),
            credential,
            limits: Limits {
                in_flight,
                windows,
                server_time,
            },
            workers: or(wire.workers, workers),
            expires,
        }),
        _ => Err(faults),
    }
}

/// A day, written as 2027-01-31; none if it is left out.
fn day(raw: &str, faults: &mut Vec<BadInput>) -> Option<Date> {
    let raw = raw.trim();
    if raw.is_empty() {
        return None;
    }
    let read = Date::parse(raw, DAY);
    if read.is_err() {
        let why = "it isn't a day written as 2027-01-31";
        faults.push(BadInput::new("expires", raw, why));
    }
    read.ok()
}

fn windows(wire: &[pb::CallWindow], faults: &mut Vec<BadInput>) -> Vec<CallWindow> {
    let mut windows = Vec::with_capacity(wire.len());
    for (at, window) in wire.iter().enumerate() {
        let length = Duration::from_millis(window.millis);
        if window.calls == 0 || length.is_zero() {
            faults.push(BadInput::new(
                format!("window[{at}]"),
                format!("{} calls in {} s", window.calls, length.as_secs_f64()),
                "at least 1 call in more than 0 seconds; to stop an account, pause it",
            ));
        }
        windows.push(CallWindow {
            calls: window.calls,
            length,
        });
    }
    windows
}

fn server_time(wire: pb::ServerTime, faults: &mut Vec<BadInput>) -> ServerTime {
    let time = ServerTime {
        burst: Duration::from_millis(wire.burst_millis),
        recharge_per_hour: Duration::from_millis(wire.recharge_millis_per_hour),
        floor: Duration::from_millis(wire.floor_millis),
    };
    for (field, value) in [
        ("burst_secs", time.burst),
        ("recharge_secs_per_hour", time.recharge_per_hour),
    ] {
        if value.is_zero() {
            faults.push(BadInput::missing(
                format!("server_time.{field}"),
                "more than 0 seconds, as the account's throttling policy says",
            ));
        }
    }
    if time.floor >= time.burst && !time.burst.is_zero() {
        faults.push(BadInput::new(
            "server_time.floor_secs",
            time.floor.as_secs_f64(),
            "less than burst_secs, or no call could ever start",
        ));
    }
    time
}

fn secret_ref(field: &str, wire: Option<pb::SecretRef>) -> Result<SecretRef, BadInput> {
    use pb::secret_ref::At;
    match wire.and_then(|wire| wire.at) {
        Some(At::Env(name)) if !name.trim().is_empty() => Ok(SecretRef::Env(name)),
        Some(At::File(path)) if !path.trim().is_empty() => Ok(SecretRef::File(path)),
        _ => Err(BadInput::missing(
            field,
            "say where it is found: env = the name of a variable, or file = a path",
        )),
    }
}

/// Writes a tenant.
pub fn tenant_to_wire(tenant: &TenantSpec) -> pb::TenantSpec {
    pb::TenantSpec {
        name: tenant.name.to_string(),
        display_name: tenant.display_name.clone(),
        sites: tenant.sites.iter().map(site_to_wire).collect(),
        keeping: Some(keeping_to_wire(&tenant.keeping)),
    }
}

fn keeping_to_wire(keeping: &Keeping) -> pb::Keeping {
    let every = |every: Option<Duration>| Some(every.map_or(0, millis));
    pb::Keeping {
        verify_every_millis: every(keeping.verify_every),
        drift: words::drift_to_wire(keeping.drift),
        list_every_millis: every(keeping.list_every),
        joiners: words::joiners_to_wire(keeping.joiners),
        leavers: words::leavers_to_wire(keeping.leavers),
        watch_every_millis: every(keeping.watch_every),
        group_members: keeping
            .group_members
            .iter()
            .map(ToString::to_string)
            .collect(),
        group_owners: keeping.group_owners.clone(),
    }
}

/// Writes a site.
pub fn site_to_wire(site: &SiteSpec) -> pb::SiteSpec {
    let mut wire = pb::SiteSpec {
        kind: words::site_kind_to_wire(site.kind()),
        park_first_millis: millis(site.park_first),
        park_limit_millis: millis(site.park_limit),
        accounts: site.accounts.iter().map(account_to_wire).collect(),
        max_in_flight: site.shared.in_flight.unwrap_or_default(),
        windows: site.shared.windows.iter().map(window_to_wire).collect(),
        setup: site.setup.as_ref().map(setup::write),
        ..pb::SiteSpec::default()
    };
    organisation::write(&site.organisation, &mut wire);
    wire
}

fn window_to_wire(window: &CallWindow) -> pb::CallWindow {
    pb::CallWindow {
        calls: window.calls,
        millis: millis(window.length),
    }
}

/// Writes an account.
pub fn account_to_wire(account: &AccountSpec) -> pb::AccountSpec {
    use pb::account_spec::Credential as Wire;
    let secret = |secret: &SecretRef| pb::SecretRef {
        at: Some(match secret {
            SecretRef::Env(name) => pb::secret_ref::At::Env(name.clone()),
            SecretRef::File(path) => pb::secret_ref::At::File(path.clone()),
        }),
    };
    pb::AccountSpec {
        name: account.name.to_string(),
        purposes: account
            .purposes
            .iter()
            .map(|purpose| words::purpose_to_wire(*purpose))
            .collect(),
        client_id: account.client_id.clone(),
        user: account.user.clone(),
        credential: Some(match &account.credential {
            Credential::Secret(at) => Wire::Secret(secret(at)),
            Credential::Certificate { key, certificate } => Wire::Certificate(pb::CertificateRef {
                key: Some(secret(key)),
                certificate: Some(secret(certificate)),
            }),
        }),
        max_in_flight: account.limits.in_flight,
        windows: account.limits.windows.iter().map(window_to_wire).collect(),
        workers: account.workers,
        expires: account
            .expires
            .map(|day| day.to_string())
            .unwrap_or_default(),
        server_time: account
            .limits
            .server_time
            .as_ref()
            .map(|time| pb::ServerTime {
                burst_millis: millis(time.burst),
                recharge_millis_per_hour: millis(time.recharge_per_hour),
                floor_millis: millis(time.floor),
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> pb::TenantSpec {
        let account = |name: &str, purpose: pb::Purpose| pb::AccountSpec {
            name: name.into(),
            purposes: vec![purpose as i32],
            client_id: "id".into(),
            credential: Some(pb::account_spec::Credential::Secret(pb::SecretRef {
                at: Some(pb::secret_ref::At::Env("X".into())),
            })),
            ..pb::AccountSpec::default()
        };
        let site = pb::SiteSpec {
            kind: 1,
            directory_id: uuid::Uuid::nil().to_string(),
            accounts: vec![
                account("reader", pb::Purpose::Reader),
                account("sa-1", pb::Purpose::Grantor),
            ],
            ..pb::SiteSpec::default()
        };
        pb::TenantSpec {
            name: "uni".into(),
            display_name: "Uni".into(),
            sites: vec![site],
            keeping: None,
        }
    }

    #[test]
    fn a_tenant_round_trips_with_its_defaults() {
        let read = tenant(wire()).unwrap();
        assert_eq!(
            read.sites[0].accounts[1].limits.in_flight,
            DEFAULT_IN_FLIGHT
        );
        assert_eq!(read.keeping, Keeping::default());
        assert_eq!(tenant(tenant_to_wire(&read)).unwrap(), read);
    }

    #[test]
    fn what_is_done_by_itself_may_be_never_and_is_checked() {
        let mut wire = wire();
        let never = pb::Keeping {
            verify_every_millis: Some(0),
            list_every_millis: Some(3_600_000),
            leavers: pb::Leavers::Revoke.into(),
            group_members: vec!["sa-1@uni.example".to_owned()],
            ..pb::Keeping::default()
        };
        wire.keeping = Some(never.clone());
        let read = tenant(wire.clone()).unwrap();
        assert_eq!(read.keeping.verify_every, None);
        assert_eq!(read.keeping.list_every, Some(Duration::from_secs(3600)));
        assert_eq!(tenant(tenant_to_wire(&read)).unwrap(), read);
        wire.keeping = Some(pb::Keeping {
            verify_every_millis: Some(u64::MAX),
            drift: 9,
            group_members: vec!["sa-1".to_owned()],
            ..never
        });
        let fields: Vec<_> = tenant(wire)
            .unwrap_err()
            .into_iter()
            .map(|bad| bad.field)
            .collect();
        let want = [
            "keep.drift",
            "keep.group_members[0]",
            "keep.verify_every_hours",
        ];
        for field in want {
            assert!(
                fields.iter().any(|found| found == field),
                "{field} in {fields:?}"
            );
        }
        assert_eq!(fields.len(), want.len());
    }

    #[test]
    fn five_mistakes_are_all_five_named() {
        let mut bad = wire();
        bad.name = "Uni Example".into();
        bad.sites[0].kind = 0;
        bad.sites[0].directory_id = "x".into();
        bad.sites[0].graph_url = "http://elsewhere.example".into();
        bad.sites[0].accounts[0].client_id = String::new();
        let fields: Vec<_> = tenant(bad)
            .unwrap_err()
            .into_iter()
            .map(|bad| bad.field)
            .collect();
        assert_eq!(
            fields,
            [
                "name",
                "site[0].kind",
                "site[0].directory_id",
                "site[0].graph_url",
                "site[0].account[0].client_id"
            ]
        );
    }

    #[test]
    fn faults_between_fields_are_named_with_the_others() {
        let mut bad = wire();
        bad.sites[0].directory_id = "x".into();
        bad.sites[0].accounts[1].name = "reader".into();
        bad.sites[0].accounts[1].purposes = vec![pb::Purpose::Member as i32];
        bad.sites[0].accounts[0].windows = vec![pb::CallWindow {
            calls: 0,
            millis: 1000,
        }];
        bad.sites.push(bad.sites[0].clone());
        let faults = tenant(bad).unwrap_err();
        for field in [
            "site[1].kind",
            "site[0].directory_id",
            "site[0].account",
            "site[0].account[1].name",
            "site[0].account[0].window[0]",
        ] {
            assert!(
                faults.iter().any(|bad| bad.field == field),
                "{field}: {faults:?}"
            );
        }
    }
}

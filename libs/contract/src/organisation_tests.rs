use super::*;
use crate::fleet::{tenant, tenant_to_wire};

fn wire() -> pb::TenantSpec {
    let account = |name: &str, purpose: pb::Purpose| pb::AccountSpec {
        name: name.into(),
        purposes: vec![purpose as i32],
        user: format!("UNI\\{name}"),
        credential: Some(pb::account_spec::Credential::Secret(pb::SecretRef {
            at: Some(pb::secret_ref::At::Env("X".into())),
        })),
        ..pb::AccountSpec::default()
    };
    pb::TenantSpec {
        name: "uni".into(),
        display_name: "Uni".into(),
        sites: vec![pb::SiteSpec {
            kind: 2,
            write_path: pb::WritePath::Ews as i32,
            onprem: Some(pb::OnpremSite {
                ews_url: "https://mail.uni.example/EWS/Exchange.asmx".into(),
                powershell_url: "https://mail.uni.example/PowerShell/".into(),
                ldap_url: "ldaps://dc1.uni.example".into(),
                ..pb::OnpremSite::default()
            }),
            accounts: vec![
                account("reader", pb::Purpose::Reader),
                account("sa-1", pb::Purpose::Grantor),
            ],
            ..pb::SiteSpec::default()
        }],
        ..pb::TenantSpec::default()
    }
}

fn site(change: impl FnOnce(&mut pb::SiteSpec, &mut pb::OnpremSite)) -> pb::TenantSpec {
    let mut wire = wire();
    let site = &mut wire.sites[0];
    let mut onprem = site.onprem.take().unwrap();
    change(site, &mut onprem);
    site.onprem = Some(onprem);
    wire
}

fn fields(wire: pb::TenantSpec) -> Vec<String> {
    let faults = tenant(wire).err().unwrap_or_default();
    faults.into_iter().map(|bad| bad.field).collect()
}

#[test]
fn a_site_on_premises_round_trips_with_its_defaults() {
    let read = tenant(wire()).unwrap();
    let [reader, grantor] = &read.sites[0].accounts[..] else {
        panic!("two accounts");
    };
    // The default policy of a server.
    let time = grantor.limits.server_time.unwrap();
    assert_eq!(
        (time.burst.as_secs(), time.recharge_per_hour.as_secs()),
        (300, 900)
    );
    assert_eq!((grantor.limits.in_flight, grantor.workers), (10, 10));
    assert_eq!(reader.limits.server_time, None);
    assert_eq!(tenant(tenant_to_wire(&read)).unwrap(), read);
}

#[test]
fn what_the_server_does_not_count_has_no_balance() {
    let time = |wire| {
        let tenant = tenant(wire).unwrap();
        tenant.sites[0].accounts[1].limits.server_time
    };
    let key = |key: pb::BudgetKey| site(|_, onprem| onprem.budget_key = key as i32);
    assert!(time(key(pb::BudgetKey::Caller)).is_some());
    assert_eq!(time(key(pb::BudgetKey::Target)), None);
    assert_eq!(time(key(pb::BudgetKey::Nobody)), None);
    let powershell = site(|site, _| site.write_path = pb::WritePath::Powershell as i32);
    assert_eq!(time(powershell), None);
    let contradiction = site(|site, onprem| {
        onprem.budget_key = pb::BudgetKey::Target as i32;
        site.accounts[1].server_time = Some(pb::ServerTime {
            burst_millis: 1000,
            recharge_millis_per_hour: 1000,
            floor_millis: 0,
        });
    });
    assert_eq!(fields(contradiction), ["site[0].account[1].server_time"]);
}

#[test]
fn each_mistake_is_named_by_its_field() {
    let bearer = pb::SignIn::Bearer as i32;
    let cases: Vec<(pb::TenantSpec, &[&str])> = vec![
        (site(|site, _| site.write_path = 0), &["site[0].write_path"]),
        (
            site(|site, _| site.write_path = pb::WritePath::AdminApi as i32),
            &["site[0].write_path"],
        ),
        (
            site(|_, onprem| onprem.ews_url = String::new()),
            &["site[0].onprem.ews_url"],
        ),
        (
            site(|_, onprem| onprem.ews_url = "http://mail.uni.example/EWS".into()),
            &["site[0].onprem.ews_url"],
        ),
        (
            site(|_, onprem| onprem.powershell_url = "mail.uni.example".into()),
            &["site[0].onprem.powershell_url"],
        ),
        (
            site(|_, onprem| onprem.ldap_url = "dc1.uni.example".into()),
            &["site[0].onprem.ldap_url"],
        ),
        (
            site(|_, onprem| onprem.ldap_base = "uni.example".into()),
            &["site[0].onprem.ldap_base"],
        ),
        (
            site(|_, onprem| {
                onprem.access = pb::MailboxAccess::FullAccess as i32;
                onprem.budget_key = pb::BudgetKey::Target as i32;
            }),
            &["site[0].onprem.budget_key"],
        ),
        (
            site(|_, onprem| onprem.ews_sign_in = bearer),
            &["site[0].onprem.token_url", "site[0].onprem.token_scope"],
        ),
        (
            site(|_, onprem| {
                onprem.ews_sign_in = bearer;
                onprem.token_url = "https://adfs.uni.example/token".into();
                onprem.token_scope = "https://mail.uni.example/.default".into();
            }),
            &["site[0].account[1].client_id"],
        ),
        (
            site(|site, _| site.directory_id = uuid::Uuid::nil().to_string()),
            &["site[0].directory_id"],
        ),
        (
            site(|site, _| site.accounts[1].user = String::new()),
            &["site[0].account[1].user"],
        ),
        (
            site(|site, _| site.accounts[1].client_id = "app".into()),
            &["site[0].account[1].client_id"],
        ),
    ];
    for (wire, want) in cases {
        assert_eq!(fields(wire.clone()), want, "{wire:?}");
    }
    let mut nowhere = wire();
    nowhere.sites[0].onprem = None;
    assert_eq!(fields(nowhere), ["site[0].onprem"]);
    let mut online = wire();
    online.sites[0].kind = 1;
    online.sites[0].write_path = 0;
    assert!(fields(online).contains(&"site[0].onprem".to_owned()));
}

#[test]
fn kerberos_names_a_realm_and_may_do_without_tls() {
    let kerberos = pb::SignIn::Kerberos as i32;
    let by_kerberos = |url: &str, user: &str| {
        site(|site, onprem| {
            site.write_path = pb::WritePath::Powershell as i32;
            onprem.powershell_url = url.into();
            onprem.powershell_sign_in = kerberos;
            site.accounts[1].user = user.into();
        })
    };
    let (open, sealed) = (
        "http://mail.uni.example/PowerShell/",
        "https://mail.uni.example/PowerShell/",
    );
    for (url, user, want) in [
        (open, "sa-1@uni.example", None),
        (sealed, "sa-1@uni.example", None),
        (open, "UNI\\sa-1", Some("site[0].account[1].user")),
        (open, "sa-1@", Some("site[0].account[1].user")),
        (
            "http://a:b@mail/",
            "sa-1@uni.example",
            Some("site[0].onprem.powershell_url"),
        ),
    ] {
        let wire = by_kerberos(url, user);
        match want {
            Some(field) => assert_eq!(fields(wire), [field], "{url} {user}"),
            None => {
                let read = tenant(wire).unwrap();
                assert_eq!(tenant(tenant_to_wire(&read)).unwrap(), read);
            }
        }
    }
    // EWS seals nothing.
    let ews = site(|site, onprem| {
        onprem.ews_url = "http://mail.uni.example/EWS/Exchange.asmx".into();
        onprem.ews_sign_in = kerberos;
        site.accounts[1].user = "sa-1@uni.example".into();
    });
    assert_eq!(fields(ews), ["site[0].onprem.ews_url"]);
}

#[test]
fn passwords_go_over_tls_or_stay_here() {
    for (url, good) in [
        ("https://mail.uni.example/EWS/Exchange.asmx", true),
        ("http://127.0.0.1:8080/EWS/Exchange.asmx", true),
        ("http://localhost/PowerShell/", true),
        ("http://[::1]:80/", true),
        ("http://localhost.uni.example/", false),
        ("http://mail/", false),
        ("https://a:b@mail.uni.example/", false),
        ("https://", false),
        ("", false),
    ] {
        assert_eq!(safe(url), good, "{url}");
    }
}

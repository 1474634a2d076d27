use calgrant_domain::{
    AccountSpec, BudgetKey, CallWindow, Credential, DisabledAccounts, Interface, Limits,
    MailboxAccess, OnpremSite, OnpremWritePath, Organisation, SecretRef, ServerTime, SetupSpec,
    SharedLimits, SignInKind, SiteSpec, TokenIssuer,
    setup::{HandOver, ManagedBy, ManagedParts},
};
use calgrant_store::StoreError;
use calgrant_testkit::sample;

use crate::world::{World, at};

#[tokio::test]
async fn a_tenant_is_read_as_it_was_applied() {
    let world = World::new().await;
    let mut spec = sample::tenant("college");
    let second = AccountSpec {
        name: "sa-2".parse().unwrap(),
        credential: Credential::Certificate {
            key: SecretRef::File("/run/key.pem".to_owned()),
            certificate: SecretRef::Env("CERTIFICATE".to_owned()),
        },
        limits: Limits {
            in_flight: 5,
            windows: vec![CallWindow {
                calls: 100,
                length: std::time::Duration::from_secs(60),
            }],
            server_time: Some(ServerTime {
                burst: std::time::Duration::from_secs(300),
                recharge_per_hour: std::time::Duration::from_secs(1800),
                floor: std::time::Duration::from_secs(1),
            }),
        },
        ..spec.sites[0].accounts[0].clone()
    };
    spec.sites[0].accounts.push(second);
    spec.sites[0].setup = Some(SetupSpec {
        count: 3,
        without: vec![2],
        name: "sa-{n}@example.org".parse().unwrap(),
        display_name: "Service account {n}".to_owned(),
        usage_location: Some("NL".to_owned()),
        sku: Some("EXCHANGESTANDARD".to_owned()),
        organizational_unit: None,
        group: "delegates@example.org".parse().unwrap(),
        group_name: "Delegates".to_owned(),
        group_owners: vec!["ann@example.org".parse().unwrap()],
        managed: ManagedParts {
            members: ManagedBy::External,
            ..ManagedParts::default()
        },
        password_days: Some(90),
        hand_over: Some(HandOver::Kubernetes("uni/passwords".parse().unwrap())),
    });
    let onprem = SiteSpec {
        organisation: Organisation::Onprem(OnpremSite {
            write_path: OnpremWritePath::Ews,
            ews: Some(Interface {
                url: "https://mail.example.org/EWS/Exchange.asmx".to_owned(),
                sign_in: SignInKind::Bearer,
            }),
            powershell: None,
            access: MailboxAccess::Impersonation,
            budget_key: BudgetKey::Target,
            token: Some(TokenIssuer {
                url: "https://adfs.example.org/token".to_owned(),
                scope: "https://mail.example.org/.default".to_owned(),
            }),
            ldap_url: "ldaps://dc1.example.org".to_owned(),
            ldap_base: Some("DC=example,DC=org".to_owned()),
            disabled_accounts: DisabledAccounts::Include,
            ca_file: None,
        }),
        shared: SharedLimits {
            in_flight: Some(7),
            windows: vec![CallWindow {
                calls: 9,
                length: std::time::Duration::from_secs(10),
            }],
        },
        accounts: vec![AccountSpec {
            user: "EXAMPLE\\sa-1".to_owned(),
            ..spec.sites[0].accounts[0].clone()
        }],
        ..spec.sites[0].clone()
    };
    spec.sites.push(onprem);
    world
        .store
        .apply_tenant(&spec, "", "etag-1", at(1))
        .await
        .unwrap();
    let stored = world.store.tenant(&spec.name).await.unwrap().unwrap();
    assert_eq!(stored.spec, spec);
    assert_eq!((stored.etag.as_str(), stored.updated_at), ("etag-1", at(1)));
    let names: Vec<_> = world
        .store
        .tenants("", 10)
        .await
        .unwrap()
        .into_iter()
        .map(|stored| stored.spec.name.to_string())
        .collect();
    assert_eq!(names, ["college", "uni"]);
}

#[tokio::test]
async fn a_change_is_refused_when_the_tenant_has_changed_meanwhile() {
    let world = World::new().await;
    let spec = sample::tenant("uni");
    let apply = |expected, etag| world.store.apply_tenant(&spec, expected, etag, at(2));
    apply("1", "2").await.unwrap();
    assert!(matches!(apply("1", "3").await, Err(StoreError::Changed)));
    let stored = world.store.tenant(&spec.name).await.unwrap().unwrap();
    assert_eq!(stored.etag, "2");
    // Of two that saw the same, one wins.
    let both = futures::future::join(apply("2", "3a"), apply("2", "3b")).await;
    assert!(both.0.is_ok() != both.1.is_ok(), "{both:?}");
    // Two that make the same tenant at the same time don't fail on each other.
    let new = sample::tenant("college");
    let make = |etag| world.store.apply_tenant(&new, "", etag, at(2));
    let both = futures::future::join(make("1"), make("2")).await;
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
}

#[tokio::test]
async fn the_fleets_version_changes_with_every_change_only() {
    let world = World::new().await;
    let store = &world.store;
    let version = || async { store.fleet_version().await.unwrap() };
    let mut last = version().await;
    let pause = |reason| store.pause("uni", "online", "sa-1", reason, at(3));
    for (reason, changes) in [
        (Some("the secret is wrong"), true),
        (Some("another reason"), false),
        (None, true),
        (None, false),
    ] {
        pause(reason).await.unwrap();
        let now = version().await;
        assert_eq!(now != last, changes, "{reason:?}");
        last = now;
        let reasons: Vec<_> = store
            .pauses()
            .await
            .unwrap()
            .into_iter()
            .map(|pause| pause.reason)
            .collect();
        let stands: &[&str] = if reason.is_some() {
            &["the secret is wrong"]
        } else {
            &[]
        };
        assert_eq!(reasons, stands);
    }
    pause(Some("again")).await.unwrap();
    last = version().await;
    store
        .apply_tenant(&sample::tenant("uni"), "", "2", at(4))
        .await
        .unwrap();
    assert_ne!(version().await, last);
    assert!(store.pauses().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_database_that_is_not_migrated_yet_is_away() {
    let world = World::new().await;
    let client = world.database.client().await;
    for later in ["version TO made_later", "TO made_later"] {
        let sql = format!("ALTER TABLE fleet_version RENAME {later}");
        client.batch_execute(&sql).await.unwrap();
        let asked = world.store.fleet_version().await;
        assert!(
            matches!(asked, Err(StoreError::Away(_))),
            "{later}: {asked:?}"
        );
    }
}

//! Servers on premises, and both kinds of sites in one tenant.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

use std::collections::BTreeMap;

use calgrant_contract::pb::{
    fleet::v1::{AccountState, ListAccountsRequest, Purpose, ServerTime, WritePath},
    provisioning::v1::{
        Operation, OperationState, Outcome, SiteKind, UploadMailboxListRequest, selector::By,
    },
    status::v1::{AccessState, BatchGetMailboxAccessRequest},
};
use calgrant_e2e::{House, Service, Setup, Sites, TENANT, run, wish_at};
use calgrant_simulator::{Amount, BudgetOf, EVERYONE, PolicySpec, TENANT_ID, TRUSTEE};
use calgrant_testkit::eventually;
use serde_json::{Value, json};

fn everyone() -> By {
    By::Group(EVERYONE.to_owned())
}

/// Two runs of the same delegation at all sites: the second has nothing to do. Answers the first one's id.
async fn twice(house: &House, by: By, selected: &str) -> String {
    let wish = wish_at(&house.setup.sites.kinds(), by);
    let first = house.done(run(wish.clone())).await;
    house.assert_true(&first.id, selected).await;
    house.school.post("mark").await;
    let second = house.done(run(wish)).await;
    let counts = House::counts(&second);
    let writes = house.school.get("report").await["writes"].clone();
    assert_eq!(writes, 0, "{counts:?}");
    let accepted = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
    assert_eq!(accepted(&House::counts(&first)), accepted(&counts));
    first.id
}

/// What the simulator says of an account on premises.
async fn account(house: &House, name: &str) -> Value {
    let report = house.school.get("report").await;
    let accounts = &report["onprem"][TENANT_ID.to_string()]["accounts"];
    accounts[format!("{name}@uni.example")].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nested_group_by_powershell() {
    let setup = Setup::at(Sites::Onprem(WritePath::Powershell), 60);
    let mut house = House::start(setup).await;
    twice(&house, everyone(), &format!("group={EVERYONE}")).await;
    house.stop(Service::Worker).await;
    for number in 1..=house.setup.school.grantors {
        let shells = &account(&house, &format!("sa-onprem-{number}")).await["shells"];
        assert_eq!(shells["open"], 0, "closed when the worker stops: {shells}");
        assert_eq!(shells["refused"], 0, "{shells}");
    }
}

/// Lists with entries that can't be written back whole are among them: these are changed entry by entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nested_group_by_ews() {
    let house = House::start(Setup::at(Sites::Onprem(WritePath::Ews), 120)).await;
    twice(&house, everyone(), &format!("group={EVERYONE}")).await;
    let report = house.school.get("report").await["since_start"].clone();
    let calls = report["calls"].as_object().cloned().unwrap_or_default();
    for call in ["UpdateFolder", "Add-MailboxFolderPermission"] {
        let there = calls.keys().any(|name| name.contains(call));
        assert!(there, "{call} in {calls:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_powershell_such_lists_are_refused_and_left_as_they_are() {
    let house = House::empty(Setup::at(Sites::Onprem(WritePath::Ews), 120)).await;
    let mut tenant = house.tenant();
    if let Some(onprem) = &mut tenant.sites[0].onprem {
        onprem.powershell_url = String::new();
    }
    house.apply(tenant).await;
    let done = house
        .done(run(wish_at(&[SiteKind::Onprem], everyone())))
        .await;
    let mailboxes = house.mailboxes(&done.id).await;
    let refused: Vec<_> = mailboxes
        .iter()
        .filter(|job| job.reason == "list_not_rebuildable")
        .collect();
    assert!(!refused.is_empty());
    for job in refused {
        assert_eq!(job.outcome(), Outcome::Refused, "{job:?}");
        assert!(!job.server_text.is_empty(), "names the entries: {job:?}");
    }
    house.assert_harmless().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sites_of_a_tenant_each_mailbox_at_the_one_where_it_lives() {
    let house = House::start(Setup::at(Sites::Hybrid(WritePath::Ews), 120)).await;
    let first = twice(&house, everyone(), &format!("group={EVERYONE}")).await;
    let mut granted = BTreeMap::new();
    for job in house.mailboxes(&first).await {
        if job.outcome() == Outcome::Added {
            *granted.entry(job.site).or_insert(0) += 1;
        }
    }
    for site in house.setup.sites.kinds() {
        let count = granted.get(&i32::from(site)).copied().unwrap_or_default();
        assert!(count > 20, "{site:?}: {granted:?}");
    }
    each_says_who_may_use_it(&house, &first).await;
}

/// Of each mailbox it is told where it lives, and which service accounts the right lets in: those of that site.
async fn each_says_who_may_use_it(house: &House, operation: &str) {
    let mut tenant = house.tenant();
    let mut members = BTreeMap::new();
    for site in &mut tenant.sites {
        let kind = site.kind();
        let used = site.accounts.last_mut().unwrap();
        used.purposes.push(Purpose::Member.into());
        members.insert(kind, vec![used.name.clone()]);
    }
    house.apply(tenant).await;
    let mailboxes = house.mailboxes(operation).await;
    let names = mailboxes.iter().map(|mailbox| mailbox.name.clone());
    let request = BatchGetMailboxAccessRequest {
        tenant: TENANT.to_owned(),
        names: names.collect(),
    };
    let mut status = house.status.clone();
    let known = status.batch_get_mailbox_access(request).await.unwrap();
    let known = known.into_inner().access.into_iter();
    // A guest has no mailbox.
    for access in known.filter(|access| !access.mailbox_id.is_empty()) {
        let lives = mailboxes.iter().find(|it| it.name == access.name).unwrap();
        assert_eq!(access.site(), lives.site(), "{access:?}");
        let usable = access.state() == AccessState::Granted;
        let wanted = members.get(&lives.site()).filter(|_| usable);
        assert_eq!(
            Some(&access.accounts),
            wanted.or(Some(&vec![])),
            "{access:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_and_a_list_reach_both_sites() {
    let house = House::start(Setup::at(Sites::Hybrid(WritePath::Powershell), 60)).await;
    let ou = "OU=Students,DC=uni,DC=example";
    let query = ou.replace(',', "%2C").replace('=', "%3D");
    let by = By::OrganizationalUnitOneLevel(ou.to_owned());
    twice(&house, by, &format!("ou={query}")).await;

    let named = (0..20).map(|number| format!("person.{number}@uni.example"));
    let lines: Vec<_> = named.chain(["nobody@uni.example".to_owned()]).collect();
    let upload = UploadMailboxListRequest {
        tenant: TENANT.to_owned(),
        lines,
    };
    let stored = house
        .provisioning
        .clone()
        .upload_mailbox_list(tokio_stream::iter([upload]))
        .await
        .unwrap();
    let by = By::MailboxList(stored.into_inner().id);
    let done = house
        .done(run(wish_at(&house.setup.sites.kinds(), by)))
        .await;
    let jobs = house.mailboxes(&done.id).await;
    for line in 1..=21 {
        let of_line = jobs.iter().filter(|job| job.lines.contains(&line));
        assert_eq!(of_line.count(), 1, "line {line}: {jobs:?}");
    }
    let unknown: Vec<_> = jobs
        .iter()
        .filter(|job| job.reason == "not_found")
        .collect();
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    house.assert_harmless().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_trustee_there_what_lives_at_the_other_site_is_refused() {
    let house = House::start(Setup::at(Sites::Hybrid(WritePath::Powershell), 60)).await;
    for (here, there) in [
        (SiteKind::Online, "on premises"),
        (SiteKind::Onprem, "in the cloud"),
    ] {
        let done = house.done(run(wish_at(&[here], everyone()))).await;
        let jobs = house.mailboxes(&done.id).await;
        let elsewhere = jobs.iter().filter(|job| job.reason == "other_site");
        let elsewhere: Vec<_> = elsewhere.collect();
        assert!(elsewhere.len() > 10, "lives {there}: {}", elsewhere.len());
        for job in elsewhere {
            assert_eq!(job.outcome(), Outcome::Refused, "{job:?}");
        }
    }
    house.assert_harmless().await;
}

/// The account may spend three seconds of the server's time, and gets half a second of it back each second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_stays_within_the_time_that_the_server_gives_it() {
    let mut setup = Setup::at(Sites::Onprem(WritePath::Ews), 60);
    setup.school.grantors = 1;
    setup.school.impersonation_budget = BudgetOf::Caller;
    setup.school.policy = PolicySpec {
        ews_max_burst: Amount::of(3000),
        ews_recharge_rate: Amount::of(1_800_000),
        ews_cutoff_balance: Amount::of(1000),
        ..PolicySpec::default()
    };
    let house = House::empty(setup).await;
    house.school.turn(&json!({"ews_latency_ms": 30})).await;
    let mut tenant = house.tenant();
    tenant.sites[0].accounts[1].server_time = Some(ServerTime {
        burst_millis: 3000,
        recharge_millis_per_hour: 1_800_000,
        floor_millis: 0,
    });
    house.apply(tenant).await;
    let done = house
        .done(run(wish_at(&[SiteKind::Onprem], everyone())))
        .await;
    house
        .assert_true(&done.id, &format!("group={EVERYONE}"))
        .await;
    let ews = &account(&house, "sa-onprem-1").await["ews"];
    let worked = ews["worked_ms"].as_u64().unwrap_or_default();
    assert!(worked > 3000, "more than the burst: {ews}");
    for nothing in ["refused", "micro_delays", "early_calls"] {
        assert_eq!(ews[nothing], 0, "{ews}");
    }
}

/// Pause reasons of the grantors on premises.
async fn refused(house: &House) -> Vec<String> {
    let request = ListAccountsRequest {
        tenant: TENANT.to_owned(),
    };
    let accounts = house.fleet.clone().list_accounts(request).await.unwrap();
    let accounts = accounts.into_inner().accounts.into_iter();
    accounts
        .filter(|account| account.state() == AccountState::Refused)
        .map(|account| account.pause_reason)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_stops_the_account_before_it_is_locked() {
    let mut setup = Setup::at(Sites::Onprem(WritePath::Ews), 20);
    setup.school.grantors = 1;
    let house = House::empty(setup).await;
    std::fs::write(house.folder().join("sa-onprem-1"), "wrong").unwrap();
    house.apply(house.tenant()).await;
    let operation = house
        .submit(run(wish_at(&[SiteKind::Onprem], everyone())))
        .await;
    let mut reasons = Vec::new();
    eventually("the account is stopped", async || {
        reasons = refused(&house).await;
        reasons.len() == 1
    })
    .await;
    assert!(reasons[0].contains("401"), "{reasons:?}");
    // Once it is right, it works again: it wasn't locked.
    house.setup.write_secrets(&house.school, house.folder());
    let ended = house.ended(&operation.id).await;
    assert_eq!(ended.state(), OperationState::Done, "{ended:?}");
    house
        .assert_true(&operation.id, &format!("group={EVERYONE}"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_controller_that_is_not_trusted_is_what_the_operation_waits_for() {
    let house = House::empty(Setup::at(Sites::Onprem(WritePath::Ews), 20)).await;
    let mut tenant = house.tenant();
    if let Some(onprem) = &mut tenant.sites[0].onprem {
        onprem.ca_file = String::new();
    }
    house.apply(tenant).await;
    let operation = house
        .submit(run(wish_at(&[SiteKind::Onprem], everyone())))
        .await;
    let waits = house
        .until(&operation.id, |now| !now.waiting_for.is_empty())
        .await;
    assert!(waits.waiting_for.contains("not trusted"), "{waits:?}");
    // With the tenant's file corrected, it goes on.
    house.apply(house.tenant()).await;
    let ended = house.ended(&operation.id).await;
    assert_eq!(ended.state(), OperationState::Done, "{ended:?}");
    house
        .assert_true(&operation.id, &format!("group={EVERYONE}"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_active_directory_does_not_know_fails_the_operation() {
    let house = House::start(Setup::at(Sites::Onprem(WritePath::Powershell), 20)).await;
    for (by, failure, named) in [
        (
            By::Group("no-such@uni.example".to_owned()),
            "group_not_found",
            "no-such@uni.example",
        ),
        (
            By::OrganizationalUnit("OU=Nowhere,DC=uni,DC=example".to_owned()),
            "ou_not_found",
            "OU=Nowhere",
        ),
        (
            By::AdministrativeUnit("Faculty of Science".to_owned()),
            "administrative_unit_not_found",
            "Exchange Online alone",
        ),
    ] {
        let operation = house.submit(run(wish_at(&[SiteKind::Onprem], by))).await;
        let ended = house.ended(&operation.id).await;
        assert_eq!(ended.state(), OperationState::Failed, "{ended:?}");
        assert_eq!(ended.failure, failure, "{ended:?}");
        assert!(ended.failure_text.contains(named), "{ended:?}");
    }
    assert_eq!(house.school.get("report").await["writes"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_moves_in_the_middle_of_a_run_is_found_at_the_other_site() {
    let mut setup = Setup::at(Sites::Hybrid(WritePath::Powershell), 60);
    setup.park_first_millis = 500;
    let mut house = House::start(setup).await;
    house.stop(Service::Worker).await;
    let wish = wish_at(&house.setup.sites.kinds(), everyone());
    let listed = house.submit(run(wish)).await;
    let running = |operation: &Operation| operation.state() == OperationState::Running;
    house.until(&listed.id, running).await;
    let members = house.members(&format!("group={EVERYONE}")).await;
    let jobs = house.mailboxes(&listed.id).await;
    let mover = |site: SiteKind| {
        let new = |name: &str| {
            let is_meant = |member: &&Value| member["address"] == name || member["upn"] == name;
            let member = members.iter().find(is_meant)?;
            let suits = member["state"] == "mailbox"
                && !member["calendar"].is_null()
                && member["before"].is_null();
            suits.then(|| member["address"].as_str().unwrap().to_owned())
        };
        let mut here = jobs.iter().filter(|job| job.site() == site);
        let found = here.find_map(|job| Some((job.clone(), new(&job.name)?)));
        found.unwrap_or_else(|| panic!("nobody at {site:?}"))
    };
    let movers = [
        (SiteKind::Online, SiteKind::Onprem, "on_premises"),
        (SiteKind::Onprem, SiteKind::Online, "online"),
    ]
    .map(|(from, to, side)| (mover(from), to, side));
    for ((_, address), _, side) in &movers {
        let mut change = json!({"moved_to": side});
        if *side == "online" {
            change["licensed"] = json!(true);
        }
        let path = format!("mailboxes/{address}");
        house.school.put(&path, &change).await;
    }
    house.restart(Service::Worker).await;
    house.ended(&listed.id).await;
    let jobs = house.mailboxes(&listed.id).await;
    for ((old, address), to, _) in movers {
        // Each site lists it by a name of its own.
        let member = members.iter().find(|one| one["address"] == *address);
        let member = member.unwrap();
        let is_its = |name: &str| member["address"] == name || member["upn"] == name;
        let its = jobs.iter().filter(|job| is_its(&job.name));
        let its: Vec<_> = its.collect();
        let at = |site| {
            let mut here = its.iter().filter(|job| job.site() == site);
            here.next().unwrap_or_else(|| panic!("{its:?}"))
        };
        let (left, found) = (at(old.site()), at(to));
        assert_eq!(
            (left.outcome(), left.reason.as_str()),
            (Outcome::Refused, "other_site"),
            "{left:?}"
        );
        assert!(left.server_text.contains("stale"), "{left:?}");
        assert_eq!(found.outcome(), Outcome::Added, "{found:?}");
        let right = house.school.rights(&address, TRUSTEE).await;
        assert_eq!(right.as_deref(), Some("Author"), "{address}");
    }
    house.assert_harmless().await;
}

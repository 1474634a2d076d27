//! What is old is forgotten by status while it runs; what stands can be taken away even so.

use calgrant_contract::pb::provisioning::v1::{
    OperationState, Outcome, WatchOperationRequest,
    provisioning_service_client::ProvisioningServiceClient,
};
use calgrant_simulator::{EVERYONE, SchoolOptions, TRUSTEE};
use calgrant_testkit::eventually;
use tonic::{Code, transport::Channel};

use crate::set::{Set, rows, said};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_later_plans_are_gone_and_grants_can_still_be_taken_away() {
    let mut set = Set::start(&SchoolOptions {
        mailboxes: 40,
        grantors: 2,
        provision_delay_secs: 1,
        read_lag_max_secs: 1,
        ..SchoolOptions::default()
    })
    .await;
    let over = async |id: &str| {
        let ended = set.until(id, |operation| operation.end_time.is_some());
        let ended = ended.await;
        assert_eq!(ended.state(), OperationState::Done, "{ended:?}");
        ended
    };
    let plan = set.submit(["--group", EVERYONE, "--plan"]);
    over(&plan).await;
    let id = set.submit(["--group", EVERYONE]);
    let before = over(&id).await;
    let jobs = set.mailboxes(&id).await;
    let stands = |raw| {
        matches!(
            raw,
            Outcome::Added | Outcome::Updated | Outcome::Unchanged | Outcome::LeftHigher
        )
    };
    let stand = jobs.iter().filter(|job| stands(job.outcome())).count();
    assert!(0 < stand && stand < jobs.len());

    // Thirteen months pass.
    let client = set.database.client().await;
    for sql in [
        "UPDATE operation SET ended_at = ended_at - interval '395 days'",
        "UPDATE request SET created_at = created_at - interval '395 days'",
    ] {
        client.execute(sql, &[]).await.unwrap();
    }
    set.stop_and_run("status").await;
    set.says("status", "of history").await;
    eventually("the plan is gone", async || {
        set.operation(&plan).await.is_none() && set.operation(&id).await.is_some()
    })
    .await;
    let mut kept = set.operation(&id).await.unwrap();
    eventually("all of it is looked through", async || {
        kept = set.operation(&id).await.unwrap();
        kept.forgotten > 0
    })
    .await;
    let gone = jobs.len() - stand;
    assert_eq!(kept.forgotten, gone as u64);
    assert_eq!(kept.counts, before.counts);
    assert_eq!(set.mailboxes(&id).await.len(), stand);

    // A watcher that comes back with a number is told, and one that begins anew is told all.
    let channel = Channel::from_shared(set.api_url()).unwrap().connect_lazy();
    let mut watcher = ProvisioningServiceClient::new(channel);
    let mut watch = async |after_sequence| {
        let request = WatchOperationRequest {
            id: id.clone(),
            after_sequence,
        };
        let mut changes = watcher.watch_operation(request).await.unwrap().into_inner();
        changes.message().await
    };
    assert_eq!(watch(1).await.unwrap_err().code(), Code::OutOfRange);
    let never = watch(before.sequence + 1).await;
    assert_eq!(never.unwrap_err().code(), Code::OutOfRange);
    let now = watch(0).await.unwrap().unwrap().operation.unwrap();
    assert_eq!(now.sequence, before.sequence);
    // Whoever has seen the end is told that there is no more.
    assert!(watch(before.sequence).await.unwrap().is_none());

    // Nobody is locked out of taking away what was given.
    let who = jobs
        .iter()
        .find(|job| job.outcome() == Outcome::Added)
        .unwrap();
    let delegation = &before.delegation_id;
    let revoke = format!(
        "revoke --delegation {delegation} --mailbox {} --wait --output json",
        who.name
    );
    let arguments = revoke.split_whitespace();
    let taken = set.command::<0>([]).args(arguments).output().unwrap();
    assert_eq!(taken.status.code(), Some(0), "{}", said(&taken));
    assert_eq!(rows(&taken)[0]["outcomes"]["removed"], 1);
    assert_eq!(set.school.rights(&who.name, TRUSTEE).await, None);
    set.school.assert_nothing_foreign().await;
}

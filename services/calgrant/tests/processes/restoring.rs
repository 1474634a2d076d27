//! The database is put back to a dump that was made in the middle of a run. What it doesn't know any more and the broker still has
//! is put aside, once each, and counted; the rest goes on, and verifying brings what is on record back in line with what is there.

use std::collections::BTreeSet;

use calgrant_contract::pb::{
    provisioning::v1::{Operation, OperationState, Outcome},
    status::v1::JobState,
};
use calgrant_simulator::{EVERYONE, SchoolOptions, TRUSTEE};
use calgrant_testkit::eventually;
use serde_json::{Value, json};

use crate::set::{Set, rows, said};

fn ended(operation: &Operation) -> u64 {
    let counts = operation.counts.clone().unwrap_or_default();
    counts.accepted - counts.outstanding
}

/// Whether a member's calendar can be delegated.
fn usable(member: &&Value) -> bool {
    member["state"] == "mailbox" && !member["calendar"].is_null()
}

fn address(member: &Value) -> &str {
    member["address"].as_str().unwrap()
}

impl Set {
    fn asked(&self, line: &str) -> Vec<Value> {
        rows(&self.output(line))
    }

    fn output(&self, line: &str) -> std::process::Output {
        let arguments = line.split_whitespace();
        self.command::<0>([]).args(arguments).output().unwrap()
    }

    /// Jobs of which something was put aside because they are unknown.
    fn unknown(&self) -> Vec<String> {
        let letters = self.asked("dead-letters list --cause unknown --output json");
        let jobs = letters.iter().map(|letter| letter["job"].as_str());
        jobs.map(|job| job.unwrap().to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_is_put_aside_and_what_is_true_is_found_again() {
    let mut set = Set::start(&SchoolOptions {
        mailboxes: 120,
        grantors: 2,
        provision_delay_secs: 1,
        read_lag_max_secs: 1,
        max_in_flight: None,
        ..SchoolOptions::default()
    })
    .await;
    let everyone = format!("group={EVERYONE}");
    // One that is over when the dump is made.
    let first = set.school.members(&everyone).await;
    let some = first.iter().filter(usable).take(3);
    let list: Vec<_> = some.map(address).collect();
    let list = set.write("list.txt", &list.join("\n"));
    let over = set.submit(["--mailboxes", &list]);
    set.until(&over, |operation| operation.end_time.is_some())
        .await;
    // One that is in its middle, with a mailbox of it that is done.
    set.school.turn(&json!({"latency_ms": 150})).await;
    let running = set.submit(["--group", EVERYONE]);
    set.until(&running, |operation| ended(operation) >= 25)
        .await;
    let done = set.mailboxes(&running).await;
    let added = done.iter().find(|job| job.outcome() == Outcome::Added);
    let leaver = added.unwrap().name.clone();
    let dump = std::path::PathBuf::from(set.write("dump", ""));
    set.database.dump(&dump);

    // All this is lost: more of that run, a mailbox that is taken away again, and a run of which jobs are on the broker.
    let delegation = set.operation(&running).await.unwrap().delegation_id;
    let taken = set.output(&format!(
        "revoke --delegation {delegation} --mailbox {leaver} --wait"
    ));
    assert_eq!(taken.status.code(), Some(0), "{}", said(&taken));
    assert_eq!(set.school.rights(&leaver, TRUSTEE).await, None);
    let lost = set.submit(["--group", EVERYONE]);
    let is_out = |state| state == JobState::Published;
    eventually("jobs of it are on the broker", async || {
        let jobs = set.mailboxes(&lost).await;
        jobs.iter().filter(|job| is_out(job.state())).count() >= 20
    })
    .await;
    set.stop("worker").await;
    set.stop("api").await;
    set.stop("status").await;
    let client = set.database.client().await;
    let sql = "SELECT 'job_' || replace(id::text, '-', '') AS job FROM job WHERE operation_id = $1 AND state = 'published'";
    let id: calgrant_domain::OperationId = lost.parse().unwrap();
    let out = client.query(sql, &[&id.as_uuid()]).await.unwrap();
    let out: BTreeSet<String> = out.iter().map(|row| row.get("job")).collect();
    assert!(out.len() >= 10, "{}", out.len());
    set.database.put_back(&dump).await;

    for name in ["status", "api", "worker"] {
        set.run(name);
    }
    eventually("what is known is served again", async || {
        set.operation(&running).await.is_some()
    })
    .await;
    assert!(set.operation(&lost).await.is_none());
    set.school.turn(&json!({"latency_ms": 0})).await;
    eventually("every job that isn't known is put aside", async || {
        set.unknown().into_iter().collect::<BTreeSet<_>>() == out
    })
    .await;
    // What had been handed out before the dump and was answered after it is handed out again: a quarter of an hour later, which passes here
    // at once.
    let client = set.database.client().await;
    let passes = "UPDATE job SET published_at = published_at - interval '16 minutes' WHERE state = 'published'";
    client.execute(passes, &[]).await.unwrap();
    let operation = set
        .until(&running, |operation| operation.end_time.is_some())
        .await;
    assert_eq!(operation.state(), OperationState::Done, "{operation:?}");
    assert_eq!(set.unknown().len(), out.len(), "once each");

    // The record says what was true then: that the right is there.
    let access = format!("access {leaver} --tenant uni --output json");
    assert_eq!(set.asked(&access)[0]["state"], "granted");
    let verified = set.output("verify --all --tenant uni --wait --output json");
    assert_eq!(verified.status.code(), Some(3), "{}", said(&verified));
    let verified = rows(&verified);
    assert_eq!(verified.len(), 2);
    let mut drifted = Vec::new();
    for operation in &verified {
        assert_eq!(operation["kind"], "verify");
        let jobs = set.mailboxes(operation["id"].as_str().unwrap()).await;
        let found = jobs.iter().filter(|job| job.outcome() == Outcome::Drifted);
        drifted.extend(found.map(|job| job.name.clone()));
        set.school.assert_true_back(jobs, &everyone).await;
    }
    assert_eq!(drifted, std::slice::from_ref(&leaver));
    // And now of every mailbox what is true.
    assert_eq!(set.asked(&access)[0]["state"], "not_granted");
    let mut members = set.school.members(&everyone).await;
    members.retain(|member| usable(&member));
    let names: Vec<_> = members.iter().map(address).collect();
    let known = set.asked(&format!(
        "access {} --tenant uni --output json",
        names.join(" ")
    ));
    assert_eq!(known.len(), members.len());
    for (member, known) in members.iter().zip(known) {
        assert_eq!(known["name"], member["address"]);
        let there = !member["now"].is_null();
        assert_eq!(known["state"] == "granted", there, "{member} {known}");
    }
    // What was given is whole again by giving it again.
    let repaired = set.output("verify --all --tenant uni --repair --wait --output json");
    assert_eq!(repaired.status.code(), Some(0), "{}", said(&repaired));
    assert!(set.school.rights(&leaver, TRUSTEE).await.is_some());
    set.school.assert_nothing_foreign().await;
}

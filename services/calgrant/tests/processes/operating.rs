//! The operator's hand on accounts, by the command line.

use calgrant_simulator::{EVERYONE, SchoolOptions, TRUSTEE};
use calgrant_testkit::eventually;
use serde_json::Value;

use crate::set::{Set, rows, said};

fn numbers(row: &Value, fields: &[&str]) {
    for field in fields {
        assert!(row[field].is_number(), "{field} of {row}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_listed_changed_stopped_and_explained() {
    let set = Set::start(&SchoolOptions {
        mailboxes: 30,
        grantors: 2,
        provision_delay_secs: 1,
        read_lag_max_secs: 1,
        ..SchoolOptions::default()
    })
    .await;
    let run = |arguments: &str| {
        let words = arguments.split_whitespace();
        set.command::<0>([]).args(words).output().unwrap()
    };
    let done = |arguments: &str| {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments}: {}", said(&output));
        output
    };

    let listed = rows(&done("accounts list --tenant uni --output json"));
    assert_eq!(listed.len(), 3);
    let sa = listed.iter().find(|row| row["account"] == "sa-1").unwrap();
    assert_eq!(sa["state"], "working");
    numbers(
        sa,
        &[
            "workers",
            "replicas",
            "in_flight",
            "calls_per_second",
            "pushbacks",
            "ready",
        ],
    );
    let own = &sa["left"][0];
    assert_eq!(own["key"], "account:uni/online/sa-1/exchange");
    numbers(own, &["in_flight", "in_flight_most", "in_flight_left"]);

    let scaled = done("accounts scale sa-1 --tenant uni --workers 20 --output json");
    assert_eq!(rows(&scaled)[0]["workers"], 20);
    assert!(
        rows(&scaled)[0]["notes"][0]
            .as_str()
            .unwrap()
            .contains("8 calls"),
        "{:?}",
        rows(&scaled)
    );
    let set_to = "accounts budget set sa-2 --tenant uni --in-flight 3 --window 100/10 --window 5/0.5 --output json";
    let left = rows(&done(set_to))[0]["left"][0].clone();
    assert_eq!(left["in_flight_most"], 3);
    assert_eq!(left["windows"][0]["calls"], 100);
    assert_eq!(left["windows"][1]["seconds"], 0.5);
    let cleared = rows(&done(
        "accounts budget set sa-2 --tenant uni --clear-windows --output json",
    ));
    assert_eq!(cleared[0]["left"][0]["windows"], serde_json::json!([]));
    for (arguments, named) in [
        ("accounts scale sa-1 --tenant uni --workers 0", "workers"),
        ("accounts scale sa-7 --tenant uni --workers 3", "sa-1, sa-2"),
        ("accounts budget set sa-1 --tenant uni", "max_in_flight"),
        (
            "accounts budget set sa-1 --tenant uni --window 0/10",
            "0/10",
        ),
        ("accounts pause sa-1 --tenant nowhere", "nowhere"),
        ("plan --tenant uni --mailboxes 0", "mailboxes"),
        ("plan --tenant uni --mailboxes 10 --by soon", "monday"),
        ("plan --tenant uni --mailboxes 10 --by 2020-01-01", "future"),
    ] {
        let refused = run(arguments);
        assert_eq!(
            refused.status.code(),
            Some(2),
            "{arguments}: {}",
            said(&refused)
        );
        assert!(
            said(&refused).contains(named),
            "{arguments}: {}",
            said(&refused)
        );
    }

    let drained = done("accounts drain sa-1 --tenant uni --reason exams --wait --output json");
    let row = rows(&drained)[0].clone();
    assert_eq!(
        (&row["state"], &row["reason"], &row["by"]),
        (&"drained".into(), &"exams".into(), &"test".into())
    );
    assert!(
        said(&drained).contains("nothing of it is under way"),
        "{}",
        said(&drained)
    );
    done("accounts pause sa-2 --tenant uni --wait");
    let id = set.submit(["--group", EVERYONE]);
    set.until(&id, |operation| {
        operation.waiting_for.contains("sa-2 is paused by test")
    })
    .await;
    let why = done("accounts why --tenant uni");
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(
        why.contains("no account is used") && why.lines().count() == 1,
        "{why}"
    );
    let row = rows(&done("accounts why --output json"))[0].clone();
    numbers(&row, &["ready", "calls_per_second", "feedable_workers"]);
    done("accounts resume sa-1 --tenant uni");
    done("accounts resume sa-2 --tenant uni --wait");
    set.until(&id, |operation| {
        operation.end_time.is_some() && operation.waiting_for.is_empty()
    })
    .await;

    let planned = rows(&done(
        "plan --tenant uni --mailboxes 40000 --by 36h --output json",
    ))[0]
        .clone();
    numbers(
        &planned,
        &["calls_needed", "seconds", "accounts", "accounts_needed"],
    );
    let plan = set
        .command(["delegate", "--tenant", "uni", "--group", EVERYONE])
        .args(["--trustee", TRUSTEE, "--plan", "--wait", "--output", "json"])
        .output()
        .unwrap();
    assert!(
        said(&plan).contains("carrying it out needs"),
        "{}",
        said(&plan)
    );
    let id = rows(&plan)[0]["id"].as_str().unwrap().to_owned();
    eventually("the plan's estimate is there", async || {
        let row = rows(&done(&format!("operations get {id} --output json")))[0].clone();
        row["calls_needed"].is_number() && row["remaining_seconds"].is_number()
    })
    .await;
    let wrong = set
        .command(["worker", "--only", "uni/cloud"])
        .output()
        .unwrap();
    assert!(!wrong.status.success());
    assert!(
        said(&wrong).contains("worker.only") && said(&wrong).contains("uni/online/sa-1"),
        "{}",
        said(&wrong)
    );
}

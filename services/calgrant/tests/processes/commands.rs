//! Commands: what they print, and how they exit.

use calgrant_simulator::{EVERYONE, SchoolOptions, TRUSTEE};

use crate::set::{Set, rows, said};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_s_day() {
    let set = Set::start(&SchoolOptions {
        mailboxes: 60,
        grantors: 2,
        provision_delay_secs: 1,
        read_lag_max_secs: 1,
        ..SchoolOptions::default()
    })
    .await;
    let run = |arguments: &[&str]| set.command::<0>([]).args(arguments).output().unwrap();

    let plan = run(&[
        "delegate",
        "--tenant",
        "uni",
        "--group",
        EVERYONE,
        "--trustee",
        TRUSTEE,
        "--plan",
        "--wait",
        "--output",
        "json",
    ]);
    assert_eq!(
        plan.status.code(),
        Some(3),
        "some are refused: {}",
        said(&plan)
    );
    assert!(
        said(&plan).contains("a plan: nothing was written"),
        "{}",
        said(&plan)
    );
    let planned = rows(&plan)[0]["outcomes"].clone();

    let real = run(&[
        "delegate",
        "--tenant",
        "uni",
        "--group",
        EVERYONE,
        "--trustee",
        TRUSTEE,
        "--wait",
        "--output",
        "json",
    ]);
    assert_eq!(real.status.code(), Some(3), "{}", said(&real));
    let operation = rows(&real)[0].clone();
    assert_eq!(operation["outcomes"], planned);
    assert_eq!(operation["state"], "done");
    let accepted = operation["accepted"].as_u64().unwrap();
    let id = operation["id"].as_str().unwrap();

    let all = rows(&run(&["mailboxes", "--operation", id, "--output", "json"]));
    assert_eq!(all.len() as u64, accepted);
    let refused = rows(&run(&[
        "mailboxes",
        "--operation",
        id,
        "--outcome",
        "refused",
        "--output",
        "json",
    ]));
    assert!(
        !refused.is_empty() && refused.iter().all(|row| row["reason"] != ""),
        "{refused:?}"
    );
    let csv = run(&["mailboxes", "--operation", id, "--output", "csv"]);
    assert_eq!(
        String::from_utf8_lossy(&csv.stdout).lines().count() as u64,
        accepted + 1
    );

    let list = set.write(
        "list.txt",
        "u000001@uni.example\n# one more\nu000002@uni.example\n",
    );
    let granted = run(&[
        "delegate",
        "--tenant",
        "uni",
        "--mailboxes",
        &list,
        "--trustee",
        TRUSTEE,
        "--wait",
    ]);
    assert_eq!(granted.status.code(), Some(0), "{}", said(&granted));
    let access = rows(&run(&[
        "access",
        "--tenant",
        "uni",
        "u000001@uni.example",
        "nobody@uni.example",
        "--output",
        "json",
    ]));
    assert_eq!(
        (&access[0]["state"], &access[1]["state"]),
        (&"granted".into(), &"unknown".into())
    );

    let faulty = set.write("faulty.txt", "u000001@uni.example\nnonsense\n\nworse\n");
    let refused = run(&[
        "delegate",
        "--tenant",
        "uni",
        "--mailboxes",
        &faulty,
        "--trustee",
        TRUSTEE,
    ]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        said(&refused).contains("lines[2]") && said(&refused).contains("lines[4]"),
        "{}",
        said(&refused)
    );

    let nothing = run(&["setup", "run", "--tenant", "uni", "--plan"]);
    assert_eq!(nothing.status.code(), Some(2), "{}", said(&nothing));
    assert!(
        said(&nothing).contains("[site.setup]"),
        "{}",
        said(&nothing)
    );

    let unknown = run(&["operations", "get", "op_00000000000000000000000000000000"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));
    let failed = run(&[
        "delegate",
        "--tenant",
        "uni",
        "--group",
        "nobody@uni.example",
        "--trustee",
        TRUSTEE,
        "--wait",
    ]);
    assert_eq!(failed.status.code(), Some(4), "{}", said(&failed));
    assert!(
        said(&failed).contains("nobody@uni.example"),
        "{}",
        said(&failed)
    );
    let away = set
        .command(["operations", "list"])
        .env("CALGRANT_API", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(away.status.code(), Some(5), "{}", said(&away));
    let exposed = set
        .command(["api"])
        .env("CALGRANT_API_LISTEN", "0.0.0.0:0")
        .output()
        .unwrap();
    assert_eq!(exposed.status.code(), Some(1));
    assert!(
        said(&exposed).contains("insecure_remote"),
        "{}",
        said(&exposed)
    );
}

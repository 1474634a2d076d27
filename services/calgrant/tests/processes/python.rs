//! A client in another language, that knows nothing but the address: messages come by server reflection.

use std::process::{Command, Output};

use calgrant_simulator::{EVERYONE, SchoolOptions, TRUSTEE};

use crate::set::{Set, said};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_submits_and_watches() {
    // Set by `cargo xtask test` where Python's packages can be had.
    let Ok(python) = std::env::var("CALGRANT_TEST_PYTHON") else {
        eprintln!("CALGRANT_TEST_PYTHON is not set: nothing to run the example with");
        return;
    };
    let set = Set::start(&SchoolOptions {
        mailboxes: 30,
        grantors: 2,
        read_lag_max_secs: 0,
        ..SchoolOptions::default()
    })
    .await;
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/examples/delegate.py"
    );
    let run = |more: &[&str]| -> Output {
        let api = set.api_url().replace("http://", "");
        Command::new(&python)
            .args([example, "--api", &api, "--trustee", TRUSTEE])
            .args(more)
            .output()
            .unwrap()
    };
    let staff = [
        "--tenant",
        "uni",
        "--group",
        "staff@uni.example",
        "--request-id",
        "example-1",
    ];
    let done = run(&staff);
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.status.code(), Some(0), "{printed} {}", said(&done));
    assert!(
        printed.contains("is done") && printed.contains("'added'"),
        "{printed}"
    );
    let again = run(&staff);
    let first = |output: &Output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(first(&again), first(&done), "the same operation");
    let refused = run(&["--tenant", "nobody", "--group", EVERYONE]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("spec.tenant"), "{}", said(&refused));
}

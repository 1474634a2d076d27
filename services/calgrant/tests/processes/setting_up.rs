//! A site is set up from the command line, with tokens that are given for one run.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Output, Stdio},
};

use calgrant_simulator::{SETUP_APP, SchoolOptions, TENANT_ID};
use serde_json::{Value, json};

use crate::set::{LICENSED, SECRETS_KEY, Set, rows, said, wanted};

/// A token of the app that may set up.
async fn token(set: &Set, scope: &str) -> String {
    let url = format!("{}/{TENANT_ID}/oauth2/v2.0/token", set.school.url());
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &SETUP_APP.to_string()),
        ("client_secret", "setup-secret"),
        ("scope", scope),
    ];
    let answer = reqwest::Client::new().post(url).form(&form).send().await;
    let answer: Value = answer.unwrap().json().await.unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// A line with one for Graph, and one with one for Exchange.
pub(crate) async fn tokens(set: &Set) -> String {
    format!(
        "{}\n{}\n",
        token(set, "https://graph.microsoft.com/.default").await,
        token(set, "https://outlook.office365.com/.default").await
    )
}

/// What the command says to these lines.
pub(crate) fn given(mut command: Command, lines: &str) -> Output {
    let mut child = command
        .env("CALGRANT_SECRETS_KEY", SECRETS_KEY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_ones_own_are_enough() {
    let set = Set::start(&SchoolOptions {
        mailboxes: 20,
        grantors: 2,
        provision_delay_secs: 1,
        read_lag_max_secs: 1,
        unprepared: true,
        ..SchoolOptions::default()
    })
    .await;
    set.apply(&(set.tenant() + &wanted(LICENSED)));

    // Nobody of the site may set it up.
    let waits = set
        .command([
            "setup", "run", "--tenant", "uni", "--wait", "--output", "json",
        ])
        .output()
        .unwrap();
    assert_eq!(waits.status.code(), Some(6), "{}", said(&waits));
    let waits = rows(&waits)[0].clone();
    let note = waits["note"].as_str().unwrap();
    assert!(note.contains("purpose setup"), "{note}");
    let id = waits["id"].as_str().unwrap();
    let cancelled = set.command(["setup", "cancel", id]).output().unwrap();
    assert!(cancelled.status.success(), "{}", said(&cancelled));

    let lines = tokens(&set).await;
    let run = ["setup", "run", "--tenant", "uni", "--token-stdin"];
    let mut plan = set.command(run);
    plan.args(["--plan", "--output", "powershell"]);
    let plan = given(plan, &lines);
    assert_eq!(plan.status.code(), Some(0), "{}", said(&plan));
    let script = String::from_utf8_lossy(&plan.stdout).into_owned();
    for command in [
        "Connect-ExchangeOnline",
        "New-MgUser",
        "New-DistributionGroup",
    ] {
        assert!(script.contains(command), "{script}");
    }
    let mut real = set.command(run);
    real.args(["--output", "json"]);
    let real = given(real, &lines);
    assert_eq!(real.status.code(), Some(0), "{}", said(&real));
    assert_eq!(rows(&real)[0]["state"], "done");
    let everything = format!("{script}{}{}", said(&real), said(&plan));
    assert!(!lines.lines().any(|token| everything.contains(token)));
    let list = set.command(["setup", "list", "--output", "json"]).output();
    let states: Vec<_> = rows(&list.unwrap())
        .iter()
        .map(|row| row["state"].clone())
        .collect();
    assert_eq!(states, ["done", "planned", "cancelled"]);
    let missing = given(set.command(run), "one line\n");
    assert!(
        said(&missing).contains("Exchange Online"),
        "{}",
        said(&missing)
    );
}

/// Runs a command that shows a code, and enters it as a person who signs in or declines; what it then says on stderr, and how it ends.
async fn signed_in(set: &Set, mut command: Command, approve: bool) -> (String, Output) {
    let mut child = command
        .env("CALGRANT_SECRETS_KEY", SECRETS_KEY)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut shown = String::new();
    while !shown.contains("enter the code ") {
        assert_ne!(log.read_line(&mut shown).unwrap(), 0, "no code: {shown}");
    }
    let (_, code) = shown.rsplit_once("enter the code ").unwrap();
    let code = code.split_whitespace().next().unwrap();
    let url = format!("{}/_simulator/device_codes/{code}", set.school.url());
    let entered = json!({"user": "admin@uni.example", "approve": approve});
    let entered = reqwest::Client::new().post(url).json(&entered).send().await;
    assert_eq!(entered.unwrap().status(), 200);
    log.read_to_string(&mut shown).unwrap();
    (shown, child.wait_with_output().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_may_sign_in_for_one_run() {
    let set = Set::start_unprepared().await;
    set.apply(&(set.tenant() + &wanted(LICENSED)));
    let run = || {
        let mut command = set.command(["setup", "run", "--tenant", "uni", "--plan"]);
        command.args(["--output", "json", "--device-code", &SETUP_APP.to_string()]);
        command
    };
    let (shown, declined) = signed_in(&set, run(), false).await;
    assert!(shown.contains("declined"), "{shown}");
    assert_eq!(declined.status.code(), Some(1), "{shown}");
    let (shown, planned) = signed_in(&set, run(), true).await;
    assert_eq!(planned.status.code(), Some(0), "{shown}");
    assert_eq!(rows(&planned)[0]["state"], "planned", "{shown}");
    let both = run().arg("--token-stdin").output().unwrap();
    assert_eq!(both.status.code(), Some(2), "{}", said(&both));
    let onprem = run().args(["--site", "onprem"]).output().unwrap();
    assert!(!onprem.status.success(), "{}", said(&onprem));
}

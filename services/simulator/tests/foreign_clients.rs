//! Clients that others wrote, in another language, work with the simulator as they do with Exchange.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod premises;
mod rig;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use premises::{FULL, IMP, Login, open};
use rig::Rig;
use serde_json::{Value, json};

/// Runs a program with these arguments and this on its stdin. `None` where Python's packages can't be had.
async fn run(
    rig: &Rig,
    program: &str,
    login: Login,
    more: &[&str],
    input: &str,
) -> Option<Vec<Value>> {
    // Set by `cargo xtask test`.
    let Ok(python) = std::env::var("CALGRANT_TEST_PYTHON") else {
        eprintln!("CALGRANT_TEST_PYTHON is not set: nothing to run {program} with");
        return None;
    };
    let path = format!("{}/tests/python/{program}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python);
    command.args([&path, &rig.url, login.0, login.1]).args(more);
    let input = input.to_owned();
    let ended = tokio::task::spawn_blocking(move || -> Output {
        let pipes = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    });
    let output = ended.await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    Some(
        printed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchangelib_reads_the_permissions_of_several_calendars() {
    let rig = open().await;
    let addresses = [
        "delegate",
        "ada.lovelace@school.example",
        "bob@school.example",
    ];
    let Some(read) = run(&rig, "calendars.py", FULL, &addresses, "").await else {
        return;
    };
    assert_eq!(read[0]["name"], "Agenda");
    assert_eq!(
        read[0]["entries"],
        json!([
            ["Default", "FreeBusyTimeOnly"],
            ["Anonymous", "None"],
            ["bob@school.example", "Custom"],
            ["dave@school.example", "Editor"],
            ["pat@partner.example", "FreeBusyTimeOnly"],
        ])
    );
    assert_eq!(
        read[1]["entries"][0],
        json!(["Default", "FreeBusyTimeAndSubjectAndLocation"])
    );
    let read = run(
        &rig,
        "calendars.py",
        IMP,
        &["impersonation", "bob@school.example"],
        "",
    )
    .await;
    assert_eq!(read.unwrap()[0]["name"], "Kalender");
    assert_eq!(rig.get("/_simulator/report").await["limit_violations"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pypsrp_runs_cmdlets() {
    let rig = open().await;
    let calendar = "bob@school.example:\\Kalender";
    let group = "delegates@school.example";
    let grant = json!({"Identity": calendar, "User": group, "AccessRights": ["Author"]});
    let calls = [
        json!(["Get-Mailbox", {"Identity": "SCHOOL\\bob"}]),
        json!(["Get-MailboxFolderStatistics", {"Identity": "bob@school.example", "FolderScope": "Calendar"}]),
        json!(["Add-MailboxFolderPermission", grant]),
        json!(["Add-MailboxFolderPermission", grant]),
        json!(["Set-MailboxFolderPermission", grant]),
        json!(["Get-MailboxFolderPermission", {"Identity": calendar, "User": group}]),
        json!(["Remove-MailboxFolderPermission", {"Identity": calendar, "User": group, "Confirm": false}]),
        json!(["Get-MailboxFolderPermission", {"Identity": calendar, "User": group}]),
        json!(["Get-MailboxFolderPermission", {"Identity": "nobody@school.example:\\Kalender"}]),
        json!(["Get-Process", {}]),
    ];
    let input: String = calls.iter().map(|call| format!("{call}\n")).collect();
    let Some(done) = run(&rig, "cmdlets.py", FULL, &[], &input).await else {
        return;
    };
    assert_eq!(
        done[0]["objects"][0]["PrimarySmtpAddress"],
        "bob@school.example"
    );
    assert_eq!(done[1]["objects"].as_array().unwrap().len(), 2);
    assert_eq!(done[2]["objects"][0]["AccessRights"], json!(["Author"]));
    assert_eq!(
        done[3]["errors"],
        json!(["UserAlreadyExistsInPermissionEntryException"])
    );
    assert_eq!(done[4]["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(done[5]["objects"][0]["User"], "Calendar Delegates");
    assert_eq!(done[6]["errors"], json!([]));
    assert_eq!(
        done[7]["errors"],
        json!(["UserNotFoundInPermissionEntryException"])
    );
    assert_eq!(
        done[8]["errors"],
        json!(["ManagementObjectNotFoundException"])
    );
    assert_eq!(
        (&done[9]["errors"], &done[9]["state"]),
        (&json!(["CommandNotFoundException"]), &json!(5))
    );
    let report = rig.get("/_simulator/report").await;
    assert_eq!(report["writes"], 2);
    assert_eq!(report["managed_entries_changed"], 0);
}

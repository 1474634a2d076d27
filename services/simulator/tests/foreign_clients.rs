//! Clients that others wrote, in another language, work with the simulator as they do with Exchange.

mod foreign;
mod premises;
mod rig;

use calgrant_simulator::Scenario;
use premises::{FULL, IMP, Login, SCHOOL, by_address, everybody, open, strangers};
use rig::Rig;
use serde_json::{Value, json};

/// Runs a program with the simulator's address, a login, and these arguments.
async fn run(
    rig: &Rig,
    program: &str,
    login: Login,
    more: &[&str],
    input: &str,
) -> Option<Vec<Value>> {
    let arguments = [&[rig.url.as_str(), login.0, login.1], more].concat();
    foreign::run(program, &arguments, input).await
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
async fn exchangelib_signs_in_by_ntlm() {
    let rig = open().await;
    let arguments = ["delegate:NTLM", "bob@school.example"];
    let user = ("SCHOOL\\sa-full", FULL.1);
    for login in [FULL, user] {
        let Some(read) = run(&rig, "calendars.py", login, &arguments, "").await else {
            return;
        };
        assert_eq!(read[0]["name"], "Kalender");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_ntlm_is_bound_to_its_connection() {
    let scenario = Scenario::from_toml(&format!("https = \"127.0.0.1:0\"\n{SCHOOL}")).unwrap();
    let rig = Rig::of(scenario).await;
    let port = rig.running.https.unwrap().port();
    let url = format!("https://localhost:{port}/EWS/Exchange.asmx");
    let certificate = rig.running.certificate().unwrap();
    for (password, codes) in [(FULL.1, [415, 415]), ("wrong", [401, 401])] {
        let arguments = [url.as_str(), FULL.0, password];
        let Some(said) = foreign::run("ntlm.py", &arguments, certificate).await else {
            return;
        };
        assert_eq!(said[0]["codes"], json!(codes));
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchangelib_works_in_a_calendar_by_the_rights_of_a_group() {
    let rig = open().await;
    let bob = "bob@school.example";
    // one who is in the group over a group in it, and one who isn't
    let member = ("sa-imp@school.example", "imp");
    let try_it = async |login| run(&rig, "events.py", login, &[bob], "").await;
    let Some(without) = try_it(member).await else {
        return;
    };
    assert_eq!(
        (&without[0]["done"], &without[0]["refused"]),
        (&json!([]), &json!("ErrorAccessDenied"))
    );
    let right = async |role: &str| {
        let calendar = rig.calendar(FULL, bob).await;
        let list = [
            everybody("FreeBusyTimeOnly"),
            strangers("None"),
            by_address("delegates@school.example", role),
        ];
        let set = rig.set(FULL, &calendar.folder_id(), &list.concat()).await;
        assert_eq!(set.codes(), ["NoError"], "{}", set.text);
    };
    right("Author").await;
    let with = try_it(member).await.unwrap();
    let all = json!(["found the calendar", "made an event", "deleted it"]);
    assert_eq!(
        with[0],
        json!({"done": all, "found": ["Algebra"], "left": []})
    );
    let outsider = try_it(("dave@school.example", "dave")).await.unwrap();
    assert_eq!(outsider[0]["done"], json!([]));
    right("Reviewer").await;
    let reader = try_it(member).await.unwrap();
    assert_eq!(
        (&reader[0]["done"], &reader[0]["refused"]),
        (&json!(["found the calendar"]), &json!("ErrorAccessDenied"))
    );
    assert_eq!(rig.get("/_simulator/report").await["limit_violations"], 0);
}

//! An application that works by roles of Exchange's own: what the command finds of its scope, and of what undoes it.

use calgrant_simulator::SETUP_APP;
use serde_json::{Value, json};

use crate::{
    checking::{checked, held},
    set::{Set, rows, said},
    setting_up::{given, tokens},
};

/// One of the school's grantors stands for the calendar product.
const PRODUCT: &str = "bbbbbbbb-0000-0000-0000-000000000002";
/// Direct members of this group are people alone.
const STAFF: &str = "staff";
/// Direct members of this one are groups too.
const EVERYONE: &str = "staff-and-students";
/// Of the staff, and not.
const IN: &str = "u000005@uni.example";
const OUT: &str = "u000006@uni.example";

/// A role whose scope is a group.
fn limited(group: &str) -> Value {
    let dn = format!(
        "CN={group},OU=uni.example,OU=Microsoft Exchange Hosted Organizations,DC=EURP190A001,DC=PROD,DC=OUTLOOK,DC=COM"
    );
    let scope = json!({"name": "Timetable", "filter": format!("MemberOfGroup -eq '{dn}'")});
    json!({"role": "Application Calendars.ReadWrite", "scope": scope})
}

async fn assign(set: &Set, assignments: Value, consents: &[&str]) {
    let change = json!({"assignments": assignments, "roles": consents});
    set.school.put(&format!("apps/{PRODUCT}"), &change).await;
}

fn check(set: &Set, more: &[&str]) -> (Vec<Value>, Option<i32>) {
    checked(set, &[&["--application", PRODUCT], more].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_an_application_finds_what_undoes_its_scope() {
    let set = Set::start_unprepared().await;
    let nobody = set
        .command(["check", "--tenant", "uni", "--application", PRODUCT])
        .output()
        .unwrap();
    assert!(said(&nobody).contains("--token-stdin"), "{}", said(&nobody));
    assert_ne!(nobody.status.code(), Some(0));

    set.apply(&set.tenant_with_setup());
    // The set-up account may neither ask Exchange nor see consents.
    assign(&set, json!([limited(STAFF)]), &[]).await;
    let (refused, code) = check(&set, &[]);
    assert_eq!(code, Some(3), "{refused:?}");
    assert_eq!(held(&refused, "work in calendars"), "no");
    assert_eq!(held(&refused, "no consent beside the scope"), "no");
    let setup = format!("apps/{SETUP_APP}");
    let roles = ["Application.Read.All", "Exchange.ManageAsApp"];
    let may = json!({"roles": roles, "management_roles": ["Organization Management"]});
    set.school.put(&setup, &may).await;

    // Everything right.
    for (mailbox, wanted, exit) in [(IN, "yes", 0), (OUT, "no", 3)] {
        let (told, code) = check(&set, &["--mailbox", mailbox]);
        assert_eq!(
            (held(&told, "work in calendars").as_str(), code),
            (wanted, Some(exit)),
            "{mailbox}: {told:?}"
        );
        assert_eq!(held(&told, "scope Timetable"), "yes");
        assert_eq!(held(&told, "no consent beside the scope"), "yes");
    }
    let (told, code) = check(&set, &["--mailbox", "nobody@uni.example"]);
    assert_eq!(held(&told, "look at nobody@uni.example"), "unknown");
    assert_eq!(code, Some(0), "{told:?}");

    // Consent that isn't limited, a group within the group, a role everywhere and one of no use.
    let more = ["Calendars.ReadWrite", "User.Read.All"];
    let mail = json!({"role": "Application Mail.Read", "unit": "Faculty of Science"});
    assign(&set, json!([limited(EVERYONE), mail]), &more).await;
    let (told, code) = check(&set, &[]);
    assert_eq!(code, Some(3), "{told:?}");
    assert_eq!(held(&told, "scope Timetable"), "no");
    assert_eq!(held(&told, "Calendars.ReadWrite"), "beyond");
    assert_eq!(held(&told, "Application Mail.Read"), "beyond");
    let within = told
        .iter()
        .find(|row| row["capability"] == "scope Timetable");
    let why = within.unwrap()["why"].as_str().unwrap();
    assert!(why.contains("students@uni.example"), "{why}");
    let everywhere = json!({"role": "Application Calendars.ReadWrite"});
    assign(&set, json!([everywhere]), &[]).await;
    let (told, code) = check(&set, &["--mailbox", OUT]);
    assert_eq!(code, Some(0), "{told:?}");
    assert_eq!(held(&told, "Application Calendars.ReadWrite"), "beyond");

    // Exchange was never told of it, but the directory consented.
    assign(&set, json!([]), &more).await;
    let (told, code) = check(&set, &["--mailbox", IN]);
    assert_eq!(
        (held(&told, "work in calendars").as_str(), code),
        ("no", Some(3))
    );
    assert_eq!(held(&told, "Calendars.ReadWrite"), "beyond");

    // With tokens of somebody's own.
    let lines = tokens(&set).await;
    set.apply(&set.tenant());
    let mut lent = set.command(["check", "--tenant", "uni", "--output", "json"]);
    lent.args(["--application", PRODUCT, "--token-stdin"]);
    let lent = given(lent, &lines);
    assert_eq!(held(&rows(&lent), "Calendars.ReadWrite"), "beyond");
    assert!(!lines.lines().any(|token| said(&lent).contains(token)));
    let report = set.school.get("report").await;
    assert_eq!(report["writes"], 0, "a check changes nothing");
}

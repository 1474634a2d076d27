//! Preflight, by the command line: everything right, each right missing in turn, a right too many, a credential that isn't at hand.

use calgrant_simulator::SchoolOptions;
use serde_json::{Value, json};

use crate::set::{Set, rows, said};

const READER: &str = "apps/aaaaaaaa-0000-0000-0000-000000000000";
const GRANTOR: &str = "apps/bbbbbbbb-0000-0000-0000-000000000002";
const ROLES: [&str; 3] = [
    "User.Read.All",
    "GroupMember.Read.All",
    "Exchange.ManageAsApp",
];
const CMDLETS: [&str; 6] = [
    "Get-Mailbox",
    "Get-MailboxFolderStatistics",
    "Get-MailboxFolderPermission",
    "Add-MailboxFolderPermission",
    "Set-MailboxFolderPermission",
    "Remove-MailboxFolderPermission",
];

fn without(all: &[&str], one: &str) -> Vec<String> {
    let rest = all.iter().filter(|name| **name != one);
    rest.map(|name| (*name).to_owned()).collect()
}

/// What the check of an account says, and how it exits.
pub(crate) fn check(set: &Set, account: &str) -> (Vec<Value>, Option<i32>) {
    checked(set, &["--account", account])
}

/// The same for what these arguments name.
pub(crate) fn checked(set: &Set, of: &[&str]) -> (Vec<Value>, Option<i32>) {
    let output = set
        .command(["check", "--tenant", "uni", "--output", "json"])
        .args(of)
        .output()
        .unwrap();
    eprintln!("{}", said(&output));
    (rows(&output), output.status.code())
}

pub(crate) fn held(rows: &[Value], capability: &str) -> String {
    let row = rows.iter().find(|row| row["capability"] == capability);
    let row = row.unwrap_or_else(|| panic!("nothing of {capability}: {rows:?}"));
    row["held"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_tells_what_an_account_may_and_may_not_do() {
    let set = Set::start(&SchoolOptions {
        mailboxes: 20,
        grantors: 2,
        ..SchoolOptions::default()
    })
    .await;
    for account in ["reader", "sa-1", "sa-2"] {
        let (rows, code) = check(&set, account);
        assert_eq!(code, Some(0), "{rows:?}");
        assert_eq!(held(&rows, "sign in"), "yes");
        assert_eq!(held(&rows, "budget policy found"), "yes");
        assert!(rows.iter().all(|row| row["held"] != "no"), "{rows:?}");
    }
    assert_eq!(held(&check(&set, "sa-2").0, "change permissions"), "yes");
    // Of a certificate it is read, of a secret nobody has told it.
    assert_eq!(held(&check(&set, "sa-1").0, "credential in date"), "yes");
    assert_eq!(
        held(&check(&set, "sa-2").0, "credential in date"),
        "unknown"
    );

    for role in ["User.Read.All", "GroupMember.Read.All"] {
        let rest = json!({"roles": without(&ROLES, role)});
        set.school.put(READER, &rest).await;
        let (rows, code) = check(&set, "reader");
        assert_eq!(code, Some(3), "{role}: {rows:?}");
        let told = |row: &&Value| {
            row["held"] == "no" && row["todo"].as_str().is_some_and(|todo| todo.contains(role))
        };
        assert!(rows.iter().any(|row| told(&row)), "{role}: {rows:?}");
    }
    let more = ROLES.iter().chain(&["Calendars.ReadWrite"]);
    let more: Vec<_> = more.collect();
    set.school.put(READER, &json!({"roles": more})).await;
    let (rows, code) = check(&set, "reader");
    assert_eq!(
        (held(&rows, "Calendars.ReadWrite").as_str(), code),
        ("beyond", Some(0)),
        "{rows:?}"
    );

    for (cmdlet, capability) in [
        ("Get-MailboxFolderStatistics", "find calendars"),
        ("Get-MailboxFolderPermission", "read permissions"),
        ("Remove-MailboxFolderPermission", "change permissions"),
    ] {
        let rest = json!({"cmdlets": without(&CMDLETS, cmdlet)});
        set.school.put(GRANTOR, &rest).await;
        let (rows, code) = check(&set, "sa-2");
        assert_eq!(
            (held(&rows, capability).as_str(), code),
            ("no", Some(3)),
            "{cmdlet}: {rows:?}"
        );
    }
    set.school.put(GRANTOR, &json!({"secret": "another"})).await;
    let (rows, code) = check(&set, "sa-2");
    assert_eq!((held(&rows, "sign in").as_str(), code), ("no", Some(3)));
    set.write("grantor-2", "");
    let (rows, code) = check(&set, "sa-2");
    assert_eq!(
        (held(&rows, "change permissions").as_str(), code),
        ("unknown", Some(0))
    );
    let report = set.school.get("report").await;
    assert_eq!(report["writes"], 0, "a check changes nothing");
}

const SETUP: &str = "apps/cccccccc-0000-0000-0000-000000000000";
const SETUP_ROLES: [&str; 4] = [
    "User.ReadWrite.All",
    "Organization.Read.All",
    "GroupMember.Read.All",
    "Exchange.ManageAsApp",
];
const MANAGEMENT_ROLES: [&str; 2] = [
    "Security Group Creation and Membership",
    "View-Only Recipients",
];

/// The rows that say so, by what they are about.
fn all_held<'r>(rows: &'r [Value], held: &str) -> Vec<&'r str> {
    let rows = rows.iter().filter(|row| row["held"] == held);
    rows.map(|row| row["capability"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_tells_what_a_set_up_credential_may_do() {
    let set = Set::start_unprepared().await;
    set.apply(&set.tenant_with_setup());
    let right = json!({"roles": SETUP_ROLES, "management_roles": MANAGEMENT_ROLES});
    set.school.put(SETUP, &right).await;
    let (rows, code) = check(&set, "set-up");
    assert_eq!(code, Some(0), "{rows:?}");
    for capability in [
        "sign in",
        "create and change users",
        "assign licences",
        "read products",
        "find mailboxes and groups",
        "create and change groups",
        "change the members of groups",
    ] {
        assert_eq!(held(&rows, capability), "yes", "{capability}");
    }
    assert!(all_held(&rows, "beyond").is_empty(), "{rows:?}");
    for (missing, wanted) in [
        (
            "User.ReadWrite.All",
            vec!["create and change users", "assign licences"],
        ),
        ("Organization.Read.All", vec!["read products"]),
        ("GroupMember.Read.All", vec!["see groups of every kind"]),
    ] {
        let rest = json!({"roles": without(&SETUP_ROLES, missing)});
        set.school.put(SETUP, &rest).await;
        let (rows, code) = check(&set, "set-up");
        assert_eq!(code, Some(3), "{missing}");
        assert_eq!(all_held(&rows, "no"), wanted, "{missing}: {rows:?}");
    }
    set.school
        .put(
            SETUP,
            &json!({"roles": without(&SETUP_ROLES, "Exchange.ManageAsApp")}),
        )
        .await;
    let (rows, code) = check(&set, "set-up");
    assert_eq!(code, Some(3), "{rows:?}");
    assert!(
        all_held(&rows, "no").contains(&"set the site up"),
        "{rows:?}"
    );
    set.school.put(SETUP, &right).await;
    for (missing, wanted) in [
        (
            MANAGEMENT_ROLES[0],
            vec!["create and change groups", "change the members of groups"],
        ),
        (MANAGEMENT_ROLES[1], vec!["find mailboxes and groups"]),
    ] {
        let rest = json!({"management_roles": without(&MANAGEMENT_ROLES, missing)});
        set.school.put(SETUP, &rest).await;
        let (rows, code) = check(&set, "set-up");
        assert_eq!(code, Some(3), "{missing}");
        assert_eq!(all_held(&rows, "no"), wanted, "{missing}: {rows:?}");
    }
    let roles = [&SETUP_ROLES[..], &["Mail.ReadWrite"]].concat();
    let more = json!({"management_roles": ["Organization Management"], "roles": roles});
    set.school.put(SETUP, &more).await;
    let (rows, code) = check(&set, "set-up");
    assert_eq!(code, Some(0), "{rows:?}");
    assert_eq!(
        all_held(&rows, "beyond"),
        [
            "New-ManagementRoleAssignment",
            "Set-MailboxFolderPermission",
            "Mail.ReadWrite"
        ]
    );
    let report = set.school.get("report").await;
    assert_eq!(report["setup"]["accounts_created"], 0);
    assert_eq!(report["writes"], 0, "a check changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_compares_limits_with_the_servers_policy() {
    let set = Set::start(&SchoolOptions {
        mailboxes: 20,
        grantors: 2,
        unprepared: true,
        on_premises_share: 1.0,
        ..SchoolOptions::default()
    })
    .await;
    let told = |rows: &[Value]| {
        let mut rows = rows.iter();
        let row = rows.find(|row| row["capability"] == "budget policy found");
        row.unwrap().clone()
    };
    set.apply(&set.onprem_tenant(""));
    // The set-up account may not read policies.
    let (rows, code) = check(&set, "sa-1");
    let unread = told(&rows);
    assert_eq!((&unread["held"], code), (&json!("unknown"), Some(0)));
    let todo = unread["todo"].as_str().unwrap();
    assert!(todo.contains("View-Only Configuration"), "{todo}");

    let roles = ["Organization Management"];
    let setup = "accounts/sa-setup@uni.example";
    set.school
        .put(setup, &json!({"management_roles": roles}))
        .await;
    let (rows, code) = check(&set, "sa-1");
    let read = told(&rows);
    assert_eq!((&read["held"], code), (&json!("yes"), Some(0)), "{read}");
    let why = read["why"].as_str().unwrap();
    assert!(
        why.contains("policy grantors lets it have 18 sessions"),
        "{why}"
    );

    set.apply(&set.onprem_tenant("max_in_flight = 19"));
    let (rows, code) = check(&set, "sa-1");
    let over = told(&rows);
    assert_eq!((&over["held"], code), (&json!("no"), Some(3)), "{over}");
    assert!(over["todo"].as_str().unwrap().contains("max_in_flight"));
    // The policy is another one now, of its own or everybody's.
    let account = "accounts/sa-onprem-1@uni.example";
    set.school.put(account, &json!({"policy": "default"})).await;
    let (rows, _) = check(&set, "sa-1");
    let why = told(&rows)["why"].as_str().unwrap().to_owned();
    assert!(why.contains("policy GlobalThrottlingPolicy"), "{why}");
}

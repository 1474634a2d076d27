//! Accounts and groups on premises, made with a client that others wrote, and seen by another one in the directory.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod foreign;
mod rig;

use calgrant_simulator::{SETUP_APP, Scenario, SchoolOptions, TRUSTEE};
use rig::{EXCHANGE, Rig};
use serde_json::{Value, json};

const UNIT: &str = "OU=Dienste\\, Konten für Kalender,DC=school,DC=example";
const SECRET: &str = "Größe-1 zählt";

const SCHOOL: &str = r#"
ldap = "127.0.0.1:0"
ldaps = "127.0.0.1:0"

[dials]
replication_lag_ms = 600000

[[tenant]]
id = "33333333-4444-5555-6666-777777777777"
domain = "school.example"
awaited = ["delegates@school.example"]

[tenant.onprem]
domain = "SCHOOL"
domain_controllers = ["DC01", "DC02"]
units = ["OU=Dienste\\, Konten für Kalender,DC=school,DC=example"]

[[tenant.onprem.policy]]
name = "delegates"

[[tenant.onprem.account]]
user = "sa-setup@school.example"
password = "setup"
management_roles = [
    "Mail Recipients", "Mail Recipient Creation", "Distribution Groups", "Security Group Creation and Membership",
    "Reset Password",
]

[[tenant.onprem.account]]
user = "sa-helper@school.example"
password = "helper"
management_roles = ["Mail Recipients", "Distribution Groups"]

[[tenant.user]]
upn = "sa-setup@school.example"
name = "Set-up"
kind = "none"

[[tenant.user]]
upn = "sa-helper@school.example"
name = "Helper"
kind = "none"

[[tenant.user]]
upn = "ada@school.example"
name = "Ada Lovelace"
on_premises = true
dn = "CN=ada,OU=Teachers,DC=school,DC=example"
"#;

const SETUP: (&str, &str) = ("SCHOOL\\sa-setup", "setup");
const HELPER: (&str, &str) = ("SCHOOL\\sa-helper", "helper");

/// Runs cmdlets one after the other in one session.
async fn run(rig: &Rig, login: (&str, &str), calls: &[(&str, Value)]) -> Option<Vec<Value>> {
    let arguments = [rig.url.as_str(), login.0, login.1];
    let lines = calls.iter();
    let lines: String = lines
        .map(|(cmdlet, parameters)| format!("{}\n", json!([cmdlet, parameters])))
        .collect();
    let done = foreign::run("cmdlets.py", &arguments, &lines).await?;
    assert_eq!(done.len(), calls.len());
    Some(done)
}

/// Asks the directory.
async fn look(rig: &Rig, login: (&str, &str), steps: &[Value]) -> Vec<Value> {
    let url = format!("ldaps://{}", rig.running.ldaps.unwrap());
    let certificate = rig.running.certificate().unwrap();
    let bind = json!({"bind": [login.0, login.1]});
    let all = [&[bind], steps].concat();
    let input: String = all.iter().map(|step| format!("{step}\n")).collect();
    let said = foreign::run("directory.py", &[&url, certificate], &input).await;
    said.unwrap()
}

fn mailbox(name: &str) -> Value {
    json!({
        "Name": name, "UserPrincipalName": format!("{name}@school.example"), "SamAccountName": name, "Alias": name,
        "DisplayName": format!("Service {name}"), "Password": {"secret": SECRET}, "ResetPasswordOnNextLogon": false,
        "OrganizationalUnit": UNIT,
    })
}

fn with(mut all: Value, name: &str, value: Value) -> Value {
    all[name] = value;
    all
}

fn without(mut all: Value, name: &str) -> Value {
    all.as_object_mut().unwrap().remove(name);
    all
}

async fn sign_in(rig: &Rig, user: &str, password: &str) -> bool {
    let body = json!({"user": user, "password": password});
    let url = format!("{}/_simulator/sign-in", rig.url);
    let reply = rig.client.post(url).json(&body).send().await.unwrap();
    let said: Value = reply.json().await.unwrap();
    said["signed_in"] == true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_is_made_with_a_sealed_password_and_its_owner_signs_in() {
    let rig = Rig::of(Scenario::from_toml(SCHOOL).unwrap()).await;
    let new = mailbox("svc-cal-01");
    let calls = [
        ("New-Mailbox", new.clone()),
        ("New-Mailbox", new.clone()),
        ("New-Mailbox", with(new.clone(), "Name", json!("other"))),
        ("Get-Mailbox", json!({"Identity": "SCHOOL\\svc-cal-01"})),
        (
            "Set-Mailbox",
            json!({"Identity": "svc-cal-01@school.example", "CustomAttribute15": "calgrant", "HiddenFromAddressListsEnabled": true, "ThrottlingPolicy": "delegates"}),
        ),
        (
            "Get-Mailbox",
            json!({"Filter": "CustomAttribute15 -eq 'calgrant'"}),
        ),
        (
            "Set-Mailbox",
            json!({"Identity": "svc-cal-01@school.example", "Password": {"secret": "Another-one-2"}}),
        ),
    ];
    let Some(done) = run(&rig, SETUP, &calls).await else {
        return;
    };
    assert_eq!(done[0]["errors"], json!([]), "{}", done[0]);
    let made = &done[0]["objects"][0];
    assert_eq!(made["PrimarySmtpAddress"], "svc-cal-01@school.example");
    assert_eq!(made["DistinguishedName"], format!("CN=svc-cal-01,{UNIT}"));
    for again in [1, 2] {
        let error = &done[again]["errors"];
        assert_eq!(*error, json!(["ADObjectAlreadyExistsException"]));
    }
    assert_eq!(done[3]["objects"][0]["SamAccountName"], "svc-cal-01");
    assert_eq!(
        done[5]["objects"][0]["CustomAttribute15"], "calgrant",
        "{}",
        done[5]
    );
    let user = "svc-cal-01@school.example";
    assert!(!sign_in(&rig, user, SECRET).await);
    assert!(sign_in(&rig, user, "Another-one-2").await);
    let created = rig.get("/_simulator/created").await;
    assert_eq!(created["users"].as_array().unwrap().len(), 1);
    assert_eq!(created["users"][0]["by"], "sa-setup@school.example");
    let setup = rig.get("/_simulator/report").await["setup"].clone();
    assert_eq!(
        (&setup["accounts_created"], &setup["passwords_set"]),
        (&json!(1), &json!(2))
    );
    // the session was of the second domain controller, and LDAP is the first one's
    let find = json!({"base": "DC=school,DC=example", "filter": "(sAMAccountName=svc-cal-01)", "attributes": ["extensionAttribute15", "userAccountControl", "proxyAddresses"], "stay": true});
    let ada = json!({"base": "DC=school,DC=example", "filter": "(mail=ada@school.example)", "stay": true});
    let before = look(&rig, SETUP, &[find.clone(), ada.clone()]).await;
    assert_eq!(before[1]["entries"], json!([]), "{}", before[1]);
    rig.advance(600_000).await;
    let after = look(&rig, (user, "Another-one-2"), &[find, ada]).await;
    assert_eq!(after[0]["code"], 0, "{}", after[0]);
    assert_eq!(
        after[1]["entries"],
        json!([{
            "dn": format!("CN=svc-cal-01,{UNIT}"), "extensionAttribute15": ["calgrant"],
            "userAccountControl": ["512"], "proxyAddresses": ["SMTP:svc-cal-01@school.example"],
        }])
    );
    assert_eq!(before[2]["entries"], after[2]["entries"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_mailbox_and_who_may_not_make_one() {
    let rig = Rig::of(Scenario::from_toml(SCHOOL).unwrap()).await;
    let new = || mailbox("svc-1");
    let cases = [
        (without(new(), "Password"), "ParameterBindingException"),
        (
            with(new(), "Password", json!("plain text")),
            "ParameterBindingException",
        ),
        (
            with(new(), "Password", json!({"secret": "weak"})),
            "ADInvalidPasswordException",
        ),
        (
            with(new(), "SamAccountName", json!("a-name-of-21-letters-")),
            "DataValidationException",
        ),
        (
            with(new(), "SamAccountName", json!("a:b")),
            "DataValidationException",
        ),
        (
            with(new(), "SamAccountName", json!("ada")),
            "ADObjectAlreadyExistsException",
        ),
        (
            with(new(), "UserPrincipalName", json!("x@other.example")),
            "DataValidationException",
        ),
        (
            with(new(), "UserPrincipalName", json!("ada@school.example")),
            "ADObjectAlreadyExistsException",
        ),
        (
            with(new(), "PrimarySmtpAddress", json!("ada@school.example")),
            "ProxyAddressExistsException",
        ),
        (
            with(
                new(),
                "OrganizationalUnit",
                json!("OU=Nowhere,DC=school,DC=example"),
            ),
            "ManagementObjectNotFoundException",
        ),
        (
            with(new(), "Database", json!("DB99")),
            "ManagementObjectNotFoundException",
        ),
        (
            with(new(), "DomainController", json!("dc09.school.example")),
            "SuitabilityDirectoryException",
        ),
        (
            with(new(), "CustomAttribute15", json!("x")),
            "ParameterBindingException",
        ),
        (
            with(
                new(),
                "OrganizationalUnit",
                json!("school.example/Teachers"),
            ),
            "",
        ),
    ];
    let calls: Vec<(&str, Value)> = cases
        .iter()
        .map(|(parameters, _)| ("New-Mailbox", parameters.clone()))
        .collect();
    let Some(done) = run(&rig, SETUP, &calls).await else {
        return;
    };
    for (done, (parameters, expected)) in done.iter().zip(&cases) {
        let error = done["errors"][0].as_str().unwrap_or_default();
        assert_eq!(error, *expected, "{parameters}");
    }
    let setup = rig.get("/_simulator/report").await["setup"].clone();
    assert_eq!(setup["accounts_created"], 1);
    let disabling = json!({"Identity": "svc-1@school.example", "AccountDisabled": true});
    let calls = [
        ("New-Mailbox", mailbox("svc-2")),
        (
            "Set-Mailbox",
            json!({"Identity": "svc-1@school.example", "Password": {"secret": SECRET}}),
        ),
        (
            "New-DistributionGroup",
            json!({"Name": "G", "Type": "Security"}),
        ),
        ("Set-Mailbox", disabling.clone()),
    ];
    let done = run(&rig, HELPER, &calls).await.unwrap();
    assert_eq!(done[0]["errors"], json!(["CommandNotFoundException"]));
    for refused in &done[1..] {
        assert_eq!(refused["errors"], json!(["ParameterBindingException"]));
    }
    assert!(sign_in(&rig, "svc-1@school.example", SECRET).await);
    let dials = json!({"disables_accounts_on_premises": true});
    assert_eq!(rig.put("/_simulator/dials", dials).await, 200);
    let done = run(&rig, HELPER, &[("Set-Mailbox", disabling)])
        .await
        .unwrap();
    assert_eq!(done[0]["errors"], json!([]));
    assert!(!sign_in(&rig, "svc-1@school.example", SECRET).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_made_at_one_domain_controller_and_others_learn_of_it() {
    let rig = Rig::of(Scenario::from_toml(SCHOOL).unwrap()).await;
    let at = |parameters: Value, dc: &str| with(parameters, "DomainController", json!(dc));
    let group = "delegates@school.example";
    let new = json!({
        "Name": "Delegierte, Kalender", "Type": "Security", "Alias": "delegates", "PrimarySmtpAddress": group,
        "OrganizationalUnit": UNIT, "SamAccountName": "delegates",
    });
    let read = json!({"Identity": group});
    let member = json!({"Identity": group, "Member": "ada@school.example"});
    let calls = [
        ("New-DistributionGroup", at(new.clone(), "DC01")),
        (
            "Get-DistributionGroup",
            at(read.clone(), "DC01.school.example"),
        ),
        ("Get-DistributionGroup", read.clone()),
        ("New-DistributionGroup", new),
        ("Add-DistributionGroupMember", at(member.clone(), "DC01")),
        ("Add-DistributionGroupMember", at(member, "DC01")),
        (
            "Set-DistributionGroup",
            at(
                json!({"Identity": group, "HiddenFromAddressListsEnabled": true}),
                "DC01",
            ),
        ),
        ("Get-DistributionGroupMember", at(read.clone(), "DC01")),
    ];
    let Some(done) = run(&rig, SETUP, &calls).await else {
        return;
    };
    let errors: Vec<&str> = done
        .iter()
        .map(|done| done["errors"][0].as_str().unwrap_or_default())
        .collect();
    assert_eq!(
        errors,
        [
            "",
            "",
            "ManagementObjectNotFoundException",
            "ADObjectAlreadyExistsException",
            "",
            "MemberAlreadyExistsException",
            "",
            "",
        ]
    );
    let name = &done[0]["objects"][0]["DistinguishedName"];
    assert_eq!(*name, format!("CN=Delegierte\\, Kalender,{UNIT}"));
    assert_eq!(done[7]["objects"].as_array().unwrap().len(), 1);
    let find = json!({"base": "DC=school,DC=example", "filter": format!("(mail={group})"), "attributes": ["member", "groupType", "sAMAccountName", "msExchHideFromAddressLists"], "stay": true});
    let seen = look(&rig, SETUP, &[find]).await;
    assert_eq!(
        seen[1]["entries"],
        json!([{
            "dn": name, "member": ["CN=ada,OU=Teachers,DC=school,DC=example"], "groupType": ["-2147483640"],
            "sAMAccountName": ["delegates"], "msExchHideFromAddressLists": ["TRUE"],
        }])
    );
    rig.advance(600_000).await;
    let calls = [
        ("Get-DistributionGroup", json!({"Identity": name})),
        // who isn't its manager
        (
            "Remove-DistributionGroupMember",
            json!({"Identity": group, "Member": "ada@school.example", "Confirm": false}),
        ),
    ];
    let done = run(&rig, HELPER, &calls).await.unwrap();
    assert_eq!(
        done[0]["objects"][0]["PrimarySmtpAddress"], group,
        "{}",
        done[0]
    );
    assert_eq!(
        done[1]["errors"],
        json!(["OperationRequiresGroupManagerException"])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_school_that_is_not_prepared_has_those_who_prepare_it() {
    let scenario = Scenario::school(&SchoolOptions {
        mailboxes: 40,
        on_premises_share: 0.5,
        unprepared: true,
        free_seats: 2,
        ..SchoolOptions::default()
    });
    let rig = Rig::of(scenario).await;
    let app = SETUP_APP.to_string();
    let token = rig.token(&app, "setup-secret", EXCHANGE).await;
    let missing = rig
        .invoke(
            &token,
            "Get-DistributionGroup",
            json!({"Identity": TRUSTEE}),
        )
        .await;
    assert_eq!(missing.status(), 404);
    let new =
        json!({"Name": "Timetable Delegates", "Type": "Security", "PrimarySmtpAddress": TRUSTEE});
    let made = rig.invoke(&token, "New-DistributionGroup", new).await;
    assert_eq!(made.status(), 200);
    let proof = rig.get("/_simulator/proof?all=true").await;
    assert_eq!(proof["with_at_least_author"], 0);
    assert!(proof["mailboxes"].as_u64().unwrap() > 30);
    let graph = rig.token(&app, "setup-secret", rig::GRAPH).await;
    let url = format!("{}/v1.0/subscribedSkus", rig.url);
    let reply = rig
        .client
        .get(url)
        .bearer_auth(&graph)
        .send()
        .await
        .unwrap();
    let skus: Value = reply.json().await.unwrap();
    let sku = &skus["value"][0];
    let free =
        sku["prepaidUnits"]["enabled"].as_u64().unwrap() - sku["consumedUnits"].as_u64().unwrap();
    assert_eq!((free, skus["value"].as_array().unwrap().len()), (2, 1));
    let call = [(
        "Get-Mailbox",
        json!({"ResultSize": "Unlimited", "OrganizationalUnit": "uni.example/Students"}),
    )];
    let login = ("UNI\\sa-setup", "sa-setup-secret");
    let Some(done) = run(&rig, login, &call).await else {
        return;
    };
    assert!(!done[0]["objects"].as_array().unwrap().is_empty());
}

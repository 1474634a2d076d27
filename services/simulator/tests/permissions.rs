//! The cmdlets' own rules: identities, trustees, flags, and folders that aren't calendars.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod rig;

use calgrant_simulator::{SchoolOptions, TENANT_ID, TRUSTEE};
use serde_json::{Value, json};

use rig::{GRANTOR, Rig, mailbox};

const ADD: &str = "Add-MailboxFolderPermission";
const SET: &str = "Set-MailboxFolderPermission";
const GET: &str = "Get-MailboxFolderPermission";
const REMOVE: &str = "Remove-MailboxFolderPermission";

async fn rig() -> (Rig, String) {
    let rig = Rig::new(&SchoolOptions {
        read_lag_max_secs: 0,
        ..SchoolOptions::default()
    })
    .await;
    let token = rig.grantor().await;
    (rig, token)
}

/// The exception an answer names, or nothing.
async fn exception(rig: &Rig, token: &str, cmdlet: &str, parameters: Value) -> String {
    let body: Value = rig
        .invoke(token, cmdlet, parameters)
        .await
        .json()
        .await
        .unwrap();
    let message = body["error"]["details"][0]["message"]
        .as_str()
        .unwrap_or_default();
    let kind = message.split('|').nth(1).unwrap_or_default();
    kind.rsplit('.').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn trustees_are_mailboxes_or_mail_enabled_security_groups() {
    let (rig, token) = rig().await;
    let identity = rig.folder(&token, &mailbox(1)).await;
    let ask = |user: &str, rights: &str| json!({"Identity": identity, "User": user, "AccessRights": rights});
    for (user, expected) in [
        ("news@uni.example", "InvalidInternalUserIdException"),
        ("team@uni.example", "InvalidInternalUserIdException"),
        ("Lab Access", "InvalidInternalUserIdException"),
        ("visitor0@partner.example", "InvalidInternalUserIdException"),
        ("nobody@elsewhere.example", "InvalidExternalUserIdException"),
        ("Timetable Delegates", "ManagementObjectAmbiguousException"),
        ("Anonymous", ""),
        ("Default", "UserAlreadyExistsInPermissionEntryException"),
        (TRUSTEE, ""),
        (TRUSTEE, "UserAlreadyExistsInPermissionEntryException"),
    ] {
        let found = exception(&rig, &token, ADD, ask(user, "Author")).await;
        assert_eq!(found, expected, "{user}");
    }
    let missing = json!({"Identity": identity, "User": mailbox(2)});
    for cmdlet in [GET, REMOVE] {
        let found = exception(&rig, &token, cmdlet, missing.clone()).await;
        assert_eq!(found, "UserNotFoundInPermissionEntryException");
    }
    let default = json!({"Identity": identity, "User": "Default"});
    let found = exception(&rig, &token, REMOVE, default).await;
    assert_eq!(found, "CannotRemoveSpecialUserException");
    let mut notify = ask(TRUSTEE, "Author");
    notify["SendNotificationToUser"] = json!(true);
    assert_eq!(rig.invoke(&token, SET, notify).await.status(), 400);
}

#[tokio::test]
async fn a_notification_takes_the_sharing_flags_away() {
    let (rig, token) = rig().await;
    let identity = rig.folder(&token, &mailbox(1)).await;
    let flags = async || {
        let ask = json!({"Identity": identity, "User": mailbox(2)});
        let body: Value = rig.invoke(&token, GET, ask).await.json().await.unwrap();
        body["value"][0]["SharingPermissionFlags"].clone()
    };
    let editor = json!({"Identity": identity, "User": mailbox(2), "AccessRights": ["Editor"]});
    let mut delegate = editor.clone();
    delegate["SharingPermissionFlags"] = json!("Delegate");
    assert_eq!(rig.invoke(&token, ADD, delegate).await.status(), 200);
    assert_eq!(flags().await, "Delegate");
    let same = rig.invoke(&token, SET, editor.clone()).await;
    assert!(same.headers().contains_key("x-warnings"));
    let mut notify = editor;
    notify["SendNotificationToUser"] = json!(false);
    assert_eq!(rig.invoke(&token, SET, notify).await.status(), 200);
    assert_eq!(flags().await, Value::Null);
}

#[tokio::test]
async fn identities_are_exact_and_the_root_is_a_trap() {
    let (rig, token) = rig().await;
    let body: Value = rig
        .invoke(
            &token,
            "Get-MailboxFolderStatistics",
            json!({"Identity": mailbox(24), "FolderScope": "Calendar"}),
        )
        .await
        .json()
        .await
        .unwrap();
    let rows = body["value"].as_array().unwrap();
    let main = rows
        .iter()
        .find(|row| row["FolderType"] == "Calendar")
        .unwrap();
    let twins = rows
        .iter()
        .filter(|row| row["Name"] == main["Name"])
        .count();
    assert_eq!((rows.len(), twins), (4, 2), "{body}");
    let id = main["FolderId"].as_str().unwrap();
    let by_id = json!({"Identity": format!("{}:{id}", mailbox(24))});
    assert_eq!(rig.invoke(&token, GET, by_id.clone()).await.status(), 200);
    let admin = format!(
        "{}/adminapi/v2.0/{TENANT_ID}/MailboxFolderPermission",
        rig.url
    );
    let body = json!({"CmdletInput": {"CmdletName": GET, "Parameters": by_id}});
    let call = rig.client.post(admin).bearer_auth(&token).json(&body);
    assert_eq!(call.send().await.unwrap().status(), 404);

    let birthdays = format!(
        "{}:\\{}\\Birthdays",
        mailbox(24),
        main["Name"].as_str().unwrap()
    );
    let grant =
        |identity: &str| json!({"Identity": identity, "User": TRUSTEE, "AccessRights": "Author"});
    let found = exception(&rig, &token, ADD, grant(&birthdays)).await;
    assert_eq!(found, "CannotChangePermissionsOnFolderException");
    let scope = exception(&rig, &token, ADD, grant("rectorate@uni.example:\\Calendar")).await;
    assert!(scope.contains("WriteScope"), "{scope}");
    for (name, status) in [
        ("person.24@uni.example", 200),
        ("p24@mail.uni.example", 200),
        ("u000024", 200),
        ("Nobody Known", 404),
        // the name of a group's trustee is also the name of one mailbox
        ("Timetable Delegates", 200),
    ] {
        let ask = json!({"Identity": name, "FolderScope": "Calendar"});
        let reply = rig.invoke(&token, "Get-MailboxFolderStatistics", ask).await;
        assert_eq!(reply.status(), status, "{name}");
    }
    // without a folder, the call means the top of the mailbox
    assert_eq!(
        rig.invoke(&token, ADD, grant(&mailbox(24))).await.status(),
        200
    );
    let report = rig.get("/_simulator/report").await;
    assert_eq!(report["changes"][0]["folder"], "");
    let rows = rig
        .get(&format!(
            "/_simulator/mailboxes/{}/permissions",
            mailbox(24)
        ))
        .await;
    assert_eq!(rows["folders"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn groups_and_organisation_are_read_by_cmdlet() {
    let (rig, token) = rig().await;
    let cmdlets = json!({"cmdlets": ["Get-DistributionGroup", "Get-DistributionGroupMember", "Get-AcceptedDomain", "Get-OrganizationConfig", "New-Mailbox"]});
    assert_eq!(
        rig.put(&format!("/_simulator/apps/{GRANTOR}"), cmdlets)
            .await,
        200
    );
    let value = async |cmdlet: &str, parameters: Value| {
        let body: Value = rig
            .invoke(&token, cmdlet, parameters)
            .await
            .json()
            .await
            .unwrap();
        body["value"].clone()
    };
    let group = value("Get-DistributionGroup", json!({"Identity": TRUSTEE})).await;
    assert_eq!(
        group[0]["RecipientTypeDetails"],
        "MailUniversalSecurityGroup"
    );
    let members = value(
        "Get-DistributionGroupMember",
        json!({"Identity": "works-council@uni.example"}),
    )
    .await;
    assert_eq!(members.as_array().unwrap().len(), 3);
    assert_eq!(
        value("Get-AcceptedDomain", json!({})).await[0]["DomainName"],
        "uni.example"
    );
    assert_eq!(
        value("Get-OrganizationConfig", json!({})).await[0]["Guid"],
        TENANT_ID.to_string()
    );
    assert_eq!(
        rig.invoke(&token, "New-Mailbox", json!({})).await.status(),
        403
    );
    let file = format!(
        "{}/adminapi/v1.0/{TENANT_ID}/EXOModuleFile?Version=3.9.2",
        rig.url
    );
    let body: Value = rig
        .client
        .get(file)
        .bearer_auth(&token)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let exported = body["value"][0]["exportedCmdlets"].as_str().unwrap();
    assert!(exported.contains("Get-DistributionGroup") && !exported.contains("New-Mailbox"));
}

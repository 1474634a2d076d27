//! Faults by name, outages, the clock, and what can be changed while the simulator runs.

mod rig;

use calgrant_simulator::{EVERYONE, SchoolOptions, TENANT_ID, TRUSTEE};
use serde_json::{Value, json};

use rig::{EXCHANGE, GRANTOR, GRAPH, READER, Rig, mailbox};

const ADD: &str = "Add-MailboxFolderPermission";
const SET: &str = "Set-MailboxFolderPermission";

async fn rig() -> (Rig, String) {
    let rig = Rig::new(&SchoolOptions {
        read_lag_max_secs: 0,
        ..SchoolOptions::default()
    })
    .await;
    let token = rig.grantor().await;
    (rig, token)
}

fn grant(identity: &str, role: &str) -> Value {
    json!({"Identity": identity, "User": TRUSTEE, "AccessRights": [role]})
}

#[tokio::test]
async fn a_fault_can_be_aimed_and_a_wrong_dial_is_named() {
    let (rig, token) = rig().await;
    let identity = rig.folder(&token, &mailbox(1)).await;
    let aimed = json!({"faults": {"empty_success": {"only": "Add-"}, "proxy_error_json": {"only": "Add-", "times": 1}}});
    assert_eq!(rig.put("/_simulator/dials", aimed).await, 200);
    let reply = rig.invoke(&token, ADD, grant(&identity, "Author")).await;
    assert_eq!(reply.text().await.unwrap(), "{}");
    let again = rig.invoke(&token, ADD, grant(&identity, "Author")).await;
    let text = again.text().await.unwrap();
    assert!(text.contains("CmdletProxyException"), "{text}");
    assert!(
        text.contains("UserAlreadyExistsInPermissionEntryException"),
        "{text}"
    );
    for (path, body, field) in [
        ("dials", json!({"latency": 1}), "latency"),
        (
            "dials",
            json!({"faults": {"throttle_429": {"time": 1}}}),
            "time",
        ),
        ("dials", json!({"faults": {"gremlins": 1}}), "gremlins"),
        ("outage", json!({"on": true, "mode": "maybe"}), "maybe"),
        (
            "mailboxes/u000001@uni.example",
            json!({"gone": true}),
            "gone",
        ),
    ] {
        let url = format!("{}/_simulator/{path}", rig.url);
        let reply = rig.client.put(url).json(&body).send().await.unwrap();
        assert_eq!(reply.status(), 400);
        assert!(reply.text().await.unwrap().contains(field), "{field}");
    }
    rig.running.stop().await;
}

#[tokio::test]
async fn the_clock_ends_tokens_links_and_waits() {
    let (rig, token) = rig().await;
    let reader = rig.token(READER, "reader-secret", EXCHANGE).await;
    let url = format!("{}/adminapi/beta/{TENANT_ID}/InvokeCommand", rig.url);
    let body = json!({"CmdletInput": {"CmdletName": "Get-Mailbox", "Parameters": {"ResultSize": "Unlimited"}}});
    let post = async |url: &str, body: &Value| {
        let call = rig.client.post(url).bearer_auth(&reader);
        let call = call.header("Prefer", "odata.maxpagesize=50").json(body);
        let reply = call.send().await.unwrap();
        (
            reply.status().as_u16(),
            reply.json::<Value>().await.unwrap(),
        )
    };
    let (_, page) = post(&url, &body).await;
    assert_eq!(page["value"].as_array().unwrap().len(), 50);
    let next = page["@odata.nextLink"].as_str().unwrap();
    assert_eq!(post(next, &body).await.0, 200);
    let mut other = body.clone();
    other["CmdletInput"]["Parameters"]["RecipientTypeDetails"] = json!(["UserMailbox"]);
    assert_eq!(post(next, &other).await.0, 400);

    let late = json!({"Identity": mailbox(50), "FolderScope": "Calendar"});
    let find = async || {
        rig.invoke(&token, "Get-MailboxFolderStatistics", late.clone())
            .await
            .status()
    };
    assert_eq!(find().await, 404);
    rig.advance(301_000).await;
    assert_eq!(find().await, 200);
    let (status, expired) = post(next, &body).await;
    assert_eq!(status, 400);
    assert!(expired.to_string().contains("expired"));
    rig.advance(3_400_000).await;
    assert_eq!(find().await, 401);
}

#[tokio::test]
async fn mailboxes_and_apps_change_while_it_runs() {
    let (rig, token) = rig().await;
    let path = format!("/_simulator/mailboxes/{}", mailbox(1));
    let find = async |number: usize| {
        let ask = json!({"Identity": mailbox(number), "FolderScope": "Calendar"});
        rig.invoke(&token, "Get-MailboxFolderStatistics", ask)
            .await
            .status()
    };
    assert_eq!(rig.put(&path, json!({"deleted": true})).await, 200);
    assert_eq!(find(1).await, 404);
    assert_eq!(rig.put(&path, json!({"licensed": true})).await, 200);
    assert_eq!(find(1).await, 200);
    let app = format!("/_simulator/apps/{GRANTOR}");
    assert_eq!(
        rig.put(&app, json!({"cmdlets": ["Get-Mailbox"]})).await,
        200
    );
    assert_eq!(find(1).await, 403);
    assert_eq!(rig.put(&app, json!({"secret_expired": true})).await, 200);
    let form = [
        ("client_id", GRANTOR),
        ("client_secret", "grantor-secret-2"),
        ("scope", EXCHANGE),
    ];
    let body: Value = rig.ask_token(&form).await.json().await.unwrap();
    assert_eq!(body["error_codes"], json!([7_000_222]));
    let tenant = format!("/_simulator/tenants/{TENANT_ID}");
    let limits = json!({"limits": {"max_in_flight": 0}});
    assert_eq!(rig.put(&tenant, limits).await, 200);
    assert_eq!(find(1).await, 429);
    let report = rig.get("/_simulator/report").await;
    assert_eq!(
        report["violations_by_app"][GRANTOR]["tenant: 0 in flight"],
        1
    );
}

#[tokio::test]
async fn an_outage_can_cut_connections() {
    let (rig, token) = rig().await;
    let ask = json!({"Identity": mailbox(1), "FolderScope": "Calendar"});
    let outage = async |body: Value| rig.put("/_simulator/outage", body).await;
    assert_eq!(outage(json!({"on": true, "mode": "abort"})).await, 200);
    let cut = rig.try_invoke(&token, "Get-MailboxFolderStatistics", ask.clone());
    assert!(cut.await.is_err());
    assert_eq!(outage(json!({"on": true})).await, 200);
    let down = rig.invoke(&token, "Get-MailboxFolderStatistics", ask.clone());
    assert_eq!(down.await.status(), 503);
    assert_eq!(outage(json!({"on": false})).await, 200);
    let up = rig.invoke(&token, "Get-MailboxFolderStatistics", ask);
    assert_eq!(up.await.status(), 200);
}

#[tokio::test]
async fn a_call_goes_on_when_its_client_hangs_up() {
    let (rig, token) = rig().await;
    let identity = rig.folder(&token, &mailbox(1)).await;
    let slow = json!({"latency_ms": 300});
    assert_eq!(rig.put("/_simulator/dials", slow).await, 200);
    let url = format!("{}/adminapi/beta/{TENANT_ID}/InvokeCommand", rig.url);
    let body =
        json!({"CmdletInput": {"CmdletName": ADD, "Parameters": grant(&identity, "Author")}});
    let call = rig.client.post(url).bearer_auth(&token).json(&body);
    let hung_up = call
        .timeout(std::time::Duration::from_millis(100))
        .send()
        .await;
    assert!(hung_up.is_err());
    rig.until("/_simulator/report", |report| report["writes"] == 1)
        .await;
}

#[tokio::test]
async fn marks_start_counts_anew_and_the_truth_is_told_by_member() {
    let (rig, token) = rig().await;
    let identity = rig.folder(&token, &mailbox(1)).await;
    rig.invoke(&token, ADD, grant(&identity, "Author")).await;
    rig.invoke(&token, SET, grant(&identity, "Reviewer")).await;
    let url = format!("{}/_simulator/mark", rig.url);
    rig.client.post(url).send().await.unwrap();
    let report = rig.get("/_simulator/report").await;
    assert_eq!(report["writes"], 0);
    assert_eq!(report["since_start"]["writes_by_app"][GRANTOR], 2);
    assert_eq!(report["changes"][0]["writes"], 2);
    assert_eq!(report["changes"][0]["by"], GRANTOR);
    let foreign = rig.get("/_simulator/changes?foreign=true").await;
    assert_eq!(foreign["total"], 0);
    let path = format!("/_simulator/expectation?group={EVERYONE}&limit=150");
    let first = rig.get(&path).await;
    assert_eq!(
        (&first["total"], &first["next_offset"]),
        (&json!(200), &json!(150))
    );
    let second = rig.get(&format!("{path}&offset=150")).await;
    let members = [&first["members"], &second["members"]];
    let members: Vec<&Value> = members
        .iter()
        .flat_map(|page| page.as_array().unwrap())
        .collect();
    assert_eq!(members.len(), 200);
    let one = members.iter().find(|row| row["upn"] == mailbox(1)).unwrap();
    assert_eq!(one["before"], Value::Null);
    assert_eq!(one["now"]["rights"], json!(["Reviewer"]));
    assert_eq!(one["others_unchanged"], true);
    assert!(members.iter().any(|row| row["state"] == "missing"));
    let ou = "OU=Staff\\, Fakultät,DC=uni,DC=example".replace(' ', "%20");
    let staff = rig.get(&format!("/_simulator/expectation?ou={ou}")).await;
    assert!(staff["total"].as_u64().unwrap() > 20, "{staff}");
}

#[tokio::test]
async fn graph_knows_hidden_members_calendars_and_dependencies() {
    let (rig, _) = rig().await;
    let token = rig.token(READER, "reader-secret", GRAPH).await;
    let ask = async |path: &str| {
        let call = rig.client.get(format!("{}/v1.0{path}", rig.url));
        let call = call
            .bearer_auth(&token)
            .header("ConsistencyLevel", "eventual");
        let reply = call.send().await.unwrap();
        (
            reply.status().as_u16(),
            reply.json::<Value>().await.unwrap(),
        )
    };
    let (_, hidden) = ask("/groups?$filter=mail eq 'works-council@uni.example'").await;
    let id = hidden["value"][0]["id"].as_str().unwrap();
    let members = format!("/groups/{id}/members");
    assert_eq!(ask(&members).await.0, 403);
    let calendar = format!("/users/{}/calendar", mailbox(1));
    assert_eq!(ask(&calendar).await.0, 403);
    let roles = json!({"roles": ["User.Read.All", "GroupMember.Read.All", "Member.Read.Hidden", "Calendars.Read"]});
    assert_eq!(
        rig.put(&format!("/_simulator/apps/{READER}"), roles).await,
        200
    );
    assert_eq!(ask(&members).await.1["value"].as_array().unwrap().len(), 3);
    assert!(ask(&calendar).await.1["name"].is_string());
    let never = ask("/users/never.there@uni.example/calendar").await;
    assert_eq!(never.1["error"]["code"], "MailboxNotEnabledForRESTAPI");
    let licensed = "/users?$count=true&$filter=assignedPlans/any(p:p/service eq 'exchange' and p/capabilityStatus eq 'Enabled')";
    assert!(ask(licensed).await.1["@odata.count"].as_u64().unwrap() > 190);
    let two =
        "/users?$filter=userPrincipalName in ('u000001@uni.example','u000002@uni.example','x@y.z')";
    assert_eq!(ask(two).await.1["value"].as_array().unwrap().len(), 2);
    assert_eq!(ask("/users?$orderby=displayName").await.0, 400);

    let step = |id: &str, url: &str, after: Value| json!({"id": id, "method": "GET", "url": url, "dependsOn": after});
    let batch = json!({"requests": [
        step("1", "/users/nobody@uni.example", json!([])),
        step("2", "/users/u000001@uni.example", json!(["1"])),
        step("3", "/users/u000001@uni.example", json!([])),
        step("4", "/users/u000002@uni.example", json!(["3"])),
    ]});
    let call = rig.client.post(format!("{}/v1.0/$batch", rig.url));
    let body: Value = call
        .bearer_auth(&token)
        .json(&batch)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    for response in body["responses"].as_array().unwrap() {
        let expected = match response["id"].as_str().unwrap() {
            "1" => 404,
            "2" => 424,
            _ => 200,
        };
        assert_eq!(response["status"], expected, "{response}");
    }
}

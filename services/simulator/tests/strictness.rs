//! What the simulator refuses, and what it holds against a run, over HTTP.

mod rig;

use calgrant_simulator::{DEMO_KEY_PEM, EVERYONE, Limits, SchoolOptions, TENANT_ID, TRUSTEE};
use serde_json::{Value, json};

use rig::{EXCHANGE, GRANTOR, GRAPH, READER, Rig, mailbox};

#[tokio::test]
async fn tokens_have_an_audience_and_apps_have_roles() {
    let rig = Rig::new(&SchoolOptions::default()).await;
    let exchange = rig.grantor().await;
    let users = format!("{}/v1.0/users", rig.url);
    let reply = rig
        .client
        .get(&users)
        .bearer_auth(&exchange)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 401);
    assert!(reply.headers().contains_key("request-id"));
    let graph = rig.token(GRANTOR, "grantor-secret-2", GRAPH).await;
    let reply = rig
        .client
        .get(&users)
        .bearer_auth(&graph)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 403);
    assert_eq!(
        reply.json::<Value>().await.unwrap()["error"]["code"],
        "Authorization_RequestDenied"
    );
    assert_eq!(
        rig.invoke(&graph, "Get-Mailbox", json!({})).await.status(),
        401
    );
    let reply = rig
        .ask_token(&[
            ("client_id", GRANTOR),
            ("client_secret", "wrong"),
            ("scope", GRAPH),
        ])
        .await;
    assert_eq!(
        reply.json::<Value>().await.unwrap()["error_codes"],
        json!([7_000_215])
    );
    rig.running.stop().await;
}

#[tokio::test]
async fn assertions_are_verified_and_used_once() {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64};
    let rig = Rig::new(&SchoolOptions::default()).await;
    let app = "bbbbbbbb-0000-0000-0000-000000000001";
    let der = |pem: &str| {
        STANDARD
            .decode(
                pem.lines()
                    .filter(|line| !line.starts_with("---"))
                    .collect::<String>(),
            )
            .unwrap()
    };
    let certificate = der(calgrant_simulator::DEMO_CERTIFICATE_PEM);
    let thumbprint = B64.encode(ring::digest::digest(&ring::digest::SHA256, &certificate));
    let claims = json!({
        "aud": format!("{}/{TENANT_ID}/oauth2/v2.0/token", rig.url),
        "iss": app, "sub": app, "jti": "one", "exp": 4_000_000_000_u64,
    });
    let head = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint});
    let signed = format!(
        "{}.{}",
        B64.encode(head.to_string()),
        B64.encode(claims.to_string())
    );
    let key = ring::rsa::KeyPair::from_pkcs8(&der(DEMO_KEY_PEM)).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    let random = ring::rand::SystemRandom::new();
    key.sign(
        &ring::signature::RSA_PSS_SHA256,
        &random,
        signed.as_bytes(),
        &mut signature,
    )
    .unwrap();
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let good = format!("{signed}.{}", B64.encode(&signature));
    signature[9] ^= 1;
    let bad = format!("{signed}.{}", B64.encode(&signature));
    for (assertion, status) in [(&bad, 401), (&good, 200), (&good, 401)] {
        let form = [
            ("client_id", app),
            ("scope", EXCHANGE),
            ("client_assertion_type", kind),
            ("client_assertion", assertion),
        ];
        assert_eq!(rig.ask_token(&form).await.status(), status);
    }
}

#[tokio::test]
async fn unknown_cmdlets_and_hints_are_refused() {
    let rig = Rig::new(&SchoolOptions::default()).await;
    let token = rig.grantor().await;
    let reply = rig.invoke(&token, "Get-Mailbox", json!({})).await;
    assert_eq!(reply.status(), 403);
    assert!(
        reply.headers()["x-ms-diagnostics"]
            .to_str()
            .unwrap()
            .starts_with("2000003;reason=")
    );
    // it's one NUL byte that calls itself gzip
    assert!(reply.text().await.is_err());
    let url = format!(
        "{}/adminapi/v2.0/{TENANT_ID}/MailboxFolderPermission",
        rig.url
    );
    let body = json!({"CmdletInput": {"CmdletName": "Get-MailboxFolderPermission",
        "Parameters": {"Identity": rig.folder(&token, &mailbox(1)).await}}});
    for (hint, status) in [("MBX:ada", 400), ("UPN:u000001@uni.example", 200)] {
        let call = rig
            .client
            .post(&url)
            .bearer_auth(&token)
            .header("X-AnchorMailbox", hint)
            .json(&body);
        assert_eq!(call.send().await.unwrap().status(), status, "{hint}");
    }
    let reply = rig
        .invoke(
            &token,
            "Get-MailboxFolderPermission",
            json!({"Identity": "nobody@uni.example:\\Calendar"}),
        )
        .await;
    let body: Value = reply.json().await.unwrap();
    let message = body["error"]["details"][0]["message"].as_str().unwrap();
    assert!(message.starts_with(
        "Ex6F9304|Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException|"
    ));
    assert_eq!(
        rig.put("/_simulator/dials", json!({"faults": {"typo": 1.0}}))
            .await,
        400
    );
}

#[tokio::test]
async fn groups_are_flat_paged_and_strict() {
    let rig = Rig::new(&SchoolOptions::default()).await;
    let token = rig.token(READER, "reader-secret", GRAPH).await;
    let ask = async |url: String, eventual: bool| {
        let call = rig.client.get(url).bearer_auth(&token);
        let call = if eventual {
            call.header("ConsistencyLevel", "eventual")
        } else {
            call
        };
        let reply = call.send().await.unwrap();
        (
            reply.status().as_u16(),
            reply.json::<Value>().await.unwrap(),
        )
    };
    let (_, groups) = ask(
        format!("{}/v1.0/groups?$filter=mail eq '{EVERYONE}'", rig.url),
        false,
    )
    .await;
    let id = groups["value"][0]["id"].as_str().unwrap();
    let members = format!(
        "{}/v1.0/groups/{id}/transitiveMembers/microsoft.graph.user?$top=90&$count=true",
        rig.url
    );
    assert_eq!(ask(members.clone(), false).await.0, 400);
    let (mut next, mut users) = (Some(members), 0);
    while let Some(url) = next {
        let (status, page) = ask(url, true).await;
        assert_eq!(status, 200);
        users += page["value"].as_array().unwrap().len();
        next = page["@odata.nextLink"].as_str().map(str::to_owned);
    }
    assert_eq!(users, 200);
}

/// A function of Graph: whom a group has, asked of one user at a time.
#[tokio::test]
async fn a_user_says_which_of_some_groups_it_is_in() {
    let rig = Rig::new(&SchoolOptions::default()).await;
    let token = rig.token(READER, "reader-secret", GRAPH).await;
    let url = format!("{}/v1.0", rig.url);
    let get = async |path: String| {
        let call = rig.client.get(format!("{url}{path}")).bearer_auth(&token);
        call.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let groups = get("/groups?$select=id".to_owned()).await;
    let ids = groups["value"].as_array().unwrap().iter();
    let ids: Vec<_> = ids.map(|group| group["id"].as_str().unwrap()).collect();
    let user = mailbox(1);
    let mut expected = Vec::new();
    for id in &ids {
        let members = get(format!("/groups/{id}/transitiveMembers?$top=999")).await;
        // One hides its members from this app.
        let mut members = members["value"].as_array().into_iter().flatten();
        if members.any(|member| member["userPrincipalName"] == user) {
            expected.push(*id);
        }
    }
    assert!(!expected.is_empty() && expected.len() < ids.len());
    let ask = async |user: &str, body: Value| {
        let call = rig
            .client
            .post(format!("{url}/users/{user}/checkMemberGroups"));
        let reply = call.bearer_auth(&token).json(&body).send().await.unwrap();
        (reply.status(), reply.json::<Value>().await.unwrap())
    };
    let (status, answer) = ask(&user, json!({"groupIds": ids})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["value"], json!(expected));
    let many = vec![ids[0]; 21];
    for (user, body, wanted) in [
        (user.as_str(), json!({"groupIds": many}), 400),
        (user.as_str(), json!({"groupIds": []}), 400),
        (user.as_str(), json!({"groupIds": ["no-guid"]}), 400),
        (user.as_str(), json!({}), 400),
        ("nobody@uni.example", json!({"groupIds": ids}), 404),
    ] {
        assert_eq!(ask(user, body.clone()).await.0, wanted, "{user} {body}");
    }
    let body = json!({"groupIds": ids});
    let step = |headers: Value| {
        json!({"requests": [{"id": "1", "method": "POST", "url": format!("/users/{user}/checkMemberGroups"),
            "headers": headers, "body": body}]})
    };
    for (headers, wanted) in [
        (json!({"Content-Type": "application/json"}), 200),
        (json!({}), 400),
    ] {
        let call = rig.client.post(format!("{url}/$batch")).bearer_auth(&token);
        let reply = call.json(&step(headers)).send().await.unwrap();
        assert_eq!(reply.status(), wanted);
    }
}

#[tokio::test]
async fn batches_take_ten_with_their_own_tokens() {
    let rig = Rig::new(&SchoolOptions {
        read_lag_max_secs: 0,
        ..SchoolOptions::default()
    })
    .await;
    let token = rig.grantor().await;
    let base = format!("{}/adminapi/beta/{TENANT_ID}", rig.url);
    let item = |number: usize, signed: bool| {
        let headers = if signed {
            json!({"Authorization": format!("Bearer {token}")})
        } else {
            json!({})
        };
        let parameters = json!({"Identity": mailbox(number), "FolderScope": "Calendar"});
        json!({"id": number.to_string(), "method": "POST", "url": format!("{base}/InvokeCommand?"), "headers": headers,
            "body": {"CmdletInput": {"CmdletName": "Get-MailboxFolderStatistics", "Parameters": parameters}}})
    };
    let send = async |items: Vec<Value>| {
        let call = rig
            .client
            .post(format!("{base}/$batch"))
            .bearer_auth(&token)
            .json(&json!({"requests": items}));
        call.send().await.unwrap()
    };
    assert_eq!(
        send((0..11).map(|n| item(n, true)).collect())
            .await
            .status(),
        400
    );
    let body: Value = send((0..10).map(|n| item(n, n != 3)).collect())
        .await
        .json()
        .await
        .unwrap();
    for response in body["responses"].as_array().unwrap() {
        let expected = match response["id"].as_str().unwrap() {
            "3" => 401,
            "7" => 404, // a user without a mailbox
            _ => 200,
        };
        assert_eq!(response["status"], expected, "{response}");
    }
    assert_eq!(rig.get("/_simulator/report").await["round_trips"], 2);
}

#[tokio::test]
async fn lost_replies_took_effect_and_foreign_changes_show() {
    let rig = Rig::new(&SchoolOptions::default()).await;
    let token = rig.grantor().await;
    let identity = rig.folder(&token, &mailbox(1)).await;
    rig.put("/_simulator/dials", json!({"faults": {"lost_reply": 1.0}}))
        .await;
    let grant = json!({"Identity": identity, "User": TRUSTEE, "AccessRights": ["Author"]});
    let lost = rig
        .try_invoke(&token, "Add-MailboxFolderPermission", grant.clone())
        .await;
    let answered = match lost {
        Ok(reply) => reply.status() == 200 && reply.bytes().await.is_ok(),
        Err(_) => false,
    };
    assert!(!answered);
    rig.put("/_simulator/dials", json!({"faults": {}})).await;
    let again = rig
        .invoke(&token, "Add-MailboxFolderPermission", grant.clone())
        .await;
    assert!(
        again
            .text()
            .await
            .unwrap()
            .contains("UserAlreadyExistsInPermissionEntryException")
    );
    let same = rig
        .invoke(&token, "Set-MailboxFolderPermission", grant)
        .await;
    assert!(same.headers().contains_key("x-warnings"));
    let report = rig.get("/_simulator/report").await;
    assert_eq!(
        (&report["writes"], &report["managed_entries_changed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(report["foreign_entries_changed"], 0);
    let default = json!({"Identity": identity, "User": "Default", "AccessRights": "Owner"});
    assert_eq!(
        rig.invoke(&token, "Set-MailboxFolderPermission", default)
            .await
            .status(),
        200
    );
    let report = rig.get("/_simulator/report").await;
    assert_eq!(report["foreign_entries_changed"], 1);
    assert_eq!(report["changes"][0]["before"], json!(["AvailabilityOnly"]));
}

#[tokio::test]
async fn reads_lag_and_the_truth_does_not() {
    let rig = Rig::new(&SchoolOptions {
        read_lag_max_secs: 600,
        seed: 3,
        ..SchoolOptions::default()
    })
    .await;
    let token = rig.grantor().await;
    let identity = rig.folder(&token, &mailbox(5)).await;
    let grant = json!({"Identity": identity, "User": TRUSTEE, "AccessRights": "Author"});
    assert_eq!(
        rig.invoke(&token, "Add-MailboxFolderPermission", grant)
            .await
            .status(),
        200
    );
    let seen = rig
        .invoke(
            &token,
            "Get-MailboxFolderPermission",
            json!({"Identity": identity}),
        )
        .await;
    assert!(!seen.text().await.unwrap().contains("Timetable Delegates"));
    let truth = rig
        .get(&format!("/_simulator/permissions?mailbox={}", mailbox(5)))
        .await;
    assert!(
        truth
            .as_array()
            .unwrap()
            .contains(&json!({"principal": TRUSTEE, "rights": ["Author"]}))
    );
    let proof = rig
        .get(&format!(
            "/_simulator/proof?group={EVERYONE}&trustee={TRUSTEE}"
        ))
        .await;
    assert!(
        proof["mailboxes"].as_u64().unwrap() > 190 && proof["exactly_author"].as_u64().unwrap() > 0
    );
}

#[tokio::test]
async fn calls_over_a_limit_are_violations() {
    let rig = Rig::new(&SchoolOptions::default()).await;
    let token = rig.grantor().await;
    let limits = Limits {
        max_in_flight: None,
        windows: vec![(2, 60)],
        ..Limits::default()
    };
    assert_eq!(
        rig.put(
            &format!("/_simulator/apps/{GRANTOR}"),
            json!({"limits": limits})
        )
        .await,
        200
    );
    let ask = json!({"Identity": mailbox(1), "FolderScope": "Calendar"});
    for status in [200, 200, 429] {
        let reply = rig
            .invoke(&token, "Get-MailboxFolderStatistics", ask.clone())
            .await;
        assert_eq!(reply.status(), status);
        assert_eq!(reply.headers().contains_key("retry-after"), status == 429);
    }
    let report = rig.get("/_simulator/report").await;
    assert_eq!(report["limit_violations"], 1);
    assert_eq!(report["violations"][0]["limit"], "app: 2 in 60 s");
}

#[tokio::test]
async fn a_large_school_starts_soon() {
    let rig = Rig::new(&SchoolOptions {
        mailboxes: 100_000,
        ..SchoolOptions::default()
    })
    .await;
    let proof = rig
        .get(&format!(
            "/_simulator/proof?group={EVERYONE}&trustee={TRUSTEE}"
        ))
        .await;
    assert!(proof["mailboxes"].as_u64().unwrap() > 99_000);
}

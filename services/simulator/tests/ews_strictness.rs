//! What EWS doesn't take, whom it throttles, and what it meets on bad days.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod premises;
mod rig;

use premises::{
    Answer, EVA, FULL, IMP, Login, SMALL, by_address, calendar_of, entry, envelope, get_folder,
    open, open_with, update_folder,
};
use rig::Rig;
use serde_json::{Value, json};

const TENANT: &str = "33333333-4444-5555-6666-777777777777";

async fn post(rig: &Rig, login: Login, text: String) -> Answer {
    let reply = rig.send(login, text).await;
    Answer {
        status: reply.status().as_u16(),
        text: reply.text().await.unwrap(),
    }
}

#[tokio::test]
async fn what_the_schema_does_not_have_is_a_fault() {
    let rig = open().await;
    let good = get_folder(&[&calendar_of("bob@school.example")]);
    let id = "<t:FolderId Id=\"AAMk\" ChangeKey=\"x\"/>";
    let update = update_folder(&[(id, &by_address("eva@school.example", "Author"))]);
    let flag = "<t:CanCreateItems>true</t:CanCreateItems>";
    let user =
        "<t:UserId><t:PrimarySmtpAddress>eva@school.example</t:PrimarySmtpAddress></t:UserId>";
    let event = "<m:CreateItem SendMeetingInvitations=\"SendToNone\"><m:Items><t:CalendarItem><t:End>2026-12-01T10:00:00Z</t:End><t:Start>2026-12-01T09:00:00Z</t:Start></t:CalendarItem></m:Items></m:CreateItem>";
    for body in [
        // orders
        good.replacen("<m:FolderShape>", "<m:FolderIds/><m:FolderShape>", 1),
        good.replace("<t:BaseShape>IdOnly</t:BaseShape>", ""),
        update.replace(user, &format!("{flag}{user}")),
        event.to_owned(),
        // names and spaces
        good.replace("m:GetFolder>", "m:GetFolders>"),
        good.replace("m:GetFolder>", "t:GetFolder>"),
        good.replace("t:BaseShape>", "m:BaseShape>"),
        update
            .replace("CanCreate", "")
            .replace("CalendarPermissions>", "Permissions>"),
        update.replace(
            user,
            &format!("{user}<t:CanCreateSubfolders>true</t:CanCreateSubfolders>"),
        ),
        // values
        good.replace("Id=\"calendar\"", "Id=\"calender\""),
        good.replace("IdOnly", "Everything"),
        good.replace("folder:PermissionSet", "folder:Permissions"),
        update.replace("Author", "Autor"),
        update.replace("Author", "Custom").replace(
            user,
            &format!("{user}<t:CanCreateItems>yes</t:CanCreateItems>"),
        ),
        // what is missing, and what is too much
        "<m:GetFolder/>".to_owned(),
        String::new(),
        good.clone() + &good,
        good.replace("<m:FolderIds>", "<m:FolderIds>text"),
        good.replace("Id=\"calendar\"", ""),
        good.replace("Id=\"calendar\"", "Id=\"calendar\" Name=\"x\""),
        update_folder(&[]),
    ] {
        let answer = rig.ews(FULL, &body).await;
        let found = (answer.status, answer.fault());
        assert_eq!(found, (500, "ErrorSchemaValidation".to_owned()), "{body}");
        assert_eq!(answer.all("t:LineNumber"), ["4"], "{}", answer.text);
        assert!(!answer.all("t:Violation")[0].is_empty());
    }
    let whole = envelope("", &good);
    for text in [
        String::new(),
        whole[..whole.len() - 20].to_owned(),
        "<hello/>".to_owned(),
        whole.replace(
            "http://schemas.xmlsoap.org/soap/envelope/",
            "https://schemas.xmlsoap.org/soap/envelope/",
        ),
        format!("<!DOCTYPE x>{}", &whole[39..]),
    ] {
        let answer = post(&rig, FULL, text).await;
        assert_eq!(
            (answer.status, answer.fault().as_str()),
            (500, "ErrorSchemaValidation")
        );
    }
    // another prefix is the same
    let other = whole.replace("soap:", "x:").replace(":soap=", ":x=");
    assert_eq!(post(&rig, FULL, other).await.codes(), ["NoError"]);
    assert_eq!(rig.get("/_simulator/report").await["writes"], 0);
}

#[tokio::test]
async fn versions_are_known_ones() {
    let rig = open().await;
    let body = get_folder(&[&calendar_of("bob@school.example")]);
    for (version, code) in [
        ("Exchange2016", ""),
        ("Exchange2013_SP1", ""),
        ("Exchange2019", "ErrorInvalidServerVersion"),
    ] {
        let header = format!("<t:RequestServerVersion Version=\"{version}\"/>");
        assert_eq!(rig.ews_with(FULL, &header, &body).await.fault(), code);
    }
    let two = "<t:ExchangeImpersonation><t:ConnectingSID><t:SmtpAddress>a@x</t:SmtpAddress><t:SID>S-1</t:SID></t:ConnectingSID></t:ExchangeImpersonation>";
    assert_eq!(
        rig.ews_with(IMP, two, &body).await.fault(),
        "ErrorSchemaValidation"
    );
    let unserved = rig.ews(FULL, "<m:MoveItem/>").await;
    assert_eq!(unserved.fault(), "ErrorInvalidOperation");
}

#[tokio::test]
async fn who_cannot_sign_in_is_told_nothing() {
    let rig = open().await;
    let text = envelope("", &get_folder(&[&calendar_of("bob@school.example")]));
    for login in [
        (FULL.0, "wrong"),
        ("ghost@school.example", "x"),
        ("SCHOOL\\nobody", "x"),
        ("sa-full", FULL.1),
        ("SCHOOL\\SA-FULL", FULL.1),
        ("SA-Full@School.example", FULL.1),
    ] {
        let reply = rig.send(login, text.clone()).await;
        let known = login.1 == FULL.1 && login.0 != "sa-full";
        assert_eq!(reply.status(), if known { 200 } else { 401 }, "{}", login.0);
        assert_eq!(reply.headers().contains_key("www-authenticate"), !known);
    }
    let url = format!("{}/EWS/Exchange.asmx", rig.url);
    let call = rig
        .client
        .post(&url)
        .header("content-type", "text/xml")
        .body(text.clone());
    assert_eq!(call.send().await.unwrap().status(), 401);
    assert_eq!(rig.client.get(&url).send().await.unwrap().status(), 405);
    let json = rig
        .client
        .post(&url)
        .basic_auth(FULL.0, Some(FULL.1))
        .json(&json!({}));
    assert_eq!(json.send().await.unwrap().status(), 415);
    // ten in a row lock the account, for half an hour
    for _ in 0..10 {
        assert_eq!(rig.send((EVA.0, "wrong"), text.clone()).await.status(), 401);
    }
    assert_eq!(rig.send(EVA, text.clone()).await.status(), 401);
    rig.advance(1_800_000).await;
    assert_eq!(rig.send(EVA, text.clone()).await.status(), 200);
    let off = json!({"disabled": true});
    assert_eq!(
        rig.put("/_simulator/accounts/eva@school.example", off)
            .await,
        200
    );
    assert_eq!(rig.send(EVA, text).await.status(), 401);
}

async fn of_account(rig: &Rig, name: &str) -> Value {
    rig.get("/_simulator/report").await["onprem"][TENANT]["accounts"][name].clone()
}

#[tokio::test]
async fn a_spent_balance_shuts_out_for_five_minutes() {
    let rig = open().await;
    let small = "sa-small@school.example";
    assert_eq!(
        rig.put("/_simulator/dials", json!({"ews_latency_ms": 300}))
            .await,
        200
    );
    assert_eq!(
        rig.calendar(SMALL, "bob@school.example").await.codes(),
        ["NoError"]
    );
    let seen = of_account(&rig, small).await;
    assert_eq!(seen["ews"]["micro_delays"], 1, "{seen}");
    let shut = rig.calendar(SMALL, "bob@school.example").await;
    assert_eq!(
        (shut.status, shut.fault().as_str()),
        (500, "ErrorServerBusy")
    );
    let name = "Name=\"BackOffMilliseconds\">";
    let wait = shut
        .text
        .split(name)
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    assert_eq!(wait.parse::<u64>().unwrap(), 300_000);
    // others aren't
    assert_eq!(
        rig.calendar(FULL, "bob@school.example").await.codes(),
        ["NoError"]
    );
    rig.advance(2000).await;
    assert_eq!(
        rig.calendar(SMALL, "bob@school.example").await.fault(),
        "ErrorServerBusy"
    );
    rig.advance(300_000).await;
    assert_eq!(
        rig.calendar(SMALL, "bob@school.example").await.codes(),
        ["NoError"]
    );
    let seen = of_account(&rig, small).await;
    assert_eq!(seen["ews"]["refused_by"]["busy"], 2);
    assert_eq!(seen["ews"]["early_calls"], 1);
    let report = rig.get("/_simulator/report").await;
    assert_eq!(report["limit_violations"], 2);
    assert_eq!(report["violations_by_app"][small]["EWSCutoffBalance"], 2);
    // another policy can be given while it runs
    let change = json!({"policy": "default"});
    assert_eq!(
        rig.put("/_simulator/accounts/SCHOOL%5Csa-small", change)
            .await,
        200
    );
    for _ in 0..3 {
        assert_eq!(
            rig.calendar(SMALL, "bob@school.example").await.codes(),
            ["NoError"]
        );
    }
}

#[tokio::test]
async fn the_balance_is_looked_at_between_the_folders_of_a_request() {
    let rig = open().await;
    assert_eq!(
        rig.put("/_simulator/dials", json!({"ews_item_latency_ms": 200}))
            .await,
        200
    );
    let id = calendar_of("bob@school.example");
    let answer = rig.ews(SMALL, &get_folder(&[&id, &id, &id])).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.codes(),
        ["NoError", "ErrorServerBusy", "ErrorServerBusy"]
    );
    assert!(answer.text.contains("BackOffMilliseconds"));
}

#[tokio::test]
async fn as_many_requests_are_under_way_as_the_policy_has() {
    let rig = open().await;
    assert_eq!(
        rig.put("/_simulator/dials", json!({"ews_latency_ms": 700}))
            .await,
        200
    );
    let (one, two, third) = tokio::join!(
        rig.calendar(SMALL, "bob@school.example"),
        rig.calendar(SMALL, "dave@school.example"),
        async {
            let under_way = |report: &Value| {
                report["onprem"][TENANT]["accounts"]["sa-small@school.example"]["ews"]["in_flight"]
                    == 2
            };
            rig.until("/_simulator/report", under_way).await;
            rig.calendar(SMALL, "eva@school.example").await
        }
    );
    assert_eq!(
        (one.codes(), two.codes()),
        (vec!["NoError".to_owned()], vec!["NoError".to_owned()])
    );
    assert_eq!(
        (third.status, third.fault().as_str()),
        (500, "ErrorExceededConnectionCount")
    );
    assert!(third.text.contains("Name=\"MaxConcurrencyLimit\">2<"));
    assert!(!third.text.contains("BackOff"));
}

#[tokio::test]
async fn who_impersonates_spends_the_budget_of_the_mailbox() {
    let rig = open().await;
    let header = "<t:ExchangeImpersonation><t:ConnectingSID><t:SmtpAddress>bob@school.example</t:SmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>";
    let body = get_folder(&["<t:DistinguishedFolderId Id=\"calendar\"/>"]);
    assert_eq!(rig.ews_with(IMP, header, &body).await.codes(), ["NoError"]);
    let report = rig.get("/_simulator/report").await;
    let site = &report["onprem"][TENANT];
    assert_eq!(site["impersonated_mailboxes"]["budgets"], 1);
    assert_eq!(
        site["accounts"]["sa-imp@school.example"]["ews"]["admitted"],
        0
    );
}

#[tokio::test]
async fn who_impersonates_may_have_to_spend_its_own_budget() {
    let caller = "domain = \"SCHOOL\"\nimpersonation_budget = \"caller\"";
    let rig = open_with("domain = \"SCHOOL\"", caller).await;
    let header = "<t:ExchangeImpersonation><t:ConnectingSID><t:SmtpAddress>bob@school.example</t:SmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>";
    let body = get_folder(&["<t:DistinguishedFolderId Id=\"calendar\"/>"]);
    assert_eq!(rig.ews_with(IMP, header, &body).await.codes(), ["NoError"]);
    let seen = of_account(&rig, "sa-imp@school.example").await;
    assert_eq!(seen["ews"]["admitted"], 1);
}

#[tokio::test]
async fn a_site_may_live_faster_than_its_clients() {
    let rig = open_with(
        "domain = \"SCHOOL\"",
        "domain = \"SCHOOL\"\ntime_scale = 100",
    )
    .await;
    let dials = json!({"ews_latency_ms": 20_000});
    assert_eq!(rig.put("/_simulator/dials", dials).await, 200);
    assert_eq!(
        rig.calendar(SMALL, "bob@school.example").await.codes(),
        ["NoError"]
    );
    let seen = of_account(&rig, "sa-small@school.example").await;
    assert!(
        seen["ews"]["worked_ms"].as_u64().unwrap() >= 20_000,
        "{seen}"
    );
    let shut = rig.calendar(SMALL, "bob@school.example").await;
    assert!(
        shut.text.contains("Name=\"BackOffMilliseconds\">3000<"),
        "{}",
        shut.text
    );
    rig.advance(3000).await;
    assert_eq!(
        rig.calendar(SMALL, "bob@school.example").await.codes(),
        ["NoError"]
    );
}

#[tokio::test]
async fn a_storm_of_the_cloud_is_a_busy_server_here() {
    let rig = open().await;
    let storm = json!({"on": true, "mode": "429", "retry_after": 7});
    assert_eq!(rig.put("/_simulator/outage", storm).await, 200);
    let answer = rig.calendar(FULL, "bob@school.example").await;
    assert_eq!(
        (answer.status, answer.fault().as_str()),
        (500, "ErrorServerBusy")
    );
    assert!(answer.text.contains(">7000<"));
}

/// A simulator that injects one fault, once, and what a read of a calendar says then, and the one after it.
async fn faulty(fault: &str) -> (Answer, Answer) {
    let rig = open().await;
    let dials = json!({"faults": {fault: {"times": 1}}});
    assert_eq!(rig.put("/_simulator/dials", dials).await, 200);
    let first = rig.calendar(FULL, "bob@school.example").await;
    (first, rig.calendar(FULL, "bob@school.example").await)
}

#[tokio::test]
async fn mailbox_move_in_progress() {
    let (first, second) = faulty("mailbox_move_in_progress").await;
    assert_eq!(first.codes(), ["ErrorMailboxMoveInProgress"]);
    assert_eq!(second.codes(), ["NoError"]);
}

#[tokio::test]
async fn hidden_server_busy() {
    let (first, second) = faulty("hidden_server_busy").await;
    assert_eq!(first.codes(), ["ErrorInternalServerError"]);
    assert!(
        first
            .text
            .contains("Name=\"InnerErrorResponseCode\">ErrorServerBusy<")
    );
    assert_eq!(second.codes(), ["NoError"]);
}

#[tokio::test]
async fn html_error_page() {
    let (first, second) = faulty("html_error_page").await;
    assert_eq!(first.status, 500);
    assert!(first.text.contains("Server Error in '/EWS' Application"));
    assert_eq!(second.codes(), ["NoError"]);
}

#[tokio::test]
async fn the_faults_of_the_cloud_look_otherwise_here() {
    for (fault, status, code) in [
        ("throttle_429", 500, "ErrorServerBusy"),
        ("throttle_no_retry_after", 500, "ErrorServerBusy"),
        ("server_error_500", 500, "ErrorInternalServerError"),
        ("unavailable_503", 503, ""),
        ("gateway_timeout_504", 504, ""),
        ("token_expired_401", 401, ""),
    ] {
        let (first, second) = faulty(fault).await;
        assert_eq!(
            (first.status, first.fault().as_str()),
            (status, code),
            "{fault}"
        );
        assert_eq!(second.codes(), ["NoError"]);
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_was_meant_all_the_same() {
    let rig = open().await;
    let id = rig.calendar(FULL, "bob@school.example").await.folder_id();
    let dials = json!({"faults": {"error_after_effect": {"times": 1, "only": "UpdateFolder"}}});
    assert_eq!(rig.put("/_simulator/dials", dials).await, 200);
    let list = by_address("delegates@school.example", "Author")
        + &entry(
            "<t:DistinguishedUser>Default</t:DistinguishedUser>",
            "Reviewer",
        );
    let answer = rig.set(FULL, &id, &list).await;
    assert_eq!(answer.fault(), "ErrorInternalServerTransientError");
    let now = rig.list("bob@school.example").await;
    assert!(now.contains(&("delegates@school.example".to_owned(), 7195)));
}

#[tokio::test]
async fn the_owner_may_edit_between_read_and_write() {
    let rig = open().await;
    let dials = json!({"faults": {"user_edits_between": {"times": 1}}});
    assert_eq!(rig.put("/_simulator/dials", dials).await, 200);
    let read = rig.calendar(FULL, "bob@school.example").await;
    let list = by_address("delegates@school.example", "Author");
    let answer = rig.set(FULL, &read.folder_id(), &list).await;
    assert_eq!(answer.codes(), ["ErrorIrresolvableConflict"]);
}

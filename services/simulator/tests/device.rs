//! People who sign in with another device: what the endpoints answer until they have, and after.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod rig;

use calgrant_simulator::{SETUP_APP, SchoolOptions, TENANT_ID};
use serde_json::{Value, json};

use rig::{EXCHANGE, GRAPH, READER, Rig};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const ADMIN: &str = "admin@uni.example";

struct Desk {
    rig: Rig,
    scope: String,
}

impl Desk {
    async fn open() -> Self {
        let options = SchoolOptions {
            mailboxes: 20,
            unprepared: true,
            ..SchoolOptions::default()
        };
        Self {
            rig: Rig::new(&options).await,
            scope: format!("{GRAPH} offline_access"),
        }
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let url = format!("{}/{TENANT_ID}/oauth2/v2.0/{path}", self.rig.url);
        let reply = self.rig.client.post(url).form(form).send().await;
        reply.unwrap().json().await.unwrap()
    }

    async fn begin(&self, client_id: &str) -> Value {
        let form = [("client_id", client_id), ("scope", self.scope.as_str())];
        self.post("devicecode", &form).await
    }

    /// Asks for the token, a second after whatever was before.
    async fn poll(&self, client_id: &str, begun: &Value) -> Value {
        self.rig.advance(1000).await;
        self.poll_at_once(client_id, begun).await
    }

    async fn poll_at_once(&self, client_id: &str, begun: &Value) -> Value {
        let form = [
            ("grant_type", GRANT),
            ("client_id", client_id),
            ("scope", self.scope.as_str()),
            ("device_code", begun["device_code"].as_str().unwrap()),
        ];
        self.post("token", &form).await
    }

    async fn enter(&self, begun: &Value, approve: bool) -> u16 {
        let code = begun["user_code"].as_str().unwrap();
        let url = format!("{}/_simulator/device_codes/{code}", self.rig.url);
        let entered = json!({"user": ADMIN, "approve": approve});
        let call = self.rig.client.post(url).json(&entered);
        call.send().await.unwrap().status().as_u16()
    }
}

#[tokio::test]
async fn a_person_signs_in_and_their_tokens_are_taken() {
    let desk = Desk::open().await;
    let app = SETUP_APP.to_string();
    let begun = desk.begin(&app).await;
    let message = begun["message"].as_str().unwrap();
    assert!(message.contains(begun["user_code"].as_str().unwrap()));
    let pending = desk.poll(&app, &begun).await;
    assert_eq!(pending["error"], "authorization_pending");
    assert_eq!(desk.poll_at_once(&app, &begun).await["error"], "slow_down");
    assert_eq!(desk.enter(&begun, true).await, 200);
    let graph = desk.poll(&app, &begun).await;
    let users = desk
        .rig
        .client
        .get(format!("{}/v1.0/users", desk.rig.url))
        .bearer_auth(graph["access_token"].as_str().unwrap());
    assert_eq!(users.send().await.unwrap().status(), 200);
    let again = desk.poll(&app, &begun).await;
    assert_eq!(
        again["error"], "bad_verification_code",
        "a code is good once"
    );

    let refresh = graph["refresh_token"].as_str().unwrap();
    let form = |client_id| {
        [
            ("grant_type", "refresh_token"),
            ("client_id", client_id),
            ("scope", EXCHANGE),
            ("refresh_token", refresh),
        ]
    };
    let exchange = desk.post("token", &form(&app)).await;
    let exchange = exchange["access_token"].as_str().unwrap();
    let groups = desk
        .rig
        .invoke(exchange, "Get-DistributionGroup", json!({}));
    assert_eq!(groups.await.status(), 200);
    let stolen = desk.post("token", &form(READER)).await;
    assert_eq!(stolen["error"], "invalid_grant");
}

#[tokio::test]
async fn nobody_signs_in_who_declines_comes_late_or_may_not() {
    let desk = Desk::open().await;
    let app = SETUP_APP.to_string();
    let declined = desk.begin(&app).await;
    assert_eq!(desk.enter(&declined, false).await, 200);
    let error = desk.poll(&app, &declined).await;
    assert_eq!(error["error"], "authorization_declined");
    let late = desk.begin(&app).await;
    desk.rig.advance(900_000).await;
    assert_eq!(desk.poll(&app, &late).await["error"], "expired_token");
    // Apps that have a secret don't let people sign in so, and nobody signs in to another app.
    let secret = desk.begin(READER).await;
    assert_eq!(desk.enter(&secret, true).await, 200);
    let foreign = desk.poll(&app, &secret).await;
    assert_eq!(foreign["error"], "bad_verification_code");
    let error = desk.poll(READER, &secret).await;
    assert_eq!(error["error_codes"], json!([7_000_218]));
    let unknown = desk.begin("dddddddd-0000-0000-0000-000000000000").await;
    assert_eq!(unknown["error"], "unauthorized_client");
    assert_eq!(desk.enter(&json!({"user_code": "NONE"}), true).await, 404);
}

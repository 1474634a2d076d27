//! The same over TLS.

mod premises;
mod rig;

use calgrant_simulator::Scenario;
use premises::{FULL, SCHOOL, calendar_of, envelope, get_folder};
use reqwest::{Certificate, Client};
use rig::Rig;

#[tokio::test]
async fn everything_is_served_over_tls_with_a_certificate_to_trust() {
    let scenario = Scenario::from_toml(&format!("https = \"127.0.0.1:0\"\n{SCHOOL}")).unwrap();
    let rig = Rig::of(scenario).await;
    let pem = rig
        .client
        .get(format!("{}/_simulator/certificate", rig.url));
    let pem = pem.send().await.unwrap().bytes().await.unwrap();
    let https = rig.running.https.unwrap();
    let url = format!("https://localhost:{}/EWS/Exchange.asmx", https.port());
    let ask = |client: &Client| {
        client
            .post(&url)
            .basic_auth(FULL.0, Some(FULL.1))
            .header("content-type", "text/xml")
            .body(envelope(
                "",
                &get_folder(&[&calendar_of("bob@school.example")]),
            ))
            .send()
    };
    let trust = Certificate::from_pem(&pem).unwrap();
    let trusting = Client::builder().tls_certs_only([trust]).build().unwrap();
    let text = ask(&trusting).await.unwrap().text().await.unwrap();
    assert!(text.contains("NoError"), "{text}");
    // who trusts nobody in particular doesn't trust it
    assert!(ask(&rig.client).await.is_err());
    rig.running.stop().await;
}

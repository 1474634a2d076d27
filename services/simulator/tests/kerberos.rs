//! Kerberos at the door, by a client that others wrote: pypsrp, over http with sealed bodies and over TLS.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod foreign;
mod premises;
mod rig;

use calgrant_simulator::Scenario;
use premises::SCHOOL;
use rig::Rig;
use serde_json::json;

/// Set by `cargo xtask test` where there is a domain controller, and Python's packages for Kerberos.
fn set(variable: &str) -> Option<String> {
    let set = std::env::var(variable).ok();
    if set.is_none() {
        eprintln!("{variable} is not set: nobody signs in by Kerberos here");
    }
    set
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pypsrp_signs_in_and_seals() {
    signs_in_and_seals("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pypsrp_calls_it_by_the_other_name() {
    signs_in_and_seals("kerberos_by_name = true\n").await;
}

async fn signs_in_and_seals(onprem: &str) {
    let (Some(keytab), Some(_)) = (
        set("CALGRANT_TEST_KERBEROS_KEYTAB"),
        set("CALGRANT_TEST_KERBEROS_PYTHON"),
    ) else {
        return;
    };
    // It takes the realm as it is written.
    let account = set("CALGRANT_TEST_KERBEROS_ACCOUNT").unwrap();
    let (name, realm) = account.split_once('@').unwrap();
    let account = format!("{name}@{}", realm.to_uppercase());
    let password = set("CALGRANT_TEST_KERBEROS_PASSWORD").unwrap();
    let with = format!("[tenant.onprem]\nwithout_basic = true\n{onprem}");
    let school = SCHOOL
        .replace("school.example", "calgrant.test")
        .replace("[tenant.onprem]\n", &with);
    let text = format!("https = \"127.0.0.1:0\"\nkeytab = {keytab:?}\n{school}");
    let rig = Rig::of(Scenario::from_toml(&text).unwrap()).await;
    let certificate = std::env::temp_dir().join(format!("{}.pem", uuid::Uuid::new_v4()));
    std::fs::write(&certificate, rig.running.certificate().unwrap()).unwrap();
    let port = |address: std::net::SocketAddr| address.port();
    let http = format!("http://localhost:{}", port(rig.running.address));
    let https = format!("https://localhost:{}", port(rig.running.https.unwrap()));
    let identity = |number: usize| ["bob@calgrant.test", "dave@calgrant.test"][number];
    for (number, (url, trusted)) in [(&http, ""), (&https, certificate.to_str().unwrap())]
        .into_iter()
        .enumerate()
    {
        let calls = [
            json!(["Get-Mailbox", {"Identity": identity(number)}]),
            json!(["Get-MailboxFolderStatistics", {"Identity": identity(number), "FolderScope": "Calendar"}]),
        ];
        let input: String = calls.iter().map(|call| format!("{call}\n")).collect();
        let arguments = [url.as_str(), &account, &password, trusted];
        let done = foreign::run("cmdlets.py", &arguments, &input)
            .await
            .unwrap();
        assert_eq!(
            done[0]["objects"][0]["PrimarySmtpAddress"],
            identity(number)
        );
        assert_eq!(done[1]["errors"], json!([]));
    }
    std::fs::remove_file(certificate).unwrap();
}

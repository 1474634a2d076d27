//! The suite that every adapter passes, by each way this one has to the server.

mod rig;

use calgrant_exchange::{
    Ask,
    conformance::{self, asking},
};
use calgrant_exchange_onprem::{
    Access, EitherCalendars, EwsCalendars, PowerShellCalendars, Server, SignIn,
};
use calgrant_runtime::clock;
use rig::{Rig, basic, server};

fn ews(url: &str, sign_in: SignIn, access: Access) -> EwsCalendars {
    let server = server(url, "/EWS/Exchange.asmx");
    EwsCalendars::new(&server, sign_in, access, clock::now).expect("good settings")
}

fn powershell(url: &str) -> PowerShellCalendars {
    let server = server(url, "/PowerShell/");
    let sign_in = basic("sa-full", "full:secret");
    PowerShellCalendars::new(&server, sign_in, 2, clock::now).expect("good settings")
}

#[tokio::test]
async fn by_ews_with_full_access() {
    let full = basic("sa-full", "full:secret");
    let rig = Rig::new(|url| Box::new(ews(url, full, Access::Full))).await;
    conformance::calendars::all(&rig.whole_lists()).await;
}

#[tokio::test]
async fn by_ews_acting_for_owners() {
    let acting = basic("sa-acting", "acting");
    let rig = Rig::new(|url| Box::new(ews(url, acting, Access::Impersonation))).await;
    conformance::calendars::all(&rig.whole_lists()).await;
}

#[tokio::test]
async fn by_ews_signed_in_by_ntlm() {
    let full = SignIn::Ntlm {
        user: "UNI\\sa-full".into(),
        password: "full:secret".into(),
    };
    let rig = Rig::new(|url| Box::new(ews(url, full, Access::Full))).await;
    conformance::calendars::all(&rig.whole_lists()).await;
}

#[tokio::test]
async fn ntlm_is_bound_to_the_servers_certificate() {
    let rig = Rig::new(|url| Box::new(powershell(url))).await;
    let port = rig.running.https.map(|https| https.port());
    let sealed = Server {
        url: format!("https://localhost:{}/EWS/Exchange.asmx", port.unwrap_or(0)),
        ca_pem: rig.running.certificate().map(str::to_owned),
    };
    for (user, password, good) in [
        ("sa-full@uni.example", "full:secret", true),
        ("UNI\\sa-full", "full:secret", true),
        ("UNI\\sa-full", "wrong", false),
    ] {
        let sign_in = SignIn::Ntlm {
            user: user.into(),
            password: password.into(),
        };
        let calendars = EwsCalendars::new(&sealed, sign_in, Access::Full, clock::now);
        let calendars = calendars.expect("good settings");
        let mailbox = rig.free();
        let found = asking::one(&calendars, &mailbox, Ask::FindCalendar).await.1;
        assert_eq!(found.is_ok(), good, "{user}: {found:?}");
    }
}

#[tokio::test]
async fn by_powershell() {
    let rig = Rig::new(|url| Box::new(powershell(url))).await;
    conformance::calendars::all(&rig).await;
    rig.calendars.sign_out().await;
    let report = rig.get("report").await;
    let text = report.to_string();
    assert!(
        text.contains("\"open\":0") && !text.contains("\"open\":1"),
        "{text}"
    );
}

#[tokio::test]
async fn by_ews_and_powershell() {
    let rig = Rig::new(|url| {
        let full = basic("sa-full", "full:secret");
        Box::new(EitherCalendars::new(
            ews(url, full, Access::Full),
            powershell(url),
        ))
    });
    conformance::calendars::all(&rig.await.whole_lists()).await;
}

//! What no client may send to the directory, and what becomes of searches on bad days: byte by byte.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod premises;
mod rig;

use calgrant_simulator::Scenario;
use premises::SCHOOL;
use rig::Rig;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn school() -> Rig {
    let mut scenario = Scenario::from_toml(SCHOOL).unwrap();
    scenario.ldap = Some("127.0.0.1:0".parse().unwrap());
    Rig::of(scenario).await
}

/// A value with its tag and length.
fn ber(tag: u8, inside: &[u8]) -> Vec<u8> {
    let length = u32::try_from(inside.len()).unwrap().to_be_bytes();
    [&[tag, 0x84][..], &length, inside].concat()
}

fn text(text: &str) -> Vec<u8> {
    ber(4, text.as_bytes())
}

fn message(operation: &[u8]) -> Vec<u8> {
    ber(0x30, &[&[2, 1, 7][..], operation].concat())
}

/// A search of the server's own entry.
fn search(filter: &[u8]) -> Vec<u8> {
    let start = [
        text(""),
        vec![10, 1, 0, 10, 1, 0, 2, 1, 0, 2, 1, 0, 1, 1, 0],
    ]
    .concat();
    let wanted = ber(0x30, &text("defaultNamingContext"));
    let inside = [&start[..], filter, &wanted].concat();
    message(&ber(0x63, &inside))
}

fn start_tls() -> Vec<u8> {
    message(&ber(0x77, &ber(0x80, b"1.3.6.1.4.1.1466.20037")))
}

const PRESENT: &[u8] = b"\x87\x0bobjectClass";

/// Sends these bytes and nothing more, and reads until the server closes.
async fn send(rig: &Rig, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(rig.running.ldap.unwrap()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // a connection that is cut with bytes unread is reset
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

fn holds(answer: &[u8], part: &[u8]) -> bool {
    answer.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn what_is_no_message_ends_the_connection() {
    let rig = school().await;
    let good = send(&rig, &search(PRESENT)).await;
    assert!(holds(&good, b"DC=school,DC=example"));
    let deep = (0..200).fold(PRESENT.to_vec(), |filter, _| ber(0xa2, &filter));
    let no_pieces = ber(0xa4, &[text("cn"), ber(0x30, &[])].concat());
    let mixed_up = ber(
        0xa4,
        &[text("cn"), ber(0x30, b"\x82\x01b\x80\x01a")].concat(),
    );
    let no_text = [0x87, 1, 0xff];
    let bad: [(&str, Vec<u8>); 10] = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a length that is too long", vec![0x30, 0x84, 0x7f, 0, 0, 0]),
        ("no length", vec![0x30, 0x80, 2, 1, 7, 0x42, 0, 0, 0]),
        ("no such operation", message(&ber(0x61, &[]))),
        ("the number of nobody's question", {
            ber(0x30, &[&[2, 1, 0][..], &search(PRESENT)[9..]].concat())
        }),
        ("a filter that is too deep", search(&deep)),
        ("no pieces", search(&no_pieces)),
        ("the last piece first", search(&mixed_up)),
        ("a name that is no text", search(&no_text)),
        ("more than there is", message(&[0x63, 0x7f])),
    ];
    for (what, bytes) in &bad {
        let answer = send(&rig, bytes).await;
        assert!(holds(&answer, b"1.3.6.1.4.1.1466.20036"), "{what}");
        assert!(!holds(&answer, b"DC=school"), "{what}");
    }
    let half = search(PRESENT);
    assert_eq!(send(&rig, &half[..half.len() - 1]).await, b"");
    let report = rig.get("/_simulator/report").await;
    assert_eq!(report["refused"]["LDAP: no message"], bad.len());
}

#[tokio::test]
async fn what_came_before_the_seal_is_not_taken_for_sealed() {
    let rig = school().await;
    let answer = send(&rig, &[start_tls(), search(PRESENT)].concat()).await;
    assert!(!holds(&answer, b"DC=school"));
}

#[tokio::test]
async fn bad_days() {
    let rig = school().await;
    let day = async |dials| {
        assert_eq!(rig.put("/_simulator/dials", dials).await, 200);
        send(&rig, &search(PRESENT)).await
    };
    let once = |fault: &str| json!({"faults": {fault: {"rate": 1.0, "times": 1}}});
    assert!(holds(&day(once("throttle_429")).await, b"(BUSY)"));
    assert!(holds(&day(once("unavailable_503")).await, b"(UNAVAILABLE)"));
    assert!(holds(&day(once("token_expired_401")).await, b"000004DC"));
    assert_eq!(day(once("lost_reply")).await, b"");
    assert_eq!(day(once("connection_reset")).await, b"");
    assert!(holds(
        &day(json!({"faults": {}, "ldap_latency_ms": 1})).await,
        b"DC=school"
    ));
    let outage = json!({"on": true});
    assert_eq!(rig.put("/_simulator/outage", outage).await, 200);
    let answer = send(&rig, &search(PRESENT)).await;
    assert!(holds(&answer, b"(UNAVAILABLE)"));
    let report = rig.get("/_simulator/report").await;
    assert_eq!(report["limit_violations"], 0);
    assert_eq!(report["injected"]["outage_503"], 1);
}

#[tokio::test]
async fn a_directory_needs_a_site() {
    let text = "ldap = \"127.0.0.1:0\"\n[school]\nmailboxes = 10\n";
    let mistakes = Scenario::from_toml(text).unwrap_err();
    assert!(
        mistakes[0].starts_with("ldap, ldaps: no tenant"),
        "{mistakes:?}"
    );
    let hybrid = format!("{text}on_premises_share = 0.5\n");
    assert!(Scenario::from_toml(&hybrid).is_ok());
}

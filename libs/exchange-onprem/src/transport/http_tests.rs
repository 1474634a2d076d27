use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::transport::{ntlm, tls::server_end_point};

/// What a server of the tests does with connections.
struct Rules {
    password: &'static str,
    binding: Option<Vec<u8>>,
    connections: AtomicUsize,
    legs: Mutex<Vec<&'static str>>,
}

/// Serves one connection: signs it in by NTLM, and then answers everything.
fn serve(stream: impl Read + Write, rules: &Rules) {
    let mut stream = BufReader::new(stream);
    let (mut first, mut signed_in) = (Vec::new(), false);
    let server = ntlm::server::Server {
        nonce: [9; 8],
        password: rules.password,
        timestamp: Some(132_000_000_000_000_000),
        binding: rules.binding.as_deref(),
    };
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let field = |name: &str| {
            head.lines().find_map(|line| {
                line.to_lowercase()
                    .starts_with(name)
                    .then(|| line[name.len()..].trim().to_owned())
            })
        };
        let length = field("content-length:").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let proof = field("authorization:").map(|text| {
            STANDARD
                .decode(text.strip_prefix("NTLM ").unwrap())
                .unwrap()
        });
        let (leg, reply) = match proof {
            Some(message) if message[8] == 1 => {
                first = message;
                let challenge = STANDARD.encode(server.challenge());
                (
                    "challenged",
                    format!(
                        "HTTP/1.1 401 X\r\nWWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM {challenge}\r\nContent-Length: 0\r\n\r\n"
                    ),
                )
            }
            Some(message) if server.verify(&first, &message).is_ok() => {
                signed_in = true;
                (
                    "proven",
                    "HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nok".to_owned(),
                )
            }
            None if signed_in => (
                "known",
                "HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            ),
            _ => (
                "refused",
                "HTTP/1.1 401 X\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n".to_owned(),
            ),
        };
        rules.legs.lock().unwrap().push(leg);
        if stream.get_mut().write_all(reply.as_bytes()).is_err()
            || stream.get_mut().flush().is_err()
        {
            return;
        }
    }
}

fn start(rules: Rules, tls: Option<Arc<rustls::ServerConfig>>) -> (String, Arc<Rules>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!(
        "{scheme}://{}/EWS/Exchange.asmx",
        listener.local_addr().unwrap()
    );
    let (rules, kept) = {
        let rules = Arc::new(rules);
        (Arc::clone(&rules), rules)
    };
    // It ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (rules, tls) = (Arc::clone(&rules), tls.clone());
            rules.connections.fetch_add(1, SeqCst);
            thread::spawn(move || match tls {
                None => serve(stream.unwrap(), &rules),
                Some(tls) => {
                    let session = rustls::ServerConnection::new(tls).unwrap();
                    serve(rustls::StreamOwned::new(session, stream.unwrap()), &rules);
                }
            });
        }
    });
    (url, kept)
}

fn rules(password: &'static str, binding: Option<Vec<u8>>) -> Rules {
    Rules {
        password,
        binding,
        connections: AtomicUsize::new(0),
        legs: Mutex::default(),
    }
}

fn http(url: &str, ca_pem: Option<String>) -> Http {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Server {
        url: url.to_owned(),
        ca_pem,
    };
    let sign_in = SignIn::Ntlm {
        user: "UNI\\sa-1".into(),
        password: "Password".into(),
    };
    Http::new(&server, sign_in, || OffsetDateTime::UNIX_EPOCH).unwrap()
}

fn request() -> Outgoing {
    Outgoing {
        headers: vec![("Content-Type", "text/xml".into())],
        body: "question".into(),
        longest: 100,
    }
}

#[tokio::test]
async fn ntlm_signs_a_connection_in_once() {
    let (url, rules) = start(rules("Password", None), None);
    let http = http(&url, None);
    for _ in 0..3 {
        let sent = http.send(&request(), |_| true).await;
        assert_eq!(sent.reply.unwrap().body, b"ok");
        assert!(sent.first_byte.is_some());
    }
    assert_eq!(
        *rules.legs.lock().unwrap(),
        ["challenged", "proven", "known", "known"]
    );
    assert_eq!(rules.connections.load(SeqCst), 1);
    // A connection whose reply isn't clean is left, and the next one signs in anew.
    assert!(http.send(&request(), |_| false).await.reply.is_ok());
    assert!(http.send(&request(), |_| true).await.reply.is_ok());
    assert_eq!(rules.connections.load(SeqCst), 2);
}

#[tokio::test]
async fn ntlm_with_a_wrong_password_stops_after_three() {
    let (url, rules) = start(rules("other", None), None);
    let http = http(&url, None);
    let mut meanings = Vec::new();
    for _ in 0..5 {
        meanings.push(
            http.send(&request(), |_| true)
                .await
                .reply
                .unwrap_err()
                .meaning,
        );
    }
    use Meaning::{PauseAccount, SignInAgain};
    assert_eq!(
        meanings,
        [
            SignInAgain,
            SignInAgain,
            PauseAccount,
            PauseAccount,
            PauseAccount
        ]
    );
    let refused = rules
        .legs
        .lock()
        .unwrap()
        .iter()
        .filter(|leg| **leg == "refused")
        .count();
    assert_eq!(refused, 3);
}

#[tokio::test]
async fn ntlm_is_bound_to_the_servers_certificate() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let der = CertificateDer::from(certified.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    for (bound_to, good) in [
        (server_end_point(&der), true),
        (b"tls-server-end-point:another".to_vec(), false),
    ] {
        let (url, _) = start(rules("Password", Some(bound_to)), Some(Arc::clone(&config)));
        let sent = http(&url, Some(certified.cert.pem()))
            .send(&request(), |_| true)
            .await;
        assert_eq!(sent.reply.is_ok(), good);
        // An authority nobody named isn't trusted.
        let sent = http(&url, None).send(&request(), |_| true).await;
        let error = sent.reply.unwrap_err();
        assert_eq!(error.meaning, Meaning::PauseAccount);
        assert_eq!(error.detail.server_code, "certificate_not_trusted");
    }
}

//! Encrypted connections: in front of the real Postgres stands an end of TLS, as a proxy of a cloud provider does.

use std::{path::PathBuf, sync::Arc};

use calgrant_store::{Store, StoreError};
use calgrant_testkit::Database;
use rcgen::CertifiedKey;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};
use tokio_util::task::AbortOnDropHandle;

/// What a client sends first: its length, and the code that asks for TLS.
const ASKS_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

struct Proxy {
    port: u16,
    certificate: PathBuf,
    _folder: tempfile::TempDir,
    _serving: AbortOnDropHandle<()>,
}

impl Proxy {
    /// One whose certificate is for `name`, before the server of `database`.
    async fn new(name: &str, database: &Database) -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let certificate = folder.path().join("ca.pem");
        std::fs::write(&certificate, cert.pem()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![cert.der().clone()],
                PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let server = address(database);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio_util::task::TaskTracker::new().spawn(async move {
            let mut clients = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                clients.spawn(serve(client, acceptor.clone(), server.clone()));
            }
        });
        Self {
            port,
            certificate,
            _folder: folder,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    fn url(&self, database: &Database, host: &str, mode: &str) -> String {
        let (scheme_and_user, rest) = database.url().split_once('@').unwrap();
        let name = rest.split_once('/').unwrap().1;
        format!(
            "{scheme_and_user}@{host}:{}/{name}?sslmode={mode}",
            self.port
        )
    }
}

/// Host and port in a URL.
fn address(database: &Database) -> String {
    let rest = database.url().split_once('@').unwrap().1;
    rest.split_once('/').unwrap().0.to_owned()
}

/// A client that is refused, or goes away, ends its own connection only.
async fn serve(mut client: TcpStream, acceptor: TlsAcceptor, server: String) {
    let mut asked = [0; 8];
    let asks = client.read_exact(&mut asked).await;
    assert!(
        asks.is_ok() && asked == ASKS_FOR_TLS,
        "it doesn't ask for TLS"
    );
    client.write_all(b"S").await.unwrap();
    let Ok(mut client) = acceptor.accept(client).await else {
        return;
    };
    let mut server = TcpStream::connect(server).await.unwrap();
    let _closed = copy_bidirectional(&mut client, &mut server).await;
}

#[tokio::test]
async fn a_server_that_proves_its_name_is_talked_to() {
    let database = Database::new().await;
    let proxy = Proxy::new("localhost", &database).await;
    for mode in ["require", "verify-full"] {
        let url = proxy.url(&database, "localhost", mode);
        let store = Store::new(&url, Some(&proxy.certificate)).unwrap();
        store.ping().await.unwrap();
        assert!(store.tenants("", 10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_server_nobody_vouches_for_or_of_another_name_is_refused_with_the_reason() {
    let database = Database::new().await;
    let proxy = Proxy::new("db.example.org", &database).await;
    let url = proxy.url(&database, "localhost", "verify-full");
    let other = Proxy::new("localhost", &database).await;
    let unknown = other.url(&database, "localhost", "require");
    for (url, ca) in [(&url, &proxy.certificate), (&unknown, &proxy.certificate)] {
        let store = Store::new(url, Some(ca)).unwrap();
        match store.ping().await {
            Err(StoreError::Away(why)) => {
                assert!(why.to_lowercase().contains("certificate"), "{why}");
            }
            unexpected => panic!("{unexpected:?}"),
        }
    }
}

#[tokio::test]
async fn settings_that_would_do_nothing_are_refused() {
    let database = Database::new().await;
    let proxy = Proxy::new("localhost", &database).await;
    for (url, ca) in [
        (database.url().to_owned(), Some(proxy.certificate.as_path())),
        (proxy.url(&database, "localhost", "prefer"), None),
        (
            proxy.url(&database, "localhost", "verify-full"),
            Some(std::path::Path::new("/nowhere/ca.pem")),
        ),
    ] {
        let refused = Store::new(&url, ca);
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{url}");
    }
}

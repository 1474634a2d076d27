//! One Active Directory of our own: Samba as the only domain controller of a domain made for the run.
//!
//! Its LDAP ports can't be chosen, so it has an address of its own among the many of the loopback interface.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustix::process::{Signal, geteuid};

use super::clean_path;
use super::place::{MARK, Place};
use crate::process::{Process, bound, run_quietly, short};

/// The Python that Debian's packages put Samba's modules into.
pub(super) const PYTHON: &str = "/usr/bin/python3";
/// The domain.
const REALM: &str = "CALGRANT.TEST";
/// Passwords of the administrator and of the reader: only this machine reaches it.
const ADMIN_PASSWORD: &str = "Loopback-0nly";
const READER: &str = "reader@calgrant.test";
const READER_PASSWORD: &str = "Loopback-0nly-too";
/// What Kerberos' library reads; the second asks for tickets that soon run out.
const KERBEROS: &str = "krb5.conf";
const KERBEROS_SHORT: &str = "krb5-short.conf";
const KEYTAB: &str = "http.keytab";
const START_LIMIT: Duration = Duration::from_secs(60);
/// What it holds is thrown away.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// An account that signs in by Kerberos, to the service `HTTP/localhost`, whose keys are in the keytab. There are others beside it,
/// with the same password.
const SIGNS_IN: &str = "sa-full@calgrant.test";
const SIGNS_IN_PASSWORD: &str = "Loopback-0nly-three";
/// The longest path of a folder in which its sockets still have names short enough.
const LONGEST_PATH: usize = 75;
/// Addresses tried before giving up.
const ADDRESSES: u32 = 50;
const PORTS: [u16; 6] = [88, 389, 464, 636, 3268, 3269];

/// A running domain controller.
pub(super) struct Samba {
    process: Process,
    address: Ipv4Addr,
    /// Leads there, too, but is none that the certificate is for.
    other: Ipv4Addr,
    authority: PathBuf,
    configuration: PathBuf,
}

impl Samba {
    /// Make a domain and start its controller.
    pub(super) fn spawn(program: &Path, place: &Place) -> Result<Self> {
        ensure!(geteuid().is_root(), "its ports take root");
        let dir = place.sub("ad", None)?;
        ensure!(
            dir.as_os_str().len() <= LONGEST_PATH,
            "the path of {} is too long for its sockets: point CARGO_TARGET_DIR at a shorter one",
            dir.display()
        );
        let (address, other) = free_addresses()?;
        let authority = certificates(&dir, address).context("could not make certificates")?;
        let configuration = dir.join("smb.conf");
        fs::write(&configuration, configured(&dir, address, other))?;
        fs::write(dir.join(KERBEROS), kerberos(address, ""))?;
        let soon_over = kerberos(address, "ticket_lifetime = 124s\n ");
        fs::write(dir.join(KERBEROS_SHORT), soon_over)?;
        let script = dir.join("make.py");
        fs::write(&script, include_str!("samba.py"))?;

        let mut make = short(Path::new(PYTHON), None);
        make.arg(&script).arg(&dir).arg(&configuration);
        make.args([REALM, ADMIN_PASSWORD, READER_PASSWORD, SIGNS_IN_PASSWORD]);
        make.current_dir("/")
            .env_clear()
            .env("PATH", clean_path())
            .env("LC_ALL", "C.UTF-8")
            .env(MARK, place.dir());
        run_quietly(&mut make, &place.dir().join("samba-make.log"))
            .context("could not make a domain")?;

        let mut server = bound(program, None, "KILL");
        server
            // A process for each connection: one that searches long holds no other up.
            .args([
                "-F",
                "-M",
                "standard",
                "--no-process-group",
                "--debug-stdout",
            ])
            .arg("-s")
            .arg(&configuration)
            .arg("-l")
            .arg(&dir);
        server
            .current_dir("/")
            .env_clear()
            .env("PATH", clean_path())
            .env(MARK, place.dir());
        let log = place.dir().join("samba.log");
        let process = Process::start("Samba", &mut server, &log, Signal::TERM, STOP_LIMIT)?;
        Ok(Self {
            process,
            address,
            other,
            authority,
            configuration,
        })
    }

    /// Wait until it takes connections on both ports.
    pub(super) fn wait_until_ready(&mut self) -> Result<()> {
        let address = self.address;
        self.process.wait_until(START_LIMIT, || {
            [88, 389, 636].into_iter().all(|port| {
                let at = SocketAddr::from((address, port));
                TcpStream::connect_timeout(&at, Duration::from_secs(1)).is_ok()
            })
        })
    }

    /// What tests need to know of it.
    pub(super) fn addresses(&self) -> Vec<(&'static str, String)> {
        let beside = |name: &str| {
            self.configuration
                .with_file_name(name)
                .display()
                .to_string()
        };
        vec![
            ("KRB5_CONFIG", beside(KERBEROS)),
            ("CALGRANT_TEST_KERBEROS_SHORT", beside(KERBEROS_SHORT)),
            ("CALGRANT_TEST_KERBEROS_KEYTAB", beside(KEYTAB)),
            ("CALGRANT_TEST_KERBEROS_ACCOUNT", SIGNS_IN.to_owned()),
            (
                "CALGRANT_TEST_KERBEROS_PASSWORD",
                SIGNS_IN_PASSWORD.to_owned(),
            ),
            ("CALGRANT_TEST_AD_HOST", self.address.to_string()),
            ("CALGRANT_TEST_AD_OTHER_HOST", self.other.to_string()),
            ("CALGRANT_TEST_AD_CA", self.authority.display().to_string()),
            (
                "CALGRANT_TEST_AD_CONFIGURATION",
                self.configuration.display().to_string(),
            ),
            ("CALGRANT_TEST_AD_READER", READER.to_owned()),
            (
                "CALGRANT_TEST_AD_READER_PASSWORD",
                READER_PASSWORD.to_owned(),
            ),
        ]
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.process.is_running()
    }
}

fn configured(dir: &Path, address: Ipv4Addr, other: Ipv4Addr) -> String {
    let dir = dir.display();
    let workgroup = REALM.split('.').next().unwrap_or(REALM);
    format!(
        "[global]\n\
         netbios name = DC1\n\
         realm = {REALM}\n\
         workgroup = {workgroup}\n\
         server role = active directory domain controller\n\
         server services = ldap, kdc\n\
         interfaces = {address}/8 {other}/8\n\
         bind interfaces only = yes\n\
         lock directory = {dir}\n\
         state directory = {dir}/state\n\
         cache directory = {dir}/cache\n\
         private dir = {dir}/private\n\
         pid directory = {dir}\n\
         ncalrpc dir = {dir}/ncalrpc\n\
         log file = {dir}/log\n\
         logging = file\n\
         tls certfile = {dir}/tls/cert.pem\n\
         tls keyfile = {dir}/tls/key.pem\n\
         tls cafile = {dir}/tls/ca.pem\n\
         dsdb:schema update allowed = yes\n"
    )
}

/// How Kerberos' library finds the domain; and another one, which nobody answers for.
fn kerberos(address: Ipv4Addr, more: &str) -> String {
    format!(
        "[libdefaults]\n {more}default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
         dns_canonicalize_hostname = false\n rdns = false\n udp_preference_limit = 1\n\
         [realms]\n {REALM} = {{\n  kdc = {address}\n }}\n AWAY.TEST = {{\n  kdc = {address}:1\n }}\n"
    )
}

/// An authority and a certificate of it for the address; gives the authority's.
fn certificates(dir: &Path, address: Ipv4Addr) -> Result<PathBuf> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "Calgrant test authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    // 127.0.0.1: for proxies.
    let names = [
        address.to_string().as_str(),
        "127.0.0.1",
        "dc1.calgrant.test",
    ]
    .map(str::to_owned);
    let certificate = CertificateParams::new(names.to_vec())?.signed_by(&key, &authority)?;

    let tls = dir.join("tls");
    fs::create_dir(&tls)?;
    fs::write(tls.join("ca.pem"), authority.as_ref().pem())?;
    fs::write(tls.join("cert.pem"), certificate.pem())?;
    let key_file = tls.join("key.pem");
    fs::write(&key_file, key.serialize_pem())?;
    // It refuses a key that others may read.
    fs::set_permissions(
        &key_file,
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )?;
    Ok(tls.join("ca.pem"))
}

/// Two neighbouring loopback addresses on which nobody listens yet. Runs at the same time begin to look in different places.
fn free_addresses() -> Result<(Ipv4Addr, Ipv4Addr)> {
    let first = process::id() % 10_000;
    for number in (0..ADDRESSES).map(|turn| (first + turn) % 10_000) {
        let [third, fourth] =
            [number / 100, number % 100].map(|part| u8::try_from(part).unwrap_or(0));
        let address = Ipv4Addr::new(127, 89, third, 2 * fourth + 1);
        let other = Ipv4Addr::new(127, 89, third, 2 * fourth + 2);
        let is_free = |at: Ipv4Addr| {
            PORTS
                .iter()
                .all(|port| TcpListener::bind((at, *port)).is_ok())
        };
        if is_free(address) && is_free(other) {
            return Ok((address, other));
        }
    }
    bail!(
        "no loopback address with the ports of LDAP free: is another server bound to all addresses?"
    )
}

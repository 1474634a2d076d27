//! Whether and how connections to Postgres are encrypted.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Takes `sslmode` out of a URL, or out of `key=value` pairs: Postgres's words say more than the client library knows.
/// Answers the rest, and whether TLS is wanted.
///
/// # Errors
/// The mode is not one that is offered.
pub(crate) fn mode(url: &str) -> Result<(String, bool), String> {
    let (base, separator, options) = match url.split_once('?') {
        Some((base, options)) => (format!("{base}?"), "&", options),
        None if url.contains("://") => return Ok((url.to_owned(), false)),
        None => (String::new(), " ", url),
    };
    let mut wanted = false;
    let mut rest = Vec::new();
    for option in options.split(separator) {
        match option.trim().split_once('=') {
            Some(("sslmode", "disable")) => wanted = false,
            Some(("sslmode", "require" | "verify-full")) => wanted = true,
            Some(("sslmode", other)) => {
                return Err(format!(
                    "sslmode={other} is not offered: use disable, or verify-full (require means the same here: the certificate is always checked)"
                ));
            }
            Some(("sslrootcert", _)) => {
                return Err("sslrootcert is not read from the URL: set database_ca_file".to_owned());
            }
            _ => rest.push(option),
        }
    }
    let base = if rest.is_empty() {
        base.trim_end_matches('?')
    } else {
        &base
    };
    Ok((format!("{base}{}", rest.join(separator)), wanted))
}

/// Sets TLS up on a configuration: the system's roots, and those of `ca_file`. The server's name is always checked.
///
/// # Errors
/// The file can't be read or holds no certificate; there are no roots at all.
pub(crate) fn connector(
    config: &mut tokio_postgres::Config,
    ca_file: Option<&Path>,
) -> Result<MakeRustlsConnect, String> {
    config.ssl_mode(SslMode::Require);
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|cause| cause.to_string())?
        .with_root_certificates(roots(ca_file)?)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(client))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    // Some systems carry roots that can't be parsed; the others count.
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        let named = |cause: &dyn std::fmt::Display| format!("{}: {cause}", path.display());
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|cause| named(&cause))?;
        if certificates.is_empty() {
            return Err(named(&"no certificate in it; PEM is expected"));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|cause| named(&cause))?;
        }
    }
    if roots.is_empty() {
        return Err(
            "no root certificates were found on this system: set database_ca_file".to_owned(),
        );
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_and_others_are_refused() {
        let plain = |url: &str| Ok((url.to_owned(), false));
        for url in [
            "postgres://app@db/calgrant",
            "postgres://app@db/calgrant?application_name=status",
            "host=db user=app",
        ] {
            assert_eq!(mode(url), plain(url));
        }
        for (url, rest) in [
            ("postgres://db/x?sslmode=require", "postgres://db/x"),
            (
                "postgres://db/x?sslmode=verify-full&connect_timeout=5",
                "postgres://db/x?connect_timeout=5",
            ),
            ("host=db sslmode=verify-full user=app", "host=db user=app"),
        ] {
            assert_eq!(mode(url), Ok((rest.to_owned(), true)));
        }
        assert_eq!(
            mode("postgres://db/x?sslmode=disable"),
            plain("postgres://db/x")
        );
        for refused in ["prefer", "allow", "verify-ca", "on"] {
            let why = mode(&format!("postgres://db/x?sslmode={refused}")).unwrap_err();
            assert!(
                why.contains(refused) && why.contains("verify-full"),
                "{why}"
            );
        }
        assert!(mode("postgres://db/x?sslmode=require&sslrootcert=ca.pem").is_err());
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        for path in [manifest.as_path(), Path::new("/nowhere/ca.pem")] {
            let why = roots(Some(path)).unwrap_err();
            assert!(why.starts_with(&path.display().to_string()), "{why}");
        }
    }
}

//! Whom we trust, and what is wrong with whom we don't.

use std::sync::Arc;

use calgrant_exchange::{CallError, Meaning};
use rustls::{
    CertificateError, ClientConfig, Error, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::SettingsError;

/// A configuration that trusts the given authorities alone, or those of the system if there are none.
pub(crate) fn config(ca_pem: Option<&str>) -> Result<Arc<ClientConfig>, SettingsError> {
    let mut roots = RootCertStore::empty();
    match ca_pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate =
                    certificate.map_err(|cause| SettingsError::Authority(cause.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|cause| SettingsError::Authority(cause.to_string()))?;
            }
            if roots.is_empty() {
                return Err(SettingsError::Authority("it holds no certificate".into()));
            }
        }
        None => {
            // One that can't be read is no reason to distrust the others.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| SettingsError::Authority(cause.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Why no protected connection to `host` came about.
pub(crate) fn explain(error: &Error, host: &str) -> CallError {
    let stop = |code: &str, what: String| {
        CallError::new(Meaning::PauseAccount, code, format!("{what} ({error})"))
    };
    match error {
        Error::InvalidCertificate(why) => match why {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                stop(
                    "certificate_wrong_name",
                    format!(
                        "the domain controller's certificate is for another name than {host}: use the name that it is for"
                    ),
                )
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => stop(
                "certificate_expired",
                format!(
                    "the certificate of the domain controller {host} is not valid now: renew it"
                ),
            ),
            _ => stop(
                "certificate_not_trusted",
                format!(
                    "the certificate of the domain controller {host} is not trusted: give the certificate of the authority that issued it"
                ),
            ),
        },
        Error::InvalidMessage(_) => stop(
            "no_tls",
            format!(
                "{host} doesn't speak TLS on this port: write ldaps:// with the port for it (636), or ldap:// (389), which begins with StartTLS"
            ),
        ),
        _ => CallError::new(
            Meaning::Retry,
            "tls_failed",
            format!("the protected connection to {host} failed: {error}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause() {
        for (error, want) in [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "certificate_not_trusted",
            ),
            (
                Error::InvalidCertificate(CertificateError::BadSignature),
                "certificate_not_trusted",
            ),
            (
                Error::InvalidCertificate(CertificateError::NotValidForName),
                "certificate_wrong_name",
            ),
            (
                Error::InvalidCertificate(CertificateError::Expired),
                "certificate_expired",
            ),
            (
                Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
                "no_tls",
            ),
        ] {
            let error = explain(&error, "dc1.uni.example");
            assert_eq!(error.detail.server_code, want);
            assert_eq!(error.meaning, Meaning::PauseAccount);
            assert!(error.detail.server_text.contains("dc1.uni.example"));
        }
        assert_eq!(
            explain(&Error::HandshakeNotComplete, "x").meaning,
            Meaning::Retry
        );
    }

    #[test]
    fn authorities_are_read_whole() {
        for bad in [
            "",
            "no certificate",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(
                matches!(config(Some(bad)), Err(SettingsError::Authority(_))),
                "{bad}"
            );
        }
    }
}

//! TLS: whom we trust, and what binds a sign-in to the server it was meant for.

use std::{io, sync::Arc};

use calgrant_exchange::{CallError, Meaning};
use ring::digest::{self, SHA256, SHA384, SHA512};
use rustls::{
    CertificateError, ClientConfig, Error, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::ConnectError;

/// Trusts the system's authorities, and those of a PEM text.
pub(crate) fn client_config(ca_pem: Option<&str>) -> Result<Arc<ClientConfig>, ConnectError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = ca_pem {
        let mut any = false;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let bad = |why: &dyn std::fmt::Display| ConnectError::Ca(why.to_string());
            let certificate = certificate.map_err(|e| bad(&e))?;
            roots.add(certificate).map_err(|e| bad(&e))?;
            any = true;
        }
        if !any {
            return Err(ConnectError::Ca("it holds no certificate".into()));
        }
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Why no protected connection to `host` came about. Who isn't trusted isn't by the next call either: that takes a person.
pub(crate) fn not_trusted(error: &io::Error, host: &str) -> CallError {
    let cause: Option<&Error> = error.get_ref().and_then(|inner| inner.downcast_ref());
    let (code, what) = match cause {
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => (
            "certificate_wrong_name",
            format!(
                "the certificate of the server is for another name than {host}: write the URL with the name that it is for"
            ),
        ),
        Some(Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        )) => (
            "certificate_expired",
            format!("the certificate of the server {host} is not valid now: renew it"),
        ),
        Some(Error::InvalidCertificate(_)) => (
            "certificate_not_trusted",
            format!(
                "the certificate of the server {host} is not trusted: name a file with the certificate of the authority that issued it (ca_file)"
            ),
        ),
        Some(Error::InvalidMessage(_)) => (
            "no_tls",
            format!("{host} doesn't speak TLS on this port: correct the URL"),
        ),
        _ => {
            let text = format!("the protected connection to {host} failed: {error}");
            return CallError::new(Meaning::Retry, "connect", text);
        }
    };
    CallError::new(Meaning::PauseAccount, code, format!("{what} ({error})"))
}

/// Object identifiers of signature algorithms with a longer hash than SHA-256: with RSA, and with ECDSA.
const SHA384_WITH: [&[u8]; 2] = [
    &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0C],
    &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03],
];
const SHA512_WITH: [&[u8]; 2] = [
    &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0D],
    &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x04],
];

/// `tls-server-end-point` of RFC 5929: the certificate's hash, by the hash its own signature uses; SHA-256 where that is
/// a weaker one, or isn't known.
pub(crate) fn server_end_point(certificate: &[u8]) -> Vec<u8> {
    let algorithm = signature_algorithm(certificate).unwrap_or_default();
    let hash = if SHA384_WITH.contains(&algorithm) {
        &SHA384
    } else if SHA512_WITH.contains(&algorithm) {
        &SHA512
    } else {
        &SHA256
    };
    [
        b"tls-server-end-point:",
        digest::digest(hash, certificate).as_ref(),
    ]
    .concat()
}

/// `Certificate ::= SEQUENCE { tbsCertificate, SEQUENCE { algorithm OBJECT IDENTIFIER … } … }`
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = tlv(certificate, 0x30)?;
    let (_, rest) = tlv(certificate, 0x30)?;
    let (algorithm, _) = tlv(rest, 0x30)?;
    tlv(algorithm, 0x06).map(|(oid, _)| oid)
}

/// What a DER value of this tag holds, and what follows it.
pub(crate) fn tlv(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            let length = bytes
                .iter()
                .fold(0usize, |all, byte| all << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_the_signature() {
        for (algorithm, length) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, 32),
            (&rcgen::PKCS_ECDSA_P384_SHA384, 48),
            (&rcgen::PKCS_ED25519, 32),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let params = rcgen::CertificateParams::new(vec!["mail.uni.example".into()]).unwrap();
            let certificate = params.self_signed(&key).unwrap();
            let binding = server_end_point(certificate.der());
            assert_eq!(binding.len(), "tls-server-end-point:".len() + length);
        }
        for junk in [
            &b""[..],
            b"\x30",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x03\x30\x01",
        ] {
            assert_eq!(server_end_point(junk).len(), 21 + 32);
        }
    }

    #[test]
    fn who_is_not_trusted_takes_a_person() {
        use CertificateError::{Expired, NotValidForName, UnknownIssuer};
        for (cause, code) in [
            (
                Error::InvalidCertificate(UnknownIssuer),
                "certificate_not_trusted",
            ),
            (
                Error::InvalidCertificate(NotValidForName),
                "certificate_wrong_name",
            ),
            (Error::InvalidCertificate(Expired), "certificate_expired"),
            (
                Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
                "no_tls",
            ),
        ] {
            let error = not_trusted(&io::Error::new(io::ErrorKind::InvalidData, cause), "mail");
            assert_eq!(error.meaning, Meaning::PauseAccount);
            assert_eq!(error.detail.server_code, code);
            assert!(error.detail.server_text.contains("mail"), "{error}");
        }
        let other = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(not_trusted(&other, "mail").meaning, Meaning::Retry);
    }

    #[test]
    fn an_authority_that_is_none_is_said_to_be() {
        assert!(matches!(
            client_config(Some("nothing")),
            Err(ConnectError::Ca(_))
        ));
    }
}

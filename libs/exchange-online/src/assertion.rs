//! A client assertion: a short-lived JWT, signed with the key of a certificate the directory knows.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    digest,
    rand::SystemRandom,
    signature::{KeyPair, RSA_PSS_SHA256, RsaKeyPair},
};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::ConnectError;

/// How long an assertion is good for; at most ten minutes are accepted.
const LIFE_SECONDS: i64 = 300;
/// Our clock may be ahead of the server's by so much.
const SKEW_SECONDS: i64 = 30;

/// Signs assertions with one key.
pub(crate) struct Signer {
    key: RsaKeyPair,
    thumbprint: String,
}

impl Signer {
    /// Reads key and certificate.
    pub(crate) fn new(key_pem: &str, certificate_pem: &str) -> Result<Self, ConnectError> {
        let bad = |why: String| ConnectError::Certificate(why);
        let key = match (
            pem(key_pem, "PRIVATE KEY").map_err(bad)?,
            pem(key_pem, "RSA PRIVATE KEY").map_err(bad)?,
        ) {
            (Some(pkcs8), _) => RsaKeyPair::from_pkcs8(&pkcs8),
            (None, Some(pkcs1)) => RsaKeyPair::from_der(&pkcs1),
            (None, None) => {
                return Err(bad(
                    "the key file holds no PRIVATE KEY; it must be an unencrypted PEM".into(),
                ));
            }
        }
        .map_err(|e| bad(format!("not an RSA key of 2048 bits or more: {e}")))?;
        let certificate = pem(certificate_pem, "CERTIFICATE")
            .map_err(bad)?
            .ok_or_else(|| bad("the certificate file holds no CERTIFICATE".into()))?;
        // A certificate holds its public key as these very bytes.
        let public = key.public_key().as_ref();
        if !certificate.windows(public.len()).any(|part| part == public) {
            return Err(bad(
                "the key is not that of the certificate; the file may hold more than one certificate, this account's must come first".into(),
            ));
        }
        let thumbprint =
            URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &certificate).as_ref());
        Ok(Self { key, thumbprint })
    }

    /// An assertion that `client_id` shows to `token_url` (PS256).
    pub(crate) fn assertion(
        &self,
        client_id: &str,
        token_url: &str,
        now: OffsetDateTime,
        nonce: Uuid,
    ) -> Result<String, ConnectError> {
        let at = now.unix_timestamp();
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint});
        let claims = json!({
            "aud": token_url,
            "iss": client_id,
            "sub": client_id,
            "jti": nonce,
            "nbf": at - SKEW_SECONDS,
            "iat": at,
            "exp": at + LIFE_SECONDS,
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PSS_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .map_err(|_| ConnectError::Certificate("the key doesn't sign".into()))?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The first block of this label, decoded.
fn pem(text: &str, label: &str) -> Result<Option<Vec<u8>>, String> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let Some((_, rest)) = text.split_once(&begin) else {
        return Ok(None);
    };
    let Some((body, _)) = rest.split_once(&end) else {
        return Err(format!("the block {label} has no end"));
    };
    let body: String = body.split_whitespace().collect();
    STANDARD
        .decode(body)
        .map(Some)
        .map_err(|e| format!("the block {label} is not base64: {e}"))
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::Value;
    use time::macros::datetime;

    use super::*;

    const KEY: &str = include_str!("../testdata/key.pem");
    const OTHER: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    const CERTIFICATE: &str = include_str!("../testdata/certificate.pem");

    #[test]
    fn it_is_signed_and_says_who_for_whom_and_how_long() {
        let signer = Signer::new(KEY, CERTIFICATE).unwrap();
        let now = datetime!(2026-01-01 00:00 UTC);
        let url = "https://login.example/t/oauth2/v2.0/token";
        let jwt = signer.assertion("app", url, now, Uuid::nil()).unwrap();
        let (message, signature) = jwt.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, signer.key.public_key())
            .verify(message.as_bytes(), &signature)
            .unwrap();
        let parts: Vec<Value> = message
            .split('.')
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        assert_eq!(parts[0]["alg"], "PS256");
        // openssl x509 -outform der | sha256
        assert_eq!(
            parts[0]["x5t#S256"],
            include_str!("../testdata/thumbprint.txt").trim()
        );
        assert_eq!(
            (&parts[1]["aud"], &parts[1]["iss"], &parts[1]["sub"]),
            (&json!(url), &json!("app"), &json!("app"))
        );
        let number = |claim: &str| parts[1][claim].as_i64().unwrap();
        assert!(number("nbf") <= now.unix_timestamp());
        assert!(number("exp") - number("nbf") <= 600);
    }

    #[test]
    fn faults_are_named() {
        for (key, certificate, why) in [
            ("", CERTIFICATE, "no PRIVATE KEY"),
            (KEY, "", "no CERTIFICATE"),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA",
                CERTIFICATE,
                "has no end",
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
                CERTIFICATE,
                "not an RSA key",
            ),
            (KEY, OTHER, "not that of the certificate"),
        ] {
            let Err(error) = Signer::new(key, certificate) else {
                panic!("{why}")
            };
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}

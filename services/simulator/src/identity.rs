//! The demo certificate of the first grantor. Its key is public: for demos and tests only.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// The private key (PKCS #8, RSA 2048) of the demo grantor.
pub const DEMO_KEY_PEM: &str = include_str!("../identity/demo-key.pem");

/// The self-signed certificate that belongs to [`DEMO_KEY_PEM`].
pub const DEMO_CERTIFICATE_PEM: &str = include_str!("../identity/demo-certificate.pem");

/// What the token endpoint keeps of a registered certificate.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    /// base64url SHA-256 of the DER certificate, as in `x5t#S256`.
    pub(crate) thumbprint: String,
    /// base64url SHA-1 of it, as in the older `x5t`.
    pub(crate) sha1: String,
    /// The PKCS #1 `RSAPublicKey`, as ring wants it.
    pub(crate) public_key: Vec<u8>,
}

impl Registered {
    /// Reads a PEM certificate with an RSA key; `None` when it isn't one.
    pub(crate) fn from_pem(pem: &str) -> Option<Self> {
        let body: String = pem
            .lines()
            .skip_while(|line| !line.starts_with("-----BEGIN CERTIFICATE"))
            .skip(1)
            .take_while(|line| !line.starts_with("-----END"))
            .collect();
        let der = STANDARD
            .decode(body.trim())
            .ok()
            .filter(|der| !der.is_empty())?;
        let thumbprint =
            URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, &der).as_ref());
        let sha1 = URL_SAFE_NO_PAD
            .encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &der).as_ref());
        Some(Self {
            thumbprint,
            sha1,
            public_key: rsa_public_key(&der)?,
        })
    }
}

/// Finds the key by its algorithm identifier (rsaEncryption, NULL); the bit string after it holds the key.
fn rsa_public_key(der: &[u8]) -> Option<Vec<u8>> {
    const RSA: [u8; 13] = [
        0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00,
    ];
    let at = der.windows(RSA.len()).position(|window| window == RSA)? + RSA.len();
    let rest = der.get(at..)?;
    let (&tag, rest) = rest.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if tag != 0x03 {
        return None;
    }
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let bytes = usize::from(first & 0x7F);
        let length = rest
            .get(..bytes)?
            .iter()
            .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        (length, rest.get(bytes..)?)
    };
    // the first byte of a bit string counts its unused bits
    Some(rest.get(1..length)?.to_vec())
}

//! Secure strings: the key of a session, and texts sealed with it (MS-PSRP 2.2.5.1.24, 3.1.5.4.4).
//!
//! A client sends a public key that it made for this session; the server seals the session's key to it. The private key has then done the
//! one operation it was made for, and is gone: nobody can watch it do a second.

use aes::Aes256;
use base64::{Engine, engine::general_purpose::STANDARD};
use cbc::cipher::{BlockEncryptMut, KeyIvInit, block_padding::Pkcs7};
use rsa::{Pkcs1v15Encrypt, RsaPrivateKey, rand_core::OsRng, traits::PublicKeyParts};
use secrecy::{ExposeSecret, SecretBox, zeroize::Zeroizing};

use super::Nonsense;

/// Length of the modulus.
const BITS: usize = 2048;
/// What comes before exponent and modulus: a public key, for RSA key exchange, of 2048 bits.
const PUBLIC_HEAD: [u8; 16] = *b"\x06\x02\0\0\0\xA4\0\0RSA1\0\x08\0\0";
/// What comes before a sealed key: what it is for, and what it is sealed with.
const SEALED_HEAD: usize = 12;
/// Secure strings have none.
const NO_IV: [u8; 16] = [0; 16];

/// A key pair that is used once.
pub(super) struct KeyPair(RsaPrivateKey);

impl KeyPair {
    /// A new one. It takes some tenths of a second: not to be made where others wait.
    pub(super) fn make() -> Result<Self, Nonsense> {
        RsaPrivateKey::new(&mut OsRng, BITS)
            .map(Self)
            .map_err(|error| Nonsense::new(format!("no key pair could be made: {error}")))
    }

    /// The public key as the message that brings it to the server.
    pub(super) fn message(&self) -> String {
        format!(
            "<Obj RefId=\"0\"><MS><S N=\"PublicKey\">{}</S></MS></Obj>",
            STANDARD.encode(self.public())
        )
    }

    fn public(&self) -> Vec<u8> {
        let mut exponent = self.0.e().to_bytes_le();
        exponent.resize(4, 0);
        let mut modulus = self.0.n().to_bytes_le();
        modulus.resize(BITS / 8, 0);
        [&PUBLIC_HEAD[..], &exponent, &modulus].concat()
    }

    /// The session's key, out of what the server sealed.
    pub(super) fn open(self, sealed: &str) -> Result<SessionKey, Nonsense> {
        let bad = || Nonsense::new("a session key that isn't sealed to ours");
        let bytes = STANDARD.decode(sealed.trim()).map_err(|_| bad())?;
        let mut sealed = bytes.get(SEALED_HEAD..).ok_or_else(bad)?.to_vec();
        sealed.reverse();
        let opened = self
            .0
            .decrypt_blinded(&mut OsRng, Pkcs1v15Encrypt, &sealed)
            .map_err(|_| bad())?;
        let opened = Zeroizing::new(opened);
        let key: [u8; 32] = opened.as_slice().try_into().map_err(|_| bad())?;
        Ok(SessionKey(SecretBox::new(Box::new(key))))
    }
}

/// What the secure strings of one session are sealed with.
pub(super) struct SessionKey(SecretBox<[u8; 32]>);

impl SessionKey {
    /// A text as a secure string.
    pub(super) fn seal(&self, text: &str) -> String {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        let plain = Zeroizing::new(units.collect::<Vec<u8>>());
        let key = self.0.expose_secret();
        let sealed = cbc::Encryptor::<Aes256>::new(key.into(), &NO_IV.into())
            .encrypt_padded_vec_mut::<Pkcs7>(&plain);
        STANDARD.encode(sealed)
    }
}

#[cfg(test)]
mod tests {
    use cbc::cipher::BlockDecryptMut;
    use rsa::{BigUint, RsaPublicKey};

    use super::*;

    fn key(bytes: [u8; 32]) -> SessionKey {
        SessionKey(SecretBox::new(Box::new(bytes)))
    }

    /// What a server does with a client's message: reads the key, seals `session` to it.
    fn sealed_by_a_server(message: &str, session: &[u8]) -> String {
        let (_, rest) = message.split_once("<S N=\"PublicKey\">").unwrap();
        let (blob, _) = rest.split_once("</S>").unwrap();
        let blob = STANDARD.decode(blob).unwrap();
        assert_eq!(blob.len(), 16 + 4 + 256);
        assert_eq!(
            blob[..20],
            [
                6, 2, 0, 0, 0, 0xA4, 0, 0, 0x52, 0x53, 0x41, 0x31, 0, 8, 0, 0, 1, 0, 1, 0
            ]
        );
        let public = RsaPublicKey::new(
            BigUint::from_bytes_le(&blob[20..]),
            BigUint::from_bytes_le(&blob[16..20]),
        )
        .unwrap();
        let mut sealed = public
            .encrypt(&mut OsRng, Pkcs1v15Encrypt, session)
            .unwrap();
        sealed.reverse();
        let head = [1, 2, 0, 0, 0x10, 0x66, 0, 0, 0, 0xA4, 0, 0];
        STANDARD.encode([&head[..], &sealed].concat())
    }

    #[test]
    fn what_is_sealed_with_the_servers_key_is_read_by_the_server() {
        let session = [7u8; 32];
        let pair = KeyPair::make().unwrap();
        let answer = sealed_by_a_server(&pair.message(), &session);
        let key = pair.open(&answer).unwrap();
        for text in ["", "hunter2", "pass wörd & <\u{1F600}>", "sixteen bytes ok"] {
            let sealed = STANDARD.decode(key.seal(text)).unwrap();
            let plain = cbc::Decryptor::<Aes256>::new(&session.into(), &NO_IV.into())
                .decrypt_padded_vec_mut::<Pkcs7>(&sealed)
                .unwrap();
            let units: Vec<u16> = plain
                .chunks_exact(2)
                .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
                .collect();
            assert_eq!(String::from_utf16(&units).unwrap(), text);
        }
    }

    #[test]
    fn a_key_that_is_not_for_us_is_refused() {
        let (ours, other) = (KeyPair::make().unwrap(), KeyPair::make().unwrap());
        let foreign = sealed_by_a_server(&other.message(), &[7; 32]);
        let short = sealed_by_a_server(&ours.message(), &[7; 16]);
        for wrong in ["", "%", "AAAA", "AQIAABBmAAAApAAA", &foreign, &short] {
            let again = KeyPair(ours.0.clone());
            assert!(again.open(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fixed_text_has_one_form() {
        let bytes: Vec<u8> = (0..32).collect();
        let key = key(bytes.try_into().unwrap());
        assert_eq!(
            key.seal("Passw0rd!"),
            "rdUZ6L4gIIozvUAg+yGnhYiEZEeqB+B+Yh9BWqM/uxs="
        );
    }
}

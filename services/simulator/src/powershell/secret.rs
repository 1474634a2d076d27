//! Secrets of a session: the key that its client and the server agree on, and the texts sealed with it (MS-PSRP 2.2.5.1.24,
//! and the two messages of the key).

use std::fmt;

use aes::Aes256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, KeyIvInit};
use num_bigint::BigUint;
use ring::rand::{SecureRandom, SystemRandom};

/// What a client's key begins with: a public key of RSA, for exchanging keys, with 2048 bits.
const PUBLIC: [u8; 16] = [
    0x06, 0x02, 0, 0, 0, 0xA4, 0, 0, b'R', b'S', b'A', b'1', 0, 0x08, 0, 0,
];
/// What the answer begins with: a key of AES-256, sealed with one of RSA.
const SESSION: [u8; 12] = [0x01, 0x02, 0, 0, 0x10, 0x66, 0, 0, 0, 0xA4, 0, 0];
/// The bytes of a modulus.
const MODULUS: usize = 256;

/// What the secrets of one session are sealed with.
pub(crate) struct SessionKey([u8; 32]);

impl fmt::Debug for SessionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionKey(…)")
    }
}

impl SessionKey {
    /// A new one; `None` where there is no randomness.
    pub(crate) fn make() -> Option<Self> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).ok()?;
        Some(Self(key))
    }

    /// The key for the owner of this public key, as it stands in `ENCRYPTED_SESSION_KEY`.
    ///
    /// # Errors
    /// What is wrong with the public key.
    pub(crate) fn sealed_for(&self, blob: &str) -> Result<String, &'static str> {
        let blob = STANDARD
            .decode(blob.trim())
            .map_err(|_| "the PublicKey isn't base64")?;
        let rest = blob
            .strip_prefix(&PUBLIC)
            .ok_or("the PublicKey isn't the blob of an RSA key of 2048 bits")?;
        let (exponent, modulus) = rest
            .split_first_chunk::<4>()
            .filter(|(_, modulus)| modulus.len() == MODULUS)
            .ok_or("the PublicKey hasn't the length of an RSA key of 2048 bits")?;
        let exponent = u32::from_le_bytes(*exponent);
        let modulus = BigUint::from_bytes_le(modulus);
        if modulus.bits() != 2048 || !modulus.bit(0) || exponent < 3 || exponent.is_multiple_of(2) {
            return Err("the PublicKey isn't one of RSA");
        }
        let padded = self.padded().ok_or("there is no randomness")?;
        // an operation with a public key: how long it takes tells nobody anything
        let sealed = BigUint::from_bytes_be(&padded).modpow(&exponent.into(), &modulus);
        let mut bytes = sealed.to_bytes_le();
        bytes.resize(MODULUS, 0);
        Ok(STANDARD.encode([&SESSION[..], &bytes].concat()))
    }

    /// PKCS #1 v1.5: 0, 2, random bytes without a 0, 0, and the key.
    fn padded(&self) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        let mut padded = vec![0, 2];
        let length = MODULUS - 3 - self.0.len();
        while padded.len() < 2 + length {
            let mut some = [0; 64];
            random.fill(&mut some).ok()?;
            let room = 2 + length - padded.len();
            padded.extend(some.iter().filter(|byte| **byte != 0).take(room));
        }
        padded.push(0);
        padded.extend_from_slice(&self.0);
        Some(padded)
    }

    /// A text that was sealed with the key; `None` where it wasn't.
    pub(crate) fn open(&self, sealed: &str) -> Option<String> {
        let mut bytes = STANDARD.decode(sealed.trim()).ok()?;
        let opening = Decryptor::<Aes256>::new(&self.0.into(), &[0_u8; 16].into());
        let plain = opening.decrypt_padded_mut::<Pkcs7>(&mut bytes).ok()?;
        let units = plain.chunks_exact(2);
        if !units.remainder().is_empty() {
            return None;
        }
        let units: Vec<u16> = units
            .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
            .collect();
        String::from_utf16(&units).ok()
    }
}

#[cfg(test)]
mod tests {
    use cbc::Encryptor;
    use cbc::cipher::BlockEncryptMut;

    use super::*;
    use crate::identity::DEMO_KEY_PEM;

    /// The modulus, the public and the private exponent of the demo key.
    fn demo_key() -> [BigUint; 3] {
        let body: String = DEMO_KEY_PEM
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        let der = STANDARD.decode(body).unwrap();
        let inner = yasna::parse_der(&der, |reader| {
            reader.read_sequence(|reader| {
                reader.next().read_u8()?;
                reader.next().read_der()?;
                reader.next().read_bytes()
            })
        });
        yasna::parse_der(&inner.unwrap(), |reader| {
            reader.read_sequence(|reader| {
                reader.next().read_u8()?;
                let mut number = || -> yasna::ASN1Result<BigUint> {
                    let (bytes, _) = reader.next().read_bigint_bytes()?;
                    Ok(BigUint::from_bytes_be(&bytes))
                };
                let all = [number()?, number()?, number()?];
                for _ in 0..5 {
                    reader.next().read_der()?;
                }
                Ok(all)
            })
        })
        .unwrap()
    }

    #[test]
    fn the_owner_of_the_public_key_finds_the_session_key() {
        let [modulus, public, private] = demo_key();
        let mut exponent = public.to_bytes_le();
        exponent.resize(4, 0);
        let mut bytes = modulus.to_bytes_le();
        bytes.resize(MODULUS, 0);
        let blob = STANDARD.encode([&PUBLIC[..], &exponent, &bytes].concat());
        let key = SessionKey::make().unwrap();
        let sealed = STANDARD.decode(key.sealed_for(&blob).unwrap()).unwrap();
        let sealed = BigUint::from_bytes_le(sealed.strip_prefix(&SESSION).unwrap());
        let padded = sealed.modpow(&private, &modulus).to_bytes_be();
        // its first byte is a zero, which numbers don't keep
        assert_eq!((padded.len(), padded[0]), (MODULUS - 1, 2));
        assert!(padded.ends_with(&[&[0][..], &key.0].concat()));
        for wrong in ["", "AAAA", &STANDARD.encode(PUBLIC)] {
            assert!(key.sealed_for(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_sealed_is_opened_with_the_same_key_alone() {
        let key = SessionKey([7; 32]);
        let text = "Größe 1!";
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut room = vec![0; units.len() + 16];
        room[..units.len()].copy_from_slice(&units);
        let sealing = Encryptor::<Aes256>::new(&key.0.into(), &[0_u8; 16].into());
        let sealed = sealing.encrypt_padded_mut::<Pkcs7>(&mut room, units.len());
        let sealed = STANDARD.encode(sealed.unwrap());
        assert_eq!(key.open(&sealed).as_deref(), Some(text));
        assert_ne!(SessionKey([8; 32]).open(&sealed).as_deref(), Some(text));
        assert_eq!(key.open("AAAA"), None);
        assert_eq!(format!("{key:?}"), "SessionKey(…)");
    }
}

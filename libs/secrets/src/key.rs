//! Sealing: ChaCha20-Poly1305 under a key of 256 bits, a random nonce for each, bound to a name.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use calgrant_domain::{Password, setup::password::RANDOM};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};

/// The form of what is sealed.
const FORM: u8 = 1;
const KEY: usize = 32;
/// Bytes that tell which key sealed something. They say nothing about the key.
const PRINT: usize = 4;
const HEAD: usize = 1 + PRINT + NONCE_LEN;

/// A key that seals and opens.
pub struct Key {
    key: LessSafeKey,
    print: [u8; PRINT],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a key: 32 random bytes in Base64 are needed, as `openssl rand -base64 32` prints them"
)]
pub struct KeyError;

/// The system gives no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct Undrawable;

/// Why something sealed can't be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another key sealed it.
    #[error("it was sealed with another key: start with the key that was used then")]
    OtherKey,
    /// It is damaged, or was sealed under another name.
    #[error("it is damaged, or was sealed under another name")]
    Damaged,
    /// A later version sealed it.
    #[error("a later version sealed it")]
    Newer,
}

impl Key {
    /// Reads a key: 32 bytes in Base64.
    ///
    /// # Errors
    /// It is none. The text is not in the error.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| KeyError)?;
        if bytes.len() != KEY {
            return Err(KeyError);
        }
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| KeyError)?;
        let mut print = [0; PRINT];
        print.copy_from_slice(&digest(&SHA256, &bytes).as_ref()[..PRINT]);
        Ok(Self {
            key: LessSafeKey::new(unbound),
            print,
        })
    }

    /// Seals a password under a name: what comes out may be kept anywhere.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn seal(&self, name: &str, password: &Password) -> Result<Vec<u8>, Undrawable> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| Undrawable)?;
        let mut body = password.reveal().as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name.as_bytes()),
                &mut body,
            )
            .map_err(|_| Undrawable)?;
        let mut sealed = Vec::with_capacity(HEAD + body.len());
        sealed.push(FORM);
        sealed.extend(self.print);
        sealed.extend(nonce);
        sealed.extend(body);
        Ok(sealed)
    }

    /// Opens what was sealed under this name.
    ///
    /// # Errors
    /// Another key sealed it, or it isn't what was sealed.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Password, OpenError> {
        match sealed.first() {
            Some(&FORM) if sealed.len() > HEAD => {}
            Some(form) if *form > FORM => return Err(OpenError::Newer),
            _ => return Err(OpenError::Damaged),
        }
        if sealed[1..=PRINT] != self.print {
            return Err(OpenError::OtherKey);
        }
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&sealed[1 + PRINT..HEAD]);
        let mut body = sealed[HEAD..].to_vec();
        let plain = self
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name.as_bytes()),
                &mut body,
            )
            .map_err(|_| OpenError::Damaged)?;
        std::str::from_utf8(plain)
            .map(Password::new)
            .map_err(|_| OpenError::Damaged)
    }
}

/// Draws a new password.
///
/// # Errors
/// The system gives no random bytes.
pub fn draw_password() -> Result<Password, Undrawable> {
    let mut bytes = [0; RANDOM];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Undrawable)?;
    Ok(Password::random(&bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> Key {
        Key::parse(&STANDARD.encode([byte; KEY])).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_under_its_name_with_its_key_alone(
            text in "\\PC{0,80}",
            name in "[a-z/@.]{1,30}",
            flip in any::<prop::sample::Index>(),
        ) {
            let password = Password::new(text.clone());
            let sealed = key(1).seal(&name, &password).unwrap();
            let opened = key(1).open(&name, &sealed).unwrap();
            prop_assert_eq!(opened.reveal(), &text);
            prop_assert_eq!(key(1).open("else", &sealed), Err(OpenError::Damaged));
            prop_assert_eq!(key(2).open(&name, &sealed), Err(OpenError::OtherKey));
            let mut damaged = sealed.clone();
            damaged[flip.index(sealed.len())] ^= 0x40;
            prop_assert!(key(1).open(&name, &damaged).is_err());
            prop_assert!(key(1).open(&name, &sealed[..flip.index(sealed.len())]).is_err());
            prop_assert_ne!(key(1).seal(&name, &password).unwrap(), sealed, "each has its own nonce");
        }
    }

    #[test]
    fn a_text_that_is_no_key_is_not_shown() {
        let short = STANDARD.encode([7; 31]);
        for text in ["", "hunter2", short.as_str()] {
            let refused = Key::parse(text).unwrap_err();
            assert!(text.is_empty() || !refused.to_string().contains(text));
        }
        assert!(!format!("{:?}", key(65)).contains("65"));
    }

    #[test]
    fn passwords_differ() {
        assert_ne!(draw_password().unwrap(), draw_password().unwrap());
    }
}

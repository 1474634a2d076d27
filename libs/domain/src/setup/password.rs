//! Passwords that are made here: long and random.

use crate::Password;

/// Random bytes that a password is made of.
pub const RANDOM: usize = 40;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What every rule for passwords wants to see once, whatever the dice say.
const ALWAYS: &str = "-zA7";

impl Password {
    /// A password of 240 random bits, in characters that no shell, file or directory treats specially.
    pub fn random(bytes: &[u8; RANDOM]) -> Self {
        let drawn = bytes
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(byte & 63)]));
        Self::new(drawn.chain(ALWAYS.chars()).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_every_class_of_characters_and_all_of_the_dice() {
        let low = Password::random(&[0; RANDOM]);
        let high = Password::random(&[0xFF; RANDOM]);
        assert_ne!(low.reveal(), high.reveal());
        for password in [low, high] {
            let text = password.reveal();
            assert_eq!(text.len(), RANDOM + ALWAYS.len());
            for class in [char::is_uppercase, char::is_lowercase, char::is_numeric] {
                assert!(text.contains(class), "{text}");
            }
            assert!(text.contains('-'));
        }
    }
}

//! Passwords that are made here: long and random.

use std::time::Duration;

use time::OffsetDateTime;

use crate::{Password, expiry::is_soon};

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

/// When a password that was set at `set_at` expires, if a person should know of that by now.
pub fn expires_soon(
    set_at: OffsetDateTime,
    days: u32,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let expires = set_at + Duration::from_secs(u64::from(days) * 86_400);
    is_soon(expires, now).then_some(expires)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_thirty_days_ahead() {
        let at = |day: u64| OffsetDateTime::UNIX_EPOCH + Duration::from_secs(day * 86_400);
        for (days, today, expires) in [
            (90, 0, None),
            (90, 59, None),
            (90, 60, Some(90)),
            (90, 200, Some(90)),
            (10, 0, Some(10)),
        ] {
            assert_eq!(
                expires_soon(at(0), days, at(today)),
                expires.map(at),
                "{days} {today}"
            );
        }
    }

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

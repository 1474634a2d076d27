//! Which token is good now, and when it is time for the next one. Pure.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use calgrant_exchange::{CallError, Meaning};
use secrecy::{ExposeSecret, SecretString};
use time::{Duration, OffsetDateTime};

/// After an early sign-in that failed, the next one waits at least so long.
const EARLY_AGAIN: Duration = Duration::seconds(30);

/// A token. Cheap to clone; knows which sign-in it came from.
#[derive(Clone)]
pub(crate) struct Token {
    text: Arc<SecretString>,
    serial: u64,
}

impl Token {
    /// The token as text, for a header.
    pub(crate) fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// The app roles in it (the claim `roles`); `None` if it is none that can be read. Only to tell people what an account may do:
    /// nothing is checked.
    pub(crate) fn app_roles(&self) -> Option<Vec<String>> {
        let payload = self.expose().split('.').nth(1)?;
        let claims = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
        let roles = claims.as_object()?.get("roles");
        let roles = roles
            .and_then(|roles| roles.as_array())
            .into_iter()
            .flatten();
        Some(
            roles
                .filter_map(|role| Some(role.as_str()?.to_owned()))
                .collect(),
        )
    }
}

/// What to do about a token.
pub(crate) enum Glance {
    /// Use this one.
    Good(Token),
    /// Use this one, and ask for the next if nobody does so already.
    Due(Token),
    /// There is none: ask. Holds the number of the last sign-in.
    None(u64),
}

struct Held {
    token: Token,
    refresh_at: OffsetDateTime,
    ends_at: OffsetDateTime,
}

/// The token at hand and what came of the last sign-in.
#[derive(Default)]
pub(crate) struct Cache {
    held: Option<Held>,
    /// Sign-ins so far, failed ones included.
    serial: u64,
    /// The error of the last one, if it failed.
    failed: Option<CallError>,
}

impl Cache {
    /// What there is.
    pub(crate) fn glance(&self, now: OffsetDateTime) -> Glance {
        match &self.held {
            Some(held) if now < held.refresh_at => Glance::Good(held.token.clone()),
            Some(held) if now < held.ends_at => Glance::Due(held.token.clone()),
            _ => Glance::None(self.serial),
        }
    }

    /// The error of a sign-in that somebody else made since the one numbered `seen`.
    pub(crate) fn failed_since(&self, seen: u64) -> Option<CallError> {
        self.failed.clone().filter(|_| self.serial > seen)
    }

    /// A sign-in that began at `asked` gave a token. `roll` in `[0, 1)` spreads what asks for the next one: at
    /// 75 to 85 % of its life.
    pub(crate) fn signed_in(
        &mut self,
        text: SecretString,
        life: Duration,
        asked: OffsetDateTime,
        roll: f64,
    ) -> Token {
        self.serial += 1;
        self.failed = None;
        let token = Token {
            text: Arc::new(text),
            serial: self.serial,
        };
        self.held = Some(Held {
            token: token.clone(),
            refresh_at: asked + life * (0.75 + 0.1 * roll),
            ends_at: asked + life,
        });
        token
    }

    /// A sign-in failed. A token that is still good is used to its end, whatever the reason.
    pub(crate) fn failed(&mut self, error: &CallError, now: OffsetDateTime) -> Option<Token> {
        self.serial += 1;
        self.failed = Some(error.clone());
        let held = self.held.as_mut().filter(|held| now < held.ends_at)?;
        let told = match error.meaning {
            Meaning::WaitUntil { after, .. } => after.and_then(|after| after.try_into().ok()),
            _ => None,
        };
        held.refresh_at = now + told.unwrap_or(EARLY_AGAIN).max(EARLY_AGAIN);
        Some(held.token.clone())
    }

    /// Forgets a token that was refused; does nothing when it has been replaced meanwhile.
    pub(crate) fn forget(&mut self, refused: &Token) {
        if self
            .held
            .as_ref()
            .is_some_and(|held| held.token.serial == refused.serial)
        {
            self.held = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn roles_are_read_from_a_token_that_has_them() {
        let token = |text: String| Token {
            text: Arc::new(text.into()),
            serial: 1,
        };
        let of = |claims: &str| {
            let payload = URL_SAFE_NO_PAD.encode(claims);
            token(format!("head.{payload}.signature")).app_roles()
        };
        assert_eq!(
            of(r#"{"roles":["a","b"]}"#),
            Some(vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(of(r#"{"aud":"x"}"#), Some(Vec::new()));
        assert_eq!(of("[]"), None);
        assert_eq!(token("opaque".to_owned()).app_roles(), None);
    }

    const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

    fn at(secs: i64) -> OffsetDateTime {
        START + Duration::seconds(secs)
    }

    fn seen(cache: &Cache, secs: i64) -> &'static str {
        match cache.glance(at(secs)) {
            Glance::Good(_) => "good",
            Glance::Due(_) => "due",
            Glance::None(_) => "none",
        }
    }

    #[test]
    fn the_next_one_is_asked_for_around_four_fifths_of_a_life() {
        for (roll, due) in [(0.0, 750), (0.5, 800), (0.999, 849)] {
            let mut cache = Cache::default();
            assert_eq!(seen(&cache, 0), "none");
            cache.signed_in("t".into(), Duration::seconds(1000), START, roll);
            assert_eq!(seen(&cache, due - 2), "good", "{roll}");
            assert_eq!(seen(&cache, due + 2), "due", "{roll}");
            assert_eq!(seen(&cache, 1000), "none");
        }
    }

    #[test]
    fn a_failed_refresh_leaves_the_good_token_and_waits_with_the_next() {
        let mut cache = Cache::default();
        cache.signed_in("t".into(), Duration::seconds(1000), START, 0.5);
        for meaning in [Meaning::Retry, Meaning::PauseAccount] {
            let error = CallError::new(meaning, "x", "y");
            assert!(cache.failed(&error, at(810)).is_some());
            assert_eq!(seen(&cache, 839), "good");
            assert_eq!(seen(&cache, 840), "due");
        }
        let slow = Meaning::WaitUntil {
            scope: calgrant_exchange::Scope::Account,
            after: Some(std::time::Duration::from_secs(120)),
        };
        cache.failed(&CallError::new(slow, "x", "y"), at(810));
        assert_eq!(seen(&cache, 929), "good");
        // It ends when it ends.
        assert_eq!(seen(&cache, 1000), "none");
        assert!(
            cache
                .failed(&CallError::new(Meaning::Retry, "x", "y"), at(1000))
                .is_none()
        );
    }

    #[test]
    fn a_refused_token_is_forgotten_unless_it_was_replaced() {
        let mut cache = Cache::default();
        let first = cache.signed_in("1".into(), Duration::seconds(1000), START, 0.5);
        let second = cache.signed_in("2".into(), Duration::seconds(1000), START, 0.5);
        cache.forget(&first);
        assert_eq!(seen(&cache, 1), "good");
        cache.forget(&second);
        assert_eq!(seen(&cache, 1), "none");
    }

    #[test]
    fn who_waited_for_a_sign_in_that_failed_shares_its_error() {
        let mut cache = Cache::default();
        let Glance::None(before) = cache.glance(START) else {
            panic!("no token yet")
        };
        assert!(cache.failed_since(before).is_none());
        cache.failed(&CallError::new(Meaning::Retry, "x", "y"), START);
        assert!(cache.failed_since(before).is_some());
        let Glance::None(after) = cache.glance(START) else {
            panic!("no token yet")
        };
        assert!(cache.failed_since(after).is_none());
    }
}

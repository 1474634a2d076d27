//! The tokens of a set-up credential, for one resource: asked for, or handed over for one run.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use calgrant_exchange::{CallError, Meaning, one_line};
use serde_json::Value;

use crate::{calendars::system_anchor, token::TokenSource, token_cache::Token};

/// Where the tokens for one resource come from.
pub(super) enum Tokens {
    /// Asked for, with the account's own proof.
    Asked(Box<TokenSource>),
    /// Handed over: there is this one and no other.
    Given(Token),
}

impl Tokens {
    /// The token at hand, or a new one.
    pub(super) async fn token(&self) -> Result<Token, CallError> {
        match self {
            Self::Asked(source) => source.token().await,
            Self::Given(token) => Ok(token.clone()),
        }
    }

    /// What it means that a token was refused: another is asked for next time, or a person must bring one.
    pub(super) fn refused(&self, token: &Token, mut error: CallError) -> CallError {
        match self {
            Self::Asked(source) => source.invalidate(token),
            Self::Given(_) => {
                error.meaning = Meaning::PauseAccount;
                error.detail.server_text = one_line(&format!(
                    "the token that was given isn't taken, or not any more: sign in again and give a new one ({})",
                    error.detail.server_text
                ));
            }
        }
        error
    }
}

/// Where calls about no mailbox are routed: an app's by the organisation's system mailbox, a person's by their own.
pub(super) fn anchor(token: &Token, directory_id: &str) -> String {
    match person(token.expose()) {
        Some(name) => format!("UPN:{name}"),
        None => system_anchor(directory_id),
    }
}

/// Whose token it is, if a person's. It is only read, not believed: the server decides what it is worth.
fn person(token: &str) -> Option<String> {
    let claims = token.split('.').nth(1)?.trim_end_matches('=');
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let name = claims["upn"].as_str()?;
    (name.contains('@') && name.chars().all(|c| c.is_ascii_graphic())).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Token {
        Token::given(format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims)).into())
    }

    #[test]
    fn calls_of_a_person_are_routed_by_them_and_those_of_an_app_by_the_organisation() {
        let of_an_app = "APP:SystemMailbox{bb558c35-97f1-4cb9-8ff7-d53741dc928c}@6f1c";
        for (token, want) in [
            (
                token(r#"{"upn":"admin@uni.example"}"#),
                "UPN:admin@uni.example",
            ),
            (token(r#"{"appid":"x"}"#), of_an_app),
            (token(r#"{"upn":"a@b\r\nX: y"}"#), of_an_app),
            (token(r#"[]"#), of_an_app),
            (Token::given("opaque".into()), of_an_app),
            (Token::given("a.b.c".into()), of_an_app),
        ] {
            assert_eq!(anchor(&token, "6f1c"), want);
        }
    }

    #[test]
    fn a_token_that_was_given_and_is_refused_is_a_persons_matter() {
        let token = Token::given("secret-token".into());
        let tokens = Tokens::Given(token.clone());
        let refused = CallError::new(
            Meaning::SignInAgain,
            "InvalidAuthenticationToken",
            "expired",
        );
        let error = tokens.refused(&token, refused);
        assert_eq!(error.meaning, Meaning::PauseAccount);
        assert!(
            error.to_string().contains("give a new one (expired)"),
            "{error}"
        );
        assert!(!error.to_string().contains("secret-token"));
    }
}

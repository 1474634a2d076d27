//! NTLM version 2 (MS-NLMP), the client's side: two messages, the second of which proves the password to whoever sent the
//! challenge, bound to the TLS connection they came over. Pure.
//!
//! Version 1 is not spoken, whatever the server offers. Nothing is signed or sealed: that is TLS's work.

mod crypto;
mod message;
#[cfg(test)]
pub(crate) mod server;
#[cfg(test)]
mod tests;

use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;

pub(crate) use message::Challenge;

/// A user, as NTLM names one.
#[derive(Clone)]
pub(crate) struct Login {
    user: String,
    domain: String,
    password: SecretString,
}

/// What is new with each proof.
pub(crate) struct Fresh {
    /// Random.
    pub(crate) client_challenge: [u8; 8],
    /// Used if the server names no time of its own.
    pub(crate) now: OffsetDateTime,
}

impl Login {
    /// From `DOMAIN\user`, or a user principal name, which has its domain in it.
    pub(crate) fn new(name: &str, password: SecretString) -> Self {
        let (domain, user) = name.split_once('\\').unwrap_or(("", name));
        Self {
            user: user.to_owned(),
            domain: domain.to_owned(),
            password,
        }
    }

    /// The first message: what we speak.
    pub(crate) fn negotiate(&self) -> Vec<u8> {
        message::negotiate()
    }

    /// The second: proof for this challenge. `negotiated` is the first message, `binding` what ties the proof to the
    /// connection (RFC 5929), `target` whom it is meant for.
    pub(crate) fn authenticate(
        &self,
        negotiated: &[u8],
        challenge: &Challenge,
        binding: Option<&[u8]>,
        target: &str,
        fresh: &Fresh,
    ) -> Vec<u8> {
        let key = crypto::owf_v2(self.password.expose_secret(), &self.user, &self.domain);
        let time = challenge
            .timestamp()
            .unwrap_or_else(|| crypto::file_time(fresh.now));
        let info = challenge.bound_info(binding, target);
        let proof = crypto::prove(&key, challenge.nonce, fresh.client_challenge, time, &info);
        // With the server's own time in the proof, the older answer is left empty.
        let lm = if challenge.timestamp().is_some() {
            [0; 24]
        } else {
            crypto::lm_v2(&key, challenge.nonce, fresh.client_challenge)
        };
        let mut message = message::authenticate(
            &lm,
            &proof.response,
            &self.domain,
            &self.user,
            challenge.flags,
        );
        let whole = [negotiated, &challenge.raw, &message].concat();
        let mic = crypto::hmac_md5(&proof.session_key, &whole);
        message[message::MIC].copy_from_slice(&mic);
        message
    }
}

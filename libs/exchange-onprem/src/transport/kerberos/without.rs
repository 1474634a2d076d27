//! A build without Kerberos: nobody signs in by it.

use std::convert::Infallible;

use calgrant_exchange::CallError;
use secrecy::SecretString;

use crate::{ConnectError, Now, transport::connection::Reply};

/// There are none.
pub(crate) struct Tickets(Infallible);
/// Nothing is begun.
pub(crate) struct Begun(Infallible);
/// Nothing is sealed.
pub(crate) struct Seal(Infallible);

impl Tickets {
    pub(crate) fn new(
        _user: &str,
        _password: &SecretString,
        _host: &str,
        _now: Now,
    ) -> Result<Self, ConnectError> {
        Err(ConnectError::Kerberos(
            "this program was built without Kerberos: use one that was built with the cargo feature `kerberos`, which is on by default"
                .into(),
        ))
    }

    pub(crate) async fn ready(&self) -> Result<(), CallError> {
        match self.0 {}
    }

    pub(crate) async fn begin(
        &self,
        _binding: Option<&[u8]>,
    ) -> Result<(String, Begun), CallError> {
        match self.0 {}
    }

    pub(crate) fn learns(&self, _offered: &[&str]) -> bool {
        match self.0 {}
    }

    pub(crate) async fn forget(&self) {
        match self.0 {}
    }
}

impl Begun {
    pub(crate) fn is_answered(&self, _reply: &Reply) -> bool {
        match self.0 {}
    }

    pub(crate) fn finish(self, _reply: &Reply) -> Result<Seal, CallError> {
        match self.0 {}
    }

    pub(crate) fn refusal(self, _reply: &Reply) -> String {
        match self.0 {}
    }
}

impl Seal {
    pub(crate) fn seal(&mut self, _plain: &[u8]) -> Result<(String, Vec<u8>), CallError> {
        match self.0 {}
    }

    pub(crate) fn open(&mut self, _reply: &mut Reply) -> Result<(), CallError> {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_refused_in_words() {
        let now = || time::OffsetDateTime::UNIX_EPOCH;
        let made = Tickets::new("sa-1@uni.example", &"x".into(), "mail", now);
        let why = made.err().map(|error| error.to_string());
        assert!(why.is_some_and(|why| why.contains("built without Kerberos")));
    }
}

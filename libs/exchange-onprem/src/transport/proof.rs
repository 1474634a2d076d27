//! What proves to a server who sends requests, where that belongs to the connection: NTLM and Kerberos.

use std::sync::atomic::Ordering::SeqCst;

use base64::{Engine, engine::general_purpose::STANDARD};
use calgrant_exchange::{CallError, Meaning};

use super::{
    connection::{Connection, Reply},
    http::{Http, Outgoing, broken, offered, written},
    kerberos::Begun,
    ntlm::{Challenge, Fresh, Login},
};

/// What goes with a request.
pub(super) enum Proof {
    /// Nothing: the connection is signed in, or no sign-in belongs to it.
    Known,
    /// A header.
    Ntlm(String),
    /// A header, and what the server's answer is held against: it has to prove itself, too.
    Kerberos(String, Begun),
}

impl Proof {
    pub(super) fn header(&self) -> Option<&str> {
        match self {
            Self::Known => None,
            Self::Ntlm(header) | Self::Kerberos(header, _) => Some(header),
        }
    }
}

impl Http {
    /// What has to go with the next request on a connection. Where bodies are sealed, both sides agree before there is one.
    pub(super) async fn proof(
        &self,
        connection: &mut Connection,
        longest: usize,
    ) -> Result<Proof, CallError> {
        let asks_again = connection.seal.is_none() && self.forgetful.load(SeqCst);
        if connection.signed_in && !asks_again {
            return Ok(Proof::Known);
        }
        if let Some(login) = self.sign_in.login() {
            let header = self.ntlm(connection, &login, longest).await?;
            return Ok(Proof::Ntlm(header));
        }
        let Some(tickets) = &self.tickets else {
            return Ok(Proof::Known);
        };
        loop {
            let begun = tickets.begin(connection.binding.as_deref()).await;
            let (header, begun) = self.or_shut(begun)?;
            if !self.seals {
                return Ok(Proof::Kerberos(header, begun));
            }
            let reply = self.leg(connection, &header, longest).await?;
            if reply.status != 401 {
                connection.seal = Some(self.or_shut(begun.finish(&reply))?);
                connection.signed_in = true;
                return Ok(Proof::Known);
            }
            if !tickets.learns(&offered(&reply)) {
                return Err(self.not_taken(begun, &reply).await);
            }
        }
    }

    /// The reply to a request, once the server has proven itself, and opened if it is sealed.
    pub(super) async fn proven(
        &self,
        connection: &mut Connection,
        proof: Proof,
        mut reply: Reply,
    ) -> Result<Reply, CallError> {
        connection.signed_in = reply.status != 401;
        if let Proof::Kerberos(_, begun) = proof {
            if reply.status == 401 {
                return Err(self.not_taken(begun, &reply).await);
            }
            let is_the_servers = matches!(reply.status, 200..=299 | 500);
            if begun.is_answered(&reply) || is_the_servers {
                self.or_shut(begun.finish(&reply))
                    .map_err(|error| CallError {
                        unanswered: true,
                        ..error
                    })?;
            } else {
                // Something before the server answers in its place, and knows nothing of who we are.
                connection.signed_in = false;
            }
            if reply
                .header("persistent-auth")
                .eq_ignore_ascii_case("false")
            {
                connection.signed_in = false;
            }
        }
        if let Some(seal) = &mut connection.seal {
            seal.open(&mut reply)?;
        }
        Ok(reply)
    }

    /// Whether a request that was refused is to be sent again, otherwise proven. Nothing was done. Some servers forget after each
    /// request who the connection belongs to, and some know Kerberos by another name.
    pub(super) fn begins_anew(
        &self,
        connection: &Connection,
        proof: &Proof,
        reply: &Reply,
    ) -> bool {
        let Some(tickets) = &self.tickets else {
            return false;
        };
        if reply.status != 401 || connection.seal.is_some() {
            return false;
        }
        match proof {
            Proof::Known => {
                self.forgetful.store(true, SeqCst);
                true
            }
            Proof::Kerberos(..) => tickets.learns(&offered(reply)),
            Proof::Ntlm(_) => false,
        }
    }

    /// An error that takes a person ends the use of the account: the domain counts wrong passwords.
    pub(super) fn or_shut<T>(&self, result: Result<T, CallError>) -> Result<T, CallError> {
        if let Err(error) = &result
            && error.meaning == Meaning::PauseAccount
        {
            self.gate.shut(error);
        }
        result
    }

    /// The server refused a ticket. It may be an old one: the next is a new one.
    async fn not_taken(&self, begun: Begun, reply: &Reply) -> CallError {
        if let Some(tickets) = &self.tickets {
            tickets.forget().await;
        }
        let offers = offered(reply).join(", ");
        let why = begun.refusal(reply);
        self.gate.refused(format!("{why} It offers {offers}"))
    }

    /// A request that asks for nothing, to sign in with.
    async fn leg(
        &self,
        connection: &mut Connection,
        header: &str,
        longest: usize,
    ) -> Result<Reply, CallError> {
        let leg = Outgoing {
            headers: Vec::new(),
            body: String::new(),
            longest,
        };
        let message = written(&self.url, &leg, Some(header))?;
        connection
            .exchange(message, longest)
            .await
            .map_err(|lost| CallError {
                // Nothing was asked yet.
                unanswered: false,
                ..broken(lost)
            })
    }

    /// The first leg of NTLM on a connection: gives the header that proves who we are.
    async fn ntlm(
        &self,
        connection: &mut Connection,
        login: &Login,
        longest: usize,
    ) -> Result<String, CallError> {
        let first = login.negotiate();
        let header = format!("NTLM {}", STANDARD.encode(&first));
        let reply = self.leg(connection, &header, longest).await?;
        let challenge = reply
            .headers
            .get_all("www-authenticate")
            .iter()
            .filter_map(|value| value.to_str().ok()?.strip_prefix("NTLM "))
            .find_map(|text| Challenge::parse(&STANDARD.decode(text.trim()).ok()?));
        let Some(challenge) = challenge else {
            let text = format!(
                "no NTLM challenge came, but HTTP {} that offers {:?}",
                reply.status,
                offered(&reply)
            );
            let meaning = if reply.status == 401 {
                Meaning::PauseAccount
            } else {
                Meaning::Retry
            };
            return Err(CallError::new(meaning, "no_challenge", text));
        };
        let mut client_challenge = [0; 8];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut client_challenge)
            .map_err(|_| CallError::new(Meaning::Retry, "random", "no random numbers"))?;
        let fresh = Fresh {
            client_challenge,
            now: (self.now)(),
        };
        let target = format!("HTTP/{}", self.url.host().unwrap_or_default());
        let binding = connection.binding.as_deref();
        let proof = login.authenticate(&first, &challenge, binding, &target, &fresh);
        Ok(format!("NTLM {}", STANDARD.encode(proof)))
    }
}

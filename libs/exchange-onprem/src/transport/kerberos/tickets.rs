//! An account's tickets, and contexts begun with them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use calgrant_exchange::{CallError, Meaning};
use calgrant_gssapi::{Context, Credential, Failure};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::{
    failure::{Stage, classed},
    seal::Seal,
    spnego::{self, Scheme},
};
use crate::{
    ConnectError, Now,
    transport::{connection::Reply, http::by_status},
};

/// A ticket is got anew this long before it runs out.
const EARLY: Duration = Duration::from_secs(300);

/// An account, and the service that it gets tickets for.
pub(crate) struct Tickets {
    /// `sa-1@UNI.EXAMPLE`
    account: String,
    password: SecretString,
    /// `HTTP/mail.uni.example@`: which realm it is in, the KDC says.
    service: String,
    now: Now,
    held: Mutex<Option<Held>>,
    /// The server takes Kerberos by its own name alone.
    by_name: AtomicBool,
}

/// An initial ticket, and until when it is used.
#[derive(Clone)]
struct Held {
    credential: Arc<Credential>,
    until: OffsetDateTime,
}

impl Tickets {
    /// Those of an account (`sa-1@uni.example`) for the server of this name. None is got yet.
    ///
    /// # Errors
    /// The name of the account doesn't say its realm.
    pub(crate) fn new(
        user: &str,
        password: &SecretString,
        host: &str,
        now: Now,
    ) -> Result<Self, ConnectError> {
        Ok(Self {
            account: principal(user).ok_or_else(|| {
                ConnectError::Kerberos(format!(
                    "the account is called {user:?}, which names no realm: write it as sa-1@uni.example"
                ))
            })?,
            password: password.clone(),
            service: format!("HTTP/{}@", host.to_ascii_lowercase()),
            now,
            held: Mutex::new(None),
            by_name: AtomicBool::new(false),
        })
    }

    /// Learns from what a server offers that refused: whether it knows Kerberos by another name than we called it.
    pub(crate) fn learns(&self, offered: &[&str]) -> bool {
        let offers = |scheme: Scheme| {
            let name = scheme.name();
            offered.iter().any(|offer| offer.eq_ignore_ascii_case(name))
        };
        let by_name = offers(Scheme::Kerberos) && !offers(Scheme::Negotiate);
        by_name && !self.by_name.swap(true, SeqCst)
    }

    fn scheme(&self) -> Scheme {
        if self.by_name.load(SeqCst) {
            Scheme::Kerberos
        } else {
            Scheme::Negotiate
        }
    }

    /// Makes sure that there is an initial ticket.
    ///
    /// # Errors
    /// There can't be: why.
    pub(crate) async fn ready(&self) -> Result<(), CallError> {
        self.credential().await.map(drop)
    }

    /// The header that proves to the server who we are, on the connection that `binding` stands for, and what its answer
    /// is held against.
    ///
    /// # Errors
    /// There is no ticket: why.
    pub(crate) async fn begin(&self, binding: Option<&[u8]>) -> Result<(String, Begun), CallError> {
        let mut began = self.stepped(self.credential().await?, binding).await;
        if matches!(&began, Err(failure) if failure.is_expired()) {
            self.forget().await;
            began = self.stepped(self.credential().await?, binding).await;
        }
        let (context, token) =
            began.map_err(|failure| classed(&failure, Stage::Service, &self.service))?;
        let scheme = self.scheme();
        let token = STANDARD.encode(scheme.wrapped(token));
        let header = format!("{} {token}", scheme.name());
        let seal = Seal {
            context,
            scheme,
            service: self.service.trim_end_matches('@').to_owned(),
        };
        Ok((header, Begun(seal)))
    }

    /// What was got isn't taken any more.
    pub(crate) async fn forget(&self) {
        *self.held.lock().await = None;
    }

    /// The initial ticket. Whoever comes meanwhile waits, so that a wrong password is tried once.
    async fn credential(&self) -> Result<Arc<Credential>, CallError> {
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| held.until > (self.now)()) {
            return Ok(Arc::clone(&held.credential));
        }
        let (account, password) = (self.account.clone(), self.password.clone());
        let got =
            waited(move || Credential::for_password(&account, password.expose_secret())).await?;
        let (credential, life) =
            got.map_err(|failure| classed(&failure, Stage::Account, &self.account))?;
        let credential = Arc::new(credential);
        *held = Some(Held {
            credential: Arc::clone(&credential),
            until: (self.now)() + life.saturating_sub(EARLY).max(life / 2),
        });
        Ok(credential)
    }

    /// A context's first step, which may ask a KDC.
    async fn stepped(
        &self,
        credential: Arc<Credential>,
        binding: Option<&[u8]>,
    ) -> Result<(Context, Vec<u8>), Failure> {
        let (service, binding) = (self.service.clone(), binding.map(<[u8]>::to_vec));
        let step = move || -> Result<(Context, Vec<u8>), Failure> {
            let mut context = Context::to_service(credential, &service, binding)?;
            let token = context.step(&[])?;
            Ok((context, token))
        };
        waited(step)
            .await
            .unwrap_or(Err(Failure::Unfit("the thread that got a ticket ended")))
    }
}

/// Does what blocks on a thread that may.
async fn waited<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CallError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| CallError::new(Meaning::Retry, "kerberos", error.to_string()))
}

/// The principal of an account, whose realm is written in capitals: `sa-1@UNI.EXAMPLE`.
fn principal(user: &str) -> Option<String> {
    let (name, realm) = user.split_once('@')?;
    let odd = |c: char| c.is_whitespace() || c.is_control() || ['\\', '/', '@'].contains(&c);
    let fits = |part: &str| !part.is_empty() && !part.contains(odd);
    (fits(name) && fits(realm)).then(|| format!("{name}@{}", realm.to_uppercase()))
}

/// A context that waits for the server's answer.
pub(crate) struct Begun(Seal);

impl Begun {
    /// Whether a reply has anything to hold against it.
    pub(crate) fn is_answered(&self, reply: &Reply) -> bool {
        answer(reply).is_some()
    }

    /// The server proves that it is the one whose ticket we sent.
    ///
    /// # Errors
    /// It doesn't.
    pub(crate) fn finish(mut self, reply: &Reply) -> Result<Seal, CallError> {
        let Some(answer) = answer(reply).filter(|answer| answer.agreed) else {
            let text = format!(
                "{} didn't prove to be who it is, but answered HTTP {}",
                self.0.service, reply.status
            );
            return Err(CallError::new(
                by_status(reply),
                "kerberos_server_not_proven",
                text,
            ));
        };
        self.0
            .context
            .step(&answer.token)
            .map_err(|failure| classed(&failure, Stage::Server, &self.0.service))?;
        if self.0.context.is_mutual_and_sealing() {
            return Ok(self.0);
        }
        let failure = Failure::Refused {
            major: 0,
            minor: 0,
            text: "it proved nothing, or doesn't seal".into(),
        };
        Err(classed(&failure, Stage::Server, &self.0.service))
    }

    /// Why the server refused, as far as it says.
    pub(crate) fn refusal(mut self, reply: &Reply) -> String {
        let said = answer(reply)
            .filter(|answer| !answer.token.is_empty())
            .and_then(|answer| self.0.context.step(&answer.token).err())
            .map_or_else(String::new, |failure| format!(" ({failure})"));
        format!(
            "the server takes no ticket for {}{said}: is that name registered for the account that it runs as (setspn -Q), and is its clock right?",
            self.0.service
        )
    }
}

/// What the server says in its header.
fn answer(reply: &Reply) -> Option<spnego::Answer> {
    let headers = reply.headers.get_all("www-authenticate").iter();
    headers
        .filter_map(|value| {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            let known = [Scheme::Negotiate, Scheme::Kerberos].map(Scheme::name);
            known
                .iter()
                .any(|known| known.eq_ignore_ascii_case(scheme))
                .then_some(token)
        })
        .find_map(|token| spnego::answer(&STANDARD.decode(token.trim()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_knows_another_name_is_called_by_it_from_then_on() {
        let now = || OffsetDateTime::UNIX_EPOCH;
        for (offers, learns) in [
            (&["Kerberos"][..], true),
            (&["kerberos", "Basic"][..], true),
            (&["Negotiate", "Kerberos"][..], false),
            (&["Negotiate"][..], false),
            (&["Basic"][..], false),
            (&[][..], false),
        ] {
            let tickets = Tickets::new("a@b", &"x".into(), "mail", now).unwrap();
            assert_eq!(tickets.learns(offers), learns, "{offers:?}");
            assert_eq!(tickets.scheme() == Scheme::Kerberos, learns);
            // Once: what it refuses then is refused.
            assert!(!tickets.learns(offers));
        }
    }

    #[test]
    fn names_with_a_realm() {
        for (user, want) in [
            ("sa-1@uni.example", Some("sa-1@UNI.EXAMPLE")),
            ("Sa-1@UNI.example", Some("Sa-1@UNI.EXAMPLE")),
            ("UNI\\sa-1", None),
            ("sa-1", None),
            ("sa-1@", None),
            ("@uni.example", None),
            ("a@b@c", None),
            ("UNI\\a@uni.example", None),
            ("host/a@uni.example", None),
        ] {
            assert_eq!(principal(user).as_deref(), want, "{user}");
        }
    }
}

//! One connection: messages in their order, each answered before the next is read.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::faults::About;
use crate::ldap::answer::{self, Answer};
use crate::ldap::entry::View;
use crate::ldap::frame::{self, Frame};
use crate::ldap::message::{Bind, Control, Message, Paging, Request, Search};
use crate::ldap::outcome::Outcome;
use crate::ldap::root::{self, PAGES, START_TLS, STAYS_HERE, WHO_AM_I};
use crate::ldap::search::{self, Cursors, Found, Terms};
use crate::ldap::signing_in::{Domain, SignedIn, sign_in};
use crate::world::{Outage, World};

/// A connection is closed when nothing comes for so long: Active Directory's `MaxConnIdleTime`.
const IDLE: Duration = Duration::from_secs(900);
/// How long a client may take to seal a connection.
const SEALING: Duration = Duration::from_secs(30);

/// What bytes go through.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What connections share.
pub(crate) struct Service {
    pub(crate) world: Arc<World>,
    /// One at least.
    pub(crate) domains: Vec<Domain>,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) stop: CancellationToken,
}

/// What follows from a message.
enum Next {
    Say(Vec<u8>),
    /// From the bytes behind this answer on, the connection is sealed.
    Seal(Vec<u8>),
    Nothing,
    Close,
}

struct Conversation<'a> {
    service: &'a Service,
    who: Option<SignedIn>,
    sealed: bool,
    cursors: Cursors,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(service: &Service, stream: Box<dyn Stream>, sealed: bool) {
    let mut stream = BufReader::new(stream);
    let mut talk = Conversation {
        service,
        who: None,
        sealed,
        cursors: Cursors::default(),
    };
    loop {
        let came = tokio::select! {
            came = timeout(IDLE, frame::read(&mut stream)) => came,
            () = service.stop.cancelled() => return,
        };
        let message = match came {
            Ok(Ok(Frame::Message(bytes))) => Message::read(&bytes).ok(),
            Ok(Ok(Frame::Malformed)) => None,
            Ok(Ok(Frame::Closed) | Err(_)) | Err(_) => return,
        };
        let Some(message) = message else {
            service.world.judge.refused("LDAP: no message");
            let goodbye = answer::disconnection(&Outcome::malformed());
            let _ = stream.write_all(&goodbye).await;
            let _ = stream.shutdown().await;
            return;
        };
        match talk.answer(message).await {
            Next::Say(bytes) => {
                if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
            Next::Seal(bytes) => {
                // what was sent before the answer isn't sealed, and must not be taken for it
                if !stream.buffer().is_empty() || stream.write_all(&bytes).await.is_err() {
                    return;
                }
                let _ = stream.flush().await;
                let sealing = service.acceptor.accept(stream.into_inner());
                let Ok(Ok(sealed)) = timeout(SEALING, sealing).await else {
                    service.world.judge.refused("LDAP StartTLS: not sealed");
                    return;
                };
                let sealed: Box<dyn Stream> = Box::new(sealed);
                stream = BufReader::new(sealed);
                talk.sealed = true;
            }
            Next::Nothing => {}
            Next::Close => {
                let _ = stream.shutdown().await;
                return;
            }
        }
    }
}

impl Conversation<'_> {
    fn world(&self) -> &World {
        &self.service.world
    }

    /// The account's name, as the verdict has it.
    fn name(&self) -> &str {
        self.who.as_ref().map_or("", |who| &who.account.name)
    }

    fn count(&self, kind: &str) {
        self.world().judge.front("ldap");
        self.world().judge.call(kind, self.name());
    }

    async fn answer(&mut self, message: Message) -> Next {
        let id = message.id;
        let unknown = message.controls.iter().any(|control| {
            control.critical && ![PAGES, STAYS_HERE].contains(&control.number.as_str())
        });
        match message.request {
            Request::Unbind => {
                self.count("LDAP unbind");
                Next::Close
            }
            Request::Abandon => {
                // each operation has been answered before the next message is read
                self.count("LDAP abandon");
                Next::Nothing
            }
            Request::Bind(bind) => self.bind(id, &bind),
            Request::Extended(number) => self.extended(id, &number),
            Request::Other(tag) => {
                self.count("LDAP change");
                self.world().judge.refused("LDAP change");
                let outcome = match self.who {
                    Some(_) => Outcome::read_only(),
                    None => Outcome::not_signed_in(),
                };
                Next::Say(answer::ended(id, tag + 1, &outcome))
            }
            Request::Search(search) => {
                self.count("LDAP search");
                let found = if unknown {
                    failed(Outcome::unknown_control())
                } else {
                    match self.search(&search, &message.controls).await {
                        Some(found) => found,
                        None => return Next::Close,
                    }
                };
                let outcome = &found.outcome;
                if !outcome.is_success() {
                    let code = outcome.code;
                    self.world().judge.refused(&format!("LDAP search: {code}"));
                }
                Next::Say(answer::found(id, &found))
            }
        }
    }

    fn bind(&mut self, id: i32, bind: &Bind) -> Next {
        // whatever comes of it, who was signed in before isn't any more
        self.who = None;
        let signed_in = sign_in(self.world(), &self.service.domains, bind, self.sealed);
        let outcome = match signed_in {
            Ok(who) => {
                self.who = who;
                Outcome::success()
            }
            Err(outcome) => outcome,
        };
        self.count("LDAP bind");
        Next::Say(answer::ended(id, Answer::Bind as u64, &outcome))
    }

    fn extended(&mut self, id: i32, number: &str) -> Next {
        match number {
            START_TLS => {
                self.count("LDAP StartTLS");
                if self.sealed {
                    let outcome = Outcome::protected_already();
                    Next::Say(answer::extended(id, &outcome, START_TLS, None))
                } else {
                    let outcome = Outcome::success();
                    Next::Seal(answer::extended(id, &outcome, START_TLS, None))
                }
            }
            WHO_AM_I => {
                self.count("LDAP who am I");
                let name = self.who.as_ref().map(|who| {
                    let tenant = &self.service.domains[who.domain].tenant;
                    let netbios = tenant.site.as_ref().map_or("", |site| &site.netbios);
                    format!("u:{netbios}\\{}", tenant.users[who.account.user].sam())
                });
                let name = name.unwrap_or_default();
                Next::Say(answer::extended(id, &Outcome::success(), "", Some(&name)))
            }
            _ => {
                self.count("LDAP unknown");
                self.world().judge.refused("LDAP: unknown operation");
                let outcome = Outcome::unknown_operation();
                Next::Say(answer::extended(id, &outcome, "", None))
            }
        }
    }

    /// What a search finds; `None` where the connection breaks instead.
    async fn search(&mut self, asked: &Search, controls: &[Control]) -> Option<Found> {
        let service = self.service;
        let world = &service.world;
        let about = About {
            kind: "LDAP search",
            app: self.name(),
        };
        if let Some(outage) = world.outage_now() {
            return match outage {
                Outage::Unavailable => Some(failed(Outcome::unavailable())),
                Outage::Throttled(_) => Some(failed(Outcome::busy())),
                Outage::Cut => None,
            };
        }
        if world.fault("connection_reset", about) {
            return None;
        }
        for (fault, outcome) in [
            ("throttle_429", Outcome::busy()),
            ("unavailable_503", Outcome::unavailable()),
            ("token_expired_401", Outcome::not_signed_in()),
        ] {
            if world.fault(fault, about) {
                return Some(failed(outcome));
            }
        }
        let is_lost = world.fault("lost_reply", about);
        let paging = controls.iter().find(|control| control.number == PAGES);
        let paging = match paging.map(|control| control.value.as_deref().map(Paging::read)) {
            None => None,
            Some(Some(Ok(paging))) => Some(paging),
            Some(None | Some(Err(_))) => return Some(failed(Outcome::bad_control())),
        };
        let terms = Terms {
            paging,
            stays_here: controls.iter().any(|control| control.number == STAYS_HERE),
            dice: &world.dice,
        };
        let at = self.who.as_ref().map_or(0, |who| who.domain);
        let domain = &service.domains[at];
        let tenant = &domain.tenant;
        if let Some(site) = &tenant.site {
            let takes = Duration::from_millis(world.dials().ldap_latency_ms);
            site.clock(world).pass(takes).await;
        }
        let now = world.clock.now();
        let tree = domain.tree(now);
        let view = View {
            tenant,
            tree: &tree,
            now,
        };
        let found = if asked.base.is_empty() {
            root::search(&view, asked)
        } else if self.who.is_none() {
            failed(Outcome::not_signed_in())
        } else {
            search::search(&view, asked, &terms, &mut self.cursors)
        };
        (!is_lost).then_some(found)
    }
}

fn failed(outcome: Outcome) -> Found {
    Found {
        outcome,
        ..Found::default()
    }
}

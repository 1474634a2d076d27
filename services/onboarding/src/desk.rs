//! What is done about one event.

use std::time::Duration;

use calgrant_bus::Delivery;
use calgrant_contract::{
    cloud_event::{CloudEvent, EventFault},
    onboarding::OnboardingEvent,
    pb::{
        ledger::v1::{
            AcceptEventRequest, AcceptEventResponse, FinishEventRequest,
            ledger_service_client::LedgerServiceClient,
        },
        provisioning::v1::{
            CancelOperationRequest, Lane, RevokeDelegationRequest, RunDelegationRequest,
            provisioning_service_client::ProvisioningServiceClient, run_delegation_request::What,
        },
    },
    words,
};
use calgrant_domain::{
    DeadCause, DelegationId, EventKind, EventMoment, EventVerdict, event::CALLER,
};
use time::OffsetDateTime;
use tonic::{Code, Request, Status, transport::Channel};
use tracing::{debug, info};

/// The header by which a person lets an event through that the brake held.
const APPROVED: &str = "x-approved-by";
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// What is left of the time for acting when we stop.
const MARGIN: Duration = Duration::from_secs(5);
/// Longest reference to an event that is kept with what it brings about, in characters.
const TICKET: usize = 200;

/// What became of an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do about it.
    Done,
    /// It can't be used: a person must look at it.
    PutAside {
        /// Why, as a word.
        cause: DeadCause,
        /// Why, for people.
        reason: String,
    },
    /// Not now.
    Again {
        /// What it waits for.
        why: String,
    },
}

/// Deals with events, by what status decides and through the api.
#[derive(Debug, Clone)]
pub struct Desk {
    provisioning: ProvisioningServiceClient<Channel>,
    ledger: LedgerServiceClient<Channel>,
}

impl Desk {
    /// A desk that speaks to the api and to status.
    pub fn new(api: Channel, status: Channel) -> Self {
        Self {
            provisioning: ProvisioningServiceClient::new(api),
            ledger: LedgerServiceClient::new(status),
        }
    }

    /// Deals with an event that arrived, at `now`.
    pub async fn deal_with(&self, delivery: &Delivery, now: OffsetDateTime) -> Outcome {
        let headers = delivery.headers();
        let read = CloudEvent::read(delivery.content_type(), &headers, &delivery.body);
        let event = match read.and_then(|event| OnboardingEvent::read(&event, now)) {
            Ok(event) => event,
            Err(EventFault::Foreign(kind)) => {
                debug!(event.kind = kind, "an event that nobody here asked for");
                return Outcome::Done;
            }
            Err(EventFault::Malformed(reason)) => return put_aside(DeadCause::Malformed, reason),
            Err(EventFault::Newer(reason)) => return put_aside(DeadCause::Newer, reason),
        };
        let approved = headers.iter().any(|(name, _)| name == APPROVED);
        self.act_on(&event, approved)
            .await
            .unwrap_or_else(|status| refused(&status))
    }

    async fn act_on(&self, event: &OnboardingEvent, approved: bool) -> Result<Outcome, Status> {
        let moment = &event.moment;
        let request = request(AcceptEventRequest {
            source: moment.source.clone(),
            id: moment.id.clone(),
            time_micros: i64::try_from(moment.at.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX),
            kind: words::event_kind_to_wire(moment.kind),
            tenant: event.tenant.to_string(),
            address: event
                .address
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            mailbox_id: event.mailbox.map(|id| id.to_string()).unwrap_or_default(),
            delegation_id: event
                .delegation
                .map(|id| id.to_string())
                .unwrap_or_default(),
            approved,
        });
        let decided = self
            .ledger
            .clone()
            .accept_event(request)
            .await?
            .into_inner();
        let verdict = words::event_verdict("verdict", decided.verdict)
            .map_err(|bad| Status::internal(bad.to_string()))?;
        info!(event.id = moment.id, event.source = moment.source, kind = %moment.kind, verdict = %verdict, "event {} of {}: {verdict}", moment.id, moment.source);
        Ok(match verdict {
            EventVerdict::Repeat | EventVerdict::Older => Outcome::Done,
            EventVerdict::Wait => Outcome::Again {
                why: "another event of the same mailbox is being acted on".to_owned(),
            },
            EventVerdict::Brake => put_aside(DeadCause::Brake, decided.why),
            EventVerdict::Act if decided.address.is_empty() => put_aside(
                DeadCause::Unknown,
                "data.mailbox.id: no mailbox of this key is known here yet; send its address too"
                    .to_owned(),
            ),
            EventVerdict::Act => {
                let limit = Duration::from_millis(decided.acting_millis).saturating_sub(MARGIN);
                match tokio::time::timeout(limit, self.act(event, &decided)).await {
                    Ok(acted) => acted.map(|()| Outcome::Done)?,
                    Err(_) => Outcome::Again {
                        why: "it couldn't be acted on in time".to_owned(),
                    },
                }
            }
        })
    }

    /// Ends what earlier events began, then does what this one asks for.
    async fn act(
        &self,
        event: &OnboardingEvent,
        decided: &AcceptEventResponse,
    ) -> Result<(), Status> {
        self.cancel(&decided.overruled_operation_ids).await?;
        let mut operation_ids = Vec::new();
        for delegation in &decided.delegation_ids {
            let id: DelegationId = delegation
                .parse()
                .map_err(|_| Status::internal("status names a delegation that is none"))?;
            operation_ids.push(match event.moment.kind {
                EventKind::Joined | EventKind::Moved => {
                    self.grant(event, id, &decided.address).await?
                }
                EventKind::Left => self.revoke(event, id, &decided.address).await?,
            });
        }
        let finished = request(FinishEventRequest {
            source: event.moment.source.clone(),
            id: event.moment.id.clone(),
            operation_ids: operation_ids.clone(),
        });
        let finished = self
            .ledger
            .clone()
            .finish_event(finished)
            .await?
            .into_inner();
        if finished.overtaken {
            self.cancel(&operation_ids).await?;
        }
        Ok(())
    }

    async fn grant(
        &self,
        event: &OnboardingEvent,
        delegation: DelegationId,
        address: &str,
    ) -> Result<String, Status> {
        let run = request(RunDelegationRequest {
            what: Some(What::DelegationId(delegation.to_string())),
            request_id: event.moment.request_id(delegation),
            lane: Lane::Interactive.into(),
            ticket: ticket(&event.moment),
            mailboxes: vec![address.to_owned()],
            // Whoever names the delegation says that the mailbox belongs to it.
            beyond_selector: event.delegation.is_some(),
            await_mailboxes: true,
            ..Default::default()
        });
        let operation = self.provisioning.clone().run_delegation(run).await?;
        Ok(operation.into_inner().id)
    }

    /// Takes away what the delegation gave, if it gave anything. By the mailbox's key where that is said: an address may be somebody
    /// else's by now.
    async fn revoke(
        &self,
        event: &OnboardingEvent,
        delegation: DelegationId,
        address: &str,
    ) -> Result<String, Status> {
        let mailbox = event
            .mailbox
            .map_or_else(|| address.to_owned(), |id| id.to_string());
        let revoke = request(RevokeDelegationRequest {
            delegation: delegation.to_string(),
            mailboxes: vec![mailbox],
            request_id: event.moment.request_id(delegation),
            lane: Lane::Interactive.into(),
            ticket: ticket(&event.moment),
            ..Default::default()
        });
        let operation = self.provisioning.clone().revoke_delegation(revoke).await?;
        Ok(operation.into_inner().id)
    }

    async fn cancel(&self, operations: &[String]) -> Result<(), Status> {
        for id in operations {
            let cancel = request(CancelOperationRequest { id: id.clone() });
            match self.provisioning.clone().cancel_operation(cancel).await {
                Err(status) if status.code() != Code::NotFound => return Err(status),
                _ => {}
            }
        }
        Ok(())
    }
}

fn put_aside(cause: DeadCause, reason: String) -> Outcome {
    Outcome::PutAside { cause, reason }
}

/// What a refusal of ours or of the api makes of the event.
fn refused(status: &Status) -> Outcome {
    match status.code() {
        Code::NotFound => put_aside(DeadCause::Unknown, status.message().to_owned()),
        Code::InvalidArgument
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Unimplemented => put_aside(DeadCause::Refused, status.message().to_owned()),
        _ => Outcome::Again {
            why: format!("{:?}: {}", status.code(), status.message()),
        },
    }
}

/// Which event brought something about.
fn ticket(moment: &EventMoment) -> String {
    let text = format!("event {} of {}", moment.id, moment.source);
    let printable = text.chars().filter(|c| !c.is_control());
    printable.take(TICKET).collect()
}

/// A request in our own name.
fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER);
    let caller = tonic::metadata::MetadataValue::from_static(CALLER);
    request.metadata_mut().insert("calgrant-caller", caller);
    request
}

//! What was done for every mailbox, and what is known of it.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use calgrant_bus::Bus;
use calgrant_contract::{
    pb::{provisioning::v1::SiteKind, status::v1 as pb},
    refusal, words,
};
use calgrant_domain::{BadInput, Observed, OperationId, SiteSpec, TenantName, TenantSpec};
use calgrant_runtime::shutdown::Tasks;
use calgrant_store::{Access, DeadLetterFilter, DeadLetterState, JobView, Store};
use futures::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::info;

use crate::{
    alerts,
    dead_letters::{self, Resolving},
    mailbox_watch,
    pages::Page,
    provisioning::{caller, timestamp},
    refuse,
};

/// `StatusService`.
#[derive(Clone)]
pub(crate) struct Queries {
    pub(crate) store: Store,
    pub(crate) tasks: Tasks,
    /// Once it is there.
    pub(crate) bus: Arc<OnceLock<Bus>>,
}

impl Queries {
    fn bus(&self) -> Result<&Bus, Status> {
        let away = || refusal::unavailable("the broker is away; try again", Duration::from_secs(1));
        self.bus.get().ok_or_else(away)
    }

    async fn tenant(&self, raw: &str) -> Result<TenantSpec, Status> {
        let tenant: TenantName = raw.parse().map_err(refuse::field("tenant"))?;
        let found = self.store.tenant(&tenant).await.map_err(refuse::store)?;
        let unknown = || refusal::not_found("tenant", raw, "there is no such tenant");
        Ok(found.ok_or_else(unknown)?.spec)
    }
}

/// Refuses a filter that says nothing, unless really all are meant; and a ticket that is none.
fn meant(
    filter: Option<&pb::DeadLetterFilter>,
    all: bool,
    ticket: &str,
) -> Result<DeadLetterFilter, Status> {
    let says_nothing = filter.is_none_or(|filter| *filter == pb::DeadLetterFilter::default());
    if says_nothing && !all {
        return Err(refusal::bad_input(&[BadInput::missing(
            "filter",
            "name at least one condition, or say all",
        )]));
    }
    if ticket.chars().count() > 200 || ticket.chars().any(char::is_control) {
        let bad = BadInput::new("ticket", ticket, "at most 200 printable characters");
        return Err(refusal::bad_input(&[bad]));
    }
    dead_letters::filter(filter)
}

#[tonic::async_trait]
impl pb::status_service_server::StatusService for Queries {
    async fn list_operation_mailboxes(
        &self,
        request: Request<pb::ListOperationMailboxesRequest>,
    ) -> Result<Response<pb::ListOperationMailboxesResponse>, Status> {
        let request = request.into_inner();
        let operation: OperationId = request
            .operation_id
            .parse()
            .map_err(refuse::field("operation_id"))?;
        let outcomes = request
            .outcomes
            .iter()
            .map(|raw| words::outcome("outcomes", *raw))
            .collect::<Result<Vec<_>, _>>()
            .map_err(refuse::field("outcomes"))?;
        let page = Page::of(
            &(operation, &outcomes, request.outstanding_only),
            request.page_size,
            &request.page_token,
        )?;
        if self
            .store
            .operation(operation)
            .await
            .map_err(refuse::store)?
            .is_none()
        {
            return Err(refusal::not_found(
                "operation_id",
                &request.operation_id,
                "there is no such operation",
            ));
        }
        let jobs = self
            .store
            .jobs(
                operation,
                &outcomes,
                request.outstanding_only,
                page.after,
                page.size,
            )
            .await
            .map_err(refuse::store)?;
        let next_page_token = page.next(jobs.len(), jobs.last().map(|last| last.id.as_uuid()));
        Ok(Response::new(pb::ListOperationMailboxesResponse {
            mailboxes: jobs.into_iter().map(mailbox).collect(),
            next_page_token,
        }))
    }

    async fn batch_get_mailbox_access(
        &self,
        request: Request<pb::BatchGetMailboxAccessRequest>,
    ) -> Result<Response<pb::BatchGetMailboxAccessResponse>, Status> {
        let request = request.into_inner();
        if request.names.is_empty() || request.names.len() > 1000 {
            return Err(refusal::bad_input(&[BadInput::new(
                "names",
                request.names.len(),
                "1 to 1,000 names",
            )]));
        }
        let tenant = self.tenant(&request.tenant).await?;
        let known = self
            .store
            .access(&tenant.name, &request.names)
            .await
            .map_err(refuse::store)?;
        let told = known.into_iter();
        let told = told.map(|known| access(known, &tenant.sites));
        Ok(Response::new(pb::BatchGetMailboxAccessResponse {
            access: told.collect(),
        }))
    }

    type WatchMailboxAccessStream =
        Pin<Box<dyn Stream<Item = Result<pb::WatchMailboxAccessResponse, Status>> + Send>>;

    async fn watch_mailbox_access(
        &self,
        request: Request<pb::WatchMailboxAccessRequest>,
    ) -> Result<Response<Self::WatchMailboxAccessStream>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.tenant).await?;
        let (sender, receiver) = tokio::sync::mpsc::channel(64);
        let (store, tasks) = (self.store.clone(), self.tasks.clone());
        self.tasks.spawn("watch access", async move {
            let watched = mailbox_watch::watch(
                &store,
                &tasks,
                &tenant.name,
                request.after_sequence,
                &sender,
            );
            if let Err(status) = watched.await {
                // A watcher that is gone needs no answer.
                let _gone = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_dead_letters(
        &self,
        request: Request<pb::ListDeadLettersRequest>,
    ) -> Result<Response<pb::ListDeadLettersResponse>, Status> {
        let request = request.into_inner();
        let filter = dead_letters::filter(request.filter.as_ref())?;
        let state = match request.state() {
            pb::DeadLetterState::Unspecified | pb::DeadLetterState::Waiting => {
                DeadLetterState::Waiting
            }
            pb::DeadLetterState::Replayed => DeadLetterState::Replayed,
            pb::DeadLetterState::Discarded => DeadLetterState::Discarded,
        };
        let page = Page::of(
            &(&filter, request.state),
            request.page_size,
            &request.page_token,
        )?;
        let letters = self
            .store
            .dead_letters(&filter, state, page.after, page.size)
            .await
            .map_err(refuse::store)?;
        let next_page_token = page.next(
            letters.len(),
            letters.last().map(|letter| letter.id.as_uuid()),
        );
        Ok(Response::new(pb::ListDeadLettersResponse {
            dead_letters: letters.into_iter().map(dead_letters::to_wire).collect(),
            next_page_token,
        }))
    }

    async fn replay_dead_letters(
        &self,
        request: Request<pb::ReplayDeadLettersRequest>,
    ) -> Result<Response<pb::ReplayDeadLettersResponse>, Status> {
        let by = caller(&request)?;
        let request = request.into_inner();
        let filter = meant(request.filter.as_ref(), request.all, &request.ticket)?;
        let bus = self.bus()?;
        let replaying = Resolving::Replay(bus);
        let replayed = replaying
            .all(&self.store, &filter, &by, &request.ticket)
            .await?;
        info!(replayed, caller = by, "dead letters are replayed");
        Ok(Response::new(pb::ReplayDeadLettersResponse { replayed }))
    }

    async fn discard_dead_letters(
        &self,
        request: Request<pb::DiscardDeadLettersRequest>,
    ) -> Result<Response<pb::DiscardDeadLettersResponse>, Status> {
        let by = caller(&request)?;
        let request = request.into_inner();
        let filter = meant(request.filter.as_ref(), request.all, &request.ticket)?;
        let discarded = Resolving::Discard
            .all(&self.store, &filter, &by, &request.ticket)
            .await?;
        info!(discarded, caller = by, "dead letters are discarded");
        Ok(Response::new(pb::DiscardDeadLettersResponse { discarded }))
    }

    async fn list_alerts(
        &self,
        request: Request<pb::ListAlertsRequest>,
    ) -> Result<Response<pb::ListAlertsResponse>, Status> {
        let answer = alerts::list(&self.store, request.get_ref()).await?;
        Ok(Response::new(answer))
    }

    async fn acknowledge_alert(
        &self,
        request: Request<pb::AcknowledgeAlertRequest>,
    ) -> Result<Response<pb::Alert>, Status> {
        let by = caller(&request)?;
        let alert = alerts::acknowledge(&self.store, &by, request.get_ref()).await?;
        Ok(Response::new(alert))
    }
}

fn mailbox(job: JobView) -> pb::OperationMailbox {
    let state = match job.state.as_str() {
        "ready" => pb::JobState::Ready,
        "published" => pb::JobState::Published,
        _ => pb::JobState::Ended,
    };
    pb::OperationMailbox {
        job_id: job.id.to_string(),
        mailbox_id: job.mailbox.to_string(),
        name: job.name,
        site: words::site_kind_to_wire(job.site),
        state: state.into(),
        outcome: job.outcome.map_or(0, words::outcome_to_wire),
        reason: job
            .reason
            .map(|reason| reason.to_string())
            .unwrap_or_default(),
        advice: job
            .reason
            .map(|reason| reason.advice().to_owned())
            .unwrap_or_default(),
        server_code: job.detail.server_code,
        server_text: job.detail.server_text,
        request_id: job.detail.request_id,
        before: job
            .before
            .map(|before| match before {
                Observed::Absent => "absent".to_owned(),
                Observed::Present(rights) => rights.to_string(),
            })
            .unwrap_or_default(),
        attempts: job.attempts,
        not_before: (!job.waiting.is_empty()).then(|| timestamp(job.not_before)),
        waiting: job.waiting,
        end_time: job.ended_at.map(timestamp),
        account: job.account,
        lines: job.lines,
        kept_by: job.kept_by.map_or_else(String::new, |id| id.to_string()),
    }
}

fn access(known: Access, sites: &[SiteSpec]) -> pb::MailboxAccess {
    let state = match (known.mailbox, known.pending, known.granted) {
        (None, ..) => pb::AccessState::Unknown,
        (_, _, Some(true)) => pb::AccessState::Granted,
        (_, true, _) => pb::AccessState::Pending,
        (_, _, Some(false)) => pb::AccessState::NotGranted,
        (_, _, None) => pb::AccessState::Unknown,
    };
    let home = sites
        .iter()
        .find(|site| state == pb::AccessState::Granted && known.site == Some(site.kind()));
    pb::MailboxAccess {
        site: known.site.map_or(0, words::site_kind_to_wire),
        accounts: home.map_or_else(Vec::new, |site| site.accounts_of(&known.trustee)),
        name: known.name,
        mailbox_id: known.mailbox.map(|id| id.to_string()).unwrap_or_default(),
        state: state.into(),
        role: known.role,
        trustee: known.trustee,
        verify_time: known.verified_at.map(timestamp),
        reason: known
            .reason
            .map(|reason| reason.to_string())
            .unwrap_or_default(),
        advice: known
            .reason
            .map(|reason| reason.advice().to_owned())
            .unwrap_or_default(),
        operation_id: known.operation.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// A site that a caller named.
pub(crate) fn site(raw: i32) -> Result<calgrant_domain::SiteKind, Status> {
    SiteKind::try_from(raw)
        .map_or_else(
            |_| words::site_kind("site", raw),
            |site| words::site_kind("site", site.into()),
        )
        .map_err(refuse::field("site"))
}

//! What api and worker ask.

use std::time::Duration;

use calgrant_budget::Terms;
use calgrant_contract::{
    bus::{parse, uuid},
    fleet, listing,
    pb::ledger::v1 as pb,
    provisioning::{What, delegation_spec_to_wire, submission},
    refusal,
    setup::moment,
    watch,
};
use calgrant_domain::{
    AccountName, Address, BadInput, Begin, DelegationId, JobId, ListId, MailboxId,
    OperationFailure, OperationId, SiteKind, TenantName, name::Caller,
};
use calgrant_runtime::clock;
use calgrant_store::{
    Accepted, NewOperation, Page, Pause, Stopped, Store, StoreError, StoredDelegation, WatchedGroup,
};
use futures::StreamExt;
use tonic::{Request, Response, Status, Streaming};
use tracing::warn;

use crate::{
    backs, events,
    operating::{scene::Standing, shown::with_standing},
    provisioning, refuse,
};

/// How long messages of a cancelled operation may stay on the broker: as long as jobs are awaited, and a little more.
const ON_BROKER: Duration = Duration::from_secs(1200);

/// `LedgerService`.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    pub(crate) store: Store,
    pub(crate) terms: Terms,
}

type Answer<T> = Result<Response<T>, Status>;

fn operation(raw: &str) -> Result<OperationId, Status> {
    raw.parse().map_err(refuse::field("operation_id"))
}

/// A claim's id; none from one that knows of no claims.
fn claim(raw: &[u8]) -> Result<Option<uuid::Uuid>, Status> {
    if raw.is_empty() {
        return Ok(None);
    }
    uuid("claim", raw).map(Some).map_err(refuse::field("claim"))
}

fn job_ids(raw: &[Vec<u8>]) -> Result<Vec<JobId>, Status> {
    raw.iter()
        .map(|id| uuid("jobs", id).map(JobId::from_uuid))
        .collect::<Result<_, _>>()
        .map_err(refuse::field("jobs"))
}

/// An account by its name alone.
fn bare(
    tenant: &TenantName,
    site: SiteKind,
    account: &AccountName,
) -> calgrant_contract::pb::fleet::v1::Account {
    let spec = calgrant_contract::pb::fleet::v1::AccountSpec {
        name: account.to_string(),
        ..Default::default()
    };
    calgrant_contract::pb::fleet::v1::Account {
        tenant: tenant.to_string(),
        site: calgrant_contract::words::site_kind_to_wire(site),
        spec: Some(spec),
        ..Default::default()
    }
}

/// An error of a stream that is being stored.
enum Broken {
    Store(StoreError),
    Stream(Status),
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Ledger {
    /// The answer to whoever asked for an operation.
    async fn accepted(
        &self,
        accepted: Result<Accepted, StoreError>,
        request_id: &str,
    ) -> Answer<pb::AcceptResponse> {
        let id = match accepted {
            Ok(Accepted::New(id) | Accepted::Known(id)) => id,
            Err(StoreError::RequestIdReused(operation)) => {
                return Err(refusal::reused_request_id(
                    request_id,
                    &operation.to_string(),
                ));
            }
            Err(other) => return Err(refuse::store(other)),
        };
        let view = self
            .store
            .operation(id)
            .await
            .map_err(refuse::store)?
            .ok_or_else(|| refuse::store(StoreError::NotFound("operation")))?;
        Ok(Response::new(pb::AcceptResponse {
            operation: Some(provisioning::operation(&view)),
        }))
    }
}

#[tonic::async_trait]
impl pb::ledger_service_server::LedgerService for Ledger {
    async fn accept(&self, request: Request<pb::AcceptRequest>) -> Answer<pb::AcceptResponse> {
        let request = request.into_inner();
        let caller: Caller = request
            .caller
            .parse()
            .map_err(refuse::field("calgrant-caller"))?;
        let submission = submission(request.request.unwrap_or_default())
            .map_err(|faults| refusal::bad_input(&faults))?;
        let canonical = submission.canonical();
        let now = clock::now();
        let (delegation, tenant, new_delegation) = match submission.what {
            What::Stored(id) => {
                let stored = self
                    .store
                    .delegation(id)
                    .await
                    .map_err(refuse::store)?
                    .ok_or_else(|| {
                        refusal::not_found(
                            "delegation_id",
                            &id.to_string(),
                            "there is no such delegation",
                        )
                    })?;
                (id, stored.spec.tenant, None)
            }
            What::New(spec) => {
                provisioning::check(&self.store, &spec, "spec").await?;
                let id = DelegationId::new(now, uuid::Uuid::new_v4());
                (
                    id,
                    spec.tenant.clone(),
                    Some(StoredDelegation {
                        id,
                        spec,
                        created_by: caller.to_string(),
                        created_at: now,
                    }),
                )
            }
        };
        let new = NewOperation {
            id: OperationId::new(now, uuid::Uuid::new_v4()),
            tenant,
            delegation,
            new_delegation,
            lane: submission.lane,
            validate_only: submission.validate_only,
            caller: caller.to_string(),
            request_id: submission.request_id.clone(),
            canonical,
            ticket: submission.ticket,
            confined: submission.confined,
            traceparent: request.traceparent,
            canary: submission.canary,
            at: now,
        };
        let accepted = self.store.accept(&new).await;
        self.accepted(accepted, &submission.request_id).await
    }

    async fn accept_back(
        &self,
        request: Request<pb::AcceptBackRequest>,
    ) -> Answer<pb::AcceptResponse> {
        let new = backs::new(&self.store, request.into_inner()).await?;
        let accepted = self.store.accept_back(&new).await;
        // What is left of the listing when this is interrupted is done by and by.
        if accepted.is_ok()
            && let Err(cause) = self.store.list_from_records(clock::now()).await
        {
            warn!(error = %cause, "couldn't list at once what is taken back; trying again");
        }
        self.accepted(accepted, &new.request_id).await
    }

    async fn store_mailbox_list(
        &self,
        request: Request<Streaming<pb::StoreMailboxListRequest>>,
    ) -> Answer<pb::StoreMailboxListResponse> {
        let mut parts = request.into_inner();
        let first = parts.message().await?.ok_or_else(|| {
            refusal::bad_input(&[BadInput::missing("lines", "the list is empty")])
        })?;
        let tenant: TenantName = first.tenant.parse().map_err(refuse::field("tenant"))?;
        let now = clock::now();
        let id = ListId::new(now, uuid::Uuid::new_v4());
        let lines = |part: pb::StoreMailboxListRequest| {
            part.lines
                .into_iter()
                .map(|line| {
                    Ok((
                        line.line,
                        parse::<Address>("address", &line.address)
                            .map_err(refuse::field("address"))?
                            .to_string(),
                    ))
                })
                .collect::<Result<Vec<_>, Status>>()
                .map_err(Broken::Stream)
        };
        let rest = parts.map(move |part| part.map_err(Broken::Stream).and_then(lines));
        let all = futures::stream::iter([lines(first)]).chain(rest);
        let (names, repeats) =
            self.store
                .store_list(id, &tenant, all, now)
                .await
                .map_err(|broken| match broken {
                    Broken::Store(StoreError::NotFound("tenant")) => refusal::not_found(
                        "tenant",
                        tenant.as_str(),
                        "there is no such tenant; apply its file first",
                    ),
                    Broken::Store(error) => refuse::store(error),
                    Broken::Stream(status) => status,
                })?;
        let repeated_lines =
            repeats.iter().map(
                |repeat| calgrant_contract::pb::provisioning::v1::RepeatedLine {
                    line: repeat.line.into(),
                    first_line: repeat.first_line.into(),
                },
            );
        Ok(Response::new(pb::StoreMailboxListResponse {
            id: id.to_string(),
            names,
            repeated_lines: repeated_lines.collect(),
        }))
    }

    async fn claim_listing(
        &self,
        request: Request<pb::ClaimListingRequest>,
    ) -> Answer<pb::ClaimListingResponse> {
        let request = request.into_inner();
        let now = clock::now();
        let claim = self
            .store
            .claim_listing(
                &request.owner,
                Duration::from_millis(request.claim_millis),
                now,
            )
            .await
            .map_err(refuse::store)?;
        let answer = claim.map(|claim| pb::ClaimListingResponse {
            operation_id: claim.operation.to_string(),
            spec: Some(delegation_spec_to_wire(&claim.delegation.spec)),
            traceparent: claim.traceparent,
            mailboxes: claim.confined.as_ref().map_or_else(Vec::new, |confined| {
                confined.mailboxes.iter().map(ToString::to_string).collect()
            }),
            beyond_selector: claim
                .confined
                .as_ref()
                .is_some_and(|confined| confined.beyond_selector),
            await_mailboxes: claim
                .confined
                .as_ref()
                .is_some_and(|confined| confined.awaits),
            age_millis: u64::try_from((now - claim.accepted_at).whole_milliseconds()).unwrap_or(0),
        });
        Ok(Response::new(answer.unwrap_or_default()))
    }

    async fn keep_listing(
        &self,
        request: Request<pb::KeepListingRequest>,
    ) -> Answer<pb::KeepListingResponse> {
        let request = request.into_inner();
        let hold = Duration::from_millis(request.claim_millis);
        self.store
            .keep_listing(
                operation(&request.operation_id)?,
                &request.owner,
                hold,
                request.waiting_for.as_deref(),
                clock::now(),
            )
            .await
            .map_err(refuse::store)?;
        Ok(Response::new(pb::KeepListingResponse {}))
    }

    async fn record_exclusions(
        &self,
        request: Request<pb::RecordExclusionsRequest>,
    ) -> Answer<pb::RecordExclusionsResponse> {
        let request = request.into_inner();
        let mailboxes = request
            .mailboxes
            .iter()
            .map(|id| uuid("mailboxes", id).map(MailboxId::from_uuid))
            .collect::<Result<Vec<_>, _>>()
            .map_err(refuse::field("mailboxes"))?;
        self.store
            .record_exclusions(
                operation(&request.operation_id)?,
                &request.owner,
                &mailboxes,
            )
            .await
            .map_err(refuse::store)?;
        Ok(Response::new(pb::RecordExclusionsResponse {}))
    }

    async fn record_jobs(
        &self,
        request: Request<pb::RecordJobsRequest>,
    ) -> Answer<pb::RecordJobsResponse> {
        let request = request.into_inner();
        let id = operation(&request.operation_id)?;
        let listed = request
            .listed
            .into_iter()
            .map(listing::from_wire)
            .collect::<Result<Vec<_>, _>>()
            .map_err(refuse::field("listed"))?;
        let page = Page {
            site: request.site.parse().map_err(refuse::field("site"))?,
            trustee: request.trustee,
            listed,
        };
        match self
            .store
            .record_jobs(
                id,
                &request.owner,
                Duration::from_millis(request.claim_millis),
                &page,
                clock::now(),
            )
            .await
        {
            Ok(()) => Ok(Response::new(pb::RecordJobsResponse { go_on: true })),
            Err(StoreError::ClaimLost) => {
                Ok(Response::new(pb::RecordJobsResponse { go_on: false }))
            }
            Err(other) => Err(refuse::store(other)),
        }
    }

    async fn list_parked(
        &self,
        request: Request<pb::ListParkedRequest>,
    ) -> Answer<pb::ListParkedResponse> {
        let request = request.into_inner();
        let after = if request.after.is_empty() {
            uuid::Uuid::nil()
        } else {
            uuid("after", &request.after).map_err(refuse::field("after"))?
        };
        let parked = self.store.parked(after, request.limit.clamp(1, 1000)).await;
        let parked = parked.map_err(refuse::store)?.into_iter();
        let jobs = parked.map(|parked| pb::ParkedJob {
            job: parked.job.as_uuid().into_bytes().to_vec(),
            operation_id: parked.operation.to_string(),
            tenant: parked.tenant.to_string(),
            site: parked.site.to_string(),
            address: parked.address.to_string(),
            other_trustee: parked.other_trustee.to_string(),
            parks: parked.parks,
        });
        Ok(Response::new(pb::ListParkedResponse {
            jobs: jobs.collect(),
        }))
    }

    async fn record_moved(
        &self,
        request: Request<pb::RecordMovedRequest>,
    ) -> Answer<pb::RecordMovedResponse> {
        let request = request.into_inner();
        let operation = operation(&request.operation_id)?;
        let job = uuid("job", &request.job).map_err(refuse::field("job"))?;
        let listed = listing::from_wire(request.listed.unwrap_or_default());
        let page = Page {
            site: request.site.parse().map_err(refuse::field("site"))?,
            trustee: request.trustee,
            listed: vec![listed.map_err(refuse::field("listed"))?],
        };
        let job = JobId::from_uuid(job);
        let moved = self.store.record_moved(operation, job, &page, clock::now());
        let moved = moved.await.map_err(refuse::store)?;
        Ok(Response::new(pb::RecordMovedResponse { moved }))
    }

    async fn read_mailbox_list(
        &self,
        request: Request<pb::ReadMailboxListRequest>,
    ) -> Answer<pb::ReadMailboxListResponse> {
        let request = request.into_inner();
        let id: ListId = request.id.parse().map_err(refuse::field("id"))?;
        let limit = request.limit.clamp(1, 10_000);
        let names = self
            .store
            .list_names(id, request.after_line, limit)
            .await
            .map_err(refuse::store)?;
        let full = names.len() >= limit as usize;
        let next_after = names
            .last()
            .filter(|_| full)
            .and_then(|name| name.lines.first().copied())
            .unwrap_or(0);
        Ok(Response::new(pb::ReadMailboxListResponse {
            names: names
                .into_iter()
                .map(|name| pb::ListName {
                    address: name.address.to_string(),
                    lines: name.lines,
                })
                .collect(),
            next_after,
        }))
    }

    async fn finish_listing(
        &self,
        request: Request<pb::FinishListingRequest>,
    ) -> Answer<pb::FinishListingResponse> {
        let request = request.into_inner();
        let failure: Option<OperationFailure> =
            calgrant_domain::outcome::optional(&request.failure)
                .map_err(refuse::field("failure"))?;
        let failure = failure.map(|failure| (failure, request.failure_text.as_str()));
        self.store
            .finish_listing(
                operation(&request.operation_id)?,
                &request.owner,
                failure,
                clock::now(),
            )
            .await
            .map_err(refuse::store)?;
        Ok(Response::new(pb::FinishListingResponse {}))
    }

    async fn claim_ready(
        &self,
        request: Request<pb::ClaimReadyRequest>,
    ) -> Answer<pb::ClaimReadyResponse> {
        let request = request.into_inner();
        let ready = self
            .store
            .claim_ready(
                request.limit.clamp(1, 5000),
                request.window.max(1),
                claim(&request.claim)?.unwrap_or_else(uuid::Uuid::new_v4),
                clock::now(),
            )
            .await
            .map_err(refuse::store)?;
        let jobs = ready.iter().map(|ready| pb::ReadyJob {
            job: Some((&ready.job).into()),
            lane: ready.lane.to_string(),
            traceparent: ready.traceparent.clone(),
        });
        Ok(Response::new(pb::ClaimReadyResponse {
            jobs: jobs.collect(),
        }))
    }

    async fn give_back(
        &self,
        request: Request<pb::GiveBackRequest>,
    ) -> Answer<pb::GiveBackResponse> {
        let request = request.into_inner();
        let jobs = job_ids(&request.jobs)?;
        if !jobs.is_empty() {
            self.store.give_back(&jobs).await.map_err(refuse::store)?;
        }
        if let Some(claim) = claim(&request.claim)? {
            self.store
                .settle_claim(claim)
                .await
                .map_err(refuse::store)?;
        }
        Ok(Response::new(pb::GiveBackResponse {}))
    }

    async fn begin_writes(
        &self,
        request: Request<pb::BeginWritesRequest>,
    ) -> Answer<pb::BeginWritesResponse> {
        let read = |begin: pb::Begin| {
            Ok(Begin {
                job: JobId::from_uuid(uuid("job", &begin.job)?),
                before: begin.before.unwrap_or_default().try_into()?,
            })
        };
        let begins = request
            .into_inner()
            .begins
            .into_iter()
            .map(read)
            .collect::<Result<Vec<_>, BadInput>>()
            .map_err(refuse::field("begins"))?;
        let answers = self
            .store
            .begin(&begins, clock::now())
            .await
            .map_err(refuse::store)?;
        let answers = answers.into_iter().map(|answer| match answer {
            Ok(before) => pb::BeginAnswer {
                refused: String::new(),
                before: Some(before.into()),
            },
            Err(refused) => pb::BeginAnswer {
                refused: refused.to_string(),
                before: None,
            },
        });
        Ok(Response::new(pb::BeginWritesResponse {
            answers: answers.collect(),
        }))
    }

    async fn get_fleet(
        &self,
        request: Request<pb::GetFleetRequest>,
    ) -> Answer<pb::GetFleetResponse> {
        let version = self.store.fleet_version().await.map_err(refuse::store)?;
        let cancelled = self
            .store
            .cancelled(ON_BROKER, clock::now())
            .await
            .map_err(refuse::store)?
            .iter()
            .map(|id| id.as_uuid().into_bytes().to_vec())
            .collect();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let answer = pb::GetFleetResponse {
            unchanged: version == request.into_inner().version,
            version,
            cancelled,
            longest_call_millis: millis(self.terms.longest_call),
            abandoned_hold_millis: millis(self.terms.abandoned_hold),
            ..Default::default()
        };
        if answer.unchanged {
            return Ok(Response::new(answer));
        }
        let tenants = self
            .store
            .tenants("", i64::MAX)
            .await
            .map_err(refuse::store)?;
        let pauses = self.store.pauses().await.map_err(refuse::store)?;
        let stopped = self.store.stopped().await.map_err(refuse::store)?;
        let refused = |pause: &Pause| {
            let account = bare(&pause.tenant, pause.site, &pause.account);
            with_standing(account, Standing::Refused(pause), true)
        };
        let by_operator = |stopped: &Stopped| {
            let account = bare(&stopped.tenant, stopped.site, &stopped.account);
            with_standing(account, Standing::Stopped(stopped), true)
        };
        Ok(Response::new(pb::GetFleetResponse {
            tenants: tenants
                .iter()
                .map(|tenant| fleet::tenant_to_wire(&tenant.spec))
                .collect(),
            paused: pauses.iter().map(refused).collect(),
            stopped: stopped.iter().map(by_operator).collect(),
            ..answer
        }))
    }

    async fn check_ended(
        &self,
        request: Request<pb::CheckEndedRequest>,
    ) -> Answer<pb::CheckEndedResponse> {
        let jobs = job_ids(&request.into_inner().jobs)?;
        let ended = self.store.ended(&jobs).await.map_err(refuse::store)?;
        Ok(Response::new(pb::CheckEndedResponse { ended }))
    }

    async fn report_account(
        &self,
        request: Request<pb::ReportAccountRequest>,
    ) -> Answer<pb::ReportAccountResponse> {
        let request = request.into_inner();
        let reason = request.paused.then_some(request.reason.as_str());
        self.store
            .pause(
                &request.tenant,
                &request.site,
                &request.account,
                reason,
                clock::now(),
            )
            .await
            .map_err(refuse::store)?;
        if !request.paused {
            let expires = moment(request.certificate_expire_millis.saturating_mul(1000));
            self.store
                .certificate_expires(&request.tenant, &request.site, &request.account, expires)
                .await
                .map_err(refuse::store)?;
        }
        Ok(Response::new(pb::ReportAccountResponse {}))
    }

    async fn accept_event(
        &self,
        request: Request<pb::AcceptEventRequest>,
    ) -> Answer<pb::AcceptEventResponse> {
        let answer = events::accept(&self.store, request.get_ref()).await?;
        Ok(Response::new(answer))
    }

    async fn claim_group(
        &self,
        request: Request<pb::ClaimGroupRequest>,
    ) -> Answer<pb::ClaimGroupResponse> {
        let hold = Duration::from_millis(request.into_inner().claim_millis);
        let claimed = self.store.claim_group(hold, clock::now()).await;
        let answer = claimed
            .map_err(refuse::store)?
            .map(|group| pb::ClaimGroupResponse {
                tenant: group.tenant.to_string(),
                site: group.site.to_string(),
                address: group.address.to_string(),
            });
        Ok(Response::new(answer.unwrap_or_default()))
    }

    async fn report_group(
        &self,
        request: Request<pb::ReportGroupRequest>,
    ) -> Answer<pb::ReportGroupResponse> {
        let request = request.into_inner();
        let seen = watch::group_seen(&request).map_err(refuse::field("managed"))?;
        let group = WatchedGroup {
            tenant: request.tenant.parse().map_err(refuse::field("tenant"))?,
            site: request.site.parse().map_err(refuse::field("site"))?,
            address: request.address.parse().map_err(refuse::field("address"))?,
        };
        self.store
            .report_group(&group, seen.as_ref(), clock::now())
            .await
            .map_err(refuse::store)?;
        Ok(Response::new(pb::ReportGroupResponse {}))
    }

    async fn finish_event(
        &self,
        request: Request<pb::FinishEventRequest>,
    ) -> Answer<pb::FinishEventResponse> {
        let answer = events::finish(&self.store, request.get_ref()).await?;
        Ok(Response::new(answer))
    }
}

//! Delegations and operations: queries, cancelling, watching.

use std::{pin::Pin, time::Duration};

use calgrant_contract::{
    pb::{Timestamp, provisioning::v1 as pb},
    provisioning, refusal, words,
};
use calgrant_domain::{
    Counts, DelegationId, DelegationSpec, OperationId, Outcome, TenantName, name::Caller,
};
use calgrant_runtime::clock;
use calgrant_store::{OperationView, Release, Store, StoredDelegation};
use futures::Stream;
use time::OffsetDateTime;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{estimates::Estimates, keeping, pages::Page, refuse};

/// What status doesn't do itself.
const ASK_THE_API: &str = "ask the api to start operations";

/// How often a watcher looks for changes.
const LOOK: Duration = Duration::from_millis(200);

/// The part of `ProvisioningService` that status serves.
#[derive(Debug, Clone)]
pub(crate) struct Provisioning {
    pub(crate) store: Store,
    pub(crate) tasks: calgrant_runtime::shutdown::Tasks,
    pub(crate) estimates: Estimates,
}

/// Who asks, from the metadata.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<String, Status> {
    let raw = request
        .metadata()
        .get("calgrant-caller")
        .map(|value| value.to_str().unwrap_or_default())
        .unwrap_or("anonymous");
    raw.parse::<Caller>()
        .map(|caller| caller.to_string())
        .map_err(refuse::field("calgrant-caller"))
}

pub(crate) fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp {
        seconds: at.unix_timestamp(),
        nanos: i32::try_from(at.nanosecond()).unwrap_or(0),
    }
}

pub(crate) fn counts(counts: &Counts) -> pb::Counts {
    let outcomes = Outcome::ALL
        .iter()
        .filter(|outcome| counts.of(**outcome) > 0)
        .map(|outcome| pb::OutcomeCount {
            outcome: words::outcome_to_wire(*outcome),
            count: counts.of(*outcome),
        });
    pb::Counts {
        accepted: counts.accepted,
        outstanding: counts.outstanding(),
        outcomes: outcomes.collect(),
    }
}

pub(crate) fn operation(view: &OperationView) -> pb::Operation {
    pb::Operation {
        id: view.id.to_string(),
        tenant: view.tenant.to_string(),
        kind: words::operation_kind_to_wire(view.kind),
        delegation_id: view
            .delegation
            .map_or_else(String::new, |id| id.to_string()),
        trustee: view.trustee.clone(),
        undoes: view.undoes.map_or_else(String::new, |id| id.to_string()),
        hold: view.hold.map_or(0, words::hold_to_wire),
        releases: Vec::new(),
        state: words::operation_state_to_wire(view.state),
        lane: words::lane_to_wire(view.lane),
        validate_only: view.validate_only,
        counts: Some(counts(&view.counts)),
        failure: view.failure.clone(),
        failure_text: view.failure_text.clone(),
        waiting_for: view.waiting_for.clone(),
        requested_by: view.requested_by.clone(),
        ticket: view.ticket.clone(),
        create_time: Some(timestamp(view.created_at)),
        end_time: view.ended_at.map(timestamp),
        sequence: view.sequence,
        merged_lines: view.merged_lines,
        excluded: view.excluded,
        parked: view.parked,
        estimate: None,
        mailboxes: view.confined_to.clone(),
        dead_letters: 0,
        forgotten: view.forgotten,
        by_itself: view.kept.is_some(),
    }
}

fn release(release: &Release) -> pb::Release {
    pb::Release {
        hold: words::hold_to_wire(release.hold),
        released_by: release.released_by.clone(),
        ticket: release.ticket.clone(),
        release_time: Some(timestamp(release.released_at)),
    }
}

fn delegation(stored: &StoredDelegation) -> pb::Delegation {
    pb::Delegation {
        id: stored.id.to_string(),
        spec: Some(provisioning::delegation_spec_to_wire(&stored.spec)),
        create_time: Some(timestamp(stored.created_at)),
        created_by: stored.created_by.clone(),
        kept: None,
    }
}

/// Checks a delegation against what is stored: its tenant, that tenant's sites, its list.
pub(crate) async fn check(store: &Store, spec: &DelegationSpec, field: &str) -> Result<(), Status> {
    let under = |name: &str| {
        if field.is_empty() {
            name.to_owned()
        } else {
            format!("{field}.{name}")
        }
    };
    let tenant = store
        .tenant(&spec.tenant)
        .await
        .map_err(refuse::store)?
        .ok_or_else(|| {
            refusal::not_found(
                &under("tenant"),
                spec.tenant.as_str(),
                "there is no such tenant; apply its file first",
            )
        })?;
    if let Some(trustee) = spec
        .trustees
        .iter()
        .find(|trustee| tenant.spec.site(trustee.site).is_none())
    {
        return Err(refusal::not_found(
            &under("trustees.site"),
            trustee.site.as_str(),
            "the tenant has no such site",
        ));
    }
    if let calgrant_domain::Selector::List(list) = &spec.selector
        && !store
            .has_list(*list, &spec.tenant)
            .await
            .map_err(refuse::store)?
    {
        return Err(refusal::not_found(
            &under("selector.mailbox_list"),
            &list.to_string(),
            "the tenant has no such list; upload it first",
        ));
    }
    Ok(())
}

impl Provisioning {
    async fn view(&self, id: OperationId) -> Result<pb::Operation, Status> {
        let found = self.store.operation(id).await.map_err(refuse::store)?;
        let Some(view) = found else {
            let why = "there is no such operation";
            return Err(refusal::not_found("id", &id.to_string(), why));
        };
        let letters = self.store.dead_letters_waiting(Some(id)).await;
        let releases = self.store.releases(id).await.map_err(refuse::store)?;
        Ok(pb::Operation {
            dead_letters: letters.map_err(refuse::store)?,
            estimate: self.estimates.of(&view).await.map_err(refuse::store)?,
            releases: releases.iter().map(release).collect(),
            ..operation(&view)
        })
    }

    async fn watch(
        self,
        id: OperationId,
        mut after: u64,
        sender: tokio::sync::mpsc::Sender<Result<pb::WatchOperationResponse, Status>>,
    ) -> Result<(), Status> {
        if after == 0 {
            let now = self.view(id).await?;
            after = now.sequence;
            let ended = now.end_time.is_some();
            if sender
                .send(Ok(pb::WatchOperationResponse {
                    operation: Some(now),
                }))
                .await
                .is_err()
                || ended
            {
                return Ok(());
            }
        }
        let now = self.view(id).await?;
        if now.end_time.is_some() && now.sequence == after {
            // Whoever has seen the end has seen all.
            return Ok(());
        }
        loop {
            // The rest of the operation hardly changes; what does is in the event.
            let events = self
                .store
                .events(id, after, 100)
                .await
                .map_err(refuse::store)?;
            if events.is_empty() {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = sender.closed() => return Ok(()),
                    () = self.tasks.stop().cancelled() => return Err(refusal::unavailable("this replica stops; watch again", LOOK)),
                }
                continue;
            }
            let now = self.view(id).await?;
            for event in events {
                after = event.sequence;
                let last = event.state.is_final();
                let end_time = now.end_time.filter(|_| last);
                let then = pb::Operation {
                    state: words::operation_state_to_wire(event.state),
                    counts: Some(counts(&event.counts)),
                    waiting_for: event.waiting_for,
                    sequence: event.sequence,
                    end_time,
                    ..now.clone()
                };
                if sender
                    .send(Ok(pb::WatchOperationResponse {
                        operation: Some(then),
                    }))
                    .await
                    .is_err()
                    || last
                {
                    return Ok(());
                }
            }
        }
    }
}

#[tonic::async_trait]
impl pb::provisioning_service_server::ProvisioningService for Provisioning {
    async fn create_delegation(
        &self,
        request: Request<pb::CreateDelegationRequest>,
    ) -> Result<Response<pb::Delegation>, Status> {
        let created_by = caller(&request)?;
        let spec = provisioning::delegation_spec(request.into_inner().spec.unwrap_or_default())
            .map_err(|faults| {
                refusal::bad_input(
                    &faults
                        .into_iter()
                        .map(|bad| bad.within("spec"))
                        .collect::<Vec<_>>(),
                )
            })?;
        check(&self.store, &spec, "spec").await?;
        let now = clock::now();
        let stored = StoredDelegation {
            id: DelegationId::new(now, uuid::Uuid::new_v4()),
            spec,
            created_by,
            created_at: now,
        };
        self.store
            .create_delegation(&stored)
            .await
            .map_err(refuse::store)?;
        Ok(Response::new(delegation(&stored)))
    }

    async fn get_delegation(
        &self,
        request: Request<pb::GetDelegationRequest>,
    ) -> Result<Response<pb::Delegation>, Status> {
        let id: DelegationId = request
            .into_inner()
            .id
            .parse()
            .map_err(refuse::field("id"))?;
        let found = self.store.delegation(id).await.map_err(refuse::store)?;
        let missing = || refusal::not_found("id", &id.to_string(), "there is no such delegation");
        let mut found = [delegation(&found.ok_or_else(missing)?)];
        keeping::tell(&self.store, &mut found)
            .await
            .map_err(refuse::store)?;
        let [found] = found;
        Ok(Response::new(found))
    }

    async fn list_delegations(
        &self,
        request: Request<pb::ListDelegationsRequest>,
    ) -> Result<Response<pb::ListDelegationsResponse>, Status> {
        let request = request.into_inner();
        let tenant: TenantName = request.tenant.parse().map_err(refuse::field("tenant"))?;
        let page = Page::of(&tenant, request.page_size, &request.page_token)?;
        let stored = self
            .store
            .delegations(&tenant, page.after, page.size)
            .await
            .map_err(refuse::store)?;
        let next_page_token = page.next(stored.len(), stored.last().map(|last| last.id.as_uuid()));
        let mut delegations: Vec<_> = stored.iter().map(delegation).collect();
        keeping::tell(&self.store, &mut delegations)
            .await
            .map_err(refuse::store)?;
        Ok(Response::new(pb::ListDelegationsResponse {
            delegations,
            next_page_token,
        }))
    }

    async fn run_delegation(
        &self,
        _: Request<pb::RunDelegationRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        Err(refusal::unimplemented(ASK_THE_API))
    }

    async fn revoke_delegation(
        &self,
        _: Request<pb::RevokeDelegationRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        Err(refusal::unimplemented(ASK_THE_API))
    }

    async fn revoke_trustee(
        &self,
        _: Request<pb::RevokeTrusteeRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        Err(refusal::unimplemented(ASK_THE_API))
    }

    async fn undo_operation(
        &self,
        _: Request<pb::UndoOperationRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        Err(refusal::unimplemented(ASK_THE_API))
    }

    async fn verify_delegation(
        &self,
        _: Request<pb::VerifyDelegationRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        Err(refusal::unimplemented(ASK_THE_API))
    }

    async fn release_operation(
        &self,
        request: Request<pb::ReleaseOperationRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let by = caller(&request)?;
        let request = request.into_inner();
        let id: OperationId = request.id.parse().map_err(refuse::field("id"))?;
        if let Some(bad) = provisioning::check_ticket(&request.ticket) {
            return Err(refusal::bad_input(&[bad]));
        }
        self.view(id).await?;
        self.store
            .release(id, &by, &request.ticket, clock::now())
            .await
            .map_err(refuse::store)?;
        self.view(id).await.map(Response::new)
    }

    async fn get_operation(
        &self,
        request: Request<pb::GetOperationRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let id = request
            .into_inner()
            .id
            .parse()
            .map_err(refuse::field("id"))?;
        self.view(id).await.map(Response::new)
    }

    async fn list_operations(
        &self,
        request: Request<pb::ListOperationsRequest>,
    ) -> Result<Response<pb::ListOperationsResponse>, Status> {
        let request = request.into_inner();
        let tenant: Option<TenantName> = if request.tenant.is_empty() {
            None
        } else {
            Some(request.tenant.parse().map_err(refuse::field("tenant"))?)
        };
        let page = Page::of(&tenant, request.page_size, &request.page_token)?;
        let views = self
            .store
            .operations(tenant.as_ref(), page.after, page.size)
            .await
            .map_err(refuse::store)?;
        let next_page_token = page.next(views.len(), views.last().map(|last| last.id.as_uuid()));
        Ok(Response::new(pb::ListOperationsResponse {
            operations: views.iter().map(operation).collect(),
            next_page_token,
        }))
    }

    type WatchOperationStream =
        Pin<Box<dyn Stream<Item = Result<pb::WatchOperationResponse, Status>> + Send>>;

    async fn watch_operation(
        &self,
        request: Request<pb::WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        let request = request.into_inner();
        let id: OperationId = request.id.parse().map_err(refuse::field("id"))?;
        self.view(id).await?;
        let (sender, receiver) = tokio::sync::mpsc::channel(16);
        let this = self.clone();
        self.tasks.spawn("watch", async move {
            if let Err(status) = this.watch(id, request.after_sequence, sender.clone()).await {
                // A watcher that is gone needs no answer.
                let _gone = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn cancel_operation(
        &self,
        request: Request<pb::CancelOperationRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let id: OperationId = request
            .into_inner()
            .id
            .parse()
            .map_err(refuse::field("id"))?;
        self.view(id).await?;
        self.store
            .cancel(id, clock::now())
            .await
            .map_err(refuse::store)?;
        self.view(id).await.map(Response::new)
    }

    async fn upload_mailbox_list(
        &self,
        _: Request<Streaming<pb::UploadMailboxListRequest>>,
    ) -> Result<Response<pb::UploadMailboxListResponse>, Status> {
        Err(refusal::unimplemented("send lists to the api"))
    }
}

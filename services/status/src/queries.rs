//! What was done for every mailbox, and what is known of it.

use calgrant_contract::{
    pb::{provisioning::v1::SiteKind, status::v1 as pb},
    refusal, words,
};
use calgrant_domain::{BadInput, Observed, OperationId, TenantName};
use calgrant_store::{Access, JobView, Store};
use tonic::{Request, Response, Status};

use crate::{pages::Page, provisioning::timestamp, refuse};

/// `StatusService`.
#[derive(Debug, Clone)]
pub(crate) struct Queries {
    pub(crate) store: Store,
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
        let tenant: TenantName = request.tenant.parse().map_err(refuse::field("tenant"))?;
        if request.names.is_empty() || request.names.len() > 1000 {
            return Err(refusal::bad_input(&[BadInput::new(
                "names",
                request.names.len(),
                "1 to 1,000 names",
            )]));
        }
        if self
            .store
            .tenant(&tenant)
            .await
            .map_err(refuse::store)?
            .is_none()
        {
            return Err(refusal::not_found(
                "tenant",
                tenant.as_str(),
                "there is no such tenant",
            ));
        }
        let known = self
            .store
            .access(&tenant, &request.names)
            .await
            .map_err(refuse::store)?;
        Ok(Response::new(pb::BatchGetMailboxAccessResponse {
            access: known.into_iter().map(access).collect(),
        }))
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

fn access(known: Access) -> pb::MailboxAccess {
    let state = match (known.mailbox, known.pending, known.granted) {
        (None, ..) => pb::AccessState::Unknown,
        (_, _, Some(true)) => pb::AccessState::Granted,
        (_, true, _) => pb::AccessState::Pending,
        (_, _, Some(false)) => pb::AccessState::NotGranted,
        (_, _, None) => pb::AccessState::Unknown,
    };
    pb::MailboxAccess {
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

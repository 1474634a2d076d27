//! Status, as a worker asks it.

use async_trait::async_trait;
use calgrant_contract::{
    bus::parse,
    pb::ledger::v1::{
        Begin as PbBegin, BeginAnswer, CheckEndedRequest, GetFleetRequest, GetFleetResponse,
        ReportAccountRequest, ledger_service_client::LedgerServiceClient,
    },
    setup::micros,
};
use calgrant_domain::{
    AccountName, BadInput, Begin, BeginRefusal, JobId, Observed, OperationId, SiteKind, TenantName,
};
use calgrant_runtime::waiting;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::warn;

use crate::{
    begins::{self, Begins},
    round::Ledger,
};

/// How an account stands.
#[derive(Debug, Clone, Copy)]
pub enum Stands<'a> {
    /// It works.
    Working {
        /// When its certificate expires, if it signs in with one.
        expires: Option<OffsetDateTime>,
    },
    /// It is paused.
    Paused {
        /// Why, and what to do. Without secrets.
        reason: &'a str,
    },
}

/// A client of the ledger that waits while status is away.
#[derive(Debug, Clone)]
pub struct StatusLedger {
    client: LedgerServiceClient<Channel>,
    begins: Begins,
    stop: CancellationToken,
}

/// Which account of which site.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountKey {
    /// Whose.
    pub tenant: TenantName,
    /// Where.
    pub site: SiteKind,
    /// Which.
    pub account: AccountName,
}

impl StatusLedger {
    /// A ledger over this channel, and what answers those who ask to write: to be run for as long as anybody has the ledger. Waiting
    /// for status ends when `stop` does.
    pub fn new(channel: Channel, stop: CancellationToken) -> (Self, impl Future<Output = ()>) {
        let client = LedgerServiceClient::new(channel);
        let (begins, asked) = begins::channel();
        let answering = asked.serve(client.clone(), stop.clone());
        let ledger = Self {
            client,
            begins,
            stop,
        };
        (ledger, answering)
    }

    /// The fleet, if it is not the one of `version`.
    ///
    /// # Errors
    /// Status doesn't answer.
    pub async fn fleet(&self, version: &str) -> Result<GetFleetResponse, tonic::Status> {
        Ok(self
            .client
            .clone()
            .get_fleet(GetFleetRequest {
                version: version.to_owned(),
            })
            .await?
            .into_inner())
    }

    /// Which of these jobs have ended, in their order; none of them if status doesn't answer.
    pub async fn ended(&self, jobs: &[JobId]) -> Vec<bool> {
        let request = CheckEndedRequest {
            jobs: jobs
                .iter()
                .map(|job| job.as_uuid().into_bytes().to_vec())
                .collect(),
        };
        let mut client = self.client.clone();
        let asked = client.check_ended(request);
        match self.stop.run_until_cancelled(asked).await {
            Some(Ok(answer)) => answer.into_inner().ended,
            _ => vec![false; jobs.len()],
        }
    }

    /// Says how an account stands. Kept trying: an operator must see it.
    pub async fn report(&self, key: &AccountKey, stands: Stands<'_>) {
        let (paused, reason, expires) = match stands {
            Stands::Working { expires } => (false, "", expires),
            Stands::Paused { reason } => (true, reason, None),
        };
        let request = ReportAccountRequest {
            tenant: key.tenant.to_string(),
            site: key.site.to_string(),
            account: key.account.to_string(),
            paused,
            reason: reason.to_owned(),
            certificate_expire_millis: micros(expires) / 1000,
        };
        waiting::until_ok("status to record an account's state", &self.stop, || {
            let (mut client, request) = (self.client.clone(), request.clone());
            async move { client.report_account(request).await.map(drop) }
        })
        .await;
    }
}

#[async_trait]
impl Ledger for StatusLedger {
    async fn begin(
        &self,
        begins: Vec<(OperationId, Begin)>,
    ) -> Vec<Result<Observed, BeginRefusal>> {
        let begins = begins.into_iter().map(|(operation, begin)| PbBegin {
            job: begin.job.as_uuid().into_bytes().to_vec(),
            operation: operation.as_uuid().into_bytes().to_vec(),
            before: Some(begin.before.into()),
        });
        let answers = self.begins.ask(begins.collect()).await.into_iter();
        let read = answers.map_while(|answer| {
            answered(answer)
                .inspect_err(|bad| warn!(error = %bad, "status gave an answer that can't be read"))
                .ok()
        });
        read.collect()
    }
}

fn answered(answer: BeginAnswer) -> Result<Result<Observed, BeginRefusal>, BadInput> {
    if answer.refused.is_empty() {
        Ok(Ok(answer.before.unwrap_or_default().try_into()?))
    } else {
        Ok(Err(parse("refused", &answer.refused)?))
    }
}

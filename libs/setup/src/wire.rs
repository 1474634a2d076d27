//! The journal at status, by gRPC: claimed, kept, given back.

use std::time::Duration;

use async_trait::async_trait;
use calgrant_contract::{
    bus::{millis, parse},
    pb::ledger::v1::{
        ClaimSetupRequest, GetSealedSecretRequest, KeepSealedSecretRequest, RecordStepsRequest,
        ReleaseSetupRequest, SettleSealedSecretRequest,
        setup_journal_service_client::SetupJournalServiceClient,
    },
    setup::{micros, record, record_to_wire},
};
use calgrant_domain::{
    BadInput, SetupAim, SetupId, SiteKind, Step, TenantName,
    setup::{PasswordKept, SetupState, StepRecord},
};
use time::OffsetDateTime;
use tonic::{Code, Status, transport::Channel};

use crate::{Ended, Journal, JournalError, Kept};

/// For how long a claim holds: longer than any call takes. Each record renews it.
pub const HOLD: Duration = Duration::from_secs(180);

/// A set-up that this process has claimed.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its id.
    pub id: SetupId,
    /// Whose.
    pub tenant: TenantName,
    /// Where.
    pub site: SiteKind,
    /// What it is to bring about.
    pub aim: SetupAim,
    /// Only look what would be done.
    pub planning: bool,
    /// What is on record of its steps.
    pub known: Vec<(Step, StepRecord)>,
    /// Where more is recorded.
    pub journal: RemoteJournal,
}

/// The journal of a claimed set-up.
#[derive(Debug, Clone)]
pub struct RemoteJournal {
    client: SetupJournalServiceClient<Channel>,
    id: SetupId,
    claim: Vec<u8>,
}

impl From<Status> for JournalError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::FailedPrecondition | Code::NotFound => Self::Lost,
            _ => Self::Away(status.message().to_owned()),
        }
    }
}

impl From<BadInput> for JournalError {
    fn from(bad: BadInput) -> Self {
        Self::Away(format!("status says what this version can't read: {bad}"))
    }
}

/// Claims a set-up that is due: the one that is named, or any that api carries out. `None` if there is none.
///
/// # Errors
/// Status is away, or says what can't be read.
pub async fn claim(
    mut client: SetupJournalServiceClient<Channel>,
    id: Option<SetupId>,
) -> Result<Option<Claimed>, JournalError> {
    let request = ClaimSetupRequest {
        claim_millis: millis(HOLD),
        id: id.map(|id| id.to_string()).unwrap_or_default(),
    };
    let claimed = client.claim_setup(request).await?.into_inner();
    if claimed.id.is_empty() {
        return Ok(None);
    }
    let known = claimed.steps.iter().map(record);
    let id: SetupId = parse("id", &claimed.id)?;
    Ok(Some(Claimed {
        id,
        tenant: parse("tenant", &claimed.tenant)?,
        site: parse("site", &claimed.site)?,
        aim: parse("aim", &claimed.aim)?,
        planning: claimed.validate_only,
        known: known.collect::<Result<_, _>>()?,
        journal: RemoteJournal {
            client,
            id,
            claim: claimed.claim,
        },
    }))
}

impl RemoteJournal {
    /// Gives the claim back: the set-up went so far.
    ///
    /// # Errors
    /// The claim was lost, or status is away.
    pub async fn release(&self, ended: &Ended) -> Result<(), JournalError> {
        self.released(ended.state, ended.not_before, "").await
    }

    /// Gives the claim back: nothing of the set-up can be done before `not_before`, and why.
    ///
    /// # Errors
    /// As [`Self::release`].
    pub async fn put_off(&self, why: &str, not_before: OffsetDateTime) -> Result<(), JournalError> {
        self.released(SetupState::Blocked, Some(not_before), why)
            .await
    }

    /// Gives the claim back in the middle: another goes on.
    ///
    /// # Errors
    /// As [`Self::release`].
    pub async fn leave(&self, now: OffsetDateTime) -> Result<(), JournalError> {
        self.released(SetupState::Running, Some(now), "").await
    }

    async fn released(
        &self,
        state: SetupState,
        not_before: Option<OffsetDateTime>,
        note: &str,
    ) -> Result<(), JournalError> {
        let request = ReleaseSetupRequest {
            id: self.id.to_string(),
            claim: self.claim.clone(),
            state: state.to_string(),
            not_before_micros: micros(not_before),
            note: note.to_owned(),
        };
        self.client.clone().release_setup(request).await?;
        Ok(())
    }
}

#[async_trait]
impl Journal for RemoteJournal {
    async fn record(&self, steps: &[(Step, StepRecord)]) -> Result<(), JournalError> {
        let steps = steps
            .iter()
            .map(|(step, record)| record_to_wire(*step, record));
        let request = RecordStepsRequest {
            id: self.id.to_string(),
            claim: self.claim.clone(),
            claim_millis: millis(HOLD),
            steps: steps.collect(),
        };
        self.client.clone().record_steps(request).await?;
        Ok(())
    }

    async fn kept(&self, name: &str) -> Result<Kept, JournalError> {
        let request = GetSealedSecretRequest {
            name: name.to_owned(),
        };
        let kept = self.client.clone().get_sealed_secret(request).await?;
        let kept = kept.into_inner();
        let state = if !kept.pending.is_empty() {
            PasswordKept::Pending
        } else if kept.sealed.is_empty() {
            PasswordKept::No
        } else {
            PasswordKept::InEffect
        };
        Ok(Kept {
            state,
            renewed: state == PasswordKept::InEffect && kept.made_by == self.id.to_string(),
        })
    }

    async fn keep(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, JournalError> {
        let request = KeepSealedSecretRequest {
            name: name.to_owned(),
            sealed: sealed.to_vec(),
            made_by: self.id.to_string(),
        };
        let kept = self.client.clone().keep_sealed_secret(request).await?;
        Ok(kept.into_inner().pending)
    }

    async fn settle(&self, name: &str) -> Result<(), JournalError> {
        let request = SettleSealedSecretRequest {
            name: name.to_owned(),
        };
        self.client.clone().settle_sealed_secret(request).await?;
        Ok(())
    }
}

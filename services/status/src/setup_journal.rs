//! The journal of set-ups, for whoever carries one out.

use std::time::Duration;

use calgrant_contract::{
    pb::ledger::v1 as pb,
    setup::{moment, record, record_to_wire},
};
use calgrant_domain::{BadInput, SetupId};
use calgrant_runtime::clock;
use calgrant_store::{SetupRelease, Store};
use tonic::{Request, Response, Status};

use crate::refuse;

/// The longest name of a secret.
const LONGEST_NAME: usize = 400;
/// The most bytes that are kept sealed.
const LARGEST: usize = 4096;

/// `SetupJournalService`.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    pub(crate) store: Store,
}

type Answer<T> = Result<Response<T>, Status>;

fn id(field: &str, raw: &str) -> Result<SetupId, Status> {
    raw.parse().map_err(refuse::field(field))
}

fn claim(raw: &[u8]) -> Result<uuid::Uuid, Status> {
    calgrant_contract::bus::uuid("claim", raw).map_err(refuse::field("claim"))
}

fn named(name: &str) -> Result<&str, Status> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        let bad = BadInput::new("name", name, "a name of 1 to 400 bytes");
        return Err(refuse::field("name")(bad));
    }
    Ok(name)
}

#[tonic::async_trait]
impl pb::setup_journal_service_server::SetupJournalService for Journal {
    async fn claim_setup(
        &self,
        request: Request<pb::ClaimSetupRequest>,
    ) -> Answer<pb::ClaimSetupResponse> {
        let request = request.into_inner();
        let wanted = calgrant_domain::outcome::optional::<SetupId>(&request.id)
            .map_err(refuse::field("id"))?;
        let hold = Duration::from_millis(request.claim_millis);
        let claimed = self
            .store
            .claim_setup(wanted, uuid::Uuid::new_v4(), hold, clock::now())
            .await
            .map_err(refuse::store)?;
        let answer = claimed.map(|claimed| pb::ClaimSetupResponse {
            id: claimed.setup.id.to_string(),
            claim: claimed.claim.into_bytes().to_vec(),
            tenant: claimed.setup.tenant.to_string(),
            site: claimed.setup.site.to_string(),
            aim: claimed.setup.aim.to_string(),
            validate_only: claimed.setup.validate_only,
            steps: claimed
                .setup
                .steps
                .iter()
                .map(|(step, record, _)| record_to_wire(*step, record))
                .collect(),
        });
        Ok(Response::new(answer.unwrap_or_default()))
    }

    async fn record_steps(
        &self,
        request: Request<pb::RecordStepsRequest>,
    ) -> Answer<pb::RecordStepsResponse> {
        let request = request.into_inner();
        let steps = request.steps.iter().map(record);
        let steps: Vec<_> = steps
            .collect::<Result<_, BadInput>>()
            .map_err(refuse::field("steps"))?;
        let hold = Duration::from_millis(request.claim_millis);
        self.store
            .record_steps(
                id("id", &request.id)?,
                claim(&request.claim)?,
                hold,
                &steps,
                clock::now(),
            )
            .await
            .map_err(refuse::store)?;
        Ok(Response::new(pb::RecordStepsResponse {}))
    }

    async fn release_setup(
        &self,
        request: Request<pb::ReleaseSetupRequest>,
    ) -> Answer<pb::ReleaseSetupResponse> {
        let (request, now) = (request.into_inner(), clock::now());
        let release = SetupRelease {
            state: request.state.parse().map_err(refuse::field("state"))?,
            not_before: moment(request.not_before_micros).unwrap_or(now),
            note: request.note,
        };
        self.store
            .release_setup(
                id("id", &request.id)?,
                claim(&request.claim)?,
                &release,
                now,
            )
            .await
            .map_err(refuse::store)?;
        Ok(Response::new(pb::ReleaseSetupResponse {}))
    }

    async fn get_sealed_secret(
        &self,
        request: Request<pb::GetSealedSecretRequest>,
    ) -> Answer<pb::GetSealedSecretResponse> {
        let name = named(&request.get_ref().name)?;
        let kept = self
            .store
            .sealed_secret(name)
            .await
            .map_err(refuse::store)?;
        Ok(Response::new(pb::GetSealedSecretResponse {
            sealed: kept.sealed.unwrap_or_default(),
            made_by: kept.made_by.map(|id| id.to_string()).unwrap_or_default(),
            pending: kept.pending.unwrap_or_default(),
        }))
    }

    async fn keep_sealed_secret(
        &self,
        request: Request<pb::KeepSealedSecretRequest>,
    ) -> Answer<pb::KeepSealedSecretResponse> {
        let request = request.into_inner();
        if request.sealed.is_empty() || request.sealed.len() > LARGEST {
            let size = format!("{} bytes", request.sealed.len());
            let bad = BadInput::new("sealed", size, "1 to 4,096 bytes");
            return Err(refuse::field("sealed")(bad));
        }
        let pending = self
            .store
            .keep_sealed(
                named(&request.name)?,
                request.sealed.as_slice(),
                id("made_by", &request.made_by)?,
                clock::now(),
            )
            .await
            .map_err(refuse::store)?;
        Ok(Response::new(pb::KeepSealedSecretResponse { pending }))
    }

    async fn settle_sealed_secret(
        &self,
        request: Request<pb::SettleSealedSecretRequest>,
    ) -> Answer<pb::SettleSealedSecretResponse> {
        self.store
            .settle_sealed(named(&request.get_ref().name)?, clock::now())
            .await
            .map_err(refuse::store)?;
        Ok(Response::new(pb::SettleSealedSecretResponse {}))
    }
}

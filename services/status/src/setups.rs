//! Set-ups: asked for, looked at, cancelled.

use calgrant_contract::{
    pb::setup::v1 as pb,
    refusal,
    setup::{self, SetupRequest},
    words,
};
use calgrant_domain::{AccountSpec, SetupAim, SetupId, SiteSpec, TenantName};
use calgrant_runtime::clock;
use calgrant_store::{NewSetup, SetupView, Store, StoreError};
use tonic::{Request, Response, Status};

use crate::{
    provisioning::{caller, timestamp},
    refuse,
};

/// `SetupService`.
#[derive(Debug, Clone)]
pub(crate) struct Setups {
    pub(crate) store: Store,
}

type Answer<T> = Result<Response<T>, Status>;

fn id(raw: &str) -> Result<SetupId, Status> {
    raw.parse().map_err(refuse::field("id"))
}

fn wire(view: &SetupView) -> pb::Setup {
    let (aim, account) = setup::aim_to_wire(view.aim);
    let steps = view.steps.iter().map(|(step, record, at)| pb::SetupStep {
        name: step.to_string(),
        state: words::step_state_to_wire(record.state),
        says: record.says.clone(),
        script: record.script.clone(),
        update_time: Some(timestamp(*at)),
        next_time: record.not_before.map(timestamp),
        did: record.did.clone(),
    });
    pb::Setup {
        id: view.id.to_string(),
        tenant: view.tenant.to_string(),
        site: words::site_kind_to_wire(view.site),
        aim,
        account,
        state: words::setup_state_to_wire(view.state),
        validate_only: view.validate_only,
        by_caller: view.by_caller,
        note: view.note.clone(),
        requested_by: view.requested_by.clone(),
        ticket: view.ticket.clone(),
        create_time: Some(timestamp(view.created_at)),
        end_time: view.ended_at.map(timestamp),
        steps: steps.collect(),
    }
}

impl Setups {
    async fn shown(&self, id: SetupId) -> Answer<pb::Setup> {
        let view = self.store.setup(id).await.map_err(refuse::store)?;
        let view = view
            .ok_or_else(|| refusal::not_found("id", &id.to_string(), "there is no such set-up"))?;
        Ok(Response::new(wire(&view)))
    }

    /// Whether what is asked fits the tenant as it is applied now.
    async fn check(&self, request: &SetupRequest) -> Result<(), Status> {
        let name = &request.tenant;
        let stored = self.store.tenant(name).await.map_err(refuse::store)?;
        let stored = stored.ok_or_else(|| {
            refusal::not_found(
                "tenant",
                name.as_str(),
                "there is no such tenant; apply its file first",
            )
        })?;
        let site = stored.spec.site(request.site).ok_or_else(|| {
            refusal::not_found("site", request.site.as_str(), "the tenant has no such site")
        })?;
        let Some(spec) = &site.setup else {
            return Err(refusal::precondition(
                "NOTHING_TO_SET_UP",
                "the site has no setup: say in the tenant's file, under [site.setup], which accounts and which group are wanted",
            ));
        };
        match request.aim {
            SetupAim::Ensure => Ok(()),
            SetupAim::Rotate(number) if spec.numbers().any(|known| known == number) => Ok(()),
            SetupAim::Rotate(number) => Err(refusal::precondition(
                "NO_SUCH_ACCOUNT",
                &format!("the site's setup has no account {number}"),
            )),
            SetupAim::Remove(number) if spec.numbers().any(|known| known == number) => {
                Err(refusal::precondition(
                    "ACCOUNT_WANTED",
                    &format!(
                        "the tenant's file still wants account {number}, so the next set-up would make it again: name it in without and apply the file first"
                    ),
                ))
            }
            SetupAim::Remove(number) => {
                let user = spec.name.of(number);
                self.check_stopped(name, site, user.as_str()).await
            }
        }
    }

    /// Whether no account that signs in with this name is at work.
    async fn check_stopped(
        &self,
        tenant: &TenantName,
        site: &SiteSpec,
        user: &str,
    ) -> Result<(), Status> {
        let local = user.split('@').next().unwrap_or_default();
        let signs_in_so = |account: &&AccountSpec| {
            account.user.eq_ignore_ascii_case(user) || account.name.as_str() == local
        };
        let Some(account) = site.accounts.iter().find(signs_in_so) else {
            return Ok(());
        };
        let stopped = self.store.stopped().await.map_err(refuse::store)?;
        let is_stopped = stopped.iter().any(|stopped| {
            stopped.tenant == *tenant
                && stopped.site == site.kind()
                && stopped.account == account.name
        });
        if is_stopped {
            return Ok(());
        }
        Err(refusal::precondition(
            "ACCOUNT_AT_WORK",
            &format!(
                "{} signs in as {user} and is at work: drain it first, with calgrant accounts drain",
                account.name
            ),
        ))
    }
}

#[tonic::async_trait]
impl pb::setup_service_server::SetupService for Setups {
    async fn run_setup(&self, request: Request<pb::RunSetupRequest>) -> Answer<pb::Setup> {
        let caller = caller(&request)?;
        let request =
            setup::request(request.get_ref()).map_err(|faults| refusal::bad_input(&faults))?;
        self.check(&request).await?;
        let now = clock::now();
        let new = NewSetup {
            id: SetupId::new(now, uuid::Uuid::new_v4()),
            tenant: request.tenant.clone(),
            site: request.site,
            aim: request.aim,
            validate_only: request.validate_only,
            by_caller: request.by_caller,
            caller,
            request_id: request.request_id.clone(),
            canonical: request.canonical(),
            ticket: request.ticket.clone(),
            at: now,
        };
        let accepted = self.store.accept_setup(&new).await;
        let id = accepted.map_err(|error| match error {
            StoreError::SetupRequestIdReused(setup) => {
                refusal::reused_request_id(&new.request_id, &setup.to_string())
            }
            other => refuse::store(other),
        })?;
        self.shown(id).await
    }

    async fn get_setup(&self, request: Request<pb::GetSetupRequest>) -> Answer<pb::Setup> {
        self.shown(id(&request.get_ref().id)?).await
    }

    async fn list_setups(
        &self,
        request: Request<pb::ListSetupsRequest>,
    ) -> Answer<pb::ListSetupsResponse> {
        let request = request.into_inner();
        let tenant: Option<TenantName> =
            calgrant_domain::outcome::optional(&request.tenant).map_err(refuse::field("tenant"))?;
        let before: Option<SetupId> = calgrant_domain::outcome::optional(&request.page_token)
            .map_err(refuse::field("page_token"))?;
        let size = if request.page_size == 0 {
            100
        } else {
            i64::from(request.page_size.clamp(1, 1000))
        };
        let views = self
            .store
            .setups(tenant.as_ref(), before, size)
            .await
            .map_err(refuse::store)?;
        let full = i64::try_from(views.len()).unwrap_or(i64::MAX) >= size;
        let last = views.last().filter(|_| full);
        Ok(Response::new(pb::ListSetupsResponse {
            next_page_token: last.map(|view| view.id.to_string()).unwrap_or_default(),
            setups: views.iter().map(wire).collect(),
        }))
    }

    async fn cancel_setup(&self, request: Request<pb::CancelSetupRequest>) -> Answer<pb::Setup> {
        let id = id(&request.get_ref().id)?;
        self.store
            .cancel_setup(id, clock::now())
            .await
            .map_err(refuse::store)?;
        self.shown(id).await
    }
}

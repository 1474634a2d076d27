//! Tenants, sites and accounts: the operator's part.

use std::{collections::BTreeMap, time::Duration};

use calgrant_budget::{Terms, estimate::Accounts};
use calgrant_contract::{fleet, pb::fleet::v1 as pb, refusal, words};
use calgrant_domain::{AccountStand, BadInput, Keeping, Organisation, TenantName, TenantSpec};
use calgrant_runtime::clock;
use calgrant_store::{AccountChange, Stopped, Store, StoredTenant};
use tonic::{Request, Response, Status};
use tracing::warn;

use crate::{
    operating::{
        changes::{self, Place},
        held_up, pace, plan,
        scene::Scene,
        shown,
        site_view::sites,
    },
    provisioning::{caller, timestamp},
    queries::site,
    refuse,
};

/// `FleetService`.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) store: Store,
    pub(crate) terms: Terms,
}

/// Every setting of a tenant by its path, for comparing.
fn settings(tenant: &TenantSpec) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([("display_name".to_owned(), tenant.display_name.clone())]);
    out.extend(keeping(&tenant.keeping));
    for site in &tenant.sites {
        let path = format!("site {}", site.kind());
        let mut set = |key: &str, value: String| out.insert(format!("{path}: {key}"), value);
        for (key, value) in organisation(&site.organisation) {
            set(key, value);
        }
        set("park_first", format!("{:?}", site.park_first));
        set("park_limit", format!("{:?}", site.park_limit));
        if let Some(most) = site.shared.in_flight {
            set("max_in_flight", most.to_string());
        }
        if !site.shared.windows.is_empty() {
            set("windows", format!("{:?}", site.shared.windows));
        }
        for account in &site.accounts {
            let mut set = |key: &str, value: String| {
                out.insert(format!("{path}: account {}: {key}", account.name), value)
            };
            set("purpose", format!("{:?}", account.purposes));
            for (key, name) in [("client_id", &account.client_id), ("user", &account.user)] {
                if !name.is_empty() {
                    set(key, name.clone());
                }
            }
            // References, not secrets.
            set("credential", format!("{:?}", account.credential));
            set("max_in_flight", account.limits.in_flight.to_string());
            set("windows", format!("{:?}", account.limits.windows));
            if let Some(time) = account.limits.server_time {
                set("server_time", format!("{time:?}"));
            }
            set("workers", account.workers.to_string());
        }
    }
    out
}

/// The settings of an organisation, by their names in the tenant's file.
fn organisation(organisation: &Organisation) -> Vec<(&'static str, String)> {
    let site = match organisation {
        Organisation::Online(site) => {
            return vec![
                ("directory_id", site.directory_id.clone()),
                ("login_url", site.login_url.clone()),
                ("graph_url", site.graph_url.clone()),
                ("admin_url", site.admin_url.clone()),
                ("write_path", site.write_path.to_string()),
            ];
        }
        Organisation::Onprem(site) => site,
    };
    let mut set = vec![
        ("write_path", site.write_path.to_string()),
        ("onprem.access", site.access.to_string()),
        ("onprem.budget_key", site.budget_key.to_string()),
        ("onprem.ldap_url", site.ldap_url.clone()),
        (
            "onprem.disabled_accounts",
            site.disabled_accounts.to_string(),
        ),
    ];
    if let Some(ews) = &site.ews {
        set.push(("onprem.ews_url", ews.url.clone()));
        set.push(("onprem.ews_sign_in", ews.sign_in.to_string()));
    }
    if let Some(powershell) = &site.powershell {
        set.push(("onprem.powershell_url", powershell.url.clone()));
        set.push(("onprem.powershell_sign_in", powershell.sign_in.to_string()));
    }
    if let Some(token) = &site.token {
        set.push(("onprem.token_url", token.url.clone()));
        set.push(("onprem.token_scope", token.scope.clone()));
    }
    set.extend(
        site.ldap_base
            .clone()
            .map(|base| ("onprem.ldap_base", base)),
    );
    set.extend(site.ca_file.clone().map(|file| ("onprem.ca_file", file)));
    set
}

/// What is done by itself, where it isn't the default.
fn keeping(keeping: &Keeping) -> impl Iterator<Item = (String, String)> {
    let said = |keeping: &Keeping| {
        let every = |every: Option<Duration>| {
            every.map_or_else(|| "never".to_owned(), |every| format!("{every:?}"))
        };
        [
            ("keep: verify_every", every(keeping.verify_every)),
            ("keep: drift", keeping.drift.to_string()),
            ("keep: list_every", every(keeping.list_every)),
            ("keep: joiners", keeping.joiners.to_string()),
            ("keep: leavers", keeping.leavers.to_string()),
            ("keep: watch_every", every(keeping.watch_every)),
            (
                "keep: group_members",
                format!("{:?}", keeping.group_members),
            ),
            ("keep: group_owners", format!("{:?}", keeping.group_owners)),
        ]
    };
    let usual = said(&Keeping::default());
    said(keeping)
        .into_iter()
        .zip(usual)
        .filter(|(set, usual)| set != usual)
        .map(|((key, value), _)| (key.to_owned(), value))
}

fn changes(before: Option<&TenantSpec>, after: &TenantSpec) -> Vec<String> {
    let (before, after) = (before.map(settings).unwrap_or_default(), settings(after));
    let gone = before
        .iter()
        .filter(|(key, _)| !after.contains_key(*key))
        .map(|(key, value)| format!("- {key} = {value}"));
    let there = after
        .iter()
        .filter_map(|(key, value)| match before.get(key) {
            None => Some(format!("+ {key} = {value}")),
            Some(old) if old != value => Some(format!("~ {key} = {value} (was {old})")),
            Some(_) => None,
        });
    gone.chain(there).collect()
}

fn wire(stored: &StoredTenant) -> pb::Tenant {
    pb::Tenant {
        spec: Some(fleet::tenant_to_wire(&stored.spec)),
        etag: stored.etag.clone(),
        update_time: Some(timestamp(stored.updated_at)),
    }
}

impl Fleet {
    async fn all(&self) -> Result<Vec<StoredTenant>, Status> {
        self.store
            .tenants("", i64::MAX)
            .await
            .map_err(refuse::store)
    }

    /// What concerns one tenant, or all if the name is empty.
    async fn scene(&self, tenant: &str) -> Result<Scene, Status> {
        let tenant: Option<TenantName> = if tenant.is_empty() {
            None
        } else {
            Some(tenant.parse().map_err(refuse::field("tenant"))?)
        };
        let scene = Scene::load(&self.store, self.terms, tenant.as_ref(), clock::now())
            .await
            .map_err(refuse::store)?;
        match tenant {
            Some(name) if scene.tenants.is_empty() => Err(refusal::not_found(
                "tenant",
                name.as_str(),
                "there is no such tenant; calgrant apply makes it",
            )),
            _ => Ok(scene),
        }
    }

    /// The place, if there is such an account.
    async fn place(&self, tenant: &str, site: i32, account: &str) -> Result<Place, Status> {
        let place =
            changes::place(tenant, site, account).map_err(|bad| refusal::bad_input(&bad))?;
        let stored = self
            .store
            .tenant(&place.tenant)
            .await
            .map_err(refuse::store)?;
        let Some(stored) = stored else {
            let why = "there is no such tenant; calgrant apply makes it";
            return Err(refusal::not_found("tenant", place.tenant.as_str(), why));
        };
        let Some(site) = stored.spec.site(place.site) else {
            let why = "the tenant has no such site";
            return Err(refusal::not_found("site", place.site.as_str(), why));
        };
        let mut accounts = site.accounts.iter();
        if !accounts.any(|account| account.name == place.account) {
            let names: Vec<_> = site
                .accounts
                .iter()
                .map(|account| account.name.as_str())
                .collect();
            let why = format!("the site has no such account; it has {}", names.join(", "));
            return Err(refusal::not_found("account", place.account.as_str(), &why));
        }
        Ok(place)
    }

    /// An account as it now is.
    async fn shown(&self, place: &Place) -> Result<Response<pb::Account>, Status> {
        let scene = self.scene(place.tenant.as_str()).await?;
        let mut accounts = shown::accounts(&scene).into_iter();
        let of_place = |account: &pb::Account| {
            let spec = account.spec.as_ref();
            account.site == words::site_kind_to_wire(place.site)
                && spec.is_some_and(|spec| spec.name == place.account.as_str())
        };
        accounts.find(of_place).map(Response::new).ok_or_else(|| {
            let why = "the account was taken away meanwhile";
            refusal::not_found("account", place.account.as_str(), why)
        })
    }

    async fn change(
        &self,
        place: &Place,
        change: &AccountChange,
    ) -> Result<Response<pb::Account>, Status> {
        let etag = uuid::Uuid::new_v4().simple().to_string();
        self.store
            .change_account(
                &place.tenant,
                place.site,
                &place.account,
                change,
                &etag,
                clock::now(),
            )
            .await
            .map_err(refuse::store)?;
        self.shown(place).await
    }

    async fn stand(
        &self,
        place: Place,
        stand: AccountStand,
        reason: &str,
        changed_by: String,
    ) -> Result<Response<pb::Account>, Status> {
        let reason = changes::reason(reason).map_err(|bad| refusal::bad_input(&bad))?;
        let now = clock::now();
        let wanted = Stopped {
            tenant: place.tenant.clone(),
            site: place.site,
            account: place.account.clone(),
            stand,
            reason,
            changed_by,
            changed_at: now,
        };
        self.store.stand(&wanted).await.map_err(refuse::store)?;
        // Operations say at once what they wait for. If this fails, it is done a little later.
        if let Err(cause) = held_up::tell(&self.store, now).await {
            warn!(error = %cause, "couldn't say what operations wait for; trying again soon");
        }
        self.shown(&place).await
    }
}

#[tonic::async_trait]
impl pb::fleet_service_server::FleetService for Fleet {
    async fn apply_tenant(
        &self,
        request: Request<pb::ApplyTenantRequest>,
    ) -> Result<Response<pb::ApplyTenantResponse>, Status> {
        let request = request.into_inner();
        let spec = fleet::tenant(request.spec.unwrap_or_default())
            .map_err(|faults| refusal::bad_input(&faults))?;
        let before = self.store.tenant(&spec.name).await.map_err(refuse::store)?;
        let changes = changes(before.as_ref().map(|stored| &stored.spec), &spec);
        let now = clock::now();
        let stored = if request.validate_only {
            let (etag, updated_at) = before.map_or((String::new(), now), |before| {
                (before.etag, before.updated_at)
            });
            StoredTenant {
                spec,
                etag,
                updated_at,
            }
        } else {
            let etag = uuid::Uuid::new_v4().simple().to_string();
            self.store
                .apply_tenant(&spec, &request.etag, &etag, now)
                .await
                .map_err(refuse::store)?;
            StoredTenant {
                spec,
                etag,
                updated_at: now,
            }
        };
        Ok(Response::new(pb::ApplyTenantResponse {
            tenant: Some(wire(&stored)),
            changes,
        }))
    }

    async fn get_tenant(
        &self,
        request: Request<pb::GetTenantRequest>,
    ) -> Result<Response<pb::Tenant>, Status> {
        let name: TenantName = request
            .into_inner()
            .name
            .parse()
            .map_err(refuse::field("name"))?;
        let found = self.store.tenant(&name).await.map_err(refuse::store)?;
        found
            .map(|stored| Response::new(wire(&stored)))
            .ok_or_else(|| refusal::not_found("name", name.as_str(), "there is no such tenant"))
    }

    async fn list_tenants(
        &self,
        request: Request<pb::ListTenantsRequest>,
    ) -> Result<Response<pb::ListTenantsResponse>, Status> {
        let request = request.into_inner();
        let size = if request.page_size == 0 {
            100
        } else {
            i64::from(request.page_size.clamp(1, 1000))
        };
        // Tenants are in the order of their names, so a name is where to go on.
        let stored = self
            .store
            .tenants(&request.page_token, size)
            .await
            .map_err(refuse::store)?;
        let full = i64::try_from(stored.len()).unwrap_or(i64::MAX) >= size;
        let next_page_token = stored
            .last()
            .filter(|_| full)
            .map(|last| last.spec.name.to_string())
            .unwrap_or_default();
        Ok(Response::new(pb::ListTenantsResponse {
            tenants: stored.iter().map(wire).collect(),
            next_page_token,
        }))
    }

    async fn list_sites(
        &self,
        request: Request<pb::ListSitesRequest>,
    ) -> Result<Response<pb::ListSitesResponse>, Status> {
        let tenant = request.into_inner().tenant;
        let all = self.all().await?;
        let sites = all
            .iter()
            .filter(|stored| tenant.is_empty() || stored.spec.name.as_str() == tenant);
        let sites = sites.flat_map(|stored| {
            stored.spec.sites.iter().map(|site| pb::Site {
                tenant: stored.spec.name.to_string(),
                spec: Some(fleet::site_to_wire(site)),
            })
        });
        Ok(Response::new(pb::ListSitesResponse {
            sites: sites.collect(),
        }))
    }

    async fn list_accounts(
        &self,
        request: Request<pb::ListAccountsRequest>,
    ) -> Result<Response<pb::ListAccountsResponse>, Status> {
        let scene = self.scene(&request.into_inner().tenant).await?;
        Ok(Response::new(pb::ListAccountsResponse {
            accounts: shown::accounts(&scene),
        }))
    }

    async fn scale_account(
        &self,
        request: Request<pb::ScaleAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let request = request.into_inner();
        let change = changes::scale(&request).map_err(|bad| refusal::bad_input(&bad))?;
        let place = self
            .place(&request.tenant, request.site, &request.account)
            .await?;
        self.change(&place, &change).await
    }

    async fn set_account_budget(
        &self,
        request: Request<pb::SetAccountBudgetRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let request = request.into_inner();
        let change = changes::budget(&request).map_err(|bad| refusal::bad_input(&bad))?;
        let place = self
            .place(&request.tenant, request.site, &request.account)
            .await?;
        self.change(&place, &change).await
    }

    async fn pause_account(
        &self,
        request: Request<pb::PauseAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let by = caller(&request)?;
        let request = request.into_inner();
        let place = self
            .place(&request.tenant, request.site, &request.account)
            .await?;
        self.stand(place, AccountStand::Paused, &request.reason, by)
            .await
    }

    async fn drain_account(
        &self,
        request: Request<pb::DrainAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let by = caller(&request)?;
        let request = request.into_inner();
        let place = self
            .place(&request.tenant, request.site, &request.account)
            .await?;
        self.stand(place, AccountStand::Draining, &request.reason, by)
            .await
    }

    async fn resume_account(
        &self,
        request: Request<pb::ResumeAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let by = caller(&request)?;
        let request = request.into_inner();
        let place = self
            .place(&request.tenant, request.site, &request.account)
            .await?;
        self.stand(place, AccountStand::Working, "", by).await
    }

    async fn explain_pace(
        &self,
        request: Request<pb::ExplainPaceRequest>,
    ) -> Result<Response<pb::ExplainPaceResponse>, Status> {
        let scene = self.scene(&request.into_inner().tenant).await?;
        let explained = sites(&scene).map(|site| {
            let pace = pace::explain(&site, &scene.terms, scene.at());
            pb::PaceExplanation {
                tenant: site.tenant.to_string(),
                site: words::site_kind_to_wire(site.kind),
                why: pace.why.to_owned(),
                text: pace.text,
                ready_jobs: pace.ready,
                calls_per_second: pace.rate,
                feedable_workers: pace.feedable,
            }
        });
        Ok(Response::new(pb::ExplainPaceResponse {
            sites: explained.collect(),
        }))
    }

    async fn plan_capacity(
        &self,
        request: Request<pb::PlanCapacityRequest>,
    ) -> Result<Response<pb::PlanCapacityResponse>, Status> {
        let request = request.into_inner();
        let kind = site(request.site)?;
        let scene = self.scene(&request.tenant).await?;
        let (mailboxes, by) =
            changes::planned(&request, scene.now).map_err(|bad| refusal::bad_input(&bad))?;
        if request.tenant.is_empty() {
            let missing = BadInput::missing("tenant", "say whose accounts are to be used");
            return Err(refusal::bad_input(&[missing]));
        }
        let Some(site) = sites(&scene).find(|site| site.kind == kind) else {
            let why = "the tenant has no such site";
            return Err(refusal::not_found("site", kind.as_str(), why));
        };
        let plan = plan::plan(&site, mailboxes, by, &scene.terms, scene.at());
        let (accounts_needed, useless_because) = match &plan.needed {
            None => (None, String::new()),
            Some(Accounts::Needed(needed)) => (Some(*needed), String::new()),
            Some(Accounts::Useless { because }) => (None, because.to_string()),
        };
        Ok(Response::new(pb::PlanCapacityResponse {
            calls_needed: plan.calls,
            seconds: plan.takes.map(|takes| takes.as_secs_f64()),
            end_time: plan.takes.and_then(|takes| shown::later(scene.now, takes)),
            bound_by: plan
                .bound_by
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            accounts: plan.accounts,
            accounts_needed,
            useless_because,
            text: plan::text(&plan, mailboxes),
            seconds_per_call: plan.call_takes.as_secs_f64(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_names_what_changes() {
        let before = TenantSpec {
            name: "uni".parse().unwrap(),
            display_name: "Uni".into(),
            sites: Vec::new(),
            keeping: Keeping::default(),
        };
        let after = TenantSpec {
            display_name: "University".into(),
            ..before.clone()
        };
        let kept = TenantSpec {
            keeping: Keeping {
                verify_every: None,
                ..Keeping::default()
            },
            ..before.clone()
        };
        assert_eq!(
            changes(Some(&before), &kept),
            ["+ keep: verify_every = never"]
        );
        assert_eq!(
            changes(Some(&before), &after),
            ["~ display_name = University (was Uni)"]
        );
        assert_eq!(changes(None, &before), ["+ display_name = Uni"]);
        assert!(changes(Some(&before), &before).is_empty());
    }
}

//! Tenants, sites and accounts: the operator's part.

use std::collections::BTreeMap;

use calgrant_contract::{fleet, pb::fleet::v1 as pb, refusal, words};
use calgrant_domain::{TenantName, TenantSpec};
use calgrant_runtime::clock;
use calgrant_store::{Pause, Store, StoredTenant};
use tonic::{Request, Response, Status};

use crate::{provisioning::timestamp, queries::site, refuse};

/// `FleetService`.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) store: Store,
}

/// Every setting of a tenant by its path, for comparing.
fn settings(tenant: &TenantSpec) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([("display_name".to_owned(), tenant.display_name.clone())]);
    for site in &tenant.sites {
        let path = format!("site {}", site.kind);
        let mut set = |key: &str, value: String| out.insert(format!("{path}: {key}"), value);
        set("directory_id", site.directory_id.clone());
        set("login_url", site.login_url.clone());
        set("graph_url", site.graph_url.clone());
        set("admin_url", site.admin_url.clone());
        set("write_path", site.write_path.to_string());
        set("park_first", format!("{:?}", site.park_first));
        set("park_limit", format!("{:?}", site.park_limit));
        for account in &site.accounts {
            let mut set = |key: &str, value: String| {
                out.insert(format!("{path}: account {}: {key}", account.name), value)
            };
            set("purpose", format!("{:?}", account.purposes));
            set("client_id", account.client_id.clone());
            // References, not secrets.
            set("credential", format!("{:?}", account.credential));
            set("max_in_flight", account.limits.in_flight.to_string());
            set("windows", format!("{:?}", account.limits.windows));
            set("workers", account.workers.to_string());
        }
    }
    out
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

    async fn accounts(&self, tenant: &str) -> Result<Vec<pb::Account>, Status> {
        let pauses = self.store.pauses().await.map_err(refuse::store)?;
        let mut out = Vec::new();
        for stored in self
            .all()
            .await?
            .iter()
            .filter(|stored| tenant.is_empty() || stored.spec.name.as_str() == tenant)
        {
            for site in &stored.spec.sites {
                for account in &site.accounts {
                    let pause = pauses.iter().find(|pause| {
                        pause.tenant == stored.spec.name
                            && pause.site == site.kind
                            && pause.account == account.name
                    });
                    let base = pb::Account {
                        tenant: stored.spec.name.to_string(),
                        site: words::site_kind_to_wire(site.kind),
                        spec: Some(fleet::account_to_wire(account)),
                        ..pb::Account::default()
                    };
                    out.push(paused(base, pause));
                }
            }
        }
        Ok(out)
    }
}

/// An account with its state.
pub(crate) fn paused(account: pb::Account, pause: Option<&Pause>) -> pb::Account {
    match pause {
        None => account,
        Some(pause) => pb::Account {
            paused: true,
            pause_reason: pause.reason.clone(),
            pause_time: Some(timestamp(pause.paused_at)),
            ..account
        },
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
        Ok(Response::new(pb::ListAccountsResponse {
            accounts: self.accounts(&request.into_inner().tenant).await?,
        }))
    }

    async fn resume_account(
        &self,
        request: Request<pb::ResumeAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let request = request.into_inner();
        let kind = site(request.site)?;
        self.store
            .pause(
                &request.tenant,
                kind.as_str(),
                &request.account,
                None,
                clock::now(),
            )
            .await
            .map_err(refuse::store)?;
        let accounts = self.accounts(&request.tenant).await?;
        let found = accounts.into_iter().find(|account| {
            account.site == request.site
                && account
                    .spec
                    .as_ref()
                    .is_some_and(|spec| spec.name == request.account)
        });
        found.map(Response::new).ok_or_else(|| {
            refusal::not_found(
                "account",
                &request.account,
                "the tenant has no such account at this site",
            )
        })
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
        };
        let after = TenantSpec {
            display_name: "University".into(),
            ..before.clone()
        };
        assert_eq!(
            changes(Some(&before), &after),
            ["~ display_name = University (was Uni)"]
        );
        assert_eq!(changes(None, &before), ["+ display_name = Uni"]);
        assert!(changes(Some(&before), &before).is_empty());
    }
}

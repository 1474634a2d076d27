//! Mailboxes of hybrid tenants that are waited for at one site: each time one wasn't there, both directories are asked whether it lives at
//! the other by now.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use calgrant_contract::{
    listing::to_wire,
    pb::ledger::v1::{
        ListParkedRequest, ParkedJob, RecordMovedRequest,
        ledger_service_client::LedgerServiceClient,
    },
};
use calgrant_domain::{Address, BadInput, Listed, SiteKind, TenantName, whereabouts::has_moved};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{info, warn};

use crate::{
    listing::attempt,
    readers::{Reader, Readers, site_of},
};

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(3);
/// Jobs asked for at a time.
const PAGE: u32 = 500;

/// Looks for those that moved until `stop`. Several processes may.
pub(crate) async fn run(
    ledger: LedgerServiceClient<Channel>,
    readers: Arc<Readers>,
    stop: CancellationToken,
) {
    let mut seeker = Seeker {
        ledger,
        readers,
        sought: HashMap::new(),
    };
    loop {
        let sought = stop.run_until_cancelled(seeker.round()).await;
        match sought {
            None => return,
            Some(Ok(())) => {}
            Some(Err(why)) => warn!(
                reason = why,
                "couldn't look for mailboxes that moved; somebody will again"
            ),
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(PAUSE))
            .await
            .is_none()
        {
            return;
        }
    }
}

struct Seeker {
    ledger: LedgerServiceClient<Channel>,
    readers: Arc<Readers>,
    /// Jobs that were looked for, with how often their mailboxes hadn't been there by then.
    sought: HashMap<Vec<u8>, u32>,
}

impl Seeker {
    /// Looks for each job whose mailbox was missing once more since it was looked for.
    async fn round(&mut self) -> Result<(), String> {
        let (mut waiting, mut after) = (HashMap::new(), Vec::new());
        loop {
            let request = ListParkedRequest { after, limit: PAGE };
            let listed = self.ledger.list_parked(request).await;
            let jobs = listed.map_err(|status| said(&status))?.into_inner().jobs;
            let full = jobs.len() >= PAGE as usize;
            after = jobs.last().map(|job| job.job.clone()).unwrap_or_default();
            let mut new: BTreeMap<(String, String), Vec<ParkedJob>> = BTreeMap::new();
            for job in jobs {
                let known = self.sought.get(&job.job) == Some(&job.parks);
                waiting.insert(job.job.clone(), job.parks);
                if !known {
                    let of = (job.tenant.clone(), job.site.clone());
                    new.entry(of).or_default().push(job);
                }
            }
            for ((tenant, site), jobs) in new {
                self.seek(&tenant, &site, jobs).await?;
            }
            if !full {
                break;
            }
        }
        self.sought = waiting;
        Ok(())
    }

    /// Looks for jobs of a tenant that wait at the same site.
    async fn seek(&mut self, tenant: &str, site: &str, jobs: Vec<ParkedJob>) -> Result<(), String> {
        let bad = |bad: BadInput| bad.to_string();
        let tenant: TenantName = tenant.parse().map_err(bad)?;
        let here: SiteKind = site.parse().map_err(bad)?;
        let there = match here {
            SiteKind::Online => SiteKind::Onprem,
            SiteKind::Onprem => SiteKind::Online,
        };
        let names = jobs.iter().map(|job| job.address.parse());
        let names: Vec<Address> = names.collect::<Result<_, _>>().map_err(bad)?;
        let spec = self.readers.tenant(&tenant).await;
        let spec = spec.map_err(|status| said(&status))?;
        let reader = |kind| self.readers.of(&tenant, site_of(&spec, kind)?);
        let on_premises = look_up(&reader(SiteKind::Onprem)?, &names).await?;
        let online = match here {
            // Active Directory's word is enough.
            SiteKind::Online => HashMap::new(),
            SiteKind::Onprem => look_up(&reader(SiteKind::Online)?, &names).await?,
        };
        let reader = reader(there)?;
        for (job, name) in jobs.into_iter().zip(names) {
            let what = |of: &HashMap<Address, Listed>| of.get(&name).map(|one| one.what.clone());
            if !has_moved(here, what(&on_premises).as_ref(), what(&online).as_ref()) {
                continue;
            }
            let found = match there {
                SiteKind::Online => online.get(&name),
                SiteKind::Onprem => on_premises.get(&name),
            };
            if let Some(listed) = found {
                self.moved(&reader, there, job, listed.clone()).await?;
            }
        }
        Ok(())
    }

    async fn moved(
        &mut self,
        reader: &Arc<Reader>,
        there: SiteKind,
        job: ParkedJob,
        listed: Listed,
    ) -> Result<(), String> {
        let address: Address = job
            .other_trustee
            .parse()
            .map_err(|bad: BadInput| bad.to_string())?;
        let ask = |reader: Arc<Reader>| {
            let address = address.clone();
            async move { reader.directory.trustee(&address).await }
        };
        let trustee = attempt(reader, &ask)
            .await
            .map_err(|why| reader.failed(&why))?;
        let request = RecordMovedRequest {
            operation_id: job.operation_id,
            job: job.job,
            site: there.to_string(),
            trustee: trustee.address.to_string(),
            listed: Some(to_wire(listed)),
        };
        let operation = request.operation_id.clone();
        let recorded = self
            .ledger
            .record_moved(request)
            .await
            .map_err(|status| said(&status))?;
        if recorded.into_inner().moved {
            info!(
                operation,
                "a mailbox has moved to the {there} site and is worked on there"
            );
        }
        Ok(())
    }
}

/// What a site's directory says of names.
async fn look_up(
    reader: &Arc<Reader>,
    names: &[Address],
) -> Result<HashMap<Address, Listed>, String> {
    let mut found = HashMap::new();
    for names in names.chunks(reader.directory.lookup_size()) {
        let ask = |reader: Arc<Reader>| {
            let names = names.to_vec();
            async move { reader.directory.look_up(&names).await }
        };
        let looked = attempt(reader, &ask)
            .await
            .map_err(|why| reader.failed(&why))?;
        let resolved = looked.resolved.into_iter();
        found.extend(resolved.map(|resolved| (resolved.asked, resolved.listed)));
        // Those that weren't answered are asked for when they have been missing once more.
        if let Some(error) = looked.rest {
            reader.failed(&error.into());
        }
    }
    Ok(found)
}

fn said(status: &tonic::Status) -> String {
    status.message().to_owned()
}

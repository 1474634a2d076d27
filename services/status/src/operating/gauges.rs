//! What autoscaling and dashboards look at. Every replica of status says the same.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use calgrant_budget::Terms;
use calgrant_domain::DeadCause;
use calgrant_runtime::{
    clock,
    metrics::{self, Sample},
};
use calgrant_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{capacity::feedable, scene::Scene, site_view::sites};

/// How often it is measured.
const EVERY: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
struct Measured {
    feedable: Vec<Sample>,
    ready: Vec<Sample>,
    leases: Vec<Sample>,
    dead_letters: Vec<Sample>,
}

/// Measures until `stop`.
pub(crate) async fn run(store: Store, terms: Terms, stop: CancellationToken) {
    let measured: Arc<Mutex<Measured>> = Arc::default();
    let shown = |of: fn(&Measured) -> &Vec<Sample>| {
        let measured = Arc::clone(&measured);
        move || of(&measured.lock().unwrap_or_else(PoisonError::into_inner)).clone()
    };
    metrics::gauge(
        "calgrant.workers.feedable",
        "{worker}",
        "Mailboxes that can be worked on at the same moment by what the budgets of a tenant's site allow; 0 while nothing waits.",
        shown(|measured| &measured.feedable),
    );
    metrics::gauge(
        "calgrant.jobs.ready",
        "{job}",
        "Jobs of a tenant's site that could be done now, those in workers' hands included.",
        shown(|measured| &measured.ready),
    );
    metrics::gauge(
        "calgrant.leases.active",
        "{lease}",
        "Leases of account budgets under which replicas may start calls.",
        shown(|measured| &measured.leases),
    );
    metrics::gauge(
        "calgrant.dead_letters.waiting",
        "{message}",
        "Messages that couldn't be handled and wait for a person, by cause; unknown: of jobs that the database doesn't know, after a restore.",
        shown(|measured| &measured.dead_letters),
    );
    loop {
        match load(&store, terms).await {
            Ok((scene, letters)) => {
                let dead_letters = letters.into_iter().map(|(cause, value)| Sample {
                    value,
                    labels: vec![("cause", cause.to_string())],
                });
                *measured.lock().unwrap_or_else(PoisonError::into_inner) = Measured {
                    dead_letters: dead_letters.collect(),
                    ..measure(&scene)
                };
            }
            Err(cause) => {
                warn!(error = %cause, "couldn't measure what budgets can feed; trying again")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn load(store: &Store, terms: Terms) -> Result<(Scene, Vec<(DeadCause, u64)>), StoreError> {
    let scene = Scene::load(store, terms, None, clock::now()).await?;
    Ok((scene, store.dead_letters_by_cause().await?))
}

fn measure(scene: &Scene) -> Measured {
    let mut measured = Measured::default();
    for site in sites(scene) {
        let of = |value: u64| {
            let labels = vec![
                ("tenant", site.tenant.to_string()),
                ("site", site.kind.to_string()),
            ];
            Sample { value, labels }
        };
        let leases = site
            .accounts
            .iter()
            .map(|account| u64::from(account.key.leases));
        measured.leases.push(of(leases.sum()));
        measured.ready.push(of(site.ready()));
        let workers = feedable(&site, &scene.terms, scene.at());
        measured.feedable.push(of(u64::from(workers)));
    }
    measured
}

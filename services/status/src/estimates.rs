//! What operations still need, as it is told to whoever looks: found anew at most every second.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use calgrant_budget::Terms;
use calgrant_contract::pb::provisioning::v1 as pb;
use calgrant_domain::OperationId;
use calgrant_runtime::clock;
use calgrant_store::{OperationView, Store, StoreError};

use crate::{
    leases::since_epoch,
    operating::{
        capacity::{UNMEASURED, tree},
        course::{Course, Ground, course},
        scene::Scene,
        shown::later,
        site_view::{SiteView, sites},
    },
};

/// How long an estimate is told again.
const FRESH: Duration = Duration::from_secs(1);
/// How far back the pace is looked at.
const PAST: Duration = Duration::from_secs(300);
/// Most estimates kept.
const KEPT: usize = 1000;

/// When each was found, for which change of its operation.
type Known = HashMap<OperationId, (Instant, u64, pb::Estimate)>;

/// Estimates of operations. Clones share what they found.
#[derive(Debug, Clone)]
pub(crate) struct Estimates {
    store: Store,
    terms: Terms,
    known: Arc<Mutex<Known>>,
}

impl Estimates {
    pub(crate) fn new(store: Store, terms: Terms) -> Self {
        Self {
            store,
            terms,
            known: Arc::default(),
        }
    }

    /// What an operation still needs; `None` before anything of it is listed.
    pub(crate) async fn of(
        &self,
        view: &OperationView,
    ) -> Result<Option<pb::Estimate>, StoreError> {
        if view.counts.accepted == 0 {
            return Ok(None);
        }
        let now = clock::instant();
        // How it ended, or that it waits for somebody, is told as it is.
        let exact = view.ended_at.is_some() || !view.waiting_for.is_empty();
        if let Some((at, sequence, known)) = self.known().get(&view.id)
            && now.saturating_duration_since(*at) < FRESH
            && (!exact || *sequence == view.sequence)
        {
            return Ok(Some(known.clone()));
        }
        let found = self.find(view).await?;
        let mut known = self.known();
        if known.len() >= KEPT {
            known.retain(|_, (at, ..)| now.saturating_duration_since(*at) < FRESH);
        }
        known.insert(view.id, (now, view.sequence, found.clone()));
        Ok(Some(found))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn find(&self, view: &OperationView) -> Result<pb::Estimate, StoreError> {
        let now = clock::now();
        let scene = Scene::load(&self.store, self.terms, Some(&view.tenant), now).await?;
        let delegation = match view.delegation {
            Some(id) => self.store.delegation(id).await?,
            None => None,
        };
        let trustees = delegation.map(|stored| stored.spec.trustees);
        // One that is about a trustee may be about any site.
        let of_operation = |site: &SiteView<'_>| {
            let mut trustees = trustees.iter().flatten();
            view.delegation.is_none() || trustees.any(|trustee| trustee.site == site.kind)
        };
        let own: Vec<_> = sites(&scene).filter(of_operation).collect();
        let takes: Vec<_> = own.iter().filter_map(SiteView::call_takes).collect();
        let others: Vec<u64> = if view.state.is_final() {
            Vec::new()
        } else {
            let all = self.store.outstanding(&view.tenant).await?;
            let others = all.into_iter().filter(|(id, _)| *id != view.id);
            others.map(|(_, left)| left).collect()
        };
        let trees: Option<Vec<_>> = own.iter().map(|site| tree(site, scene.at())).collect();
        let ground = Ground {
            // Where one site can do nothing, the whole has no end.
            trees: trees.unwrap_or_default(),
            call_takes: takes.into_iter().max().unwrap_or(UNMEASURED),
            others: &others,
            terms: self.terms,
        };
        let passed = if view.ended_at.is_some() {
            Vec::new()
        } else {
            self.store.course(view.id, now - PAST).await?
        };
        let passed: Vec<_> = passed
            .into_iter()
            .map(|(at, counts)| (since_epoch(at), counts))
            .collect();
        let found = course(view, &ground, &passed, since_epoch(now));
        Ok(wire(&found, view, now))
    }
}

fn wire(found: &Course, view: &OperationView, now: time::OffsetDateTime) -> pb::Estimate {
    let runs = view.ended_at.is_none();
    pb::Estimate {
        calls_needed: found.needed,
        calls_left: found.left,
        remaining_seconds: found.remaining.map(|remaining| remaining.as_secs_f64()),
        estimated_end_time: found
            .remaining
            .filter(|_| runs)
            .and_then(|remaining| later(now, remaining)),
        bound_by: found
            .bound_by
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

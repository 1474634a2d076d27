//! Listing the mailboxes of one operation: page by page into status, never collected here.
//!
//! Exclusions go first, because they win over everything. A page is recorded as soon as it is read, and work on it
//! begins while the next one is fetched. Listing again from the start, after a crash or an expired
//! page, is harmless: jobs follow from operation and mailbox.

mod confined;
mod sites;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use calgrant_budget::message::Lane;
use calgrant_contract::{
    bus::millis,
    listing::to_wire,
    pb::{
        ledger::v1::{
            FinishListingRequest, KeepListingRequest, ReadMailboxListRequest,
            ReadMailboxListResponse, RecordExclusionsRequest, RecordJobsRequest,
            ledger_service_client::LedgerServiceClient,
        },
        provisioning::v1::DelegationSpec as PbSpec,
    },
};
use calgrant_domain::{
    Address, DelegationSpec, ListId, Listed, OperationFailure, Selector, SiteKind, SiteSpec,
    TenantName, delays::RetryDelays,
};
use calgrant_exchange::{
    CallError, Depth, ListingError, LookedUp, Meaning, Page, Resolved, Selection,
};
use calgrant_runtime::clock;
use tonic::{Code, Status, transport::Channel};
use tracing::warn;

pub use self::confined::Confines;
use self::sites::{Goal, Goals, is_unknown_there};
use crate::readers::{Reader, Readers};

/// For how long a claim holds without a sign of life.
pub const CLAIM_MILLIS: u64 = 15_000;
/// Signs of life while a call takes long.
const KEEP: Duration = Duration::from_secs(4);
const DELAYS: RetryDelays = RetryDelays {
    first: Duration::from_millis(500),
    cap: Duration::from_secs(30),
};
/// How soon a reader that was refused is looked at again: its credential, or its site, may have been corrected.
const REFUSED: Duration = Duration::from_secs(2);
/// Names of an uploaded list fetched at a time.
const NAMES: u32 = 400;

/// Why a listing ended early.
#[derive(Debug)]
pub enum Stopped {
    /// Cancelled, or claimed by another planner.
    Lost,
    /// A mailbox isn't there yet: it begins again after a while, whoever claims it then.
    Later,
    /// It can't be carried out.
    Failed {
        /// The typed reason.
        failure: OperationFailure,
        /// For people.
        why: String,
    },
}

/// One operation's listing.
pub struct Listing {
    ledger: LedgerServiceClient<Channel>,
    readers: Arc<Readers>,
    owner: String,
    id: String,
    /// Sites as they were applied anew since it began.
    renewed: HashMap<SiteKind, SiteSpec>,
}

/// Where it lists.
struct Place {
    tenant: TenantName,
    site: SiteSpec,
}

impl Listing {
    /// The listing of operation `id`, claimed by `owner`.
    pub fn new(
        ledger: LedgerServiceClient<Channel>,
        readers: Arc<Readers>,
        owner: String,
        id: String,
    ) -> Self {
        Self {
            ledger,
            readers,
            owner,
            id,
            renewed: HashMap::new(),
        }
    }

    /// Lists everything and says that it is complete.
    ///
    /// # Errors
    /// It was lost, or can't be carried out.
    pub async fn run(&mut self, spec: PbSpec, confines: Option<&Confines>) -> Result<(), Stopped> {
        let spec = calgrant_contract::provisioning::delegation_spec(spec).map_err(|faults| {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            Stopped::Failed {
                failure: OperationFailure::ReaderRefused,
                why: faults.join("; "),
            }
        })?;
        let goals = self.goals(&spec).await?;
        for goal in &goals.all {
            self.exclude(&goal.place, &spec).await?;
        }
        if let Some(confines) = confines {
            self.select_confined(&goals, &spec, confines).await?;
        } else {
            match asked(&spec) {
                Ok(selection) => self.select(&goals, &selection).await?,
                Err(list) => self.select_list(&goals, &list.to_string()).await?,
            }
        }
        self.finish("", "").await
    }

    /// Where the right is given: each trustee is looked for in its own site's directory.
    async fn goals(&mut self, spec: &DelegationSpec) -> Result<Goals, Stopped> {
        let tenant = self.tenant(&spec.tenant).await?;
        let place = |kind| {
            tenant.site(kind).map(|site| Place {
                tenant: spec.tenant.clone(),
                site: site.clone(),
            })
        };
        let mut goals = Vec::with_capacity(spec.trustees.len());
        for trustee in &spec.trustees {
            let place = place(trustee.site).ok_or_else(|| Stopped::Failed {
                failure: OperationFailure::ReaderRefused,
                why: format!("the tenant has no {} site any more", trustee.site),
            })?;
            let address = trustee.address.clone();
            let found = self
                .ask(&place, |reader| {
                    let address = address.clone();
                    async move { reader.directory.trustee(&address).await }
                })
                .await?;
            goals.push(Goal {
                place,
                trustee: found.address,
            });
        }
        Ok(Goals::new(goals, place(SiteKind::Onprem)))
    }

    /// Records why the operation can't be carried out.
    pub async fn fail(&mut self, failure: OperationFailure, why: &str) {
        if let Err(Stopped::Failed { why, .. }) = self.finish(failure.as_str(), why).await {
            warn!(
                reason = why,
                "couldn't record the failure; another planner will"
            );
        }
    }

    async fn exclude(&mut self, place: &Place, spec: &DelegationSpec) -> Result<(), Stopped> {
        for group in &spec.exclude_groups {
            let selection = Selection::Group(group.clone());
            let mut from: Option<String> = None;
            loop {
                match self.page(place, &selection, from.take()).await? {
                    None => {}
                    Some(page) => {
                        self.record_exclusions(
                            page.listed.iter().map(|listed| listed.id).collect(),
                        )
                        .await?;
                        from = page.next;
                        if from.is_none() {
                            break;
                        }
                    }
                }
            }
        }
        for names in spec
            .exclude_mailboxes
            .chunks(self.lookup_size(place).await?)
        {
            let found = self.look_up(place, names).await?;
            self.record_exclusions(
                found
                    .into_iter()
                    .map(|resolved| resolved.listed.id)
                    .collect(),
            )
            .await?;
        }
        Ok(())
    }

    /// Lists what is selected at every site. One whose directory doesn't know it is passed over, if another's does.
    async fn select(&mut self, goals: &Goals, selection: &Selection) -> Result<(), Stopped> {
        let (mut unknown, mut online_knows) = (None, false);
        let mut known = 0;
        for goal in &goals.all {
            match self.select_at(goals, goal, selection, online_knows).await {
                Ok(()) => {
                    known += 1;
                    online_knows |= goal.kind() == SiteKind::Online;
                }
                Err(stopped) if is_unknown_there(&stopped) => unknown = unknown.or(Some(stopped)),
                Err(stopped) => return Err(stopped),
            }
        }
        match unknown {
            Some(stopped) if known == 0 => Err(stopped),
            _ => Ok(()),
        }
    }

    async fn select_at(
        &mut self,
        goals: &Goals,
        goal: &Goal,
        selection: &Selection,
        online_knows: bool,
    ) -> Result<(), Stopped> {
        let mut from = None;
        loop {
            // An expired page means that the listing took too long between two: start it again.
            let Some(page) = self.page(&goal.place, selection, from.take()).await? else {
                continue;
            };
            self.record_page(goals, goal, page.listed, online_knows)
                .await?;
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    async fn select_list(&mut self, goals: &Goals, list: &str) -> Result<(), Stopped> {
        let mut after_line = 0;
        loop {
            let names = self.names(list, after_line).await?;
            let addresses: Vec<Address> = names
                .names
                .iter()
                .filter_map(|name| name.address.parse().ok())
                .collect();
            let known = self.look_up_everywhere(goals, &addresses).await?;
            for goal in &goals.all {
                let here = known.iter().filter(|known| known.site == goal.kind());
                let listed: Vec<_> = here
                    .map(|known| {
                        let mut named = names.names.iter();
                        let lines = named
                            .find(|name| name.address == known.asked.as_str())
                            .map(|name| name.lines.clone())
                            .unwrap_or_default();
                        Listed {
                            lines,
                            ..known.listed.clone()
                        }
                    })
                    .collect();
                if !listed.is_empty() {
                    self.record_jobs(goal, listed).await?;
                }
            }
            after_line = names.next_after;
            if after_line == 0 {
                return Ok(());
            }
        }
    }

    /// Some names of a list, after this line.
    async fn names(&self, list: &str, after_line: u32) -> Result<ReadMailboxListResponse, Stopped> {
        let request = ReadMailboxListRequest {
            id: list.to_owned(),
            after_line,
            limit: NAMES,
        };
        self.status(|mut ledger| {
            let request = request.clone();
            async move { ledger.read_mailbox_list(request).await }
        })
        .await
    }

    /// A page; `None` if the place to go on from has expired.
    async fn page(
        &mut self,
        place: &Place,
        selection: &Selection,
        from: Option<String>,
    ) -> Result<Option<Page>, Stopped> {
        self.ask(place, |reader| {
            let (selection, from) = (selection.clone(), from.clone());
            async move {
                match reader.directory.page(&selection, from.as_deref()).await {
                    Ok(page) => Ok(Some(page)),
                    Err(ListingError::Expired) => Ok(None),
                    Err(other) => Err(other),
                }
            }
        })
        .await
    }

    async fn look_up(
        &mut self,
        place: &Place,
        names: &[Address],
    ) -> Result<Vec<Resolved>, Stopped> {
        // Each attempt asks for what the ones before didn't find out.
        let found = Mutex::new(Vec::<Resolved>::new());
        let held = || found.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = || -> Vec<Address> {
                let found = held();
                let is_left = |name: &&Address| !found.iter().any(|known| known.asked == **name);
                names.iter().filter(is_left).cloned().collect()
            };
            if left().is_empty() {
                break;
            }
            self.ask(place, |reader| {
                let (left, held) = (left(), &held);
                async move {
                    let LookedUp { resolved, rest } = reader.directory.look_up(&left).await?;
                    held().extend(resolved);
                    rest.map_or(Ok(()), |error| Err(error.into()))
                }
            })
            .await?;
        }
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn lookup_size(&mut self, place: &Place) -> Result<usize, Stopped> {
        self.ask(
            place,
            |reader| async move { Ok(reader.directory.lookup_size()) },
        )
        .await
    }

    /// Asks the directory, however long it takes: waits out what passes, and says what it waits for.
    async fn ask<T, F: Future<Output = Result<T, ListingError>>>(
        &mut self,
        place: &Place,
        ask: impl Fn(Arc<Reader>) -> F,
    ) -> Result<T, Stopped> {
        let mut failures = 0;
        let mut waited = false;
        loop {
            let kind = place.site.kind();
            let site = self.renewed.get(&kind).unwrap_or(&place.site);
            let (wait, waiting_for) = match self.readers.of(&place.tenant, site) {
                Err(why) => {
                    self.renew(place).await;
                    (
                        REFUSED,
                        format!("the reader account of the {kind} site: {why}"),
                    )
                }
                Ok(reader) => match self.living(attempt(&reader, &ask)).await? {
                    Ok(answer) => {
                        if waited {
                            self.keep("").await?;
                            self.note_reader(place, &reader, None).await;
                        }
                        return Ok(answer);
                    }
                    Err(ListingError::Refused { failure, why }) => {
                        return Err(Stopped::Failed { failure, why });
                    }
                    Err(ListingError::Expired) => (
                        DELAYS.first,
                        "the directory, whose pages expired".to_owned(),
                    ),
                    Err(ListingError::Call(error)) => {
                        self.after(place, &reader, error, failures).await?
                    }
                },
            };
            failures += 1;
            waited = true;
            warn!(
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "the listing waits for {waiting_for}"
            );
            self.keep(&waiting_for).await?;
            self.living(tokio::time::sleep(wait)).await?;
        }
    }

    /// How long to wait after a failed call, and for what.
    async fn after(
        &mut self,
        place: &Place,
        reader: &Reader,
        error: CallError,
        failures: u32,
    ) -> Result<(Duration, String), Stopped> {
        let own = DELAYS.delay(failures, clock::roll(), None);
        Ok(match &error.meaning {
            Meaning::WaitUntil { after, .. } => {
                let wait = DELAYS.delay(failures, clock::roll(), *after);
                reader.slow_down(Some(wait), &error);
                (
                    wait,
                    format!(
                        "the directory, which asked to slow down for {} s",
                        wait.as_secs()
                    ),
                )
            }
            Meaning::PauseAccount | Meaning::SignInAgain => {
                let why = format!(
                    "the reader account {} was refused: {error}",
                    reader.account.name
                );
                self.note_reader(place, reader, Some(&why)).await;
                self.renew(place).await;
                (
                    REFUSED,
                    format!(
                        "{why}; correct its credential or its rights, the listing goes on by itself"
                    ),
                )
            }
            Meaning::GiveUp(_) => {
                return Err(Stopped::Failed {
                    failure: OperationFailure::ReaderRefused,
                    why: format!("the directory refused the listing: {error}"),
                });
            }
            _ => (
                own,
                format!("the directory, which doesn't answer properly: {error}"),
            ),
        })
    }

    /// Looks whether the site has been applied anew.
    async fn renew(&mut self, place: &Place) {
        let kind = place.site.kind();
        if let Ok(tenant) = self.readers.tenant(&place.tenant).await
            && let Some(site) = tenant.site(kind)
        {
            self.renewed.insert(kind, site.clone());
        }
    }

    async fn note_reader(&self, place: &Place, reader: &Reader, refused: Option<&str>) {
        if let Err(status) = self
            .readers
            .report(&place.tenant, place.site.kind(), &reader.account, refused)
            .await
        {
            warn!(
                error = status.message(),
                "couldn't record the state of the reader account"
            );
        }
    }

    /// Awaits something that may take long, with signs of life to status.
    async fn living<T>(&self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(KEEP) => self.prolong(None).await?,
            }
        }
    }

    async fn keep(&self, waiting_for: &str) -> Result<(), Stopped> {
        self.prolong(Some(waiting_for)).await
    }

    async fn prolong(&self, waiting_for: Option<&str>) -> Result<(), Stopped> {
        self.prolong_for(Duration::from_millis(CLAIM_MILLIS), waiting_for)
            .await
    }

    async fn prolong_for(&self, hold: Duration, waiting_for: Option<&str>) -> Result<(), Stopped> {
        let request = KeepListingRequest {
            operation_id: self.id.clone(),
            owner: self.owner.clone(),
            claim_millis: millis(hold),
            waiting_for: waiting_for.map(str::to_owned),
        };
        match self.ledger.clone().keep_listing(request).await {
            Err(status) if lost(&status) => Err(Stopped::Lost),
            // The next call will tell.
            _ => Ok(()),
        }
    }

    async fn record_exclusions(
        &self,
        mailboxes: Vec<calgrant_domain::MailboxId>,
    ) -> Result<(), Stopped> {
        let request = RecordExclusionsRequest {
            operation_id: self.id.clone(),
            owner: self.owner.clone(),
            mailboxes: mailboxes
                .iter()
                .map(|id| id.as_uuid().into_bytes().to_vec())
                .collect(),
        };
        self.status(|mut ledger| {
            let request = request.clone();
            async move { ledger.record_exclusions(request).await }
        })
        .await
        .map(drop)
    }

    async fn record_jobs(&self, goal: &Goal, listed: Vec<Listed>) -> Result<(), Stopped> {
        let request = RecordJobsRequest {
            operation_id: self.id.clone(),
            owner: self.owner.clone(),
            claim_millis: CLAIM_MILLIS,
            site: goal.kind().to_string(),
            trustee: goal.trustee.to_string(),
            listed: listed.into_iter().map(to_wire).collect(),
        };
        let answer = self
            .status(|mut ledger| {
                let request = request.clone();
                async move { ledger.record_jobs(request).await }
            })
            .await?;
        if answer.go_on {
            Ok(())
        } else {
            Err(Stopped::Lost)
        }
    }

    async fn tenant(&self, name: &TenantName) -> Result<calgrant_domain::TenantSpec, Stopped> {
        loop {
            match self.readers.tenant(name).await {
                Ok(tenant) => return Ok(tenant),
                Err(status) if passing(&status) => tokio::time::sleep(DELAYS.first).await,
                Err(status) => {
                    return Err(Stopped::Failed {
                        failure: OperationFailure::ReaderRefused,
                        why: status.message().to_owned(),
                    });
                }
            }
        }
    }

    async fn finish(&self, failure: &str, failure_text: &str) -> Result<(), Stopped> {
        let request = FinishListingRequest {
            operation_id: self.id.clone(),
            owner: self.owner.clone(),
            failure: failure.to_owned(),
            failure_text: failure_text.to_owned(),
        };
        self.status(|mut ledger| {
            let request = request.clone();
            async move { ledger.finish_listing(request).await }
        })
        .await
        .map(drop)
    }

    /// Asks status; waits while it is away.
    async fn status<T, F: Future<Output = Result<tonic::Response<T>, Status>>>(
        &self,
        ask: impl Fn(LedgerServiceClient<Channel>) -> F,
    ) -> Result<T, Stopped> {
        let mut failures = 0;
        loop {
            match ask(self.ledger.clone()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) if passing(&status) => {
                    tokio::time::sleep(DELAYS.delay(failures, clock::roll(), None)).await;
                    failures += 1;
                }
                Err(status) => {
                    if !lost(&status) {
                        warn!(error = status.message(), code = ?status.code(), "status refused a step of the listing");
                    }
                    return Err(Stopped::Lost);
                }
            }
        }
    }
}

/// One attempt, with a permit, and a second one if the token was refused.
pub(crate) async fn attempt<T, F: Future<Output = Result<T, ListingError>>>(
    reader: &Arc<Reader>,
    ask: &impl Fn(Arc<Reader>) -> F,
) -> Result<T, ListingError> {
    let mut last = false;
    loop {
        reader.directory.sign_in().await?;
        let permits = reader.budget.permits(Lane::Bulk, 1).await;
        let answer = ask(Arc::clone(reader)).await;
        match &answer {
            // The server may go on with it: it keeps its place for a while.
            Err(ListingError::Call(error)) if error.unanswered => drop(permits),
            Err(ListingError::Call(CallError {
                meaning: Meaning::WaitUntil { .. },
                ..
            })) => permits.done(false),
            _ => permits.done(true),
        }
        match answer {
            Err(ListingError::Call(CallError {
                meaning: Meaning::SignInAgain,
                ..
            })) if !last => last = true,
            answer => return answer,
        }
    }
}

/// What is asked of the directory for a delegation's selector; the list, if it is one that was uploaded.
fn asked(spec: &DelegationSpec) -> Result<Selection, ListId> {
    Ok(match &spec.selector {
        Selector::List(list) => return Err(*list),
        Selector::Group(group) => Selection::Group(group.clone()),
        Selector::OrganizationalUnit(dn) => Selection::OrganizationalUnit {
            dn: dn.clone(),
            depth: Depth::Subtree,
        },
        Selector::OrganizationalUnitOneLevel(dn) => Selection::OrganizationalUnit {
            dn: dn.clone(),
            depth: Depth::OneLevel,
        },
        Selector::AdministrativeUnit(name) => Selection::AdministrativeUnit(name.clone()),
        Selector::All => Selection::All {
            types: spec.mailbox_types.clone(),
        },
    })
}

fn lost(status: &Status) -> bool {
    matches!(status.code(), Code::FailedPrecondition | Code::NotFound)
}

fn passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
    )
}

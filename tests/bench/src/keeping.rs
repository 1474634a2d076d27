//! What is tampered with after a whole school was granted: found exactly, repaired, and undone to the letter.
//!
//! Exchange costs nothing here. One in a hundred mailboxes is tampered with by somebody else: in turn the entry is removed, lowered,
//! raised, or an entry of another principal is added. A cycle must report the first three and nothing else, and touch nobody else's
//! entry; undoing the grant must leave every list as it was before, but for what others changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context, ensure};
use calgrant_contract::pb::{
    fleet::v1::{Drift, Keeping, TenantSpec, WritePath},
    provisioning::v1::{
        ListOperationsRequest, Operation, OperationKind, OperationState, Outcome,
        ReleaseOperationRequest, UndoOperationRequest,
        provisioning_service_client::ProvisioningServiceClient, run_delegation_request::What,
        selector::By,
    },
    status::v1::{ListAlertsRequest, OperationMailbox, status_service_client::StatusServiceClient},
};
use calgrant_runtime::clock;
use calgrant_testkit::School;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::{
    processes::Processes,
    rounded,
    school::{self, Accounts, EVERYONE, TENANT, TRUSTEE},
};

const ACCOUNTS: Accounts = Accounts {
    count: 4,
    max_in_flight: 50,
    workers: 50,
    windows: &[],
    write_path: WritePath::InvokeCommand,
};
/// A principal that Calgrant has nothing to do with.
const FOREIGN: &str = "works-council@uni.example";
/// Longest time for anything.
const LIMIT: Duration = Duration::from_mins(20);
/// One of so many is tampered with.
const TAMPERED: usize = 100;
/// Edits under way at the same time.
const EDITS: usize = 8;

/// How large.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Mailboxes that are granted.
    #[arg(long, default_value_t = 20_000)]
    mailboxes: usize,
}

/// What was done to a mailbox behind Calgrant's back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tampering {
    Removed,
    Lowered,
    Raised,
    ForeignAdded,
}

impl Tampering {
    const ALL: [Self; 4] = [
        Self::Removed,
        Self::Lowered,
        Self::Raised,
        Self::ForeignAdded,
    ];

    /// The principal whose entry is edited, and its right from then on.
    fn edit(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Removed => (TRUSTEE, None),
            Self::Lowered => (TRUSTEE, Some("Reviewer")),
            Self::Raised => (TRUSTEE, Some("Owner")),
            Self::ForeignAdded => (FOREIGN, Some("Reviewer")),
        }
    }

    /// The reason of a cycle that finds it.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Removed => Some("removed_since"),
            Self::Lowered => Some("lowered_since"),
            Self::Raised => Some("raised_since"),
            Self::ForeignAdded => None,
        }
    }
}

/// The set, and how it is talked to.
struct Bench {
    set: Processes,
    school: School,
    tenant: TenantSpec,
    provisioning: ProvisioningServiceClient<Channel>,
    status: StatusServiceClient<Channel>,
}

/// Grants, tampers, looks, repairs, lists what reads empty, undoes.
pub(crate) async fn run(program: &Path, args: &Args) -> anyhow::Result<Value> {
    let bench = Bench::start(program, args.mailboxes).await?;
    let (granted, grant_seconds) = timed(bench.grant()).await?;
    let given = bench.mailboxes(&granted.id).await?;
    let tampered = tampered(&given);
    bench.tamper(&tampered).await?;
    let foreign = bench.foreign().await?;
    let writes = bench.writes().await?;

    let report = bench.every_second(Drift::Report.into(), false);
    let (looked_at, cycle_seconds) = timed(bench.cycle(report)).await?;
    let reported = findings(&looked_at);
    let wanted: BTreeMap<String, String> = tampered
        .iter()
        .filter_map(|(name, how)| Some((name.clone(), how.reason()?.to_owned())))
        .collect();
    let missed = wanted
        .iter()
        .filter(|(name, why)| reported.get(*name) != Some(why));
    let wrong = reported
        .iter()
        .filter(|(name, why)| wanted.get(*name) != Some(why));
    let (missed, wrong) = (missed.count(), wrong.count());
    let written_by_looking = bench.writes().await? - writes;

    let repair = bench.every_second(Drift::Repair.into(), false);
    let (repaired, repair_seconds) = timed(bench.cycle(repair)).await?;
    let repaired = repaired
        .iter()
        .filter(|it| it.outcome() == Outcome::Repaired);
    let repaired = repaired.count();
    let written_by_repairing = bench.writes().await? - writes - written_by_looking;

    let everyone = format!("groups/{EVERYONE}");
    bench.school.put(&everyone, &json!({"clear": true})).await;
    let alerts = bench.empty_selection().await?;
    let written_for_nobody =
        bench.writes().await? - writes - written_by_looking - written_by_repairing;
    bench.apply(off()).await?;

    let (undone, undo_seconds) = timed(bench.undo(&granted.id)).await?;
    let differing = bench.differing(&tampered).await?;
    let report = bench.set.simulator("report").await?;
    Ok(json!({
        "mailboxes": granted.counts.clone().unwrap_or_default().accepted,
        "tampered": tampered.len(),
        "to_report": wanted.len(),
        "reported": reported.len(),
        "missed": missed,
        "wrongly_reported": wrong,
        "repaired": repaired,
        "writes_of_the_cycle": written_by_looking,
        "writes_of_the_repair": written_by_repairing,
        "empty_selection_alerts": alerts,
        "writes_for_an_empty_selection": written_for_nobody,
        "undone": crate::scale::words(&undone.counts.clone().unwrap_or_default()),
        "lists_differing_after_undo": differing,
        "foreign_entries_changed": bench.foreign().await? - foreign,
        "limit_violations": report["limit_violations"],
        "grant_seconds": rounded(grant_seconds, 1),
        "cycle_seconds": rounded(cycle_seconds, 1),
        "repair_seconds": rounded(repair_seconds, 1),
        "undo_seconds": rounded(undo_seconds, 1),
    }))
}

/// What it gives, and how long it took in seconds.
async fn timed<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<(T, f64)> {
    let start = clock::instant();
    let done = work.await?;
    let seconds = (clock::instant() - start).as_secs_f64();
    eprintln!("bench: {seconds:.1} s");
    Ok((done, seconds))
}

/// Which of the mailboxes that were given the right are tampered with, and how.
fn tampered(given: &[OperationMailbox]) -> BTreeMap<String, Tampering> {
    let added = given.iter().filter(|it| it.outcome() == Outcome::Added);
    let chosen = added
        .step_by(TAMPERED)
        .zip(Tampering::ALL.into_iter().cycle());
    chosen
        .map(|(mailbox, how)| (mailbox.name.clone(), how))
        .collect()
}

/// What a cycle found, by mailbox: the reason.
fn findings(looked_at: &[OperationMailbox]) -> BTreeMap<String, String> {
    let found = looked_at
        .iter()
        .filter(|it| it.outcome() != Outcome::Verified);
    found
        .map(|it| (it.name.clone(), it.reason.clone()))
        .collect()
}

/// Nothing is done by itself.
fn off() -> Keeping {
    Keeping {
        verify_every_millis: Some(0),
        list_every_millis: Some(0),
        watch_every_millis: Some(0),
        ..Keeping::default()
    }
}

impl Bench {
    async fn start(program: &Path, mailboxes: usize) -> anyhow::Result<Self> {
        let scenario = school::scenario(mailboxes, &ACCOUNTS, "");
        let set = Processes::start(program, &scenario).await?;
        let tenant = TenantSpec {
            keeping: Some(off()),
            ..school::tenant(&set, &ACCOUNTS)?
        };
        set.apply(tenant.clone()).await?;
        let api = set.api()?;
        Ok(Self {
            school: School::at(set.url("simulator")),
            tenant,
            provisioning: ProvisioningServiceClient::new(api.clone()),
            status: StatusServiceClient::new(api),
            set,
        })
    }

    /// A delegation that is kept, run for everybody.
    async fn grant(&self) -> anyhow::Result<Operation> {
        let kept = school::kept(By::Group(EVERYONE.to_owned()));
        let kept = school::run(What::Spec(kept));
        let begun = self.provisioning.clone().run_delegation(kept).await?;
        self.ended(&begun.into_inner().id).await
    }

    async fn ended(&self, id: &str) -> anyhow::Result<Operation> {
        let ended = self
            .set
            .operation(id, LIMIT, |operation| operation.end_time.is_some())
            .await?;
        ensure!(ended.state() == OperationState::Done, "{ended:?}");
        Ok(ended)
    }

    async fn mailboxes(&self, operation: &str) -> anyhow::Result<Vec<OperationMailbox>> {
        Ok(calgrant_testkit::mailboxes(&self.status, operation).await?)
    }

    async fn tamper(&self, tampered: &BTreeMap<String, Tampering>) -> anyhow::Result<()> {
        let edits = tampered.iter().map(|(mailbox, how)| {
            let (principal, right) = how.edit();
            async move {
                self.school.edit(mailbox, principal, right).await;
                anyhow::Ok(())
            }
        });
        let edits = futures::stream::iter(edits).buffer_unordered(EDITS);
        edits.try_collect::<()>().await
    }

    /// Entries of others that changed since the beginning.
    async fn foreign(&self) -> anyhow::Result<u64> {
        let report = self.set.simulator("report").await?;
        report["foreign_entries_changed"]
            .as_u64()
            .context("a report")
    }

    async fn writes(&self) -> anyhow::Result<u64> {
        let report = self.set.simulator("report").await?;
        report["writes"].as_u64().context("a report")
    }

    /// Each mailbox once a second or, where that is too much, without a pause; or the selection.
    fn every_second(&self, drift: i32, listing: bool) -> Keeping {
        let every = |is_wanted: bool| Some(if is_wanted { 1000 } else { 0 });
        Keeping {
            verify_every_millis: every(!listing),
            list_every_millis: every(listing),
            drift,
            ..off()
        }
    }

    async fn apply(&self, keeping: Keeping) -> anyhow::Result<()> {
        let tenant = TenantSpec {
            keeping: Some(keeping),
            ..self.tenant.clone()
        };
        self.set.apply(tenant).await
    }

    /// The operations that look at what is kept, and began by themselves; newest first.
    async fn looks(&self) -> anyhow::Result<Vec<Operation>> {
        let asked = ListOperationsRequest {
            tenant: TENANT.to_owned(),
            page_size: 1000,
            ..ListOperationsRequest::default()
        };
        let listed = self.provisioning.clone().list_operations(asked).await?;
        let mut found = listed.into_inner().operations;
        found.retain(|it| it.by_itself && it.kind() == OperationKind::Verify);
        Ok(found)
    }

    /// What is found once it is kept so, by as many operations as it takes until each mailbox had its turn; then nothing is done
    /// by itself any more. Whose last turn is longest ago come first: all had one as soon as one has a second, and is there twice.
    async fn cycle(&self, keeping: Keeping) -> anyhow::Result<Vec<OperationMailbox>> {
        let looks = self.looks().await?.into_iter();
        let mut known: BTreeSet<_> = looks.map(|it| it.id).collect();
        self.apply(keeping).await?;
        let (mut looked_at, mut had_a_turn) = (Vec::new(), BTreeSet::new());
        while had_a_turn.len() == looked_at.len() {
            let mut next = None;
            self.set
                .until("mailboxes are looked at", LIMIT, async || {
                    let looks = self.looks().await.unwrap_or_default();
                    next = looks.into_iter().rfind(|it| !known.contains(&it.id));
                    next.is_some()
                })
                .await?;
            let next = self.ended(&next.context("an operation")?.id).await?;
            let found = self.mailboxes(&next.id).await?;
            had_a_turn.extend(found.iter().map(|it| it.mailbox_id.clone()));
            looked_at.extend(found);
            known.insert(next.id);
        }
        self.apply(off()).await?;
        // What began meanwhile isn't in the way of what comes next.
        for look in self.looks().await? {
            self.ended(&look.id).await?;
        }
        Ok(looked_at)
    }

    /// Lists until it is told that the selection is empty. Answers how many alerts say so.
    async fn empty_selection(&self) -> anyhow::Result<usize> {
        self.apply(self.every_second(Drift::Report.into(), true))
            .await?;
        let mut alerts = 0;
        self.set
            .until("the empty selection is told", LIMIT, async || {
                let asked = ListAlertsRequest {
                    tenant: TENANT.to_owned(),
                    kind: "empty_selection".to_owned(),
                    ..ListAlertsRequest::default()
                };
                let told = self.status.clone().list_alerts(asked).await;
                alerts = told.map_or(0, |told| told.into_inner().alerts.len());
                alerts > 0
            })
            .await?;
        Ok(alerts)
    }

    async fn undo(&self, operation: &str) -> anyhow::Result<Operation> {
        let asked = UndoOperationRequest {
            operation: operation.to_owned(),
            request_id: uuid::Uuid::new_v4().to_string(),
            ..UndoOperationRequest::default()
        };
        let mut begun = self
            .provisioning
            .clone()
            .undo_operation(asked)
            .await?
            .into_inner();
        begun = self
            .set
            .operation(&begun.id, LIMIT, |operation| {
                operation.end_time.is_some() || operation.state() == OperationState::Held
            })
            .await?;
        if begun.state() == OperationState::Held {
            // So many waits for a person: here is one.
            let released = ReleaseOperationRequest {
                id: begun.id.clone(),
                ..ReleaseOperationRequest::default()
            };
            self.provisioning
                .clone()
                .release_operation(released)
                .await?;
        }
        self.ended(&begun.id).await
    }

    /// Lists that are not as they were at the beginning, but for what others changed.
    async fn differing(&self, tampered: &BTreeMap<String, Tampering>) -> anyhow::Result<usize> {
        let members = self.school.members("all=true").await;
        ensure!(!members.is_empty(), "the simulator knows nobody");
        let as_before = |member: &Value| {
            let how = member["upn"].as_str().and_then(|name| tampered.get(name));
            let others =
                how == Some(&Tampering::ForeignAdded) || member["others_unchanged"] != false;
            let ours = how.is_some_and(|how| *how != Tampering::ForeignAdded)
                || member["before"]["rights"] == member["now"]["rights"];
            others && ours
        };
        Ok(members.iter().filter(|member| !as_before(member)).count())
    }
}

//! How soon an event becomes a right: from the moment identity management tells it until the granted mailbox is announced to whoever
//! watches, with nothing else to do and beside a large operation.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, anyhow, bail, ensure};
use calgrant_bus::{Bus, Message, Queue};
use calgrant_contract::{
    cloud_event::{CloudEvent, STRUCTURED},
    onboarding::event_type,
    pb::{
        fleet::v1::WritePath,
        provisioning::v1::{
            CreateDelegationRequest, Operation,
            provisioning_service_client::ProvisioningServiceClient, run_delegation_request::What,
            selector::By,
        },
        status::v1::{
            AccessChangeKind, WatchMailboxAccessRequest, WatchMailboxAccessResponse,
            status_service_client::StatusServiceClient,
        },
    },
};
use calgrant_domain::EventKind;
use calgrant_runtime::clock;
use serde_json::{Value, json};
use tonic::Streaming;

use crate::{
    percentile,
    processes::Processes,
    rounded,
    school::{self, Accounts, EVERYONE, TENANT},
};

/// A call takes so long.
const LATENCY_MILLIS: u64 = 50;
/// Calls to Exchange, one after the other, that a newcomer's mailbox takes: find the calendar, read, add, read back.
const EXCHANGE_CALLS: u64 = 4;
const ACCOUNTS: Accounts = Accounts {
    count: 4,
    max_in_flight: 8,
    workers: 8,
    windows: &[],
    write_path: WritePath::AdminApi,
};
/// Longest time until somebody is granted, and for a large operation.
const LIMIT: Duration = Duration::from_mins(10);

/// How large.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Mailboxes of the large operation.
    #[arg(long, default_value_t = 20_000)]
    mailboxes: usize,
    /// Newcomers with nothing else to do, one after the other, and as many beside the large operation.
    #[arg(long, default_value_t = 100)]
    newcomers: usize,
}

/// Identity management, and whoever waits for rights.
struct Desk {
    bus: Bus,
    changes: Streaming<WatchMailboxAccessResponse>,
}

/// Somebody with a mailbox who hasn't the right.
struct Person {
    /// As it is told.
    id: String,
    address: String,
}

/// All of them, those first who come last in a listing.
async fn people(set: &Processes) -> Vec<Person> {
    let members = school::with_calendars(set).await;
    let known = |member: &Value| {
        let id = member["object_id"].as_str()?.replace('-', "");
        Some(Person {
            id: format!("mbx_{id}"),
            address: member["address"].as_str()?.to_owned(),
        })
    };
    members
        .iter()
        .rev()
        .filter(|member| member["before"].is_null())
        .filter_map(known)
        .collect()
}

/// Newcomers alone, then newcomers beside a large operation.
pub(crate) async fn run(program: &Path, args: &Args) -> anyhow::Result<Value> {
    let scenario = school::scenario(
        args.mailboxes,
        &ACCOUNTS,
        &format!("latency_ms = {LATENCY_MILLIS}\n"),
    );
    let services = ["status", "api", "worker", "onboarding"];
    let set = Processes::start_these(program, &scenario, &[], &services).await?;
    set.apply(school::tenant(&set, &ACCOUNTS)?).await?;
    let mut api = ProvisioningServiceClient::new(set.api()?);
    let kept = CreateDelegationRequest {
        spec: Some(school::kept(By::Group(EVERYONE.to_owned()))),
    };
    let delegation = api.create_delegation(kept).await?.into_inner().id;
    let mut desk = Desk::open(&set).await?;

    let people = people(&set).await;
    let mut people = people.iter();
    let mut idle = Vec::new();
    for person in people.by_ref().take(args.newcomers) {
        idle.push(desk.join(person).await?);
    }
    eprintln!("bench: {}", figures(&mut idle));

    let bulk = school::run(What::DelegationId(delegation));
    let bulk = api.run_delegation(bulk).await?.into_inner();
    set.operation(&bulk.id, LIMIT, |operation| done(operation) > 0)
        .await?;
    let mut busy = Vec::new();
    for person in people.take(args.newcomers) {
        busy.push(desk.join(person).await?);
    }
    let still = set.operation(&bulk.id, LIMIT, |_| true).await?;
    ensure!(
        still.end_time.is_none(),
        "the large operation was over too soon: ask for more --mailboxes"
    );
    let report = set.simulator("report").await?;
    desk.bus.close().await;
    Ok(json!({
        "idle": figures(&mut idle),
        "beside_a_large_operation": figures(&mut busy),
        "upstream_seconds": rounded(
            Duration::from_millis(LATENCY_MILLIS * EXCHANGE_CALLS).as_secs_f64(), 2),
        "large_operation": {
            "mailboxes": still.counts.clone().unwrap_or_default().accepted,
            "done_meanwhile": done(&still),
        },
        "limit_violations": report["limit_violations"],
    }))
}

fn done(operation: &Operation) -> u64 {
    let counts = operation.counts.clone().unwrap_or_default();
    counts.accepted - counts.outstanding
}

fn figures(waited: &mut [Duration]) -> Value {
    waited.sort_unstable();
    let seconds = |percent: usize| {
        let found = percentile(waited, percent);
        found.map(|waited| rounded(waited.as_secs_f64(), 2))
    };
    json!({"granted": waited.len(), "p50_seconds": seconds(50), "p99_seconds": seconds(99)})
}

impl Desk {
    async fn open(set: &Processes) -> anyhow::Result<Self> {
        let bus = Bus::connect(set.broker(), "identity").await?;
        let watch = WatchMailboxAccessRequest {
            tenant: TENANT.to_owned(),
            after_sequence: 0,
        };
        let status = StatusServiceClient::new(set.api()?);
        let changes = status.clone().watch_mailbox_access(watch).await?;
        Ok(Self {
            bus,
            changes: changes.into_inner(),
        })
    }

    /// Tells that somebody joined, and waits for the right. Answers how long that took.
    async fn join(&mut self, person: &Person) -> anyhow::Result<Duration> {
        let event = CloudEvent {
            source: "/bench".to_owned(),
            id: person.id.clone(),
            kind: event_type(EventKind::Joined),
            subject: None,
            time: Some(clock::now()),
            extensions: BTreeMap::new(),
            data: json!({"tenant": TENANT, "mailbox": {"address": person.address}}),
        };
        let message = Message {
            body: event.to_json()?,
            message_id: event.id.clone(),
            kind: STRUCTURED,
            traceparent: None,
        };
        let start = clock::instant();
        let sent = self
            .bus
            .publisher()
            .publish(&Queue::events(), message)
            .await;
        sent.map_err(|cause| anyhow!("the event is not sent: {cause}"))?;
        let granted = async {
            while let Some(told) = self.changes.message().await? {
                let change = told.change.unwrap_or_default();
                if change.mailbox_id == person.id && change.kind() == AccessChangeKind::Granted {
                    return Ok(());
                }
            }
            bail!("the watch ended")
        };
        let heard = tokio::time::timeout(LIMIT, granted).await;
        heard.with_context(|| format!("{} was never granted", person.address))??;
        Ok(clock::instant() - start)
    }
}

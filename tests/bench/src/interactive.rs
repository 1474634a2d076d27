//! How soon somebody who waits is served while a large operation runs, and how true an operation's own estimate is.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use calgrant_contract::pb::{
    fleet::v1::WritePath,
    provisioning::v1::{
        GetOperationRequest, Lane, Operation, OperationState, RunDelegationRequest,
        UploadMailboxListRequest, WatchOperationRequest,
        provisioning_service_client::ProvisioningServiceClient, selector::By,
    },
};
use calgrant_runtime::clock;
use serde_json::{Value, json};
use tokio_stream::StreamExt;
use tonic::transport::Channel;

use crate::{
    percentile,
    processes::Processes,
    rounded,
    school::{self, Accounts, EVERYONE, TENANT, request},
};

/// A call takes so long.
const LATENCY_MILLIS: u64 = 50;
/// Calls to Exchange, one after the other, that a newcomer's mailbox takes: find the calendar, read, add, read back.
const CALLS_OF_ONE: u64 = 4;
/// So many wait at the same time.
const NEWCOMERS: usize = 3;
/// Longest time for a run.
const LIMIT: Duration = Duration::from_mins(20);

/// How large.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Mailboxes of the large operation.
    #[arg(long, default_value_t = 20_000)]
    mailboxes: usize,
    /// Mailboxes of each operation whose estimate is held against what it takes.
    #[arg(long, default_value_t = 3_000)]
    estimated: usize,
}

/// Newcomers beside a large operation, then operations that are estimated under steady budgets.
pub(crate) async fn run(program: &Path, args: &Args) -> anyhow::Result<Value> {
    let newcomers = newcomers(program, args.mailboxes).await?;
    eprintln!("bench: {newcomers}");
    let mut estimates = Vec::new();
    for (bound, max_in_flight, windows) in [
        ("in-flight", 5, &[][..]),
        ("windows", 20, &[(240, 6), (800, 20)][..]),
    ] {
        let told = Accounts {
            count: 2,
            max_in_flight,
            workers: max_in_flight,
            windows,
            write_path: WritePath::AdminApi,
        };
        let estimate = estimated(program, args.estimated, bound, &told).await?;
        eprintln!("bench: {estimate}");
        estimates.push(estimate);
    }
    Ok(json!({"interactive": newcomers, "estimates": estimates}))
}

async fn newcomers(program: &Path, mailboxes: usize) -> anyhow::Result<Value> {
    let told = Accounts {
        count: 4,
        max_in_flight: 8,
        workers: 8,
        windows: &[],
        write_path: WritePath::AdminApi,
    };
    let dials = format!("latency_ms = {LATENCY_MILLIS}\n");
    let set = Processes::start(program, &school::scenario(mailboxes, &told, &dials)).await?;
    set.apply(school::tenant(&set, &told)?).await?;
    let client = ProvisioningServiceClient::new(set.api()?);
    let everyone = request(By::Group(EVERYONE.to_owned()));
    let bulk = client.clone().run_delegation(everyone).await?.into_inner();
    set.operation(&bulk.id, LIMIT, |operation| left(operation) > 0)
        .await?;
    // From the end of the school, where the large operation comes last.
    let ones = (0..NEWCOMERS).map(|number| one_by_one(&client, &bulk.id, mailboxes, number));
    let mut waited: Vec<Duration> = Vec::new();
    for waits in futures::future::join_all(ones).await {
        waited.extend(waits?);
    }
    waited.sort_unstable();
    ensure!(!waited.is_empty(), "the large operation was over too soon");
    let ended = set
        .operation(&bulk.id, LIMIT, |operation| operation.end_time.is_some())
        .await?;
    let report = set.simulator("report").await?;
    let upstream = Duration::from_millis(LATENCY_MILLIS * CALLS_OF_ONE);
    let seconds = |percent: usize| {
        let found = percentile(&waited, percent);
        found.map(|waited| rounded(waited.as_secs_f64(), 2))
    };
    Ok(json!({
        "bulk_mailboxes": ended.counts.unwrap_or_default().accepted,
        "granted": waited.len(),
        "p50_seconds": seconds(50),
        "p99_seconds": seconds(99),
        "upstream_seconds": rounded(upstream.as_secs_f64(), 2),
        "limit_violations": report["limit_violations"],
    }))
}

/// Grants one mailbox after the other for as long as the large operation has much to do. Answers how long each took.
async fn one_by_one(
    client: &ProvisioningServiceClient<Channel>,
    bulk: &str,
    mailboxes: usize,
    number: usize,
) -> anyhow::Result<Vec<Duration>> {
    let mut waited = Vec::new();
    loop {
        let person = mailboxes - 1 - number - NEWCOMERS * waited.len();
        let started = clock::instant();
        let list = UploadMailboxListRequest {
            tenant: TENANT.to_owned(),
            lines: vec![format!("u{person:06}@uni.example")],
        };
        let list = client
            .clone()
            .upload_mailbox_list(tokio_stream::iter([list]))
            .await?
            .into_inner();
        let grant = RunDelegationRequest {
            lane: Lane::Interactive.into(),
            ..request(By::MailboxList(list.id))
        };
        let one = client.clone().run_delegation(grant).await?.into_inner();
        let ended = watched(client, one.id).await?;
        waited.push(clock::instant() - started);
        ensure!(ended.state() == OperationState::Done, "{ended:?}");
        let get = GetOperationRequest {
            id: bulk.to_owned(),
        };
        let bulk = client.clone().get_operation(get).await?.into_inner();
        let accepted = bulk.counts.as_ref().map_or(0, |counts| counts.accepted);
        if bulk.end_time.is_some() || left(&bulk) * 10 < accepted {
            return Ok(waited);
        }
    }
}

/// Watches an operation to its end.
async fn watched(
    client: &ProvisioningServiceClient<Channel>,
    id: String,
) -> anyhow::Result<Operation> {
    let watch = WatchOperationRequest {
        id,
        ..WatchOperationRequest::default()
    };
    let mut changes = client.clone().watch_operation(watch).await?.into_inner();
    while let Some(change) = changes.next().await {
        if let Some(operation) = change?.operation
            && operation.end_time.is_some()
        {
            return Ok(operation);
        }
    }
    anyhow::bail!("the watch ended before the operation")
}

/// What an operation says after a tenth of it, and how long it takes in the end.
async fn estimated(
    program: &Path,
    mailboxes: usize,
    bound: &str,
    told: &Accounts,
) -> anyhow::Result<Value> {
    let set = Processes::start(
        program,
        &school::scenario(mailboxes, told, "latency_ms = 100\n"),
    )
    .await?;
    set.apply(school::tenant(&set, told)?).await?;
    let mut client = ProvisioningServiceClient::new(set.api()?);
    let started = clock::instant();
    let everyone = request(By::Group(EVERYONE.to_owned()));
    let id = client.run_delegation(everyone).await?.into_inner().id;
    let tenth = set
        .operation(&id, LIMIT, |operation| {
            let accepted = operation
                .counts
                .as_ref()
                .map_or(0, |counts| counts.accepted);
            let done = accepted - left(operation);
            operation.state() == OperationState::Running && done > 0 && done * 10 >= accepted
        })
        .await?;
    let passed = (clock::instant() - started).as_secs_f64();
    let remaining = tenth
        .estimate
        .and_then(|estimate| estimate.remaining_seconds);
    let remaining = remaining.context("no estimate at a tenth of the operation")?;
    set.operation(&id, LIMIT, |operation| operation.end_time.is_some())
        .await?;
    let took = (clock::instant() - started).as_secs_f64();
    Ok(json!({
        "bound": bound,
        "mailboxes": mailboxes,
        "took_seconds": rounded(took, 2),
        "estimated_at_a_tenth_seconds": rounded(passed + remaining, 2),
        "ratio": rounded((passed + remaining) / took, 2),
    }))
}

fn left(operation: &Operation) -> u64 {
    operation
        .counts
        .as_ref()
        .map_or(0, |counts| counts.outstanding)
}

//! Large operations. The same run with few and with many mailboxes: memory must not grow with them.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use calgrant_contract::pb::{
    fleet::v1::WritePath,
    provisioning::v1::{
        CancelOperationRequest, Counts, OperationState, OutcomeCount, UploadMailboxListRequest,
        provisioning_service_client::ProvisioningServiceClient, selector::By,
    },
};
use calgrant_runtime::clock;
use serde_json::{Value, json};
use tonic::{Code, transport::Channel};

use crate::{
    percentile,
    processes::Processes,
    rounded,
    school::{self, Accounts, EVERYONE, TENANT, request},
};

/// Two accounts that take as many calls as the simulator lets them.
const ACCOUNTS: Accounts = Accounts {
    count: 2,
    max_in_flight: 10,
    workers: 10,
    windows: &[],
    write_path: WritePath::InvokeCommand,
};
/// Submissions whose accepting is measured.
const SUBMISSIONS: usize = 200;
const LINES: usize = 100_000;

/// How large.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Mailboxes of the smaller run.
    #[arg(long, default_value_t = 10_000)]
    few: usize,
    /// Mailboxes of the larger run.
    #[arg(long, default_value_t = 100_000)]
    many: usize,
    /// Longest time for a run, in minutes.
    #[arg(long, default_value_t = 60)]
    limit_minutes: u64,
}

/// Both runs, and what the larger one took in memory for each of the smaller one's bytes.
pub(crate) async fn run(program: &Path, args: &Args) -> anyhow::Result<Value> {
    let limit = Duration::from_secs(60 * args.limit_minutes);
    let cancelled = cancelled(program, args.few, limit).await?;
    let few = one(program, args.few, limit).await?;
    let many = one(program, args.many, limit).await?;
    let ratio = |name: &str| {
        let kib = |run: &Value| run["peak_kib"][name].as_f64().unwrap_or(f64::NAN);
        rounded(kib(&many) / kib(&few), 2)
    };
    let ratios = json!({"api": ratio("api"), "status": ratio("status"), "worker": ratio("worker")});
    Ok(json!({"cancelled": cancelled, "few": few, "many": many, "peak_memory_ratio": ratios}))
}

/// How an operation ends that is cancelled half-way.
async fn cancelled(program: &Path, mailboxes: usize, limit: Duration) -> anyhow::Result<Value> {
    eprintln!("bench: {mailboxes} mailboxes, cancelled half-way");
    let set = Processes::start(program, &school::scenario(mailboxes, &ACCOUNTS, "")).await?;
    set.apply(school::tenant(&set, &ACCOUNTS)?).await?;
    let client = ProvisioningServiceClient::new(set.api()?);
    let everyone = request(By::Group(EVERYONE.to_owned()));
    let id = client
        .clone()
        .run_delegation(everyone)
        .await?
        .into_inner()
        .id;
    let half = u64::try_from(mailboxes / 2)?;
    set.operation(&id, limit, |operation| {
        let counts = operation.counts.clone().unwrap_or_default();
        counts.accepted - counts.outstanding >= half
    })
    .await?;
    let asked = clock::instant();
    client
        .clone()
        .cancel_operation(CancelOperationRequest { id: id.clone() })
        .await?;
    let ended = set
        .operation(&id, limit, |operation| operation.end_time.is_some())
        .await?;
    let seconds = (clock::instant() - asked).as_secs_f64();
    ensure!(ended.state() == OperationState::Cancelled, "{ended:?}");
    let counts = ended.counts.unwrap_or_default();
    let sum: u64 = counts.outcomes.iter().map(|count| count.count).sum();
    ensure!(
        counts.outstanding == 0 && counts.accepted == sum,
        "{counts:?}"
    );
    let report = set.simulator("report").await?;
    Ok(json!({
        "ended_after_seconds": rounded(seconds, 2),
        "outcomes": words(&counts),
        "writes": report["writes"],
        "foreign_entries_changed": report["foreign_entries_changed"],
    }))
}

/// Outcomes by their words.
pub(crate) fn words(counts: &Counts) -> serde_json::Map<String, Value> {
    let word = |count: &OutcomeCount| {
        let word = count.outcome().as_str_name().trim_start_matches("OUTCOME_");
        (word.to_lowercase(), Value::from(count.count))
    };
    counts.outcomes.iter().map(word).collect()
}

async fn one(program: &Path, mailboxes: usize, limit: Duration) -> anyhow::Result<Value> {
    eprintln!("bench: {mailboxes} mailboxes");
    let set = Processes::start(program, &school::scenario(mailboxes, &ACCOUNTS, "")).await?;
    set.apply(school::tenant(&set, &ACCOUNTS)?).await?;
    let client = ProvisioningServiceClient::new(set.api()?);

    let list: Vec<String> = (0..LINES).map(|n| format!("u{n:06}@uni.example")).collect();
    let uploaded = clock::instant();
    upload(client.clone(), &list)
        .await
        .context("the list is refused")?;
    let uploaded = clock::instant() - uploaded;
    let mut faulty = list;
    faulty[LINES / 2] = "no address".to_owned();
    let faults_named = clock::instant();
    let refused = upload(client.clone(), &faulty).await;
    let faults_named = clock::instant() - faults_named;
    let refused = refused.err().context("a faulty list was taken")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    ensure!(
        refused
            .message()
            .contains(&format!("lines[{}]", LINES / 2 + 1)),
        "{refused:?}"
    );

    let accepts = accepts(&client, EVERYONE).await?;
    let watch = clock::instant();
    let operation = client
        .clone()
        .run_delegation(request(By::Group(EVERYONE.to_owned())))
        .await?
        .into_inner();
    let under_load = self::accepts(&client, "nobody@uni.example").await?;

    let ended = set
        .operation(&operation.id, limit, |operation| {
            operation.end_time.is_some()
        })
        .await?;
    let seconds = (clock::instant() - watch).as_secs_f64();
    ensure!(ended.state() == OperationState::Done, "{ended:?}");
    let report = set.simulator("report").await?;
    let counts = ended.counts.unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = counts.accepted as f64 / seconds;
    Ok(json!({
        "mailboxes": counts.accepted,
        "outcomes": words(&counts),
        "seconds": rounded(seconds, 2),
        "mailboxes_per_second": rounded(rate, 2),
        "accept_p50_ms": percentile(&accepts, 50).map(millis),
        "accept_p99_ms": percentile(&accepts, 99).map(millis),
        "accept_under_load_p50_ms": percentile(&under_load, 50).map(millis),
        "accept_under_load_p99_ms": percentile(&under_load, 99).map(millis),
        "upload_100k_ms": millis(uploaded),
        "upload_100k_fault_ms": millis(faults_named),
        "limit_violations": report["limit_violations"],
        "foreign_entries_changed": report["foreign_entries_changed"],
        "peak_kib": {
            "api": set.peak_kib("api")?, "status": set.peak_kib("status")?, "worker": set.peak_kib("worker")?,
        },
    }))
}

/// How long submissions for a group take, shortest first. Each is cancelled at once: what is measured is the accepting.
async fn accepts(
    client: &ProvisioningServiceClient<Channel>,
    group: &str,
) -> anyhow::Result<Vec<Duration>> {
    let mut accepts = Vec::with_capacity(SUBMISSIONS);
    for _ in 0..SUBMISSIONS {
        let request = request(By::Group(group.to_owned()));
        let started = clock::instant();
        let operation = client.clone().run_delegation(request).await?.into_inner();
        accepts.push(clock::instant() - started);
        let cancel = CancelOperationRequest { id: operation.id };
        client.clone().cancel_operation(cancel).await?;
    }
    accepts.sort_unstable();
    Ok(accepts)
}

async fn upload(
    mut client: ProvisioningServiceClient<Channel>,
    lines: &[String],
) -> Result<String, tonic::Status> {
    let parts: Vec<_> = lines
        .chunks(5000)
        .map(|lines| UploadMailboxListRequest {
            tenant: TENANT.to_owned(),
            lines: lines.to_vec(),
        })
        .collect();
    let stored = client
        .upload_mailbox_list(tokio_stream::iter(parts))
        .await?;
    Ok(stored.into_inner().id)
}

fn millis(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1000.0, 2)
}

//! How fast jobs go from accepted to recorded, beside what the broker alone does on the same machine, and where the time goes.
//!
//! Exchange costs nothing here: the simulator answers at once and has no limits, so what is left is ours, the broker's and the
//! database's work. Half of the mailboxes need a change.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, ensure};
use calgrant_contract::pb::{
    bus::v1::Job,
    fleet::v1::WritePath,
    provisioning::v1::{
        Operation, OperationState, RunDelegationRequest,
        provisioning_service_client::ProvisioningServiceClient, selector::By,
    },
};
use calgrant_runtime::clock;
use prost::Message;
use serde_json::{Value, json};

use crate::{
    broker,
    processes::Processes,
    rounded,
    scale::words,
    school::{self, Accounts, EVERYONE, TENANT, TRUSTEE, request},
    usage::Used,
};

/// So many calls that nobody waits for one to be allowed.
const ACCOUNTS: Accounts = Accounts {
    count: 2,
    max_in_flight: 100,
    workers: 100,
    windows: &[],
    write_path: WritePath::InvokeCommand,
};
/// Half of the mailboxes have what is asked for.
const HALF: &str = "granted_share = 0.5\n";
/// Calls that the simulator takes in one request.
const BATCH: usize = 10;
/// Longest time for a run.
const LIMIT: Duration = Duration::from_mins(60);

/// How large.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Mailboxes of each run.
    #[arg(long, default_value_t = 20_000)]
    mailboxes: usize,
    /// Messages that the broker alone is measured with.
    #[arg(long, default_value_t = 100_000)]
    messages: u32,
    /// Also does as many as `mailboxes` while so many jobs are ready, such as 1000000, and holds it against `--against`.
    #[arg(long)]
    ready: Option<usize>,
    /// The smaller number of ready jobs.
    #[arg(long, default_value_t = 100_000)]
    against: usize,
}

/// A run from accepted to recorded.
struct Measured {
    operation: Operation,
    /// Jobs that ended meanwhile.
    jobs: u64,
    seconds: f64,
    /// Processor time by process, in seconds.
    cpu: BTreeMap<String, f64>,
    used: Used,
    report: Value,
}

/// The broker alone, the pipeline with batches and without, the broker alone again.
pub(crate) async fn run(program: &Path, args: &Args) -> anyhow::Result<Value> {
    let body = body();
    let alone = async || {
        eprintln!("bench: the broker alone, {} messages", args.messages);
        broker::messages_per_second(&body, args.messages).await
    };
    let before = alone().await?;
    eprintln!(
        "bench: {} mailboxes, {BATCH} calls in a request",
        args.mailboxes
    );
    let batched = whole(program, args.mailboxes, BATCH).await?;
    eprintln!("bench: {} mailboxes, each call by itself", args.mailboxes);
    let unbatched = whole(program, args.mailboxes, 1).await?;
    let after = alone().await?;
    let raw = f64::midpoint(before, after);
    let ready = match args.ready {
        Some(ready) => Some(many_ready(program, args, ready).await?),
        None => None,
    };
    let (rate, slower) = (batched.rate(), unbatched.rate());
    Ok(json!({
        "jobs_per_second": rounded(rate, 1),
        "unbatched_jobs_per_second": rounded(slower, 1),
        "raw_broker_per_second": rounded(raw, 1),
        "ratio_to_raw_broker": rounded(rate / raw, 3),
        "unbatched_ratio_to_raw_broker": rounded(slower / raw, 3),
        "raw_broker_before": rounded(before, 1),
        "raw_broker_after": rounded(after, 1),
        "body_bytes": body.len(),
        "calls_in_a_batch": BATCH,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "profile": batched.profile(),
        "unbatched_profile": unbatched.profile(),
        "memory": {"peak_kib": batched.used.peak_kib, "unbatched_peak_kib": unbatched.used.peak_kib},
        "ready": ready,
    }))
}

/// A job as it travels when nothing is known of its mailbox yet.
fn body() -> Vec<u8> {
    let id = || uuid::Uuid::new_v4().into_bytes().to_vec();
    let job = Job {
        id: id(),
        operation: id(),
        tenant: TENANT.to_owned(),
        site: "online".to_owned(),
        mailbox: id(),
        address: "person.12345@uni.example".to_owned(),
        licensed: Some(true),
        trustee: TRUSTEE.to_owned(),
        role: "Author".to_owned(),
        phase: "grant".to_owned(),
        ..Job::default()
    };
    job.encode_to_vec()
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "a number of mailboxes")]
    fn jobs(&self) -> f64 {
        self.jobs as f64
    }

    fn rate(&self) -> f64 {
        self.jobs() / self.seconds
    }

    /// Where the time goes: processor time for each job, by process, and how much of the processors' time that is.
    fn profile(&self) -> Value {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let sum: f64 = self.cpu.values().sum();
        #[expect(clippy::cast_precision_loss, reason = "a handful of cores")]
        let busy = sum / (self.seconds * cores as f64);
        json!({
            "seconds": rounded(self.seconds, 2),
            "cpu_seconds": in_all(&self.cpu, 1.0),
            "cpu_millis_per_job": in_all(&self.cpu, 1000.0 / self.jobs()),
            "busy": rounded(busy, 3),
            "outcomes": words(&self.operation.counts.clone().unwrap_or_default()),
            "calls": self.report["calls_total"],
            "round_trips": self.report["round_trips"],
            "limit_violations": self.report["limit_violations"],
            "foreign_entries_changed": self.report["foreign_entries_changed"],
        })
    }
}

fn in_all(cpu: &BTreeMap<String, f64>, times: f64) -> Value {
    let each = cpu
        .iter()
        .map(|(name, seconds)| (name.clone(), Value::from(rounded(seconds * times, 3))));
    Value::Object(each.collect())
}

fn ended(operation: &Operation) -> u64 {
    let counts = operation.counts.clone().unwrap_or_default();
    counts.accepted - counts.outstanding
}

/// One operation for a whole school, from accepted until the last outcome is recorded.
async fn whole(program: &Path, mailboxes: usize, batch: usize) -> anyhow::Result<Measured> {
    let dials = format!("batch_max = {batch}\n");
    let scenario = school::scenario_with(mailboxes, &ACCOUNTS, HALF, &dials);
    let set = Processes::start(program, &scenario).await?;
    set.apply(school::tenant(&set, &ACCOUNTS)?).await?;
    warm_up(&set).await?;
    let usage = set.all().await?;
    let before = usage.look()?;
    let start = clock::instant();
    let operation = carried_out(&set, request(By::Group(EVERYONE.to_owned()))).await?;
    let seconds = (clock::instant() - start).as_secs_f64();
    let used = usage.look()?;
    Ok(Measured {
        jobs: ended(&operation),
        operation,
        seconds,
        cpu: used.seconds_since(&before),
        used,
        report: set.simulator("report").await?,
    })
}

/// One mailbox first: a worker hears of a tenant within a second, which is no part of what jobs take.
async fn warm_up(set: &Processes) -> anyhow::Result<()> {
    let members = school::with_calendars(set).await;
    let first = members.first().and_then(|first| first["address"].as_str());
    let one = RunDelegationRequest {
        mailboxes: vec![first.context("nobody has a mailbox")?.to_owned()],
        ..request(By::Group(EVERYONE.to_owned()))
    };
    carried_out(set, one).await?;
    Ok(())
}

/// Has a run done, until the last outcome is recorded.
async fn carried_out(set: &Processes, run: RunDelegationRequest) -> anyhow::Result<Operation> {
    let mut client = ProvisioningServiceClient::new(set.api()?);
    let id = client.run_delegation(run).await?.into_inner().id;
    let over = |operation: &Operation| operation.end_time.is_some();
    let operation = set.operation(&id, LIMIT, over).await?;
    ensure!(operation.state() == OperationState::Done, "{operation:?}");
    Ok(operation)
}

/// The same number of jobs done while few and while many are ready: neither processor time nor memory may grow with them.
async fn many_ready(program: &Path, args: &Args, many: usize) -> anyhow::Result<Value> {
    let few = while_ready(program, args.against, args.mailboxes).await?;
    let many = while_ready(program, many, args.mailboxes).await?;
    let per_job = |run: &Measured, name: &str| Some(run.cpu.get(name)? / run.jobs());
    let kib = |run: &Measured, name: &str| run.used.peak_kib.get(name).copied();
    let mut ratios = serde_json::Map::new();
    for name in few.cpu.keys() {
        // The simulator holds all mailboxes: it isn't ours to keep small.
        if name == "simulator" {
            continue;
        }
        let cpu = per_job(&many, name)
            .zip(per_job(&few, name))
            .map(|(many, few)| rounded(many / few, 3));
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let memory = kib(&many, name)
            .zip(kib(&few, name))
            .map(|(many, few)| rounded(many as f64 / few as f64, 3));
        ratios.insert(
            name.clone(),
            json!({"cpu_per_job": cpu, "peak_memory": memory}),
        );
    }
    let sum = |run: &Measured| {
        let ours = run.cpu.iter().filter(|(name, _)| *name != "simulator");
        ours.map(|(_, seconds)| seconds).sum::<f64>() / run.jobs()
    };
    let told = |run: &Measured| {
        json!({
            "cpu_millis_per_job": in_all(&run.cpu, 1000.0 / run.jobs()),
            "peak_kib": run.used.peak_kib,
            "jobs_per_second": rounded(run.rate(), 1),
        })
    };
    Ok(json!({
        "few": told(&few),
        "many": told(&many),
        "ratios": ratios,
        "cpu_per_job_ratio": rounded(sum(&many) / sum(&few), 3),
    }))
}

/// Lists all, with nobody there to do anything, then does some.
async fn while_ready(program: &Path, ready: usize, jobs: usize) -> anyhow::Result<Measured> {
    eprintln!("bench: {jobs} mailboxes while {ready} are ready");
    let scenario = school::scenario_with(ready, &ACCOUNTS, HALF, "");
    let mut set = Processes::start_these(program, &scenario, &[], &["status", "api"]).await?;
    set.apply(school::tenant(&set, &ACCOUNTS)?).await?;
    let mut client = ProvisioningServiceClient::new(set.api()?);
    let everyone = request(By::Group(EVERYONE.to_owned()));
    let id = client.run_delegation(everyone).await?.into_inner().id;
    let listed = set
        .operation(&id, LIMIT, |operation| {
            operation.state() == OperationState::Running
        })
        .await?;
    // What is refused is so when it is listed.
    let refused = ended(&listed);
    // Of what is measured only what is left to do for those many that are ready.
    set.tidy_database().await?;
    set.service("worker", "worker")?;
    let usage = set.all().await?;
    let before = usage.look()?;
    let start = clock::instant();
    let wanted = refused + u64::try_from(jobs)?;
    let operation = set
        .operation(&id, LIMIT, |operation| ended(operation) >= wanted)
        .await?;
    let (used, seconds) = (usage.look()?, (clock::instant() - start).as_secs_f64());
    Ok(Measured {
        jobs: ended(&operation) - refused,
        operation,
        seconds,
        cpu: used.seconds_since(&before),
        used,
        report: set.simulator("report").await?,
    })
}

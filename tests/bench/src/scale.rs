//! Large operations. The same run with few and with many mailboxes: memory must not grow with them.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use calgrant_contract::pb::{
    fleet::v1::{
        AccountSpec, Purpose, SecretRef, SiteSpec, TenantSpec, WritePath, account_spec::Credential,
        secret_ref::At,
    },
    provisioning::v1::{
        DelegationSpec, OperationState, RunDelegationRequest, Selector, SiteKind, Trustee,
        UploadMailboxListRequest, provisioning_service_client::ProvisioningServiceClient,
        run_delegation_request::What, selector::By,
    },
};
use calgrant_runtime::clock;
use serde_json::{Value, json};
use tonic::{Code, transport::Channel};

use crate::processes::Processes;

const TENANT: &str = "uni";
const EVERYONE: &str = "staff-and-students@uni.example";
const TRUSTEE: &str = "timetable-delegates@uni.example";
/// Small submissions while the large one is being worked on.
const SMALL: usize = 200;
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
    let few = one(program, args.few, limit).await?;
    let many = one(program, args.many, limit).await?;
    let ratio = |name: &str| {
        let kib = |run: &Value| run["peak_kib"][name].as_f64().unwrap_or(f64::NAN);
        rounded(kib(&many) / kib(&few))
    };
    let ratios = json!({"api": ratio("api"), "status": ratio("status"), "worker": ratio("worker")});
    Ok(json!({"few": few, "many": many, "peak_memory_ratio": ratios}))
}

async fn one(program: &Path, mailboxes: usize, limit: Duration) -> anyhow::Result<Value> {
    eprintln!("bench: {mailboxes} mailboxes");
    let scenario = format!(
        "seed = 1\n[school]\nseed = 1\nmailboxes = {mailboxes}\ngrantors = 3\nread_lag_max_secs = 0\nprovision_delay_secs = 1\n"
    );
    let set = Processes::start(program, &scenario).await?;
    set.apply(tenant(&set)?).await?;
    let client = ProvisioningServiceClient::new(set.api()?);

    let watch = clock::instant();
    let operation = client
        .clone()
        .run_delegation(request(By::Group(EVERYONE.to_owned())))
        .await?
        .into_inner();
    let accepted = clock::instant() - watch;
    let mut accepts = Vec::with_capacity(SMALL);
    for _ in 0..SMALL {
        let started = clock::instant();
        let small = request(By::Group("nobody@uni.example".to_owned()));
        client.clone().run_delegation(small).await?;
        accepts.push(clock::instant() - started);
    }
    accepts.sort_unstable();

    let list: Vec<String> = (0..LINES).map(|n| format!("u{n:06}@uni.example")).collect();
    let upload_started = clock::instant();
    upload(client.clone(), &list)
        .await
        .context("the list is refused")?;
    let uploaded = clock::instant() - upload_started;
    let mut faulty = list;
    faulty[LINES / 2] = "no address".to_owned();
    let faults_started = clock::instant();
    let refused = upload(client.clone(), &faulty).await;
    let refused = refused.err().context("a faulty list was taken")?;
    let faults_named = clock::instant() - faults_started;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    ensure!(
        refused
            .message()
            .contains(&format!("lines[{}]", LINES / 2 + 1)),
        "{refused:?}"
    );

    let ended = set
        .operation(&operation.id, limit, |operation| {
            operation.end_time.is_some()
        })
        .await?;
    let seconds = (clock::instant() - watch).as_secs_f64();
    ensure!(ended.state() == OperationState::Done, "{ended:?}");
    let report = set.simulator("report").await?;
    let counts = ended.counts.unwrap_or_default();
    let outcomes: serde_json::Map<_, _> = counts
        .outcomes
        .iter()
        .map(|count| {
            let word = count.outcome().as_str_name().trim_start_matches("OUTCOME_");
            (word.to_lowercase(), Value::from(count.count))
        })
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = counts.accepted as f64 / seconds;
    Ok(json!({
        "mailboxes": counts.accepted,
        "outcomes": outcomes,
        "seconds": rounded(seconds),
        "mailboxes_per_second": rounded(rate),
        "accepted_ms": millis(accepted),
        "accept_p50_ms": millis(accepts[accepts.len() / 2]),
        "accept_p99_ms": millis(accepts[accepts.len() * 99 / 100]),
        "upload_100k_ms": millis(uploaded),
        "upload_100k_fault_ms": millis(faults_named),
        "limit_violations": report["limit_violations"],
        "foreign_entries_changed": report["foreign_entries_changed"],
        "peak_kib": {
            "api": set.peak_kib("api")?, "status": set.peak_kib("status")?, "worker": set.peak_kib("worker")?,
        },
    }))
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

fn request(by: By) -> RunDelegationRequest {
    RunDelegationRequest {
        what: Some(What::Spec(DelegationSpec {
            tenant: TENANT.to_owned(),
            selector: Some(Selector { by: Some(by) }),
            trustees: vec![Trustee {
                site: SiteKind::Online.into(),
                address: TRUSTEE.to_owned(),
            }],
            ..DelegationSpec::default()
        })),
        request_id: uuid::Uuid::new_v4().to_string(),
        ..RunDelegationRequest::default()
    }
}

fn tenant(set: &Processes) -> anyhow::Result<TenantSpec> {
    let account = |name: String, purpose: Purpose, client_id: String, secret: String| AccountSpec {
        name,
        purposes: vec![purpose.into()],
        client_id,
        credential: Some(Credential::Secret(SecretRef {
            at: Some(At::File(secret)),
        })),
        max_in_flight: 10,
        workers: 20,
        ..AccountSpec::default()
    };
    let reader = account(
        "reader".to_owned(),
        Purpose::Reader,
        "aaaaaaaa-0000-0000-0000-000000000000".to_owned(),
        set.write("reader", "reader-secret")?,
    );
    let mut accounts = vec![reader];
    for number in 2..=3 {
        let secret = set.write(&format!("sa-{number}"), &format!("grantor-secret-{number}"))?;
        let client_id = format!("bbbbbbbb-0000-0000-0000-{number:012}");
        accounts.push(account(
            format!("sa-{number}"),
            Purpose::Grantor,
            client_id,
            secret,
        ));
    }
    let url = set.url("simulator");
    Ok(TenantSpec {
        name: TENANT.to_owned(),
        sites: vec![SiteSpec {
            kind: SiteKind::Online.into(),
            directory_id: "11111111-2222-3333-4444-555555555555".to_owned(),
            login_url: url.clone(),
            graph_url: url.clone(),
            admin_url: url,
            write_path: WritePath::InvokeCommand.into(),
            park_first_millis: 1000,
            accounts,
            ..SiteSpec::default()
        }],
        ..TenantSpec::default()
    })
}

fn millis(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1000.0)
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

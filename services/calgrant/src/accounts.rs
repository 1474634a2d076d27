//! Service accounts: what they do, and the operator's hand on them.

use std::{process::ExitCode, time::Duration};

use calgrant_contract::{
    pb::fleet::v1::{
        Account, AccountState, CallWindow, DrainAccountRequest, ExplainPaceRequest, KeyUse,
        ListAccountsRequest, PauseAccountRequest, Purpose, ResumeAccountRequest,
        ScaleAccountRequest, SetAccountBudgetRequest,
    },
    words,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    cli::OutputArgs,
    front::Front,
    operations::when,
    output::{Output, Rows, word},
    windows::window,
};

/// What to do with accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountsCommand {
    /// Every account: its state, what it does now, and what is left of its budget.
    List {
        /// Only this tenant's.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Sets how many mailboxes an account works on at the same moment. Starts no processes.
    Scale {
        #[command(flatten)]
        place: Place,
        /// Mailboxes at the same moment, 1 to 1,000.
        #[arg(long)]
        workers: u32,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Changes an account's budget.
    #[command(subcommand)]
    Budget(BudgetCommand),
    /// Starts nothing new on an account until it is resumed.
    Pause(StandArgs),
    /// Finishes what is under way, starts nothing new, and says when nothing is left.
    Drain(StandArgs),
    /// Lets an account work again that an operator stopped, or that the server refused.
    Resume {
        #[command(flatten)]
        place: Place,
        /// Waits until it works: until a replica may start calls, if jobs wait.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Says in one sentence for each site why it isn't going faster.
    Why {
        /// Only this tenant's.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// What to do with a budget.
#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// Sets it; what isn't named stays.
    Set {
        #[command(flatten)]
        place: Place,
        /// Calls under way at the same moment, 1 to 10,000.
        #[arg(long)]
        in_flight: Option<u32>,
        /// Calls in any so many seconds, such as 100/10; may be repeated. Those named replace all that are set.
        #[arg(long, value_name = "CALLS/SECONDS", value_parser = window, conflicts_with = "clear_windows")]
        window: Vec<CallWindow>,
        /// No windows any more.
        #[arg(long)]
        clear_windows: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// Which account.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Its name.
    account: String,
    /// Whose.
    #[arg(long)]
    tenant: String,
    /// Its site: online or onprem.
    #[arg(long, default_value = "online")]
    site: calgrant_domain::SiteKind,
}

/// How an account is stopped.
#[derive(Debug, Args)]
pub(crate) struct StandArgs {
    #[command(flatten)]
    place: Place,
    /// Why; shown to whoever looks.
    #[arg(long, default_value = "")]
    reason: String,
    /// Waits until nothing of it is under way any more.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: OutputArgs,
}

const COLUMNS: &[(&str, usize)] = &[
    ("tenant", 12),
    ("site", 6),
    ("account", 14),
    ("purposes", 14),
    ("state", 8),
    ("workers", 7),
    ("replicas", 8),
    ("in_flight", 9),
    ("left", 22),
    ("calls_per_second", 16),
    ("pushbacks", 9),
    ("next_permit", 20),
    ("ready", 6),
    ("oldest", 20),
    ("since", 20),
    ("by", 14),
    ("reason", 30),
    ("notes", 30),
];

const WHY_COLUMNS: &[(&str, usize)] = &[
    ("tenant", 12),
    ("site", 6),
    ("why", 10),
    ("ready", 6),
    ("calls_per_second", 16),
    ("feedable_workers", 16),
    ("text", 60),
];

/// How often one who waits looks.
const LOOK: Duration = Duration::from_millis(500);

/// Runs the command.
pub(crate) async fn run(front: Front, command: &AccountsCommand) -> anyhow::Result<ExitCode> {
    let mut fleet = front.fleet.clone();
    match command {
        AccountsCommand::List { tenant, output } => {
            let mut rows = Rows::new(output.output, COLUMNS);
            for account in list(&front, tenant.as_deref().unwrap_or_default()).await? {
                rows.print(cells(&account, output.output))?;
            }
        }
        AccountsCommand::Scale {
            place,
            workers,
            output,
        } => {
            let request = ScaleAccountRequest {
                tenant: place.tenant.clone(),
                site: words::site_kind_to_wire(place.site),
                account: place.account.clone(),
                workers: *workers,
            };
            show(&fleet.scale_account(request).await?.into_inner(), output)?;
        }
        AccountsCommand::Budget(BudgetCommand::Set {
            place,
            in_flight,
            window,
            clear_windows,
            output,
        }) => {
            let request = SetAccountBudgetRequest {
                tenant: place.tenant.clone(),
                site: words::site_kind_to_wire(place.site),
                account: place.account.clone(),
                max_in_flight: *in_flight,
                windows: window.clone(),
                clear_windows: *clear_windows,
            };
            let account = fleet.set_account_budget(request).await?.into_inner();
            show(&account, output)?;
        }
        AccountsCommand::Pause(args) => {
            let request = PauseAccountRequest {
                tenant: args.place.tenant.clone(),
                site: words::site_kind_to_wire(args.place.site),
                account: args.place.account.clone(),
                reason: args.reason.clone(),
            };
            let account = fleet.pause_account(request).await?.into_inner();
            stopped(&front, args, account).await?;
        }
        AccountsCommand::Drain(args) => {
            let request = DrainAccountRequest {
                tenant: args.place.tenant.clone(),
                site: words::site_kind_to_wire(args.place.site),
                account: args.place.account.clone(),
                reason: args.reason.clone(),
            };
            let account = fleet.drain_account(request).await?.into_inner();
            stopped(&front, args, account).await?;
        }
        AccountsCommand::Resume {
            place,
            wait,
            output,
        } => {
            let request = ResumeAccountRequest {
                tenant: place.tenant.clone(),
                site: words::site_kind_to_wire(place.site),
                account: place.account.clone(),
            };
            let account = fleet.resume_account(request).await?.into_inner();
            let works = |account: &Account| {
                account.state() == AccountState::Working
                    && (account.replicas > 0 || account.ready_jobs == 0 || account.no_worker)
            };
            let account = if *wait {
                until(&front, place, account, works).await?
            } else {
                account
            };
            show(&account, output)?;
        }
        AccountsCommand::Why { tenant, output } => {
            let request = ExplainPaceRequest {
                tenant: tenant.clone().unwrap_or_default(),
            };
            let explained = fleet.explain_pace(request).await?.into_inner();
            let mut rows = Rows::new(output.output, WHY_COLUMNS);
            for site in explained.sites {
                if output.output == Output::Table {
                    println!("{}", site.text);
                    continue;
                }
                rows.print(vec![
                    site.tenant.as_str().into(),
                    word(site.site().as_str_name(), "SITE_KIND_").into(),
                    site.why.as_str().into(),
                    site.ready_jobs.into(),
                    site.calls_per_second.into(),
                    site.feedable_workers.into(),
                    site.text.as_str().into(),
                ])?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(front: &Front, tenant: &str) -> Result<Vec<Account>, tonic::Status> {
    let request = ListAccountsRequest {
        tenant: tenant.to_owned(),
    };
    let answer = front.fleet.clone().list_accounts(request).await?;
    Ok(answer.into_inner().accounts)
}

async fn stopped(front: &Front, args: &StandArgs, account: Account) -> anyhow::Result<()> {
    let empty = |account: &Account| account.calls_in_flight == 0 && account.replicas == 0;
    let account = if args.wait {
        until(front, &args.place, account, empty).await?
    } else {
        account
    };
    let name = &args.place.account;
    if empty(&account) {
        eprintln!("{name} is {}: nothing of it is under way", state(&account));
    } else {
        eprintln!(
            "{name} is {}: {} calls are under way; nothing new starts within 5 s",
            state(&account),
            account.calls_in_flight
        );
    }
    show(&account, &args.output)
}

/// Waits until the account is as wanted. The api may be away meanwhile; somebody who changes the account again ends the wait with an error.
async fn until(
    front: &Front,
    place: &Place,
    mut account: Account,
    wanted: impl Fn(&Account) -> bool,
) -> anyhow::Result<Account> {
    let asked_by = account.changed_by.clone();
    while !wanted(&account) {
        tokio::time::sleep(LOOK).await;
        let accounts = match list(front, &place.tenant).await {
            Err(status) if status.code() == Code::Unavailable => continue,
            answer => answer?,
        };
        let site = words::site_kind_to_wire(place.site);
        let same = |other: &Account| {
            let spec = other.spec.as_ref();
            other.site == site && spec.is_some_and(|spec| spec.name == place.account)
        };
        let Some(found) = accounts.into_iter().find(same) else {
            anyhow::bail!("{} was taken away meanwhile", place.account);
        };
        account = found;
        if account.changed_by != asked_by {
            anyhow::bail!("{} is {} meanwhile", place.account, state(&account));
        }
    }
    Ok(account)
}

fn show(account: &Account, output: &OutputArgs) -> anyhow::Result<()> {
    if output.output == Output::Table {
        for note in &account.notes {
            eprintln!("{note}");
        }
    }
    Ok(Rows::new(output.output, COLUMNS).print(cells(account, output.output))?)
}

fn state(account: &Account) -> String {
    word(account.state().as_str_name(), "ACCOUNT_STATE_")
}

fn cells(account: &Account, output: Output) -> Vec<Value> {
    let spec = account.spec.clone().unwrap_or_default();
    let purposes = spec
        .purposes
        .iter()
        .filter_map(|raw| Purpose::try_from(*raw).ok())
        .map(|purpose| word(purpose.as_str_name(), "PURPOSE_"));
    let left: Value = if output == Output::Json {
        account.keys.iter().map(key).collect()
    } else {
        account.keys.first().map(left).unwrap_or_default().into()
    };
    let pushbacks: u64 = account.keys.iter().map(|key| key.pushbacks).sum();
    vec![
        account.tenant.as_str().into(),
        word(account.site().as_str_name(), "SITE_KIND_").into(),
        spec.name.into(),
        purposes.collect::<Vec<_>>().into(),
        state(account).into(),
        spec.workers.into(),
        account.replicas.into(),
        account.calls_in_flight.into(),
        left,
        account.calls_per_second.into(),
        pushbacks.into(),
        when(account.next_permit_time.as_ref()).into(),
        account.ready_jobs.into(),
        when(account.oldest_ready_time.as_ref()).into(),
        when(account.pause_time.as_ref()).into(),
        account.changed_by.as_str().into(),
        account.pause_reason.as_str().into(),
        if output == Output::Json {
            account.notes.clone().into()
        } else {
            account.notes.join("; ").into()
        },
    ]
}

/// What is left of a key, for people: `3 of 8, 40 of 100 in 10 s`.
fn left(key: &KeyUse) -> String {
    let mut words = Vec::new();
    if let (Some(left), Some(most)) = (key.in_flight_left, key.in_flight_most) {
        words.push(format!("{left} of {most}"));
    }
    for window in &key.windows {
        let seconds = Duration::from_millis(window.millis).as_secs_f64();
        let learned = if window.learned { " (learned)" } else { "" };
        words.push(format!(
            "{} of {} in {seconds} s{learned}",
            window.left, window.calls
        ));
    }
    words.join(", ")
}

fn key(key: &KeyUse) -> Value {
    let windows = key.windows.iter().map(|window| {
        json!({
            "seconds": Duration::from_millis(window.millis).as_secs_f64(),
            "calls": window.calls,
            "left": window.left,
            "learned": window.learned,
        })
    });
    json!({
        "key": key.key,
        "scope": key.scope,
        "in_flight": key.in_flight,
        "in_flight_most": key.in_flight_most,
        "in_flight_left": key.in_flight_left,
        "learned_in_flight": key.learned_in_flight,
        "windows": windows.collect::<Vec<_>>(),
        "calls_per_second": key.calls_per_second,
        "replicas": key.replicas,
        "pushbacks": key.pushbacks,
        "last_pushback": key.last_pushback,
        "last_pushback_time": when(key.last_pushback_time.as_ref()),
        "blocked_until": when(key.blocked_until.as_ref()),
        "stalls": key.stalls,
        "clock_breaches": key.clock_breaches,
        "breach_time": when(key.breach_time.as_ref()),
    })
}

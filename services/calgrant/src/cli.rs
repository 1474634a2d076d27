//! The command line.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    access, accounts, alerts, apply, back, check, dead_letters, delegate, delegations, events,
    exit, front::Front, mailboxes, operations, output::Output, plan, services, trying,
};

/// Gives a calendar product's service accounts the right to work in people's Exchange calendars.
#[derive(Debug, Parser)]
#[command(version, after_help = exit::HELP)]
pub(crate) struct Cli {
    /// Address of the api.
    #[arg(
        long,
        global = true,
        env = "CALGRANT_API",
        default_value = "http://127.0.0.1:7101"
    )]
    api: String,
    /// Who asks; recorded with every command.
    #[arg(long, global = true, env = "CALGRANT_CALLER")]
    caller: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs status, api, worker and onboarding in one process, for one machine.
    Up(ServiceArgs),
    /// Runs the api: gRPC in, listings, publishing.
    Api(ServiceArgs),
    /// Runs status: the system of record.
    Status(ServiceArgs),
    /// Runs a worker.
    Worker(WorkerArgs),
    /// Runs onboarding: events of people who join, move and leave.
    Onboarding(ServiceArgs),
    /// Runs the Exchange simulator, for demos and tests.
    Simulator(SimulatorArgs),
    /// Prints the queues of RabbitMQ.
    Topology,
    /// Applies a tenant's file: shows what changes, then changes it.
    Apply(apply::ApplyArgs),
    /// Signs in with a tenant's credentials, and says what each account may do, may not, and may beyond what it is for.
    Check(check::CheckArgs),
    /// Gives a trustee a right on many calendars.
    Delegate(Box<delegate::DelegateArgs>),
    /// Takes away what a delegation, or any delegation to a trustee, gave.
    Revoke(back::RevokeArgs),
    /// Puts back exactly what an operation changed.
    Undo(back::UndoArgs),
    /// Looks whether what a delegation gave is still there.
    Verify(back::VerifyArgs),
    /// Delegations: list, with how they are kept.
    #[command(subcommand)]
    Delegations(delegations::DelegationsCommand),
    /// Operations: list, get, watch, cancel, release.
    #[command(subcommand)]
    Operations(operations::OperationsCommand),
    /// The mailboxes of an operation.
    Mailboxes(mailboxes::MailboxesArgs),
    /// What is known of mailboxes.
    Access(access::AccessArgs),
    /// Lets a member of the delegation group work in calendars on premises: it makes an event, and deletes it.
    Try(trying::TryArgs),
    /// Service accounts: what they do, and the operator's hand on them.
    #[command(subcommand)]
    Accounts(accounts::AccountsCommand),
    /// How long so many mailboxes take on a tenant's accounts, and how many accounts would be enough.
    Plan(plan::PlanArgs),
    /// Onboarding events: send one, watch what comes of them.
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Messages that could not be handled: list, replay, discard.
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// What a person should know of: list, acknowledge.
    #[command(subcommand)]
    Alerts(alerts::AlertsCommand),
}

/// What every service takes.
#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// A TOML file with a section per service: `api`, `status`, `worker`, `onboarding`.
    #[arg(long, env = "CALGRANT_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

/// What a worker takes.
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    /// Serves only this tenant, site or account, such as uni, uni/online or uni/online/sa-1, and reads no other's secrets. May be repeated.
    #[arg(long, value_name = "TENANT[/SITE[/ACCOUNT]]")]
    pub(crate) only: Vec<String>,
}

/// What the simulator takes.
#[derive(Debug, Args)]
pub(crate) struct SimulatorArgs {
    /// Where to listen; port 0 finds a free one. The address is printed on stdout.
    #[arg(long, default_value = "127.0.0.1:7180")]
    pub(crate) listen: SocketAddr,
    /// Where to serve the directory on premises by LDAP, besides what the scenario says; port 0 finds a free one.
    #[arg(long)]
    pub(crate) ldap: Option<SocketAddr>,
    /// As --ldap, over TLS.
    #[arg(long)]
    pub(crate) ldaps: Option<SocketAddr>,
    /// A scenario file.
    #[arg(long, conflicts_with = "mailboxes")]
    pub(crate) scenario: Option<PathBuf>,
    /// Without a scenario: a school of so many mailboxes.
    #[arg(long, default_value_t = 1000)]
    pub(crate) mailboxes: usize,
    /// Seed of the school.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The share of the school's mailboxes, 0 to 1, that lies on premises, where EWS and PowerShell remoting serve them. The accounts there are UNI\sa-onprem-1 and so on, with sa-onprem-1-secret and so on.
    #[arg(long, default_value_t = 0.0, conflicts_with = "scenario")]
    pub(crate) on_premises: f64,
}

/// Output for people or for programs.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// Runs the command.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let user = || std::env::var("USER").unwrap_or_else(|_| "operator".into());
    let front = || {
        Front::new(
            &cli.api,
            &cli.caller
                .clone()
                .unwrap_or_else(|| format!("cli:{}", user())),
        )
    };
    match &cli.command {
        Command::Up(args) => services::up(args.config.as_deref()).await,
        Command::Api(args) => services::api(args.config.as_deref()).await,
        Command::Status(args) => services::status(args.config.as_deref()).await,
        Command::Worker(args) => services::worker(args).await,
        Command::Onboarding(args) => services::onboarding(args.config.as_deref()).await,
        Command::Simulator(args) => services::simulator(args).await,
        Command::Topology => {
            print!("{}", calgrant_bus::topology::describe());
            Ok(ExitCode::SUCCESS)
        }
        Command::Apply(args) => apply::run(front()?, args).await,
        Command::Check(args) => check::run(front()?, args).await,
        Command::Delegate(args) => delegate::run(front()?, args).await,
        Command::Revoke(args) => back::revoke(front()?, args).await,
        Command::Undo(args) => back::undo(front()?, args).await,
        Command::Verify(args) => back::verify(front()?, args).await,
        Command::Delegations(command) => delegations::run(front()?, command).await,
        Command::Operations(command) => operations::run(front()?, command).await,
        Command::Mailboxes(args) => mailboxes::run(front()?, args).await,
        Command::Access(args) => access::run(front()?, args).await,
        Command::Try(args) => trying::run(front()?, args).await,
        Command::Accounts(command) => accounts::run(front()?, command).await,
        Command::Plan(args) => plan::run(front()?, args).await,
        Command::Events(command) => events::run(front, command).await,
        Command::DeadLetters(command) => dead_letters::run(front()?, command).await,
        Command::Alerts(command) => alerts::run(front()?, command).await,
    }
}

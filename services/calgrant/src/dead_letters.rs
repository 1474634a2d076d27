//! Messages that could not be handled: looked at, replayed, discarded.

use std::process::ExitCode;

use calgrant_contract::pb::status::v1::{
    DeadLetter, DeadLetterFilter, DeadLetterState, DiscardDeadLettersRequest,
    ListDeadLettersRequest, ReplayDeadLettersRequest,
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use crate::{cli::OutputArgs, front::Front, operations::when, output::Rows};

/// What to do with them.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// Says what they are, why they are here, since when, and what to do; newest first.
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// How they stand.
        #[arg(long, value_enum, default_value_t = Standing::Waiting)]
        state: Standing,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Has those that wait handled again.
    Replay(ResolveArgs),
    /// Gives those that wait up; jobs among them end as failed.
    Discard(ResolveArgs),
}

/// How a dead letter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Standing {
    /// It waits for a person, or for the upgrade.
    Waiting,
    /// It was replayed.
    Replayed,
    /// It was discarded.
    Discarded,
}

/// Which of them; all conditions hold together.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Ids, dead_….
    ids: Vec<String>,
    /// The queue they came from, such as results, events or jobs.uni.bulk.
    #[arg(long, default_value = "")]
    queue: String,
    /// Why: malformed, unknown, refused, newer, crashes, brake, unsaid.
    #[arg(long, default_value = "")]
    cause: String,
    /// Name of the tenant.
    #[arg(long, default_value = "")]
    tenant: String,
    /// Id of the operation.
    #[arg(long, default_value = "")]
    operation: String,
}

/// Which of them, and why.
#[derive(Debug, Args)]
pub(crate) struct ResolveArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Really all that wait.
    #[arg(long)]
    all: bool,
    /// Reference to a ticket.
    #[arg(long, default_value = "")]
    ticket: String,
}

impl FilterArgs {
    fn wire(&self) -> DeadLetterFilter {
        DeadLetterFilter {
            ids: self.ids.clone(),
            queue: self.queue.clone(),
            cause: self.cause.clone(),
            tenant: self.tenant.clone(),
            operation_id: self.operation.clone(),
        }
    }
}

const COLUMNS: &[(&str, usize)] = &[
    ("id", 37),
    ("since", 20),
    ("cause", 9),
    ("queue", 16),
    ("about", 40),
    ("reason", 40),
    ("advice", 40),
    ("tenant", 10),
    ("operation", 35),
    ("job", 36),
    ("resolved_by", 12),
    ("resolved", 20),
    ("ticket", 10),
    ("size", 6),
    ("text", 20),
];

/// Runs the command.
pub(crate) async fn run(front: Front, command: &DeadLettersCommand) -> anyhow::Result<ExitCode> {
    let mut status = front.status.clone();
    match command {
        DeadLettersCommand::List {
            filter,
            state,
            output,
        } => {
            let mut rows = Rows::new(output.output, COLUMNS);
            let mut page_token = String::new();
            loop {
                let request = ListDeadLettersRequest {
                    filter: Some(filter.wire()),
                    state: match state {
                        Standing::Waiting => DeadLetterState::Waiting,
                        Standing::Replayed => DeadLetterState::Replayed,
                        Standing::Discarded => DeadLetterState::Discarded,
                    }
                    .into(),
                    page_size: 500,
                    page_token,
                };
                let page = status.list_dead_letters(request).await?.into_inner();
                for letter in page.dead_letters {
                    rows.print(cells(letter))?;
                }
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        DeadLettersCommand::Replay(args) => {
            let request = ReplayDeadLettersRequest {
                filter: Some(args.filter.wire()),
                all: args.all,
                ticket: args.ticket.clone(),
            };
            let answer = status.replay_dead_letters(request).await?.into_inner();
            eprintln!("{} replayed", answer.replayed);
            Ok(ExitCode::SUCCESS)
        }
        DeadLettersCommand::Discard(args) => {
            let request = DiscardDeadLettersRequest {
                filter: Some(args.filter.wire()),
                all: args.all,
                ticket: args.ticket.clone(),
            };
            let answer = status.discard_dead_letters(request).await?.into_inner();
            eprintln!("{} discarded", answer.discarded);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn cells(letter: DeadLetter) -> Vec<Value> {
    vec![
        letter.id.into(),
        when(letter.dead_time.as_ref()).into(),
        letter.cause.into(),
        letter.queue.into(),
        letter.about.into(),
        letter.reason.into(),
        letter.advice.into(),
        letter.tenant.into(),
        letter.operation_id.into(),
        letter.job_id.into(),
        letter.resolved_by.into(),
        when(letter.resolve_time.as_ref()).into(),
        letter.ticket.into(),
        letter.size.into(),
        letter.text.into(),
    ]
}

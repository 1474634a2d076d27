//! Events by hand: to try onboarding, and to see what it tells.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context, anyhow};
use calgrant_bus::{Announcement, Bus, Message, Queue};
use calgrant_contract::{
    cloud_event::{CloudEvent, STRUCTURED},
    onboarding::event_type,
    pb::status::v1::WatchMailboxAccessRequest,
};
use calgrant_domain::EventKind;
use clap::{Args, Subcommand};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_stream::StreamExt;

use crate::{
    cli::OutputArgs,
    front::Front,
    operations::when,
    output::{Rows, word},
};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Sends an onboarding event, as identity management does.
    Send(Box<SendArgs>),
    /// Shows who becomes ready and who no longer is, as it happens. Ends with Ctrl-C.
    Watch(WatchArgs),
}

/// An event.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// joined, moved or left.
    kind: EventKind,
    /// Name of the tenant.
    #[arg(long)]
    tenant: String,
    /// An address of the mailbox.
    #[arg(long, required_unless_present = "mailbox_id")]
    mailbox: Option<String>,
    /// Its key: a GUID, or mbx_….
    #[arg(long)]
    mailbox_id: Option<String>,
    /// The delegation that is meant; those that concern the mailbox without it.
    #[arg(long)]
    delegation: Option<String>,
    /// Who says so.
    #[arg(long, default_value = "/calgrant/events/send")]
    source: String,
    /// The event's id; the same id again is the same event. A new one by default.
    #[arg(long)]
    id: Option<String>,
    /// When it happened, such as 2026-11-24T17:00:00Z; now by default.
    #[arg(long)]
    time: Option<String>,
    /// URL of RabbitMQ.
    #[arg(
        long,
        env = "AMQP_URL",
        default_value = "amqp://127.0.0.1:5672/%2f",
        hide_env_values = true
    )]
    amqp_url: String,
    /// The exchange of RabbitMQ to publish it to; the queue `events` itself without it.
    #[arg(long)]
    amqp_exchange: Option<String>,
    /// With --amqp-exchange: the routing key.
    #[arg(long, default_value = "mailbox")]
    routing_key: String,
    /// Only prints it.
    #[arg(long)]
    print: bool,
}

/// Whom to watch.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Name of the tenant.
    #[arg(long)]
    tenant: String,
    /// The last number seen; 0 to begin with all that is known.
    #[arg(long, default_value_t = 0)]
    after: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) async fn run(
    front: impl FnOnce() -> anyhow::Result<Front>,
    command: &EventsCommand,
) -> anyhow::Result<ExitCode> {
    match command {
        EventsCommand::Send(args) => send(args).await,
        EventsCommand::Watch(args) => watch(front()?, args).await,
    }
}

fn event(args: &SendArgs) -> anyhow::Result<CloudEvent> {
    let time = match &args.time {
        Some(raw) => OffsetDateTime::parse(raw, &Rfc3339)
            .with_context(|| format!("--time {raw:?}: write it as 2026-11-24T17:00:00Z"))?,
        None => calgrant_runtime::clock::now(),
    };
    let mut mailbox = BTreeMap::new();
    if let Some(address) = &args.mailbox {
        mailbox.insert("address", address);
    }
    if let Some(id) = &args.mailbox_id {
        mailbox.insert("id", id);
    }
    let mut data = json!({"tenant": args.tenant, "mailbox": mailbox});
    if let Some(delegation) = &args.delegation {
        data["delegation"] = json!(delegation);
    }
    Ok(CloudEvent {
        source: args.source.clone(),
        id: args
            .id
            .clone()
            .unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        kind: event_type(args.kind),
        subject: args.mailbox.clone().or_else(|| args.mailbox_id.clone()),
        time: Some(time),
        extensions: BTreeMap::new(),
        data,
    })
}

async fn send(args: &SendArgs) -> anyhow::Result<ExitCode> {
    let event = event(args)?;
    let body = event.to_json()?;
    println!("{}", String::from_utf8_lossy(&body));
    if args.print {
        return Ok(ExitCode::SUCCESS);
    }
    let bus = Bus::connect(&args.amqp_url, "events send").await?;
    let message = Message {
        body,
        message_id: event.id.clone(),
        kind: STRUCTURED,
        traceparent: None,
    };
    let publisher = bus.publisher();
    let sent = match &args.amqp_exchange {
        None => publisher.publish(&Queue::events(), message).await,
        Some(route) => {
            let key = args.routing_key.clone();
            let announcement = vec![Announcement { key, message }];
            let mut told = publisher.announce(route, announcement).await;
            told.pop().unwrap_or(Ok(()))
        }
    };
    bus.close().await;
    sent.map_err(|cause| anyhow!("the event is not sent: {cause}"))?;
    eprintln!("sent event {} of {}", event.id, event.source);
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: &[(&str, usize)] = &[
    ("sequence", 9),
    ("at", 20),
    ("change", 8),
    ("address", 36),
    ("role", 10),
    ("reason", 16),
    ("trustee", 30),
    ("operation", 35),
    ("mailbox_id", 36),
    ("advice", 40),
];

async fn watch(front: Front, args: &WatchArgs) -> anyhow::Result<ExitCode> {
    let request = WatchMailboxAccessRequest {
        tenant: args.tenant.clone(),
        after_sequence: args.after,
    };
    let mut changes = front
        .status
        .clone()
        .watch_mailbox_access(request)
        .await?
        .into_inner();
    let mut rows = Rows::new(args.output.output, COLUMNS);
    loop {
        let answer = tokio::select! {
            answer = changes.next() => answer,
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        };
        let Some(answer) = answer.transpose()? else {
            return Ok(ExitCode::SUCCESS);
        };
        let sequence = answer.sequence;
        let Some(change) = answer.change else {
            eprintln!("that is what is known; changes follow. To resume: --after {sequence}");
            continue;
        };
        let kind = word(change.kind().as_str_name(), "ACCESS_CHANGE_KIND_");
        rows.print(vec![
            sequence.into(),
            when(change.change_time.as_ref()).into(),
            kind.into(),
            change.address.into(),
            change.role.into(),
            change.reason.into(),
            change.trustee.into(),
            change.operation_id.into(),
            change.mailbox_id.into(),
            change.advice.into(),
        ])?;
    }
}

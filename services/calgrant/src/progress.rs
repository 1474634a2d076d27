//! Watching an operation: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use calgrant_contract::pb::provisioning::v1::{
    Operation, OperationState, Outcome, WatchOperationRequest,
};
use calgrant_runtime::clock;
use indicatif::{ProgressBar, ProgressStyle};
use tonic::Code;

use crate::{exit, front::Front, output::word};

/// Plain lines come no more often.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// The word of an outcome.
pub(crate) fn outcome(raw: i32) -> String {
    Outcome::try_from(raw).map_or_else(
        |_| raw.to_string(),
        |outcome| word(outcome.as_str_name(), "OUTCOME_"),
    )
}

/// The word of a state.
pub(crate) fn state(operation: &Operation) -> String {
    word(operation.state().as_str_name(), "OPERATION_STATE_")
}

/// Counts in words, such as `added 12, unchanged 3`.
pub(crate) fn counts(operation: &Operation) -> String {
    let counts = operation.counts.clone().unwrap_or_default();
    let words: Vec<_> = counts
        .outcomes
        .iter()
        .filter(|count| count.count > 0)
        .map(|count| format!("{} {}", outcome(count.outcome), count.count))
        .collect();
    if words.is_empty() {
        "nothing ended yet".into()
    } else {
        words.join(", ")
    }
}

/// Whether nothing can change it any more.
pub(crate) fn is_final(operation: &Operation) -> bool {
    matches!(
        operation.state(),
        OperationState::Done | OperationState::Failed | OperationState::Cancelled
    )
}

/// With which code a command ends that waited for this operation.
pub(crate) fn code(operation: &Operation) -> u8 {
    match operation.state() {
        OperationState::Done => {
            let bad = |raw| {
                matches!(
                    Outcome::try_from(raw),
                    Ok(Outcome::Failed
                        | Outcome::Refused
                        | Outcome::Unconfirmed
                        | Outcome::Cancelled
                        | Outcome::Drifted
                        | Outcome::LeftChangedSince)
                )
            };
            let failed = operation
                .counts
                .iter()
                .flat_map(|counts| &counts.outcomes)
                .any(|count| count.count > 0 && bad(count.outcome));
            if failed { exit::SOME_FAILED } else { 0 }
        }
        OperationState::Failed | OperationState::Cancelled => exit::OPERATION_FAILED,
        OperationState::Held => exit::HELD,
        _ => 0,
    }
}

/// Watches until the operation is final, or waits for a person, showing progress on stderr. Survives a break of the connection.
pub(crate) async fn watch(front: &Front, id: &str) -> anyhow::Result<Operation> {
    let mut show = Show::new();
    let mut seen = 0;
    let mut breaks = 0;
    loop {
        let request = WatchOperationRequest {
            id: id.to_owned(),
            after_sequence: seen,
        };
        let ended = match front.provisioning.clone().watch_operation(request).await {
            Err(status) => status,
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(change)) => {
                            let Some(operation) = change.operation else {
                                continue;
                            };
                            (seen, breaks) = (operation.sequence, 0);
                            show.change(&operation);
                            if is_final(&operation) || operation.state() == OperationState::Held {
                                show.end();
                                return Ok(operation);
                            }
                        }
                        Ok(None) => break tonic::Status::unavailable("the stream ended early"),
                        Err(status) => break status,
                    }
                }
            }
        };
        match ended.code() {
            Code::OutOfRange => seen = 0,
            Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled if breaks < 60 => {
                breaks += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            _ => return Err(ended.into()),
        }
    }
}

/// Seconds for people.
pub(crate) fn span(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.max(0.0).round()).unwrap_or(Duration::MAX);
    let whole = whole.as_secs();
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

struct Show {
    bar: Option<ProgressBar>,
    line_at: Option<Instant>,
}

impl Show {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec}  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(0).with_style(style)
        });
        Self { bar, line_at: None }
    }

    fn change(&mut self, operation: &Operation) {
        let all = operation.counts.clone().unwrap_or_default();
        let done = all.accepted.saturating_sub(all.outstanding);
        let waiting = if operation.waiting_for.is_empty() {
            String::new()
        } else {
            format!("; waits for {}", operation.waiting_for)
        };
        let parked = if operation.parked > 0 {
            format!("; {} parked", operation.parked)
        } else {
            String::new()
        };
        let estimate = operation.estimate.as_ref();
        let left = estimate
            .filter(|_| !is_final(operation))
            .and_then(|estimate| Some((estimate.calls_left, estimate.remaining_seconds?)))
            .map(|(calls, seconds)| format!("; about {} left ({calls} calls)", span(seconds)))
            .unwrap_or_default();
        let text = format!(
            "{}: {}{parked}{waiting}{left}",
            state(operation),
            counts(operation)
        );
        if let Some(bar) = &self.bar {
            bar.set_length(all.accepted);
            bar.set_position(done);
            bar.set_message(text);
            return;
        }
        let now = clock::instant();
        if is_final(operation)
            || self
                .line_at
                .is_none_or(|at| now.saturating_duration_since(at) >= LINE_EVERY)
        {
            self.line_at = Some(now);
            eprintln!("{done}/{} {text}", all.accepted);
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

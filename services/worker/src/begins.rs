//! Leave to write, asked for together: what rounds ask while a call to status is under way, or shortly after one, goes into the next
//! one. A call costs status a transaction, however many mailboxes it is about.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use calgrant_contract::pb::ledger::v1::{
    Begin, BeginAnswer, BeginWritesRequest, ledger_service_client::LedgerServiceClient,
};
use calgrant_runtime::{clock, waiting};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Calls under way: while one waits for a row that somebody holds, another may go.
const CALLS: usize = 2;
/// From the start of a call to that of the next one, so that there is something to go together: little beside what a call to Exchange
/// takes. Whoever asks for the first time in a while doesn't wait.
const EVERY: Duration = Duration::from_millis(25);
/// Rounds in a call.
const TOGETHER: usize = 64;
/// Rounds that may wait.
const WAITING: usize = 1024;

/// What a round asks.
#[derive(Debug)]
struct Ask {
    begins: Vec<Begin>,
    answers: oneshot::Sender<Vec<BeginAnswer>>,
}

/// Where rounds ask.
#[derive(Debug, Clone)]
pub(crate) struct Begins(mpsc::Sender<Ask>);

/// What rounds have asked.
#[derive(Debug)]
pub(crate) struct Asked(mpsc::Receiver<Ask>);

/// Both ends.
pub(crate) fn channel() -> (Begins, Asked) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Begins(sender), Asked(receiver))
}

impl Begins {
    /// Answers in the order of `begins`; none if the process was stopped before.
    pub(crate) async fn ask(&self, begins: Vec<Begin>) -> Vec<BeginAnswer> {
        let (answers, answered) = oneshot::channel();
        let sent = self.0.send(Ask { begins, answers }).await;
        if sent.is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }
}

impl Asked {
    /// Answers until nobody can ask any more. Waiting for status ends when `stop` does.
    pub(crate) async fn serve(
        mut self,
        client: LedgerServiceClient<Channel>,
        stop: CancellationToken,
    ) {
        let mut under_way = FuturesUnordered::new();
        let mut waiting = Vec::new();
        let mut open = true;
        let mut last: Option<Instant> = None;
        while open || !waiting.is_empty() || !under_way.is_empty() {
            let since = last.map(|last| clock::instant().saturating_duration_since(last));
            let next = until_next(under_way.len(), waiting.len(), since);
            if next == Some(Duration::ZERO) {
                let together = apart(&mut waiting);
                under_way.push(call(client.clone(), together, &stop));
                last = Some(clock::instant());
                continue;
            }
            tokio::select! {
                Some(()) = under_way.next() => {}
                received = self.0.recv_many(&mut waiting, TOGETHER), if open && waiting.len() < TOGETHER => open = received > 0,
                () = tokio::time::sleep(next.unwrap_or_default()), if next.is_some() => {}
            }
        }
    }
}

/// How long until the next call may start, the last one having started so long ago; `None` while there is nothing to ask, or too many
/// are under way.
fn until_next(under_way: usize, waiting: usize, since_last: Option<Duration>) -> Option<Duration> {
    if under_way >= CALLS || waiting == 0 {
        None
    } else if waiting >= TOGETHER {
        Some(Duration::ZERO)
    } else {
        Some(since_last.map_or(Duration::ZERO, |since| EVERY.saturating_sub(since)))
    }
}

/// Takes those that may go together: a call names no job twice.
fn apart(waiting: &mut Vec<Ask>) -> Vec<Ask> {
    let mut named = HashSet::new();
    let (together, later) = waiting.drain(..).partition(|ask: &Ask| {
        let new = ask.begins.iter().all(|begin| !named.contains(&begin.job));
        if new {
            named.extend(ask.begins.iter().map(|begin| begin.job.clone()));
        }
        new
    });
    *waiting = later;
    together
}

async fn call(client: LedgerServiceClient<Channel>, asks: Vec<Ask>, stop: &CancellationToken) {
    let begins = asks.iter().flat_map(|ask| ask.begins.iter().cloned());
    let request = BeginWritesRequest {
        begins: begins.collect(),
    };
    let answered = waiting::until_ok("status to order writes", stop, || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.begin_writes(request).await }
    })
    .await;
    let Some(answered) = answered else {
        return;
    };
    let mut answers = answered.into_inner().answers.into_iter();
    for ask in asks {
        let its = answers.by_ref().take(ask.begins.len()).collect();
        // A round that doesn't wait any more will ask again.
        let _gone = ask.answers.send(its);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(jobs: &[u8]) -> Ask {
        let begin = |job: &u8| Begin {
            job: vec![*job],
            ..Begin::default()
        };
        Ask {
            begins: jobs.iter().map(begin).collect(),
            answers: oneshot::channel().0,
        }
    }

    fn jobs(asks: &[Ask]) -> Vec<Vec<u8>> {
        let jobs = |ask: &Ask| {
            ask.begins
                .iter()
                .flat_map(|begin| begin.job.clone())
                .collect()
        };
        asks.iter().map(jobs).collect()
    }

    #[test]
    fn calls_leave_time_for_others_to_join() {
        let millis = |millis| Some(Duration::from_millis(millis));
        for (under_way, waiting, since_last, next) in [
            (0, 0, None, None),
            // The first one in a while.
            (0, 1, None, millis(0)),
            (0, 1, millis(1000), millis(0)),
            (0, 1, millis(5), millis(20)),
            (1, 1, millis(5), millis(20)),
            (1, 1, millis(25), millis(0)),
            // A full one.
            (1, TOGETHER, millis(5), millis(0)),
            (CALLS, TOGETHER, millis(1000), None),
        ] {
            let found = until_next(under_way, waiting, since_last);
            assert_eq!(found, next, "{under_way} {waiting} {since_last:?}");
        }
    }

    #[test]
    fn a_call_names_no_job_twice_and_keeps_the_order() {
        let mut waiting = vec![ask(&[1, 2]), ask(&[2, 3]), ask(&[4]), ask(&[3])];
        assert_eq!(jobs(&apart(&mut waiting)), [vec![1, 2], vec![4], vec![3]]);
        assert_eq!(jobs(&apart(&mut waiting)), [vec![2, 3]]);
        assert!(waiting.is_empty());
    }
}

//! One run: everything started, the plan carried out, everything put right, the verdict.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use calgrant_contract::pb::provisioning::v1::Operation;
use calgrant_runtime::clock;
use calgrant_testkit::pass;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Args,
    asks::Asks,
    identity::{Identity, number_in, ticket},
    lock::lock,
    operator,
    plan::{Plan, Process, processes},
    report::{self, Findings},
    stage::Stage,
    truth,
    verdict::{Told, Verdict, Wanted, judge},
    watching::{LOOK, Watched, is_over, watch},
    work::{QUIET, Work},
};

/// What isn't ended so long after the last trouble is stuck.
const SETTLE: Duration = Duration::from_secs(60);
/// From then on it is said what is left.
const LONG: Duration = Duration::from_secs(20);
/// For how long what is late is waited for before it is judged.
const LATE: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);
/// Longest wait for answers of clients once everything is right again.
const LAST_ANSWERS: Duration = Duration::from_secs(60);

/// The folder of a run: removed unless something is to be looked at.
struct Folder(PathBuf, bool);

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.1 {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Runs, judges and reports. Whether every promise was kept.
///
/// # Errors
/// It couldn't be carried out.
pub(crate) async fn run(args: &Args, plan: Plan) -> anyhow::Result<bool> {
    let path = std::env::temp_dir().join(format!("calgrant-chaos-{}", std::process::id()));
    std::fs::create_dir_all(&path)?;
    let mut folder = Folder(path.clone(), args.keep);
    let stage = Stage::set_up(args, path).await?;
    let findings = stage.play(plan).await?;
    let kept = report::tell(args, &findings);
    stage.hands.set.stop().await?;
    let orderly = report::tell_stops(&stage.hands.set);
    if !(kept && orderly) {
        folder.1 = true;
    }
    if folder.1 {
        eprintln!("chaos: logs are in {}", folder.0.display());
    }
    if args.json {
        println!("{}", report::json(args, &findings));
    }
    Ok(kept && orderly)
}

impl Stage {
    async fn play(&self, plan: Plan) -> anyhow::Result<Findings> {
        let (hands, desk) = (&self.hands, &self.desk);
        let stop = CancellationToken::new();
        let _stopped = stop.clone().drop_guard();
        let (troubles, work, watching) =
            (TaskTracker::new(), TaskTracker::new(), TaskTracker::new());
        let failed: Arc<Mutex<Vec<String>>> = Arc::default();
        let under_way: Arc<Mutex<BTreeMap<usize, Work>>> = Arc::default();
        let watched: Arc<Watched> = Arc::default();
        let start = clock::instant();
        for (at, trouble) in plan.troubles {
            let (hands, failed) = (Arc::clone(hands), Arc::clone(&failed));
            troubles.spawn_local(stop.clone().run_until_cancelled_owned(async move {
                pass(at).await;
                let label = trouble.label();
                if let Err(cause) = hands.make(trouble).await {
                    note(&failed, format!("{label}: {cause:#}"));
                }
            }));
        }
        for (number, (at, item)) in plan.work.into_iter().enumerate() {
            let (asks, identity) = (Arc::clone(&self.asks), Arc::clone(&self.identity));
            let (failed, under_way) = (Arc::clone(&failed), Arc::clone(&under_way));
            work.spawn_local(stop.clone().run_until_cancelled_owned(async move {
                pass(at).await;
                lock(&under_way).insert(number, item.clone());
                if let Err(cause) = carry_out(&asks, &identity, item).await {
                    note(&failed, format!("asking: {cause:#}"));
                }
                lock(&under_way).remove(&number);
            }));
        }
        {
            let hands = Arc::clone(hands);
            let failed = Arc::clone(&failed);
            watching.spawn_local(stop.clone().run_until_cancelled_owned(async move {
                loop {
                    pass(SECOND).await;
                    if let Err(cause) = hands.set.look_after().await {
                        note(&failed, format!("looking after processes: {cause:#}"));
                    }
                }
            }));
            let (closing, quiet) = (Arc::clone(desk), plan.end.saturating_sub(QUIET));
            watching.spawn_local(stop.clone().run_until_cancelled_owned(async move {
                pass(quiet).await;
                closing.close();
            }));
            let (desk, watched) = (Arc::clone(desk), Arc::clone(&watched));
            watching.spawn_local(stop.clone().run_until_cancelled_owned(watch(desk, watched)));
        }
        while start.elapsed() < plan.end {
            pass((plan.end - start.elapsed()).min(10 * SECOND)).await;
            self.progress("making trouble", start.elapsed()).await;
        }
        troubles.close();
        troubles.wait().await;
        let calm = clock::instant();
        work.close();
        if tokio::time::timeout(LAST_ANSWERS, work.wait())
            .await
            .is_err()
        {
            for item in lock(&under_way).values() {
                note(&failed, format!("a client never got an answer: {item:?}"));
            }
        }
        let mut over = self.are_over().await;
        while !over && calm.elapsed() < SETTLE {
            pass(SECOND).await;
            over = self.are_over().await;
            if calm.elapsed().as_secs().is_multiple_of(10) {
                let operations = self.progress("letting it settle", start.elapsed()).await;
                if calm.elapsed() > LONG {
                    let telling = operator::tell_outstanding(desk, &operations);
                    // What can't be told in time is told the next time.
                    let _told = tokio::time::timeout(LOOK, telling).await;
                }
            }
        }
        let settled = calm.elapsed();
        let wanted = truth::wanted(&self.asks, &self.identity);
        let late = if over {
            Vec::new()
        } else {
            // At once: what is told besides takes its time, in which more ends.
            let (_, late) = self.judged(&wanted).await?;
            operator::tell_pace(desk).await;
            self.wait_for_the_late().await;
            late.stuck
        };
        stop.cancel();

        eprintln!("chaos: judging");
        let (told, mut verdict) = self.judged(&wanted).await?;
        if !late.is_empty() {
            verdict.stuck = late;
        }
        self.dead_letters(&mut verdict).await;
        let refused = desk.refused();
        Ok(Findings {
            verdict,
            events: wanted.happenings.len(),
            report: hands.exchange.get("report").await?,
            stale_reads: hands.database.stale_reads().await?,
            tally: hands.tally(),
            said: processes()
                .map(|process| (process, hands.set.said(process)))
                .collect::<Vec<(Process, String)>>(),
            fallen: hands.set.fallen(),
            torn_snapshots: watched.torn.load(Relaxed),
            resumed: watched.resumed.load(Relaxed),
            released: watched.released.load(Relaxed),
            length: plan.end,
            settled,
            failed: lock(&failed).clone(),
            refused,
            told,
        })
    }

    /// What is late is stuck, and no less to be right: the rest is judged when nothing changes any more, or else its numbers, read one
    /// after the other, would disagree.
    async fn wait_for_the_late(&self) {
        eprintln!("chaos: something is late; waiting until it is over, to judge it all the same");
        let since = clock::instant();
        while !self.are_over().await && since.elapsed() < LATE {
            pass(SECOND).await;
        }
    }

    /// Everything as it stands, and what is to be said of it.
    async fn judged(&self, wanted: &Wanted) -> anyhow::Result<(Vec<Told>, Verdict)> {
        let told = truth::told(&self.desk).await;
        let (members, truth) = truth::truth(&self.hands.exchange).await?;
        let verdict = judge(wanted, &told, &members, &truth);
        Ok((told, verdict))
    }

    /// What can't be read must be with the dead letters, and nothing else.
    async fn dead_letters(&self, verdict: &mut Verdict) {
        let letters = operator::dead_letters(&self.desk).await;
        let (garbled, others): (Vec<_>, Vec<_>) = letters
            .into_iter()
            .partition(|letter| number_in(&letter.reason).is_some());
        let told = others.iter().map(|letter| {
            let (about, queue, why) = (&letter.about, &letter.queue, &letter.reason);
            format!(
                "{about} of {queue} is a dead letter: {} {why}",
                letter.cause
            )
        });
        verdict.stuck.extend(told);
        let reasons: Vec<_> = garbled.into_iter().map(|letter| letter.reason).collect();
        verdict.lost.extend(self.identity.missed(&reasons));
    }

    /// Says how far it is. Answers the operations as they stand.
    async fn progress(&self, doing: &str, elapsed: Duration) -> Vec<Operation> {
        let looked = tokio::time::timeout(LOOK, self.desk.operations()).await;
        let troubles: u64 = self.hands.tally().done.values().sum();
        let done = looked.as_ref().map_or_else(
            |_| "nobody says how far it is".to_owned(),
            |operations| {
                let counts = operations
                    .iter()
                    .filter_map(|operation| operation.counts.as_ref());
                let (accepted, outstanding) =
                    counts.fold((0, 0), |(accepted, outstanding), counts| {
                        (accepted + counts.accepted, outstanding + counts.outstanding)
                    });
                let (all, ended) = (operations.len(), accepted - outstanding);
                format!("{all} operations, {ended} of {accepted} mailboxes ended")
            },
        );
        eprintln!(
            "chaos: {:4.0} s, {doing}: {troubles} troubles, {done}",
            elapsed.as_secs_f64()
        );
        looked.unwrap_or_default()
    }

    /// Whether every operation has ended, or waits for nothing but mailboxes that aren't ready, and every event was acted on.
    async fn are_over(&self) -> bool {
        let looked = tokio::time::timeout(LOOK, self.desk.operations()).await;
        let Ok(operations) = looked else {
            return false;
        };
        operations.iter().all(is_over) && self.are_acted_on(&operations)
    }

    /// Whether the latest event of everybody has brought about what it was to.
    fn are_acted_on(&self, operations: &[Operation]) -> bool {
        let mut latest = BTreeMap::new();
        for event in self.identity.told().iter() {
            let subject = (event.tenant, event.person);
            let moment = self.identity.moment(event);
            let last = latest.entry(subject).or_insert_with(|| moment.clone());
            *last = last.clone().max(moment);
        }
        latest.into_iter().all(|((tenant, _), moment)| {
            let ticket = ticket(&moment);
            self.asks.kept(tenant).iter().all(|delegation| {
                let of = |operation: &Operation| {
                    operation.ticket == ticket && operation.delegation_id == *delegation
                };
                operations.iter().any(of)
            })
        })
    }
}

async fn carry_out(asks: &Asks, identity: &Identity, work: Work) -> anyhow::Result<()> {
    match work {
        Work::Ask {
            number,
            what,
            validate_only,
        } => asks.ask(number, &what, validate_only).await,
        Work::Repeat { of } => asks.repeat(of).await,
        Work::Cancel { of } => asks.cancel(of).await,
        Work::Tell(event) => identity.tell(&event).await?,
        Work::Garble { number } => identity.garble(number).await,
    }
    Ok(())
}

fn note(failed: &Mutex<Vec<String>>, what: String) {
    eprintln!("chaos: {what}");
    lock(failed).push(what);
}

//! Whoever makes the trouble, and puts things right again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex as Plain},
    time::Duration,
};

use anyhow::ensure;
use calgrant_runtime::clock;
use calgrant_testkit::pass;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::Mutex};

use crate::{
    database::Database,
    exchange::Exchange,
    lock::lock,
    plan::{Link, Service, Trouble},
    servers::Servers,
    set::Set,
    wire::{Flow, Wire},
};

/// Longest wait for a server that was started again.
const BACK: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(200);

/// What was done.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) done: BTreeMap<String, u64>,
    pub(crate) kills: u64,
    pub(crate) broker_restarts: u64,
    pub(crate) database_restarts: u64,
    /// Writes that had begun and not ended, whenever a worker was killed or held, or cut off from Exchange.
    pub(crate) writes_under_way: u64,
}

/// All that can be put into disorder.
pub(crate) struct Hands {
    pub(crate) set: Arc<Set>,
    pub(crate) servers: Servers,
    pub(crate) wires: BTreeMap<Link, Wire>,
    pub(crate) exchange: Exchange,
    pub(crate) database: Database,
    /// Where RabbitMQ listens.
    pub(crate) broker: String,
    /// Troubles of one thing wait for each other.
    pub(crate) turns: BTreeMap<&'static str, Mutex<()>>,
    pub(crate) faults: Mutex<BTreeMap<&'static str, Value>>,
    pub(crate) tally: Plain<Tally>,
}

impl Hands {
    /// Makes one trouble, and returns when it is over.
    ///
    /// # Errors
    /// It couldn't be made, or not ended.
    pub(crate) async fn make(&self, trouble: Trouble) -> anyhow::Result<()> {
        let under_way = if loses_writes(&trouble) {
            self.database.writes_under_way().await
        } else {
            0
        };
        self.note(|tally| {
            *tally.done.entry(trouble.label()).or_default() += 1;
            tally.writes_under_way += under_way;
            tally.kills += u64::from(matches!(trouble, Trouble::Kill { .. }));
        });
        match trouble {
            Trouble::Kill { process, down } => self.set.kill(process, down).await,
            Trouble::Terminate { process, down } => self.set.terminate(process, down).await,
            Trouble::Suspend { process, held } => {
                self.set.suspend(process, held).await;
                Ok(())
            }
            Trouble::KillBroker { down } => self.kill_broker(down).await,
            Trouble::KillDatabase { down } => self.kill_database(down).await,
            Trouble::MemoryAlarm { held } => {
                let _turn = self.turns["broker"].lock().await;
                self.servers.ask("alarm broker").await?;
                pass(held).await;
                self.servers.ask("calm broker").await
            }
            Trouble::Cut { link, down } => {
                self.flow(link, Flow::Cut, down.max(Duration::from_millis(50)))
                    .await;
                Ok(())
            }
            Trouble::Stall { link, held } => {
                self.flow(link, Flow::Stalled, held).await;
                Ok(())
            }
            Trouble::Fault {
                name,
                permille,
                app,
                held,
            } => {
                #[expect(clippy::cast_precision_loss, reason = "a small number")]
                let rate = permille as f64 / 1000.0;
                self.change_faults(|faults| {
                    let fault = match app {
                        Some(app) => json!({"rate": rate, "app": app}),
                        None => json!(rate),
                    };
                    faults.insert(name, fault);
                })
                .await?;
                pass(held).await;
                self.change_faults(|faults| {
                    faults.remove(name);
                })
                .await
            }
            Trouble::ReadLag { lag, held } => {
                let millis = u64::try_from(lag.as_millis())?;
                let lags = json!({"read_lag_ms": [millis / 2, millis], "read_lag_share": 0.5});
                self.exchange.put("dials", &lags).await?;
                pass(held).await;
                let none = json!({"read_lag_ms": [0, 0]});
                self.exchange.put("dials", &none).await
            }
            Trouble::SetDatabaseClock { millis } => {
                let _turn = self.turns["database"].lock().await;
                self.database.set_clock(millis).await
            }
        }
    }

    pub(crate) fn note(&self, note: impl FnOnce(&mut Tally)) {
        note(&mut lock(&self.tally));
    }

    pub(crate) fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    async fn kill_broker(&self, down: Duration) -> anyhow::Result<()> {
        let _turn = self.turns["broker"].lock().await;
        self.servers.ask("kill broker").await?;
        pass(down).await;
        self.servers.ask("start broker").await?;
        until("RabbitMQ is back", async || {
            TcpStream::connect(&self.broker).await.is_ok()
        })
        .await?;
        self.note(|tally| tally.broker_restarts += 1);
        Ok(())
    }

    async fn kill_database(&self, down: Duration) -> anyhow::Result<()> {
        let _turn = self.turns["database"].lock().await;
        self.servers.ask("kill database").await?;
        pass(down).await;
        self.servers.ask("start database").await?;
        until("Postgres is back", async || self.database.answers().await).await?;
        self.note(|tally| tally.database_restarts += 1);
        Ok(())
    }

    async fn flow(&self, link: Link, flow: Flow, held: Duration) {
        let _turn = self.turns[link.word()].lock().await;
        self.wires[&link].set(flow);
        pass(held).await;
        self.wires[&link].set(Flow::Open);
    }

    async fn change_faults(
        &self,
        change: impl FnOnce(&mut BTreeMap<&'static str, Value>),
    ) -> anyhow::Result<()> {
        let mut faults = self.faults.lock().await;
        change(&mut faults);
        self.exchange
            .put("dials", &json!({"faults": *faults}))
            .await
    }
}

/// Whether a write that is under way may be done without anybody having heard of it.
fn loses_writes(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Kill { process, .. }
        | Trouble::Terminate { process, .. }
        | Trouble::Suspend { process, .. } => process.service == Service::Worker,
        Trouble::Cut { link, .. } => *link == Link::Exchange,
        _ => false,
    }
}

/// Looks again and again until it is so.
///
/// # Errors
/// It is not so in time.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let limit = clock::instant() + BACK;
    let mut looks = tokio::time::interval(LOOK);
    while !is_so().await {
        ensure!(clock::instant() < limit, "it never came to this: {what}");
        looks.tick().await;
    }
    Ok(())
}

//! Four kinds of application: one in a hurry, one patient, one careful, one that connected long ago.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::{Client, Config, NoTls};

use super::Stop;
use crate::clock::Time;
use crate::history::{Attempt, History, Observation, STILL_WAITING};
use crate::network::Node;
use crate::patroni::POSTGRES_PORT;

/// How often the hasty client begins an attempt.
const HASTY_PERIOD: Duration = Duration::from_millis(10);

/// How long it gives one. Shorter than TCP's first repetition of a SYN (1 s), so that each attempt asks the wire once.
const HASTY_LIMIT: Duration = Duration::from_millis(200);

/// How often the careful client begins an attempt, and how long it gives one.
const CAREFUL_PERIOD: Duration = Duration::from_millis(50);
const CAREFUL_LIMIT: Duration = Duration::from_secs(1);

/// How often the patient client begins an attempt.
const PATIENT_PERIOD: Duration = Duration::from_millis(50);

/// Connects, reads and inserts, again and again; each attempt runs by itself, so that a slow one delays no other.
pub(super) fn hasty(target: Ipv4Addr, history: &History, stop: &Stop, runtime: &Runtime) {
    runtime.block_on(async {
        let mut attempts = JoinSet::new();
        let mut ticks = ticks(HASTY_PERIOD);
        while !stop.is_set() {
            ticks.tick().await;
            while attempts.try_join_next().is_some() {}
            let history = history.clone();
            attempts.spawn(async move {
                let attempt = hasty_attempt(target).await;
                history.record(Observation::Write(attempt));
            });
        }
        // Each ends by its own limit.
        while attempts.join_next().await.is_some() {}
    });
}

async fn hasty_attempt(target: Ipv4Addr) -> Attempt {
    let mut attempt = Attempt { started: Time::now(), node: None, from_replica: false, error: None, value: None };
    let mut stage = "connect";
    let work = async {
        let client = connect(target).await?;
        stage = "read";
        read(&client, &mut attempt).await?;
        stage = "insert";
        insert(&client).await
    };
    attempt.error = match timeout(HASTY_LIMIT, work).await {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(format!("{stage}: {}", describe(&e))),
        Err(_) => Some(format!("{stage}: no answer within {HASTY_LIMIT:?}")),
    };
    attempt
}

/// As an application without any settings: one connection and one insert per attempt, with the kernel's and the
/// library's defaults, no time limit and no second try.
pub(super) fn patient(target: Ipv4Addr, history: &History, stop: &Stop, runtime: &Runtime) {
    runtime.block_on(async {
        let mut attempts = JoinSet::new();
        let mut ticks = ticks(PATIENT_PERIOD);
        while !stop.is_set() {
            ticks.tick().await;
            while attempts.try_join_next().is_some() {}
            let mut pending = Unfinished { started: Time::now(), history: Some(history.clone()) };
            attempts.spawn(async move {
                let result = async { insert(&connect(target).await?).await }.await;
                pending.finish(result.err().map(|e| describe(&e)));
            });
        }
        // Dropped here, what still waits is recorded as such.
    });
}

/// Records an attempt when it ends, or when nobody waits for its end any more.
struct Unfinished {
    started: Time,
    history: Option<History>,
}

impl Unfinished {
    fn finish(&mut self, error: Option<String>) {
        if let Some(history) = self.history.take() {
            let attempt = Attempt { started: self.started, node: None, from_replica: false, error, value: None };
            history.record(Observation::Patient(attempt));
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.finish(Some(STILL_WAITING.to_owned()));
    }
}

/// Writes values of its own and reads them back, again and again; each attempt runs by itself.
pub(super) fn careful(target: Ipv4Addr, history: &History, stop: &Stop, runtime: &Runtime) {
    runtime.block_on(async {
        let mut attempts = JoinSet::new();
        let mut ticks = ticks(CAREFUL_PERIOD);
        let mut value = 0;
        while !stop.is_set() {
            ticks.tick().await;
            while attempts.try_join_next().is_some() {}
            value += 1;
            let history = history.clone();
            attempts.spawn(async move { history.record(Observation::Write(careful_attempt(target, value).await)) });
        }
        while attempts.join_next().await.is_some() {}
    });
}

async fn careful_attempt(target: Ipv4Addr, value: i64) -> Attempt {
    let mut attempt = Attempt { started: Time::now(), node: None, from_replica: false, error: None, value: None };
    let mut stage = "connect";
    let mut written = None;
    let work = async {
        let client = connect(target).await?;
        stage = "read";
        read(&client, &mut attempt).await?;
        stage = "insert";
        client.execute("insert into careful values ($1, current_setting('lab.node'))", &[&value]).await?;
        written = Some(value);
        stage = "read back";
        Ok(client.query("select from careful where value = $1", &[&value]).await?.len())
    };
    attempt.error = match timeout(CAREFUL_LIMIT, work).await {
        Ok(Ok(1)) => None,
        Ok(Ok(found)) => Some(format!("{stage}: {value} was there {found} times")),
        Ok(Err(e)) => Some(format!("{stage}: {}", describe(&e))),
        Err(_) => Some(format!("{stage}: no answer within {CAREFUL_LIMIT:?}")),
    };
    attempt.value = written;
    attempt
}

/// Opens `count` connections, reports on `opened` how that went, and then only listens.
pub(super) fn sessions(
    target: Ipv4Addr,
    numbers: std::ops::Range<usize>,
    history: &History,
    stop: &Stop,
    runtime: &Runtime,
    opened: impl FnOnce(Result<()>),
) {
    let local = LocalSet::new();
    let result = local.block_on(runtime, async {
        let mut clients = Vec::new();
        for index in numbers {
            clients.push(open_session(target, index, history).await?);
        }
        Ok(clients)
    });
    // Kept: a connection ends when its client is dropped.
    let (clients, result) = match result {
        Ok(clients) => (clients, Ok(())),
        Err(e) => (Vec::new(), Err(e)),
    };
    opened(result);
    local.block_on(runtime, async {
        while !stop.is_set() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    drop(clients);
}

async fn open_session(target: Ipv4Addr, index: usize, history: &History) -> Result<Client> {
    let (client, connection) = config(target).connect(NoTls).await.context("cannot open a long-lived connection")?;
    let node = Arc::new(std::sync::OnceLock::new());
    let (history, seen) = (history.clone(), Arc::clone(&node));
    tokio::task::spawn_local(async move {
        let how = match connection.await {
            Ok(()) => "closed by the server".to_owned(),
            Err(e) => describe(&e),
        };
        history.record(Observation::SessionEnd { index, node: seen.get().copied(), how });
    });
    let row = client.query_one("select current_setting('lab.node')", &[]).await?;
    if let Some(found) = Node::from_name(row.get(0)) {
        let _ = node.set(found);
    }
    Ok(client)
}

async fn connect(target: Ipv4Addr) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config(target).connect(NoTls).await?;
    // Ends when the client is dropped; its error is also the query's.
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
}

/// Notes whose server this is, and whether it is a replica.
async fn read(client: &Client, attempt: &mut Attempt) -> Result<(), tokio_postgres::Error> {
    let row = client.query_one("select pg_is_in_recovery(), current_setting('lab.node')", &[]).await?;
    attempt.from_replica = row.get(0);
    attempt.node = Node::from_name(row.get(1));
    Ok(())
}

async fn insert(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("insert into writes (node) values (current_setting('lab.node'))").await
}

fn config(target: Ipv4Addr) -> Config {
    let mut config = Config::new();
    config.host(target.to_string()).port(POSTGRES_PORT).user("app").dbname("postgres");
    config
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// The innermost cause: "connection refused" rather than "error connecting to server".
fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} {}", db.code().code(), db.message());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

//! The role of one PostgreSQL, asked directly.

use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, Statement};

use super::Stop;
use crate::clock::Time;
use crate::history::{History, Observation, Role};
use crate::network::Node;
use crate::process;

/// How often a session is asked: a little more than once a millisecond, for the sleep ends late.
const PERIOD: Duration = Duration::from_micros(800);

/// How often a server that refuses is tried. Each try costs the postmaster a fork.
const RETRY: Duration = Duration::from_millis(5);

/// After this long without an answer a server counts as silent.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often an unchanged role is recorded.
const CONFIRM: Duration = Duration::from_millis(100);

/// Asks, with some priority on both sides, on one session over the Unix socket for as long as it lasts, and connects again when it is gone.
#[derive(Debug)]
pub(super) struct RoleProbe {
    node: Node,
    socket_dir: PathBuf,
    history: History,
    known: Option<Role>,
    /// When the last question was asked that got the answer `known`.
    last_asked: Option<Time>,
    /// When the question was asked that was last recorded.
    recorded: Option<Time>,
    /// How many questions were answered since.
    questions: u32,
}

impl RoleProbe {
    pub(super) fn new(node: Node, socket_dir: PathBuf, history: &History) -> Self {
        Self { node, socket_dir, history: history.clone(), known: None, last_asked: None, recorded: None, questions: 0 }
    }

    pub(super) fn run(mut self, stop: &Stop, runtime: &Runtime) {
        while !stop.is_set() {
            let asked = Time::now();
            match runtime.block_on(self.connect()) {
                Ok((client, statement)) => while !stop.is_set() && self.ask(runtime, &client, &statement) {},
                Err(role) => {
                    self.note(asked, role);
                    std::thread::sleep(RETRY);
                }
            }
        }
        self.confirm();
    }

    /// One question on the session; false when the session is of no more use.
    fn ask(&mut self, runtime: &Runtime, client: &Client, statement: &Statement) -> bool {
        let asked = Time::now();
        match runtime.block_on(async { timeout(PATIENCE, client.query_one(statement, &[])).await }) {
            Ok(Ok(row)) => {
                self.note(asked, if row.get(0) { Role::Standby } else { Role::Primary });
                std::thread::sleep(PERIOD.saturating_sub(asked.elapsed()));
                true
            }
            // The server may have ended this one session only: what it is now, the next connection tells.
            Ok(Err(_)) => false,
            Err(_) => {
                self.note(asked, Role::Silent);
                false
            }
        }
    }

    async fn connect(&self) -> Result<(Client, Statement), Role> {
        let mut config = Config::new();
        config.host_path(&self.socket_dir).user("pgvrrp").dbname("postgres").application_name("lab-role-probe");
        let attempt = async {
            let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
            // Ends with the session; its error is also the query's.
            tokio::spawn(async { drop(connection.await) });
            let backend: i32 = client.query_one("select pg_backend_pid()", &[]).await?.get(0);
            process::favour(backend.unsigned_abs());
            let statement = client.prepare("select pg_is_in_recovery()").await?;
            Ok::<_, tokio_postgres::Error>((client, statement))
        };
        match timeout(PATIENCE, attempt).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(_)) => Err(Role::Down),
            Err(_) => Err(Role::Silent),
        }
    }

    fn note(&mut self, asked: Time, role: Role) {
        self.questions += 1;
        if self.known != Some(role) {
            let before = self.last_asked;
            self.history.record(Observation::Role { node: self.node, role, asked, before });
            self.known = Some(role);
            (self.recorded, self.questions) = (Some(asked), 0);
        }
        self.last_asked = Some(asked);
        if self.recorded.is_none_or(|r| asked.since(r) > CONFIRM) {
            self.confirm();
        }
    }

    fn confirm(&mut self) {
        if let Some(asked) = self.last_asked {
            let questions = std::mem::take(&mut self.questions);
            self.history.record(Observation::RoleConfirmed { node: self.node, asked, questions });
            self.recorded = Some(asked);
        }
    }
}

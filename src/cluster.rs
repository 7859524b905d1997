//! `pgvrrp status --cluster`: all nodes as they are known from here, whether a daemon runs here or not.
//!
//! It *asks* etcd, the daemon of this node by its control socket, and those of the others by their HTTP port, all at the same
//! time; then it *judges* the answers, which is pure: what contradicts what.

mod ask;
mod judge;
mod show;

use std::collections::BTreeMap;
use std::io;

use pgvrrp_config::Config;
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The system has no means to ask anything: no descriptors, no threads.
    #[error("cannot ask anything: {0}")]
    System(io::Error),
    /// Neither etcd nor a daemon.
    #[error("nobody answers: {0}")]
    Nobody(String),
}

/// What is known of the cluster.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Cluster {
    /// This node's member name.
    asked_from: String,
    /// What etcd says, or why it says nothing; `None` where no VIP follows the primary.
    etcd: Option<Etcd>,
    /// Each node, by name.
    nodes: BTreeMap<String, Node>,
    /// Each VIP of this node's configuration.
    vips: Vec<Vip>,
    /// What is wrong, in words.
    wrong: Vec<String>,
}

/// What etcd says.
#[derive(Debug, Default, Serialize)]
struct Etcd {
    /// Why it could not be asked, or not for everything.
    error: Option<String>,
    /// The member that has the leader key.
    leader: Option<String>,
}

/// A node.
#[derive(Debug, Default, Serialize)]
struct Node {
    /// What Patroni has written of it; `None` if it is no member.
    member: Option<Member>,
    /// What its daemon says; `None` if there is no answer.
    daemon: Option<Daemon>,
    /// Why there is none.
    error: Option<String>,
}

/// A member, in Patroni's own words; `None` for what it does not say.
#[derive(Debug, Default, Serialize)]
struct Member {
    role: Option<String>,
    state: Option<String>,
    timeline: Option<u64>,
    /// Where its PostgreSQL is, of `conn_url`.
    host: Option<String>,
    /// Bytes of WAL that it is behind the leader, as both were when Patroni last looked.
    lag: Option<u64>,
}

/// A daemon, by its status.
#[derive(Debug, Default, Serialize)]
struct Daemon {
    version: String,
    /// The role of its PostgreSQL.
    role: Option<String>,
    /// Its protocol thread has not run for 2 s.
    stuck: bool,
    /// By name.
    vips: BTreeMap<String, Place>,
}

/// A VIP on one node.
#[derive(Debug, Default, Serialize)]
struct Place {
    held: bool,
    reason: String,
    why: String,
    /// Who is heard to advertise it, beside itself.
    heard: Vec<String>,
}

/// A VIP.
#[derive(Debug, Default, Serialize)]
struct Vip {
    name: String,
    follows_primary: bool,
    /// The member that has its lock.
    lock: Option<String>,
}

/// Looks, and says what is seen, and whether nothing is wrong with it. It takes 6 s at most.
///
/// # Errors
/// See [`Failure`].
pub(crate) fn run(config: &Config, json: bool) -> Result<(String, bool), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::System)?;
    let mut cluster = LocalSet::new().block_on(&runtime, ask::everybody(config))?;
    // A name that does not resolve keeps a thread busy for longer than anybody wants to wait.
    runtime.shutdown_background();
    judge::judge(&mut cluster);
    let is_fine = cluster.wrong.is_empty();
    Ok((if json { show::json(&cluster) } else { show::text(&cluster) }, is_fine))
}

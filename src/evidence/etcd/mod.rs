//! etcd: carries out the gate's requests and reports what came of each. One client per endpoint, each request with a
//! short deadline, linearizable throughout; a watch that hints when to look again.

mod acquire;
mod endpoints;
mod failed;
pub mod keyring;
pub mod keys;
mod member;
pub mod parse;
mod round;
pub mod surroundings;
mod version;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use pgvrrp_config::Tls;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};

use crate::gate::evidence::{EtcdReport, EtcdRequest};
use endpoints::Endpoints;
pub(crate) use failed::{describe, is_broken, tls_trouble};
use keyring::Keyring;
use keys::Keys;
pub use member::Credentials;
pub(crate) use member::Member;
pub use surroundings::Peer;
pub(crate) use version::Version;

/// What the asker has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://host:port` of each member, or `https://host:port`.
    pub endpoints: Vec<String>,
    /// With `https://`: whom to believe, and who this is.
    pub tls: Option<Tls>,
    /// For an etcd with authentication.
    pub credentials: Option<Credentials>,
    /// The deadline of each single request.
    pub timeout: Duration,
    /// The keys to read.
    pub keys: Keys,
}

/// What others than the gate want to know of the cluster.
#[derive(Debug)]
pub struct Bystanders {
    /// By whose word to go about each VIP's clients, as of the last read.
    pub keyring: tokio::sync::watch::Sender<Keyring>,
    /// Who else there is.
    pub peers: tokio::sync::watch::Sender<Vec<Peer>>,
}

/// Serves requests until their channel is closed. Each runs by itself, so that a slow one delays no other; how many
/// there can be is bounded by the node, which has one round and per VIP one other request under
/// way. `settings` and `keys` are those in force; a request that is under way when they change ends as it began. Has to be run
/// within a [`tokio::task::LocalSet`].
pub async fn run(
    mut settings: tokio::sync::watch::Receiver<Settings>,
    mut keys: tokio::sync::watch::Receiver<Arc<Keys>>,
    mut requests: mpsc::UnboundedReceiver<EtcdRequest>,
    reports: mpsc::UnboundedSender<EtcdReport>,
    bystanders: Bystanders,
) {
    let resolver = Arc::new(parse::Resolver::default());
    let Bystanders { keyring, peers } = bystanders;
    let (keyring, peers) = (Arc::new(keyring), Arc::new(peers));
    let mut endpoints = Arc::new(Endpoints::new(&settings.borrow_and_update()));
    let mut names = keys.borrow_and_update().clone();
    let watch_keys = |endpoints: &Arc<Endpoints>, names: &Arc<Keys>| {
        spawn_local(watch::run(endpoints.clone(), names.clone(), reports.clone()))
    };
    let look_around = |endpoints: &Arc<Endpoints>, names: &Arc<Keys>| {
        let members = surroundings::members(endpoints.clone(), names.clone(), resolver.clone(), peers.clone());
        let switchovers = surroundings::switchovers(endpoints.clone(), names.clone(), reports.clone());
        [spawn_local(members), spawn_local(switchovers)]
    };
    let mut hints = watch_keys(&endpoints, &names);
    let mut others = look_around(&endpoints, &names);
    loop {
        let request = tokio::select! {
            biased;
            Ok(()) = settings.changed() => {
                endpoints = Arc::new(Endpoints::new(&settings.borrow_and_update()));
                others.iter().for_each(JoinHandle::abort);
                others = look_around(&endpoints, &names);
                hints.abort();
                hints = watch_keys(&endpoints, &names);
                continue;
            }
            Ok(()) = keys.changed() => {
                names = keys.borrow_and_update().clone();
                hints.abort();
                hints = watch_keys(&endpoints, &names);
                continue;
            }
            Some(request) = requests.recv() => request,
            else => break,
        };
        let (endpoints, keys, reports) = (endpoints.clone(), names.clone(), reports.clone());
        let (resolver, keyring) = (resolver.clone(), keyring.clone());
        spawn_local(async move {
            let report = match request {
                EtcdRequest::Round { keep_alive, leader_lease } => {
                    round::round(&endpoints, &keys, &resolver, &keyring, keep_alive, leader_lease).await
                }
                EtcdRequest::Acquire { vip, value, ttl, expect } => {
                    let outcome = acquire::acquire(&endpoints, &keys, vip, &value, ttl, expect).await;
                    EtcdReport::Acquire { vip, outcome }
                }
                EtcdRequest::Revoke { vip, lease } => {
                    let outcome = acquire::revoke(&endpoints, lease).await;
                    EtcdReport::Revoke { vip, lease, outcome }
                }
            };
            // A closed channel: the daemon is ending, nobody is left to be told.
            let _ = reports.send(report);
        });
    }
    hints.abort();
    others.iter().for_each(JoinHandle::abort);
}

/// Whether an etcd answers by these settings, and what it has in Patroni's `initialize`: the cluster's system identifier.
///
/// # Errors
/// Why none does, or none that this user may read from.
pub(crate) async fn try_out(settings: &Settings) -> Result<Option<String>, String> {
    let endpoints = Endpoints::new(settings);
    let read = async |mut client: Client, _: &str| {
        let answer = client.get(settings.keys.initialize.as_str(), None).await?;
        Ok(answer.kvs().first().and_then(|kv| parse::system_identifier(kv.value())))
    };
    endpoints.ask(read).await
}

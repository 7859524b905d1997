//! What is worth knowing of the cluster, and decides nothing about who holds a VIP: where the other members are, and that
//! somebody wants the leader to change. Apart from the rounds, so that what is refused or slow here disturbs none.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, Event, EventType, GetOptions, WatchResponse};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::debug;

use super::endpoints::Endpoints;
use super::keys::Keys;
use super::parse::Resolver;
use super::watch::keep_watching;
use crate::gate::evidence::EtcdReport;

/// How often the members are read: one that is new learns of clients by then.
const MEMBERS: Duration = Duration::from_secs(10);

/// Pause after that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// A member of the Patroni cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// What the host in its `conn_url` resolves to.
    pub addresses: Vec<IpAddr>,
}

/// Reads Patroni's member keys, for as long as somebody listens.
pub(super) async fn members(
    endpoints: Arc<Endpoints>,
    keys: Arc<Keys>,
    resolver: Arc<Resolver>,
    peers: Arc<watch::Sender<Vec<Peer>>>,
) {
    while !peers.is_closed() {
        let read = endpoints
            .ask(async |mut client: Client, _: &str| {
                let answer = client.get(keys.members.as_str(), Some(GetOptions::new().with_prefix())).await?;
                Ok(answer.kvs().iter().map(|kv| (kv.key().to_vec(), kv.value().to_vec())).collect::<Vec<_>>())
            })
            .await;
        let pause = match read {
            Ok(members) => {
                let mut found = Vec::new();
                for (key, value) in members {
                    let key = String::from_utf8_lossy(&key);
                    let Some(name) = key.strip_prefix(&keys.members).filter(|name| !name.is_empty()) else { continue };
                    let addresses = resolver.member(&value).await.addresses;
                    found.push(Peer { name: name.to_owned(), addresses });
                }
                peers.send_if_modified(|known| std::mem::replace(known, found) != *known);
                MEMBERS
            }
            Err(error) => {
                debug!(error, "the members could not be read");
                AGAIN
            }
        };
        sleep(pause).await;
    }
}

/// Tells when Patroni is asked for a switchover or a failover. On a stream of its own: a user who may not watch this key still
/// watches the others.
pub(super) async fn switchovers(
    endpoints: Arc<Endpoints>,
    keys: Arc<Keys>,
    reports: mpsc::UnboundedSender<EtcdReport>,
) {
    let meaning = |message: &WatchResponse| message.events().iter().map(request).collect();
    keep_watching(&endpoints, &[&keys.failover], &reports, meaning).await;
}

/// Patroni takes a request back by deleting it, or by putting an empty one.
fn request(event: &Event) -> EtcdReport {
    let put = event.kv().filter(|_| event.event_type() == EventType::Put);
    match put.and_then(|kv| switchover(kv.value()).map(|leader| (leader, kv.mod_revision()))) {
        Some((leader, revision)) => EtcdReport::Switchover { leader, revision },
        None => EtcdReport::SwitchoverWithdrawn,
    }
}

/// From whom Patroni's `failover` key takes the leadership, if that is to be now: `Some(None)` is whoever has it.
pub fn switchover(value: &[u8]) -> Option<Option<String>> {
    #[derive(Deserialize)]
    struct Failover {
        leader: Option<String>,
        member: Option<String>,
        scheduled_at: Option<serde_json::Value>,
    }
    let failover: Failover = serde_json::from_slice(value).ok()?;
    let leader = failover.leader.filter(|leader| !leader.is_empty());
    let asked = leader.is_some() || failover.member.is_some_and(|member| !member.is_empty());
    (asked && failover.scheduled_at.is_none_or(|at| at.is_null())).then_some(leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switchover_is_one_that_is_to_be_now() {
        let of = |value: &str| switchover(value.as_bytes());
        assert_eq!(of(r#"{"leader":"db1","member":"db2"}"#), Some(Some("db1".to_owned())));
        assert_eq!(of(r#"{"leader":"db1"}"#), Some(Some("db1".to_owned())));
        assert_eq!(of(r#"{"member":"db2"}"#), Some(None));
        assert_eq!(of(r#"{"leader":"","member":"db2","scheduled_at":null}"#), Some(None));
        assert_eq!(of(r#"{"leader":"db1","member":"db2","scheduled_at":"2026-01-01T00:00:00+00:00"}"#), None);
        assert_eq!(of("{}"), None);
        assert_eq!(of("db1:db2"), None);
        assert_eq!(of(r#"{"leader":7}"#), None);
    }
}

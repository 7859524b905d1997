//! What is worth knowing of the cluster, and decides nothing about who holds a VIP: where the other members are, and that
//! somebody wants the leader to change. Apart from the rounds, so that what is refused or slow here disturbs none.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, EventType, GetOptions};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::endpoints::Endpoints;
use super::failed::describe;
use super::keys::Keys;
use super::parse::Resolver;
use crate::gate::evidence::EtcdReport;

/// How often the members are read: one that is new learns of clients by then.
const MEMBERS: Duration = Duration::from_secs(10);

/// Pause after that, or the watch, failed.
const AGAIN: Duration = Duration::from_secs(1);

/// A stream is opened anew after this time, so that one which is silently dead does not stay so.
const LONGEST: Duration = Duration::from_secs(60);

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
    peers: watch::Sender<Vec<Peer>>,
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

/// Tells when Patroni is asked for a switchover or a failover.
pub(super) async fn switchovers(
    endpoints: Arc<Endpoints>,
    keys: Arc<Keys>,
    reports: mpsc::UnboundedSender<EtcdReport>,
) {
    while !reports.is_closed() {
        tokio::select! {
            ended = timeout(LONGEST, watch_failover(&endpoints, &keys, &reports)) => {
                if let Ok(reason) = ended {
                    debug!(reason, "the watch for switchovers ended");
                    sleep(AGAIN).await;
                }
            }
            () = endpoints.moved() => {}
        }
    }
}

async fn watch_failover(endpoints: &Endpoints, keys: &Keys, reports: &mpsc::UnboundedSender<EtcdReport>) -> String {
    let limit = endpoints.timeout();
    let mut client = match endpoints.preferred().await {
        Ok(client) => client,
        Err(error) => return error,
    };
    let mut stream = match timeout(limit, client.watch(keys.failover.as_str(), None)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return describe(&error),
        Err(_) => return format!("no stream within {limit:?}"),
    };
    loop {
        let message = match stream.message().await {
            Ok(Some(message)) if message.canceled() => return message.cancel_reason().to_owned(),
            Ok(Some(message)) => message,
            Ok(None) => return "etcd closed the stream".to_owned(),
            Err(error) => return describe(&error),
        };
        for event in message.events() {
            let put = event.kv().filter(|_| event.event_type() == EventType::Put);
            // Patroni takes a request back by deleting it, or by putting an empty one.
            let report = match put.and_then(|kv| switchover(kv.value()).map(|leader| (leader, kv.mod_revision()))) {
                Some((leader, revision)) => EtcdReport::Switchover { leader, revision },
                None => EtcdReport::SwitchoverWithdrawn,
            };
            if reports.send(report).is_err() {
                return "nobody listens".to_owned();
            }
        }
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

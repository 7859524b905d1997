//! Whether the daemon works, and whether this node could take over: what `/healthz`, `/readyz`, the metrics and systemd's watchdog
//! are told.

use std::time::Duration;

use vrrp::time::Instant;

use crate::clock;
use crate::gate::evidence::Role;
use crate::node::status::Status;

/// The protocol thread publishes at least once a second; a picture older than this means that it is stuck.
pub(super) const STUCK: Duration = Duration::from_secs(2);

/// Evidence older than this makes a node not ready.
const READY: Duration = Duration::from_secs(10);

/// Whether the protocol thread is running.
pub(super) fn is_alive(status: &Status) -> bool {
    clock::now().since(Instant::ZERO).saturating_sub(status.taken) < STUCK
}

/// Why this node could not take over, if it could not.
pub(super) fn not_ready(status: &Status) -> Option<String> {
    let is_old = |age: Option<Duration>| age.is_none_or(|age| age > READY);
    if !is_alive(status) {
        return Some("the protocol thread is stuck".to_owned());
    }
    if let Some(interface) = status.interfaces.iter().find(|interface| interface.index.is_none()) {
        return Some(format!("there is no interface {}", interface.name));
    }
    let (Some(etcd), Some(postgres)) = (&status.etcd, &status.postgres) else { return None };
    if is_old(etcd.age) {
        let error = etcd.error.as_deref().unwrap_or("not asked yet");
        return Some(format!("etcd has not answered for 10 s: {error}"));
    }
    match postgres.role {
        Some(Role::Primary | Role::Standby) if !is_old(postgres.age) => None,
        _ => Some(format!("PostgreSQL: {}", postgres.detail)),
    }
}

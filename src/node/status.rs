//! One picture of the node for everybody who looks: status, metrics, logs. None of them computes a second truth.

mod config;
mod counters;
mod evidence;
mod histogram;
mod hooks;
mod label;
mod moves;
mod observed;
mod seconds;
mod vip;
mod vrrp;

use std::time::Duration;

use serde::Serialize;

use self::seconds::seconds;
use crate::gate::evidence::Role;

pub use config::ConfigStatus;
pub use counters::{NodeCounters, VipCounters};
pub use evidence::{EtcdStatus, FailsafeStatus, InterfaceStatus, PatroniStatus, PostgresStatus};
pub use histogram::{BUCKETS, Histogram};
pub use hooks::{HookRun, HooksStatus, RunningHook};
pub use label::{FollowsLabel, PhaseLabel, RouterLabel};
pub use moves::{Move, MoveKind, MovePhase};
pub use observed::{DifferenceStatus, ObservedStatus};
pub use vip::{ClientsStatus, ListStatus, LockStatus, VipStatus};
pub use vrrp::{PeerStatus, VrrpStatus};

/// The node as it was at `taken` seconds after boot. `--json` and `/status` print exactly this; durations and ages
/// are in seconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// pgvrrp's version.
    pub version: &'static str,
    /// The Patroni member name of this node.
    pub node: String,
    /// When this picture was taken, in seconds on `CLOCK_BOOTTIME`.
    #[serde(serialize_with = "seconds")]
    pub taken: Duration,
    /// How long ago that was. More than a second or two: the protocol thread does not run.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// How long the daemon has been running.
    #[serde(serialize_with = "seconds")]
    pub uptime: Duration,
    /// The daemon only observes (`run --observe`): nothing that it says of its VIPs is done, and none is held.
    pub observing: bool,
    /// The daemon was told to end, and releases everything. Not so during a handover.
    pub stopping: bool,
    /// The configuration in force.
    pub config: ConfigStatus,
    /// What etcd says; `None` where no VIP follows the primary.
    pub etcd: Option<EtcdStatus>,
    /// What the local PostgreSQL says; `None` where no VIP follows the primary.
    pub postgres: Option<PostgresStatus>,
    /// What the local Patroni says; `None` while it is not asked: the VIP is not held, or the failsafe mode is off.
    pub failsafe: Option<FailsafeStatus>,
    /// The network interfaces that carry VIPs or are tracked.
    pub interfaces: Vec<InterfaceStatus>,
    /// Each VIP, those that follow the primary first.
    pub vips: Vec<VipStatus>,
    /// Why lists of clients cannot be given away or taken, if that is so.
    pub clients_trouble: Option<String>,
    /// Counters that belong to no single VIP.
    pub counters: NodeCounters,
}

impl Status {
    /// The same picture, looked at a while after it was taken: everything in it is older by then, and what is to come nearer.
    #[must_use]
    pub fn after(&self, passed: Duration) -> Self {
        let mut picture = self.clone();
        let older = |age: &mut Option<Duration>| *age = age.map(|age| age + passed);
        picture.age += passed;
        picture.uptime += passed;
        picture.config.age += passed;
        older(&mut picture.config.refusal_age);
        picture.etcd.iter_mut().for_each(|etcd| older(&mut etcd.age));
        picture.postgres.iter_mut().for_each(|postgres| older(&mut postgres.age));
        if let Some(failsafe) = &mut picture.failsafe {
            older(&mut failsafe.age);
        }
        for vip in &mut picture.vips {
            vip.since += passed;
            if let Some(lock) = &mut vip.lock {
                older(&mut lock.waiting);
                older(&mut lock.proof_age);
                lock.deadline_in = lock.deadline_in.map(|left| left.saturating_sub(passed));
            }
            if let Some(list) = vip.clients.as_mut().and_then(|clients| clients.list.as_mut()) {
                list.age += passed;
            }
            vip.peers.iter_mut().for_each(|peer| older(&mut peer.age));
            vip.moves.iter_mut().for_each(|done| done.age += passed);
        }
        picture
    }

    /// Whether the next process could go on where this one ends.
    ///
    /// # Errors
    /// Why it could not: what it would have to find out at once is not to be found out now, and the VIP would leave this node
    /// with its lifetime.
    pub fn is_fit_for_handover(&self) -> Result<(), String> {
        self.vips.iter().filter(|vip| vip.held).try_for_each(|vip| self.is_fit_with(vip))
    }

    fn is_fit_with(&self, vip: &VipStatus) -> Result<(), String> {
        let (etcd, postgres) = match (&self.etcd, &self.postgres) {
            (Some(etcd), Some(postgres)) if vip.follows == FollowsLabel::Primary => (etcd, postgres),
            _ => return Err(format!("{} would leave this node: VRRP's election begins in Backup", vip.address)),
        };
        let hindrance = if vip.phase != PhaseLabel::Active {
            format!("it is {}: {}", vip.phase.as_str(), vip.why)
        } else if let Some(error) = &etcd.error {
            format!("etcd does not answer ({error}), so the next process could not prove that the VIP may stay")
        } else if !is_fresh(etcd.age) {
            format!("etcd has not answered for {:.1?}", etcd.age.unwrap_or_default())
        } else if vip.reason == "holding_paused" {
            "there is no leader key while Patroni is paused, and without it no process binds the VIP anew".to_owned()
        } else if postgres.role != Some(Role::Primary) {
            "PostgreSQL does not say now that it is primary, so the next process would not renew the VIP".to_owned()
        } else if !is_fresh(postgres.age) {
            format!("PostgreSQL has not answered for {:.1?}", postgres.age.unwrap_or_default())
        } else {
            return Ok(());
        };
        Err(format!("{} would leave this node: {hindrance}", vip.address))
    }
}

/// Both are asked once a second, and the picture itself may be a second old: a healthy age is below 2.1 s or so. What has been
/// silent for longer may not answer the next process either.
fn is_fresh(age: Option<Duration>) -> bool {
    age.is_some_and(|age| age < Duration::from_secs(3))
}

//! Draws the node's [`Status`].

use std::time::Duration;

use vrrp::router::State;
use vrrp::time::Instant;

use super::status::{
    EtcdStatus, FailsafeStatus, InterfaceStatus, LockStatus, NodeCounters, PostgresStatus, RouterLabel, Status,
    VipStatus,
};
use super::vip::Vip;
use super::{Node, Surroundings};
use crate::gate::policy::Fence;
use crate::node::lock::holder_name;

impl Node {
    /// The node as it is now.
    pub fn status(&self, now: Instant) -> Status {
        let etcd = self.etcd.latest();
        let leader = etcd.and_then(|etcd| etcd.leader.as_ref());
        let postgres = self.postgres.as_ref();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            node: self.me.member.clone(),
            taken: now.since(Instant::ZERO),
            age: Duration::ZERO,
            uptime: now.since(self.started),
            etcd: EtcdStatus {
                age: etcd.map(|etcd| now.since(etcd.asked)),
                endpoint: etcd.map(|etcd| etcd.endpoint.clone()),
                error: self.etcd.error.clone(),
                revision: etcd.map_or(0, |etcd| etcd.revision),
                leader: leader.map(|leader| leader.member.clone()),
                leader_is_me: leader.is_some_and(|leader| leader.member == self.me.member),
                epoch: leader.map(|leader| leader.create_revision),
                patroni: etcd.and_then(|etcd| etcd.config).map(Into::into),
                system_identifier: etcd.and_then(|etcd| etcd.system_identifier.clone()),
            },
            postgres: PostgresStatus {
                age: postgres.map(|report| now.since(report.asked)),
                role: postgres.map(|report| report.role),
                detail: postgres.map(|report| report.detail.clone()).unwrap_or_default(),
                system_identifier: postgres.and_then(|report| report.system_identifier.clone()),
            },
            failsafe: self.asking_patroni.as_ref().map(|url| {
                let report = self.patroni.as_ref();
                let answer = report.and_then(|report| report.answer.as_ref().ok());
                FailsafeStatus {
                    url: url.clone(),
                    age: report.map(|report| now.since(report.asked)),
                    primary: answer.is_some_and(|answer| answer.primary),
                    active: answer.is_some_and(|answer| answer.failsafe_active),
                    error: report.and_then(|report| report.answer.as_ref().err().cloned()),
                }
            }),
            interface: InterfaceStatus {
                name: self.kernel.interface.clone(),
                index: self.kernel.link.map(|link| link.index),
                up: self.kernel.link.is_some_and(|link| link.up),
                primary_address: self.kernel.primary_address(),
            },
            vips: self.vips.iter().map(|vip| vip.status(&self.surroundings(now))).collect(),
            counters: NodeCounters {
                discards: self.discards.counts(),
                stalls: self.stalls,
                etcd_errors: self.etcd.errors,
                etcd_rebuilt: self.etcd.rebuilt,
                resyncs: self.kernel.resyncs,
            },
        }
    }
}

impl Vip {
    fn status(&self, around: &Surroundings<'_>) -> VipStatus {
        let now = around.evidence.now;
        let settings = &self.settings;
        let held = self.lock.held();
        let key = around.evidence.etcd.and_then(|etcd| etcd.locks.get(self.id.0)).and_then(Option::as_ref);
        VipStatus {
            name: settings.name.clone(),
            address: settings.address,
            prefix_len: settings.prefix_len,
            virtual_router_id: settings.virtual_router_id.get(),
            held: self.is_confirmed() && around.kernel.is_in_place(settings.address, settings.prefix_len),
            gate_open: self.is_bound(),
            phase: self.phase_label(around.kernel),
            reason: self.reason.label(),
            why: self.reason.to_string(),
            router: match self.router.state() {
                State::Initialize => RouterLabel::Initialize,
                State::Backup => RouterLabel::Backup,
                State::Active => RouterLabel::Active,
            },
            armed: held.is_some() && !self.is_bound(),
            since: now.since(self.armed_since().unwrap_or(self.phase_since)),
            lock: LockStatus {
                fence: match around.evidence.policy.fence {
                    Fence::Lock => "lock",
                    Fence::LeaderKey => "leader_key",
                },
                holder: held.map(|_| around.me.member.clone()).or_else(|| key.map(holder_name)),
                mine: held.is_some(),
                waiting: self.record.waiting.map(|since| now.since(since)),
                ttl: held.map(|held| Duration::from_secs(held.ttl)),
                deadline_in: held.map(|held| held.stays_until(&around.evidence).since(now)),
                proof_age: held.map(|held| now.since(held.proven)),
            },
            peers: self.peers.status(now),
            moves: self.record.moves(now),
            counters: self.record.counters.clone(),
        }
    }
}

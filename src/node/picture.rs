//! Draws the node's [`Status`].

use std::collections::BTreeSet;
use std::time::Duration;

use vrrp::time::Instant;

use super::election::Election;
use super::status::{
    ClientsStatus, EtcdStatus, FailsafeStatus, FollowsLabel, InterfaceStatus, ListStatus, LockStatus, NodeCounters,
    PostgresStatus, Status, VipStatus, VrrpStatus,
};
use super::vip::Vip;
use super::{InterfaceId, Node, Surroundings};
use crate::gate::evidence::VipId;
use crate::gate::policy::Fence;
use crate::node::io::VipClients;
use crate::node::lock::holder_name;

impl Node {
    /// The node as it is now.
    pub fn status(&self, now: Instant) -> Status {
        self.picture(now, |_| true)
    }

    /// The same with one VIP alone: what a line about it is founded on.
    pub fn status_of(&self, now: Instant, vip: VipId) -> Status {
        self.picture(now, |id| id == vip)
    }

    fn picture(&self, now: Instant, shown: impl Fn(VipId) -> bool) -> Status {
        let around = self.surroundings(now);
        let vips = self.vips.iter().filter(|vip| shown(vip.id));
        let vips = vips.map(|vip| vip.status(&around, self.clients.vips.get(vip.id.0)));
        let elections = self.elections.iter().filter(|election| shown(election.id));
        let elections = elections.map(|election| election.status(&around));
        let follows_primary = !self.vips.is_empty();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            node: self.me.member.clone(),
            taken: now.since(Instant::ZERO),
            age: Duration::ZERO,
            uptime: now.since(self.started),
            observing: false,
            stopping: self.stopping,
            config: self.reloads.status(now),
            etcd: follows_primary.then(|| self.etcd_status(now)),
            postgres: follows_primary.then(|| self.postgres_status(now)),
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
            interfaces: self.interfaces().into_iter().map(|interface| self.interface_status(interface)).collect(),
            vips: vips.chain(elections).collect(),
            clients_trouble: self.clients.trouble.clone(),
            counters: NodeCounters {
                client_lists_refused: self.clients.refused.clone(),
                discards: self.discards.counts(),
                stalls: self.stalls,
                etcd_errors: self.etcd.errors,
                etcd_rebuilt: self.etcd.rebuilt,
                resyncs: self.kernel.resyncs,
            },
        }
    }

    fn etcd_status(&self, now: Instant) -> EtcdStatus {
        let etcd = self.etcd.latest();
        let leader = etcd.and_then(|etcd| etcd.leader.as_ref());
        EtcdStatus {
            age: etcd.map(|etcd| now.since(etcd.asked)),
            endpoint: etcd.map(|etcd| etcd.endpoint.clone()),
            error: self.etcd.error.clone(),
            revision: etcd.map_or(0, |etcd| etcd.revision),
            leader: leader.map(|leader| leader.member.clone()),
            leader_is_me: leader.is_some_and(|leader| leader.member == self.me.member),
            epoch: leader.map(|leader| leader.create_revision),
            patroni: etcd.and_then(|etcd| etcd.config).map(Into::into),
            system_identifier: etcd.and_then(|etcd| etcd.system_identifier.clone()),
        }
    }

    fn postgres_status(&self, now: Instant) -> PostgresStatus {
        let postgres = self.postgres.as_ref();
        PostgresStatus {
            age: postgres.map(|report| now.since(report.asked)),
            role: postgres.map(|report| report.role),
            detail: postgres.map(|report| report.detail.clone()).unwrap_or_default(),
            system_identifier: postgres.and_then(|report| report.system_identifier.clone()),
        }
    }

    /// Those that VIPs are on, or that are tracked; there may have been others.
    fn interfaces(&self) -> BTreeSet<InterfaceId> {
        let vips = self.vips.iter().map(|vip| &vip.settings);
        let all = vips.chain(self.elections.iter().map(|election| &election.settings));
        all.flat_map(|vip| [vip.interface, vip.carrier()].into_iter().chain(vip.follows.tracked().iter().copied()))
            .collect()
    }

    fn interface_status(&self, interface: InterfaceId) -> InterfaceStatus {
        let link = self.kernel.link(interface);
        InterfaceStatus {
            name: self.kernel.name(interface).to_owned(),
            index: link.map(|link| link.index),
            up: link.is_some_and(|link| link.up),
            sources: self.kernel.sources(interface),
        }
    }
}

impl Vip {
    fn status(&self, around: &Surroundings<'_>, clients: Option<&VipClients>) -> VipStatus {
        let now = around.evidence.now;
        let settings = &self.settings;
        let held = self.lock.held();
        let key = around.evidence.etcd.and_then(|etcd| etcd.locks.get(self.id.0)).and_then(Option::as_ref);
        VipStatus {
            id: self.id,
            name: settings.name.clone(),
            follows: FollowsLabel::Primary,
            address: settings.address(),
            addresses: settings.addresses.clone(),
            interface: around.kernel.name(settings.interface).to_owned(),
            virtual_router_id: settings.virtual_router_id.get(),
            held: self.is_confirmed() && around.kernel.is_in_place(settings),
            gate_open: self.is_bound(),
            drained: self.drained,
            phase: self.phase_label(around.kernel),
            reason: self.reason.label(),
            why: self.reason.to_string(),
            router: self.router.state().into(),
            vrrp: VrrpStatus::of(&self.router),
            armed: held.is_some() && !self.is_bound(),
            since: now.since(self.armed_since().unwrap_or(self.phase_since)),
            lock: Some(LockStatus {
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
            }),
            peers: self.peers.status(now, settings),
            clients: Some(clients.map(|clients| clients_status(now, clients)).unwrap_or_default()),
            moves: self.record.moves(now),
            // Whoever runs them says so.
            hooks: None,
            observed: None,
            counters: self.record.counters.clone(),
        }
    }
}

impl Election {
    fn status(&self, around: &Surroundings<'_>) -> VipStatus {
        let now = around.evidence.now;
        let settings = &self.settings;
        VipStatus {
            id: self.id,
            name: settings.name.clone(),
            follows: FollowsLabel::None,
            address: settings.address(),
            addresses: settings.addresses.clone(),
            interface: around.kernel.name(settings.interface).to_owned(),
            virtual_router_id: settings.virtual_router_id.get(),
            held: self.is_confirmed() && around.kernel.is_in_place(settings),
            gate_open: self.is_bound(),
            drained: self.drained,
            phase: self.phase_label(),
            reason: self.label(),
            why: self.why(),
            router: self.router.state().into(),
            vrrp: VrrpStatus::of(&self.router),
            armed: false,
            since: now.since(self.since()),
            lock: None,
            peers: self.peers.status(now, settings),
            clients: None,
            moves: self.record.moves(now),
            // Whoever runs them says so.
            hooks: None,
            observed: None,
            counters: self.record.counters.clone(),
        }
    }
}

fn clients_status(now: Instant, clients: &VipClients) -> ClientsStatus {
    let list = clients.list.as_ref();
    ClientsStatus {
        connected: clients.connected,
        lists_sent: clients.sent,
        lists_received: clients.received,
        list: list.map(|list| ListStatus { from: list.from.clone(), clients: list.clients, age: now.since(list.at) }),
    }
}

//! etcd: one history of revisions, leases judged by the leader's clock, members that may lag behind or be cut off.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use pgvrrp::gate::evidence::{
    Expect, LeaderKey, LeaseId, LockHolder, LockKey, LockValue, Member, Observation, PatroniConfig,
};
use vrrp::time::Instant;

use super::clock::{Nanos, S};
use super::kernel::VIP;
use super::sabotage::{Model, removed};

/// The lease of a key that has none.
const NO_LEASE: LeaseId = 0;

/// The longest that a daemon may hold by a lock of an etcd that is not there any more.
const LONGEST_BELIEF: Nanos = 34 * S;

/// A lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) ttl: i64,
    pub(crate) ends: Nanos,
}

/// One member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    /// Its answers take this much longer.
    pub(crate) slow: Nanos,
    /// It has applied nothing since this state.
    pub(crate) lagging: Option<Box<State>>,
    /// Cut off from the others.
    pub(crate) cut: bool,
}

/// What is stored at one revision.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) cluster_id: u64,
    pub(crate) revision: i64,
    /// K, and the lease it lives by.
    pub(crate) leader: Option<(LeaderKey, LeaseId)>,
    /// V, and that of each other VIP, by the address that it is called after.
    pub(crate) locks: BTreeMap<IpAddr, LockKey>,
    pub(crate) config: PatroniConfig,
    /// ... and whether it can be read. Patroni itself goes by what it knows.
    pub(crate) configured: bool,
    /// `initialize` is there.
    pub(crate) initialized: bool,
    /// Patroni's `members/`: which host registered last under a name.
    pub(crate) registered: BTreeMap<String, Ipv4Addr>,
}

impl State {
    /// The same cluster's, before anybody held anything.
    pub(crate) fn emptied(&self) -> Self {
        Self { revision: 10, leader: None, locks: BTreeMap::new(), registered: BTreeMap::new(), ..self.clone() }
    }
}

/// The cluster.
#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) state: State,
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    next_lease: LeaseId,
    pub(crate) parts: Vec<Part>,
    /// Until then there is no leader, or no etcd at all: nothing is answered.
    pub(crate) leaderless_until: Nanos,
    /// When it was last rebuilt from a backup, and whether it got another cluster ID by that.
    pub(crate) restored: Option<Nanos>,
    pub(crate) renamed: bool,
    /// When leases were last prolonged by an election.
    pub(crate) elected_at: Nanos,
    /// Linearizable reads of a lagging member are stale.
    pub(crate) stale_reads: bool,
    /// From when until when members lagged, or lag.
    pub(crate) lagged: (Nanos, Nanos),
    /// When somebody last deleted V by hand, or restored etcd: until D of that time V is no fence.
    pub(crate) tampered: Option<Nanos>,
    /// The TTL that V had then.
    pub(crate) tampered_ttl: Nanos,
    /// What an older backup holds.
    pub(crate) backup: Option<Box<State>>,
}

/// For each VIP of a node the address that its lock is called after.
pub(crate) type Keys = Rc<[IpAddr]>;

/// A request of pgvrrp's.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Keep(LeaseId),
    /// Everything, as the member of this name.
    Read(String, Keys),
    /// How long does this lease live?
    Left(LeaseId),
    Grant(u64),
    Put {
        lock: IpAddr,
        value: LockValue,
        expect: Expect,
        lease: LeaseId,
    },
    Revoke(LeaseId),
}

/// Its answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Kept(i64),
    Read(Box<Observation>),
    Left(Option<u64>),
    Granted(LeaseId, i64),
    Put { mod_revision: i64, cluster_id: u64 },
    Refused,
    Revoked,
}

impl Etcd {
    pub(crate) fn new(members: usize, config: PatroniConfig, stale_reads: bool) -> Self {
        Self {
            state: State {
                cluster_id: 1,
                revision: 100,
                leader: None,
                locks: BTreeMap::new(),
                config,
                configured: true,
                initialized: true,
                registered: BTreeMap::new(),
            },
            leases: BTreeMap::new(),
            next_lease: 1000,
            parts: vec![Part::default(); members],
            leaderless_until: 0,
            restored: None,
            renamed: false,
            elected_at: 0,
            stale_reads,
            lagged: (0, 0),
            tampered: None,
            tampered_ttl: 0,
            backup: None,
        }
    }

    /// Carries out a request at member `part`. `None`: the member cannot answer now.
    pub(crate) fn carry_out(&mut self, now: Nanos, part: usize, ask: &Ask) -> Option<Answer> {
        let at = &self.parts[part];
        if let Ask::Read(name, keys) = ask
            && let Some(old) = &at.lagging
            && (self.stale_reads || removed(Model::Linearizable))
        {
            return Some(Answer::Read(Box::new(observe(old, name, keys, part))));
        }
        if at.cut || now < self.leaderless_until || (at.lagging.is_some() && matches!(ask, Ask::Read(..))) {
            return None;
        }
        Some(match ask {
            Ask::Keep(lease) => Answer::Kept(self.keep(now, *lease).unwrap_or(0)),
            Ask::Read(name, keys) => Answer::Read(Box::new(observe(&self.state, name, keys, part))),
            Ask::Left(lease) => Answer::Left(self.leases.get(lease).map(|lease| lease.ends.saturating_sub(now) / S)),
            Ask::Grant(ttl) => {
                let ttl = i64::try_from(*ttl).unwrap_or(i64::MAX);
                Answer::Granted(self.grant(now, ttl), ttl)
            }
            Ask::Put { lock, value, expect, lease } => {
                self.put(*lock, value, *expect, *lease).map_or(Answer::Refused, |mod_revision| Answer::Put {
                    mod_revision,
                    cluster_id: self.state.cluster_id,
                })
            }
            Ask::Revoke(lease) => {
                self.drop_lease(*lease);
                Answer::Revoked
            }
        })
    }

    pub(crate) fn grant(&mut self, now: Nanos, ttl: i64) -> LeaseId {
        self.next_lease += 1;
        self.leases.insert(self.next_lease, Lease { ttl, ends: now + ttl as u64 * S });
        self.next_lease
    }

    /// Renews a lease; its TTL, or `None` if it is gone.
    pub(crate) fn keep(&mut self, now: Nanos, lease: LeaseId) -> Option<i64> {
        let lease = self.leases.get_mut(&lease)?;
        lease.ends = now + lease.ttl as u64 * S;
        Some(lease.ttl)
    }

    /// A lease is gone, and what lived by it.
    pub(crate) fn drop_lease(&mut self, lease: LeaseId) {
        if self.leases.remove(&lease).is_none() {
            return;
        }
        let k = self.state.leader.as_ref().is_some_and(|(_, of)| *of == lease);
        let v = self.state.locks.values().any(|lock| lock.lease == lease);
        if k || v {
            self.state.revision += 1;
        }
        if k {
            self.set_leader(None);
        }
        if v {
            self.state.locks.retain(|_, lock| lock.lease != lease);
        }
    }

    fn put(&mut self, lock: IpAddr, value: &LockValue, expect: Expect, lease: LeaseId) -> Option<i64> {
        let leads = self.state.leader.as_ref().is_some_and(|(k, _)| {
            k.member == value.member && (removed(Model::Epoch) || k.create_revision == value.epoch)
        });
        let as_expected = match (expect, self.state.locks.get(&lock)) {
            (Expect::Absent, lock) => lock.is_none(),
            (Expect::Mine(revision), Some(lock)) => lock.mod_revision == revision,
            (Expect::Mine(_), None) => false,
        };
        let fence = (leads || removed(Model::FenceLeader)) && (as_expected || removed(Model::FenceLock));
        if !fence || !self.leases.contains_key(&lease) {
            return None;
        }
        self.state.revision += 1;
        let mod_revision = self.state.revision;
        self.state.locks.insert(lock, LockKey { mod_revision, lease, holder: LockHolder::Known(value.clone()) });
        Some(mod_revision)
    }

    /// V as no daemon puts it: without a lease, in no format that is known or in the name of a member that does not exist.
    pub(crate) fn forge_lock(&mut self, unreadable: bool) {
        self.state.revision += 1;
        let nobody = || LockValue {
            format: LockValue::FORMAT,
            member: "db9".to_owned(),
            boot_id: "boot900".to_owned(),
            incarnation: "inc900".to_owned(),
            epoch: self.state.revision,
        };
        let holder = if unreadable { LockHolder::Unknown("somebody".to_owned()) } else { LockHolder::Known(nobody()) };
        self.state.locks.insert(VIP.into(), LockKey { mod_revision: self.state.revision, lease: NO_LEASE, holder });
    }

    pub(crate) fn remove_forged_lock(&mut self) {
        if self.state.locks.values().any(|lock| lock.lease == NO_LEASE) {
            self.state.revision += 1;
            self.state.locks.retain(|_, lock| lock.lease != NO_LEASE);
        }
    }

    /// Patroni puts K, or it goes.
    pub(crate) fn set_leader(&mut self, member: Option<(&str, LeaseId)>) {
        self.state.revision += 1;
        let create_revision = self.state.revision;
        self.state.leader = member.map(|(member, lease)| {
            (LeaderKey { member: member.to_owned(), create_revision, lease, remaining: None }, lease)
        });
    }

    pub(crate) fn leads(&self, member: &str) -> bool {
        self.state.leader.as_ref().is_some_and(|(k, _)| k.member == member)
    }

    /// A new leader prolongs every lease to its full TTL and a second.
    pub(crate) fn elected(&mut self, now: Nanos) {
        for lease in self.leases.values_mut() {
            lease.ends = now + lease.ttl as u64 * S + S;
        }
    }

    /// etcd is rebuilt from the backup: leases come back with their full TTL, those granted since are gone.
    pub(crate) fn restore(&mut self, now: Nanos, new_id: bool) {
        let Some(backup) = self.backup.clone() else { return };
        let known: Vec<_> = backup
            .leader
            .iter()
            .map(|(_, lease)| *lease)
            .chain(backup.locks.values().map(|lock| lock.lease))
            .filter(|lease| *lease != NO_LEASE)
            .collect();
        self.leases.retain(|lease, _| known.contains(lease));
        for lease in known {
            self.leases.entry(lease).or_insert(Lease { ttl: 20, ends: 0 });
        }
        let cluster_id = self.state.cluster_id + u64::from(new_id);
        // Patroni puts `initialize` back, and its configuration.
        self.state = State { cluster_id, initialized: true, configured: true, ..*backup };
        self.elected(now);
        // What one that kept its ID may lead to is not over with the next.
        let recent = self.restored.is_some_and(|at| now < at + LONGEST_BELIEF);
        (self.restored, self.renamed) = (Some(now), new_id && (self.renamed || !recent));
        for part in &mut self.parts {
            part.lagging = None;
        }
    }
}

fn observe(state: &State, name: &str, keys: &[IpAddr], part: usize) -> Observation {
    let address = state.registered.get(name);
    Observation {
        asked: Instant::ZERO,
        endpoint: format!("etcd{part}"),
        cluster_id: state.cluster_id,
        revision: state.revision,
        leader: state.leader.as_ref().map(|(leader, lease)| LeaderKey { lease: *lease, ..leader.clone() }),
        locks: keys.iter().map(|key| state.locks.get(key).cloned()).collect(),
        config: state.configured.then_some(state.config),
        system_identifier: state.initialized.then(|| "42".to_owned()),
        member: address.map(|address| Member {
            host: address.to_string(),
            addresses: vec![(*address).into()],
            api_url: Some("http://patroni".to_owned()),
        }),
        member_key: format!("/service/odoo/members/{name}"),
    }
}

//! The promises, looked at in every step.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pgvrrp::gate::evidence::{Acquisition, EtcdReport, EtcdRequest, LockHolder, Observation, VipId};
use pgvrrp::gate::policy::{Fence, Paused, PostgresDown};
use pgvrrp::gate::reason::Reason;
use pgvrrp::node::io::{Input, Output};
use pgvrrp::node::{Node, VipSettings, lock_address};

use super::clock::{MS, Nanos, S};
use super::etcd::{Answer, Ask};
use super::failsafe::VOUCHED;
use super::kernel::{Bound, VIP};
use super::postgres::State;
use super::process::Gate;
use super::world::{Host, Served, World};

/// How long a bound address may outlive a PostgreSQL that is primary no more: 100 ms until the asker decides, 100 ms of
/// drain, 50 ms for resets, on a clock that is 10 % slow.
pub(crate) const DRAIN: Nanos = 300 * MS;

/// A daemon that does not run has lost the address by then: 3 s, 1 s of the kernel's lateness, on a slow clock; and a second
/// for which its last call may have been kept waiting.
const DEAD: Nanos = 5_600 * MS;

/// What was asked more than 2 s ago binds nothing; before that a daemon may act upon it, a tenth of a second after it
/// decided that, by a call that the kernel keeps waiting for a second. On a clock that is 10 % slow.
const UNNOTICED: Nanos = 3_450 * MS;

/// What a daemon has read in etcd, as far as the checks need it.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// The last good read's cluster and revision, and how many in a row were older.
    last: Option<(u64, i64)>,
    older: u32,
    /// When it first read anything.
    first: Option<Nanos>,
    /// By lock, the revision that its own last put made: what is older says nothing about it.
    put: BTreeMap<IpAddr, i64>,
    /// By lock: when it read that it may not hold, and what idle was then.
    denied: BTreeMap<IpAddr, (Nanos, Nanos)>,
}

impl Reads {
    /// Takes a read. Two in a row that are older than what was read before, or one of another cluster, are another etcd's.
    fn take(&mut self, now: Nanos, read: &Observation) -> Read {
        self.first.get_or_insert(now);
        let next = (read.cluster_id, read.revision);
        let same = self.last.is_none_or(|(cluster, _)| cluster == next.0);
        let newer = self.last.is_none_or(|(_, revision)| revision <= next.1);
        if same && !newer && self.older == 0 {
            self.older = 1;
            return Read::Older;
        }
        (self.last, self.older) = (Some(next), 0);
        if same && newer { Read::Good } else { Read::Rebuilt }
    }
}

/// What a VIP's lock is called after.
fn lock_of(vip: &VipSettings) -> IpAddr {
    lock_address(&vip.addresses).unwrap_or_else(|| VIP.into())
}

enum Read {
    Good,
    Older,
    Rebuilt,
}

impl World {
    /// The longest that a daemon may believe in a V that somebody took away: TTL, on a slow clock. With the failsafe mode
    /// V's TTL is up to 30 s.
    fn belief(&self) -> Nanos {
        if self.etcd.state.config.failsafe_mode { 34 * S } else { 20 * S }
    }

    /// From the moment that nothing is wrong any more and a primary holds K, until the VIP is bound there.
    fn liveness(&self) -> Nanos {
        self.belief() + 20 * S
    }

    /// V was taken away by hand: for as long as somebody may believe in it, it is no fence.
    fn fence_is_down(&self) -> bool {
        if self.two_primaries && (0..self.hosts.len()).any(|h| self.is_vouched(h)) {
            return true;
        }
        if self.plan.policy.fence == Fence::LeaderKey {
            return false;
        }
        // An old etcd may go on showing it for as long as a member lags that has not seen it go.
        let shown = self.etcd.tampered.is_some_and(|at| at >= self.etcd.lagged.0);
        (shown && self.reads_are_stale()) || self.was_tampered() || (self.was_restored() && !self.is_remembered())
    }

    /// An old etcd answers from what a lagging member has, and a node may believe that for a while longer.
    fn reads_are_stale(&self) -> bool {
        self.etcd.stale_reads && self.now < self.etcd.lagged.1 + self.belief()
    }

    /// A member will lag for so long.
    pub(crate) fn note_lag(&mut self, span: Nanos) {
        let (since, until) = self.etcd.lagged;
        let since = if self.now < until + self.belief() { since } else { self.now };
        self.etcd.lagged = (since, until.max(self.now + span));
    }

    /// Whether what keeps others away is this node's.
    fn is_fenced(&self, h: usize, lock: IpAddr) -> bool {
        let mine = match self.plan.policy.fence {
            Fence::Lock => self.lock_is_of(h, lock),
            Fence::LeaderKey => self.etcd.leads(&self.hosts[h].name),
        };
        mine || self.is_vouched(h)
    }

    fn was_tampered(&self) -> bool {
        self.etcd.tampered.is_some_and(|at| self.now < at + self.belief())
    }

    fn was_restored(&self) -> bool {
        self.etcd.restored.is_some_and(|at| self.now < at + self.belief())
    }

    /// etcd was rebuilt in a way that a daemon which lives on can notice: those wait until every former holder has let
    /// go. Not a daemon that first reads etcd afterwards, and not if revisions catch up with what was known
    /// (docs/SIMULATION.md).
    fn is_remembered(&self) -> bool {
        let knows = |host: &Host| host.reads.first.is_none_or(|first| Some(first) < self.etcd.restored);
        self.etcd.renamed && self.hosts.iter().all(knows)
    }

    /// Two primaries by Patroni's failsafe mode: until one of them is so no more, and nobody vouches for it.
    fn audit_two_primaries(&mut self) {
        let may_serve =
            |host: &Host| matches!(host.pg.state, State::Primary | State::Promoting) || self.etcd.leads(&host.member);
        if !self.two_primaries || self.hosts.iter().filter(|host| may_serve(host)).count() > 1 {
            self.two_primaries_at = self.now;
        }
        self.two_primaries &= self.now < self.two_primaries_at + VOUCHED;
    }

    /// S1, and the fence behind it: V outlives the address. Of each address for itself, whatever VIP it belongs to where.
    pub(crate) fn check_holders(&mut self) {
        let now = self.now;
        if self.fence_is_down() {
            return;
        }
        let hosts = self.hosts.iter().enumerate();
        let held: Vec<_> = hosts.flat_map(|(h, host)| host.kernel.held(now).map(move |bound| (h, *bound))).collect();
        for (nth, (h, bound)) in held.iter().enumerate() {
            let twice = held.iter().take(nth).find(|(o, other)| o != h && other.address == bound.address);
            if let Some((first, _)) = twice {
                let how = format!("{} is bound here and on db{}", bound.address, first + 1);
                return self.fail(*h, "S1", &how);
            }
        }
        if self.was_restored() {
            return;
        }
        let free = |(h, bound): &&(usize, Bound)| bound.right.is_some_and(|lock| !self.is_fenced(*h, lock));
        if let Some((h, bound)) = held.iter().find(free) {
            let how = format!("{} is bound, and the fence is not this node's: another could take it", bound.address);
            self.fail(*h, "S1f", &how);
        }
    }

    /// An address is not bound by one right while it is still here by another. By which one a predecessor bound it cannot be
    /// seen; no other node has it by another, which the operator sees to.
    pub(crate) fn check_right(&mut self, h: usize, vip: &VipSettings) {
        let (lock, host) = (lock_address(&vip.addresses), &self.hosts[h]);
        let by_another = |bound: &&Bound| bound.bound_in == host.life && bound.right != lock;
        let other = host.kernel.held(self.now).filter(by_another).find(|bound| vip.has(bound.address));
        if let Some(bound) = other {
            let how = format!("{} is bound by {lock:?} while it is here by {:?}", bound.address, bound.right);
            self.fail(h, "S1f", &how);
        }
    }

    /// S5 and S6.
    pub(crate) fn check_outputs(&mut self, h: usize, vips: usize, outputs: &[Output]) {
        if outputs.len() > 12 * vips.max(1) {
            self.fail(h, "S5", &format!("{} outputs for one input", outputs.len()));
        }
        let mut removed: Vec<VipId> = Vec::new();
        for output in outputs {
            match output {
                Output::Unbind { vip } => removed.push(*vip),
                Output::Bind { vip, .. } => removed.retain(|gone| gone != vip),
                Output::Advertise { vip, priority: 0, .. } if !removed.contains(vip) => {
                    self.fail(h, "S6", "the goodbye comes before the address is removed");
                }
                _ => {}
            }
        }
    }

    pub(crate) fn check_request(&mut self, h: usize, request: &EtcdRequest) {
        if let EtcdRequest::Revoke { lease, .. } = request
            && let Some((address, _)) = self.etcd.state.locks.iter().find(|(_, lock)| lock.lease == *lease)
            && self.hosts[h].kernel.holds_by(self.now, *address)
        {
            self.fail(h, "S6", "V's lease is revoked while the address is bound");
        }
    }

    /// V is put only by the holder of K, in K's present epoch, and over nobody else's.
    pub(crate) fn check_put(&mut self, h: usize, ask: &Ask, answer: &Answer) {
        let (Ask::Put { value, .. }, Answer::Put { .. }) = (ask, answer) else { return };
        let epoch = self.etcd.state.leader.as_ref().map(|(leader, _)| (leader.member.clone(), leader.create_revision));
        if epoch != Some((value.member.clone(), value.epoch)) {
            self.fail(h, "P2", "V was acquired without K, or for a former epoch of it");
        }
    }

    /// S3, S6.
    pub(crate) fn check_advert(&mut self, h: usize, vip: &VipSettings, priority: u8, timely: bool) {
        let lock = lock_of(vip);
        if priority == 0 {
            // What a predecessor left of another list is another matter: the lock waits for it.
            let of_it = |bound: &Bound| vip.present_and_former().any(|net| net.addr() == bound.address);
            if self.hosts[h].known_held(self.now).any(|bound| bound.right == Some(lock) && of_it(bound)) {
                self.fail(h, "S6", "goodbye while the address is bound");
            }
        } else {
            self.hosts[h].served.entry(lock).or_default().advertised_at = Some(self.now);
            if timely {
                self.check_claim(h, vip, "advert");
            }
        }
    }

    pub(crate) fn check_announcement(&mut self, h: usize, vip: &VipSettings, timely: bool) {
        self.hosts[h].served.entry(lock_of(vip)).or_default().announced_at = Some(self.now);
        if timely {
            self.check_claim(h, vip, "announcement");
        }
    }

    fn check_claim(&mut self, h: usize, vip: &VipSettings, what: &str) {
        if self.fence_is_down() {
            return;
        }
        let others = (0..self.hosts.len()).filter(|o| *o != h);
        let holds = |o: &usize| self.hosts[*o].kernel.held(self.now).any(|bound| vip.has(bound.address));
        if let Some(other) = others.into_iter().find(holds) {
            return self.fail(h, "S3", &format!("{what} while db{} holds", other + 1));
        }
        if !self.is_fenced(h, lock_of(vip)) && !self.was_restored() {
            return self.fail(h, "S3", &format!("{what} without the fence"));
        }
        let kernel = &self.hosts[h].kernel;
        let foreign = kernel.removed_by_others.is_some_and(|at| self.now < at + 5 * S);
        if !kernel.vips().any(|bound| vip.has(bound.address)) && !foreign && what == "announcement" {
            self.fail(h, "S3", "announcement of an address that is not bound");
        }
    }

    /// Binding anew, not renewing, needs a PostgreSQL that is primary: now, but for what is on its way.
    pub(crate) fn check_bind(&mut self, h: usize) {
        let host = &self.hosts[h];
        let pg = &host.pg;
        // The end of a session may go unnoticed for 105 ms, and the daemon hears nothing while it does not run; a call that
        // the kernel keeps waiting is a part of that. Answers of the former session are void.
        let idle = self.idle(h) - host.idle_at_change;
        let tolerated = 120 * MS + idle.min(UNNOTICED);
        // A renewal that crosses with somebody's removal binds anew; the policy allows the address on a server that is down.
        let held = pg.state == State::Down && host.in_force.policy.postgres_down == PostgresDown::Hold;
        if !pg.is_primary() && !held && self.now > pg.since + tolerated {
            let how =
                format!("bound anew, and PostgreSQL has been {:?} for {} ms", pg.state, (self.now - pg.since) / MS);
            self.fail(h, "S2", &how);
        }
    }

    /// What a call bound that came too late is gone by the process's next instruction.
    pub(crate) fn check_late_bind(&mut self, h: usize) {
        let late = std::mem::take(&mut self.hosts[h].bound_late);
        if late.is_some() && self.hosts[h].kernel.vips().any(|bound| !bound.foreign && bound.right == late) {
            self.fail(h, "S2", "bound by a call that came too late, and left so");
        }
    }

    /// A machine that slept: after the first pass that began since, what is still bound has to be so by right. Not what a
    /// daemon left that was killed meanwhile: its lifetime, which stood still, ends it.
    pub(crate) fn end_excuse_of_sleep(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        // One that was refused just before the sleep is tried again just after it: its outcome is learned only then.
        let refused = host.unbind_refused.is_some_and(|at| at + S >= host.suspended_since);
        // What a predecessor bound, who was killed when the host had just slept, ends with its lifetime.
        let inherited = host.bound_in != host.life;
        if host.slept != Some((host.life, true)) || refused || inherited {
            return;
        }
        host.slept = None;
        for bound in &mut host.kernel.addresses {
            if let (Some(ends), false, true) = (bound.ends, bound.foreign, bound.bound_in == host.life) {
                bound.sound_until = ends + host.clock.span(S);
            }
        }
        if self.hosts[h].kernel.holds(self.now) {
            self.count("bound after a sleep, and checked again");
        }
        self.check_holders();
    }

    /// V is lost only when it is.
    pub(crate) fn check_lost(&mut self, h: usize, vip: VipId, node: &Node) {
        let is_deleted = |why: &Reason| matches!(why, Reason::LockLost(how) if how == "it was deleted");
        let deleted = node.gates().any(|(id, _, why)| id == vip && is_deleted(why));
        let lock = self.hosts[h].in_force.vips.get(vip.0).map(lock_of);
        if deleted && lock.is_some_and(|lock| self.lock_is_of(h, lock)) && !self.was_tampered() && !self.was_restored()
        {
            self.fail(h, "L", "V was let go of as if it had been deleted, and is still there");
        }
    }

    /// What a daemon is told by etcd.
    pub(crate) fn note_read(&mut self, h: usize, input: &Input) {
        let now = self.now;
        let Input::Etcd(report) = input else { return };
        match report {
            EtcdReport::Acquire { vip, outcome: Acquisition::Acquired { mod_revision, .. } } => {
                let lock = self.hosts[h].in_force.vips.get(vip.0).map(lock_of);
                self.hosts[h].reads.put.extend(lock.map(|lock| (lock, *mod_revision)));
            }
            EtcdReport::Round { observation: Ok(read), .. } => {
                let in_force = self.hosts[h].in_force.clone();
                let locks = || in_force.vips.iter().enumerate().map(|(id, vip)| (id, lock_of(vip)));
                let denied: Vec<_> = match self.hosts[h].reads.take(now, read) {
                    Read::Good => {
                        let put = |lock: &IpAddr| self.hosts[h].reads.put.get(lock).copied().unwrap_or(0);
                        let said = locks().filter(|(_, lock)| read.revision >= put(lock));
                        said.filter(|(id, _)| self.denies(h, *id, read)).collect()
                    }
                    Read::Older => Vec::new(),
                    Read::Rebuilt => locks().collect(),
                };
                let idle = self.idle(h);
                for (_, lock) in denied {
                    self.hosts[h].reads.denied.entry(lock).or_insert((now, idle));
                }
            }
            _ => {}
        }
    }

    /// Whether a read says that this node may not hold.
    fn denies(&self, h: usize, vip: usize, read: &Observation) -> bool {
        let (host, policy) = (&self.hosts[h], self.hosts[h].in_force.policy);
        let k = match &read.leader {
            Some(leader) => leader.member != host.name,
            None if policy.fence == Fence::LeaderKey => true,
            None => {
                let paused = read.config.is_some_and(|config| config.paused) && policy.paused == Paused::Hold;
                !paused && !self.is_vouched(h)
            }
        };
        // What was asked before the askers knew of it says nothing of it.
        let Some(lock) = read.locks.get(vip) else { return false };
        let v = lock.as_ref().is_some_and(|lock| match &lock.holder {
            LockHolder::Known(value) => self.is_value_of(h, value),
            LockHolder::Unknown(_) => false,
        });
        k || (policy.fence == Fence::Lock && !v)
    }

    /// What etcd denied is gone at once, as far as the daemon runs and the kernel obeys.
    fn audit_denied(&mut self, h: usize) {
        for (lock, denied) in self.hosts[h].reads.denied.clone() {
            self.audit_denied_by(h, lock, denied);
        }
    }

    fn audit_denied_by(&mut self, h: usize, lock: IpAddr, (at, idle): (Nanos, Nanos)) {
        let host = &self.hosts[h];
        let since = host.served.get(&lock).map_or(0, |served| served.held_since);
        let held = host.known_held(self.now).any(|bound| bound.right == Some(lock));
        if host.process.is_none() || since > at || !held {
            self.hosts[h].reads.denied.remove(&lock);
            return;
        }
        let ran = (self.now - at) - (self.idle(h) - idle).min(self.now - at);
        let refused = host.unbind_refused.is_some_and(|refused| refused >= at);
        if ran > if refused { DEAD } else { DRAIN } {
            self.fail(
                h,
                "S2",
                &format!(
                    "read that K or V is not this node's, or that etcd is another one, and held for {} ms",
                    ran / MS
                ),
            );
        }
    }

    /// A daemon that holds hears that somebody else claims the address.
    pub(crate) fn note_claim(&mut self, h: usize, input: &Input, gates: &[Gate]) {
        let Input::Claim { interface, address, .. } = input else { return };
        let vips = &self.hosts[h].in_force.vips;
        let is = |id: &VipId| {
            vips.get(id.0).is_some_and(|vip| vip.has(*address) && vip.interface == *interface && vip.has(VIP.into()))
        };
        let bound = gates.iter().any(|(id, phase, _)| is(id) && matches!(*phase, "active" | "draining"));
        if bound && self.hosts[h].challenged.is_none() {
            self.hosts[h].challenged = Some((self.now, self.idle(h)));
        }
    }

    /// What it heard is answered, while it holds and runs.
    fn audit_challenged(&mut self, h: usize) {
        let host = &self.hosts[h];
        let Some((at, idle)) = host.challenged else { return };
        let lock = host
            .in_force
            .vips
            .iter()
            .find(|vip| !vip.retired && vip.has(VIP.into()))
            .map_or_else(|| VIP.into(), lock_of);
        let served = host.served.get(&lock).copied().unwrap_or_default();
        let answered = served.announced_at.is_some_and(|announced| announced >= at);
        let held = host.kernel.holds_by(self.now, lock);
        if answered || host.process.is_none() || served.held_since > at || !held {
            self.hosts[h].challenged = None;
            return;
        }
        let ran = (self.now - at) - (self.idle(h) - idle).min(self.now - at);
        if ran > 5 * S {
            self.fail(h, "P5", "somebody claims the address, and the holder has not announced it again");
        }
    }

    /// PostgreSQL became primary, or ceased to be.
    pub(crate) fn postgres_changed(&mut self, h: usize) {
        let idle = self.idle(h);
        self.hosts[h].idle_at_change = idle;
    }

    /// What time alone can break, ten times a second.
    pub(crate) fn audit(&mut self) {
        for h in 0..self.hosts.len() {
            if self.hosts[h].known_held(self.now).next().is_some() {
                self.audit_holder(h);
            } else {
                self.hosts[h].right = 0;
            }
            self.audit_denied(h);
            self.audit_challenged(h);
            self.audit_strays(h);
            self.audit_former(h);
            self.audit_stuck(h);
            if !self.hosts[h].kernel.addresses.iter().any(|a| a.address == self.hosts[h].address) && self.hosts[h].up {
                self.fail(h, "S4", "the host's own address is gone");
            }
        }
        self.audit_two_primaries();
        self.audit_liveness();
        self.check_holders();
        self.after(100 * MS, Self::audit);
    }

    fn audit_holder(&mut self, h: usize) {
        let host = &self.hosts[h];
        // A standby that says nothing about itself is not known (P6); a question takes 500 ms to be given up. One
        // that is answered late is no silence afterwards.
        let until = (host.pg.hangs_until + 700 * MS).max(host.pg.full_until + 200 * MS);
        let until = until.max(host.pg.slow_until + 200 * MS);
        // A thread that is stuck does not hear it when it speaks.
        let silent = self.now < until || self.idle_since(h).is_some_and(|since| since < until);
        let idle_now = self.idle(h);
        let host = &mut self.hosts[h];
        if silent {
            host.silent_last = (self.now, idle_now);
        }
        let host = &self.hosts[h];
        let excused = match host.pg.state {
            State::Down => host.in_force.policy.postgres_down == PostgresDown::Hold,
            _ => silent,
        };
        if !host.pg.is_primary() && !excused {
            // By another configuration it may have been allowed until that changed, and for as long as nothing was known.
            let since = host.pg.since.max(host.told_since.0).max(host.silent_last.0);
            let gone = self.now - since;
            let idle = (idle_now - host.idle_at_change.max(host.told_since.1).max(host.silent_last.1)).min(gone);
            let ran = gone - idle;
            // The lifetime ends what the kernel will not remove.
            let refused = host.unbind_refused.is_some_and(|at| at >= host.pg.since) && ran <= DEAD;
            // Left by a predecessor, and PostgreSQL does not say a word: the lifetime ends it.
            // Another server that speaks in its place is asked once a second.
            let mute = silent || self.now < host.pg.other_server_until + 1200 * MS;
            let inherited = |bound: &Bound| bound.bound_in != host.life && self.now < bound.bound_at + DEAD;
            let left = mute && host.known_held(self.now).all(inherited);
            let may_run = if left { DEAD } else { DRAIN };
            // The kernel of a suspended host removes nothing; it does when the host has woken.
            let woke = self.now > host.suspended_until + DEAD;
            if (ran > may_run && !refused) || (idle > DEAD && woke) {
                let how = format!(
                    "PostgreSQL has been {:?} for {} ms, of which the daemon ran {}",
                    host.pg.state,
                    gone / MS,
                    ran / MS
                );
                return self.fail(h, "S2", &how);
            }
        }
        let paused = self.etcd.state.config.paused && self.etcd.state.leader.is_none();
        if self.etcd.leads(&host.name) || paused || self.is_vouched(h) || self.hosts[h].right == 0 {
            self.hosts[h].right = self.now;
        }
        if self.now > self.hosts[h].right + self.belief() && !self.reads_are_stale() {
            self.fail(h, "S2", "K has not been this node's for longer than V lives");
        }
        // A proof is a keepalive that was asked before a read that still showed V.
        let fresh = self.now > self.etcd.tampered.unwrap_or(0) + self.etcd.tampered_ttl;
        // A restored etcd may have another V, or none: that is another story.
        let excused = self.plan.policy.fence == Fence::LeaderKey
            || self.is_vouched(h)
            || self.was_restored()
            || self.reads_are_stale();
        let host = &self.hosts[h];
        let lost = |bound: &Bound| bound.right.is_some_and(|lock| !self.lock_is_of(h, lock));
        let lost = host.kernel.held(self.now).any(lost);
        if lost && self.etcd.tampered.is_some() && fresh && !excused {
            self.fail(h, "S2", "V was taken away, and the address is still here");
        }
    }

    /// An address that somebody else put here.
    fn audit_strays(&mut self, h: usize) {
        let host = &self.hosts[h];
        // One that waits for what is left of another does not look after its addresses yet.
        let begun = host.process.iter().flat_map(|process| process.node.gates()).map(|(id, ..)| id.0);
        let begun: Vec<_> = begun.filter_map(|id| host.in_force.vips.get(id)).filter(|vip| !vip.retired).collect();
        let configured = |address: IpAddr| begun.iter().any(|vip| vip.has(address));
        let foreign = host.kernel.vips().any(|bound| bound.foreign && configured(bound.address));
        let stays = foreign && self.hosts[h].unbind_refused.is_none_or(|at| self.now > at + S);
        match (stays && self.idle_since(h).is_none(), self.hosts[h].stray_since) {
            (true, None) => self.hosts[h].stray_since = Some((self.now, self.idle(h))),
            (true, Some((since, idle))) => {
                if (self.now - since) - (self.idle(h) - idle).min(self.now - since) > 5 * S {
                    self.fail(h, "P7", "an address without the right to it stays");
                }
            }
            (false, _) => self.hosts[h].stray_since = None,
        }
    }

    /// A daemon that is stuck must not keep others waiting.
    fn audit_stuck(&mut self, h: usize) {
        let Some(since) = self.idle_since(h) else { return };
        // A question that was under way is asked to the end.
        let since = since.max(self.etcd.elected_at).max(self.etcd.leaderless_until).max(self.hosts[h].kept_at);
        let locks = || self.etcd.state.locks.keys().any(|lock| self.lock_is_of(h, *lock));
        if self.now > since + self.belief() + 10 * S && locks() && !self.was_tampered() {
            self.fail(h, "L", "V outlives a daemon that does not run");
        }
    }

    fn audit_liveness(&mut self) {
        let rightful = (0..self.hosts.len()).find(|&h| {
            let host = &self.hosts[h];
            host.up && host.pg.is_primary() && self.etcd.leads(&host.member) && self.now >= host.pg.hangs_until
        });
        let since = match (self.rightful, rightful) {
            (Some((h, since)), Some(now)) if h == now => since,
            _ => self.now,
        };
        self.rightful = rightful.map(|h| (h, since));
        let Some(h) = rightful else { return };
        let misnamed = self.hosts[h].name != self.hosts[h].member;
        if self.now <= self.healed || self.plan.has_clone() || misnamed {
            return;
        }
        let waited = self.now - since.max(self.healed);
        let host = &self.hosts[h];
        let known = |vip: &VipSettings| host.served.get(&lock_of(vip)).is_some_and(Served::is_told);
        let held = |vip: &VipSettings| {
            let mut addresses = vip.addresses.iter().map(ipnet::IpNet::addr);
            addresses.all(|address| host.kernel.held(self.now).any(|bound| bound.address == address))
        };
        if host.file.vips.iter().all(|vip| held(vip) && known(vip)) {
            return;
        }
        self.longest_wait = self.longest_wait.max(waited);
        if waited > self.liveness() {
            let status = self.hosts[h].process.as_ref().map(|p| p.node.status(self.local(h)));
            let why: Vec<_> = status.iter().flat_map(|status| &status.vips).map(|vip| vip.why.clone()).collect();
            self.fail(
                h,
                "L",
                &format!("primary with K for {} s, and the VIP is not here, or nobody was told: {why:?}", waited / S),
            );
        }
    }
}

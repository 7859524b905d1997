//! The world: one master time, one queue of what happens next, and all the parts.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use pgvrrp::gate::evidence::{EtcdReport, LeaseId, LockHolder, LockValue};
use pgvrrp::node::io::Input;
use pgvrrp::node::{Identity, Settings, VipSettings, lock_address};
use vrrp::time::Instant;

use super::asker::Then;
use super::checks::Reads;
use super::clock::{Clock, MS, Nanos, S};
use super::dice::Dice;
use super::etcd::{Etcd, Keys};
use super::kernel::{Bound, Kernel, VIP, shown};
use super::lan::Lan;
use super::operator::File;
use super::patroni::Patroni;
use super::plan::{Fault, Plan};
use super::postgres::{Postgres, State};
use super::process::{Inbox, Process, Told};
use super::sum::Way;

/// Something that will happen: what is due first comes first, and of two at one moment the one that was planned first.
struct Event {
    when: Nanos,
    sequence: u64,
    what: Box<dyn FnOnce(&mut World)>,
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.when, other.sequence).cmp(&(self.when, self.sequence))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Event {}

/// What a daemon has done for one of its VIPs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    /// Since when it has been bound by a pgvrrp.
    pub(crate) held_since: Nanos,
    /// When it was last announced and advertised from here.
    pub(crate) announced_at: Option<Nanos>,
    pub(crate) advertised_at: Option<Nanos>,
}

impl Served {
    /// The segment has been told since it was bound.
    pub(crate) fn is_told(&self) -> bool {
        let told = |at: Option<Nanos>| at.is_some_and(|at| at >= self.held_since);
        told(self.announced_at) && told(self.advertised_at)
    }
}

/// One machine.
#[derive(Debug)]
pub(crate) struct Host {
    /// Patroni's.
    pub(crate) member: String,
    /// `node` in pgvrrp's configuration.
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    /// pgvrrp's configuration, as it is on its disk.
    pub(crate) file: File,
    /// Which change of it came last.
    pub(crate) edition: u64,
    /// What of it the daemon has read, what its askers go by, and what its node and its actuator do.
    pub(crate) settings: Rc<Settings>,
    pub(crate) keys: Keys,
    pub(crate) in_force: Rc<Settings>,
    /// When `[policy]` last changed under the daemon, or it was told of another address; and what idle was then.
    pub(crate) told_since: (Nanos, Nanos),
    /// Since when an address has been here that is not configured any more, and what idle was then.
    pub(crate) former_since: BTreeMap<IpAddr, (Nanos, Nanos)>,
    pub(crate) up: bool,
    pub(crate) boot: u64,
    pub(crate) incarnation: u64,
    pub(crate) clock: Clock,
    pub(crate) kernel: Kernel,
    /// When each client that is connected to the VIP leaves by itself: soon, once PostgreSQL has said goodbye.
    pub(crate) clients: Vec<Nanos>,
    pub(crate) process: Option<Process>,
    pub(crate) inbox: Inbox,
    /// Moves on with each start and each end of the daemon.
    pub(crate) life: u64,
    /// When it will look what there is to do.
    pub(crate) wakes: Option<Nanos>,
    /// After so many instructions it pauses for so long.
    pub(crate) pause_in: Option<(u32, Nanos)>,
    pub(crate) stopped_until: Nanos,
    pub(crate) stopped_whole: bool,
    pub(crate) suspended_since: Nanos,
    pub(crate) suspended_until: Nanos,
    /// Which daemon, by its life, has not run since the machine slept; and whether a pass of it has begun since.
    pub(crate) slept: Option<(u64, bool)>,
    /// Time in which the daemon did not run: in all, and since when.
    idle: Nanos,
    idle_since: Option<Nanos>,
    pub(crate) unbind_refused: Option<Nanos>,
    /// What [`World::idle`] was when PostgreSQL became, or ceased to be, primary.
    pub(crate) idle_at_change: Nanos,
    /// When a bound address was last seen to have a right to be here, as far as K goes.
    pub(crate) right: Nanos,
    /// In which life the daemon last bound an address.
    pub(crate) bound_in: u64,
    /// By a call that came too late, and it has not been undone: by right of which lock.
    pub(crate) bound_late: Option<IpAddr>,
    /// By lock.
    pub(crate) served: BTreeMap<IpAddr, Served>,
    /// When PostgreSQL last said nothing that could be known, and for how long the daemon had not run by then.
    pub(crate) silent_last: (Nanos, Nanos),
    /// When the daemon heard another's claim to it, and what idle was then.
    pub(crate) challenged: Option<(Nanos, Nanos)>,
    /// What the daemon has read in etcd.
    pub(crate) reads: Reads,
    /// Since when a VIP that somebody else put here has been here, and what idle was then.
    pub(crate) stray_since: Option<(Nanos, Nanos)>,
    // Its way to etcd.
    pub(crate) preferred: usize,
    pub(crate) cut_requests: bool,
    pub(crate) cut_answers: bool,
    pub(crate) silent_watch: bool,
    /// Its resolver knows no member's name.
    pub(crate) unresolved: bool,
    pub(crate) late_answers: VecDeque<(LeaseId, i64)>,
    pub(crate) usual_lease: Option<LeaseId>,
    /// When a round last sent a keepalive.
    pub(crate) kept_at: Nanos,
    pub(crate) pg: Postgres,
    pub(crate) patroni: Patroni,
}

impl Host {
    /// In the order in which they are asked; taken from the end.
    pub(crate) fn endpoints(&self, members: usize) -> Vec<usize> {
        (0..members).rev().map(|offset| (self.preferred + offset) % members).collect()
    }

    pub(crate) fn life_is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The daemon has read this.
    pub(crate) fn adopt(&mut self, settings: Settings) {
        let lock = |vip: &VipSettings| lock_address(&vip.addresses).unwrap_or_else(|| VIP.into());
        self.keys = settings.vips.iter().map(lock).collect();
        self.settings = Rc::new(settings);
    }

    /// The addresses that are bound here and that the daemon knows of. What else is, a predecessor left, who knew another
    /// configuration: its lifetime ends that.
    pub(crate) fn known_held(&self, now: Nanos) -> impl Iterator<Item = &Bound> {
        self.kernel.held(now).filter(|bound| self.knows(bound))
    }

    /// Whether anything that the daemon knows of is bound here by right of this lock.
    pub(crate) fn has_bound_by(&self, right: IpAddr) -> bool {
        let by = |bound: &&Bound| !bound.foreign && bound.right == Some(right);
        self.kernel.vips().filter(by).any(|bound| self.knows(bound))
    }

    fn knows(&self, bound: &Bound) -> bool {
        let mut all = self.in_force.vips.iter().flat_map(VipSettings::present_and_former);
        all.any(|net| net.addr() == bound.address)
    }

    /// Who a daemon is that runs here now.
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            member: self.name.clone(),
            boot_id: format!("boot{}", self.boot),
            incarnation: format!("inc{}", self.incarnation),
        }
    }

    /// What was done for the VIP that every world begins with.
    #[cfg(test)]
    pub(crate) fn served(&self) -> Served {
        self.served.get(&IpAddr::V4(VIP)).copied().unwrap_or_default()
    }
}

/// Everything.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    pub(crate) now: Nanos,
    queue: BinaryHeap<Event>,
    sequence: u64,
    /// Events at one moment.
    spins: u32,
    pub(crate) hosts: Vec<Host>,
    pub(crate) etcd: Etcd,
    pub(crate) lan: Lan,
    /// What the operator wants every node to have, and wanted before that.
    pub(crate) wanted: File,
    pub(crate) wanted_before: File,
    pub(crate) calls: BTreeMap<u64, Then>,
    seen_epoch: Option<i64>,
    /// From then on a bind takes so long, and the daemon dies in it.
    pub(crate) dies_in_bind: Option<(Nanos, Nanos)>,
    /// Patroni itself has allowed two primaries.
    pub(crate) two_primaries: bool,
    /// When it was last so, or not at all.
    pub(crate) two_primaries_at: Nanos,
    /// The last moment of trouble.
    pub(crate) healed: Nanos,
    /// What was broken first.
    pub(crate) broken: Option<String>,
    loud: bool,
    tail: VecDeque<String>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// How often a node went from a phase, for a reason, to a phase.
    pub(crate) ways: BTreeMap<Way, u64>,
    pub(crate) faults: BTreeMap<Fault, u64>,
    pub(crate) passes: u64,
    pub(crate) binds: u64,
    pub(crate) rightful: Option<(usize, Nanos)>,
    pub(crate) longest_wait: Nanos,
    /// All that the nodes are told, if somebody wants to know.
    pub(crate) told: Option<Vec<(usize, Input)>>,
}

impl World {
    /// Host 0 leads, the others follow; the daemons start in a moment. `loud`: keep what happens, in words.
    pub(crate) fn new(plan: Plan, dice: Dice, loud: bool) -> Self {
        let etcd = Etcd::new(plan.members, plan.config, plan.stale_reads);
        let file = File::first(&plan);
        let nobody = Identity { member: String::new(), boot_id: String::new(), incarnation: String::new() };
        let settings = Rc::new(file.settings(nobody, &plan));
        let hosts = (0..plan.nodes).map(|h| {
            let address = Ipv4Addr::new(10, 0, 20, 11 + h as u8);
            Host {
                member: format!("db{}", h + 1),
                name: format!("db{}", h + 1),
                address,
                file: file.clone(),
                edition: 0,
                settings: settings.clone(),
                keys: Keys::default(),
                in_force: settings.clone(),
                told_since: (0, 0),
                former_since: BTreeMap::new(),
                up: true,
                boot: 100 * (h as u64 + 1),
                incarnation: 100 * (h as u64 + 1),
                clock: Clock::new(plan.rates[h], 0, (h as u64 + 1) * 1000 * S),
                kernel: Kernel::boot(address),
                clients: Vec::new(),
                process: None,
                inbox: Inbox::default(),
                life: 0,
                wakes: None,
                pause_in: None,
                stopped_until: 0,
                stopped_whole: false,
                suspended_since: 0,
                suspended_until: 0,
                slept: None,
                idle: 0,
                idle_since: Some(0),
                unbind_refused: None,
                idle_at_change: 0,
                right: 0,
                bound_in: 0,
                bound_late: None,
                served: BTreeMap::new(),
                silent_last: (0, 0),
                challenged: None,
                reads: Reads::default(),
                stray_since: None,
                preferred: 0,
                cut_requests: false,
                cut_answers: false,
                silent_watch: false,
                unresolved: false,
                late_answers: VecDeque::new(),
                usual_lease: None,
                kept_at: 0,
                pg: Postgres::new(if h == 0 { State::Primary } else { State::Standby }),
                patroni: Patroni::new(),
            }
        });
        let mut world = Self {
            hosts: hosts.collect(),
            healed: plan.trouble,
            etcd,
            lan: Lan::default(),
            wanted: file.clone(),
            wanted_before: file,
            plan,
            dice,
            now: 0,
            queue: BinaryHeap::new(),
            sequence: 0,
            spins: 0,
            calls: BTreeMap::new(),
            seen_epoch: None,
            dies_in_bind: None,
            two_primaries: false,
            two_primaries_at: 0,
            broken: None,
            loud,
            tail: VecDeque::new(),
            counts: BTreeMap::new(),
            ways: BTreeMap::new(),
            faults: BTreeMap::new(),
            passes: 0,
            binds: 0,
            rightful: None,
            longest_wait: 0,
            told: None,
        };
        if world.plan.has_clone() {
            let Host { member, incarnation, boot, .. } = &world.hosts[0];
            let (member, incarnation, boot) = (member.clone(), *incarnation, *boot);
            // A virtual machine was copied, or a container on the same kernel.
            let machine = world.dice.chance(500_000);
            let copy = &mut world.hosts[2];
            (copy.name, copy.member) = (member.clone(), member);
            if machine {
                copy.incarnation = incarnation;
            } else {
                copy.boot = boot;
            }
            world.befallen(Fault::Cloned);
        }
        if world.plan.faults.contains(&Fault::Misnamed) {
            world.hosts[1].name = world.hosts[0].member.clone();
            world.befallen(Fault::Misnamed);
        }
        for h in 0..world.hosts.len() {
            world.start_patroni(h);
            let delay = world.dice.between(MS, 5 * S);
            world.after(delay, move |w| w.start(h));
        }
        world.after(100 * MS, Self::audit);
        world
    }

    // ---- Time ---------------------------------------------------------------------------------------------------

    pub(crate) fn at(&mut self, when: Nanos, what: impl FnOnce(&mut Self) + 'static) {
        self.sequence += 1;
        self.queue.push(Event { when: when.max(self.now), sequence: self.sequence, what: Box::new(what) });
    }

    pub(crate) fn after(&mut self, delay: Nanos, what: impl FnOnce(&mut Self) + 'static) {
        self.at(self.now + delay, what);
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Runs until `end`, or until a promise is broken.
    pub(crate) fn run_until(&mut self, end: Nanos) {
        while self.broken.is_none() {
            if self.queue.peek().is_none_or(|event| event.when > end) {
                break;
            }
            let Some(Event { when, what, .. }) = self.queue.pop() else { break };
            self.spins = if when == self.now { self.spins + 1 } else { 0 };
            self.now = when;
            if self.spins > 100_000 {
                self.fail(0, "MODEL", "time stands still");
            }
            what(self);
        }
        if self.broken.is_none() {
            self.now = end;
        }
    }

    /// What the clock of this host shows.
    pub(crate) fn local(&self, h: usize) -> Instant {
        self.hosts[h].clock.read(self.now)
    }

    /// The daemon runs, or it does not.
    pub(crate) fn running(&mut self, h: usize, runs: bool) {
        let now = self.now;
        let host = &mut self.hosts[h];
        match (runs, host.idle_since) {
            (true, Some(since)) => {
                host.idle += now - since;
                host.idle_since = None;
            }
            (false, None) => host.idle_since = Some(now),
            _ => {}
        }
    }

    /// For how long the daemon has not run in all.
    pub(crate) fn idle(&self, h: usize) -> Nanos {
        let host = &self.hosts[h];
        host.idle + host.idle_since.map_or(0, |since| self.now - since)
    }

    pub(crate) fn idle_since(&self, h: usize) -> Option<Nanos> {
        self.hosts[h].idle_since
    }

    // ---- Words --------------------------------------------------------------------------------------------------

    /// One line: time, who, what.
    pub(crate) fn say(&mut self, who: &str, what: impl FnOnce() -> String) {
        if self.loud {
            let line = format!("{:>5}.{:09}  {who:<6} {}", self.now / S, self.now % S, what());
            if self.tail.len() >= 400_000 {
                self.tail.pop_front();
            }
            self.tail.push_back(line);
        }
    }

    pub(crate) fn who(&mut self, h: usize, what: impl FnOnce() -> String) {
        if self.loud {
            self.say(&format!("db{}", h + 1), what);
        }
    }

    pub(crate) fn take_tail(&mut self) -> VecDeque<String> {
        std::mem::take(&mut self.tail)
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn fail(&mut self, h: usize, promise: &str, how: &str) {
        if self.broken.is_none() {
            let text = format!("{promise}, db{}, at {}.{:09} s: {how}", h + 1, self.now / S, self.now % S);
            self.say("CHECK", || text.clone());
            self.broken = Some(text);
        }
    }

    // ---- Kernel -------------------------------------------------------------------------------------------------

    pub(crate) fn address_added(&mut self, h: usize, bound: Bound) {
        let seen = shown(&bound, self.now, &self.hosts[h].clock);
        self.tell_process(h, Told::Added(seen));
        self.await_end(h, bound);
        self.check_holders();
    }

    /// The kernel removes an address some time after its lifetime.
    pub(crate) fn await_end(&mut self, h: usize, bound: Bound) {
        let Some(ends) = bound.ends else { return };
        let late = self.hosts[h].clock.span(self.dice.below(self.plan.address_late));
        let boot = self.hosts[h].boot;
        self.at(ends + late, move |w| {
            let host = &mut w.hosts[h];
            let same =
                |known: &Bound| known.address == bound.address && known.link == bound.link && known.ends == Some(ends);
            if host.boot == boot && host.kernel.addresses.iter().any(same) {
                host.kernel.addresses.retain(|known| !same(known));
                w.who(h, || "= lifetime over, address gone".to_owned());
                w.count("ended by its lifetime");
                w.address_gone(h, bound);
            }
        });
    }

    fn address_gone(&mut self, h: usize, bound: Bound) {
        let seen = shown(&bound, self.now, &self.hosts[h].clock);
        self.tell_process(h, Told::Removed(seen));
    }

    /// Removes a VIP everywhere, or where it does not belong: everywhere besides the interface `keep`.
    pub(crate) fn remove_vip(&mut self, h: usize, vip: &VipSettings, keep: Option<u32>) -> usize {
        let gone = self.hosts[h].kernel.unbind(vip, keep);
        self.tell_of_removed(h, &gone)
    }

    pub(crate) fn tell_of_removed(&mut self, h: usize, gone: &[Bound]) -> usize {
        for bound in gone {
            self.who(h, || format!("= {} unbound from link {}", bound.address, bound.link));
            self.address_gone(h, *bound);
        }
        gone.len()
    }

    pub(crate) fn tell_process(&mut self, h: usize, told: Told) {
        let lost = self.dice.chance(self.plan.notice_lost);
        let host = &mut self.hosts[h];
        if lost || host.inbox.kernel.len() > 50 {
            self.count("notifications lost");
            self.hosts[h].inbox.kernel.push_back(Told::Lost);
        } else {
            host.inbox.kernel.push_back(told);
        }
        self.wake(h);
    }

    // ---- etcd ---------------------------------------------------------------------------------------------------

    /// The leader looks at leases twice a second, and a revocation goes through raft.
    pub(crate) fn await_expiry(&mut self, lease: LeaseId) {
        let Some(ends) = self.etcd.leases.get(&lease).map(|lease| lease.ends) else { return };
        let late = self.dice.below(self.plan.lease_late);
        self.at(ends + late, move |w| w.expire(lease, ends));
    }

    fn expire(&mut self, lease: LeaseId, ends: Nanos) {
        if self.etcd.leases.get(&lease).is_none_or(|lease| lease.ends != ends) {
            return;
        }
        if self.now < self.etcd.leaderless_until {
            // Whoever is elected prolongs it.
            return;
        }
        let before = self.etcd.state.revision;
        self.etcd.drop_lease(lease);
        self.say("etcd", || format!("lease {lease} has expired"));
        self.etcd_changed(before);
    }

    /// Nothing is answered for so long; then leases are prolonged.
    pub(crate) fn elect(&mut self, outage: Nanos) -> bool {
        let until = self.now + outage;
        if until <= self.etcd.leaderless_until {
            return false;
        }
        self.etcd.leaderless_until = until;
        self.say("etcd", || format!("no leader for {} ms", outage / MS));
        self.at(until, |w| {
            if w.now >= w.etcd.leaderless_until {
                w.etcd.elected(w.now);
                w.etcd.elected_at = w.now;
                w.say("etcd", || "a leader is elected".to_owned());
                let leases: Vec<_> = w.etcd.leases.keys().copied().collect();
                leases.into_iter().for_each(|lease| w.await_expiry(lease));
            }
        });
        true
    }

    /// Tells watchers, if anything changed since revision `before`.
    pub(crate) fn etcd_changed(&mut self, before: i64) {
        if self.etcd.state.revision == before {
            return;
        }
        for h in 0..self.hosts.len() {
            self.hint(h);
        }
        let epoch = self.etcd.state.leader.as_ref().map(|(leader, _)| leader.create_revision);
        if epoch != self.seen_epoch {
            self.seen_epoch = epoch;
            self.say("etcd", || "K changed".to_owned());
            self.wake_patronis();
        }
        self.say_etcd();
        self.check_holders();
    }

    fn say_etcd(&mut self) {
        if self.loud {
            let state = &self.etcd.state;
            let k = state.leader.as_ref().map_or("-", |(leader, _)| leader.member.as_str()).to_owned();
            let v: Vec<_> = state.locks.iter().map(|(address, lock)| format!("{address} {:?}", lock.holder)).collect();
            let v = v.join(", ");
            let revision = state.revision;
            self.say("etcd", || format!("revision {revision}: K {k}, V {v}"));
        }
    }

    pub(crate) fn hint(&mut self, h: usize) {
        let host = &self.hosts[h];
        if host.silent_watch || host.cut_answers || !host.life_is_running() {
            return;
        }
        let life = host.life;
        let way = self.dice.between(300_000, 20 * MS);
        self.after(way, move |w| {
            if w.hosts[h].life == life {
                w.hosts[h].inbox.etcd.push_back(EtcdReport::Hint);
                w.wake(h);
            }
        });
    }

    /// Patroni is asked to take the leadership from this host.
    pub(crate) fn tell_switchover(&mut self, from: usize) {
        let (leader, revision) = (self.hosts[from].member.clone(), self.etcd.state.revision);
        for h in 0..self.hosts.len() {
            let host = &self.hosts[h];
            if host.silent_watch || host.cut_answers || !host.life_is_running() {
                continue;
            }
            let (life, leader) = (host.life, Some(leader.clone()));
            self.after(2 * MS, move |w| {
                if w.hosts[h].life == life {
                    w.hosts[h].inbox.etcd.push_back(EtcdReport::Switchover { leader, revision });
                    w.wake(h);
                }
            });
        }
    }

    /// The asker opens another one after a pause, for as long as it takes. What happened meanwhile is not told by that: the
    /// creation of the stream, of each of its three keys, says "look again".
    pub(crate) fn watch_ended(&mut self, h: usize, life: u64) {
        let host = &self.hosts[h];
        if host.life != life {
            self.hosts[h].silent_watch = false;
            return;
        }
        let pause = host.clock.span(500 * MS);
        let pause = if host.stopped_whole { pause.max(host.stopped_until.saturating_sub(self.now)) } else { pause };
        self.after(pause, move |w| {
            let host = &w.hosts[h];
            let part = &w.etcd.parts[host.preferred];
            let deaf = host.cut_requests || host.cut_answers || part.cut || w.now < w.etcd.leaderless_until;
            if deaf && host.life == life {
                // A stream that does not stand within a second is given up.
                return w.after(S, move |w| w.watch_ended(h, life));
            }
            w.hosts[h].silent_watch = false;
            w.count("watch opened again after a compaction");
            for _ in 0..3 {
                w.hint(h);
            }
        });
    }

    /// A watch is opened anew once a minute.
    pub(crate) fn watch_again(&mut self, h: usize) {
        self.hint(h);
        let life = self.hosts[h].life;
        self.after(60 * S, move |w| {
            if w.hosts[h].life == life {
                w.hosts[h].silent_watch = false;
                w.watch_again(h);
            }
        });
    }

    /// A lock as it is, if a pgvrrp put it: member, boot, incarnation.
    pub(crate) fn lock_is_of(&self, h: usize, lock: IpAddr) -> bool {
        self.etcd.state.locks.get(&lock).is_some_and(|lock| match &lock.holder {
            LockHolder::Known(value) => self.is_value_of(h, value),
            LockHolder::Unknown(_) => false,
        })
    }

    pub(crate) fn is_value_of(&self, h: usize, value: &LockValue) -> bool {
        let host = &self.hosts[h];
        value.member == host.name
            && ends_with(&value.boot_id, host.boot)
            && ends_with(&value.incarnation, host.incarnation)
    }
}

/// Whether a name such as `boot301` is that of this number.
fn ends_with(name: &str, number: u64) -> bool {
    name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse() == Ok(number)
}

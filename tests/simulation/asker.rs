//! The asker of etcd, as `src/evidence/etcd` does it: one endpoint after the other, each request with a deadline.

use std::net::IpAddr;

use pgvrrp::gate::evidence::{
    Acquisition, EtcdReport, EtcdRequest, Expect, Kept, LeaseId, LockValue, Observation, Remaining, VipId,
};
use vrrp::time::Instant;

use super::clock::{MS, Nanos, S};
use super::etcd::{Answer, Ask, Keys};
use super::kernel::VIP;
use super::sabotage::{Model, removed};
use super::world::World;

/// `request_timeout`.
const LIMIT: Nanos = S;

/// How long an etcd member lets a request wait for a leader.
const PATIENCE: Nanos = 7 * S;

/// A round under way.
struct Round {
    h: usize,
    life: u64,
    keep_alive: Vec<(VipId, LeaseId)>,
    keys: Keys,
    /// Endpoints that have not been asked yet.
    left: Vec<usize>,
}

pub(crate) type Then = Box<dyn FnOnce(&mut World, Option<Answer>)>;

impl World {
    /// The daemon of this life on this host asks.
    pub(crate) fn ask_etcd(&mut self, h: usize, request: EtcdRequest) {
        let life = self.hosts[h].life;
        match request {
            EtcdRequest::Round { keep_alive, leader_lease } => {
                let left = self.hosts[h].endpoints(self.plan.members);
                // Those that were known when it began: a reload does not change what is under way.
                let keys = self.hosts[h].keys.clone();
                match leader_lease {
                    Some(lease) => self.round_by_leader_key(h, life, lease, keys, left),
                    None => self.round(Round { h, life, keep_alive, keys, left }),
                }
            }
            EtcdRequest::Acquire { vip, value, ttl, expect } => {
                let lock = self.hosts[h].keys.get(vip.0).copied().unwrap_or_else(|| VIP.into());
                self.acquire(h, life, (vip, lock), value, ttl, expect);
            }
            EtcdRequest::Revoke { vip, lease } => {
                let left = self.hosts[h].endpoints(self.plan.members);
                self.revoke(h, life, vip, lease, left);
            }
        }
    }

    fn round(&mut self, mut round: Round) {
        let (h, life) = (round.h, round.life);
        let Some(part) = round.left.pop() else {
            let observation = Err("no endpoint answers".to_owned());
            return self.report_etcd(h, life, EtcdReport::Round { kept: Vec::new(), observation });
        };
        self.hosts[h].preferred = part;
        if let (true, Some(&keep)) = (removed(Model::ReadAfterKeepalive), round.keep_alive.first()) {
            self.hosts[h].kept_at = self.now;
            return self.read_first(part, keep, round);
        }
        self.keep_next(part, Vec::new(), round);
    }

    /// One lease after the other, and then the read.
    fn keep_next(&mut self, part: usize, mut kept: Vec<Kept>, round: Round) {
        let (h, life) = (round.h, round.life);
        let asked = self.local(h);
        let Some(&(vip, lease)) = round.keep_alive.get(kept.len()) else {
            return self.read(part, kept, round);
        };
        self.hosts[h].kept_at = self.now;
        if removed(Model::OneKeepalive)
            && let Some((_, ttl)) = self.hosts[h].late_answers.pop_front().filter(|(of, _)| *of == lease)
        {
            // The stream of the former question hands its answer to this one.
            self.call(h, life, part, Ask::Keep(lease), Box::new(|_, _| {}));
            kept.push(Kept { vip, lease, asked, ttl });
            return self.keep_next(part, kept, round);
        }
        let then = move |w: &mut Self, answer: Option<Answer>| match answer {
            Some(Answer::Kept(ttl)) => {
                kept.push(Kept { vip, lease, asked, ttl });
                w.keep_next(part, kept, round);
            }
            _ => w.round(round),
        };
        self.call(h, life, part, Ask::Keep(lease), Box::new(then));
    }

    /// What is left of K's lease, and then the read.
    fn round_by_leader_key(&mut self, h: usize, life: u64, lease: LeaseId, keys: Keys, mut left: Vec<usize>) {
        let Some(part) = left.pop() else {
            let observation = Err("no endpoint answers".to_owned());
            return self.report_etcd(h, life, EtcdReport::Round { kept: Vec::new(), observation });
        };
        self.hosts[h].preferred = part;
        let asked = self.local(h);
        let then = move |w: &mut Self, answer: Option<Answer>| match answer {
            Some(Answer::Left(ttl)) => {
                let remaining = ttl.map(|ttl| Remaining { asked, ttl });
                let name = w.hosts[h].name.clone();
                let asked = w.local(h);
                let read = Ask::Read(name, keys.clone());
                let then = move |w: &mut Self, answer: Option<Answer>| match answer {
                    Some(Answer::Read(mut observation)) => {
                        observation.asked = asked;
                        w.resolve(h, &mut observation);
                        if let Some(leader) = observation.leader.as_mut().filter(|leader| leader.lease == lease) {
                            leader.remaining = remaining;
                        }
                        let observation = Ok(observation);
                        w.report_etcd(h, life, EtcdReport::Round { kept: Vec::new(), observation });
                    }
                    _ => w.round_by_leader_key(h, life, lease, keys, left),
                };
                w.call(h, life, part, read, Box::new(then));
            }
            _ => w.round_by_leader_key(h, life, lease, keys, left),
        };
        self.call(h, life, part, Ask::Left(lease), Box::new(then));
    }

    fn read(&mut self, part: usize, kept: Vec<Kept>, round: Round) {
        let (h, life) = (round.h, round.life);
        let asked = self.local(h);
        let read = Ask::Read(self.hosts[h].name.clone(), round.keys.clone());
        let then = move |w: &mut Self, answer: Option<Answer>| match answer {
            Some(Answer::Read(mut observation)) => {
                observation.asked = asked;
                w.resolve(h, &mut observation);
                w.report_etcd(h, life, EtcdReport::Round { kept, observation: Ok(observation) });
            }
            _ => w.round(round),
        };
        self.call(h, life, part, read, Box::new(then));
    }

    /// The asker looks the member's host up.
    fn resolve(&self, h: usize, observation: &mut Observation) {
        if let Some(member) = observation.member.as_mut().filter(|_| self.hosts[h].unresolved) {
            member.addresses.clear();
        }
    }

    /// The wrong order, for the sabotage.
    fn read_first(&mut self, part: usize, keep: (VipId, LeaseId), round: Round) {
        let (h, life) = (round.h, round.life);
        let read = Ask::Read(self.hosts[h].name.clone(), round.keys.clone());
        let asked = self.local(h);
        let then = move |w: &mut Self, answer: Option<Answer>| {
            let Some(Answer::Read(mut observation)) = answer else { return w.round(round) };
            observation.asked = asked;
            let (vip, lease) = keep;
            let asked = w.local(h);
            let then = move |w: &mut Self, answer: Option<Answer>| match answer {
                Some(Answer::Kept(ttl)) => {
                    let kept = vec![Kept { vip, lease, asked, ttl }];
                    w.report_etcd(h, life, EtcdReport::Round { kept, observation: Ok(observation) });
                }
                _ => w.round(round),
            };
            w.call(h, life, part, Ask::Keep(lease), Box::new(then));
        };
        self.call(h, life, part, read, Box::new(then));
    }

    fn acquire(
        &mut self,
        h: usize,
        life: u64,
        (vip, lock): (VipId, IpAddr),
        value: LockValue,
        ttl: u64,
        expect: Expect,
    ) {
        let part = self.hosts[h].preferred;
        let asked = self.local(h);
        let then = move |w: &mut Self, answer: Option<Answer>| match answer {
            Some(Answer::Granted(lease, granted)) => {
                let lease = w.reissue(h, lease);
                w.put(h, life, (vip, lock), (part, asked, lease, granted), value, expect);
            }
            _ => {
                w.next_endpoint(h);
                let outcome = Acquisition::Failed { reason: "no lease granted".to_owned() };
                w.report_etcd(h, life, EtcdReport::Acquire { vip, outcome });
            }
        };
        self.call(h, life, part, Ask::Grant(ttl), Box::new(then));
    }

    /// Whoever takes no fresh lease uses one ID for all.
    fn reissue(&mut self, h: usize, lease: LeaseId) -> LeaseId {
        if !removed(Model::FreshLease) {
            return lease;
        }
        let usual = *self.hosts[h].usual_lease.get_or_insert(lease);
        if let Some(granted) = self.etcd.leases.remove(&lease) {
            self.etcd.leases.insert(usual, granted);
        }
        self.await_expiry(usual);
        usual
    }

    fn put(
        &mut self,
        h: usize,
        life: u64,
        (vip, lock): (VipId, IpAddr),
        (part, asked, lease, ttl): (usize, Instant, LeaseId, i64),
        value: LockValue,
        expect: Expect,
    ) {
        let then = move |w: &mut Self, answer: Option<Answer>| {
            let outcome = match answer {
                Some(Answer::Put { mod_revision, cluster_id }) => {
                    Acquisition::Acquired { asked, lease, ttl, mod_revision, cluster_id: Some(cluster_id) }
                }
                Some(Answer::Refused) => Acquisition::Refused { lease },
                _ => {
                    w.next_endpoint(h);
                    Acquisition::Unknown { lease, reason: "the put was not answered".to_owned() }
                }
            };
            w.report_etcd(h, life, EtcdReport::Acquire { vip, outcome });
        };
        self.call(h, life, part, Ask::Put { lock, value, expect, lease }, Box::new(then));
    }

    fn revoke(&mut self, h: usize, life: u64, vip: VipId, lease: LeaseId, mut left: Vec<usize>) {
        let Some(part) = left.pop() else {
            let outcome = Err("no endpoint answers".to_owned());
            return self.report_etcd(h, life, EtcdReport::Revoke { vip, lease, outcome });
        };
        let then = move |w: &mut Self, answer: Option<Answer>| match answer {
            Some(_) => w.report_etcd(h, life, EtcdReport::Revoke { vip, lease, outcome: Ok(()) }),
            None => w.revoke(h, life, vip, lease, left),
        };
        self.call(h, life, part, Ask::Revoke(lease), Box::new(then));
    }

    /// The sabotage of an asker that keeps V's lease alive by itself.
    pub(crate) fn keep_by_itself(&mut self, h: usize, life: u64) {
        if self.hosts[h].life != life || !removed(Model::KeepaliveIsOutput) {
            return;
        }
        let own = self.etcd.state.locks.iter().filter(|(address, _)| self.lock_is_of(h, **address));
        let leases: Vec<_> = own.map(|(_, lock)| lock.lease).collect();
        for lease in leases {
            let part = self.hosts[h].preferred;
            self.call(h, life, part, Ask::Keep(lease), Box::new(|_, _| {}));
        }
        self.after(S, move |w| w.keep_by_itself(h, life));
    }

    fn next_endpoint(&mut self, h: usize) {
        self.hosts[h].preferred = (self.hosts[h].preferred + 1) % self.plan.members;
    }

    /// One request to one member, answered or given up after [`LIMIT`]. What was given up may still be carried out.
    fn call(&mut self, h: usize, life: u64, part: usize, ask: Ask, then: Then) {
        let id = self.next_id();
        self.calls.insert(id, then);
        let limit = self.hosts[h].clock.span(LIMIT);
        self.after(limit, move |w| w.end_call(h, life, id, None));
        if self.hosts[h].cut_requests || self.dice.chance(self.plan.request_lost) {
            return;
        }
        let way = self.dice.between(100_000, 2 * MS) + self.etcd.parts[part].slow;
        let way = if self.dice.chance(self.plan.answer_late) { way + self.dice.stretch(10 * MS, 3 * S) } else { way };
        let given_up = self.now + PATIENCE;
        self.after(way, move |w| w.arrive(h, life, part, ask, id, given_up));
    }

    fn arrive(&mut self, h: usize, life: u64, part: usize, ask: Ask, id: u64, given_up: Nanos) {
        let before = self.etcd.state.revision;
        let Some(answer) = self.etcd.carry_out(self.now, part, &ask) else {
            if self.now < given_up {
                self.after(50 * MS, move |w| w.arrive(h, life, part, ask, id, given_up));
            }
            return;
        };
        if !matches!(ask, Ask::Read(..)) {
            self.say(&format!("etcd{part}"), || format!("db{} {ask:?} -> {answer:?}", h + 1));
        }
        self.check_put(h, &ask, &answer);
        self.etcd_changed(before);
        match (&ask, &answer) {
            (Ask::Keep(lease), _) | (_, Answer::Granted(lease, _)) => self.await_expiry(*lease),
            _ => {}
        }
        if self.hosts[h].cut_answers || self.dice.chance(self.plan.answer_lost) {
            return;
        }
        let way = self.dice.between(100_000, 2 * MS) + self.etcd.parts[part].slow;
        let way = if self.dice.chance(self.plan.answer_late) { way + self.dice.stretch(10 * MS, 3 * S) } else { way };
        self.after(way, move |w| {
            if removed(Model::OneKeepalive)
                && !w.calls.contains_key(&id)
                && let (Ask::Keep(lease), Answer::Kept(ttl)) = (&ask, &answer)
            {
                w.hosts[h].late_answers.push_back((*lease, *ttl));
            }
            w.end_call(h, life, id, Some(answer));
        });
    }

    fn end_call(&mut self, h: usize, life: u64, id: u64, answer: Option<Answer>) {
        // The asker is part of the process: while that is stopped as a whole, the asker does not go on either.
        let host = &self.hosts[h];
        if host.life == life && host.stopped_until > self.now && host.stopped_whole {
            let until = host.stopped_until;
            return self.at(until, move |w| w.end_call(h, life, id, answer));
        }
        if let Some(then) = self.calls.remove(&id)
            && self.hosts[h].life == life
        {
            then(self, answer);
        }
    }

    fn report_etcd(&mut self, h: usize, life: u64, report: EtcdReport) {
        if self.hosts[h].life == life {
            self.hosts[h].inbox.etcd.push_back(report);
            self.wake(h);
        }
    }
}

//! Brings the address in line with the evidence: the same decision, computed anew in every pass.

use std::time::Duration;

use vrrp::router::Event;

use super::tickling::Tickling;
use super::{Claim, DISPLACE, DRAIN_PROBE, LOOK_AGAIN, Leaving, Phase, RENEW, Surroundings, Vip};
use crate::gate::deadline;
use crate::gate::evidence::Role;
use crate::gate::guard::{Guard, stands};
use crate::gate::policy::ForeignActive;
use crate::gate::reason::Reason;
use crate::gate::verdict::{Verdict, is_fresh, is_recent, patroni_config, verdict};
use crate::node::announcing::Announcing;
use crate::node::io::{Level, Output};

/// A renewal counts as made just before for so long: the slices of a long list follow each other within milliseconds.
const JUST_BEFORE: Duration = Duration::from_millis(20);

/// The TTL to ask for V's lease, in seconds.
fn lock_ttl(around: &Surroundings<'_>) -> u64 {
    deadline::lock_ttl(&patroni_config(around.evidence.etcd), around.evidence.policy.failsafe)
}

impl Vip {
    /// Brings the address and V in line with the evidence. Called after every input, and when a deadline has come.
    pub(in crate::node) fn advance(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        self.watch_for_split_brain(around, out);
        match self.phase {
            Phase::Closed | Phase::Displacing { .. } => self.advance_closed(around, out),
            Phase::Active { .. } => self.advance_active(around, out),
            Phase::Draining { .. } => self.advance_draining(around, out),
            Phase::Releasing { again: Some(again), .. } if again <= around.evidence.now => self.unbind(out),
            Phase::Releasing { .. } => {}
        }
        // An adopted address may still be here when the outcome of putting V anew turns out to be unknown.
        let absent = !around.kernel.is_present(&self.settings) || !stands(Guard::RevokeAbsent);
        if absent
            && around.leftover_until.is_none()
            && let Some(request) = self.lock.due(around.evidence.now, self.id)
        {
            out.push(Output::Etcd(request));
        }
        self.advertise(around, out);
        // Last: the next holder waits for the lock, and nobody for this.
        self.look_after_newcomers(around, out);
    }

    pub(super) fn advance_closed(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        // What has passed is no deadline any more, whatever else is still missing: the loop would spin on it.
        self.adopt_until = self.adopt_until.filter(|until| now < *until);
        self.refused = self.refused.take().filter(|(until, _)| now < *until);
        self.late = self.late.filter(|until| now < *until);
        self.acquire_failure = self.acquire_failure.take().filter(|failure| !failure.read || now < failure.again);
        if !around.kernel.is_known() {
            return self.explain(Reason::KernelUnasked, out);
        }
        let claim = self.claim(around);
        if matches!(self.phase, Phase::Displacing { .. }) && !matches!(claim, Claim::Open(_)) {
            self.leave_vrrp(around);
            self.enter(now, Phase::Closed);
        }
        if stands(Guard::Expel)
            && around.kernel.is_present(&self.settings)
            && matches!(self.phase, Phase::Closed)
            && !self.may_stay(around, &claim)
        {
            // Present without the right: somebody else put it here, or our predecessor left what is not ours to keep.
            self.adopt_until = None;
            self.enter(now, Phase::Releasing { again: None, what: Leaving::Stray });
            self.unbind(out);
            return;
        }
        match claim {
            Claim::Take(epoch, expect) => {
                self.record.claimed(now);
                let ttl = lock_ttl(around);
                out.push(Output::Etcd(self.lock.acquire(self.id, around.me, epoch, ttl, expect)));
                self.explain(Reason::Acquiring, out);
            }
            Claim::Hold => {
                let etcd = around.evidence.etcd;
                let asked = etcd.and_then(|etcd| etcd.leader.as_ref()).is_some_and(|key| key.remaining.is_some());
                if etcd.is_some_and(|etcd| self.lock.hold_by_leader_key(now, etcd)) {
                    self.record.claimed(now);
                    self.record.locked(now);
                    self.explain(Reason::PostgresUnasked, out);
                } else {
                    self.explain(if asked { Reason::Deadline } else { Reason::EtcdUnasked }, out);
                }
            }
            // The kernel is slow; hammering it makes it no faster.
            Claim::Open(reason) if self.late.is_some() => self.explain(reason, out),
            Claim::Open(reason) => self.open(around, reason, out),
            Claim::Wait(reason) => {
                self.tell_slow_promotion(now, &reason, out);
                self.explain(reason, out);
            }
            Claim::GiveUp(reason) => {
                // Nothing to unbind: the address is absent, or `may_stay` would have said no above.
                self.record.abandoned();
                self.lock.let_go(now);
                self.enter(now, Phase::Closed);
                self.explain(reason, out);
            }
            Claim::No(reason) => {
                if matches!(reason, Reason::LockHeld(_) | Reason::LockUnreadable(_)) {
                    self.record.claimed(now);
                    self.record.waiting.get_or_insert(now);
                } else {
                    self.record.abandoned();
                }
                self.clean_up_leftover(around, &reason);
                self.explain(reason, out);
            }
        }
    }

    /// The gate is open: bind, or make a foreign Active yield first.
    pub(super) fn open(&mut self, around: &Surroundings<'_>, reason: Reason, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        let wait = around.evidence.policy.foreign_active == ForeignActive::AdvertiseFirst;
        match self.phase {
            Phase::Closed if wait && self.peers.foreign_active(now) => {
                self.record.counters.displaced += 1;
                self.enter(now, Phase::Displacing { until: now + DISPLACE });
                let actions = self.router.handle(now, Event::Startup);
                self.carry_out(around, actions, out);
                self.explain(Reason::Displacing, out);
            }
            Phase::Displacing { until } if now < until && self.peers.foreign_active(now) => {}
            _ => {
                self.record.opened(now);
                self.told = reason.label();
                self.reason = reason;
                self.leave_vrrp(around);
                self.let_newcomers_in(out);
                if let Some(held) = self.lock.held()
                    && self.bind(around, held.deadline, out)
                {
                    let actions = self.router.handle(now, Event::Startup);
                    let (announcing, tickling) = (Announcing::begin(now), Tickling::default());
                    self.met_clients = false;
                    self.enter(now, Phase::Active { confirmed: false, renew: now + RENEW, announcing, tickling });
                    self.carry_out(around, actions, out);
                }
            }
        }
    }

    pub(super) fn advance_active(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        match self.verdict(around) {
            Verdict::Open(reason) => self.keep(around, reason, out),
            Verdict::Drain(reason) => {
                self.record.drain_began(now);
                let until = now + self.newcomers.drain();
                self.enter(now, Phase::Draining { until, probe: now, reason: reason.clone() });
                self.keep_newcomers_waiting(now, out);
                self.explain(reason, out);
                self.advance_draining(around, out);
            }
            Verdict::Armed(reason) | Verdict::Shut(reason) => self.release(around, reason, out),
        }
    }

    /// Keeps the address where it belongs, and nowhere else.
    pub(super) fn keep(&mut self, around: &Surroundings<'_>, reason: Reason, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        let ttl = lock_ttl(around);
        // Without K the put would be refused.
        let leads = around.evidence.etcd.and_then(|etcd| etcd.leader.as_ref());
        if leads.is_some_and(|leader| leader.member == around.me.member)
            && let Some(request) = self.lock.refresh(now, self.id, around.me, ttl)
        {
            out.push(Output::Etcd(request));
        }
        let Some(link) = around.kernel.place(&self.settings) else { return };
        if around.kernel.has_strays(&self.settings) && stands(Guard::Strays) {
            out.push(Output::UnbindStrays { vip: self.id, keep: link.index });
        }
        let missing = self.is_confirmed() && !around.kernel.is_in_place(&self.settings);
        // After a stall nothing is bound or announced before fresh evidence; that the hold itself ends is not the
        // stall's business but D's. An answer that binds nothing any more puts nothing back.
        let fresh = self.lock.held().is_some_and(|held| is_fresh(&around.evidence, held));
        if !fresh || (missing && !is_recent(&around.evidence)) {
            // What somebody else put in its place meanwhile has no lifetime, and no renewal gives it one now.
            if around.kernel.is_unlimited(&self.settings) && stands(Guard::Unlimited) {
                return self.release(around, Reason::Stalled, out);
            }
            if let Phase::Active { renew, announcing, tickling, .. } = &mut self.phase {
                let later = now + LOOK_AGAIN;
                *renew = (*renew).max(later);
                announcing.wait(later);
                tickling.wait(later);
            }
            return self.explain(Reason::Stalled, out);
        }
        // By somebody's hand, or with its lifetime: what may stay while nothing says that PostgreSQL is primary may not be
        // bound anew that way (P6).
        let role = around.evidence.postgres.filter(|report| report.role != Role::Primary);
        if let Some(unknown) = role.filter(|_| missing && stands(Guard::Repair)) {
            return self.release(around, Reason::PostgresUnknown(unknown.detail.clone()), out);
        }
        self.explain(reason, out);
        // Put back at once; if that came late, after a while, and without a word.
        let deleted = missing && self.late.is_none_or(|until| until <= now);
        let is_news = deleted && self.late.is_none();
        let Phase::Active { confirmed, renew, announcing, tickling } = &mut self.phase else { return };
        // Never before the kernel has said that the address is here, nor while it is not.
        let tickle = if *confirmed && !missing { tickling.output(now, self.id) } else { None };
        if missing {
            tickling.wait(now + LOOK_AGAIN);
        }
        let announce_due = *confirmed && (deleted || now >= announcing.due());
        // Whoever speaks for the address has renewed it just before: its lifetime does not end in between.
        let speaks = announce_due || tickle.is_some();
        let renewed_long_ago = now + RENEW > *renew + JUST_BEFORE;
        let renew_due = now >= *renew || (speaks && renewed_long_ago && stands(Guard::RenewThenAnnounce));
        if renew_due || deleted {
            *renew = now + RENEW;
        }
        if announce_due {
            announcing.making(now);
        }
        if is_news {
            self.record.counters.repaired += 1;
            let text = format!("{} was removed by somebody else: putting it back", self.settings.shown());
            self.tell(Level::Warning, text, out);
        }
        let until = self.lock.held().map(|held| held.stays_until(&around.evidence));
        if (renew_due || deleted) && !until.is_some_and(|until| self.bind(around, until, out)) {
            return;
        }
        if announce_due {
            self.announce(around, out);
        }
        out.extend(tickle);
    }

    pub(super) fn advance_draining(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        let verdict = self.verdict(around);
        let Phase::Draining { until, probe, reason } = &mut self.phase else { return };
        match verdict {
            Verdict::Shut(reason) => self.release(around, reason, out),
            _ if now >= *until => {
                let reason = reason.clone();
                self.release(around, reason, out);
            }
            _ if now >= *probe => {
                *probe = now + DRAIN_PROBE;
                out.push(Output::CountConnections { vip: self.id });
            }
            _ => {}
        }
    }

    pub(super) fn verdict(&self, around: &Surroundings<'_>) -> Verdict {
        match self.lock.held() {
            _ if around.stopping => Verdict::Shut(Reason::Stopping),
            // The address went with its interface. V only keeps it from a node that could serve.
            _ if around.kernel.place(&self.settings).is_none() => Verdict::Shut(self.no_interface(around)),
            _ if self.settings.retired => Verdict::Shut(Reason::Removed),
            _ if self.drained => Verdict::Shut(Reason::Drained),
            Some(held) => verdict(&around.evidence, held, true),
            // Bound without V: there is no such state, and if there were, it would end here.
            None => Verdict::Shut(Reason::LockLost("this node does not hold it".to_owned())),
        }
    }

    /// The router's timer.
    pub(super) fn advertise(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        if self.router.deadline().is_some_and(|deadline| deadline <= now) {
            let actions = self.router.handle(now, Event::Timer);
            self.carry_out(around, actions, out);
        }
    }
}

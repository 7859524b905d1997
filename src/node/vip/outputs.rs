//! Turns decisions into outputs.

use vrrp::router::{Action, Event};
use vrrp::time::Instant;

use super::{Leaving, Phase, RESET_AFTER, RESET_BEFORE, Surroundings, Vip};
use crate::gate::deadline;
use crate::gate::guard::{Guard, stands};
use crate::gate::reason::Reason;
use crate::gate::verdict::is_fresh;
use crate::node::adverts;
use crate::node::announcing::REPLY;
use crate::node::io::{self, Level, Output};

impl Vip {
    /// Binds or renews, to be gone again before `until`. `false` if that is too near for even the shortest lifetime.
    pub(super) fn bind(&self, around: &Surroundings<'_>, until: Instant, out: &mut Vec<Output>) -> bool {
        let now = around.evidence.now;
        let Some(link) = around.kernel.place(&self.settings) else { return false };
        let Some(lifetime) = deadline::lifetime(now, until) else { return false };
        let not_after = deadline::not_after(now);
        out.push(Output::Bind { vip: self.id, link: link.index, lifetime, not_after });
        true
    }

    pub(super) fn announce(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        if let (Phase::Active { announcing, .. }, Some(link)) = (&self.phase, around.kernel.place(&self.settings)) {
            self.announced = Some(now);
            out.push(announcing.output(now, self.id, link.index));
        }
    }

    /// What the segment was told does not hold any more: told anew, whatever it heard last.
    pub(in crate::node) fn announce_again(&mut self, now: Instant) {
        if let Phase::Active { announcing, .. } = &mut self.phase {
            announcing.again(now, true);
        }
    }

    /// The address has to go: cut, remove, cut what raced, say goodbye. The lock follows once the kernel has confirmed.
    pub(super) fn release(&mut self, around: &Surroundings<'_>, reason: Reason, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        let what = if self.is_confirmed() { Leaving::Held } else { Leaving::Refused };
        self.record.release_began(now);
        self.enter(now, Phase::Releasing { again: None, what });
        self.told = reason.label();
        self.reason = reason;
        // Past D another node may be holding the VIP: resetting connections first would only prolong that.
        let overdue = self.lock.held().is_none_or(|held| now >= held.stays_until(&around.evidence));
        if !overdue {
            self.keep_newcomers_waiting(now, out);
            out.push(Output::Reset { vip: self.id, budget: RESET_BEFORE });
        }
        if !stands(Guard::RevokeAfterUnbind) {
            self.lock.let_go(now);
            out.extend(self.lock.due(now, self.id).map(Output::Etcd));
        }
        self.unbind(out);
        let actions = self.router.handle(now, Event::Shutdown);
        self.carry_out(around, actions, out);
    }

    pub(super) fn unbind(&mut self, out: &mut Vec<Output>) {
        if let Phase::Releasing { again, what } = &mut self.phase {
            *again = None;
            if *what == Leaving::Stray {
                out.push(Output::Reset { vip: self.id, budget: RESET_BEFORE });
            }
            out.push(Output::Unbind { vip: self.id });
            out.push(Output::Reset { vip: self.id, budget: RESET_AFTER });
        }
    }

    pub(super) fn leave_vrrp(&mut self, around: &Surroundings<'_>) {
        // The goodbye that this yields is not sent: nothing was bound, or an advert follows at once.
        let _ = self.router.handle(around.evidence.now, Event::Shutdown);
    }

    /// Turns the router's actions into outputs. Binding and removing are decided here and not by the router, whose
    /// Active is only ever entered with the gate open.
    pub(super) fn carry_out(&mut self, around: &Surroundings<'_>, actions: Vec<Action>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        for action in actions {
            match action {
                // After a stall an advertisement would claim what is not known any more.
                Action::SendAdvert { priority: 1.., .. }
                    if !self.lock.held().is_some_and(|held| is_fresh(&around.evidence, held)) => {}
                Action::SendAdvert { priority, checksums } => {
                    self.record.counters.priority_zero_sent += u64::from(priority == 0);
                    adverts::send(around.kernel, self.id, &self.settings, priority, checksums, now, out);
                }
                Action::Announce => {
                    if self.is_bound() {
                        self.announce(around, out);
                    }
                }
                Action::Conflict { source, priority } => {
                    self.record.counters.advert_conflicts += 1;
                    self.conflict(
                        now,
                        &format!("{source} advertises priority {priority} for this virtual router"),
                        out,
                    );
                }
                Action::BindAddresses => self.record.counters.became_active += u64::from(self.is_bound()),
                Action::UnbindAddresses => {}
            }
        }
    }

    /// Somebody disputes the VIP. That proves nothing (P5): look at etcd again, and tell the segment again; also after
    /// a while, since a rival's own announcements may come after ours (Keepalived's do, for up to 20 ms).
    pub(super) fn conflict(&mut self, now: Instant, what: &str, out: &mut Vec<Output>) {
        // A flood of claims is no reason to flood etcd.
        if self.disputed.is_none_or(|last| now.since(last) >= REPLY) {
            self.disputed = Some(now);
            self.look_again = true;
        }
        // Nor the segment: what has just been announced is announced again a second later.
        let due = self.announced.map_or(now, |last| now.max(last + REPLY));
        let at_once = due == now;
        if at_once {
            let text = format!("conflict: {what}; etcd decides, announcing again");
            self.tell_event(io::Event::Conflict, Level::Alarm, text, out);
        }
        if let Phase::Active { announcing, .. } = &mut self.phase {
            announcing.again(due, at_once);
        }
    }
}

//! What the operator is told. Changes, not states: one line each.

use vrrp::time::Instant;

use super::{Phase, SLOW_PROMOTION, Surroundings, Vip};
use crate::gate::evidence::Role;
use crate::gate::reason::Reason;
use crate::node::io::{Event, Level, Mark, Notice, Output};

impl Vip {
    /// Notes why the gate is as it is; tells it when that is another reason than was told before.
    pub(super) fn explain(&mut self, reason: Reason, out: &mut Vec<Output>) {
        // Why V is given up says more than that it is; as long as that is still so.
        let is_past = matches!(self.reason, Reason::Drained) && !self.drained;
        if matches!(reason, Reason::Unlocking) && !is_passing(&self.reason) && !is_past {
            return;
        }
        if reason.label() != self.told && !is_passing(&reason) {
            let level = if matches!(reason, Reason::LockUnreadable(_)) { Level::Alarm } else { Level::Info };
            self.told = reason.label();
            self.reason = reason;
            let armed = self.lock.held().is_some() && matches!(self.phase, Phase::Closed);
            let event = if armed { Event::Armed } else { Event::Reason };
            return self.tell_event(event, level, self.reason.to_string(), out);
        }
        self.reason = reason;
    }

    pub(super) fn tell_slow_promotion(&mut self, now: Instant, reason: &Reason, out: &mut Vec<Output>) {
        let since = self.lock.held().map(|held| held.acquired);
        if matches!(reason, Reason::InRecovery)
            && !self.slow_promotion_told
            && since.is_some_and(|since| now.since(since) >= SLOW_PROMOTION)
        {
            self.slow_promotion_told = true;
            let text = "this node holds the leader key, but its PostgreSQL has been in recovery for more than 5 s";
            self.tell(Level::Warning, text.to_owned(), out);
        }
    }

    pub(super) fn watch_for_split_brain(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let evidence = &around.evidence;
        let leader = evidence.etcd.and_then(|etcd| etcd.leader.as_ref());
        let other = leader.filter(|leader| leader.member != evidence.member);
        // Only answers of the same time contradict each other: a primary that was asked before the other took K may
        // have stepped down since.
        let primary = evidence.postgres.is_some_and(|report| {
            report.role == Role::Primary && evidence.etcd.is_some_and(|etcd| report.asked >= etcd.asked)
        });
        if other.is_none() || evidence.postgres.is_some_and(|report| report.role != Role::Primary) {
            self.split_brain = false;
        }
        if let (Some(other), true, false) = (other, primary, self.split_brain) {
            self.split_brain = true;
            self.record.counters.split_brains += 1;
            let text =
                format!("split brain: PostgreSQL here accepts writes while {} holds the leader key", other.member);
            self.tell(Level::Alarm, text, out);
        }
    }

    pub(super) fn tell(&self, level: Level, text: String, out: &mut Vec<Output>) {
        out.push(Output::Tell(Notice { level, vip: Some(self.id), text, mark: None }));
    }

    pub(super) fn tell_event(&self, event: Event, level: Level, text: String, out: &mut Vec<Output>) {
        let mark = Some(Mark { event, reason: self.reason.label() });
        out.push(Output::Tell(Notice { level, vip: Some(self.id), text, mark }));
    }
}

/// Over in a moment, as a rule, and then no news.
fn is_passing(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::KernelUnasked | Reason::Acquiring | Reason::Unlocking | Reason::EtcdUnasked | Reason::PostgresUnasked
    )
}

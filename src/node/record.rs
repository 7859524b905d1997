//! What happened to one VIP: counters, and how long each phase of a move took.

use std::collections::VecDeque;
use std::time::Duration;

use vrrp::time::Instant;

use super::status::{Move, MoveKind, MovePhase, VipCounters};

/// How many moves are remembered.
const MOST: usize = 16;

/// Counters and moves of one VIP.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) counters: VipCounters,
    moves: VecDeque<(Instant, Move)>,
    /// When K was first seen to be ours, for the move under way.
    claimed: Option<Instant>,
    /// When V became ours.
    locked: Option<Instant>,
    /// When the bind was decided.
    opened: Option<Instant>,
    /// When the release began: the drain, and the removal itself.
    drained: Option<Instant>,
    released: Option<Instant>,
    /// Since when another's V has been waited for.
    pub(super) waiting: Option<Instant>,
}

impl Record {
    /// Messages of this virtual router that were discarded, by the discard's label.
    pub(super) fn discarded(&mut self, reason: &str, count: u64) {
        let counter = match reason {
            "type" => &mut self.counters.invalid_type_received,
            "length" | "truncated" => &mut self.counters.length_errors,
            "version2" => &mut self.counters.version2_received,
            _ => return,
        };
        *counter = counter.saturating_add(count);
    }

    pub(super) fn claimed(&mut self, now: Instant) {
        self.claimed.get_or_insert(now);
    }

    pub(super) fn locked(&mut self, now: Instant) {
        self.waiting = None;
        self.locked = Some(now);
    }

    pub(super) fn opened(&mut self, now: Instant) {
        self.opened = Some(now);
    }

    /// The gate closed before anything was bound.
    pub(super) fn abandoned(&mut self) {
        (self.claimed, self.locked, self.opened, self.waiting) = (None, None, None, None);
    }

    /// The address is bound.
    pub(super) fn gained(&mut self, at: Instant, reason: String) -> String {
        let mut phases = Vec::new();
        for (name, from, to) in [
            ("lock", self.claimed, self.locked),
            ("promotion", self.locked, self.opened),
            ("bind", self.opened, Some(at)),
        ] {
            if let (Some(from), Some(to)) = (from, to) {
                phases.push(MovePhase { name, took: to.since(from) });
            }
        }
        self.abandoned();
        self.counters.gained += 1;
        self.finish(at, MoveKind::Gained, reason, phases)
    }

    pub(super) fn drain_began(&mut self, now: Instant) {
        self.drained = Some(now);
    }

    pub(super) fn release_began(&mut self, now: Instant) {
        self.released = Some(now);
    }

    /// The address is gone.
    pub(super) fn lost(&mut self, at: Instant, reason: String) -> String {
        let mut phases = Vec::new();
        let released = self.released.take().unwrap_or(at);
        if let Some(drained) = self.drained.take() {
            phases.push(MovePhase { name: "drain", took: released.since(drained) });
        }
        phases.push(MovePhase { name: "unbind", took: at.since(released) });
        self.abandoned();
        self.counters.lost += 1;
        self.finish(at, MoveKind::Lost, reason, phases)
    }

    /// V is gone from etcd.
    pub(super) fn unlocked(&mut self, took: Duration) {
        self.counters.phases.entry("unlock").or_default().record(took);
    }

    /// Files a move; returns its phases in words.
    fn finish(&mut self, at: Instant, kind: MoveKind, reason: String, phases: Vec<MovePhase>) -> String {
        for phase in &phases {
            self.counters.phases.entry(phase.name).or_default().record(phase.took);
        }
        let words: Vec<_> = phases.iter().map(|phase| format!("{} {:.1?}", phase.name, phase.took)).collect();
        self.moves.truncate(MOST - 1);
        self.moves.push_front((at, Move { kind, age: Duration::ZERO, reason, phases }));
        words.join(", ")
    }

    pub(super) fn moves(&self, now: Instant) -> Vec<Move> {
        self.moves.iter().map(|(at, done)| Move { age: now.since(*at), ..done.clone() }).collect()
    }
}

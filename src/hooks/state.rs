//! From pictures of a VIP to what hooks are run for.

use crate::node::status::{MoveKind, PhaseLabel, VipStatus};

/// How a VIP stands on this node, in the four words that routers have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is here.
    Active,
    /// It is not, and this node could have it.
    Backup,
    /// It is not, and something keeps this node from having it.
    Fault,
    /// The daemon has ended.
    Stop,
}

/// Reasons that are a fault of this node, or of what it was told about itself. What is as usual for a node that is not the
/// primary, or over in a moment of every switchover, is none.
const FAULTS: [&str; 9] = [
    "no_interface",
    "interface_down",
    "tracked_down",
    "no_source",
    "bind_refused",
    "wrong_server",
    "unknown_member",
    "member_elsewhere",
    "lock_unreadable",
];

/// Reasons by which nothing is decided yet, or any more.
const UNDECIDED: [&str; 10] = [
    "kernel_unasked",
    "etcd_unasked",
    "postgres_unasked",
    "postgres_unknown",
    "member_unresolved",
    "acquiring",
    "displacing",
    "stalled",
    "handing_over",
    "stopping",
];

impl State {
    const ALL: [Self; 4] = [Self::Active, Self::Backup, Self::Fault, Self::Stop];

    /// The hook's name.
    pub(super) const fn hook(self) -> &'static str {
        match self {
            Self::Active => "on_active",
            Self::Backup => "on_backup",
            Self::Fault => "on_fault",
            Self::Stop => "on_stop",
        }
    }

    /// As in status and environment.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Backup => "backup",
            Self::Fault => "fault",
            Self::Stop => "stop",
        }
    }

    /// As Keepalived's scripts know it.
    pub(super) const fn keepalived(self) -> &'static str {
        match self {
            Self::Active => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
        }
    }

    /// The state with this word.
    pub(super) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A VIP stands otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) state: State,
    /// `None` for the first one that is known.
    pub(super) before: Option<State>,
    /// The reason's label, as in status and metrics.
    pub(super) reason: String,
    /// The same for people.
    pub(super) why: String,
}

/// What one picture shows that the one before did not.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// In order.
    pub(super) transitions: Vec<Transition>,
    /// Moves that the picture does not remember any more.
    pub(super) missed: u64,
}

/// What was seen of one VIP so far.
#[derive(Debug)]
pub(super) struct Tracker {
    state: Option<State>,
    /// Moves that this daemon has made.
    moves: u64,
    /// Of the last picture.
    reason: String,
    why: String,
}

impl Tracker {
    /// `state`: what was announced last, by the daemon before this one.
    pub(super) fn new(state: Option<State>) -> Self {
        Self { state, moves: 0, reason: String::new(), why: String::new() }
    }

    /// Looks at a picture. A daemon that is `stopping` makes no transition but that of its end.
    pub(super) fn see(&mut self, vip: &VipStatus, stopping: bool) -> Seen {
        (self.reason, self.why) = (vip.reason.to_owned(), vip.why.clone());
        let mut seen = Seen::default();
        if stopping {
            return seen;
        }
        let moves = vip.counters.gained + vip.counters.lost;
        let new = moves.saturating_sub(self.moves);
        self.moves = moves;
        let remembered = usize::try_from(new).unwrap_or(usize::MAX).min(vip.moves.len());
        seen.missed = new.saturating_sub(remembered as u64);
        // Newest first, and the newest is how things are now.
        for (index, moved) in vip.moves.iter().enumerate().take(remembered).rev() {
            let state = match moved.kind {
                MoveKind::Gained => State::Active,
                MoveKind::Lost if index == 0 => standing(vip).unwrap_or(State::Backup),
                MoveKind::Lost => State::Backup,
            };
            self.turn(state, vip.reason, &moved.reason, &mut seen.transitions);
        }
        let here = vip.moves.first().is_some_and(|moved| moved.kind == MoveKind::Gained);
        if let Some(state) = standing(vip).filter(|_| !here) {
            self.turn(state, vip.reason, &vip.why, &mut seen.transitions);
        }
        seen
    }

    /// The daemon has ended.
    pub(super) fn stop(&mut self) -> Transition {
        let before = self.state.replace(State::Stop);
        Transition { state: State::Stop, before, reason: self.reason.clone(), why: self.why.clone() }
    }

    fn turn(&mut self, state: State, reason: &str, why: &str, transitions: &mut Vec<Transition>) {
        if self.state == Some(state) {
            return;
        }
        let before = self.state.replace(state);
        transitions.push(Transition { state, before, reason: reason.to_owned(), why: why.to_owned() });
    }
}

/// How a VIP stands that is not here; `None` while that is not decided.
fn standing(vip: &VipStatus) -> Option<State> {
    if vip.phase == PhaseLabel::Adopting || UNDECIDED.contains(&vip.reason) {
        return None;
    }
    Some(if FAULTS.contains(&vip.reason) { State::Fault } else { State::Backup })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vrrp::time::Instant;

    use super::*;
    use crate::gate::policy::Policy;
    use crate::node::Node;
    use crate::node::status::Move;
    use crate::node::tests::world::settings;

    fn vip() -> VipStatus {
        let start = Instant::from_millis(1000);
        Node::new(settings(Policy::default()), start).status(start).vips.remove(0)
    }

    fn moved(vip: &mut VipStatus, kind: MoveKind) {
        match kind {
            MoveKind::Gained => vip.counters.gained += 1,
            MoveKind::Lost => vip.counters.lost += 1,
        }
        vip.moves.insert(0, Move { kind, age: Duration::ZERO, reason: "because".to_owned(), phases: Vec::new() });
        vip.moves.truncate(16);
    }

    fn states(seen: &Seen) -> Vec<State> {
        seen.transitions.iter().map(|transition| transition.state).collect()
    }

    #[test]
    fn nothing_is_announced_before_it_is_known() {
        let (mut tracker, mut vip) = (Tracker::new(None), vip());
        for undecided in UNDECIDED {
            vip.reason = undecided;
            assert_eq!(states(&tracker.see(&vip, false)), []);
        }
        vip.reason = "other_leads";
        let seen = tracker.see(&vip, false);
        assert_eq!((states(&seen), seen.transitions[0].before), (vec![State::Backup], None));
        assert_eq!(states(&tracker.see(&vip, false)), [], "once");
    }

    #[test]
    fn what_happened_between_two_pictures_is_seen() {
        let (mut tracker, mut vip) = (Tracker::new(Some(State::Backup)), vip());
        moved(&mut vip, MoveKind::Gained);
        moved(&mut vip, MoveKind::Lost);
        moved(&mut vip, MoveKind::Gained);
        vip.reason = "holding";
        let seen = tracker.see(&vip, false);
        assert_eq!(states(&seen), [State::Active, State::Backup, State::Active]);
        assert_eq!((seen.missed, seen.transitions[2].before), (0, Some(State::Backup)));
    }

    #[test]
    fn what_no_picture_remembers_is_counted() {
        let (mut tracker, mut vip) = (Tracker::new(Some(State::Backup)), vip());
        for _ in 0..15 {
            moved(&mut vip, MoveKind::Gained);
            moved(&mut vip, MoveKind::Lost);
        }
        vip.reason = "other_leads";
        let seen = tracker.see(&vip, false);
        assert_eq!((seen.missed, states(&seen).len(), states(&seen).last()), (14, 16, Some(&State::Backup)));
    }

    #[test]
    fn a_vip_that_is_adopted_has_not_moved() {
        let (mut tracker, mut vip) = (Tracker::new(Some(State::Active)), vip());
        (vip.reason, vip.phase) = ("no_leader", PhaseLabel::Adopting);
        assert_eq!(states(&tracker.see(&vip, false)), []);
        moved(&mut vip, MoveKind::Gained);
        (vip.reason, vip.phase) = ("holding", PhaseLabel::Active);
        assert_eq!(states(&tracker.see(&vip, false)), []);
    }

    #[test]
    fn a_fault_is_told_from_an_ordinary_absence() {
        let (mut tracker, mut vip) = (Tracker::new(Some(State::Active)), vip());
        moved(&mut vip, MoveKind::Gained);
        vip.reason = "holding";
        assert_eq!(states(&tracker.see(&vip, false)), []);
        moved(&mut vip, MoveKind::Lost);
        vip.reason = "interface_down";
        assert_eq!(states(&tracker.see(&vip, false)), [State::Fault]);
        vip.reason = "backup";
        assert_eq!(states(&tracker.see(&vip, false)), [State::Backup]);
    }

    #[test]
    fn the_end_is_one_transition_whatever_leaves() {
        let (mut tracker, mut vip) = (Tracker::new(Some(State::Active)), vip());
        moved(&mut vip, MoveKind::Gained);
        vip.reason = "holding";
        assert_eq!(states(&tracker.see(&vip, false)), []);
        moved(&mut vip, MoveKind::Lost);
        vip.reason = "stopping";
        assert_eq!(states(&tracker.see(&vip, true)), []);
        let stop = tracker.stop();
        assert_eq!((stop.state, stop.before, stop.reason.as_str()), (State::Stop, Some(State::Active), "stopping"));
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("MASTER"), None);
    }
}

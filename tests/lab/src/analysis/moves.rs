//! One move of the leader key, step by step.

use std::fmt::Write;
use std::net::IpAddr;

use crate::clock::Time;
use crate::history::{Event, Frame, Observation, Role};
use crate::network::Node;
use crate::patroni::LEADER_KEY;

/// Something happened between two moments that were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bracket {
    /// Not before this.
    pub earliest: Time,
    /// Not after this.
    pub latest: Time,
}

/// The leader key went from one node to another, and the VIP after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The old owner of the key, `None` for the first owner that was seen.
    pub from: Option<Node>,
    /// The new owner.
    pub to: Node,
    /// The old owner's PostgreSQL stopped answering, or went into recovery.
    pub old_down: Option<Time>,
    /// The VIP went from the old owner.
    pub vip_gone: Option<Time>,
    /// The key was deleted, by its owner or by the end of its lease.
    pub key_gone: Option<Time>,
    /// The key was taken by the new owner.
    pub key_taken: Time,
    /// The new owner's PostgreSQL left recovery.
    pub writable: Option<Bracket>,
    /// The VIP appeared on the new owner.
    pub vip_bound: Option<Time>,
    /// The new owner's first gratuitous ARP for the VIP.
    pub announced: Option<Time>,
    /// The first write that the hasty client got acknowledged by the new owner.
    pub first_write: Option<Time>,
}

/// The time from "the key is the new node's and its PostgreSQL is out of recovery" to "VIP bound", in milliseconds.
/// Both may be negative by what a probe noticed late (well below 1 ms).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lag {
    /// If PostgreSQL left recovery as late as the probe allows.
    pub at_least: f64,
    /// If it left recovery right after the last answer "in recovery" was asked for.
    pub at_most: f64,
}

/// Whose work a step of a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Patroni, PostgreSQL and etcd.
    Patroni,
    /// The daemon.
    Pgvrrp,
    /// What the application sees.
    Client,
}

/// One line of a move's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Time,
    /// Whose work.
    pub part: Part,
    /// What.
    pub text: String,
}

impl Move {
    /// The moment at which the VIP may be bound, within its bracket. `None` if PostgreSQL was not seen to leave recovery.
    #[must_use]
    pub fn entitled(&self) -> Option<Bracket> {
        let writable = self.writable?;
        let (earliest, latest) = (writable.earliest.max(self.key_taken), writable.latest.max(self.key_taken));
        Some(Bracket { earliest, latest })
    }

    /// The lag of the VIP. `None` if it did not follow.
    #[must_use]
    pub fn lag(&self) -> Option<Lag> {
        let (entitled, bound) = (self.entitled()?, self.vip_bound?);
        Some(Lag { at_least: bound.millis_after(entitled.latest), at_most: bound.millis_after(entitled.earliest) })
    }

    /// Milliseconds from the old PostgreSQL's last answer to the VIP's going. Negative if it went first.
    #[must_use]
    pub fn release_lag(&self) -> Option<f64> {
        Some(self.vip_gone?.millis_after(self.old_down?))
    }

    /// The steps in the order of time.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let (to, from) = (self.to, self.from.map_or("nobody", Node::name));
        let writable = self.writable.map(|w| w.latest);
        let all = [
            (self.old_down, Part::Patroni, format!("PostgreSQL on {from} answers no more")),
            (self.vip_gone, Part::Pgvrrp, format!("VIP removed from {from}")),
            (self.key_gone, Part::Patroni, "leader key gone".to_owned()),
            (Some(self.key_taken), Part::Patroni, format!("leader key taken by {to}")),
            (writable, Part::Patroni, format!("PostgreSQL on {to} out of recovery")),
            (self.vip_bound, Part::Pgvrrp, format!("VIP bound on {to}")),
            (self.announced, Part::Pgvrrp, format!("VIP announced by {to}")),
            (self.first_write, Part::Client, format!("first write acknowledged by {to}")),
        ];
        let mut steps: Vec<Step> =
            all.into_iter().filter_map(|(at, part, text)| Some(Step { at: at?, part, text })).collect();
        steps.sort_by_key(|s| s.at);
        steps
    }

    /// The timeline as text, with milliseconds since `origin`, and what part of the time was whose.
    #[must_use]
    pub fn timeline(&self, origin: Time) -> String {
        let mut text = String::new();
        for step in self.steps() {
            let part = match step.part {
                Part::Patroni => "Patroni",
                Part::Pgvrrp => "pgvrrp",
                Part::Client => "client",
            };
            let _ = writeln!(text, "  {:>10.1} ms  {part:<8} {}", step.at.millis_after(origin), step.text);
        }
        if let Some(entitled) = self.entitled() {
            let _ = writeln!(text, "  Patroni's part: {:.1} ms", entitled.latest.millis_after(origin));
        }
        match self.lag() {
            Some(lag) => {
                let _ =
                    writeln!(text, "  ours:           {:.1} ms at most (at least {:.1})", lag.at_most, lag.at_least);
            }
            None => text += "  the VIP has not followed\n",
        }
        text
    }
}

/// Finds the moves in events that are sorted by time.
pub(super) fn find(events: &[Event], vip: IpAddr) -> Vec<Move> {
    let mut owner: Option<Node> = None;
    let mut taken: Vec<(usize, Option<Node>, Node)> = Vec::new();
    for (i, event) in events.iter().enumerate() {
        let Observation::Key { key, value: Some(value), .. } = &event.what else { continue };
        let Some(node) = Node::from_name(value).filter(|n| key == LEADER_KEY && owner != Some(*n)) else { continue };
        taken.push((i, owner, node));
        owner = Some(node);
    }
    let position = |n: usize| taken.get(n).map_or(events.len(), |(i, ..)| *i);
    let describe = |(n, (i, from, to)): (usize, &(usize, Option<Node>, Node))| {
        // What belongs to this move lies between its neighbours.
        let earlier = &events[if n == 0 { 0 } else { position(n - 1) }..*i];
        let later = &events[*i..position(n + 1)];
        one(*from, *to, events[*i].at, earlier, later, vip)
    };
    taken.iter().enumerate().map(describe).collect()
}

fn one(from: Option<Node>, to: Node, key_taken: Time, earlier: &[Event], later: &[Event], vip: IpAddr) -> Move {
    let both = || earlier.iter().chain(later);
    let last = |test: &dyn Fn(&Observation) -> bool| earlier.iter().rev().find(|e| test(&e.what)).map(|e| e.at);
    let first = |test: &dyn Fn(&Observation) -> bool| later.iter().find(|e| test(&e.what)).map(|e| e.at);

    // The old owner stops before it gives up the key, or after it has lost it.
    let stops = |w: &Observation| matches!(w, Observation::Role { node, role, .. } if Some(*node) == from && *role != Role::Primary);
    let old_down = earlier
        .iter()
        .rev()
        .take_while(|e| !matches!(e.what, Observation::Role { node, role: Role::Primary, .. } if Some(node) == from))
        .filter(|e| stops(&e.what))
        .last()
        .map(|e| e.at)
        .or_else(|| first(&stops));
    let removed = |w: &Observation| matches!(w, Observation::Address { node, address, present: false } if Some(*node) == from && *address == vip);
    let key_gone = |w: &Observation| matches!(w, Observation::Key { key, value: None, .. } if key == LEADER_KEY);
    let bound = |w: &Observation| matches!(w, Observation::Address { node, address, present: true } if *node == to && *address == vip);
    let vip_bound = first(&bound);
    let writable = both().find_map(|e| match e.what {
        Observation::Role { node, role: Role::Primary, asked, before } if node == to => {
            Some(Bracket { earliest: before.unwrap_or(asked), latest: e.at })
        }
        _ => None,
    });
    let announces = |e: &&Event| {
        let Observation::Frame { node, frame: Frame::Arp { sender, target, .. } } = &e.what else { return false };
        *node == to && sender == target && IpAddr::V4(*sender) == vip && e.at >= key_taken
    };
    let wrote = |w: &Observation| matches!(w, Observation::Write(a) if a.error.is_none() && a.node == Some(to));
    Move {
        from,
        to,
        old_down,
        vip_gone: last(&removed).or_else(|| first(&removed)),
        key_gone: last(&key_gone),
        key_taken,
        writable,
        vip_bound,
        announced: later.iter().find(announces).map(|e| e.at),
        first_write: first(&wrote),
    }
}

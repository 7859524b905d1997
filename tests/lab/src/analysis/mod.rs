//! What a history says about the promises.

mod distribution;
mod moves;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Time;
use crate::history::{Attempt, Event, History, Observation, Role, STILL_WAITING};
use crate::network::{Node, VIP};

pub use distribution::Distribution;
pub use moves::{Bracket, Lag, Move, Part, Step};

/// A time during which a node had the VIP bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Who.
    pub node: Node,
    /// When the address appeared.
    pub from: Time,
    /// When it went; `None` when it is still there.
    pub to: Option<Time>,
}

/// A finished or growing history, read for judgement.
#[derive(Clone, Debug)]
pub struct Analysis {
    events: Vec<Event>,
    vip: IpAddr,
}

impl Analysis {
    /// Looks at what has been seen of the reference setup's VIP until now.
    #[must_use]
    pub fn of(history: &History) -> Self {
        Self { events: history.events(), vip: IpAddr::V4(VIP) }
    }

    /// All events in the order of time.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Every broken promise, in words; empty when all is well. Covered: two database nodes with the VIP at once, the
    /// VIP on a node that is certainly in recovery, a read from a replica through the VIP, and a probe that missed
    /// something. What a foreign router binds elsewhere is not ours to promise.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let ours = |holding: &Holding| Node::DATABASES.contains(&holding.node);
        for (one, other, length) in self.overlaps().into_iter().filter(|(one, other, _)| ours(one) && ours(other)) {
            found.push(format!("{} and {} both had the VIP, for {length:?} from {}", one.node, other.node, other.from));
        }
        for (holding, from, length) in self.held_in_recovery() {
            found.push(format!("{} had the VIP while in recovery, for {length:?} from {from}", holding.node));
        }
        for (at, attempt) in self.writes().filter(|(_, a)| a.from_replica) {
            found.push(format!("at {at} the client read through the VIP from a replica: {attempt}"));
        }
        found.extend(self.events.iter().filter_map(|e| match &e.what {
            Observation::Blind { reason } => Some(format!("at {} a probe was blind: {reason}", e.at)),
            _ => None,
        }));
        found
    }

    /// Who had the VIP and when, in the order of `from`.
    #[must_use]
    pub fn holdings(&self) -> Vec<Holding> {
        let mut holdings: Vec<Holding> = Vec::new();
        for event in &self.events {
            let Observation::Address { node, address, present } = event.what else { continue };
            if address != self.vip {
                continue;
            }
            if present {
                holdings.push(Holding { node, from: event.at, to: None });
            } else if let Some(open) = holdings.iter_mut().rev().find(|h| h.node == node && h.to.is_none()) {
                open.to = Some(event.at);
            }
        }
        holdings
    }

    /// Pairs of holdings of two nodes that overlap, with the length of the overlap (up to the last event for holdings that
    /// go on). Must be empty, but for a foreign router.
    #[must_use]
    pub fn overlaps(&self) -> Vec<(Holding, Holding, Duration)> {
        let holdings = self.holdings();
        let mut overlaps = Vec::new();
        for (i, one) in holdings.iter().enumerate() {
            for other in holdings[i + 1..].iter().filter(|o| o.node != one.node) {
                let end = self.end_of(one).min(self.end_of(other));
                if end > other.from {
                    overlaps.push((*one, *other, end.since(other.from)));
                }
            }
        }
        overlaps
    }

    /// Times at which a node had the VIP and its PostgreSQL was in recovery beyond doubt: between an answer "in recovery"
    /// and the asking of the last question that got this answer. Must be empty.
    #[must_use]
    pub fn held_in_recovery(&self) -> Vec<(Holding, Time, Duration)> {
        let mut found = Vec::new();
        for holding in self.holdings() {
            for (from, to) in self.certain(holding.node, Role::Standby) {
                let (from, to) = (from.max(holding.from), to.min(self.end_of(&holding)));
                if to > from {
                    found.push((holding, from, to.since(from)));
                }
            }
        }
        found
    }

    /// The times during which a PostgreSQL's role was this one beyond doubt.
    #[must_use]
    pub fn certain(&self, node: Node, role: Role) -> Vec<(Time, Time)> {
        let mut intervals = Vec::new();
        // When the current role's first answer came, and when its last question was asked.
        let mut current: Option<(Role, Time, Time)> = None;
        let mut close = |current: Option<(Role, Time, Time)>| {
            intervals.extend(current.filter(|(r, from, to)| *r == role && to > from).map(|(_, from, to)| (from, to)));
        };
        for event in &self.events {
            match event.what {
                Observation::Role { node: n, role, asked, before } if n == node => {
                    close(current.map(|(r, from, to)| (r, from, before.unwrap_or(to))));
                    current = Some((role, event.at, asked));
                }
                Observation::RoleConfirmed { node: n, asked, .. } if n == node => {
                    current = current.map(|(r, from, _)| (r, from, asked));
                }
                _ => {}
            }
        }
        close(current);
        intervals
    }

    /// The moves of the leader key from one node to another, in order.
    #[must_use]
    pub fn moves(&self) -> Vec<Move> {
        moves::find(&self.events, self.vip)
    }

    /// The hasty client's attempts with the time they ended.
    pub fn writes(&self) -> impl Iterator<Item = (Time, &Attempt)> {
        self.events.iter().filter_map(|e| match &e.what {
            Observation::Write(attempt) => Some((e.at, attempt)),
            _ => None,
        })
    }

    /// The longest time without an acknowledged write of the hasty client that ended at `from` or later, and when that
    /// time began. `None` without two writes.
    #[must_use]
    pub fn longest_write_gap(&self, from: Time) -> Option<(Time, Duration)> {
        let acknowledged: Vec<Time> = self.writes().filter(|(_, a)| a.error.is_none()).map(|(at, _)| at).collect();
        let gaps = acknowledged.windows(2).filter(|pair| pair[1] >= from).map(|pair| (pair[0], pair[1].since(pair[0])));
        gaps.max_by_key(|(_, length)| *length)
    }

    /// The patient client's attempts that began in `[from, to)`: how long each took, and its error if it had one.
    #[must_use]
    pub fn patient(&self, from: Time, to: Time) -> Patient {
        let mut result = Patient::default();
        for event in &self.events {
            let Observation::Patient(attempt) = &event.what else { continue };
            if attempt.started < from || attempt.started >= to {
                continue;
            }
            result.attempts += 1;
            result.longest = result.longest.max(event.at.since(attempt.started));
            match attempt.error.as_deref() {
                None => {}
                Some(STILL_WAITING) => result.waiting += 1,
                Some(error) => *result.failures.entry(error.to_owned()).or_default() += 1,
            }
        }
        result
    }

    /// When each long-lived connection was told of its end: its number, when, and how.
    pub fn session_ends(&self) -> impl Iterator<Item = (usize, Time, &str)> {
        self.events.iter().filter_map(|e| match &e.what {
            Observation::SessionEnd { index, how, .. } => Some((*index, e.at, how.as_str())),
            _ => None,
        })
    }

    fn end_of(&self, holding: &Holding) -> Time {
        holding.to.or_else(|| self.events.last().map(|e| e.at)).unwrap_or(holding.from)
    }
}

/// What became of the patient client's attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patient {
    /// All of them.
    pub attempts: usize,
    /// Those that had no end yet when the probe was stopped. While it runs, they are not known of.
    pub waiting: usize,
    /// How often each error was met.
    pub failures: BTreeMap<String, usize>,
    /// The longest time that one took, failed or not.
    pub longest: Duration,
}

impl Patient {
    /// How many attempts failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }
}

impl fmt::Display for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, longest) = (self.failed(), self.longest.as_secs_f64());
        write!(f, "{failed} of {} failed, {} still waiting, longest {longest:.2} s", self.attempts, self.waiting)?;
        for (error, count) in &self.failures {
            write!(f, "; {count} x {error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

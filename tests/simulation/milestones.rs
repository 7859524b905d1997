//! The order in which a node learns of a move: taken from what it was told, on a real cluster or in the simulator.

use std::collections::BTreeSet;

use pgvrrp::gate::evidence::{Acquisition, EtcdReport, LockHolder, Role};
use pgvrrp::node::io::{Input, Outcome};

/// Whose a key is, as this node reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whose {
    Mine,
    Anothers,
    Nobodys,
}

/// What the node learned that it did not know before. What is repeated is no milestone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Milestone {
    /// K, Patroni's leader key.
    Leader(Whose),
    /// V, pgvrrp's own: read, acquired or revoked.
    Lock(Whose),
    /// The local PostgreSQL. "Unknown" is no answer.
    Primary,
    Standby,
    Down,
    /// The kernel has done what the node wanted.
    Bound,
    Unbound,
    /// Another advertises that it has the VIP, or says goodbye.
    Advert,
    Goodbye,
}

/// The one way and the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Move {
    /// From holding the VIP to following whoever does.
    Away,
    /// From following to holding.
    Here,
}

/// How the milestones of one move followed each other.
pub(crate) type Order = (Move, Vec<Milestone>);

/// What a node knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    leader: Option<Whose>,
    lock: Option<Whose>,
    role: Option<Milestone>,
    bound: bool,
    advertised: bool,
}

impl Known {
    /// Nothing to wait for, as the one who holds or as one who follows.
    fn at_rest(self) -> Option<Move> {
        match (self.leader?, self.lock?, self.role?) {
            (Whose::Mine, Whose::Mine, Milestone::Primary) if self.bound => Some(Move::Here),
            (Whose::Anothers, Whose::Anothers, Milestone::Standby) if !self.bound && self.advertised => {
                Some(Move::Away)
            }
            _ => None,
        }
    }

    /// `false` if that is known already.
    fn learn(&mut self, milestone: Milestone) -> bool {
        let before = *self;
        match milestone {
            Milestone::Leader(whose) => self.leader = Some(whose),
            Milestone::Lock(whose) => self.lock = Some(whose),
            Milestone::Primary | Milestone::Standby | Milestone::Down => self.role = Some(milestone),
            Milestone::Bound => self.bound = true,
            Milestone::Unbound => self.bound = false,
            Milestone::Advert => self.advertised = true,
            Milestone::Goodbye => self.advertised = false,
        }
        *self != before
    }
}

/// Every move of the VIP in the life of a member's daemon, from rest to rest.
pub(crate) fn orders<'a>(member: &str, inputs: impl IntoIterator<Item = &'a Input>) -> BTreeSet<Order> {
    let mut orders = BTreeSet::new();
    let (mut known, mut rest) = (Known::default(), None);
    let mut since = Vec::new();
    for milestone in inputs.into_iter().flat_map(|input| milestones(member, input)) {
        if !known.learn(milestone) {
            continue;
        }
        since.push(milestone);
        if let Some(at) = known.at_rest() {
            if rest.is_some_and(|before| before != at) {
                orders.insert((at, std::mem::take(&mut since)));
            }
            since.clear();
            rest = Some(at);
        }
    }
    orders
}

fn milestones(member: &str, input: &Input) -> Vec<Milestone> {
    let whose = |holder: Option<&str>| match holder {
        None => Whose::Nobodys,
        Some(name) if name == member => Whose::Mine,
        Some(_) => Whose::Anothers,
    };
    match input {
        Input::Etcd(EtcdReport::Round { observation: Ok(read), .. }) => {
            let lock = read.locks.first().and_then(Option::as_ref).map(|lock| match &lock.holder {
                LockHolder::Known(value) => value.member.as_str(),
                LockHolder::Unknown(value) => value,
            });
            let leader = read.leader.as_ref().map(|leader| leader.member.as_str());
            vec![Milestone::Leader(whose(leader)), Milestone::Lock(whose(lock))]
        }
        Input::Etcd(EtcdReport::Acquire { outcome: Acquisition::Acquired { .. }, .. }) => {
            vec![Milestone::Lock(Whose::Mine)]
        }
        Input::Etcd(EtcdReport::Revoke { outcome: Ok(()), .. }) => vec![Milestone::Lock(Whose::Nobodys)],
        Input::Postgres(report) => match report.role {
            Role::Primary => vec![Milestone::Primary],
            Role::Standby => vec![Milestone::Standby],
            Role::Down => vec![Milestone::Down],
            Role::Unknown => Vec::new(),
        },
        Input::Advert { advert, .. } if advert.priority == 0 => vec![Milestone::Goodbye],
        Input::Advert { .. } => vec![Milestone::Advert],
        Input::Done(outcomes) => outcomes.iter().filter_map(of_outcome).collect(),
        _ => Vec::new(),
    }
}

fn of_outcome(outcome: &Outcome) -> Option<Milestone> {
    match outcome {
        Outcome::Bound { .. } => Some(Milestone::Bound),
        Outcome::Unbound { .. } => Some(Milestone::Unbound),
        _ => None,
    }
}

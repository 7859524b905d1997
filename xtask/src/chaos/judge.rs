//! What a run's history says about the promises, given what was done to the cluster.

use std::time::Duration;

use lab::analysis::{Analysis, Holding};
use lab::history::{Attempt, Observation, Role};
use lab::patroni::LEADER_KEY;
use lab::probe::OWN_PREFIX;
use lab::{Node, Time};

/// For so long a dead daemon's address may stay: its lifetime of 3 s, the second by which the kernel may be late, and what
/// its work waits for on a busy machine. The daemon itself counts on 4.4 s: it leaves 1.5 s between the end of the lifetime
/// and the deadline, and may be 0.1 s late.
const LIFETIME: Duration = Duration::from_millis(4_400);

/// A daemon that is there again has seen by then what it missed.
const BACK: Duration = Duration::from_millis(300);

/// An address that somebody else added is gone by then.
const EXPELLED: Duration = Duration::from_secs(1);

/// By how much later than the change itself a probe may see it.
const SEEN: Duration = Duration::from_millis(100);

/// A time during which a daemon did not run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) node: Node,
    pub(crate) from: Time,
    /// When it ran again.
    pub(crate) to: Option<Time>,
}

/// The run added the VIP to a node itself: it was not there before `from`, and there by `to`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByHand {
    pub(crate) node: Node,
    pub(crate) from: Time,
    pub(crate) to: Time,
}

/// Somebody has a key.
#[derive(Clone, Debug)]
pub(crate) struct Ownership {
    pub(crate) node: Node,
    pub(crate) from: Time,
    pub(crate) to: Time,
}

/// All that there is to judge by.
pub(crate) struct Case<'a> {
    pub(crate) analysis: &'a Analysis,
    pub(crate) outages: &'a [Outage],
    pub(crate) by_hand: &'a [ByHand],
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Every broken promise, in words.
    pub(crate) broken: Vec<String>,
    /// What looks like one and is none, with the reason.
    pub(crate) excused: Vec<String>,
}

impl Case<'_> {
    pub(crate) fn judge(&self) -> Verdict {
        let mut verdict = Verdict::default();
        self.two_holders(&mut verdict);
        self.in_recovery(&mut verdict);
        self.without_the_lock(&mut verdict);
        self.without_a_daemon(&mut verdict);
        self.reads_from_replicas(&mut verdict);
        self.wrong_acknowledgements(&mut verdict);
        let blind = self.analysis.events().iter().filter_map(|event| match &event.what {
            Observation::Blind { reason } => Some(format!("at {} a probe was blind: {reason}", event.at)),
            _ => None,
        });
        verdict.broken.extend(blind);
        verdict
    }

    /// Who had the VIP, apart from what the run itself put there for a moment.
    pub(crate) fn holdings(&self) -> Vec<Holding> {
        let by_hand = |holding: &Holding| {
            // The probe reads the kernel's notices in its own time.
            let added =
                |hand: &ByHand| hand.node == holding.node && (hand.from..=hand.to.plus(SEEN)).contains(&holding.from);
            self.by_hand.iter().any(added) && self.end(holding).since(holding.from) <= EXPELLED
        };
        self.analysis.holdings().into_iter().filter(|holding| !by_hand(holding)).collect()
    }

    /// The end of what was seen.
    pub(crate) fn last(&self) -> Time {
        self.analysis.events().last().map_or(Time::from_nanos(0), |event| event.at)
    }

    fn end(&self, holding: &Holding) -> Time {
        holding.to.unwrap_or_else(|| self.last())
    }

    fn two_holders(&self, verdict: &mut Verdict) {
        let holdings = self.holdings();
        for (i, one) in holdings.iter().enumerate() {
            for other in holdings[i + 1..].iter().filter(|other| other.node != one.node) {
                if let Some(length) = overlap((one.from, self.end(one)), (other.from, self.end(other))) {
                    let (one, node, from) = (one.node, other.node, other.from);
                    verdict.broken.push(format!("{one} and {node} both had the VIP, for {length:?} from {from}"));
                }
            }
        }
    }

    fn in_recovery(&self, verdict: &mut Verdict) {
        for holding in self.holdings() {
            for span in self.analysis.certain(holding.node, Role::Standby) {
                let Some(length) = overlap(span, (holding.from, self.end(&holding))) else { continue };
                let from = span.0.max(holding.from);
                let text = format!("{} had the VIP while in recovery, for {length:?} from {from}", holding.node);
                self.unless_dead(holding.node, from, from.plus(length), text, verdict);
            }
        }
    }

    /// An address outlives its daemon by its lifetime, whatever PostgreSQL does meanwhile.
    fn unless_dead(&self, node: Node, from: Time, to: Time, text: String, verdict: &mut Verdict) {
        let covers = |outage: &&Outage| {
            let back = outage.to.map_or(Time::from_nanos(u64::MAX), |to| to.plus(BACK));
            outage.node == node && outage.from <= from && to <= outage.from.plus(LIFETIME).min(back)
        };
        match self.outages.iter().find(covers) {
            Some(outage) => verdict.excused.push(format!("{text}: its daemon did not run from {} on", outage.from)),
            None => verdict.broken.push(text),
        }
    }

    /// V is another's: whoever has the VIP then has it without a fence.
    fn without_the_lock(&self, verdict: &mut Verdict) {
        let locks = self.owners(OWN_PREFIX);
        for holding in self.holdings() {
            for lock in locks.iter().filter(|lock| lock.node != holding.node) {
                // A watch that had to begin anew has not seen the lock go before it was the next one's, and that late.
                let length = overlap((lock.from, lock.to), (holding.from, self.end(&holding)));
                if let Some(length) = length.filter(|length| *length > SEEN) {
                    let (node, other, from) = (holding.node, lock.node, lock.from.max(holding.from));
                    verdict
                        .broken
                        .push(format!("{node} had the VIP while {other} had the lock, for {length:?} from {from}"));
                }
            }
        }
    }

    fn without_a_daemon(&self, verdict: &mut Verdict) {
        for outage in self.outages {
            let dead = (outage.from.plus(LIFETIME), outage.to.unwrap_or_else(|| self.last()));
            for holding in self.holdings().iter().filter(|holding| holding.node == outage.node) {
                if let Some(length) = overlap(dead, (holding.from, self.end(holding))) {
                    let (node, since) = (outage.node, outage.from);
                    verdict.broken.push(format!(
                        "{node} had the VIP {length:?} longer than {LIFETIME:?} after its daemon stopped at {since}"
                    ));
                }
            }
        }
    }

    fn reads_from_replicas(&self, verdict: &mut Verdict) {
        for (at, attempt) in self.analysis.writes().filter(|(_, attempt)| attempt.from_replica) {
            let Some(node) = attempt.node else { continue };
            let text = format!("at {at} the client read through the VIP from a replica: {attempt}");
            let added =
                |hand: &&ByHand| hand.node == node && attempt.started <= hand.to.plus(EXPELLED) && hand.from <= at;
            match self.by_hand.iter().find(added) {
                Some(hand) => verdict.excused.push(format!("{text}: the VIP was added there by hand at {}", hand.from)),
                None => self.unless_dead(node, attempt.started, at, text, verdict),
            }
        }
    }

    /// Whoever acknowledged a write through the VIP had the lock at some moment of the attempt, and the leader key was not
    /// another's for all of it.
    fn wrong_acknowledgements(&self, verdict: &mut Verdict) {
        let (locks, leaders) = (self.owners(OWN_PREFIX), self.owners(LEADER_KEY));
        for (at, attempt) in self.acknowledged() {
            let Some(node) = attempt.node else { continue };
            let locked =
                locks.iter().any(|lock| lock.node == node && lock.from <= at.plus(SEEN) && attempt.started <= lock.to);
            let anothers =
                leaders.iter().find(|leader| leader.node != node && leader.from <= attempt.started && at <= leader.to);
            if !locked {
                verdict.broken.push(format!("at {at} {node} acknowledged a write and did not have the lock"));
            } else if let Some(leader) = anothers {
                let (other, since) = (leader.node, leader.from);
                let text = format!("at {at} {node} acknowledged a write; {other} had the leader key since {since}");
                // By the lock's deadline nobody else can have been bound; Patroni's PostgreSQL still was a primary.
                verdict.excused.push(format!("{text}, but not the lock"));
            }
        }
    }

    /// The writes that were acknowledged, also if their values could not be read back any more.
    pub(crate) fn acknowledged(&self) -> impl Iterator<Item = (Time, &Attempt)> {
        self.analysis.writes().filter(|(_, attempt)| attempt.value.is_some())
    }

    /// Who had a key, or the only key below a prefix, as the watches saw it.
    pub(crate) fn owners(&self, prefix: &str) -> Vec<Ownership> {
        let mut owners = Vec::new();
        let mut current: Option<(Node, Time)> = None;
        for event in self.analysis.events() {
            let Observation::Key { key, value, .. } = &event.what else { continue };
            if !key.starts_with(prefix) {
                continue;
            }
            let next = value.as_deref().and_then(owner);
            if current.map(|(node, _)| node) != next {
                owners.extend(current.map(|(node, from)| Ownership { node, from, to: event.at }));
                current = next.map(|node| (node, event.at));
            }
        }
        owners.extend(current.map(|(node, from)| Ownership { node, from, to: self.last() }));
        owners
    }
}

/// K's value is the member's name, V's has it among others.
fn owner(value: &str) -> Option<Node> {
    Node::from_name(value).or_else(|| {
        let lock: serde_json::Value = serde_json::from_str(value).ok()?;
        Node::from_name(lock["member"].as_str()?)
    })
}

fn overlap(one: (Time, Time), other: (Time, Time)) -> Option<Duration> {
    let (from, to) = (one.0.max(other.0), one.1.min(other.1));
    (to > from).then(|| to.since(from))
}

#[cfg(test)]
mod tests {
    use lab::{History, VIP};

    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn vip(history: &History, millis: u64, node: Node, present: bool) {
        history.record_at(at(millis), Observation::Address { node, address: VIP.into(), present });
    }

    fn lock(history: &History, millis: u64, node: Option<Node>) {
        let value = node.map(|node| format!(r#"{{"format":1,"member":"{node}"}}"#));
        let key = format!("{OWN_PREFIX}v1/service/odoo/{VIP}");
        history.record_at(at(millis), Observation::Key { key, value, revision: millis as i64, lease: 1 });
    }

    fn standby(history: &History, from: u64, to: u64, node: Node) {
        let role = Role::Standby;
        history.record_at(at(from), Observation::Role { node, role, asked: at(from), before: None });
        history.record_at(at(to), Observation::RoleConfirmed { node, asked: at(to), questions: 1 });
    }

    fn write(history: &History, from: u64, to: u64, node: Node) {
        let attempt = Attempt { started: at(from), node: Some(node), from_replica: false, error: None, value: Some(1) };
        history.record_at(at(to), Observation::Write(attempt));
    }

    fn judge(history: &History, outages: &[Outage], by_hand: &[ByHand]) -> Verdict {
        Case { analysis: &Analysis::of(history), outages, by_hand }.judge()
    }

    #[test]
    fn two_holders_are_found_but_not_what_was_added_by_hand_for_a_moment() {
        let history = History::new();
        vip(&history, 0, Node::Db1, true);
        vip(&history, 1000, Node::Db2, true);
        vip(&history, 1001, Node::Db2, false);
        vip(&history, 2000, Node::Db1, false);
        assert_eq!(judge(&history, &[], &[]).broken.len(), 1);
        let hand = ByHand { node: Node::Db2, from: at(999), to: at(1003) };
        assert!(judge(&history, &[], &[hand]).broken.is_empty());
        vip(&history, 1500, Node::Db2, true);
        assert_eq!(judge(&history, &[], &[hand]).broken.len(), 1, "nobody added that");
    }

    #[test]
    fn a_node_in_recovery_is_excused_only_by_a_dead_daemon_and_only_for_a_lifetime() {
        let history = History::new();
        vip(&history, 0, Node::Db1, true);
        standby(&history, 2000, 3900, Node::Db1);
        vip(&history, 3800, Node::Db1, false);
        assert_eq!(judge(&history, &[], &[]).broken.len(), 1);
        let outage = |from, to| Outage { node: Node::Db1, from: at(from), to: Some(at(to)) };
        assert!(judge(&history, &[outage(500, 9000)], &[]).broken.is_empty());
        assert!(!judge(&history, &[outage(500, 2500)], &[]).broken.is_empty(), "it was back");
        assert_eq!(judge(&history, &[Outage { node: Node::Db2, ..outage(500, 9000) }], &[]).broken.len(), 1);
    }

    #[test]
    fn an_address_may_not_outlive_its_daemon_for_longer() {
        let history = History::new();
        vip(&history, 0, Node::Db1, true);
        vip(&history, 6000, Node::Db1, false);
        let outage = Outage { node: Node::Db1, from: at(1000), to: Some(at(9000)) };
        assert_eq!(judge(&history, &[outage], &[]).broken.len(), 1);
        let outage = Outage { to: Some(at(5000)), ..outage };
        assert!(judge(&history, &[outage], &[]).broken.is_empty());
    }

    #[test]
    fn who_holds_while_the_lock_is_anothers_is_found() {
        let history = History::new();
        lock(&history, 0, Some(Node::Db1));
        vip(&history, 10, Node::Db1, true);
        lock(&history, 1000, None);
        lock(&history, 1010, Some(Node::Db2));
        assert!(judge(&history, &[], &[]).broken.is_empty(), "nothing was seen after that");
        vip(&history, 1200, Node::Db1, false);
        assert_eq!(judge(&history, &[], &[]).broken.len(), 1);
    }

    #[test]
    fn whoever_acknowledges_has_the_lock() {
        let history = History::new();
        lock(&history, 0, Some(Node::Db1));
        write(&history, 100, 120, Node::Db1);
        lock(&history, 200, None);
        write(&history, 190, 210, Node::Db1);
        assert!(judge(&history, &[], &[]).broken.is_empty());
        write(&history, 300, 310, Node::Db1);
        assert_eq!(judge(&history, &[], &[]).broken.len(), 1);
    }
}

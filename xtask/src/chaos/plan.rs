//! What a seed says is to happen, to whom, for how long, and when. Nothing here touches the world.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// Something that befalls the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    // Packets are dropped; nobody is told.
    CutFromEtcd,
    CutTowardsEtcd,
    CutFromEtcdOneWay,
    CutFromEtcdMember,
    CutFromPeer,
    CutFromPeerOneWay,
    CutFromClient,
    CutVrrp,
    CutRestApi,
    CutCable,
    // Processes.
    DaemonStopped,
    DaemonKilled,
    DaemonRestarted,
    DaemonHandedOver,
    PostgresStopped,
    PostgresKilled,
    SessionEnded,
    PatroniStopped,
    PatroniKilled,
    EtcdStopped,
    EtcdKilled,
    NodeKilled,
    Starvation,
    // What administrators do.
    Switchover,
    PostgresRestarted,
    Paused,
    TtlChanged,
    LeaderKeyDeleted,
    LinkDown,
    VipDeleted,
    VipAdded,
    ClockStepped,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 32] = [
        Self::CutFromEtcd,
        Self::CutTowardsEtcd,
        Self::CutFromEtcdOneWay,
        Self::CutFromEtcdMember,
        Self::CutFromPeer,
        Self::CutFromPeerOneWay,
        Self::CutFromClient,
        Self::CutVrrp,
        Self::CutRestApi,
        Self::CutCable,
        Self::DaemonStopped,
        Self::DaemonKilled,
        Self::DaemonRestarted,
        Self::DaemonHandedOver,
        Self::PostgresStopped,
        Self::PostgresKilled,
        Self::SessionEnded,
        Self::PatroniStopped,
        Self::PatroniKilled,
        Self::EtcdStopped,
        Self::EtcdKilled,
        Self::NodeKilled,
        Self::Starvation,
        Self::Switchover,
        Self::PostgresRestarted,
        Self::Paused,
        Self::TtlChanged,
        Self::LeaderKeyDeleted,
        Self::LinkDown,
        Self::VipDeleted,
        Self::VipAdded,
        Self::ClockStepped,
    ];

    /// For people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::CutFromEtcd => "cut off from etcd",
            Self::CutTowardsEtcd => "nothing reaches etcd",
            Self::CutFromEtcdOneWay => "nothing comes from etcd",
            Self::CutFromEtcdMember => "cut off from one etcd member",
            Self::CutFromPeer => "cut off from the other node",
            Self::CutFromPeerOneWay => "nothing comes from the other node",
            Self::CutFromClient => "cut off from the client",
            Self::CutVrrp => "VRRP dropped",
            Self::CutRestApi => "Patroni's REST API dropped",
            Self::CutCable => "cable pulled",
            Self::DaemonStopped => "SIGSTOP of pgvrrp",
            Self::DaemonKilled => "SIGKILL of pgvrrp",
            Self::DaemonRestarted => "pgvrrp restarted",
            Self::DaemonHandedOver => "pgvrrp handed over",
            Self::PostgresStopped => "SIGSTOP of PostgreSQL",
            Self::PostgresKilled => "SIGKILL of PostgreSQL",
            Self::SessionEnded => "pgvrrp's session ended",
            Self::PatroniStopped => "SIGSTOP of Patroni",
            Self::PatroniKilled => "SIGKILL of Patroni",
            Self::EtcdStopped => "SIGSTOP of an etcd member",
            Self::EtcdKilled => "SIGKILL of an etcd member",
            Self::NodeKilled => "SIGKILL of everything on the node",
            Self::Starvation => "CPU starvation",
            Self::Switchover => "switchover",
            Self::PostgresRestarted => "PostgreSQL restarted",
            Self::Paused => "Patroni paused",
            Self::TtlChanged => "ttl changed",
            Self::LeaderKeyDeleted => "leader key deleted",
            Self::LinkDown => "interface down",
            Self::VipDeleted => "VIP deleted by hand",
            Self::VipAdded => "VIP added by hand",
            Self::ClockStepped => "CLOCK_REALTIME stepped",
        }
    }

    /// How long it lasts at most, in milliseconds; 0 for what is over at once.
    const fn longest(self) -> u32 {
        match self {
            Self::DaemonRestarted
            | Self::DaemonHandedOver
            | Self::PostgresKilled
            | Self::SessionEnded
            | Self::Switchover
            | Self::PostgresRestarted
            | Self::LeaderKeyDeleted
            | Self::VipDeleted
            | Self::VipAdded => 0,
            Self::Starvation | Self::ClockStepped => 5_000,
            // Longer than V and K live.
            Self::CutFromEtcd | Self::CutCable | Self::DaemonStopped | Self::PatroniStopped | Self::PatroniKilled => {
                30_000
            }
            _ => 12_000,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

/// Whom it befalls, found out when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The database node that has the VIP.
    Holder,
    /// The other one.
    Other,
}

/// One fault of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// How long after the one before it.
    pub(crate) after: Duration,
    /// What.
    pub(crate) kind: Kind,
    /// Whom.
    pub(crate) target: Target,
    /// How long it lasts.
    pub(crate) length: Duration,
    /// Chooses among the variants of its kind: which member, which step.
    pub(crate) variant: usize,
}

/// An endless sequence of faults. The kinds come out of a bag that is filled anew when it is empty, so that each has had its
/// turn before any has its next.
#[derive(Debug)]
pub(crate) struct Plan {
    rng: Rng,
    bag: Vec<Kind>,
    kinds: Vec<Kind>,
}

impl Plan {
    /// The plan of a seed, of these kinds.
    pub(crate) fn new(seed: u64, kinds: &[Kind]) -> Self {
        Self { rng: Rng::with_seed(seed), bag: Vec::new(), kinds: kinds.to_vec() }
    }

    /// True so many times in a hundred.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    pub(crate) fn next(&mut self) -> Fault {
        if self.bag.is_empty() {
            self.bag.clone_from(&self.kinds);
            self.rng.shuffle(&mut self.bag);
        }
        let kind = self.bag.pop().expect("a bag that was just filled has something in it");
        // Most faults hit where it hurts.
        let target = if self.chance(70) { Target::Holder } else { Target::Other };
        let after = self.stretch(200, 6_000);
        let length = match kind.longest() {
            0 => Duration::ZERO,
            longest => self.stretch(100, longest),
        };
        Fault { after, kind, target, length, variant: self.rng.usize(..1000) }
    }

    /// Short ones are frequent and long ones occur: the logarithm is uniform. In milliseconds.
    fn stretch(&mut self, low: u32, high: u32) -> Duration {
        let (low, high) = (f64::from(low).ln(), f64::from(high).ln());
        Duration::from_secs_f64((low + (high - low) * self.rng.f64()).exp() / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_the_same_each_time() {
        let (mut one, mut two, mut three) =
            (Plan::new(7, &Kind::ALL), Plan::new(7, &Kind::ALL), Plan::new(8, &Kind::ALL));
        let first: Vec<_> = (0..200).map(|_| one.next()).collect();
        assert!((0..200).all(|i| two.next() == first[i]));
        assert!((0..200).any(|i| three.next() != first[i]));
    }

    #[test]
    fn each_kind_has_its_turn_before_any_has_its_next() {
        let mut plan = Plan::new(1, &Kind::ALL);
        for _ in 0..3 {
            let mut turn: Vec<_> = (0..Kind::ALL.len()).map(|_| plan.next().kind).collect();
            turn.sort_unstable();
            assert_eq!(turn, Kind::ALL);
        }
    }

    #[test]
    fn what_is_over_at_once_has_no_length_and_the_rest_has_one() {
        let mut plan = Plan::new(2, &Kind::ALL);
        for fault in (0..1000).map(|_| plan.next()) {
            let longest = Duration::from_millis(u64::from(fault.kind.longest()));
            assert!(fault.length <= longest + Duration::from_millis(1), "{fault:?}");
            assert_eq!(fault.length.is_zero(), longest.is_zero(), "{fault:?}");
        }
    }
}

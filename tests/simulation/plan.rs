//! Swarm: each seed first draws which faults exist in its world, then how frequent they are. A world with few kinds of
//! faults goes deeper into each than one that has all.

use std::time::Duration;

use pgvrrp::gate::evidence::PatroniConfig;
use pgvrrp::gate::policy::{Failsafe, Fence, ForeignActive, Paused, Policy, PostgresDown};

use super::clock::{MS, Nanos, S};
use super::dice::Dice;

/// Something that befalls the world at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    CutEtcd,
    CutRequests,
    CutAnswers,
    CutMember,
    CutSegment,
    CutOneWay,
    LeaderChange,
    SlowMember,
    LaggingMember,
    SilentWatch,
    Compaction,
    EtcdOutage,
    Restore,
    Switchover,
    PostgresCrash,
    PostgresHang,
    PostgresFull,
    SessionKilled,
    SmartShutdown,
    /// Somebody restarts the primary as a standby.
    Demoted,
    HostDeath,
    Suspend,
    /// CLOCK_BOOTTIME goes forward at once while everything runs: a frozen virtual machine is told late how long it was.
    ClockJump,
    /// The host's oscillator warms up, or its hypervisor corrects it.
    RateChanged,
    PatroniKilled,
    PatroniStopped,
    Paused,
    /// Patroni's configuration says for a while that this is a standby cluster.
    StandbyCluster,
    LeaderKeyDeleted,
    LockDeleted,
    TtlChanged,
    /// Somebody puts a V that no daemon of the cluster put.
    LockForged,
    /// Patroni's `config` key is missing, or is no JSON.
    Unconfigured,
    /// A member of an old etcd lags and answers linearizable reads from what it has.
    StaleReads,
    Stopped,
    ThreadStuck,
    Killed,
    Restarted,
    /// The next process comes, soon or late.
    HandedOver,
    Cloned,
    /// This host's daemon is configured with another member's name.
    Misnamed,
    /// The member's conn_url does not resolve on this host.
    Unresolved,
    /// Patroni's `initialize` key is missing.
    Uninitialized,
    /// Behind pgvrrp's connection is another cluster's server, a primary.
    WrongServer,
    ForeignDelete,
    ForeignAdd,
    ForeignRouter,
    /// Frames that are nobody's business, or nobody's right.
    Stranger,
    LinkFlap,
    // pgvrrp's configuration changes while the daemons run:
    /// A VIP gets one more address ...
    AddressAdded,
    /// ... or loses one. In both cases its lock stays.
    AddressTakenOut,
    /// The lock is called after another address from now on.
    LockRenamed,
    VipAdded,
    VipTakenOut,
    /// A VIP has another virtual router ID.
    RouterChanged,
    /// A VIP is on another interface.
    PlaceChanged,
    PolicyChanged,
    /// As it was before the last change.
    RolledBack,
}

impl Fault {
    /// The operator's changes of the configuration.
    pub(crate) const RELOADS: [Self; 9] = [
        Self::AddressAdded,
        Self::AddressTakenOut,
        Self::LockRenamed,
        Self::VipAdded,
        Self::VipTakenOut,
        Self::RouterChanged,
        Self::PlaceChanged,
        Self::PolicyChanged,
        Self::RolledBack,
    ];

    pub(crate) const ALL: [Self; 49] = [
        Self::CutEtcd,
        Self::CutRequests,
        Self::CutAnswers,
        Self::CutMember,
        Self::CutSegment,
        Self::CutOneWay,
        Self::LeaderChange,
        Self::SlowMember,
        Self::LaggingMember,
        Self::SilentWatch,
        Self::Compaction,
        Self::EtcdOutage,
        Self::Restore,
        Self::Switchover,
        Self::PostgresCrash,
        Self::PostgresHang,
        Self::PostgresFull,
        Self::SessionKilled,
        Self::SmartShutdown,
        Self::Demoted,
        Self::HostDeath,
        Self::Suspend,
        Self::ClockJump,
        Self::RateChanged,
        Self::PatroniKilled,
        Self::PatroniStopped,
        Self::Paused,
        Self::StandbyCluster,
        Self::LeaderKeyDeleted,
        Self::LockDeleted,
        Self::TtlChanged,
        Self::LockForged,
        Self::Unconfigured,
        Self::StaleReads,
        Self::Stopped,
        Self::ThreadStuck,
        Self::Killed,
        Self::Restarted,
        Self::HandedOver,
        Self::Cloned,
        Self::Misnamed,
        Self::Unresolved,
        Self::Uninitialized,
        Self::WrongServer,
        Self::ForeignDelete,
        Self::ForeignAdd,
        Self::ForeignRouter,
        Self::Stranger,
        Self::LinkFlap,
    ];
}

/// What one world is like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) members: usize,
    pub(crate) config: PatroniConfig,
    pub(crate) policy: Policy,
    /// Local seconds per second of master time, per node.
    pub(crate) rates: Vec<f64>,
    /// What can befall it, and the mean time between two such events.
    pub(crate) faults: Vec<Fault>,
    pub(crate) gap: Nanos,
    /// How the configuration changes while the daemons run, and the mean time between two such changes.
    pub(crate) reloads: Vec<Fault>,
    pub(crate) reload_gap: Nanos,
    /// Two VIPs to begin with, the second of which has two addresses.
    pub(crate) two_vips: bool,
    /// The time of trouble, and the time after it.
    pub(crate) trouble: Nanos,
    pub(crate) calm: Nanos,
    // Per million:
    /// The process is paused before an output, or between the clock's reading and the call.
    pub(crate) pause: u32,
    pub(crate) longest_pause: Nanos,
    pub(crate) slow_call: u32,
    /// Somebody else holds the kernel's lock over all interfaces (RTNL) when the address is to be bound, for up to a second.
    pub(crate) rtnl: u32,
    pub(crate) bind_refused: u32,
    pub(crate) unbind_refused: u32,
    pub(crate) notice_lost: u32,
    pub(crate) lan_loss: u32,
    pub(crate) lan_twice: u32,
    /// A bridge sends a frame back to its sender.
    pub(crate) lan_echo: u32,
    pub(crate) lan_delay: Nanos,
    pub(crate) request_lost: u32,
    pub(crate) answer_lost: u32,
    pub(crate) answer_late: u32,
    pub(crate) slow_role: u32,
    /// An armed node's questions come as often as it wants; most of a long history's work would be that.
    pub(crate) swift: bool,
    /// Clients are connected when the address has to go.
    pub(crate) clients: u32,
    /// The kernel does not say how many there are, or the reset of connections takes all the time that it may.
    pub(crate) uncounted: u32,
    pub(crate) slow_reset: u32,
    /// The slowest promotion.
    pub(crate) promotion: Nanos,
    /// A host that died comes back as a new machine with another address and the same member name.
    pub(crate) replaced: u32,
    /// One that takes no time at all.
    pub(crate) at_once: u32,
    /// An etcd before 3.5.28: a lagging member answers linearizable reads from what it has.
    pub(crate) stale_reads: bool,
    /// How late leases may expire and addresses may go.
    pub(crate) lease_late: Nanos,
    pub(crate) address_late: Nanos,
}

impl Plan {
    /// A world in which nothing goes wrong.
    pub(crate) fn calm(nodes: usize) -> Self {
        Self {
            nodes,
            members: 3,
            config: config(20, 1, 3),
            policy: Policy::default(),
            rates: vec![1.0; nodes],
            faults: Vec::new(),
            gap: 60 * S,
            reloads: Vec::new(),
            reload_gap: 60 * S,
            two_vips: false,
            trouble: 0,
            calm: 120 * S,
            pause: 0,
            longest_pause: 0,
            slow_call: 0,
            rtnl: 0,
            bind_refused: 0,
            unbind_refused: 0,
            notice_lost: 0,
            lan_loss: 0,
            lan_twice: 0,
            lan_echo: 0,
            lan_delay: MS,
            request_lost: 0,
            answer_lost: 0,
            answer_late: 0,
            slow_role: 0,
            swift: false,
            clients: 0,
            uncounted: 0,
            slow_reset: 0,
            promotion: 200 * MS,
            replaced: 0,
            at_once: 0,
            stale_reads: false,
            lease_late: 500 * MS,
            address_late: 150 * MS,
        }
    }

    /// Two machines are one.
    pub(crate) fn has_clone(&self) -> bool {
        self.nodes > 2 && self.faults.contains(&Fault::Cloned)
    }

    /// The world of a seed.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let share = *dice.pick(&[80_000, 150_000, 300_000, 500_000]);
        let faults: Vec<_> = Fault::ALL.into_iter().filter(|_| dice.chance(share)).collect();
        // A copy of a machine is a third one.
        let third = faults.contains(&Fault::Cloned) || dice.chance(150_000);
        let mut plan = Self::calm(if third { 3 } else { 2 });
        plan.faults = faults;
        plan.members = if dice.chance(300_000) { 1 } else { 3 };
        plan.config = if dice.chance(500_000) { config(20, 1, 3) } else { config(30, 10, 10) };
        plan.config.failsafe_mode = dice.chance(300_000);
        let skewed = dice.chance(600_000);
        for rate in &mut plan.rates {
            *rate = match (skewed, dice.below(4)) {
                (false, _) => 1.0,
                (true, 0) => 0.9,
                (true, 1) => 1.1,
                (true, _) => 0.9 + dice.below(201) as f64 / 1000.0,
            };
        }
        // What moves the VIP is what the other faults meet; without it little happens.
        plan.faults.push(*dice.pick(&[Fault::Switchover, Fault::PatroniKilled, Fault::HostDeath, Fault::CutEtcd]));
        plan.gap = dice.stretch(2 * S, 60 * S);
        plan.trouble = 480 * S;
        plan.calm = 140 * S;
        let mut rate = |share: u32, low: u64, high: u64| {
            if dice.chance(share) { dice.stretch(low, high) as u32 } else { 0 }
        };
        plan.pause = rate(300_000, 20, 5_000);
        plan.slow_call = rate(300_000, 1_000, 300_000);
        plan.rtnl = rate(200_000, 1_000, 300_000);
        plan.bind_refused = rate(150_000, 300, 30_000);
        plan.unbind_refused = rate(150_000, 10_000, 700_000);
        plan.notice_lost = rate(250_000, 1_000, 300_000);
        plan.lan_loss = rate(300_000, 1_000, 500_000);
        plan.lan_twice = rate(200_000, 1_000, 300_000);
        plan.lan_echo = rate(150_000, 10_000, 1_000_000);
        plan.request_lost = rate(250_000, 300, 200_000);
        plan.answer_lost = rate(250_000, 300, 200_000);
        plan.answer_late = rate(250_000, 1_000, 300_000);
        plan.slow_role = rate(250_000, 1_000, 300_000);
        plan.clients = rate(600_000, 100_000, 1_000_000);
        plan.uncounted = rate(200_000, 10_000, 1_000_000);
        plan.slow_reset = rate(300_000, 10_000, 1_000_000);
        plan.longest_pause = dice.stretch(500 * MS, 60 * S);
        plan.lan_delay = dice.stretch(MS, 2 * S);
        plan.promotion = dice.stretch(MS, 180 * S);
        plan.at_once = 50_000;
        plan.replaced = 300_000;
        plan.stale_reads = plan.faults.contains(&Fault::StaleReads);
        plan.lease_late = if dice.chance(500_000) { 1500 * MS } else { 500 * MS };
        plan.address_late = if dice.chance(500_000) { S } else { 150 * MS };
        if dice.chance(140_000) {
            // Evidence that is old when the promotion ends at last.
            plan.faults.extend([Fault::Switchover, Fault::Stopped, Fault::ThreadStuck]);
            (plan.promotion, plan.gap) = (180 * S, dice.stretch(2 * S, 8 * S));
        }
        if dice.chance(200_000) {
            plan.policy.postgres_down = PostgresDown::Hold;
        }
        if dice.chance(200_000) {
            plan.policy.paused = Paused::Release;
        }
        if dice.chance(200_000) {
            plan.policy.foreign_active = ForeignActive::BindAtOnce;
        }
        if dice.chance(200_000) {
            plan.policy.failsafe = Failsafe::Drop;
        }
        if dice.chance(100_000) {
            plan.guard_by_leader_key();
        }
        plan
    }

    /// Lets an operator into it, or not. By dice of his own: a world without him is the same as if there were none.
    pub(crate) fn draw_reloads(&mut self, dice: &mut Dice) {
        if !dice.chance(500_000) {
            return;
        }
        let share = *dice.pick(&[200_000, 500_000, 1_000_000]);
        self.reloads = Fault::RELOADS.into_iter().filter(|_| dice.chance(share)).collect();
        // Frequent enough to meet one another, or so rare that each settles.
        self.reload_gap = dice.stretch(3 * S, 120 * S);
        self.two_vips = dice.chance(500_000);
        if self.policy.fence == Fence::LeaderKey {
            // A kernel that keeps each of several VIPs waiting makes a daemon that does not run for seconds.
            (self.rtnl, self.slow_call) = (0, 0);
        }
    }

    /// With K as the only fence, without what P1 is not promised for then: a daemon that does not run or a kernel that does
    /// not obey for seconds while Patroni moves, a K that somebody else than Patroni moves, and two Patronis of one name.
    fn guard_by_leader_key(&mut self) {
        self.policy.fence = Fence::LeaderKey;
        // The configuration refuses anything else.
        self.policy.postgres_down = PostgresDown::Release;
        let beyond = [
            Fault::Stopped,
            Fault::ThreadStuck,
            Fault::Killed,
            Fault::HandedOver,
            Fault::Suspend,
            Fault::LeaderKeyDeleted,
            // In a pause Patroni then gives K away, at once.
            Fault::Demoted,
            Fault::Restore,
            Fault::StaleReads,
            Fault::Cloned,
            Fault::Misnamed,
        ];
        self.faults.retain(|fault| !beyond.contains(fault));
        self.stale_reads = false;
        self.pause = 0;
        self.unbind_refused = 0;
    }
}

/// Patroni's times.
pub(crate) fn config(ttl: u64, loop_wait: u64, retry_timeout: u64) -> PatroniConfig {
    PatroniConfig {
        ttl: Duration::from_secs(ttl),
        loop_wait: Duration::from_secs(loop_wait),
        retry_timeout: Duration::from_secs(retry_timeout),
        ..PatroniConfig::DEFAULT
    }
}

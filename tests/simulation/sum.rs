//! What many histories amount to, and whether they went everywhere.

use std::collections::BTreeMap;
use std::fmt;

use super::clock::{Nanos, S};
use super::history::{Done, Verdict};
use super::plan::Fault;

/// Each kind of fault has to be in this share of the histories.
const SHARE: f64 = 0.10;

/// Each way to a reason has to be taken this many times per history.
const RATE: f64 = 0.01;

/// The ways that have to be taken. Others are rarer, or say nothing new; the report has them all.
const WAYS: &[Way] = &[
    ("active", "holding_unanswered", "active"),
    ("active", "holding_down", "active"),
    ("active", "holding_failsafe", "active"),
    ("active", "holding_paused", "active"),
    ("active", "stalled", "active"),
    ("active", "postgres_down", "draining"),
    ("active", "lock_lost", "releasing"),
    ("active", "deadline", "releasing"),
    ("active", "no_leader", "releasing"),
    ("active", "other_leads", "releasing"),
    ("active", "in_recovery", "releasing"),
    ("active", "wrong_server", "releasing"),
    ("active", "stopping", "releasing"),
    ("active", "bind_refused", "releasing"),
    ("active", "no_interface", "releasing"),
    ("active", "postgres_unknown", "releasing"),
    ("active", "stalled", "releasing"),
    ("active", "removed", "releasing"),
    ("draining", "postgres_down", "releasing"),
    ("armed", "holding", "active"),
    ("armed", "postgres_unasked", "armed"),
    ("armed", "in_recovery", "armed"),
    ("armed", "standby_cluster", "armed"),
    ("armed", "postgres_unknown", "armed"),
    ("armed", "stalled", "armed"),
    ("armed", "handing_over", "armed"),
    ("armed", "displacing", "displacing"),
    ("armed", "postgres_down", "closed"),
    ("armed", "deadline", "closed"),
    ("armed", "no_leader", "closed"),
    ("armed", "other_leads", "closed"),
    ("armed", "lock_lost", "closed"),
    ("armed", "wrong_server", "closed"),
    ("armed", "no_interface", "closed"),
    ("armed", "stopping", "closed"),
    ("armed", "removed", "closed"),
    ("armed", "acquire_failed", "closed"),
    ("displacing", "holding", "active"),
    ("adopting", "holding", "active"),
    ("adopting", "etcd_unasked", "releasing"),
    ("adopting", "acquiring", "releasing"),
    ("closed", "acquiring", "armed"),
    ("closed", "postgres_unasked", "armed"),
    ("closed", "other_leads", "releasing"),
    ("closed", "no_leader", "releasing"),
    ("closed", "postgres_down", "releasing"),
    ("closed", "etcd_rebuilt", "releasing"),
    ("closed", "lock_held", "releasing"),
    ("closed", "kernel_unasked", "closed"),
    ("closed", "etcd_unasked", "closed"),
    ("closed", "etcd_rebuilt", "closed"),
    ("closed", "no_leader", "closed"),
    ("closed", "other_leads", "closed"),
    ("closed", "split_brain", "closed"),
    ("closed", "unknown_member", "closed"),
    ("closed", "member_unresolved", "closed"),
    ("closed", "member_elsewhere", "closed"),
    ("closed", "not_initialized", "closed"),
    ("closed", "wrong_server", "closed"),
    ("closed", "postgres_unasked", "closed"),
    ("closed", "postgres_down", "closed"),
    ("closed", "postgres_unknown", "closed"),
    ("closed", "no_interface", "closed"),
    ("closed", "acquire_failed", "closed"),
    ("closed", "lock_held", "closed"),
    ("closed", "lock_unreadable", "closed"),
    ("closed", "deadline", "closed"),
    ("closed", "bind_refused", "closed"),
    ("closed", "handing_over", "closed"),
    ("closed", "stopping", "closed"),
];

/// From a phase of the VIP's life, for a reason, to a phase: the edges of the decision.
pub(crate) type Way = (&'static str, &'static str, &'static str);

/// What many histories amount to.
#[derive(Default)]
pub(crate) struct Sum {
    seeds: u64,
    broken: u64,
    passes: u64,
    /// Simulated time.
    passed: Nanos,
    binds: u64,
    leaderless: u64,
    longest: (Nanos, u64),
    with: BTreeMap<Fault, u64>,
    counts: BTreeMap<&'static str, u64>,
    ways: BTreeMap<Way, u64>,
}

impl Sum {
    pub(crate) fn seeds(&self) -> u64 {
        self.seeds
    }

    pub(crate) fn broken(&self) -> u64 {
        self.broken
    }

    /// Where the histories did not go frequently enough; of fewer than a hundred thousand
    /// chance would say too much.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let seeds = self.seeds as f64;
        let faults = Fault::ALL
            .iter()
            .chain(&Fault::RELOADS)
            .filter(|fault| *self.with.get(fault).unwrap_or(&0) as f64 / seeds < SHARE);
        let rare = WAYS.iter().filter(|way| *self.ways.get(*way).unwrap_or(&0) as f64 / seeds < RATE);
        let ways = rare.map(|way| format!("{} is too rare", way_name(way)));
        faults.map(|fault| format!("{fault:?} is too rare")).chain(ways).filter(|_| self.seeds >= 100_000).collect()
    }

    pub(crate) fn add(&mut self, seed: u64, done: &Done) {
        let world = &done.world;
        self.seeds += 1;
        self.broken += u64::from(matches!(done.verdict, Verdict::Broken(_)));
        self.passes += world.passes;
        self.passed += world.now;
        self.binds += world.binds;
        self.leaderless += u64::from(world.rightful.is_none());
        self.longest = self.longest.max((world.longest_wait, seed));
        for fault in world.faults.keys() {
            *self.with.entry(*fault).or_default() += 1;
        }
        for (way, count) in &world.ways {
            *self.ways.entry(*way).or_default() += count;
        }
        for (what, count) in &world.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, broken, passed, passes, binds, leaderless, longest: (wait, seed), .. } = self;
        writeln!(f, "{seeds} histories, {broken} broken, {passes} passes, {binds} binds")?;
        writeln!(f, "{:.1} simulated days", *passed as f64 / S as f64 / 86_400.0)?;
        writeln!(f, "{leaderless} ended without a primary that holds K")?;
        writeln!(f, "longest wait after healing {:.1} s, seed {seed}", *wait as f64 / S as f64)?;
        for (fault, count) in &self.with {
            writeln!(f, "  {:>5.1} % of the histories with {fault:?}", 100.0 * *count as f64 / *seeds as f64)?;
        }
        for (way, count) in &self.ways {
            writeln!(f, "  {count:>9} times {}", way_name(way))?;
        }
        for (what, count) in &self.counts {
            writeln!(f, "  {count:>9} {what}")?;
        }
        Ok(())
    }
}

fn way_name((from, why, to): &Way) -> String {
    format!("{from} -> {to}: {why}")
}

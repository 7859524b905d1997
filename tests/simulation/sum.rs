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

/// The ways that have to be taken: from an address that is bound, to each reason why it may stay, or why it leaves ...
const BOUND: [&str; 16] = [
    "holding",
    "holding_paused",
    "holding_failsafe",
    "holding_unanswered",
    "holding_down",
    "stalled",
    "deadline",
    "lock_lost",
    "no_leader",
    "other_leads",
    "in_recovery",
    "postgres_down",
    "wrong_server",
    "no_interface",
    "bind_refused",
    "stopping",
];

/// ... and from one that is not, to each reason why it may come, or why not.
const NOT_BOUND: [&str; 27] = [
    "holding",
    "kernel_unasked",
    "etcd_unasked",
    "etcd_rebuilt",
    "no_leader",
    "other_leads",
    "unknown_member",
    "member_unresolved",
    "member_elsewhere",
    "not_initialized",
    "wrong_server",
    "postgres_unasked",
    "postgres_down",
    "postgres_unknown",
    "in_recovery",
    "no_interface",
    "acquiring",
    "acquire_failed",
    "lock_held",
    "lock_lost",
    "unlocking",
    "deadline",
    "stalled",
    "bind_refused",
    "displacing",
    "handing_over",
    "stopping",
];

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
    edges: BTreeMap<(bool, &'static str), u64>,
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
        let faults = Fault::ALL.iter().filter(|fault| *self.with.get(fault).unwrap_or(&0) as f64 / seeds < SHARE);
        let ways = BOUND.map(|why| (true, why)).into_iter().chain(NOT_BOUND.map(|why| (false, why)));
        let ways = ways.filter(|way| *self.edges.get(way).unwrap_or(&0) as f64 / seeds < RATE);
        let ways = ways.map(|(bound, why)| format!("{} is too rare", way_name(bound, why)));
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
        for (edge, count) in &world.edges {
            *self.edges.entry(*edge).or_default() += count;
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
        for ((bound, why), count) in &self.edges {
            writeln!(f, "  {count:>9} times {}", way_name(*bound, why))?;
        }
        for (what, count) in &self.counts {
            writeln!(f, "  {count:>9} {what}")?;
        }
        Ok(())
    }
}

fn way_name(bound: bool, why: &str) -> String {
    format!("{} -> {why}", if bound { "bound" } else { "not bound" })
}

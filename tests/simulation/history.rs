//! One history from one seed: trouble, then calm; and what many of them amount to.

use std::collections::BTreeMap;
use std::fmt;

use super::clock::{Nanos, S};
use super::dice::Dice;
use super::plan::{Fault, Plan};
use super::world::World;

/// How a history ended.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Kept,
    Broken(String),
}

/// What came of a history.
pub(crate) struct Done {
    pub(crate) verdict: Verdict,
    pub(crate) world: World,
}

/// The history of a seed.
pub(crate) fn history(seed: u64, loud: bool) -> Done {
    let mut dice = Dice::new(seed);
    let plan = Plan::draw(&mut dice);
    run(plan, dice, loud)
}

/// A history in a world of this plan.
pub(crate) fn run(plan: Plan, dice: Dice, loud: bool) -> Done {
    let (trouble, calm) = (plan.trouble, plan.calm);
    let mut world = World::new(plan, dice, loud);
    world.trouble();
    world.run_until(trouble);
    if world.broken.is_none() {
        world.heal();
        world.run_until(trouble + calm);
    }
    let verdict = world.broken.clone().map_or(Verdict::Kept, Verdict::Broken);
    Done { verdict, world }
}

/// Replays a seed and prints its end.
pub(crate) fn explain(seed: u64, lines: usize) -> Verdict {
    let mut done = history(seed, true);
    println!("{:#?}", done.world.plan);
    let tail = done.world.take_tail();
    let skip = tail.len().saturating_sub(lines);
    tail.iter().skip(skip).for_each(|line| println!("{line}"));
    done.verdict
}

#[allow(clippy::disallowed_methods, reason = "a test is told by its environment which seeds to try")]
pub(crate) fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// What many histories amount to.
#[derive(Default)]
pub(crate) struct Sum {
    seeds: u64,
    broken: u64,
    passes: u64,
    binds: u64,
    leaderless: u64,
    longest: (Nanos, u64),
    with: BTreeMap<Fault, u64>,
    counts: BTreeMap<&'static str, u64>,
}

impl Sum {
    pub(crate) fn add(&mut self, seed: u64, done: &Done) {
        let world = &done.world;
        self.seeds += 1;
        self.broken += u64::from(matches!(done.verdict, Verdict::Broken(_)));
        self.passes += world.passes;
        self.binds += world.binds;
        self.leaderless += u64::from(world.rightful.is_none());
        self.longest = self.longest.max((world.longest_wait, seed));
        for fault in world.faults.keys() {
            *self.with.entry(*fault).or_default() += 1;
        }
        for (what, count) in &world.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, broken, passes, binds, leaderless, longest: (wait, seed), .. } = self;
        writeln!(f, "{seeds} histories, {broken} broken, {passes} passes, {binds} binds")?;
        writeln!(f, "{leaderless} ended without a primary that holds K")?;
        writeln!(f, "longest wait after healing {:.1} s, seed {seed}", *wait as f64 / S as f64)?;
        for (fault, count) in &self.with {
            writeln!(f, "  {:>5.1} % of the histories with {fault:?}", 100.0 * *count as f64 / *seeds as f64)?;
        }
        for (what, count) in &self.counts {
            writeln!(f, "  {count:>9} {what}")?;
        }
        Ok(())
    }
}

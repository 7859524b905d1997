//! One history from one seed: trouble, then calm.

use super::dice::Dice;
use super::plan::Plan;
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
    let mut plan = Plan::draw(&mut dice);
    plan.draw_reloads(&mut Dice::new(!seed));
    run(plan, dice, loud)
}

/// A history in a world of this plan.
pub(crate) fn run(plan: Plan, dice: Dice, loud: bool) -> Done {
    let (trouble, calm) = (plan.trouble, plan.calm);
    let mut world = World::new(plan, dice, loud);
    world.trouble();
    world.operate();
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

#[cfg(feature = "sabotage")]
#[allow(clippy::disallowed_methods, reason = "as above")]
pub(crate) fn environment_text(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

//! The deterministic simulator: real nodes in a world of small models, in which everything goes wrong that can.
//!
//! The environment says which seeds are tried: `PGVRRP_SEED=n` one, in words; `PGVRRP_FIRST=n` and `PGVRRP_SEEDS=n` so many
//! from that on; `PGVRRP_SECONDS=n` as many as fit into that time; `PGVRRP_JOBS=n` on so many cores; `PGVRRP_GO_ON=1` past
//! those that break. `cargo xtask simulate` sets them. See `docs/SIMULATION.md`.

mod asker;
mod checks;
mod clock;
mod dice;
mod etcd;
mod exhaustive;
mod failsafe;
mod faults;
mod history;
mod kernel;
mod lan;
mod milestones;
mod patroni;
mod plan;
mod postgres;
mod process;
mod recorded;
mod sabotage;
#[cfg(feature = "sabotage")]
mod sabotaged;
mod search;
mod sum;
mod world;

use std::time::Duration;

use history::{Verdict, environment, explain};
use search::Search;

/// Every seed of the suite, or those that were asked for.
#[test]
fn no_seed_breaks_a_promise() {
    if let Some(seed) = environment("PGVRRP_SEED") {
        if let Verdict::Broken(how) = explain(seed, usize::MAX) {
            panic!("seed {seed}: {how}");
        }
        return;
    }
    let limit = environment("PGVRRP_SECONDS").map(Duration::from_secs);
    let usual = if limit.is_some() { u64::MAX } else { 100 };
    let search = Search {
        first: environment("PGVRRP_FIRST").unwrap_or(1),
        seeds: environment("PGVRRP_SEEDS").unwrap_or(usual),
        limit,
        jobs: environment("PGVRRP_JOBS").unwrap_or(1) as usize,
        go_on: environment("PGVRRP_GO_ON").is_some(),
    };
    let sum = search.run().unwrap_or_else(|broken| panic!("{broken}"));
    println!("{sum}");
    let gaps = sum.gaps();
    assert!(gaps.is_empty(), "these histories did not go everywhere: {gaps:?}");
}

/// A day in which nothing happens.
#[test]
fn nothing_moves_on_a_calm_day() {
    let day = if cfg!(debug_assertions) { 4 } else { 24 } * 3600 * clock::S;
    let mut world = world::World::new(plan::Plan::calm(2), dice::Dice::new(1), false);
    world.run_until(30 * clock::S);
    let binds = world.binds;
    world.run_until(day);
    assert_eq!(world.broken, None);
    assert_eq!(world.binds, binds, "the address was bound once and stayed");
    assert!(world.hosts[0].kernel.holds(world.now));
    for h in 0..2 {
        let process = world.hosts[h].process.as_ref().expect("it runs");
        let status = process.node.status(world.local(h)).vips.remove(0);
        let moves = (status.counters.gained, status.counters.lost, status.counters.repaired);
        assert_eq!(moves, (u64::from(h == 0), 0, 0), "{status:?}");
    }
}

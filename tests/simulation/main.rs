//! The deterministic simulator: real nodes in a world of small models, in which everything goes wrong that can.
//!
//! `PGVRRP_SEED=n` replays one seed and prints it; `PGVRRP_SEEDS=n` sets how many seeds are tried. See
//! `docs/SIMULATION.md`.

mod asker;
mod checks;
mod clock;
mod dice;
mod etcd;
mod faults;
mod history;
mod kernel;
mod lan;
mod patroni;
mod plan;
mod postgres;
mod process;
mod sabotage;
mod world;

use history::{Verdict, environment, explain, history};

/// Every seed of the suite, or as many as asked for.
#[test]
fn no_seed_breaks_a_promise() {
    if let Some(seed) = environment("PGVRRP_SEED") {
        if let Verdict::Broken(how) = explain(seed, usize::MAX) {
            panic!("seed {seed}: {how}");
        }
        return;
    }
    let first = environment("PGVRRP_FIRST").unwrap_or(1);
    let seeds = environment("PGVRRP_SEEDS").unwrap_or(100);
    let mut sum = history::Sum::default();
    for seed in first..first + seeds {
        let done = history(seed, false);
        sum.add(seed, &done);
        if let Verdict::Broken(how) = &done.verdict {
            if environment("PGVRRP_GO_ON").is_some() {
                println!("seed {seed}: {how}");
                continue;
            }
            explain(seed, 150);
            panic!("seed {seed}: {how}\nreplay: PGVRRP_SEED={seed} cargo test --test simulation -- --nocapture");
        }
    }
    println!("{sum}");
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

/// Takes a guard away that lives outside the pure parts: a history that keeps the promises with it breaks one without.
#[test]
fn guards_around_the_node_matter() {
    for (guard, shown) in sabotage::SHOWN {
        let seeds = environment("PGVRRP_SABOTAGE").map_or(shown..shown + 1, |last| 1..last + 1);
        sabotage::remove(Some(guard));
        let broken = seeds.into_iter().find_map(|seed| match history(seed, false).verdict {
            Verdict::Broken(how) => Some((seed, how)),
            Verdict::Kept => None,
        });
        sabotage::remove(None);
        let (seed, how) = broken.unwrap_or_else(|| panic!("without {guard:?} nothing broke"));
        println!("{guard:?}: seed {seed}: {how}");
        assert!(matches!(history(seed, false).verdict, Verdict::Kept), "seed {seed} breaks with every guard in place");
    }
}

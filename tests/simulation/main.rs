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
mod operator;
mod patroni;
mod plan;
mod postgres;
mod process;
mod quarantine;
mod recorded;
mod sabotage;
#[cfg(feature = "sabotage")]
mod sabotaged;
mod search;
mod sum;
mod world;

use std::time::Duration;

use pgvrrp::gate::policy::Fence;

use history::{Verdict, environment, explain};
use plan::Plan;
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

/// Days in which nothing happens, in every kind of cluster.
#[test]
fn nothing_moves_on_a_calm_day() {
    let mut worlds = vec![Plan::calm(2), Plan::calm(2), Plan::calm(2), Plan::calm(2), Plan::calm(3)];
    worlds[1].rates = vec![0.9, 1.1];
    (worlds[2].rates, worlds[2].config) = (vec![1.1, 0.9], plan::config(30, 10, 10));
    worlds[3].config.failsafe_mode = true;
    worlds[4].members = 1;
    // With K as the fence, with the slowest and the fastest Patroni, and clocks that make its lease look short or long.
    for config in [plan::config(20, 1, 3), plan::config(30, 10, 10)] {
        let mut world = Plan { config, rates: vec![0.9, 1.1], ..Plan::calm(2) };
        world.policy.fence = Fence::LeaderKey;
        worlds.push(world);
    }
    let (day, part) = if cfg!(debug_assertions) { (4, 1) } else { (24, 4) };
    for (nth, plan) in worlds.into_iter().enumerate() {
        let hours = if nth == 0 { day } else { part };
        nothing_moves(plan, hours * 3600 * clock::S);
    }
}

fn nothing_moves(plan: Plan, span: clock::Nanos) {
    let seen = format!("{plan:?}");
    let mut world = world::World::new(plan, dice::Dice::new(1), false);
    world.run_until(30 * clock::S);
    let binds = world.binds;
    world.run_until(span);
    assert_eq!(world.broken, None, "{seen}");
    assert_eq!(world.binds, binds, "the address was bound once and stayed: {seen}");
    assert!(world.hosts[0].kernel.holds(world.now), "{seen}");
    for h in 0..world.hosts.len() {
        let process = world.hosts[h].process.as_ref().expect("it runs");
        let status = process.node.status(world.local(h)).vips.remove(0);
        let moves = (status.counters.gained, status.counters.lost, status.counters.repaired);
        assert_eq!(moves, (u64::from(h == 0), 0, 0), "{seen}: {status:?}");
    }
}

/// P3: bound and announced within 10 ms of the moment that K is this node's and PostgreSQL primary, at planned switchovers.
/// A promotion that is over before V could be put waits for that: two requests to etcd.
#[test]
fn a_switchover_takes_milliseconds() {
    const SWITCHOVERS: usize = 50;
    let mut plan = Plan { swift: true, ..Plan::calm(2) };
    plan.trouble = clock::Nanos::MAX;
    let mut world = world::World::new(plan, dice::Dice::new(3), false);
    world.run_until(20 * clock::S);
    let mut fenced_before = 0;
    for nth in 0..SWITCHOVERS {
        let old = (0..2).find(|&h| world.hosts[h].kernel.holds(world.now)).expect("somebody holds");
        let new = 1 - old;
        world.befall(plan::Fault::Switchover, old, 0);
        let begun = world.now;
        let mut steps = |is: &dyn Fn(&world::World) -> bool| {
            while !is(&world) {
                world.run_until(world.now + clock::MS);
                assert!(world.broken.is_none() && world.now < begun + 30 * clock::S, "{nth}: {:?}", world.broken);
            }
            world.now
        };
        let leads = steps(&|w| w.etcd.leads(&w.hosts[new].member));
        let fenced = steps(&|w| w.lock_is_of(new, kernel::VIP.into()));
        steps(&|w| w.hosts[new].pg.is_primary());
        assert!(fenced < leads + 50 * clock::MS, "{nth}: V came {} ms after K", (fenced - leads) / clock::MS);
        let since = world.hosts[new].pg.since;
        fenced_before += usize::from(fenced <= since);
        world.run_until(since.max(fenced) + 10 * clock::MS);
        let host = &world.hosts[new];
        let done = host.kernel.holds(world.now) && host.served().is_told();
        assert!(done, "{nth}: {} ms after the promotion", (world.now - since) / clock::MS);
        world.run_until(world.now + 15 * clock::S);
        assert_eq!(world.broken, None);
    }
    assert!(fenced_before > SWITCHOVERS * 2 / 3, "V was ours before the promotion was over only {fenced_before} times");
}

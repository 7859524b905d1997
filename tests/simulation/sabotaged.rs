//! What each guard is good for: taken away, some seed breaks a promise that it otherwise keeps.
//!
//! `cargo test --test simulation --features sabotage sabotage`. `PGVRRP_SEEDS=n` looks further for those that break
//! nothing.

use std::sync::Mutex;
use std::thread;

use pgvrrp::gate::guard::{Guard, removed};
use pgvrrp::gate::policy::Fence;

use super::clock::{MS, S};
use super::dice::Dice;
use super::history::{Verdict, environment, environment_text, run};
use super::plan::{Fault, Plan, config};
use super::sabotage::{Model, remove};
use super::world::World;

/// A guard of the pure parts, or one around them.
#[derive(Clone, Copy, Debug)]
enum Any {
    Pure(Guard),
    Model(Model),
}

use Any::{Model as M, Pure as P};

/// Guards that are taken away, the kinds of faults that meet them, the promise that is broken then, and the seed that breaks it.
const MISSED: &[(&[Any], &[Fault], &str, u64)] = &[
    (&[P(Guard::Verdict)], &[Fault::Switchover, Fault::PatroniKilled], "S2", 1),
    (&[P(Guard::LeaderKey)], &[Fault::PatroniKilled, Fault::CutEtcd, Fault::LeaderKeyDeleted], "S2", 38),
    (&[P(Guard::Deadline)], &[Fault::CutEtcd, Fault::CutAnswers, Fault::EtcdOutage], "S3", 149),
    (&[P(Guard::ClockRate)], &[], "S1f", 18),
    (&[P(Guard::Reserve)], &[], "S1f", 32),
    (&[P(Guard::LifetimeMargin)], &[], "S1f", 952),
    (
        &[P(Guard::ProofReadsLock)],
        &[Fault::LockDeleted, Fault::Paused, Fault::PatroniKilled, Fault::Switchover],
        "S2",
        1,
    ),
    (&[P(Guard::ReadNotOlder)], &[Fault::LaggingMember, Fault::Switchover, Fault::PatroniKilled], "L", 2),
    (&[P(Guard::LeaderLease)], &[Fault::TtlChanged, Fault::PatroniKilled, Fault::CutEtcd], "S1f", 238),
    (&[P(Guard::Primary)], &[Fault::Switchover, Fault::PostgresHang], "S2", 1),
    (&[P(Guard::AskedSinceAcquired)], &[Fault::LeaderKeyDeleted, Fault::PostgresHang, Fault::Demoted], "S2", 1765),
    (&[P(Guard::Repair)], &[Fault::ForeignDelete, Fault::PostgresHang, Fault::Demoted, Fault::ThreadStuck], "S2", 1464),
    (
        &[P(Guard::FreshAfterStall)],
        &[Fault::Switchover, Fault::Stopped, Fault::ThreadStuck, Fault::PatroniKilled],
        "S2",
        11,
    ),
    (
        &[P(Guard::ArmedSinceRelease), P(Guard::AskedSinceAcquired)],
        &[Fault::LeaderKeyDeleted, Fault::PostgresHang, Fault::Demoted],
        "S2",
        58,
    ),
    (&[P(Guard::SystemIdentifier)], &[Fault::WrongServer, Fault::Switchover], "S2", 2),
    (&[P(Guard::LocalMember)], &[Fault::Misnamed, Fault::Switchover, Fault::HostDeath, Fault::Stopped], "L", 3),
    (&[P(Guard::Quarantine)], &[Fault::Restore, Fault::CutEtcd, Fault::Switchover], "S1", 6),
    (&[P(Guard::Incarnation)], &[Fault::Cloned, Fault::Switchover, Fault::HostDeath, Fault::Killed], "S1f", 1),
    (&[P(Guard::Boot)], &[Fault::Cloned, Fault::Switchover, Fault::HostDeath, Fault::Stopped], "S1f", 9),
    (&[P(Guard::Adoption)], &[Fault::Killed, Fault::Switchover, Fault::PostgresCrash, Fault::ForeignAdd], "S2", 2),
    (&[P(Guard::RevokeAfterUnbind)], &[Fault::Switchover, Fault::LeaderKeyDeleted], "S6", 1),
    (&[P(Guard::Expel)], &[Fault::ForeignAdd, Fault::Killed, Fault::Switchover], "S2", 2),
    (&[M(Model::NotAfter)], &[Fault::Switchover, Fault::CutEtcd, Fault::PatroniKilled], "S3", 45),
    (&[M(Model::NotAfterAgain)], &[Fault::Stopped, Fault::Switchover], "S2", 253),
    (&[M(Model::Lifetime)], &[Fault::Killed, Fault::Stopped, Fault::Switchover], "S1f", 1),
    (&[M(Model::ReleaseOrder)], &[Fault::Switchover, Fault::LeaderKeyDeleted], "S6", 19),
    (
        &[M(Model::FenceLeader)],
        &[Fault::Switchover, Fault::LeaderKeyDeleted, Fault::PatroniKilled, Fault::SlowMember],
        "P2",
        2,
    ),
    (
        &[M(Model::Epoch)],
        &[Fault::Switchover, Fault::LeaderKeyDeleted, Fault::PatroniKilled, Fault::SlowMember],
        "P2",
        3,
    ),
    (&[M(Model::FenceLock)], &[Fault::Cloned, Fault::Switchover, Fault::Stopped], "S1f", 136),
    (
        &[M(Model::FreshLease)],
        &[Fault::Switchover, Fault::LeaderKeyDeleted, Fault::SlowMember, Fault::TtlChanged],
        "S1f",
        4865,
    ),
    (&[M(Model::OneKeepalive)], &[], "S1f", 13076),
    (&[M(Model::KeepaliveIsOutput)], &[Fault::ThreadStuck, Fault::Switchover], "L", 3),
    (&[M(Model::ReadAfterKeepalive), P(Guard::Reserve)], &[], "S2", 731),
    (&[M(Model::Linearizable)], &[Fault::LaggingMember, Fault::PatroniKilled, Fault::LeaderKeyDeleted], "S2", 1214),
];

fn take_away(guards: &[Any]) {
    removed::set(guards.iter().filter_map(|any| if let P(guard) = any { Some(*guard) } else { None }));
    remove(guards.iter().filter_map(|any| if let M(guard) = any { Some(*guard) } else { None }));
}

/// A short, violent world that knows only these faults.
fn world(seed: u64, faults: &[Fault]) -> Verdict {
    if faults.is_empty() {
        return corner(seed);
    }
    let mut dice = Dice::new(seed);
    let mut plan = Plan::calm(2);
    plan.faults = faults.to_vec();
    plan.rates = (0..2).map(|_| *dice.pick(&[0.9, 1.0, 1.1])).collect();
    // Events far apart, or on top of one another.
    plan.gap = if dice.chance(700_000) { dice.stretch(S, 15 * S) } else { dice.stretch(50 * MS, S) };
    (plan.trouble, plan.calm) = (200 * S, 100 * S);
    plan.config = if dice.chance(500_000) { config(20, 1, 3) } else { config(30, 10, 10) };
    plan.promotion = dice.stretch(S / 1000, 30 * S);
    (plan.lease_late, plan.address_late) = (dice.pick(&[0, 1500]) * S / 1000, dice.pick(&[0, 1000]) * S / 1000);
    let mut rate = |share: u32, low: u64, high: u64| {
        if dice.chance(share) { dice.stretch(low, high) as u32 } else { 0 }
    };
    plan.pause = rate(500_000, 20, 20_000);
    plan.slow_call = rate(300_000, 1_000, 200_000);
    // An etcd before 3.5.28, whose stale reads a switchover can fall for.
    plan.stale_reads = [Fault::LaggingMember, Fault::Switchover].iter().all(|fault| faults.contains(fault));
    plan.unbind_refused = rate(300_000, 10_000, 900_000);
    plan.request_lost = rate(300_000, 1_000, 300_000);
    plan.answer_lost = rate(300_000, 1_000, 300_000);
    plan.answer_late = rate(300_000, 1_000, 500_000);
    plan.slow_role = rate(300_000, 10_000, 500_000);
    plan.longest_pause = dice.stretch(S, 60 * S);
    if faults == [Fault::TtlChanged, Fault::PatroniKilled, Fault::CutEtcd] {
        plan.policy.fence = Fence::LeaderKey;
        (plan.pause, plan.unbind_refused, plan.slow_call) = (0, 0, 0);
    }
    if faults.contains(&Fault::Cloned) {
        plan.nodes = 3;
        plan.rates.push(1.0);
    }
    run(plan, dice, false).verdict
}

/// The corner in which all margins are used up: a slow clock, an address that goes as late as it may, a lease that does not,
/// a daemon that is cut off in the end, and dies in the middle of a bind that took a second.
fn corner(seed: u64) -> Verdict {
    let mut dice = Dice::new(seed);
    let mut plan = Plan::calm(2);
    plan.config = if dice.chance(500_000) { config(20, 1, 3) } else { config(30, 10, 10) };
    plan.rates = vec![0.9; 2];
    (plan.lease_late, plan.address_late, plan.trouble) = (1, S, 70 * S);
    let cut = dice.between(20 * S, 22 * S);
    let dies = cut + dice.between(7 * S, 24 * S);
    let takes = dice.between(800 * MS, 990 * MS);
    let (before, deleted) = (dice.below(3), dice.between(10 * MS, 1500 * MS));
    let phase = dice.below(S);
    let mut world = World::new(plan, dice, false);
    // Renewals keep time with one another from the moment when the address was bound.
    world.at(10 * S + phase, |w| w.befall(Fault::ForeignDelete, 0, 0));
    match before {
        // Answers come too late, and questions get lost ...
        0 => world.at(cut - 10 * S, |w| (w.plan.answer_late, w.plan.request_lost) = (900_000, 300_000)),
        // ... or take nearly as long as they may, and V is deleted by hand in between.
        1 => {
            world.at(cut - 5 * S, |w| w.etcd.parts.iter_mut().for_each(|part| part.slow = 490 * MS));
            world.at(cut - deleted, |w| w.befall(Fault::LockDeleted, 0, 0));
        }
        _ => {}
    }
    world.at(cut, |w| w.plan.request_lost = 1_000_000);
    world.dies_in_bind = Some((dies, takes));
    world.run_until(70 * S);
    world.broken.map_or(Verdict::Kept, Verdict::Broken)
}

#[test]
fn sabotage_of_each_guard_is_noticed() {
    for (guard, faults, promise, seed) in MISSED {
        for whole in all_but_one(guard) {
            take_away(&whole);
            assert!(
                matches!(world(*seed, faults), Verdict::Kept),
                "seed {seed} breaks a promise without {whole:?} alone"
            );
        }
        take_away(guard);
        let verdict = world(*seed, faults);
        take_away(&[]);
        match verdict {
            Verdict::Broken(how) => assert!(how.starts_with(promise), "{guard:?} seed {seed}: {how}"),
            Verdict::Kept => panic!("{guard:?}: seed {seed} breaks nothing any more: search for another"),
        }
    }
}

/// Prints a line for the table above for each guard: the seed that misses it, or that none was found.
#[test]
fn sabotage_search() {
    let Some(seeds) = environment("PGVRRP_SEARCH") else { return };
    let only = environment_text("PGVRRP_GUARD");
    let all = candidates()
        .into_iter()
        .filter(|(guards, ..)| only.as_ref().is_none_or(|only| format!("{guards:?}").contains(only)));
    let candidates = Mutex::new(all.collect::<Vec<_>>());
    let jobs = environment("PGVRRP_JOBS").unwrap_or(1);
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = candidates.lock().expect("nothing panics while it is held").pop();
                    let Some((guard, faults, promise)) = next else { return };
                    search_for(&guard, &faults, promise, seeds);
                }
            });
        }
    });
}

/// What is left to take away when one guard stays: for one guard nothing, for two that back each other each of them.
fn all_but_one(guards: &[Any]) -> impl Iterator<Item = Vec<Any>> {
    (0..guards.len())
        .map(|stays| guards.iter().enumerate().filter(|(at, _)| *at != stays).map(|(_, any)| *any).collect())
}

fn search_for(guard: &[Any], faults: &[Fault], promise: &str, seeds: u64) {
    let found = (1..=seeds).find_map(|seed| {
        take_away(guard);
        let Verdict::Broken(how) = world(seed, faults) else { return None };
        let needed = how.starts_with(promise)
            && all_but_one(guard).all(|whole| {
                take_away(&whole);
                matches!(world(seed, faults), Verdict::Kept)
            });
        needed.then_some((seed, how))
    });
    take_away(&[]);
    match found {
        Some((seed, how)) => println!("FOUND (&{guard:?}, &{faults:?}, {promise:?}, {seed}), // {how}"),
        None => println!("NONE {guard:?} in {seeds} seeds"),
    }
}

fn candidates() -> Vec<(Vec<Any>, Vec<Fault>, &'static str)> {
    use Fault::{
        Cloned, CutAnswers, CutEtcd, Demoted, EtcdOutage, ForeignAdd, ForeignDelete, HostDeath, Killed, LaggingMember,
        LeaderKeyDeleted, LockDeleted, Misnamed, PatroniKilled, Paused, PostgresCrash, PostgresHang, Restore,
        SlowMember, Stopped, Switchover, ThreadStuck, TtlChanged, WrongServer,
    };
    vec![
        (vec![P(Guard::Verdict)], vec![Switchover, PatroniKilled], "S2"),
        (vec![P(Guard::LeaderKey)], vec![PatroniKilled, CutEtcd, LeaderKeyDeleted], "S2"),
        (vec![P(Guard::Deadline)], vec![CutEtcd, CutAnswers, EtcdOutage], "S"),
        (vec![P(Guard::ClockRate)], vec![], "S1"),
        (vec![P(Guard::Reserve)], vec![], "S1"),
        (vec![P(Guard::LifetimeMargin)], vec![], "S1"),
        (vec![P(Guard::ProofReadsLock)], vec![LockDeleted, Paused, PatroniKilled, Switchover], "S"),
        (vec![P(Guard::ReadNotOlder)], vec![LaggingMember, Switchover, PatroniKilled], "L"),
        (vec![P(Guard::SystemIdentifier)], vec![WrongServer, Switchover], "S2"),
        (vec![P(Guard::Repair)], vec![ForeignDelete, PostgresHang, Demoted, ThreadStuck], "S2"),
        (vec![P(Guard::LeaderLease)], vec![TtlChanged, PatroniKilled, CutEtcd], "S1"),
        (vec![P(Guard::Primary)], vec![Switchover, PostgresHang], "S2"),
        (vec![P(Guard::AskedSinceAcquired)], vec![LeaderKeyDeleted, PostgresHang, Demoted], "S2"),
        (vec![P(Guard::FreshAfterStall)], vec![Switchover, Stopped, ThreadStuck, PatroniKilled], "S"),
        (
            vec![P(Guard::ArmedSinceRelease), P(Guard::AskedSinceAcquired)],
            vec![LeaderKeyDeleted, PostgresHang, Demoted],
            "S2",
        ),
        (vec![P(Guard::LocalMember)], vec![Misnamed, Switchover, HostDeath, Stopped], "L"),
        (vec![P(Guard::Quarantine)], vec![Restore, CutEtcd, Switchover], "S1"),
        (vec![P(Guard::Incarnation)], vec![Cloned, Switchover, HostDeath, Killed], "S1"),
        (vec![P(Guard::Boot)], vec![Cloned, Switchover, HostDeath, Stopped], "S1"),
        (vec![P(Guard::Adoption)], vec![Killed, Switchover, PostgresCrash, ForeignAdd], "S2"),
        (vec![P(Guard::RevokeAfterUnbind)], vec![Switchover, LeaderKeyDeleted], "S6"),
        (vec![P(Guard::Expel)], vec![ForeignAdd, Killed, Switchover], ""),
        (vec![M(Model::NotAfter)], vec![Switchover, CutEtcd, PatroniKilled], "S3"),
        (vec![M(Model::NotAfterAgain)], vec![Stopped, Switchover], "S2"),
        (vec![M(Model::Lifetime)], vec![Killed, Stopped, Switchover], "S"),
        (vec![M(Model::ReleaseOrder)], vec![Switchover, LeaderKeyDeleted], "S6"),
        (vec![M(Model::FenceLeader)], vec![Switchover, LeaderKeyDeleted, PatroniKilled, SlowMember], "P2"),
        (vec![M(Model::Epoch)], vec![Switchover, LeaderKeyDeleted, PatroniKilled, SlowMember], "P2"),
        (vec![M(Model::FenceLock)], vec![Cloned, Switchover, Stopped], "S1"),
        (vec![M(Model::FreshLease)], vec![Switchover, LeaderKeyDeleted, SlowMember, TtlChanged], "S1"),
        (vec![M(Model::OneKeepalive)], vec![], "S1"),
        (vec![M(Model::KeepaliveIsOutput)], vec![ThreadStuck, Switchover], "L"),
        (vec![M(Model::ReadAfterKeepalive), P(Guard::Reserve)], vec![], "S2"),
        (vec![M(Model::Linearizable)], vec![LaggingMember, PatroniKilled, LeaderKeyDeleted], "S2"),
    ]
}

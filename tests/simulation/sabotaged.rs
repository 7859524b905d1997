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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Any {
    Pure(Guard),
    Model(Model),
}

use Any::{Model as M, Pure as P};

/// The world in which a guard is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum In {
    /// A short, violent one.
    Usual,
    /// ... in which K is the fence.
    LeaderKey,
    /// The one in which all margins are used up.
    Corner,
}

/// Guards that are taken away, the kinds of faults that meet them, in which world, the promise that is broken then, and the
/// seed that breaks it.
type Row = (&'static [Any], &'static [Fault], In, &'static str, u64);

const ROWS: &[Row] = &[
    (&[P(Guard::Verdict)], &[Fault::Switchover, Fault::PatroniKilled], In::Usual, "S2", 1),
    (&[P(Guard::LeaderKey)], &[Fault::PatroniKilled, Fault::CutEtcd, Fault::LeaderKeyDeleted], In::Usual, "S2", 1),
    (&[P(Guard::Deadline)], &[Fault::CutEtcd, Fault::CutAnswers, Fault::EtcdOutage], In::Usual, "S3", 272),
    (&[P(Guard::ClockRate)], &[], In::Corner, "S1f", 101),
    (&[P(Guard::Reserve)], &[], In::Corner, "S1f", 101),
    (&[P(Guard::LifetimeMargin)], &[], In::Corner, "S1f", 1078),
    (
        &[P(Guard::ProofReadsLock)],
        &[Fault::LockDeleted, Fault::Paused, Fault::PatroniKilled, Fault::Switchover],
        In::Usual,
        "S2",
        1,
    ),
    (&[P(Guard::ReadNotOlder)], &[Fault::LaggingMember, Fault::Switchover, Fault::PatroniKilled], In::Usual, "L", 2),
    (&[P(Guard::LeaderLease)], &[Fault::TtlChanged, Fault::PatroniKilled, Fault::CutEtcd], In::LeaderKey, "S1f", 783),
    (&[P(Guard::Primary)], &[Fault::Switchover, Fault::PostgresHang], In::Usual, "S2", 1),
    (
        &[P(Guard::AskedSinceAcquired)],
        &[Fault::LeaderKeyDeleted, Fault::PostgresHang, Fault::Demoted],
        In::Usual,
        "S2",
        879,
    ),
    (
        &[P(Guard::Repair)],
        &[Fault::ForeignDelete, Fault::PostgresHang, Fault::Demoted, Fault::ThreadStuck],
        In::Usual,
        "S2",
        662,
    ),
    (
        &[P(Guard::FreshAfterStall)],
        &[Fault::Switchover, Fault::Stopped, Fault::ThreadStuck, Fault::PatroniKilled],
        In::Usual,
        "S2",
        22,
    ),
    (
        &[P(Guard::RecentAnswer)],
        &[Fault::Switchover, Fault::Stopped, Fault::ThreadStuck, Fault::VipAdded],
        In::Usual,
        "S2",
        157,
    ),
    (
        &[P(Guard::ArmedSinceRelease), P(Guard::AskedSinceAcquired)],
        &[Fault::LeaderKeyDeleted, Fault::PostgresHang, Fault::Demoted],
        In::Usual,
        "S2",
        39,
    ),
    (&[P(Guard::SystemIdentifier)], &[Fault::WrongServer, Fault::Switchover], In::Usual, "S2", 1),
    (
        &[P(Guard::LocalMember)],
        &[Fault::Misnamed, Fault::Switchover, Fault::HostDeath, Fault::Stopped],
        In::Usual,
        "L",
        2,
    ),
    (&[P(Guard::Quarantine)], &[Fault::Restore, Fault::CutEtcd, Fault::Switchover], In::Usual, "S1", 163),
    (
        &[P(Guard::Incarnation)],
        &[Fault::Cloned, Fault::Switchover, Fault::HostDeath, Fault::Killed],
        In::Usual,
        "S1f",
        6,
    ),
    (&[P(Guard::Boot)], &[Fault::Cloned, Fault::Switchover, Fault::HostDeath, Fault::Stopped], In::Usual, "S1f", 1),
    (
        &[P(Guard::Adoption)],
        &[Fault::Killed, Fault::Switchover, Fault::PostgresCrash, Fault::ForeignAdd],
        In::Usual,
        "S2",
        2,
    ),
    (&[P(Guard::RevokeAfterUnbind)], &[Fault::Switchover, Fault::LeaderKeyDeleted], In::Usual, "S6", 1),
    (&[P(Guard::Expel)], &[Fault::ForeignAdd, Fault::Killed, Fault::Switchover], In::Usual, "S2", 2),
    (&[M(Model::NotAfter)], &[Fault::Switchover, Fault::CutEtcd, Fault::PatroniKilled], In::Usual, "S3", 25),
    (&[M(Model::NotAfterAgain)], &[Fault::Stopped, Fault::Switchover], In::Usual, "S2", 6),
    (&[M(Model::Lifetime)], &[Fault::Killed, Fault::Stopped, Fault::Switchover], In::Usual, "S1f", 1),
    (&[M(Model::ReleaseOrder)], &[Fault::Switchover, Fault::LeaderKeyDeleted], In::Usual, "S6", 3),
    (
        &[M(Model::FenceLeader)],
        &[Fault::Switchover, Fault::LeaderKeyDeleted, Fault::PatroniKilled, Fault::SlowMember],
        In::Usual,
        "P2",
        2,
    ),
    (
        &[M(Model::Epoch)],
        &[Fault::Switchover, Fault::LeaderKeyDeleted, Fault::PatroniKilled, Fault::SlowMember],
        In::Usual,
        "P2",
        2,
    ),
    (&[M(Model::FenceLock)], &[Fault::Cloned, Fault::Switchover, Fault::Stopped], In::Usual, "S1f", 110),
    (
        &[M(Model::FreshLease)],
        &[Fault::Switchover, Fault::LeaderKeyDeleted, Fault::SlowMember, Fault::TtlChanged],
        In::Usual,
        "S1f",
        36,
    ),
    (&[M(Model::OneKeepalive)], &[], In::Corner, "S1f", 23493),
    (&[M(Model::KeepaliveIsOutput)], &[Fault::ThreadStuck, Fault::Switchover], In::Usual, "L", 1),
    (&[M(Model::ReadAfterKeepalive), P(Guard::Reserve)], &[], In::Corner, "S2", 12101),
    (
        &[M(Model::Linearizable)],
        &[Fault::LaggingMember, Fault::PatroniKilled, Fault::LeaderKeyDeleted],
        In::Usual,
        "S2",
        60,
    ),
    (
        &[P(Guard::RevokeAbsent)],
        &[Fault::Killed, Fault::Restarted, Fault::Switchover, Fault::LeaderKeyDeleted],
        In::Usual,
        "S6",
        211,
    ),
    (&[P(Guard::RebuiltLoses)], &[Fault::Restore, Fault::Switchover, Fault::CutEtcd], In::Usual, "S2", 16),
    (&[P(Guard::OtherCluster)], &[Fault::Restore, Fault::CutEtcd, Fault::Switchover], In::Usual, "S2", 3),
    (&[P(Guard::OlderRevision)], &[Fault::Restore, Fault::CutEtcd, Fault::Switchover], In::Usual, "S2", 176),
    (&[P(Guard::LockLost)], &[Fault::LockDeleted, Fault::Switchover, Fault::PatroniKilled], In::Usual, "S2", 1),
    (
        &[P(Guard::Initialized)],
        &[Fault::Uninitialized, Fault::WrongServer, Fault::Switchover, Fault::Restarted],
        In::Usual,
        "S2",
        2,
    ),
    (&[P(Guard::Strays)], &[Fault::ForeignAdd, Fault::Switchover], In::Usual, "P7", 4),
    (
        &[P(Guard::Unlimited)],
        &[Fault::ForeignAdd, Fault::ThreadStuck, Fault::CutEtcd, Fault::Killed],
        In::Usual,
        "P7",
        4358,
    ),
    (&[P(Guard::RenewThenAnnounce)], &[Fault::CutEtcd, Fault::Switchover], In::Usual, "S3", 15007),
    (
        &[M(Model::NotAfterFirst)],
        &[Fault::Switchover, Fault::CutEtcd, Fault::PatroniKilled, Fault::Stopped],
        In::Usual,
        "S2",
        878,
    ),
    (&[M(Model::ProvedAbsent)], &[Fault::Switchover, Fault::LeaderKeyDeleted, Fault::CutEtcd], In::Usual, "S6", 582),
    (&[M(Model::BindOrder)], &[Fault::Switchover, Fault::CutEtcd, Fault::Stopped], In::Usual, "S3", 114),
    (
        &[P(Guard::Leftover)],
        &[Fault::AddressAdded, Fault::AddressTakenOut, Fault::Killed, Fault::Restarted, Fault::Switchover],
        In::Usual,
        "S6",
        2,
    ),
    (&[P(Guard::Former)], &[Fault::AddressAdded, Fault::AddressTakenOut], In::Usual, "R", 1),
    (&[P(Guard::Anew)], &[Fault::LockRenamed, Fault::VipAdded, Fault::VipTakenOut], In::Usual, "S3", 33),
];

/// Those that no seed misses, and why.
const NOT_MISSED: &[(Any, &str)] = &[
    (
        P(Guard::LeaseLost),
        "the read of the same round shows V gone (LockLost); alone it saves a round whose read fails",
    ),
    (P(Guard::VouchBindsNothing), "Patroni is asked only while the VIP is bound, and its word goes with that"),
    (
        P(Guard::VouchEnds),
        "each question to Patroni ends within a second, and what comes of it replaces the word before",
    ),
    (
        P(Guard::PauseBindsNothing),
        "V still fences, and nobody is promoted in a pause; that nothing is bound anew without K is the rule all the same, and has unit tests",
    ),
    (
        P(Guard::EligibleRole),
        "binding needs \"primary\" (Primary); alone it keeps a primary that shuts down from taking V for a moment",
    ),
    (
        P(Guard::MemberResolved),
        "a name that does not resolve has no address that could be this host's (LocalMember); it is there for the words",
    ),
    (
        P(Guard::OwnMember),
        "the same incarnation under another name comes of a changed configuration only, which is not modelled; it has unit tests",
    ),
    (P(Guard::OwnAddress), "an owner yields to no packet; without it own frames that come back cost announcements"),
    (P(Guard::RoleOrder), "there is one asker and one question at a time, so no report overtakes another"),
    (P(Guard::VirtualRouter), "an owner yields to no packet; without it a stranger's packets cost announcements"),
    (
        P(Guard::LeaveAfterAnswer),
        "a V that is left by it is cleaned up when it is read; alone it saves the next primary the wait",
    ),
    (
        P(Guard::Void),
        "a former build's seed 788938 missed it: a put that is answered after the restore, under the leader key of the restored etcd; it has unit tests",
    ),
    (
        P(Guard::RefreshLimit),
        "it needs a shorter TTL, a put that is carried out after it was given up, and silence from the read before that on; it has unit tests",
    ),
];

fn take_away(guards: &[Any]) {
    removed::set(guards.iter().filter_map(|any| if let P(guard) = any { Some(*guard) } else { None }));
    remove(guards.iter().filter_map(|any| if let M(guard) = any { Some(*guard) } else { None }));
}

/// A world that knows only these faults.
fn world(seed: u64, faults: &[Fault], kind: In) -> Verdict {
    if kind == In::Corner {
        return corner(seed);
    }
    let mut dice = Dice::new(seed);
    let mut plan = Plan::calm(2);
    let (reloads, others): (Vec<_>, Vec<_>) = faults.iter().partition(|fault| Fault::RELOADS.contains(fault));
    plan.two_vips = !reloads.is_empty();
    (plan.reloads, plan.faults) = (reloads, others);
    plan.rates = (0..2).map(|_| *dice.pick(&[0.9, 1.0, 1.1])).collect();
    // Events far apart, or on top of one another.
    plan.gap = if dice.chance(700_000) { dice.stretch(S, 15 * S) } else { dice.stretch(50 * MS, S) };
    plan.reload_gap = plan.gap;
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
    plan.rtnl = rate(300_000, 10_000, 500_000);
    plan.bind_refused = rate(100_000, 1_000, 100_000);
    plan.lan_echo = rate(300_000, 10_000, 500_000);
    plan.longest_pause = dice.stretch(S, 60 * S);
    match kind {
        In::LeaderKey => {
            plan.policy.fence = Fence::LeaderKey;
            (plan.pause, plan.unbind_refused, plan.slow_call, plan.rtnl) = (0, 0, 0, 0);
        }
        In::Usual | In::Corner => {}
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
    for (guard, faults, kind, promise, seed) in ROWS {
        for whole in all_but_one(guard) {
            take_away(&whole);
            assert!(
                matches!(world(*seed, faults, *kind), Verdict::Kept),
                "seed {seed} breaks a promise without {whole:?} alone"
            );
        }
        take_away(guard);
        let verdict = world(*seed, faults, *kind);
        take_away(&[]);
        match verdict {
            Verdict::Broken(how) => assert!(how.starts_with(promise), "{guard:?} seed {seed}: {how}"),
            Verdict::Kept => panic!("{guard:?}: seed {seed} breaks nothing any more: search for another"),
        }
    }
}

/// A guard that nobody misses is not needed, or not tested: which, is said.
#[test]
fn sabotage_leaves_no_guard_out() {
    let missed = |any: Any| ROWS.iter().any(|(guards, ..)| guards.contains(&any));
    let said = |any: Any| NOT_MISSED.iter().any(|(guard, _)| *guard == any);
    let all = Guard::ALL.iter().map(|guard| P(*guard)).chain(Model::ALL.iter().map(|guard| M(*guard)));
    let left_out: Vec<_> = all.filter(|any| !missed(*any) && !said(*any)).collect();
    assert!(left_out.is_empty(), "no seed misses these, and nothing says why: {left_out:?}");
}

/// Prints a line for the table above for each guard: the seed that misses it, or that none was found. `PGVRRP_GUARD` names
/// one, `PGVRRP_FAULTS` other faults than the table's, with commas.
#[test]
fn sabotage_search() {
    let Some(seeds) = environment("PGVRRP_SEARCH") else { return };
    let only = environment_text("PGVRRP_GUARD");
    let rows = ROWS.iter().filter(|(guards, ..)| only.as_ref().is_none_or(|only| format!("{guards:?}").contains(only)));
    let rows = Mutex::new(rows.collect::<Vec<_>>());
    let jobs = environment("PGVRRP_JOBS").unwrap_or(1);
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = rows.lock().expect("nothing panics while it is held").pop();
                    let Some(row) = next else { return };
                    search_for(row, seeds);
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

fn search_for((guard, faults, kind, promise, _): &Row, seeds: u64) {
    let other = environment_text("PGVRRP_FAULTS").map(|names| {
        let named = |fault: &Fault| names.split(',').any(|name| format!("{fault:?}") == name);
        Fault::ALL.into_iter().chain(Fault::RELOADS).filter(named).collect::<Vec<_>>()
    });
    let faults = other.as_deref().unwrap_or(faults);
    let found = (1..=seeds).find_map(|seed| {
        take_away(guard);
        let Verdict::Broken(how) = world(seed, faults, *kind) else { return None };
        let needed = how.starts_with(promise)
            && all_but_one(guard).all(|whole| {
                take_away(&whole);
                matches!(world(seed, faults, *kind), Verdict::Kept)
            });
        needed.then_some((seed, how))
    });
    take_away(&[]);
    match found {
        Some((seed, how)) => println!("FOUND (&{guard:?}, &{faults:?}, In::{kind:?}, {promise:?}, {seed}), // {how}"),
        None => println!("NONE {guard:?} in {seeds} seeds"),
    }
}

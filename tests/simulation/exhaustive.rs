//! A small world, searched to the end: two nodes, few moments, and at each of them every one of a list of things.
//!
//! What chance would have to hit is tried here in order: each pair (with optimisation: each triple) of events at three
//! distances, and a pause at each instruction after an event.

use super::clock::{MS, Nanos, S};
use super::dice::Dice;
use super::plan::{Fault, Plan};
use super::world::World;

/// What can happen to a node, and for how long.
const EVENTS: [(Fault, Nanos); 24] = [
    (Fault::Switchover, 0),
    (Fault::CutEtcd, 30 * S),
    (Fault::CutRequests, 12 * S),
    (Fault::CutAnswers, 30 * S),
    (Fault::EtcdOutage, 5 * S),
    (Fault::LaggingMember, 20 * S),
    (Fault::LeaderKeyDeleted, 0),
    (Fault::PostgresCrash, 0),
    (Fault::PostgresHang, 8 * S),
    (Fault::PatroniKilled, 30 * S),
    (Fault::PatroniStopped, 10 * S),
    (Fault::HostDeath, 25 * S),
    (Fault::Paused, 20 * S),
    (Fault::Stopped, 6 * S),
    (Fault::ThreadStuck, 25 * S),
    (Fault::Killed, S),
    (Fault::Restarted, 0),
    (Fault::HandedOver, 0),
    (Fault::ForeignDelete, 0),
    (Fault::AddressAdded, 0),
    (Fault::AddressTakenOut, 0),
    (Fault::VipAdded, 0),
    (Fault::LockRenamed, 0),
    (Fault::PlaceChanged, 0),
];

/// The world between the first event and the end of everything.
const START: Nanos = 10 * S;
const TROUBLE: Nanos = 45 * S;
const END: Nanos = 100 * S;

/// One history: events at moments, all else exact and calm.
fn tried(events: &[(Nanos, Fault, Nanos)], pause: Option<(Nanos, usize, u32, Nanos)>) -> Option<String> {
    let mut plan = Plan::calm(2);
    plan.trouble = TROUBLE;
    plan.reloads = Fault::RELOADS.to_vec();
    // The worst that the assumptions allow.
    plan.rates = vec![0.9, 1.1];
    (plan.lease_late, plan.address_late) = (1, S);
    let mut world = World::new(plan, Dice::new(7), false);
    for &(at, fault, span) in events {
        world.at(at, move |w| {
            if Fault::RELOADS.contains(&fault) {
                return w.change_everywhere(fault);
            }
            let holder = (0..2).find(|&h| w.hosts[h].kernel.holds(w.now)).unwrap_or(0);
            w.befall(fault, holder, span);
        });
    }
    if let Some((at, h, instruction, span)) = pause {
        world.at(at, move |w| w.hosts[h].pause_in = Some((instruction, span)));
    }
    world.run_until(TROUBLE);
    if world.broken.is_none() {
        world.heal();
        world.run_until(END);
    }
    world.broken
}

#[test]
fn every_few_events_in_a_row() {
    let third: &[Option<usize>] =
        &if cfg!(debug_assertions) { vec![None] } else { (0..EVENTS.len()).map(Some).collect::<Vec<_>>() };
    let mut count = 0;
    for (first, second, third) in EVENTS.iter().enumerate().flat_map(|(first, _)| {
        EVENTS.iter().enumerate().flat_map(move |(second, _)| third.iter().map(move |third| (first, second, *third)))
    }) {
        for gap in [300 * MS, 2500 * MS, 9 * S] {
            let at = |index: usize, moment: Nanos| (moment, EVENTS[index].0, EVENTS[index].1);
            let mut events = vec![at(first, START), at(second, START + gap)];
            events.extend(third.map(|third| at(third, START + gap + 3 * S)));
            count += 1;
            if let Some(how) = tried(&events, None) {
                panic!("{events:?}: {how}");
            }
        }
    }
    println!("{count} histories");
}

#[test]
fn a_pause_at_each_instruction_after_an_event() {
    let instructions = if cfg!(debug_assertions) { 30 } else { 200 };
    let mut count = 0;
    for (fault, span) in [EVENTS[0], EVENTS[1], EVENTS[6], EVENTS[7], EVENTS[15]] {
        for (node, pause) in [(0, 500 * MS), (0, 4 * S), (0, 25 * S), (1, 500 * MS), (1, 4 * S), (1, 25 * S)] {
            for instruction in 0..instructions {
                count += 1;
                let event = (START, fault, span);
                if let Some(how) = tried(&[event], Some((START, node, instruction, pause))) {
                    panic!("{fault:?}, db{} paused {} ms at instruction {instruction}: {how}", node + 1, pause / MS);
                }
            }
        }
    }
    println!("{count} histories");
}

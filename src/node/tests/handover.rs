//! The process makes room for the next one.

use std::time::Duration;

use super::world::World;
use crate::gate::evidence::Role;
use crate::gate::policy::Policy;
use crate::node::io::{Address, Input, Output};
use crate::node::status::PhaseLabel;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_is_bound_is_renewed_and_nothing_is_released() {
    let mut world = World::holding();
    world.give(Input::HandOver);
    assert!(world.node.is_handed_over());
    assert_eq!(world.deeds(), ["bind"]);
    assert!(world.is_bound() && world.lock.is_some());
}

#[test]
fn the_next_process_goes_on_with_it() {
    let mut first = World::holding();
    first.give(Input::HandOver);
    let vip: Vec<Address> = first.addresses.iter().filter(|address| address.lifetime.is_some()).copied().collect();
    let mut next = World::with(Policy::default(), ("db1", Role::Primary), vip, first.lock.clone());
    next.run(5 * SECOND);
    assert!(next.is_bound(), "{}", next.why());
    assert_eq!(next.count("unbind") + next.count("reset"), 0);
}

#[test]
fn a_node_that_holds_nothing_hands_over_at_once_and_begins_nothing() {
    let mut world = World::new();
    world.give(Input::HandOver);
    assert!(world.node.is_handed_over());
    world.lead(Some("db1"));
    world.role = Role::Primary;
    world.run(SECOND / 2);
    assert_eq!(world.vip().reason, "handing_over");
    assert_eq!(world.count("bind") + world.count("acquire"), 0);
}

#[test]
fn what_has_begun_to_go_goes_first() {
    let mut world = World::holding();
    world.connections = 1;
    world.lead(Some("db2"));
    world.postgres(Role::Down);
    assert_ne!(world.vip().phase, PhaseLabel::Active, "{}", world.why());
    world.give(Input::HandOver);
    if world.is_bound() {
        assert!(!world.node.is_handed_over());
    }
    world.run(SECOND / 2);
    assert!(!world.is_bound());
    assert!(world.node.is_handed_over());
}

#[test]
fn without_fresh_evidence_nothing_is_renewed_and_the_daemon_goes_on() {
    let mut world = World::holding();
    world.etcd_up = false;
    world.freeze(5 * SECOND / 2);
    world.give(Input::HandOver);
    assert!(!world.node.is_handed_over());
    world.run(6 * SECOND / 5);
    world.etcd_up = true;
    world.run(3 * SECOND);
    assert!(world.is_bound(), "{}", world.why());
    assert!(!world.node.is_handed_over(), "given up long ago, or done: it was not");
    let told = |output: &Output| matches!(output, Output::Tell(notice) if notice.text.contains("handover is given up"));
    assert!(world.log.iter().any(|(_, output)| told(output)));
}

#[test]
fn a_signal_ends_a_handover_by_releasing() {
    let mut world = World::holding();
    world.give(Input::HandOver);
    world.give(Input::Stop);
    world.run(SECOND);
    assert!(!world.node.is_handed_over());
    assert!(world.node.is_gone() && !world.is_bound() && world.lock.is_none());
}

/// Whatever the next process could not find out at once keeps the present one in its place.
#[test]
fn a_handover_that_would_lose_the_vip_is_refused() {
    let unfit = |spoil: fn(&mut World), why: &str| {
        let mut world = World::holding();
        assert_eq!(world.status().is_fit_for_handover(), Ok(()));
        spoil(&mut world);
        let refusal = world.status().is_fit_for_handover().expect_err(why);
        assert!(refusal.contains(why), "{refusal}");
    };
    unfit(
        |world| {
            world.etcd_up = false;
            world.run(2 * SECOND);
        },
        "etcd does not answer",
    );
    // A picture of a second ago, with answers to questions that were asked a second before that.
    let mut status = World::holding().status();
    let age = Some(21 * SECOND / 10);
    (status.etcd.as_mut().unwrap().age, status.postgres.as_mut().unwrap().age) = (age, age);
    assert_eq!(status.is_fit_for_handover(), Ok(()));
    // The last answers were good ones, but old.
    let mut status = World::holding().status();
    status.etcd.as_mut().unwrap().age = Some(3 * SECOND);
    assert!(status.is_fit_for_handover().is_err_and(|why| why.contains("etcd has not answered for 3.0s")));
    let mut status = World::holding().status();
    status.postgres.as_mut().unwrap().age = Some(3 * SECOND);
    assert!(status.is_fit_for_handover().is_err_and(|why| why.contains("PostgreSQL has not answered for 3.0s")));
    unfit(
        |world| {
            world.config.paused = true;
            world.run(2 * SECOND);
            world.lead(None);
        },
        "no leader key while Patroni is paused",
    );
    unfit(|world| world.postgres(Role::Unknown), "does not say now that it is primary");
    unfit(
        |world| {
            world.connections = 1;
            world.postgres(Role::Down);
        },
        "it is draining",
    );
    assert_eq!(World::new().status().is_fit_for_handover(), Ok(()), "nothing is held, nothing is lost");
}

/// It is not given up before the handover is, so until then there is nothing to be called for.
#[test]
fn a_lock_that_ends_during_a_handover_keeps_nobody_busy() {
    let mut world = World::new();
    world.lead(Some("db1"));
    world.run(SECOND);
    assert_eq!(world.vip().phase, PhaseLabel::Armed, "{}", world.why());
    world.hint();
    world.etcd_up = false;
    // D is 13.8 s after the last proof; what is held ends 2.5 s before.
    world.run(Duration::from_millis(10_800));
    world.give(Input::HandOver);
    // Fails where the deadline does not move.
    world.run(SECOND);
}

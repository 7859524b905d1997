//! A VIP that is put on hold by hand: it is not here, whatever the evidence, and comes back when that is over.

use std::time::Duration;

use super::world::{ETH0, VIP, World, lock_of, me, settings};
use crate::gate::evidence::{Acquisition, Role, VipId};
use crate::gate::policy::Policy;
use crate::node::io::{Address, Input};

const SECOND: Duration = Duration::from_secs(1);

fn drain(world: &mut World, drained: bool) {
    world.give(Input::Drain { vip: VipId(0), drained });
}

#[test]
fn it_leaves_at_once_and_the_lock_after_it() {
    let mut world = World::holding();
    drain(&mut world, true);
    assert_eq!(world.deeds(), ["drop SYNs", "reset", "unbind", "reset", "goodbye", "revoke", "accept SYNs"]);
    assert_eq!((world.is_bound(), world.lock.as_ref()), (false, None));
    assert_eq!((world.vip().reason, world.vip().drained), ("drained", true));
    let told = world.vip().moves[0].reason.clone();
    assert!(told.contains("drained by hand"), "{told}");
}

#[test]
fn it_is_never_acquired() {
    let mut world = World::holding();
    drain(&mut world, true);
    world.log.clear();
    world.run(60 * SECOND);
    world.lead(Some("db2"));
    world.postgres(Role::Standby);
    world.run(SECOND);
    world.promote();
    world.run(60 * SECOND);
    assert_eq!(world.deeds(), [""; 0]);
    assert_eq!(world.vip().reason, "drained");
}

#[test]
fn it_comes_back_when_that_is_over() {
    let mut world = World::holding();
    drain(&mut world, true);
    world.run(10 * SECOND);
    drain(&mut world, false);
    world.run(2 * SECOND);
    assert!(world.is_bound() && world.vip().held, "{}", world.why());
    assert_eq!(world.vip().counters.gained, 2);
}

/// P1: the lock outlives the address.
#[test]
fn the_lock_waits_for_an_address_that_will_not_go() {
    let mut world = World::holding();
    world.unbind_fails = true;
    drain(&mut world, true);
    world.run(SECOND);
    assert!(world.is_bound() && world.lock.is_some());
    assert_eq!((world.count("revoke"), world.count("goodbye")), (0, 0));
    // Nor does a change of mind bring it back before it has gone.
    drain(&mut world, false);
    assert_eq!(world.count("bind"), 0);
    drain(&mut world, true);
    world.unbind_fails = false;
    world.run(SECOND / 10);
    assert_eq!((world.is_bound(), world.lock.as_ref()), (false, None));
}

#[test]
fn an_armed_node_gives_the_lock_up() {
    let mut world = World::new();
    world.run(SECOND);
    world.lead(Some("db1"));
    assert!(world.vip().armed && world.lock.is_some());
    drain(&mut world, true);
    assert_eq!(world.lock, None);
    world.postgres(Role::Primary);
    world.run(10 * SECOND);
    assert_eq!(world.count("bind"), 0);
}

#[test]
fn a_lock_whose_put_is_under_way_is_given_up_when_it_turns_out_to_be_ours() {
    let mut world = World::new();
    world.withhold_acquisitions = true;
    world.promote();
    drain(&mut world, true);
    world.withhold_acquisitions = false;
    let lease = world.next_lease;
    let outcome =
        Acquisition::Acquired { asked: world.now, lease, ttl: 17, mod_revision: world.revision + 1, cluster_id: None };
    world.give(Input::Etcd(crate::gate::evidence::EtcdReport::Acquire { vip: VipId(0), outcome }));
    world.run(SECOND);
    assert_eq!((world.count("bind"), world.count("revoke")), (0, 1), "{}", world.why());
}

#[test]
fn a_server_that_is_saying_goodbye_is_not_waited_for() {
    let mut world = World::holding();
    world.connections = 3;
    world.postgres(Role::Down);
    assert!(world.is_bound());
    drain(&mut world, true);
    assert!(!world.is_bound());
}

/// What holds without fresh evidence does not hold against the operator.
/// The lock is still being given up: that it was sent away by hand is not so any more.
#[test]
fn undrained_at_once_it_is_not_said_to_be_drained() {
    let mut world = World::holding();
    world.etcd_up = false;
    world.give(Input::Drain { vip: VipId(0), drained: true });
    assert_eq!(world.vip().reason, "drained");
    world.give(Input::Drain { vip: VipId(0), drained: false });
    assert_eq!(world.vip().reason, "unlocking");
}

#[test]
fn it_leaves_without_etcd_and_after_a_stall_as_well() {
    let mut world = World::holding();
    world.etcd_up = false;
    world.run(2 * SECOND);
    world.now += 5 * SECOND / 2;
    drain(&mut world, true);
    assert!(!world.is_bound());
    assert!(world.lock.is_some(), "etcd does not answer");
    world.etcd_up = true;
    world.run(3 * SECOND);
    assert_eq!(world.lock, None);
}

fn drained_from_the_start(found: Vec<Address>) -> World {
    let mut settings = settings(Policy::default());
    settings.vips[0].drained = true;
    let mut world = World::of(settings, ("db1", Role::Primary), found, Some(lock_of(&me(), 5)));
    world.begin();
    world
}

/// Its predecessor's lock keeps others waiting, so that goes too, once the address is gone.
#[test]
fn drained_at_the_start_nothing_is_adopted() {
    let vip = Address { link: ETH0, address: VIP.into(), prefix_len: 32, lifetime: Some(2), tentative: false };
    for found in [vec![vip], vec![]] {
        let mut world = drained_from_the_start(found.clone());
        assert!(!world.is_bound());
        world.run(2 * SECOND);
        assert_eq!((world.lock.as_ref(), world.vip().reason), (None, "drained"), "{found:?}");
        assert_eq!(world.count("bind") + world.count("acquire"), 0);
        let unbind = world.deeds().iter().position(|deed| *deed == "unbind");
        let revoke = world.deeds().iter().position(|deed| *deed == "revoke");
        assert!(unbind < revoke && revoke.is_some(), "{:?}", world.deeds());
        drain(&mut world, false);
        world.run(2 * SECOND);
        assert!(world.is_bound(), "{}", world.why());
    }
}

#[test]
fn a_drain_beats_a_handover() {
    let mut world = World::holding();
    world.etcd_up = false;
    world.freeze(5 * SECOND / 2);
    world.give(Input::HandOver);
    assert!(world.is_bound() && !world.node.is_handed_over());
    drain(&mut world, true);
    assert!(!world.is_bound());
    let mut world = World::new();
    world.lead(Some("db1"));
    world.run(SECOND);
    assert!(world.vip().armed, "{}", world.why());
    world.give(Input::HandOver);
    assert!(world.lock.is_some(), "left to the next process");
    drain(&mut world, true);
    assert_eq!(world.lock, None);
}

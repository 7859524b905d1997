//! The daemon begins, with or without something left by the one before.

use std::net::IpAddr;
use std::time::Duration;

use vrrp::time::Instant;

use super::world::{ETH0, VIP, World, link, lock_of, me, settings};
use crate::gate::evidence::{Acquisition, LockKey, Role, VipId};
use crate::gate::policy::Policy;
use crate::node::io::{Address, Input};
use crate::node::{Identity, Node};

const SECOND: Duration = Duration::from_secs(1);

/// A daemon starts where one was killed a moment ago: the address still has its lifetime, V its lease, K is ours.
fn restarted(lifetime: Option<u32>, role: Role, lock: Option<LockKey>) -> World {
    let vip = Address { link: ETH0, address: VIP.into(), prefix_len: 32, lifetime, tentative: false };
    World::with(Policy::default(), ("db1", role), vec![vip], lock)
}

#[test]
fn what_the_predecessor_left_goes_on_without_a_flap() {
    let mut world = restarted(Some(2), Role::Primary, Some(lock_of(&me(), 5)));
    world.run(10 * SECOND);
    assert!(world.is_bound(), "{}", world.why());
    assert_eq!(world.count("unbind"), 0);
    let lock = world.lock.clone().unwrap();
    assert!(lock.lease != 5, "a fresh lease: the predecessor's last request may still be on its way");
}

#[test]
fn what_is_not_wanted_here_any_more_does_not_wait_for_the_lock() {
    for retires in [true, false] {
        let vip = Address { link: ETH0, address: VIP.into(), prefix_len: 32, lifetime: Some(3), tentative: false };
        let what = ("db1", Role::Primary);
        let mut world = World::before(Policy::default(), what, vec![vip], Some(lock_of(&me(), 5)));
        world.withhold_acquisitions = true;
        world.begin();
        world.run(SECOND / 10);
        assert!(world.is_bound() && world.vip().reason == "acquiring", "{}", world.why());
        let mut next = settings(Policy::default());
        next.vips[0].retired = retires;
        world.give(if retires { Input::Reload(Box::new(next)) } else { Input::Drain { vip: VipId(0), drained: true } });
        assert!(!world.is_bound(), "{}", world.why());
    }
}

/// Another of the VIP's addresses, which is not configured any more, where this node has no right to hold anything.
fn restarted_with_less(left: u32) -> World {
    let address = IpAddr::from([10, 0, 20, 156]);
    let former = Address { link: ETH0, address, prefix_len: 32, lifetime: Some(left), tentative: false };
    World::with(Policy::default(), ("db1", Role::Down), vec![former], Some(lock_of(&me(), 5)))
}

/// P1: the next holder may still have it.
#[test]
fn the_lock_outlives_what_the_predecessor_left_by_another_configuration() {
    let mut world = restarted_with_less(3);
    world.run(2 * SECOND);
    assert!(world.lock.is_some(), "{}", world.why());
    assert_eq!(world.count("unbind"), 0, "by the configuration it is nobody's, and its lifetime ends it");
    let gone = *world.addresses.iter().find(|address| address.lifetime.is_some()).unwrap();
    world.addresses.retain(|address| *address != gone);
    world.give(Input::AddressRemoved(gone));
    world.run(SECOND / 10);
    assert_eq!(world.lock, None);
}

/// A machine that slept: its kernel's lifetimes stood still.
#[test]
fn what_the_predecessor_left_is_waited_for_after_a_stall_as_well() {
    let mut world = restarted_with_less(3);
    world.run(SECOND);
    world.now += 10 * SECOND;
    world.give(Input::Timer);
    world.run(2 * SECOND);
    assert!(world.lock.is_some(), "{}", world.why());
}

/// A lease of DHCP's may end just then, and be renewed.
#[test]
fn whoever_has_a_short_lifetime_for_long_is_not_waited_for() {
    let mut world = restarted_with_less(3);
    world.run(4 * SECOND + SECOND / 10);
    assert_eq!(world.lock, None);
    let mut other = restarted_with_less(4);
    other.run(SECOND / 10);
    assert_eq!(other.lock, None, "none of ours lives for so long");
}

#[test]
fn nothing_is_renewed_before_postgresql_has_said_primary() {
    let mut world = restarted(Some(2), Role::Unknown, Some(lock_of(&me(), 5)));
    world.run(3 * SECOND);
    assert_eq!(world.count("bind"), 0);
    assert_eq!(world.count("announce") + world.count("advertise"), 0);
}

#[test]
fn another_boot_or_another_directory_is_another_holder() {
    for who in [Identity { boot_id: "before".to_owned(), ..me() }, Identity { incarnation: "clone".to_owned(), ..me() }]
    {
        let mut world = restarted(Some(2), Role::Primary, Some(lock_of(&who, 5)));
        world.run(SECOND);
        assert!(!world.is_bound(), "{who:?}");
        assert_eq!(world.lock.as_ref().map(|lock| lock.lease), Some(5), "never overwritten, never revoked");
        assert_eq!(world.vip().reason, "lock_held");
    }
}

#[test]
fn an_address_without_a_lifetime_is_not_ours() {
    let world = restarted(None, Role::Primary, Some(lock_of(&me(), 5)));
    assert_eq!(world.deeds()[..2], ["reset", "unbind"]);
}

#[test]
fn an_address_without_the_lock_is_removed_at_the_first_answer() {
    let world = restarted(Some(2), Role::Primary, None);
    assert_eq!(world.deeds()[..2], ["reset", "unbind"]);
}

#[test]
fn an_address_on_a_replica_is_removed_at_the_first_answer() {
    let mut world = restarted(Some(2), Role::Standby, Some(lock_of(&me(), 5)));
    world.lead(Some("db2"));
    assert!(!world.is_bound());
    assert_eq!(world.lock, None, "its own lock only keeps others waiting: revoked, the address being gone");
}

#[test]
fn without_any_answer_the_address_does_not_outlive_its_lifetime() {
    let vip = Address { link: ETH0, address: VIP.into(), prefix_len: 32, lifetime: Some(3), tentative: false };
    let mut world = World::with(Policy::default(), ("db1", Role::Primary), vec![vip], Some(lock_of(&me(), 5)));
    world.etcd_up = false;
    world.log.clear();
    world.run(5 * SECOND);
    assert!(!world.is_bound());
    assert_eq!(world.count("bind"), 0);
}

#[test]
fn addresses_that_cannot_be_read_do_not_make_the_loop_spin() {
    let settings = settings(Policy::default());
    let start = Instant::from_millis(1000);
    let mut node = Node::new(settings, start);
    let late = start + 10 * SECOND;
    node.handle(late, link(None));
    node.handle(late, Input::Timer);
    assert!(node.deadline() > late, "nothing is due before the addresses are read");
}

#[test]
fn an_address_found_on_a_server_that_is_no_primary_goes_before_etcd_answers() {
    for role in [Role::Standby, Role::Down] {
        let vip = Address { link: ETH0, address: VIP.into(), prefix_len: 32, lifetime: Some(3), tentative: false };
        let mut world = World::before(Policy::default(), ("db1", Role::Unknown), vec![vip], Some(lock_of(&me(), 5)));
        world.etcd_up = false;
        world.begin();
        world.run(SECOND);
        assert!(world.is_bound(), "nothing has said no");
        world.postgres(role);
        assert!(!world.is_bound(), "{role:?}");
    }
}

#[test]
fn an_adoption_whose_outcome_is_unknown_revokes_nothing_before_the_address_is_gone() {
    let vip = Address { link: ETH0, address: VIP.into(), prefix_len: 32, lifetime: Some(3), tentative: false };
    let mut world = World::before(Policy::default(), ("db1", Role::Primary), vec![vip], Some(lock_of(&me(), 5)));
    world.acquire_outcome = Some(|lease| Acquisition::Unknown { lease, reason: "no answer".to_owned() });
    world.unbind_fails = true;
    world.begin();
    world.run(Duration::from_millis(200));
    assert!(world.count("unbind") > 1, "{:?}", world.deeds());
    assert_eq!(world.count("revoke"), 0, "V is all that keeps others from taking what is still here");
    world.unbind_fails = false;
    world.run(5 * SECOND);
    assert!(world.count("revoke") > 0);
    assert!(world.is_bound(), "{}", world.why());
}

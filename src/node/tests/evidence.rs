//! The right cluster, the right server, the right process; and an etcd that is another one than before.

use std::time::Duration;

use vrrp::time::Instant;

use super::world::{World, me};
use crate::gate::evidence::{Acquisition, Expect, Member, Role, VipId};
use crate::gate::policy::Policy;
use crate::node::lock::Lock;

const SECOND: Duration = Duration::from_secs(1);

fn refused(world: &mut World) -> &'static str {
    world.promote();
    world.run(60 * SECOND);
    assert_eq!(world.deeds(), [""; 0]);
    assert!(!world.is_bound());
    world.vip().reason
}

#[test]
fn another_server_behind_the_socket() {
    let mut world = World::new();
    world.server = "43";
    assert_eq!(refused(&mut world), "wrong_server");
    assert!(world.vip().why.contains("43") && world.vip().why.contains("42"), "{}", world.vip().why);
}

#[test]
fn a_member_that_exists_nowhere() {
    let mut world = World::new();
    world.member = None;
    assert_eq!(refused(&mut world), "unknown_member");
    assert!(world.vip().why.contains("/service/odoo/members/db1"), "{}", world.vip().why);
}

#[test]
fn a_member_that_is_another_host() {
    let mut world = World::new();
    world.member =
        Some(Member { host: "10.0.20.12".to_owned(), addresses: vec![[10, 0, 20, 12].into()], api_url: None });
    assert_eq!(refused(&mut world), "member_elsewhere");
}

#[test]
fn the_vip_itself_does_not_make_a_member_local() {
    let mut world = World::new();
    world.member =
        Some(Member { host: "10.0.20.155".to_owned(), addresses: vec![[10, 0, 20, 155].into()], api_url: None });
    assert_eq!(refused(&mut world), "member_elsewhere");
}

#[test]
fn a_member_whose_name_does_not_resolve() {
    let mut world = World::new();
    world.member = Some(Member { host: "db1.lan".to_owned(), addresses: Vec::new(), api_url: None });
    assert_eq!(refused(&mut world), "member_unresolved");
}

#[test]
fn a_server_that_is_exchanged_while_the_vip_is_held() {
    let mut world = World::holding();
    world.server = "43";
    world.run(2 * SECOND);
    assert!(!world.is_bound());
}

#[test]
fn another_etcd_ends_the_hold_and_nothing_is_acquired_for_a_while() {
    let mut world = World::holding();
    world.cluster_id = 2;
    world.hint();
    assert!(!world.is_bound());
    world.run(15 * SECOND);
    assert!(!world.is_bound(), "a peer may still trust the former one");
    assert_eq!(world.vip().reason, "etcd_rebuilt");
    world.run(15 * SECOND);
    assert!(world.is_bound(), "{}", world.why());
}

#[test]
fn an_older_copy_of_etcd_ends_the_hold_at_the_second_look() {
    let mut world = World::holding();
    world.revision -= 50;
    world.hint();
    assert!(world.is_bound(), "one stale read is no evidence");
    world.run(Duration::from_millis(1100));
    assert!(!world.is_bound());
    assert_eq!(world.status().counters.etcd_rebuilt, 1);
}

#[test]
fn a_stale_read_proves_nothing() {
    let mut world = World::holding();
    let deadline = world.vip().lock.unwrap().deadline_in.unwrap();
    world.revision -= 1;
    world.run(Duration::from_millis(900));
    world.revision += 1;
    assert!(world.is_bound());
    assert!(world.vip().lock.unwrap().deadline_in.unwrap() <= deadline);
}

/// P1: its answer is the first that is heard of the other etcd, in which K may be this node's while a peer trusts the former.
#[test]
fn a_lock_that_another_etcd_gave_is_given_back() {
    let mut world = World::with(Policy::default(), ("db1", Role::Unknown), Vec::new(), None);
    world.run(SECOND);
    assert_eq!((world.vip().reason, world.count("acquire")), ("postgres_unknown", 0));
    world.cluster_id = 2;
    world.postgres(Role::Primary);
    assert_eq!(world.count("acquire"), 1, "{}", world.why());
    world.run(15 * SECOND);
    assert!(world.count("bind") == 0 && world.lock.is_none(), "a peer may still trust the former one");
    assert_eq!(world.vip().reason, "etcd_rebuilt");
    world.run(15 * SECOND);
    assert!(world.is_bound(), "{}", world.why());
}

#[test]
fn what_was_being_acquired_when_etcd_turned_out_to_be_another_is_given_back() {
    let now = Instant::from_millis(1_000_000);
    let mut lock = Lock::None;
    let _ = lock.acquire(VipId(0), &me(), 60, 17, Expect::Absent);
    let Lock::Acquiring { void, .. } = &mut lock else { panic!("{lock:?}") };
    // As `Vip::etcd_rebuilt` does.
    *void = true;
    let outcome = Acquisition::Acquired { asked: now, lease: 7, ttl: 17, mod_revision: 5, cluster_id: None };
    assert!(lock.acquired(now, outcome).is_err());
    assert!(matches!(lock, Lock::Revoking { lease: 7, .. }), "{lock:?}");
}

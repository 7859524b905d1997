//! Patroni's failsafe mode: etcd is silent, and Patroni stays primary with the consent of all members.

use std::time::Duration;

use super::world::{API_URL, World};
use crate::gate::evidence::{PatroniState, Role};
use crate::gate::policy::{Failsafe, Policy};

const SECOND: Duration = Duration::from_secs(1);
const VOUCHES: PatroniState = PatroniState { primary: true, failsafe_active: true };

/// A holder in a cluster with the failsafe mode on, from which etcd has just been taken.
fn silenced(policy: Policy) -> World {
    let mut world = World::with(policy, ("db2", Role::Standby), Vec::new(), None);
    world.config.failsafe_mode = true;
    world.promote();
    world.run(Duration::from_millis(3300));
    assert!(world.is_bound(), "{}", world.why());
    world.log.clear();
    world.etcd_up = false;
    world
}

#[test]
fn the_vip_stays_while_patroni_vouches_and_leaves_when_that_ends() {
    let mut world = silenced(Policy::default());
    world.patroni = Ok(VOUCHES);
    world.run(600 * SECOND);
    assert!(world.is_bound(), "{}", world.why());
    assert_eq!(world.vip().reason, "holding_failsafe");
    assert_eq!(world.count("unbind"), 0);
    assert!(world.vip().lock.unwrap().deadline_in.is_some_and(|left| left <= 5 * SECOND));
    // The second member is not reached any more: Patroni will step down, and says so.
    world.patroni = Ok(PatroniState { failsafe_active: false, ..VOUCHES });
    world.run(SECOND);
    assert!(!world.is_bound(), "D has long passed: only Patroni's word held the address");
    assert!(world.vip().moves[0].reason.contains("not confirmed in time"), "{:?}", world.vip().moves[0]);
}

#[test]
fn patronis_silence_is_no_word() {
    let mut world = silenced(Policy::default());
    world.patroni = Ok(VOUCHES);
    world.run(60 * SECOND);
    world.patroni = Err("no answer".to_owned());
    world.run(SECOND);
    assert!(!world.is_bound());
}

#[test]
fn patroni_has_to_be_primary_and_active() {
    let not_primary = PatroniState { primary: false, ..VOUCHES };
    let not_active = PatroniState { failsafe_active: false, ..VOUCHES };
    for answer in [Ok(not_primary), Ok(not_active), Err("no answer".to_owned())] {
        let mut world = silenced(Policy::default());
        world.patroni = answer.clone();
        world.run(12 * SECOND);
        assert!(!world.is_bound(), "{answer:?}");
    }
}

#[test]
fn patroni_is_not_asked_without_need() {
    let mut world = World::holding();
    world.run(60 * SECOND);
    assert_eq!(world.patroni_url, None, "the mode is off");
    let mut world = silenced(Policy { failsafe: Failsafe::Drop, ..Policy::default() });
    world.patroni = Ok(VOUCHES);
    world.run(9 * SECOND);
    assert_eq!(world.patroni_url, None, "the operator does not want it");
    world.run(4 * SECOND);
    assert!(!world.is_bound());
    let mut world = silenced(Policy::default());
    assert_eq!(world.patroni_url.as_deref(), Some(API_URL));
    world.postgres(Role::Down);
    world.run(SECOND);
    assert_eq!(world.patroni_url, None, "there is nothing to hold");
}

/// The first that is seen of it is that K is gone, and the member's key with it.
#[test]
fn etcd_is_silent_to_patroni_alone() {
    let mut world = silenced(Policy::default());
    world.etcd_up = true;
    world.patroni = Ok(VOUCHES);
    world.run(2 * SECOND);
    world.lead(None);
    world.member = None;
    world.run(600 * SECOND);
    assert_eq!((world.count("unbind"), world.vip().reason), (0, "holding_failsafe"));
    world.patroni = Ok(PatroniState { failsafe_active: false, ..VOUCHES });
    world.run(SECOND);
    assert!(!world.is_bound() && world.lock.is_none(), "{}", world.why());
}

#[test]
fn the_failsafe_mode_has_to_be_configured() {
    let mut world = World::holding();
    world.etcd_up = false;
    world.patroni = Ok(VOUCHES);
    world.run(13 * SECOND);
    assert!(!world.is_bound());
}

#[test]
fn it_holds_and_never_binds() {
    let mut world = silenced(Policy::default());
    world.patroni = Ok(VOUCHES);
    world.run(60 * SECOND);
    world.postgres(Role::Down);
    world.run(SECOND);
    assert!(!world.is_bound());
    world.log.clear();
    world.postgres(Role::Primary);
    world.run(60 * SECOND);
    assert_eq!(world.count("bind"), 0, "without etcd nothing is acquired");
}

#[test]
fn another_leader_that_etcd_tells_of_ends_it() {
    let mut world = silenced(Policy::default());
    world.patroni = Ok(VOUCHES);
    world.run(60 * SECOND);
    world.etcd_up = true;
    world.lead(Some("db2"));
    world.run(SECOND);
    assert!(!world.is_bound());
}

#[test]
fn etcd_comes_back_with_the_lock_and_nothing_moves() {
    let mut world = silenced(Policy::default());
    world.patroni = Ok(VOUCHES);
    world.run(60 * SECOND);
    world.etcd_up = true;
    // Patroni's own lease has expired, ours has not; Patroni takes K again in its next cycle.
    world.lead(None);
    world.run(Duration::from_millis(500));
    world.lead(Some("db1"));
    world.patroni = Ok(PatroniState { failsafe_active: false, ..VOUCHES });
    world.run(60 * SECOND);
    assert_eq!((world.count("unbind"), world.vip().reason), (0, "holding"));
}

#[test]
fn after_a_stall_patronis_fresh_word_is_evidence() {
    let mut world = silenced(Policy::default());
    world.patroni = Ok(VOUCHES);
    world.run(60 * SECOND);
    while world.status().failsafe.unwrap().age.unwrap() > Duration::from_millis(20) {
        world.run(Duration::from_millis(10));
    }
    world.freeze(Duration::from_millis(2100));
    world.run(3 * SECOND);
    assert!(world.is_bound(), "{}", world.why());
    assert_eq!(world.vip().reason, "holding_failsafe");
}

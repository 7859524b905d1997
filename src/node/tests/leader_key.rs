//! `fence = "leader-key"`: nothing is written to etcd, and K's own lease says how long the VIP may stay.

use std::time::Duration;

use super::world::{ETH0, VIP, World};
use crate::gate::evidence::{EtcdRequest, Role};
use crate::gate::policy::{Fence, Policy};
use crate::node::io::{Address, Input, Output};

const SECOND: Duration = Duration::from_secs(1);

fn policy() -> Policy {
    Policy { fence: Fence::LeaderKey, ..Policy::default() }
}

fn world() -> World {
    World::with(policy(), ("db2", Role::Standby), Vec::new(), None)
}

fn holding() -> World {
    let mut world = world();
    world.promote();
    world.run(Duration::from_millis(3300));
    assert!(world.is_bound(), "{}", world.why());
    world
}

/// Requests that change something in etcd, or keep a lease alive.
fn writes(world: &World) -> usize {
    let is_write = |output: &Output| match output {
        Output::Etcd(EtcdRequest::Round { keep_alive, .. }) => !keep_alive.is_empty(),
        Output::Etcd(_) => true,
        _ => false,
    };
    world.log.iter().filter(|(_, output)| is_write(output)).count()
}

#[test]
fn a_whole_life_without_writing() {
    let mut world = holding();
    assert_eq!(world.vip().reason, "holding");
    world.run(60 * SECOND);
    world.lead(None);
    world.run(SECOND);
    assert!(!world.is_bound());
    assert_eq!(world.vip().reason, "no_leader");
    world.promote();
    assert!(world.is_bound(), "{}", world.why());
    world.give(Input::Stop);
    assert!(!world.is_bound() && world.node.is_gone());
    assert_eq!(writes(&world), 0);
}

#[test]
fn it_waits_for_the_promotion() {
    let mut world = world();
    world.lead(Some("db1"));
    world.run(10 * SECOND);
    assert!(!world.is_bound() && world.vip().armed);
    assert_eq!(world.vip().reason, "in_recovery");
    world.role = Role::Primary;
    world.run(Duration::from_millis(110));
    assert!(world.is_bound());
}

#[test]
fn the_deadline_follows_what_is_left_of_the_leader_keys_lease() {
    let mut world = holding();
    world.leader_ttl = Some(10);
    world.etcd_up = false;
    // The last proof had 20 s: 0.9 * 20 - 1.5 - 2.5 = 14.
    world.run(13 * SECOND);
    assert!(world.is_bound());
    world.run(2 * SECOND);
    assert!(!world.is_bound());
    assert_eq!(world.vip().reason, "deadline");
}

#[test]
fn a_shorter_lease_of_the_leader_key_counts_from_when_it_is_seen() {
    for (answered, leaves_within) in [(true, 14), (false, 5)] {
        let mut world = holding();
        // Patroni has put the key anew, under a lease with a TTL that is now shorter.
        world.leader_ttl = Some(10).filter(|_| answered);
        world.revision += 1;
        world.leader.as_mut().unwrap().lease = 501;
        world.hint();
        world.run(SECOND / 100);
        world.etcd_up = false;
        world.run(leaves_within * SECOND);
        assert!(!world.is_bound(), "answered: {answered}: {}", world.why());
    }
}

#[test]
fn a_lease_that_nobody_renews_ends_the_hold_before_it_ends() {
    let mut world = holding();
    // Patroni is dead; K still says this member.
    for left in (0..20).rev() {
        world.leader_ttl = Some(left);
        world.run(SECOND);
        if left < 4 {
            assert!(!world.is_bound(), "{left} s are left");
        }
    }
}

#[test]
fn without_an_answer_about_the_lease_nothing_is_bound() {
    let mut world = world();
    world.leader_ttl = None;
    world.promote();
    world.run(10 * SECOND);
    assert!(!world.is_bound());
}

#[test]
fn a_new_epoch_is_acquired_anew() {
    let mut world = holding();
    world.log.clear();
    world.lead(Some("db1"));
    world.run(2 * SECOND);
    assert_eq!(world.count("unbind"), 1);
    assert!(world.is_bound());
}

#[test]
fn patronis_new_session_is_the_same_epoch() {
    let mut world = holding();
    world.log.clear();
    world.revision += 1;
    if let Some(leader) = &mut world.leader {
        leader.lease = 501;
    }
    world.hint();
    world.run(30 * SECOND);
    assert_eq!(world.count("unbind"), 0);
    assert!(world.is_bound());
}

#[test]
fn a_pause_does_not_hold_what_nothing_guards() {
    let mut world = holding();
    world.config.paused = true;
    world.run(2 * SECOND);
    world.lead(None);
    world.run(Duration::from_millis(100));
    assert!(!world.is_bound());
}

#[test]
fn a_restarted_daemon_goes_on_without_a_flap() {
    let vip = Address { link: ETH0, address: VIP.into(), prefix_len: 32, lifetime: Some(2), tentative: false };
    let mut world = World::with(policy(), ("db1", Role::Primary), vec![vip], None);
    world.run(10 * SECOND);
    assert_eq!(world.count("unbind"), 0);
    assert!(world.is_bound() && world.vip().held);
    // Where another leads, the predecessor's address has no right to stay.
    let mut world = World::with(policy(), ("db2", Role::Primary), vec![vip], None);
    world.run(Duration::from_millis(10));
    assert!(!world.is_bound());
}

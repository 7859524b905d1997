//! The VIP comes and goes: in which order, and because of what.

use std::time::Duration;

use super::world::{VIP, World, lock_of};
use crate::gate::evidence::{Acquisition, LockKey, Role};
use crate::gate::policy::{Paused, Policy, PostgresDown};
use crate::node::Identity;
use crate::node::io::Output;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_replica_does_nothing_for_an_hour() {
    let mut world = World::new();
    world.run(3600 * SECOND);
    assert_eq!(world.deeds(), [""; 0]);
    assert_eq!(world.vip().reason, "other_leads");
}

#[test]
fn a_holder_does_nothing_but_renew_for_an_hour() {
    let mut world = World::holding();
    world.run(3600 * SECOND);
    assert!(world.is_bound());
    assert_eq!(world.vip().counters.gained, 1);
    assert_eq!(world.vip().counters.lost, 0);
    assert!((3590..=3610).contains(&world.count("bind")), "{}", world.count("bind"));
    assert!((3590..=3610).contains(&world.count("advertise")), "{}", world.count("advertise"));
    // 120, and 30 more since nobody has connected.
    assert!((140..=160).contains(&world.count("announce")), "{}", world.count("announce"));
}

// RFC9568: 8.1.2-2+
#[test]
fn a_promotion_binds_in_the_instant_in_which_postgresql_says_primary() {
    let mut world = World::new();
    world.run(SECOND);
    world.lead(Some("db1"));
    assert!(world.vip().armed, "{}", world.why());
    world.run(SECOND);
    assert_eq!(world.deeds(), ["acquire"], "armed, and nothing more");
    world.log.clear();
    world.postgres(Role::Primary);
    assert_eq!(world.deeds()[..3], ["bind", "advertise", "announce"]);
    assert!(world.is_bound());
}

#[test]
fn postgresql_is_asked_every_few_milliseconds_while_armed_and_less_often_later() {
    let mut world = World::new();
    world.lead(Some("db1"));
    let cadences = |world: &World| -> Vec<Duration> {
        let asks = world.log.iter().filter_map(|(_, output)| match output {
            Output::AskPostgres { every } => Some(*every),
            _ => None,
        });
        asks.collect()
    };
    world.run(4 * SECOND);
    assert_eq!(cadences(&world).last(), Some(&Duration::from_millis(2)));
    world.run(2 * SECOND);
    assert_eq!(cadences(&world).last(), Some(&Duration::from_millis(100)));
    world.postgres(Role::Primary);
    assert_eq!(cadences(&world).last(), Some(&SECOND));
}

#[test]
fn a_planned_move_drains_cuts_removes_says_goodbye_and_lets_go_in_that_order() {
    let mut world = World::holding();
    world.connections = 3;
    world.postgres(Role::Down);
    assert_eq!(world.vip().phase.as_str(), "draining");
    world.run(Duration::from_millis(99));
    assert!(world.is_bound(), "some are still connected");
    world.run(Duration::from_millis(2));
    assert!(!world.is_bound());
    assert_eq!(world.deeds(), ["drop SYNs", "reset", "unbind", "reset", "goodbye", "revoke", "accept SYNs"]);
    assert_eq!(world.lock, None);
}

#[test]
fn a_drain_ends_when_everybody_has_left() {
    let mut world = World::holding();
    world.connections = 0;
    world.postgres(Role::Down);
    assert!(!world.is_bound());
}

#[test]
fn an_old_primary_that_is_shutting_down_does_not_take_the_lock_again() {
    let mut world = World::holding();
    world.postgres(Role::Down);
    world.log.clear();
    // K is its own until Patroni has seen PostgreSQL stop; that takes seconds.
    world.run(3 * SECOND);
    assert_eq!(world.count("acquire"), 0);
    assert_eq!(world.vip().reason, "postgres_down");
}

#[test]
fn a_restarted_postgresql_gets_the_vip_back() {
    let mut world = World::holding();
    world.postgres(Role::Down);
    world.run(2 * SECOND);
    world.postgres(Role::Primary);
    world.run(SECOND);
    assert!(world.is_bound(), "{}", world.why());
    assert_eq!(world.vip().counters.gained, 2);
}

#[test]
fn by_policy_the_vip_stays_while_postgresql_is_down() {
    let mut world = World::with(
        Policy { postgres_down: PostgresDown::Hold, ..Policy::default() },
        ("db2", Role::Standby),
        Vec::new(),
        None,
    );
    world.promote();
    world.run(SECOND);
    world.postgres(Role::Down);
    world.run(60 * SECOND);
    assert!(world.is_bound());
    assert_eq!(world.vip().reason, "holding_down");
}

/// What makes it leave in the same instant, without a drain; and the words in which it is told.
#[test]
fn emergencies() {
    fn check(words: &str, strike: impl FnOnce(&mut World)) {
        let mut world = World::holding();
        world.connections = 3;
        strike(&mut world);
        assert!(!world.is_bound(), "{words}");
        assert_eq!(world.deeds()[..5], ["drop SYNs", "reset", "unbind", "reset", "goodbye"], "{words}");
        let told = world.vip().moves[0].reason.clone();
        assert!(told.contains(words), "{told:?} does not say {words:?}");
        assert_eq!(world.connections, 0);
    }
    check("in recovery", |world| world.postgres(Role::Standby));
    check("db2 holds Patroni's leader key", |world| world.lead(Some("db2")));
    check("no member holds", |world| world.lead(None));
    check("it was deleted", |world| {
        world.lock = None;
        world.revision += 1;
        world.hint();
    });
    check("it is now db2's", |world| {
        let other = Identity { member: "db2".to_owned(), boot_id: String::new(), incarnation: String::new() };
        world.revision += 1;
        world.lock = Some(LockKey { mod_revision: world.revision, ..lock_of(&other, 5) });
        world.hint();
    });
}

#[test]
fn unknown_is_never_read_as_no_nor_as_yes() {
    let mut world = World::holding();
    world.postgres(Role::Unknown);
    world.run(60 * SECOND);
    assert!(world.is_bound());
    assert_eq!(world.vip().reason, "holding_unanswered");
    let mut world = World::new();
    world.lead(Some("db1"));
    world.postgres(Role::Unknown);
    world.run(60 * SECOND);
    assert!(!world.is_bound());
    assert_eq!(world.vip().reason, "postgres_unknown");
}

#[test]
fn etcds_silence_ends_the_hold_before_the_deadline_and_not_earlier() {
    let mut world = World::holding();
    world.etcd_up = false;
    // TTL 17 s: D is 13.8 s after the last proof, and the address leaves 2.5 s before it.
    world.run(10 * SECOND);
    assert!(world.is_bound(), "{}", world.why());
    world.run(2 * SECOND);
    assert!(!world.is_bound());
    assert!(world.count("revoke") >= 1, "tried at once, and again until etcd answers");
    world.etcd_up = true;
    world.run(2 * SECOND);
    assert!(world.is_bound(), "acquired anew: {}", world.why());
}

#[test]
fn etcd_back_before_the_deadline_moves_nothing() {
    let mut world = World::holding();
    world.etcd_up = false;
    world.run(10 * SECOND);
    world.etcd_up = true;
    world.run(60 * SECOND);
    assert!(world.is_bound());
    assert_eq!(world.count("unbind"), 0);
}

#[test]
fn a_lease_that_answers_is_not_the_lock() {
    let mut world = World::holding();
    // V is deleted, its lease lives on; the watch says nothing.
    world.lock = None;
    world.revision += 1;
    world.run(Duration::from_millis(1100));
    assert_eq!(world.count("unbind"), 1, "{:?}", world.deeds());
    assert_eq!(world.vip().counters.locks_lost, 1);
}

#[test]
fn a_revoked_lease_is_noticed_by_its_keepalive() {
    let mut world = World::holding();
    let lease = world.lock.as_ref().unwrap().lease;
    world.revoke(lease);
    world.run(Duration::from_millis(1100));
    assert_eq!(world.count("unbind"), 1);
    world.run(SECOND);
    assert!(world.is_bound(), "acquired anew: {}", world.why());
}

#[test]
fn a_keepalive_that_finds_no_lease_ends_the_hold_whatever_is_read() {
    let mut world = World::holding();
    // The lease is gone, its key not yet: etcd revokes in two steps.
    world.leases.clear();
    world.run(Duration::from_millis(1100));
    assert_eq!(world.count("unbind"), 1, "{:?}", world.deeds());
}

#[test]
fn a_primary_that_was_asked_before_the_lock_was_taken_does_not_open_the_gate() {
    let mut world = World::new();
    // It may be the answer of the primary that this node was before the last one.
    world.postgres(Role::Primary);
    world.lead(Some("db1"));
    assert_eq!(world.deeds(), ["acquire"]);
    world.run(Duration::from_millis(3));
    assert!(world.is_bound(), "{}", world.why());
}

#[test]
fn an_answer_from_before_the_last_release_takes_no_lock() {
    let mut world = World::holding();
    world.lead(None);
    world.log.clear();
    world.lead(Some("db1"));
    assert_eq!(world.count("acquire"), 0);
    world.run(SECOND);
    assert_eq!(world.count("acquire"), 1, "{}", world.why());
}

#[test]
fn a_pause_opens_no_gate() {
    let mut world = World::new();
    world.run(SECOND);
    world.lead(Some("db1"));
    assert!(world.vip().armed);
    world.config.paused = true;
    world.lead(None);
    world.postgres(Role::Primary);
    world.run(10 * SECOND);
    assert_eq!(world.count("bind"), 0);
    assert_eq!(world.lock, None, "given up");
}

#[test]
fn a_pause_keeps_what_is_held_and_gives_nothing_new() {
    let mut world = World::holding();
    world.config.paused = true;
    world.lead(None);
    world.run(60 * SECOND);
    assert!(world.is_bound());
    assert_eq!(world.vip().reason, "holding_paused");
    world.lead(Some("db2"));
    assert!(!world.is_bound());
    let mut world = World::new();
    world.config.paused = true;
    world.role = Role::Primary;
    world.lead(None);
    world.run(60 * SECOND);
    assert!(!world.is_bound());
}

/// The pause is a reason to stay without K, and only while it is known of (P6). The times are not other times for that.
#[test]
fn a_pause_that_cannot_be_read_any_more_is_none() {
    let mut world = World::holding();
    world.config.paused = true;
    world.config_unreadable = true;
    world.run(5 * SECOND);
    assert_eq!((world.count("acquire"), world.count("unbind")), (0, 0), "the lock keeps its lease");
    world.config_unreadable = false;
    world.run(2 * SECOND);
    world.lead(None);
    world.run(2 * SECOND);
    assert_eq!(world.vip().reason, "holding_paused");
    world.config_unreadable = true;
    world.run(2 * SECOND);
    assert_eq!((world.is_bound(), world.vip().reason), (false, "no_leader"));
}

#[test]
fn by_policy_a_pause_changes_nothing() {
    let mut world =
        World::with(Policy { paused: Paused::Release, ..Policy::default() }, ("db2", Role::Standby), Vec::new(), None);
    world.promote();
    world.run(SECOND);
    world.config.paused = true;
    world.lead(None);
    assert!(!world.is_bound());
}

#[test]
fn anothers_lock_is_waited_for_and_never_touched() {
    let mut world = World::new();
    let other = Identity { member: "db2".to_owned(), boot_id: "other".to_owned(), incarnation: "two".to_owned() };
    world.lock = Some(lock_of(&other, 5));
    world.promote();
    world.run(20 * SECOND);
    assert_eq!(world.deeds(), [""; 0]);
    assert_eq!(world.vip().reason, "lock_held");
    assert!(world.vip().lock.unwrap().waiting.is_some_and(|waiting| waiting >= 19 * SECOND));
    world.lock = None;
    world.revision += 1;
    world.hint();
    world.run(Duration::from_millis(5));
    assert!(world.is_bound(), "{}", world.why());
}

#[test]
fn a_put_of_unknown_outcome_is_settled_by_revoking_its_lease() {
    let mut world = World::new();
    world.acquire_outcome = Some(|lease| Acquisition::Unknown { lease, reason: "lost".to_owned() });
    world.promote();
    assert_eq!(world.deeds()[..2], ["acquire", "revoke"]);
    world.run(2 * SECOND);
    assert!(world.is_bound(), "{}", world.why());
}

#[test]
fn a_split_brain_is_left_and_told() {
    let mut world = World::holding();
    world.lead(Some("db2"));
    world.run(2 * SECOND);
    assert!(!world.is_bound());
    assert_eq!(world.vip().counters.split_brains, 1);
    assert_eq!(world.vip().reason, "split_brain");
    // With Patroni dead here its member key ends as well; that is not what has to be said first.
    world.member = None;
    world.run(60 * SECOND);
    assert_eq!(world.vip().reason, "split_brain");
    world.postgres(Role::Standby);
    world.run(2 * SECOND);
    assert_eq!((world.vip().reason, world.vip().counters.split_brains), ("other_leads", 1));
}

#[test]
fn a_standby_cluster_has_no_primary_to_follow() {
    let mut world = World::new();
    world.config.standby_cluster = true;
    world.lead(Some("db1"));
    world.run(60 * SECOND);
    assert_eq!(world.vip().reason, "standby_cluster");
    assert!(!world.is_bound() && world.vip().armed);
    world.config.standby_cluster = false;
    world.promote();
    assert!(world.is_bound(), "{}", world.why());
}

#[test]
fn stopping_releases_and_lets_go() {
    let mut world = World::holding();
    world.give(crate::node::io::Input::Stop);
    assert!(!world.is_bound() && world.node.is_gone(), "{}", world.why());
    assert_eq!(world.deeds(), ["drop SYNs", "reset", "unbind", "reset", "goodbye", "revoke", "accept SYNs"]);
}

#[test]
fn stopping_without_etcd_still_removes_the_address() {
    let mut world = World::holding();
    world.etcd_up = false;
    world.give(crate::node::io::Input::Stop);
    assert!(!world.is_bound());
    assert!(world.node.is_unbound() && !world.node.is_gone());
}

#[test]
fn the_status_names_the_vip() {
    let world = World::holding();
    let vip = world.vip();
    assert!(vip.held && vip.gate_open && vip.lock.unwrap().mine);
    assert_eq!((vip.address, vip.reason), (VIP.into(), "holding"));
}

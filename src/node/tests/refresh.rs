//! Patroni's times change at run time, and V moves to a lease with another TTL; whatever etcd says of it, or does not.

use std::time::Duration;

use super::world::World;
use crate::gate::evidence::{Acquisition, EtcdReport, LockHolder, Role, VipId};
use crate::node::io::{Input, Output};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// A holder that is about to learn of another `ttl`.
fn changed(ttl: u64) -> World {
    let mut world = World::holding();
    world.config.ttl = Duration::from_secs(ttl);
    world
}

fn lease(world: &World) -> i64 {
    world.lock.as_ref().expect("V is there").lease
}

#[test]
fn the_lock_moves_without_a_flap() {
    let mut world = changed(40);
    let before = lease(&world);
    world.run(2 * SECOND);
    assert_ne!(lease(&world), before);
    assert_eq!(world.leases[&lease(&world)], 37);
    world.run(60 * SECOND);
    assert_eq!((world.count("unbind"), world.count("acquire")), (0, 1));
}

/// In a pause K can expire and be taken anew while V stays ours.
#[test]
fn it_names_the_epoch_of_today() {
    let mut world = World::holding();
    world.config.paused = true;
    world.run(2 * SECOND);
    world.lead(None);
    world.run(10 * SECOND);
    world.config.ttl = 40 * SECOND;
    world.run(10 * SECOND);
    assert_eq!(world.count("acquire"), 0, "nothing is put without K");
    world.lead(Some("db1"));
    world.run(10 * SECOND);
    assert_eq!((world.count("unbind"), world.count("acquire")), (0, 1));
    assert_eq!(world.leases[&lease(&world)], 37);
}

#[test]
fn a_failure_is_tried_again_at_leisure() {
    let mut world = changed(40);
    world.no_space = true;
    world.run(10 * SECOND);
    let tried = world.count("acquire");
    assert!((8..=11).contains(&tried), "{tried} times in 10 s");
    let told = |output: &Output| matches!(output, Output::Tell(notice) if notice.text.contains("could not be moved"));
    assert_eq!(world.log.iter().filter(|(_, output)| told(output)).count(), 1, "told once");
    assert_eq!(world.count("unbind"), 0);
    world.no_space = false;
    world.run(3 * SECOND);
    assert_eq!(world.leases[&lease(&world)], 37);
}

/// The answer never came, and the put was carried out: the next read says so.
#[test]
fn an_unanswered_put_that_happened() {
    let mut world = changed(40);
    world.acquire_outcome = Some(|lease| Acquisition::Unknown { lease, reason: "lost".to_owned() });
    world.run(SECOND);
    // It arrives late.
    let fresh = world.next_lease;
    world.move_lock(fresh);
    world.run(60 * SECOND);
    assert_eq!((world.count("unbind"), lease(&world)), (0, fresh), "{}", world.why());
    assert!(world.count("acquire") <= 2, "at most one more, which was refused");
}

/// The times are changed back before it was found out: a put settles it all the same, and nothing leaves.
#[test]
fn an_unanswered_put_for_times_that_are_the_former_again() {
    let mut world = changed(40);
    world.acquire_outcome = Some(|lease| Acquisition::Unknown { lease, reason: "lost".to_owned() });
    while world.count("acquire") == 0 {
        world.run(10 * MS);
    }
    world.config.ttl = 20 * SECOND;
    world.hint();
    world.run(60 * SECOND);
    assert_eq!((world.count("unbind"), world.count("acquire")), (0, 2), "{}", world.why());
    assert_eq!(world.leases[&lease(&world)], 17);
}

/// ... and was not: the next put settles it.
#[test]
fn an_unanswered_put_that_did_not_happen() {
    let mut world = changed(40);
    world.acquire_outcome = Some(|lease| Acquisition::Unknown { lease, reason: "lost".to_owned() });
    world.run(60 * SECOND);
    assert_eq!((world.count("unbind"), world.count("acquire")), (0, 2), "{}", world.why());
}

/// While V may live by a lease that nobody keeps alive, the former one's keepalives move D no further than that lasts.
#[test]
fn in_doubt_the_hold_ends_with_the_fresh_lease() {
    let mut world = changed(40);
    world.acquire_outcome = Some(|lease| Acquisition::Unknown { lease, reason: "lost".to_owned() });
    world.run(SECOND);
    world.no_space = true;
    // 0.9 x 37 - 4 s after the put at the latest.
    world.run(28 * SECOND);
    assert!(world.is_bound(), "{}", world.why());
    world.run(2 * SECOND);
    assert_eq!(world.count("unbind"), 1, "{}", world.why());
    assert!(world.vip().moves[0].reason.contains("not confirmed in time"), "{:?}", world.vip().moves[0]);
}

/// A shorter lease ends sooner than the former one: D follows as soon as the put may have happened.
#[test]
fn while_the_answer_is_awaited_the_shorter_lease_counts() {
    let mut world = changed(60);
    world.run(2 * SECOND);
    world.config.ttl = 20 * SECOND;
    world.withhold_acquisitions = true;
    world.run(2 * SECOND);
    let left = world.vip().lock.unwrap().deadline_in.expect("held");
    assert!(left <= Duration::from_millis(13_800), "{left:?}");
}

/// The lease to revoke is the one that V lives by, and that is not known before the answer.
#[test]
fn a_release_waits_for_the_answer() {
    let mut world = changed(40);
    world.withhold_acquisitions = true;
    world.run(SECOND);
    let former = lease(&world);
    world.postgres(Role::Standby);
    world.run(SECOND);
    assert_eq!((world.is_bound(), world.count("revoke"), lease(&world)), (false, 0, former));
    let fresh = world.next_lease;
    world.move_lock(fresh);
    let mod_revision = world.revision;
    let outcome = Acquisition::Acquired { asked: world.now, lease: fresh, ttl: 37, mod_revision, cluster_id: None };
    world.give(Input::Etcd(EtcdReport::Acquire { vip: VipId(0), outcome }));
    assert_eq!((world.count("revoke"), world.lock.clone()), (1, None));
}

/// etcd that reads and does not write must not be hammered: it is Patroni's as well.
#[test]
fn what_cannot_be_acquired_is_tried_once_a_second() {
    let mut world = World::new();
    world.no_space = true;
    world.promote();
    world.run(10 * SECOND);
    let tried = world.count("acquire");
    assert!((9..=12).contains(&tried), "{tried} times in 10 s");
    let told =
        world.log.iter().filter(|(_, output)| matches!(output, Output::Tell(notice) if notice.text.contains("space")));
    assert_eq!(told.count(), 1, "told once");
    assert!(world.vip().why.contains("space exceeded"), "{}", world.vip().why);
    world.no_space = false;
    world.run(2 * SECOND);
    assert!(world.is_bound(), "{}", world.why());
}

#[test]
fn a_lock_in_another_format_is_an_alarm() {
    let mut world = World::new();
    world.put_foreign_lock(LockHolder::Unknown("{\"format\":2}".to_owned()));
    world.promote();
    world.run(10 * SECOND);
    assert_eq!((world.vip().reason, world.count("acquire")), ("lock_unreadable", 0));
    let alarms = world
        .log
        .iter()
        .filter(|(_, output)| matches!(output, Output::Tell(notice) if notice.level == crate::node::io::Level::Alarm));
    assert_eq!(alarms.count(), 1, "one alarm, not one a second");
    assert!(world.vip().lock.unwrap().waiting.is_some());
}

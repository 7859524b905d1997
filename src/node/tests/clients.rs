//! The clients: those that come while the VIP leaves, and those of a holder that is gone.

use std::time::Duration;

use vrrp::time::Instant;

use super::world::{World, me};
use crate::gate::evidence::{EtcdReport, Role};
use crate::gate::policy::{Policy, PostgresDown};
use crate::node::io::{ClientsReport, Input, Output, VipClients};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn switchover(world: &mut World, leader: Option<&str>, revision: i64) {
    let leader = leader.map(str::to_owned);
    world.give(Input::Etcd(EtcdReport::Switchover { leader, revision }));
}

fn connected(world: &mut World, connected: Option<u64>) {
    let vips = vec![VipClients { connected, ..VipClients::default() }];
    world.give(Input::Clients(ClientsReport { vips, ..ClientsReport::default() }));
}

/// When, from where on, and whether for the last time clients were told.
fn tickles(world: &World) -> Vec<(Instant, usize, bool)> {
    let tickles = world.log.iter().filter_map(|(at, output)| match output {
        Output::Tickle { first, last, .. } => Some((*at, *first, *last)),
        _ => None,
    });
    tickles.collect()
}

// ---- Those that come --------------------------------------------------------------------------------------------

#[test]
fn newcomers_wait_from_the_moment_in_which_a_switchover_is_asked_for() {
    let mut world = World::holding();
    switchover(&mut world, Some("db1"), 80);
    assert!(world.drops_syns && world.is_bound());
    world.run(300 * MS);
    world.connections = 3;
    world.postgres(Role::Down);
    world.run(80 * MS);
    assert!(world.drops_syns && world.is_bound(), "the drain");
    world.run(100 * MS);
    assert!(!world.drops_syns && !world.is_bound());
}

#[test]
fn a_switchover_that_does_not_come_keeps_them_waiting_for_some_seconds_once() {
    let mut world = World::holding();
    switchover(&mut world, None, 80);
    assert!(world.drops_syns);
    world.run(2999 * MS);
    assert!(world.drops_syns);
    // A daemon that is stopped meanwhile leaves them waiting for a second at most.
    let times: Vec<_> = world.log.iter().filter(|(_, output)| matches!(output, Output::DropSyns { .. })).collect();
    assert!(times.windows(2).all(|pair| pair[1].0.since(pair[0].0) <= SECOND / 2 + MS), "{times:?}");
    world.run(502 * MS);
    assert!(!world.drops_syns && world.is_bound());
    // The same again, by a watch that was opened anew.
    switchover(&mut world, None, 80);
    assert!(!world.drops_syns);
    switchover(&mut world, Some("db1"), 81);
    assert!(world.drops_syns);
}

/// The address will not go, and the request for the switchover is still there.
#[test]
fn a_vip_that_leaves_asks_for_no_time_that_has_passed() {
    let mut world = World::holding();
    switchover(&mut world, Some("db1"), 80);
    world.unbind_fails = true;
    world.postgres(Role::Down);
    for _ in 0..20 {
        world.run(50 * MS);
        assert!(world.node.deadline() > world.now, "it would be called without a pause");
    }
}

#[test]
fn a_switchover_that_is_refused_lets_them_in_at_once() {
    let mut world = World::holding();
    switchover(&mut world, Some("db1"), 80);
    world.run(100 * MS);
    world.give(Input::Etcd(EtcdReport::SwitchoverWithdrawn));
    assert!(!world.drops_syns && world.is_bound());
    // Not those who wait for something else.
    world.give(Input::PostgresParted);
    world.give(Input::Etcd(EtcdReport::SwitchoverWithdrawn));
    assert!(world.drops_syns);
}

#[test]
fn a_switchover_that_is_none_of_ours_keeps_nobody_waiting() {
    let mut world = World::holding();
    switchover(&mut world, Some("db2"), 80);
    assert_eq!(world.count("drop SYNs"), 0, "another's");
    let policy = Policy { postgres_down: PostgresDown::Hold, ..Policy::default() };
    let mut world = World::with(policy, ("db2", Role::Standby), Vec::new(), None);
    world.promote();
    world.run(SECOND);
    switchover(&mut world, None, 80);
    world.give(Input::PostgresParted);
    assert_eq!(world.count("drop SYNs"), 0, "the VIP stays whatever PostgreSQL does");
    let mut world = World::new();
    world.run(SECOND);
    switchover(&mut world, None, 80);
    world.give(Input::PostgresParted);
    assert_eq!(world.count("drop SYNs"), 0, "it is not here");
}

#[test]
fn a_session_that_ends_keeps_them_waiting_until_postgresql_says_that_nothing_happened() {
    let mut world = World::holding();
    world.give(Input::PostgresParted);
    assert!(world.drops_syns);
    world.run(10 * MS);
    assert!(world.drops_syns);
    world.postgres(Role::Primary);
    assert!(!world.drops_syns && world.is_bound());
}

#[test]
fn a_switchover_outweighs_a_postgresql_that_is_still_there() {
    let mut world = World::holding();
    world.give(Input::PostgresParted);
    switchover(&mut world, Some("db1"), 80);
    world.postgres(Role::Primary);
    assert!(world.drops_syns);
}

#[test]
fn where_they_cannot_be_kept_waiting_the_drain_is_short() {
    let mut world = World::holding();
    (world.cannot_drop_syns, world.connections) = (true, 3);
    world.postgres(Role::Down);
    world.run(59 * MS);
    assert!(world.is_bound());
    world.run(2 * MS);
    assert!(!world.is_bound());
}

#[test]
fn whoever_comes_back_at_once_is_let_in_before_the_address_is_bound() {
    let mut world = World::holding();
    world.unbind_fails = true;
    world.postgres(Role::Down);
    world.run(10 * MS);
    world.unbind_fails = false;
    world.run(100 * MS);
    assert!(!world.is_bound() && !world.drops_syns);
    world.log.clear();
    world.postgres(Role::Primary);
    world.run(2 * SECOND);
    assert!(world.is_bound() && !world.drops_syns, "{}", world.why());
}

// ---- Those of a holder that is gone ------------------------------------------------------------------------------

/// A node that is promoted, and finds so many clients in the book.
fn heir(clients: usize) -> World {
    let mut world = World::new();
    world.run(SECOND);
    world.heirloom = clients;
    world.promote();
    world
}

#[test]
fn an_heir_tells_everybody_once_the_address_is_bound_and_announced_and_again_after_a_second() {
    let mut world = heir(40);
    world.run(3 * SECOND);
    let announced = world.log.iter().find(|(_, output)| matches!(output, Output::Announce { .. })).unwrap().0;
    let told = tickles(&world);
    assert_eq!(
        told.iter().map(|(_, first, last)| (*first, *last)).collect::<Vec<_>>(),
        [(0, false), (16, false), (32, false), (0, false), (16, false), (32, false)]
    );
    assert!(told[0].0 >= announced);
    assert!(told[2].0.since(announced) < 10 * MS, "{told:?}");
    assert!(told[3].0.since(told[2].0) >= SECOND);
    assert_eq!(world.vip().counters.clients_told, 80);
}

/// What answered to the former holder's MAC does not any more.
#[test]
fn everybody_is_told_once_more_soon_after_each_of_the_later_announcements() {
    let mut world = heir(1);
    world.run(30 * SECOND);
    let told = tickles(&world);
    assert_eq!(told.iter().map(|(_, _, last)| *last).collect::<Vec<_>>(), [false, false, false, true]);
    let bound = told[0].0;
    let announcements = world.log.iter().filter(|(_, output)| matches!(output, Output::Announce { .. }));
    let announcements: Vec<_> = announcements.map(|(at, _)| *at).filter(|at| at.since(bound) > 2 * SECOND).collect();
    for (at, ..) in &told[2..] {
        let since =
            announcements.iter().filter(|announced| *announced < at).map(|announced| at.since(*announced)).min();
        assert!(since.is_some_and(|since| since < SECOND), "{told:?} {announcements:?}");
    }
    assert!(world.vip().counters.clients_told == 4 && world.heirloom == 0);
}

#[test]
fn who_inherits_nobody_tells_nobody() {
    let mut world = heir(0);
    world.run(60 * SECOND);
    assert_eq!(tickles(&world).len(), 1, "a look into the book");
    assert_eq!(world.vip().counters.clients_told, 0);
}

#[test]
fn nobody_is_told_by_a_node_that_does_not_hold_the_vip() {
    let mut world = World::new();
    world.heirloom = 100;
    world.run(10 * SECOND);
    assert_eq!(tickles(&world).len(), 0);
    // It loses the leader key after the first slice, or in the pause.
    for pause in [Duration::ZERO, 500 * MS] {
        let mut world = heir(100);
        world.run(pause);
        world.lead(Some("db2"));
        let before = tickles(&world).len();
        assert!(!world.is_bound() && before > 0);
        world.run(10 * SECOND);
        assert_eq!(tickles(&world).len(), before);
    }
}

#[test]
fn nobody_is_told_while_the_address_is_away_or_after_a_stall() {
    let mut world = heir(100);
    world.run(500 * MS);
    let before = tickles(&world).len();
    // Asleep for longer than a stall, with nothing asked since; the second round is overdue.
    world.etcd_up = false;
    world.now += 2500 * MS;
    world.give(Input::Timer);
    assert_eq!(tickles(&world).len(), before, "{}", world.why());
    assert_eq!(world.vip().reason, "stalled");
}

#[test]
fn the_vip_is_announced_once_a_second_until_somebody_comes() {
    let mut world = World::holding();
    world.run(10 * SECOND);
    world.log.clear();
    world.run(5 * SECOND);
    assert_eq!(world.count("announce"), 5);
    connected(&mut world, Some(0));
    world.run(SECOND);
    connected(&mut world, Some(1));
    world.log.clear();
    world.run(29 * SECOND);
    assert!(world.count("announce") <= 1, "{}", world.count("announce"));
}

#[test]
fn the_status_has_the_clients() {
    let mut world = World::holding();
    connected(&mut world, Some(7));
    assert_eq!(world.vip().clients.unwrap().connected, Some(7));
    assert_eq!(me().member, "db1");
}

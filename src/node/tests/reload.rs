//! Another configuration at run time.

use std::time::Duration;

use ipnet::IpNet;
use vrrp::types::{Interval, Priority, Vrid};

use super::election::host::{Host, net, rules, vip};
use super::world::{ETH0, World, lock_of, me, settings};
use crate::gate::evidence::{Role, VipId};
use crate::gate::policy::{Policy, PostgresDown};
use crate::node::io::{Address, Input, Output};
use crate::node::{Settings, VipSettings};

const SECOND: Duration = Duration::from_secs(1);

fn list(addresses: &[&str]) -> Vec<IpNet> {
    addresses.iter().map(|address| net(address)).collect()
}

/// The world's settings, changed.
fn reload(world: &mut World, change: impl FnOnce(&mut Settings)) {
    let mut settings = settings(Policy::default());
    settings.vips[0].addresses.clone_from(&world.nets);
    change(&mut settings);
    let vip = settings.vips.iter().find(|vip| !vip.retired).unwrap_or(&settings.vips[0]);
    (world.nets, world.former) = (vip.addresses.clone(), vip.former.clone());
    world.give(Input::Reload(Box::new(settings)));
}

fn reload_host(host: &mut Host, change: impl FnOnce(&mut Settings)) {
    change(&mut host.settings);
    host.give(Input::Reload(Box::new(host.settings.clone())));
}

#[test]
fn a_vip_of_which_nothing_has_changed_does_not_notice() {
    let (mut one, mut other) = (World::holding(), World::holding());
    let start = one.log.len();
    reload(&mut one, |_| {});
    one.run(10 * SECOND);
    other.run(10 * SECOND);
    assert_eq!(one.deeds(), other.deeds());
    assert_eq!((one.vip().counters.gained, one.vip().counters.repaired, start), (1, 0, 0));
    assert_eq!((one.status().config.reloads, one.status().config.refused), (1, 0));
    assert_eq!(one.status().config.age.as_secs(), 10);
}

#[test]
fn an_address_that_is_added_is_bound_at_once_and_announced() {
    let mut world = World::holding();
    reload(&mut world, |settings| settings.vips[0].addresses = list(&["10.0.20.155/32", "10.0.20.156/32"]));
    assert!(world.is_whole() && world.vip().held, "{}", world.why());
    assert_eq!(world.deeds(), ["bind", "announce"]);
    let counters = world.vip().counters;
    assert_eq!((counters.repaired, counters.gained, counters.lost), (0, 1, 0), "nobody had removed it");
    // From then on it is put back like any other.
    world.addresses.retain(|address| address.address != world.nets[1].addr());
    world.run(10 * SECOND);
    assert!(world.is_whole());
}

#[test]
fn an_address_that_is_taken_out_goes_at_once_and_the_others_stay() {
    let mut world = World::holding();
    reload(&mut world, |settings| settings.vips[0].addresses = list(&["10.0.20.155/32", "10.0.20.156/32"]));
    world.log.clear();
    reload(&mut world, |settings| {
        settings.vips[0].addresses = list(&["10.0.20.155/32"]);
        settings.vips[0].former = list(&["10.0.20.156/32"]);
    });
    assert!(world.is_whole() && world.vip().held, "{}", world.why());
    assert!(!world.addresses.iter().any(|address| address.address == world.former[0].addr()));
    assert_eq!(world.vip().counters.lost, 0);
    assert_eq!(world.count("unbind"), 0);
}

/// P1: what was taken out is a part of the VIP for as long as it is here.
#[test]
fn the_lock_outlives_an_address_that_was_taken_out_and_will_not_go() {
    let mut world = World::holding();
    let stray = Address {
        link: ETH0,
        address: net("10.0.20.156/32").addr(),
        prefix_len: 32,
        lifetime: Some(3),
        tentative: false,
    };
    world.unbind_fails = true;
    reload(&mut world, |settings| settings.vips[0].former = list(&["10.0.20.156/32"]));
    world.former.clear();
    world.addresses.push(stray);
    world.give(Input::AddressAdded(stray));
    world.give(Input::Drain { vip: VipId(0), drained: true });
    world.run(SECOND / 2);
    assert!(world.lock.is_some(), "{}", world.why());
    (world.unbind_fails, world.former) = (false, list(&["10.0.20.156/32"]));
    world.run(SECOND);
    assert_eq!(world.lock, None);
    assert!(!world.addresses.contains(&stray));
}

#[test]
fn a_vip_that_is_taken_out_leaves_as_by_hand_and_is_forgotten() {
    let mut world = World::holding();
    world.connections = 3;
    reload(&mut world, |settings| settings.vips[0].retired = true);
    assert_eq!(world.deeds(), ["drop SYNs", "reset", "unbind", "reset", "goodbye", "revoke", "accept SYNs"]);
    assert_eq!((world.is_bound(), world.lock.as_ref(), world.connections), (false, None, 0));
    world.run(SECOND);
    assert_eq!(world.status().vips.len(), 0);
    assert!(!world.node.is_retiring());
    world.log.clear();
    world.run(60 * SECOND);
    assert_eq!(world.deeds(), [""; 0]);
}

/// P1: a right is not given up before the address is gone, nor is the next one begun.
#[test]
fn one_that_begins_anew_waits_until_the_former_one_has_gone() {
    let mut world = World::holding();
    let anew = |settings: &mut Settings| {
        let next = VipSettings { virtual_router_id: Vrid::new(156).unwrap(), ..settings.vips[0].clone() };
        settings.vips[0].retired = true;
        settings.vips.push(next);
    };
    world.unbind_fails = true;
    reload(&mut world, anew);
    world.run(SECOND);
    assert!(world.is_bound() && world.lock.is_some());
    assert_eq!((world.status().vips.len(), world.vip().reason, world.count("acquire")), (1, "removed", 0));
    world.unbind_fails = false;
    world.run(3 * SECOND);
    assert!(world.is_bound() && world.vip().held, "{}", world.why());
    assert_eq!((world.vip().virtual_router_id, world.status().vips.len(), world.count("acquire")), (156, 1, 1));
    let order = world.deeds();
    let at = |what: &str| order.iter().position(|deed| *deed == what).unwrap();
    assert!(at("revoke") < at("acquire"), "{order:?}");
}

/// P1: what a predecessor left is named again, by a VIP that waits for the former one to go.
#[test]
fn the_lock_outlives_what_a_predecessor_left_of_one_that_begins_anew() {
    let address = |address: &str| Address {
        link: ETH0,
        address: net(address).addr(),
        prefix_len: 32,
        lifetime: Some(3),
        tentative: false,
    };
    let left = address("10.0.20.156/32");
    let addresses = vec![address("10.0.20.155/32"), left];
    let mut world = World::with(Policy::default(), ("db1", Role::Primary), addresses, Some(lock_of(&me(), 5)));
    world.run(SECOND);
    let mut next = settings(Policy::default());
    let anew = VipSettings {
        virtual_router_id: Vrid::new(156).unwrap(),
        addresses: list(&["10.0.20.155/32", "10.0.20.156/32"]),
        ..next.vips[0].clone()
    };
    next.vips[0].retired = true;
    next.vips.push(anew);
    world.give(Input::Reload(Box::new(next)));
    world.run(SECOND);
    assert!(!world.is_bound() && world.lock.is_some(), "{}", world.why());
    world.addresses.retain(|address| *address != left);
    world.give(Input::AddressRemoved(left));
    world.run(SECOND);
    assert!(world.vip().held, "{}", world.why());
    assert!(world.count("revoke") > 0);
}

#[test]
fn what_was_sent_away_by_hand_stays_away_when_it_begins_anew() {
    let mut world = World::holding();
    world.give(Input::Drain { vip: VipId(0), drained: true });
    reload(&mut world, |settings| {
        let next = VipSettings { virtual_router_id: Vrid::new(156).unwrap(), ..settings.vips[0].clone() };
        settings.vips[0].retired = true;
        settings.vips.push(next);
    });
    world.run(10 * SECOND);
    assert_eq!((world.vip().reason, world.vip().virtual_router_id, world.is_bound()), ("drained", 156, false));
}

#[test]
fn the_policy_changes_at_once() {
    let mut world = World::holding();
    reload(&mut world, |settings| settings.policy.postgres_down = PostgresDown::Hold);
    world.postgres(Role::Down);
    world.run(SECOND);
    assert!(world.is_bound(), "{}", world.why());
    reload(&mut world, |settings| settings.policy.postgres_down = PostgresDown::Release);
    world.run(SECOND);
    assert!(!world.is_bound());
}

#[test]
fn one_that_is_refused_changes_nothing_and_is_said() {
    let (mut one, mut other) = (World::holding(), World::holding());
    one.give(Input::ReloadRefused("line 3: no".to_owned()));
    one.run(10 * SECOND);
    other.run(10 * SECOND);
    assert_eq!(one.deeds(), other.deeds());
    let config = one.status().config;
    assert_eq!((config.reloads, config.refused, config.refusal.as_deref()), (0, 1, Some("line 3: no")));
    reload(&mut one, |_| {});
    assert_eq!(one.status().config.refusal, None);
}

#[test]
fn an_election_goes_on_with_other_settings() {
    let mut host = Host::active();
    reload_host(&mut host, |settings| {
        rules(&mut settings.vips[0]).priority = Priority::new(50).unwrap();
        settings.vips[0].interval = Interval::from_centis(10).unwrap();
    });
    host.run(SECOND);
    assert!(host.is_bound());
    let goodbyes = host.log.iter().filter(|(_, output)| matches!(output, Output::Advertise { priority: 0, .. }));
    assert_eq!(goodbyes.count(), 0);
    let adverts = host.log.iter().filter(|(_, output)| matches!(output, Output::Advertise { priority: 50, .. }));
    assert_eq!(adverts.count(), 10, "{:?}", host.log);
}

#[test]
fn elections_come_and_go_beside_one_that_does_not_notice() {
    let (mut one, mut other) = (Host::active(), Host::active());
    let next = VipSettings {
        name: "next".to_owned(),
        addresses: list(&["10.0.20.201/32"]),
        virtual_router_id: Vrid::new(21).unwrap(),
        ..vip()
    };
    reload_host(&mut one, |settings| settings.vips.push(next));
    for host in [&mut one, &mut other] {
        host.run(20 * SECOND);
    }
    let beats = |host: &Host| {
        let of_the_first =
            |(at, output): &(_, Output)| (output.vip() == Some(VipId(0))).then_some((*at, output.clone()));
        host.log.iter().filter_map(of_the_first).collect::<Vec<_>>()
    };
    assert_eq!(beats(&one), beats(&other));
    let status = one.node.status(one.now);
    assert!(status.vips.iter().all(|vip| vip.held) && status.vips.len() == 2);
    reload_host(&mut one, |settings| settings.vips[1].retired = true);
    for host in [&mut one, &mut other] {
        host.run(20 * SECOND);
    }
    assert_eq!(beats(&one), beats(&other));
    assert_eq!(one.node.status(one.now).vips.len(), 1);
    assert!(!one.addresses.iter().any(|(address, _)| address.address == net("10.0.20.201/32").addr()));
}

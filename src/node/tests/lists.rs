//! A VIP of several addresses, of both families: they are all here, or the VIP is not.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::world::{ETH0, World, link, lock_of, me, settings};
use crate::gate::evidence::{LockKey, Role};
use crate::gate::policy::Policy;
use crate::node::io::{Address, Input, Link, Output};
use crate::node::{InterfaceId, Settings};

const SECOND: Duration = Duration::from_secs(1);

fn nets() -> Vec<IpNet> {
    ["10.0.20.155/32", "10.0.20.156/24", "fe80::155/128", "fd00::155/64"].map(|net| net.parse().unwrap()).to_vec()
}

fn of_several() -> Settings {
    let mut settings = settings(Policy::default());
    settings.vips[0].addresses = nets();
    settings
}

fn at(net: IpNet, lifetime: Option<u32>) -> Address {
    Address { link: ETH0, address: net.addr(), prefix_len: net.prefix_len(), lifetime, tentative: false }
}

/// A world in which these addresses are here already, and the lock is ours if `lock`.
fn world(found: Vec<Address>, lock: bool) -> World {
    let lock: Option<LockKey> = lock.then(|| lock_of(&me(), 5));
    let what = if lock.is_some() { ("db1", Role::Primary) } else { ("db2", Role::Standby) };
    let mut world = World::of(of_several(), what, found, lock);
    world.begin();
    world
}

fn holding() -> World {
    let mut world = world(Vec::new(), false);
    world.promote();
    world.run(Duration::from_millis(3300));
    assert!(world.is_whole() && world.vip().held, "{}", world.why());
    world.log.clear();
    world
}

/// Somebody else removes it.
fn delete(world: &mut World, net: IpNet) {
    let gone = at(net, Some(3));
    world.addresses.retain(|address| address.address != net.addr());
    world.give(Input::AddressRemoved(gone));
}

#[test]
fn they_come_and_go_as_one() {
    let mut world = holding();
    world.role = Role::Standby;
    world.postgres(Role::Standby);
    assert!(!world.is_bound(), "not one is left");
    assert_eq!(world.deeds()[..4], ["drop SYNs", "reset", "unbind", "reset"]);
    assert_eq!(world.lock, None);
}

// RFC9568: 8.1.2-2+ 8.1.2-2- 8.2.2-1+ 8.2.2-1-
/// Nothing is said of any of them, by ARP or by neighbour discovery, before the kernel has all of them.
#[test]
fn none_is_announced_before_all_are_bound() {
    let mut world = world(Vec::new(), false);
    world.bind_refused = true;
    world.promote();
    assert_eq!((world.count("bind"), world.count("announce"), world.count("advertise")), (1, 0, 0));
    world.bind_refused = false;
    world.run(7 * SECOND);
    let deeds = world.deeds();
    let announced = deeds.iter().position(|deed| *deed == "announce").unwrap();
    assert_eq!(deeds[..announced].iter().rfind(|deed| ["bind", "unbind"].contains(deed)), Some(&"bind"));
}

/// What nobody has the right to for now goes; what is here for ever would stay.
#[test]
fn whichever_is_replaced_for_ever_while_nothing_is_fresh_takes_all_along() {
    for net in nets() {
        let mut world = holding();
        world.etcd_up = false;
        world.now += 5 * SECOND / 2;
        world.addresses.retain(|address| address.address != net.addr());
        world.addresses.push(at(net, None));
        world.give(Input::AddressAdded(at(net, None)));
        assert!(!world.is_bound(), "{net}: {}", world.why());
    }
}

/// Neither by what the kernel says of them one after the other.
#[test]
fn what_is_here_in_part_is_not_held() {
    let mut world = holding();
    // As long as nothing can be bound it stays so.
    world.skip_binds = true;
    for net in nets() {
        world.addresses.retain(|address| address.address != net.addr());
        world.give(Input::AddressRemoved(at(net, Some(3))));
        assert!(!world.vip().held, "{net} is missing");
    }
    world.skip_binds = false;
    world.run(SECOND / 5);
    assert!(world.is_whole() && world.vip().held, "{}", world.why());
}

#[test]
fn whichever_is_deleted_is_back_at_once_and_announced() {
    for (nth, net) in (1..).zip(nets()) {
        let mut world = holding();
        delete(&mut world, net);
        assert!(world.is_whole(), "{net}");
        assert_eq!(world.deeds(), ["bind", "announce"], "{net}, the {nth}.");
        assert_eq!((world.vip().counters.repaired, world.vip().counters.lost), (1, 0));
    }
}

#[test]
fn whichever_is_replaced_for_ever_gets_a_lifetime_again() {
    for net in nets() {
        let mut world = holding();
        world.addresses.retain(|address| address.address != net.addr());
        world.addresses.push(at(net, None));
        world.give(Input::AddressAdded(at(net, None)));
        assert_eq!(world.deeds(), ["bind", "announce"], "{net}");
        assert!(world.addresses.iter().all(|address| address.address != net.addr() || address.lifetime.is_some()));
    }
}

#[test]
fn a_stray_of_whichever_is_removed_and_the_others_stay() {
    for net in nets() {
        let mut world = holding();
        // A link-local one is ours elsewhere only if it is to end.
        let lifetime = crate::node::is_link_local(net.addr()).then_some(3);
        let stray = Address { link: 3, ..at(net, lifetime) };
        world.addresses.push(stray);
        world.give(Input::AddressAdded(stray));
        assert_eq!(world.deeds(), ["unbind strays"], "{net}");
        assert!(world.is_whole() && !world.addresses.contains(&stray) && world.vip().held);
        // Another's prefix is not its own.
        world.log.clear();
        let prefix_len = if net.prefix_len() == 32 { 24 } else { 32 };
        world.give(Input::AddressAdded(Address { prefix_len, ..at(net, None) }));
        assert_eq!(world.deeds(), ["unbind strays"], "{net}");
    }
}

/// P2: not one of them without the right, whatever put it there.
#[test]
fn whichever_is_here_without_the_right_is_removed() {
    for net in nets() {
        let mut world = world(Vec::new(), false);
        world.run(SECOND);
        world.addresses.push(at(net, None));
        world.give(Input::AddressAdded(at(net, None)));
        assert!(!world.is_bound(), "{net}");
        assert_eq!(world.deeds(), ["reset", "unbind", "reset"]);
    }
}

/// P4's other side: a restarted daemon goes on, and makes up for what it does not find.
#[test]
fn what_is_left_of_them_at_start_is_adopted_and_completed() {
    let found = nets().into_iter().skip(1).map(|net| at(net, Some(2))).collect();
    let mut world = world(found, true);
    world.run(SECOND);
    assert!(world.is_whole() && world.vip().held, "{}", world.why());
    assert_eq!(world.count("unbind") + world.count("reset"), 0);
}

#[test]
fn one_of_them_for_ever_at_start_is_nobodys_to_keep() {
    let mut found: Vec<_> = nets().into_iter().map(|net| at(net, Some(2))).collect();
    found[2].lifetime = None;
    let mut world = world(found, true);
    assert_eq!(world.deeds()[..2], ["reset", "unbind"]);
    world.run(SECOND);
    assert!(world.is_whole(), "and bound by its right: {}", world.why());
}

/// P1: the lock outlives every one of them.
#[test]
fn the_lock_is_not_revoked_while_one_of_them_is_here() {
    let mut world = holding();
    world.unbind_fails = true;
    world.postgres(Role::Standby);
    // All but the last are seen to go.
    let [.., last] = nets()[..] else { panic!("there are several") };
    for net in nets().into_iter().filter(|net| *net != last) {
        delete(&mut world, net);
    }
    world.run(SECOND);
    assert!(world.is_bound() && world.lock.is_some());
    assert_eq!(world.count("revoke"), 0);
    world.unbind_fails = false;
    world.run(SECOND / 10);
    assert_eq!((world.is_bound(), world.lock.as_ref()), (false, None));
}

/// P6 holds for a part as for the whole: without a word of the primary nothing is bound anew.
#[test]
fn what_was_deleted_is_not_put_back_on_an_unknown_role() {
    let mut world = holding();
    world.postgres(Role::Unknown);
    world.run(SECOND);
    world.log.clear();
    delete(&mut world, nets()[3]);
    assert_eq!((world.is_bound(), world.count("bind")), (false, 0));
}

#[test]
fn a_repair_that_comes_late_does_not_spin() {
    let mut world = holding();
    world.skip_binds = true;
    delete(&mut world, nets()[1]);
    world.run(SECOND);
    assert!((1..=25).contains(&world.count("bind")), "{}", world.count("bind"));
    assert_eq!(world.vip().counters.repaired, 1);
    world.skip_binds = false;
    world.run(SECOND / 5);
    assert!(world.is_whole() && world.vip().held, "{}", world.why());
    assert_eq!(world.count("unbind") + world.count("reset"), 0, "the others' clients notice nothing");
}

#[test]
fn all_of_them_follow_the_interface() {
    let mut world = holding();
    world.give(link(Some(Link { index: 9, up: true, mtu: 1500, mac: None })));
    assert_eq!(world.deeds(), ["unbind strays", "bind", "announce"]);
    assert!(nets().iter().all(|net| world.addresses.iter().any(|a| a.address == net.addr() && a.link == 9)));
    assert!(world.vip().held);
}

#[test]
fn any_of_them_can_be_claimed_and_is_defended() {
    for net in nets() {
        let mut world = holding();
        world.run(7 * SECOND);
        let before = world.vip().counters.arp_conflicts;
        world.give(Input::Claim { interface: InterfaceId(0), address: net.addr(), mac: [2, 0, 0, 0, 0, 9] });
        assert_eq!(world.vip().counters.arp_conflicts, before + 1, "{net}");
    }
}

/// Each family has its own message, and its own goodbye.
#[test]
fn they_are_advertised_in_both_families() {
    let own6: IpAddr = "fe80::11".parse().unwrap();
    let own = Address { link: ETH0, address: own6, prefix_len: 64, lifetime: None, tentative: false };
    let mut world = holding();
    world.give(Input::AddressAdded(own));
    world.run(SECOND);
    let sources = |world: &World, zero| -> Vec<bool> {
        let sent = world.log.iter().filter_map(|(_, output)| match output {
            Output::Advertise { source, priority, .. } if (*priority == 0) == zero => Some(source.is_ipv6()),
            _ => None,
        });
        sent.collect()
    };
    assert_eq!(sources(&world, false), [false, true]);
    world.postgres(Role::Standby);
    assert_eq!(sources(&world, true), [false, true]);
}

/// A link-local address is another one on each link. Bridges of containers have the same ones everywhere.
#[test]
fn what_is_link_local_elsewhere_is_not_ours_unless_it_is_to_end() {
    let mut world = holding();
    let elsewhere = |lifetime| Address { link: 7, ..at(nets()[2], lifetime) };
    world.give(Input::AddressAdded(elsewhere(None)));
    assert_eq!(world.deeds(), [""; 0]);
    world.give(Input::AddressAdded(Address { link: 7, ..at(nets()[0], None) }));
    assert_eq!(world.deeds(), ["unbind strays"], "what is not link-local is the VIP, wherever it is");
    let mut world = holding();
    // Of an interface that ours was renamed to, say.
    world.give(Input::AddressAdded(elsewhere(Some(3))));
    assert_eq!(world.deeds(), ["unbind strays"]);
}

/// However a node lists its addresses: ties that were broken in different families would have two routers answer each other
/// without end.
#[test]
fn the_order_of_the_families_is_that_of_every_node() {
    let mut settings = of_several();
    let order = |settings: &Settings| settings.vips[0].families().collect::<Vec<_>>();
    let before = order(&settings);
    settings.vips[0].addresses.reverse();
    assert_eq!((order(&settings), before.len()), (before, 2));
}

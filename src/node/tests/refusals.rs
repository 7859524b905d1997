//! The kernel, time and strangers do not play along.

use std::net::IpAddr;
use std::time::Duration;

use vrrp::types::{Interval, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

use super::world::{ETH0, ME, VIP, World, link};
use crate::gate::evidence::{EtcdReport, Role};
use crate::node::InterfaceId;
use crate::node::io::{Address, Input, Link, Output};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn vip_at(link: u32, prefix_len: u8, lifetime: Option<u32>) -> Address {
    Address { link, address: VIP.into(), prefix_len, lifetime, tentative: false }
}

fn advert(priority: u8) -> Advert {
    Advert {
        source: IpAddr::from([10, 0, 20, 77]),
        destination: IpAddr::from([224, 0, 0, 18]),
        vrid: Vrid::new(155).unwrap(),
        priority,
        interval: Interval::DEFAULT,
        addresses: vec![VIP.into()],
        checksum: ChecksumForm::Rfc9568,
    }
}

#[test]
fn the_lease_outlives_an_address_that_will_not_go() {
    let mut world = World::holding();
    world.unbind_fails = true;
    world.postgres(Role::Standby);
    world.run(SECOND);
    assert!(world.count("unbind") >= 10, "tried again and again");
    assert_eq!(world.count("revoke"), 0);
    assert_eq!(world.count("goodbye"), 0, "nobody is invited while the address is still here");
    world.unbind_fails = false;
    world.run(100 * MS);
    assert_eq!(world.count("revoke"), 1);
}

#[test]
fn a_refused_bind_lets_the_lock_go_and_backs_off() {
    let mut world = World::new();
    world.bind_refused = true;
    world.promote();
    assert_eq!(world.count("announce") + world.count("advertise"), 0);
    assert_eq!(world.lock, None);
    assert_eq!(world.vip().reason, "bind_refused");
    assert_eq!(world.vip().counters.lost, 0, "what was never bound cannot leave");
    world.run(4 * SECOND);
    assert_eq!(world.count("bind"), 1);
    world.bind_refused = false;
    world.run(2 * SECOND);
    assert!(world.is_bound(), "{}", world.why());
}

// RFC9568: 8.1.2-2-
#[test]
fn a_bind_that_came_too_late_is_neither_announced_nor_believed() {
    let mut world = World::new();
    world.late = true;
    world.promote();
    assert!(!world.is_bound() && !world.vip().held);
    assert_eq!(world.count("announce") + world.count("advertise"), 0);
    world.late = false;
    world.run(SECOND);
    assert!(world.is_bound(), "{}", world.why());
}

#[test]
fn a_renewal_that_was_undone_took_the_address_along() {
    let mut world = World::holding();
    world.late = true;
    // An announcement is due together with the renewal.
    world.run(Duration::from_millis(5100));
    assert!(!world.is_bound() && !world.vip().held);
    let undone = world.deeds().iter().position(|deed| *deed == "bind").unwrap();
    assert!(
        !world.deeds()[undone..].iter().any(|deed| ["announce", "advertise"].contains(deed)),
        "{:?}",
        world.deeds()
    );
    world.late = false;
    world.run(SECOND);
    assert!(world.is_bound(), "{}", world.why());
    assert_eq!(world.vip().counters.repaired, 0, "nobody else removed it");
}

#[test]
fn a_deleted_address_is_back_in_the_same_instant_and_announced() {
    let mut world = World::holding();
    let vip = vip_at(ETH0, 32, Some(3));
    world.addresses.retain(|address| *address != vip);
    world.give(Input::AddressRemoved(vip));
    assert!(world.is_bound());
    assert_eq!(world.deeds(), ["bind", "announce"]);
    assert_eq!(world.vip().counters.repaired, 1);
}

#[test]
fn an_address_that_is_gone_is_put_back_only_on_a_primary() {
    let mut world = World::holding();
    world.postgres(Role::Unknown);
    assert!(world.is_bound(), "silence is no reason to leave");
    let vip = vip_at(ETH0, 32, Some(2));
    world.addresses.retain(|address| address.address != vip.address);
    world.give(Input::AddressRemoved(vip));
    world.run(3 * SECOND);
    assert!(!world.is_bound(), "{}", world.why());
    assert_eq!(world.vip().reason, "postgres_unknown");
    world.postgres(Role::Primary);
    world.run(SECOND);
    assert!(world.is_bound(), "{}", world.why());
}

#[test]
fn an_address_without_the_right_to_it_is_gone_in_the_same_instant() {
    for stray in [vip_at(ETH0, 32, None), vip_at(ETH0, 24, Some(3)), vip_at(3, 32, Some(2))] {
        let mut world = World::new();
        world.run(10 * SECOND);
        world.addresses.push(stray);
        world.give(Input::AddressAdded(stray));
        assert!(!world.is_bound(), "{stray:?}");
        assert_eq!(world.deeds(), ["reset", "unbind", "reset"]);
        assert_eq!(world.vip().counters.expelled, 1);
    }
}

#[test]
fn beside_the_held_address_no_other_copy_stays() {
    let mut world = World::holding();
    let stray = vip_at(3, 24, None);
    world.addresses.push(stray);
    world.give(Input::AddressAdded(stray));
    assert_eq!(world.deeds(), ["unbind strays"]);
    assert!(world.is_bound() && world.vip().held);
}

#[test]
fn a_vanished_interface_is_waited_for() {
    let mut world = World::holding();
    world.addresses.clear();
    world.give(Input::Addresses(Vec::new()));
    world.give(link(None));
    world.run(2 * SECOND);
    assert!(!world.vip().held);
    let own = Address { link: 9, address: ME.into(), prefix_len: 24, lifetime: None, tentative: false };
    world.addresses.push(own);
    world.give(Input::AddressAdded(own));
    world.give(link(Some(Link { index: 9, up: true, mtu: 1500, mac: None })));
    world.run(2 * SECOND);
    assert!(world.addresses.contains(&vip_at(9, 32, Some(3))), "{}", world.why());
}

#[test]
fn no_packet_moves_the_vip() {
    let mut world = World::holding();
    for priority in [255, 254, 0] {
        world.give(Input::Advert { interface: InterfaceId(0), advert: advert(priority) });
    }
    world.give(Input::Claim { interface: InterfaceId(0), address: VIP.into(), mac: [2, 0, 0, 0, 0, 9] });
    world.run(10 * SECOND);
    assert!(world.is_bound());
    assert_eq!(world.count("unbind"), 0);
    let counters = world.vip().counters;
    assert_eq!((counters.advert_conflicts, counters.arp_conflicts), (2, 1));
    assert_eq!(world.vip().peers.len(), 1);
}

#[test]
fn no_packet_brings_the_vip() {
    let mut world = World::new();
    for priority in [0, 1, 255] {
        world.give(Input::Advert { interface: InterfaceId(0), advert: advert(priority) });
    }
    world.give(Input::Claim { interface: InterfaceId(0), address: VIP.into(), mac: [2, 0, 0, 0, 0, 9] });
    world.run(10 * SECOND);
    assert_eq!(world.deeds(), [""; 0]);
}

#[test]
fn a_storm_of_conflicts_is_answered_once_a_second() {
    let mut world = World::holding();
    for _ in 0..1000 {
        world.give(Input::Advert { interface: InterfaceId(0), advert: advert(255) });
        world.run(MS);
    }
    assert!(world.count("announce") <= 2, "{}", world.count("announce"));
    let rounds = world.log.iter().filter(|(_, output)| matches!(output, Output::Etcd(_))).count();
    assert!((1..=4).contains(&rounds), "nor is etcd flooded: {rounds}");
}

/// A claim that comes right after an announcement stands in everybody's cache until the next one.
#[test]
fn a_claim_right_after_an_announcement_is_answered_a_second_later() {
    let mut world = World::holding();
    world.give(Input::Advert { interface: InterfaceId(0), advert: advert(255) });
    world.run(50 * MS);
    assert_eq!(world.count("announce"), 1);
    world.run(7 * SECOND);
    world.log.clear();
    world.give(Input::Advert { interface: InterfaceId(0), advert: advert(255) });
    world.run(200 * MS);
    let before = world.count("announce");
    world.give(Input::Claim { interface: InterfaceId(0), address: VIP.into(), mac: [2, 0, 0, 0, 0, 9] });
    world.run(SECOND);
    assert!(world.count("announce") > before);
}

/// What was to be announced together with a renewal that came too late was not sent: it is announced soon.
#[test]
fn an_announcement_that_was_skipped_is_not_forgotten() {
    let mut world = World::holding();
    world.run(7 * SECOND);
    world.skip_binds = true;
    world.give(Input::Claim { interface: InterfaceId(0), address: VIP.into(), mac: [2, 0, 0, 0, 0, 9] });
    world.skip_binds = false;
    world.log.clear();
    world.run(SECOND + 100 * MS);
    assert!(world.is_bound() && world.count("announce") > 0, "{}", world.why());
}

#[test]
fn a_foreign_active_is_made_to_yield_first() {
    let mut world = World::new();
    world.give(Input::Advert { interface: InterfaceId(0), advert: advert(100) });
    world.promote();
    assert!(!world.is_bound());
    assert_eq!(world.vip().phase.as_str(), "displacing");
    assert_eq!(world.count("advertise"), 1);
    // It says goodbye: no need to wait any longer.
    world.run(20 * MS);
    world.give(Input::Advert { interface: InterfaceId(0), advert: advert(0) });
    assert!(world.is_bound());
}

#[test]
fn a_foreign_active_that_does_not_yield_delays_by_a_tenth_of_a_second() {
    let mut world = World::new();
    world.give(Input::Advert { interface: InterfaceId(0), advert: advert(100) });
    world.promote();
    world.run(95 * MS);
    assert!(!world.is_bound());
    world.run(6 * MS);
    assert!(world.is_bound());
}

#[test]
fn what_ends_the_right_to_bind_also_ends_the_displacing() {
    let losses: [fn(&mut World); 2] = [|world| world.give(link(None)), |world| world.postgres(Role::Unknown)];
    for lose in losses {
        let mut world = World::new();
        world.give(Input::Advert { interface: InterfaceId(0), advert: advert(100) });
        world.promote();
        lose(&mut world);
        // The world fails if the node's deadline stays in the past.
        world.run(SECOND);
        assert!(!world.is_bound());
        assert_eq!(world.count("bind"), 0);
        assert_eq!(world.vip().phase.as_str(), if world.lock.is_some() { "armed" } else { "closed" });
    }
}

#[test]
fn an_active_of_our_own_kind_delays_nothing() {
    let mut world = World::new();
    world.give(Input::Advert { interface: InterfaceId(0), advert: advert(255) });
    world.promote();
    assert!(world.is_bound());
}

#[test]
fn after_a_stall_nothing_is_bound_or_announced_before_fresh_evidence() {
    let mut world = World::holding();
    // Neither etcd nor PostgreSQL answer at once; the watch is silent too.
    world.etcd_up = false;
    world.role = Role::Unknown;
    world.freeze(5 * SECOND);
    world.log.clear();
    world.give(Input::Timer);
    world.run(2 * SECOND);
    assert_eq!(world.deeds(), [""; 0], "not even put back what the kernel has removed");
    assert_eq!(world.vip().reason, "stalled");
    world.etcd_up = true;
    world.role = Role::Primary;
    world.run(4 * SECOND);
    assert!(world.is_bound(), "{}", world.why());
}

/// As on a kernel that keeps each call waiting: the next answer is there, and nobody has come to read it.
#[test]
fn an_old_answer_binds_nothing() {
    let mut world = World::holding();
    world.late = true;
    world.now += SECOND;
    world.give(Input::Timer);
    assert!(!world.is_bound());
    world.late = false;
    world.log.clear();
    world.now += SECOND + SECOND / 10;
    world.give(Input::Timer);
    assert_eq!((world.count("bind"), world.vip().reason), (0, "postgres_unknown"), "{}", world.why());
    world.postgres(Role::Primary);
    assert!(world.is_bound(), "{}", world.why());
}

#[test]
fn an_old_answer_puts_nothing_back() {
    let mut world = World::holding();
    world.now += SECOND;
    world.give(Input::Timer);
    world.now += SECOND + SECOND / 10;
    world.log.clear();
    let gone = world.addresses.pop().unwrap();
    world.give(Input::AddressRemoved(gone));
    assert_eq!((world.count("bind"), world.vip().reason), (0, "stalled"), "{}", world.why());
    assert!(world.lock.is_some(), "it is put back when PostgreSQL has answered");
    world.postgres(Role::Primary);
    world.run(SECOND / 10);
    assert!(world.is_bound(), "{}", world.why());
}

#[test]
fn a_stall_beyond_the_deadline_ends_the_hold() {
    let mut world = World::holding();
    world.etcd_up = false;
    world.freeze(60 * SECOND);
    assert_eq!(world.deeds()[..1], ["unbind"], "past D the address goes before anything else");
    assert_eq!(world.count("bind"), 0);
}

#[test]
fn whatever_is_bound_or_said_carries_its_latest_moment() {
    let mut world = World::new();
    world.promote();
    world.run(60 * SECOND);
    for (at, output) in &world.log {
        if let Output::Bind { not_after, .. }
        | Output::Announce { not_after, .. }
        | Output::Advertise { not_after, .. } = output
        {
            assert_eq!(not_after.since(*at), 100 * MS);
        }
    }
}

#[test]
fn reports_that_nobody_asked_for_change_nothing() {
    let mut world = World::holding();
    use crate::gate::evidence::{Acquisition, VipId};
    let vip = VipId(0);
    let refused = EtcdReport::Acquire { vip, outcome: Acquisition::Refused { lease: 7 } };
    let revoked = EtcdReport::Revoke { vip, lease: 7, outcome: Ok(()) };
    let nowhere = EtcdReport::Revoke { vip: VipId(9), lease: 7, outcome: Ok(()) };
    for report in [refused, revoked, nowhere] {
        world.give(Input::Etcd(report));
    }
    world.run(10 * SECOND);
    assert!(world.is_bound());
    assert_eq!(world.count("unbind"), 0);
}

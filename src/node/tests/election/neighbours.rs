//! Other routers: who counts, what is told of them, and the counters of RFC 8347.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use vrrp::types::Interval;
use vrrp::wire::advert::Advert;

use super::host::{DOWN, ETH0, ETH1, Host, SECOND, VIP, advert, router};
use crate::node::io::{Discarded, Input, Version2};

#[test]
fn with_unicast_a_stranger_counts_for_nothing() {
    let mut host = Host::with(|vip| vip.unicast_peers = vec![router(12), router(13)]);
    let deadline = host.status().vrrp;
    for _ in 0..10 {
        host.run(SECOND / 2);
        host.hear(advert(router(66), 255));
    }
    assert!(host.is_bound());
    let status = host.status();
    assert_eq!((host.discards("not_a_peer"), host.told("not_a_peer")), (10, 1));
    assert_eq!(
        (status.counters.adverts_received, status.vrrp.active_adver_interval),
        (0, deadline.active_adver_interval)
    );
    assert_eq!(status.peers.iter().map(|peer| peer.address).collect::<Vec<_>>(), [router(12), router(13)]);
    assert!(status.peers.iter().all(|peer| peer.age.is_none()), "never heard");
    host.hear(advert(router(12), 200));
    assert!(!host.is_bound());
    assert_eq!(host.status().peers[0].age, Some(std::time::Duration::ZERO));
}

/// It is obeyed all the same: two Actives would be the worse answer.
// RFC9568: 7.1-12+
#[test]
fn another_interval_is_told_once_in_ten_minutes_and_counted() {
    mismatch(
        "configured for 1s",
        |advert| advert.interval = Interval::from_centis(200).unwrap(),
        |host| {
            let status = host.status();
            (status.counters.interval_errors, status.peers[0].interval_mismatch)
        },
    );
}

#[test]
fn other_addresses_are_told_once_in_ten_minutes_and_counted() {
    mismatch(
        "lists other addresses",
        |advert| advert.addresses.push(Ipv4Addr::new(10, 0, 20, 201).into()),
        |host| {
            let status = host.status();
            (status.counters.address_list_errors, status.peers[0].address_mismatch)
        },
    );
}

fn mismatch(words: &str, change: impl Fn(&mut Advert), seen: impl Fn(&Host) -> (u64, bool)) {
    let mut host = Host::new();
    let mut other = advert(router(12), 200);
    change(&mut other);
    for second in 0..1200 {
        host.hear(other.clone());
        host.run(SECOND);
        assert_eq!(host.told(words), 1 + second / 600, "in second {second}");
    }
    assert!(!host.is_bound(), "it counts");
    assert_eq!(seen(&host), (1200, true));
}

// RFC9568: 7.1-12-
/// Nor does a goodbye say anything: its interval and its list mean nothing.
#[test]
fn what_agrees_is_not_told() {
    let mut host = Host::new();
    host.hear(advert(router(12), 200));
    let mut goodbye = advert(router(12), 0);
    goodbye.addresses = vec![Ipv4Addr::UNSPECIFIED.into()];
    goodbye.interval = Interval::from_centis(4095).unwrap();
    host.hear(goodbye);
    let counters = host.status().counters;
    assert_eq!((counters.interval_errors, counters.address_list_errors), (0, 0));
    assert_eq!(host.told("configured for") + host.told("lists other"), 0);
}

#[test]
fn the_order_of_the_addresses_is_no_mismatch() {
    let second: IpAddr = Ipv4Addr::new(10, 0, 20, 201).into();
    let mut host = Host::with(|vip| vip.addresses.push(super::host::net("10.0.20.201/32")));
    let mut other = advert(router(12), 200);
    other.addresses = vec![second, VIP.into()];
    host.hear(other);
    assert_eq!(host.status().counters.address_list_errors, 0);
}

fn discarded(reason: &'static str, vrid: Option<u8>, version2: Option<Version2>) -> Input {
    Input::Discarded(Discarded {
        interface: ETH0,
        reason: Cow::Borrowed(reason),
        count: 2,
        virtual_router_id: vrid,
        version2,
    })
}

#[test]
fn what_rfc_8347_counts() {
    let mut host = Host::new();
    host.hear(advert(router(12), 200));
    host.hear(advert(router(12), 0));
    host.run(10 * SECOND);
    host.give(discarded("type", Some(20), None));
    host.give(discarded("length", Some(20), None));
    host.give(discarded("truncated", Some(20), None));
    host.give(discarded("checksum", Some(20), None));
    // Another virtual router's, and nobody's.
    host.give(discarded("type", Some(21), None));
    host.give(discarded("type", None, None));
    host.give(Input::Stop);
    let counters = host.status().counters;
    assert_eq!((counters.adverts_received, counters.priority_zero_received), (2, 1));
    assert_eq!((counters.became_active, counters.priority_zero_sent), (1, 1));
    assert_eq!((counters.invalid_type_received, counters.length_errors), (2, 4));
    assert_eq!(counters.adverts_sent as usize, host.count("advertise") + host.count("goodbye"));
    assert_eq!((host.discards("type"), host.discards("checksum")), (6, 2), "those of the node are all of them");
}

/// Shown, and not obeyed.
#[test]
fn version_2_is_shown_and_counts_for_nothing() {
    let mut host = Host::new();
    let version2 = Some(Version2 { source: Ipv4Addr::new(10, 0, 20, 12), priority: 255 });
    for _ in 0..4 {
        host.give(discarded("version2", Some(20), version2));
        host.run(SECOND);
    }
    assert!(host.is_bound());
    let status = host.status();
    assert_eq!((status.counters.version2_received, status.counters.adverts_received), (8, 0));
    assert_eq!((status.peers[0].version, status.peers[0].priority, status.peers[0].adverts), (2, 255, 8));
}

#[test]
fn what_is_heard_on_another_interface_does_not_count() {
    let mut host = Host::new();
    host.run(SECOND);
    host.give(Input::Advert { interface: ETH1, advert: advert(router(12), 200) });
    assert_eq!((host.discards("other_virtual_router"), host.status().peers.len()), (1, 0));
    host.run(DOWN - SECOND);
    assert!(host.is_bound());
    host.give(Input::Advert { interface: ETH1, advert: advert(router(12), 200) });
    host.give(Input::Claim { interface: ETH1, address: VIP.into(), mac: [2; 6] });
    assert!(host.is_bound());
    assert_eq!(host.status().counters.arp_conflicts, 0);
}

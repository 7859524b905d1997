//! What is sent: in each family and each form of the checksum, and from where.

use std::net::{IpAddr, Ipv4Addr};

use vrrp::router::ChecksumPolicy;
use vrrp::wire::advert::ChecksumForm::{Rfc5798, Rfc9568};

use super::host::{Host, ME, SECOND, advert, net, own, router, router6};
use crate::node::io::{Input, Output};

fn both(vip: &mut crate::node::VipSettings) {
    vip.addresses = vec![net("10.0.20.200/32"), net("fe80::200/128")];
}

// RFC9568: 7.2-3+
#[test]
fn one_for_each_family_and_each_form() {
    let mut host = Host::active_with(|vip| {
        both(vip);
        vip.checksum = ChecksumPolicy::Auto;
    });
    host.run(SECOND);
    let me = IpAddr::from(ME);
    assert_eq!(host.sent(), [(me, Rfc9568, 100), (me, Rfc5798, 100), (router6(11), Rfc9568, 100)]);
    // Whoever is heard is spoken to in the form that it speaks.
    let mut old = advert(router(12), 50);
    old.checksum = Rfc5798;
    host.hear(old);
    host.log.clear();
    host.run(SECOND);
    assert_eq!(host.sent(), [(me, Rfc5798, 100), (router6(11), Rfc9568, 100)]);
    host.log.clear();
    host.give(Input::Stop);
    assert_eq!(host.sent(), [(me, Rfc5798, 0), (router6(11), Rfc9568, 0)], "goodbye to everybody");
}

#[test]
fn a_family_that_cannot_be_sent_in_is_left_out() {
    let mut host = Host::active_with(both);
    host.delete(router6(11));
    host.run(SECOND);
    assert!(host.is_bound(), "ties are broken in the other one");
    assert_eq!(host.sent(), [(ME.into(), Rfc9568, 100)]);
}

// RFC9568: 7.2-3+
#[test]
fn over_ipv6_a_link_local_address_speaks_but_to_peers_that_are_not_link_local() {
    let global: IpAddr = "fd00::11".parse().unwrap();
    let source = |peers: &[&str]| {
        let peers = peers.iter().map(|peer| peer.parse().unwrap()).collect();
        let mut host = Host::with(|vip| {
            vip.addresses = vec![net("fe80::200/128"), net("fd00::200/128")];
            vip.unicast_peers = peers;
        });
        // The kernel lists it first.
        host.addresses.insert(0, (own(2, global), host.now));
        host.give(Input::Addresses(host.addresses.iter().map(|(address, _)| *address).collect()));
        host.run(10 * SECOND);
        host.sent()[0].0
    };
    assert_eq!(source(&[]), router6(11));
    assert_eq!(source(&["fe80::12"]), router6(11));
    assert_eq!(source(&["fd00::12"]), global);
}

/// The interface's, in the kernel's order: the primary one comes first.
// RFC9568: 7.2-3+
#[test]
fn over_ipv4_the_interfaces_primary_address_speaks() {
    let mut host = Host::active_with(|_| {});
    host.add(own(2, Ipv4Addr::new(10, 0, 20, 5).into()));
    host.run(2 * SECOND);
    assert!(host.sent().iter().all(|(source, ..)| *source == ME), "{:?}", host.sent());
}

#[test]
fn an_advert_is_not_sent_much_later_than_it_was_decided() {
    let mut host = Host::active();
    host.run(SECOND);
    let mut slack = host.log.iter().filter_map(|(at, output)| match output {
        Output::Advertise { not_after, .. } => Some(not_after.since(*at)),
        _ => None,
    });
    assert!(slack.next().is_some_and(|slack| slack <= SECOND / 10));
}

/// After the removal of many addresses it may be late, and is as good, until others take over by themselves.
#[test]
fn a_goodbye_may_come_later_than_other_adverts() {
    let mut host = Host::active();
    host.log.clear();
    host.give(Input::Stop);
    let mut slack = host.log.iter().filter_map(|(at, output)| match output {
        Output::Advertise { priority: 0, not_after, .. } => Some(not_after.since(*at)),
        _ => None,
    });
    assert_eq!(slack.next(), Some(3 * SECOND));
}

//! Several virtual routers on one node.

use vrrp::types::{Priority, Vrid};
use vrrp::wire::advert::Advert;

use super::host::{DOWN, ETH0, ETH1, Host, SECOND, advert, net, router, router6, rules, vip};
use crate::gate::evidence::VipId;
use crate::node::io::{Discarded, Input, Version2};
use crate::node::status::RouterLabel;
use crate::node::{InterfaceId, VipSettings};

fn on(interface: InterfaceId, address: &str) -> VipSettings {
    VipSettings { interface, addresses: vec![net(address)], ..vip() }
}

/// One VRID four times over: in two families, on two interfaces.
fn four() -> Host {
    let vips = vec![
        on(ETH0, "10.0.20.200/32"),
        on(ETH0, "fe80::200/128"),
        on(ETH1, "10.0.30.200/32"),
        on(ETH1, "fe80::300/128"),
    ];
    let mut host = Host::before(vips, super::host::START);
    host.addresses.push((super::host::own(3, router6(31)), host.now));
    host.begin();
    host
}

fn states(host: &Host) -> Vec<bool> {
    (0..host.settings.vips.len()).map(|vip| host.has(vip)).collect()
}

// RFC9568: 7.1-6+ 7.1-6-
#[test]
fn one_vrid_in_two_families_on_two_interfaces_is_four_routers() {
    let heard = [(ETH0, router(12)), (ETH0, router6(12)), (ETH1, router(12)), (ETH1, router6(12))];
    for (which, (interface, source)) in heard.into_iter().enumerate() {
        let mut host = four();
        host.run(DOWN);
        assert_eq!(states(&host), [true; 4]);
        host.give(Input::Advert { interface, advert: advert(source, 200) });
        let expected: Vec<_> = (0..4).map(|vip| vip != which).collect();
        assert_eq!(states(&host), expected);
        let received = (0..4).map(|vip| host.status_of(vip).counters.adverts_received);
        assert_eq!(received.collect::<Vec<_>>(), expected.iter().map(|other| u64::from(!other)).collect::<Vec<_>>());
    }
}

/// Version 2 is IPv4's alone.
#[test]
fn version_2_is_no_peer_of_a_virtual_router_over_ipv6() {
    let mut host = four();
    host.give(Input::Discarded(Discarded {
        interface: ETH0,
        reason: "version2".into(),
        count: 1,
        virtual_router_id: Some(20),
        version2: Some(Version2 { source: [10, 0, 20, 12].into(), priority: 100 }),
    }));
    let seen = (0..4).map(|vip| (host.status_of(vip).peers.len(), host.status_of(vip).counters.version2_received));
    assert_eq!(seen.collect::<Vec<_>>(), [(1, 1), (0, 0), (0, 0), (0, 0)]);
}

fn two() -> Host {
    let mut other = on(ETH0, "10.0.20.201/32");
    other.virtual_router_id = Vrid::new(21).unwrap();
    rules(&mut other).priority = Priority::new(150).unwrap();
    Host::of(vec![vip(), other])
}

fn of_the_second(priority: u8) -> Advert {
    Advert { vrid: Vrid::new(21).unwrap(), addresses: vec![[10, 0, 20, 201].into()], ..advert(router(12), priority) }
}

#[test]
fn each_has_its_own_election() {
    let mut host = two();
    host.run(DOWN - SECOND / 100);
    assert_eq!(states(&host), [false, true], "the second has the shorter Skew_Time");
    host.run(SECOND / 100);
    assert_eq!(states(&host), [true, true]);
    host.hear(of_the_second(200));
    assert_eq!(states(&host), [true, false]);
    host.give(Input::Drain { vip: VipId(1), drained: true });
    host.run(10 * SECOND);
    assert_eq!((states(&host), host.status_of(1).reason), (vec![true, false], "drained"));
}

#[test]
fn one_that_is_refused_does_not_hold_the_other_up() {
    let mut host = two();
    host.unbind_fails = true;
    host.run(DOWN);
    host.hear(of_the_second(200));
    host.unbind_fails = false;
    host.run(SECOND);
    assert_eq!(states(&host), [true, false]);
}

/// This process did not run for a while, and all that was said meanwhile is still to be read, message by message: who is
/// overdue for lack of one may be the next to be heard.
#[test]
fn what_is_heard_of_one_does_not_make_the_other_overdue() {
    let mut host = two();
    let both = |host: &mut Host| {
        host.hear(advert(router(12), 200));
        host.hear(of_the_second(200));
    };
    both(&mut host);
    host.now += DOWN;
    // Passes there were, for other reasons.
    host.node.handle(host.now - SECOND, Input::Timer);
    assert!(host.node.misses_an_active(host.now));
    both(&mut host);
    assert_eq!((states(&host), host.deeds()), (vec![false, false], vec![]), "neither came, not even for a moment");
    assert!(!host.node.misses_an_active(host.now));
    host.now += DOWN;
    host.node.handle(host.now - SECOND, Input::Timer);
    host.hear(advert(router(12), 200));
    host.give(Input::Timer);
    assert_eq!(states(&host), [false, true], "it was not heard");
    assert_eq!(host.status_of(1).router, RouterLabel::Active);
}

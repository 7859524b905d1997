//! When the addresses are announced: at once, in a burst, refreshed, in slices, and against a rival.

use std::time::Duration;

use super::host::{DOWN, ETH0, Host, SECOND, START, VIP, advert, net, router};
use crate::node::io::{Input, Output};

fn since_bind(host: &Host) -> Vec<Duration> {
    host.times("announce").into_iter().map(|at| at.since(START + DOWN)).collect()
}

#[test]
fn a_burst_and_then_a_refresh() {
    let mut host = Host::new();
    host.run(DOWN + 70 * SECOND);
    let millis: Vec<_> = since_bind(&host).iter().map(Duration::as_millis).collect();
    assert_eq!(millis, [0, 100, 1100, 5100, 35_100, 65_100]);
}

/// Positions of the first address and time, of each slice.
fn slices(host: &Host) -> Vec<(usize, usize, Duration)> {
    let start = host.times("bind")[0];
    let slices = host.log.iter().filter_map(|(at, output)| match output {
        Output::Announce { first, count, .. } => Some((*first, *count, at.since(start))),
        _ => None,
    });
    slices.collect()
}

fn many(vip: &mut crate::node::VipSettings) {
    vip.addresses = (0..255u8).map(|last| net(&format!("10.0.40.{last}/32"))).collect();
}

#[test]
fn hundreds_are_announced_in_slices() {
    let mut host = Host::with(many);
    host.run(DOWN + SECOND / 20);
    let expected: Vec<_> = (0..8u32).map(|n| (32 * n as usize, 32, Duration::from_millis(n.into()))).collect();
    assert_eq!(slices(&host), expected);
    host.run(SECOND / 10);
    assert_eq!(slices(&host)[8].0, 0, "and then the next of the burst, from the beginning");
}

/// An announcement of hundreds takes a while; what others wait for is sent before it, and on time.
#[test]
fn slices_delay_no_advert() {
    let mut host = Host::with(|vip| {
        many(vip);
        vip.interval = vrrp::types::Interval::from_centis(1).unwrap();
    });
    host.run(SECOND);
    let adverts = host.times("advertise");
    assert!(adverts.len() > 90);
    assert!(adverts.windows(2).all(|pair| pair[1].since(pair[0]) == Duration::from_millis(10)));
}

#[test]
fn a_lower_router_is_answered_with_announcements_at_most_once_a_second() {
    let mut host = Host::active();
    host.run(40 * SECOND);
    // Between two refreshes.
    host.run(10 * SECOND);
    host.log.clear();
    for _ in 0..100 {
        host.hear(advert(router(12), 50));
        host.run(SECOND / 100);
    }
    let times = host.times("announce");
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert_eq!(pauses, [SECOND / 10], "at once, and the burst's next: {times:?}");
    for _ in 0..500 {
        host.hear(advert(router(12), 50));
        host.run(SECOND / 100);
    }
    let later = host.times("announce").len() - times.len();
    assert!((4..=8).contains(&later), "{later}");
}

#[test]
fn a_claim_is_answered_by_the_active_alone() {
    let claim = || Input::Claim { interface: ETH0, address: VIP.into(), mac: [2, 0, 0, 0, 0, 9] };
    let mut host = Host::new();
    host.give(claim());
    assert_eq!((host.deeds(), host.status().counters.arp_conflicts), (vec![], 0), "the Active speaks of its own");
    let mut host = Host::active();
    host.run(10 * SECOND);
    host.log.clear();
    host.give(claim());
    assert_eq!((host.deeds(), host.status().counters.arp_conflicts), (vec!["announce"], 1));
    assert_eq!(host.told("02:00:00:00:00:09 claims"), 1);
    host.give(claim());
    assert_eq!((host.count("announce"), host.told("claims")), (1, 1), "not more often than once a second");
    host.run(SECOND);
    assert!(host.count("announce") >= 2);
}

#[test]
fn what_could_not_be_announced_is_tried_again_and_does_not_spin() {
    let mut host = Host::new();
    host.announce_fails = true;
    host.run(DOWN + 5 * SECOND);
    assert!((5..=7).contains(&host.count("announce")), "{}", host.count("announce"));
    host.announce_fails = false;
    host.log.clear();
    host.run(SECOND / 2);
    assert_eq!(host.count("announce"), 2, "the burst begins with the first that was sent");
}

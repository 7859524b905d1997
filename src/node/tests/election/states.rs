//! From Initialize by way of Backup to Active, and back.

use std::time::Duration;

use vrrp::router::Preempt;
use vrrp::types::Interval;

use super::host::{DOWN, ETH0, Host, SECOND, SKEW, VIP, advert, foreign, net, router, router6, rules};
use crate::node::io::Input;
use crate::node::status::RouterLabel;

const NANO: Duration = Duration::from_nanos(1);

// RFC9568: 5.2.4-2+ 6.4.1-2+ 6.4.2-7+
#[test]
fn a_node_that_hears_nobody_binds_one_down_interval_after_its_start() {
    let mut host = Host::new();
    assert_eq!((host.status().router, host.status().reason), (RouterLabel::Backup, "backup"));
    assert_eq!(host.status().vrrp.active_down_interval, DOWN);
    host.run(DOWN - NANO);
    assert_eq!(host.deeds(), [""; 0]);
    host.run(NANO);
    assert_eq!(host.deeds(), ["advertise", "bind", "announce"]);
    assert!(host.status().held);
    assert_eq!(host.sent()[0].2, 100, "its own priority, never the owner's");
    assert_eq!(host.moves(), (1, 0));
}

#[test]
fn what_a_predecessor_left_is_removed_before_anything_else() {
    let mut host = Host::before(vec![super::host::vip()], super::host::START);
    let mut left = foreign(2, VIP.into());
    left.lifetime = Some(3);
    host.addresses.push((left, host.now));
    host.begin();
    assert_eq!(host.deeds(), ["reset", "unbind"]);
    assert!(!host.is_bound());
    assert_eq!(host.moves(), (0, 0), "it was never ours");
    host.run(DOWN);
    assert!(host.is_bound());
}

fn both(vip: &mut crate::node::VipSettings) {
    vip.addresses = vec![net("10.0.20.200/32"), net("fe80::200/128")];
}

// RFC9568: 6.4.2-1+ 6.4.2-2+ 6.4.2-5+
/// What has no address answers for none, in neither family, and accepts nothing that is sent to one.
#[test]
fn a_backup_has_no_address() {
    let mut host = Host::with(both);
    for _ in 0..100 {
        host.run(SECOND);
        host.hear(advert(router(12), 200));
        assert!(host.settings.vips[0].addresses.iter().all(|net| !host.has_address(net.addr())));
    }
    assert_eq!(host.deeds(), [""; 0]);
    assert_eq!(host.status().why, "Backup: 10.0.20.12 is Active with priority 200");
}

// RFC9568: 6.4.2-1- 6.4.2-2- 6.4.2-5-
#[test]
fn what_somebody_puts_on_a_backup_is_removed_at_once() {
    for address in [VIP.into(), router6(0x200)] {
        let mut host = Host::with(both);
        host.add(foreign(2, address));
        assert_eq!(host.deeds(), ["reset", "unbind"]);
        assert!(!host.has_address(address));
        assert_eq!((host.status().counters.expelled, host.told("without being Active")), (1, 1));
        // The kernel's word on what is gone already.
        host.give(Input::AddressRemoved(foreign(2, address)));
        assert_eq!(host.count("unbind"), 1);
    }
}

#[test]
fn a_goodbye_is_followed_after_skew_time() {
    let mut host = Host::new();
    host.hear(advert(router(12), 200));
    host.run(SECOND / 2);
    host.hear(advert(router(12), 0));
    assert_eq!(host.status().why, "Backup: 10.0.20.12 said goodbye");
    host.run(SKEW - NANO);
    assert!(!host.is_bound());
    host.run(NANO);
    assert!(host.is_bound());
    assert_eq!(host.status().why, "Active: 10.0.20.12 said goodbye");
}

#[test]
fn a_greater_priority_is_yielded_to_without_a_goodbye() {
    let mut host = Host::active();
    host.hear(advert(router(12), 101));
    assert_eq!(host.deeds(), ["reset", "unbind"]);
    assert!(!host.is_bound());
    assert_eq!(host.status().why, "Backup: 10.0.20.12 has priority 101");
    assert_eq!(host.moves(), (1, 1));
    host.run(DOWN - NANO);
    assert!(!host.is_bound(), "and it is given its time");
    host.run(NANO);
    assert!(host.is_bound());
}

#[test]
fn an_owner_is_yielded_to() {
    let mut host = Host::active();
    host.hear(advert(router(10), 255));
    assert!(!host.is_bound());
}

#[test]
fn a_lower_priority_is_told_at_once_and_the_beat_goes_on() {
    let mut host = Host::active();
    host.run(SECOND / 2);
    host.log.clear();
    let due = host.node.deadline();
    host.hear(advert(router(12), 99));
    assert!(host.is_bound());
    assert_eq!(host.deeds(), ["advertise", "announce"]);
    assert_eq!(host.sent()[0].2, 100);
    assert!(host.node.deadline() <= due);
}

#[test]
fn a_tie_is_the_greater_addresss() {
    let mut host = Host::active();
    host.hear(advert(router(10), 100));
    assert!(host.is_bound());
    host.hear(advert(router(12), 100));
    assert!(!host.is_bound());
}

/// The comparisons of both families could contradict each other, and nobody stay Active. In which order a node lists its
/// addresses is all the same.
#[test]
fn a_tie_is_decided_in_one_family() {
    let both = |first: &str, second: &str| {
        let addresses = vec![net(first), net(second)];
        Host::active_with(|vip| vip.addresses = addresses)
    };
    let (v4, v6) = ("10.0.20.200/32", "fe80::200/128");
    for mut host in [both(v4, v6), both(v6, v4)] {
        host.hear(advert(router6(12), 100));
        assert!(host.is_bound(), "the other family decides nothing");
        host.hear(advert(router(12), 100));
        assert!(!host.is_bound());
    }
}

#[test]
fn a_lower_active_is_relieved_unless_preemption_is_off() {
    let mut host = Host::new();
    let hear_for = |host: &mut Host, seconds| {
        for _ in 0..seconds * 2 {
            host.hear(advert(router(12), 50));
            host.run(SECOND / 2);
        }
    };
    hear_for(&mut host, 4);
    assert!(host.is_bound());
    assert_eq!(host.status().why, "Active: 10.0.20.12 has the lower priority 50");
    let mut host = Host::with(|vip| rules(vip).preempt = Preempt::Never);
    hear_for(&mut host, 60);
    assert!(!host.is_bound());
    assert_eq!(host.status().why, "Backup: 10.0.20.12 is Active with priority 50");
    host.run(DOWN);
    assert!(host.is_bound(), "silence is another matter");
    let mut host = Host::with(|vip| rules(vip).preempt = Preempt::After(10 * SECOND));
    hear_for(&mut host, 10);
    assert!(!host.is_bound());
    hear_for(&mut host, 5);
    assert!(host.is_bound());
}

/// RFC 9568 sections 5.2.7 and 6.1: timers follow the Active's interval, not one's own.
#[test]
fn the_actives_interval_is_learned_and_shown() {
    let mut host = Host::new();
    let mut slow = advert(router(12), 200);
    slow.interval = Interval::from_centis(500).unwrap();
    host.hear(slow);
    let vrrp = host.status().vrrp;
    assert_eq!((vrrp.advertisement_interval, vrrp.active_adver_interval), (SECOND, 5 * SECOND));
    assert_eq!((vrrp.skew_time, vrrp.active_down_interval), (5 * SKEW, 5 * DOWN));
    host.run(5 * DOWN - NANO);
    assert!(!host.is_bound());
    host.run(NANO);
    assert!(host.is_bound());
    assert_eq!(host.status().vrrp.active_adver_interval, SECOND);
}

// RFC9568: 6.4.3-8+
#[test]
fn stopping_cuts_removes_and_then_says_goodbye() {
    let mut host = Host::active();
    host.give(Input::Stop);
    assert_eq!(host.deeds(), ["reset", "unbind", "goodbye"]);
    assert!(host.node.is_gone() && host.node.is_unbound());
    assert_eq!(host.status().reason, "stopping");
    assert_eq!(host.status().counters.priority_zero_sent, 1);
    host.run(60 * SECOND);
    assert!(!host.is_bound());
}

// RFC9568: 6.4.2-6+
#[test]
fn a_backup_that_stops_says_nothing() {
    let mut host = Host::new();
    host.give(Input::Stop);
    assert_eq!(host.deeds(), [""; 0]);
    assert!(host.node.is_gone());
}

#[test]
fn a_stop_waits_for_the_address_to_be_gone() {
    let mut host = Host::active();
    host.unbind_fails = true;
    host.give(Input::Stop);
    host.run(SECOND);
    assert!(!host.node.is_unbound() && host.is_bound());
    assert_eq!(host.count("goodbye"), 0, "nobody is invited while it is here");
    assert!((15..=25).contains(&host.count("unbind")), "{}", host.count("unbind"));
    host.unbind_fails = false;
    host.run(SECOND / 10);
    assert!(host.node.is_gone());
}

#[test]
fn drained_is_away_until_undrained() {
    let mut host = Host::active();
    host.drain(true);
    assert_eq!(host.deeds(), ["reset", "unbind", "goodbye"]);
    assert_eq!((host.status().reason, host.status().drained), ("drained", true));
    host.run(60 * SECOND);
    assert!(!host.is_bound());
    host.hear(advert(router(12), 0));
    host.run(60 * SECOND);
    assert!(!host.is_bound(), "no goodbye calls it");
    host.drain(false);
    assert_eq!(host.status().router, RouterLabel::Backup, "as after any start");
    host.run(DOWN - NANO);
    assert!(!host.is_bound());
    host.run(NANO);
    assert!(host.is_bound());
}

#[test]
fn drained_at_the_start_it_never_comes() {
    let mut host = Host::with(|vip| vip.drained = true);
    host.run(60 * SECOND);
    assert_eq!((host.deeds(), host.status().reason), (vec![], "drained"));
    host.drain(false);
    host.run(DOWN);
    assert!(host.is_bound());
}

/// The next process begins in Backup, so there is nothing that it could go on with.
#[test]
fn a_handover_leaves() {
    let mut host = Host::active();
    host.give(Input::HandOver);
    assert_eq!(host.deeds(), ["reset", "unbind", "goodbye"]);
    assert!(host.node.is_handed_over() && !host.is_bound());
}

#[test]
fn a_handover_that_is_given_up_lets_the_election_begin_anew() {
    let mut host = Host::active();
    host.give(Input::HandOver);
    // A gated VIP, say, could not be renewed in time. Nothing else happens here.
    host.run(SECOND);
    assert_eq!(host.told("handover is given up"), 1);
    assert_eq!(host.status().router, RouterLabel::Backup, "{}", host.why());
    host.run(DOWN);
    assert!(host.is_bound());
}

#[test]
fn after_a_stall_the_active_steps_back_without_a_goodbye() {
    let mut host = Host::active();
    host.freeze(4 * SECOND);
    assert!(!host.is_bound());
    host.give(Input::Timer);
    assert_eq!(host.count("goodbye") + host.count("advertise") + host.count("bind") + host.count("announce"), 0);
    assert_eq!(host.status().router, RouterLabel::Backup);
    assert!(host.status().why.contains("did not run for 4"), "{}", host.why());
    host.run(DOWN - NANO);
    assert!(!host.is_bound());
    host.run(NANO);
    assert!(host.is_bound());
}

/// Nobody else can have taken over.
#[test]
fn a_stall_that_is_shorter_than_the_down_interval_changes_nothing() {
    let mut host = Host::active();
    host.now += 5 * SECOND / 2;
    host.give(Input::Timer);
    assert_eq!((host.count("bind"), host.count("advertise")), (1, 1), "on with it");
    host.run(60 * SECOND);
    assert_eq!((host.moves(), host.count("unbind")), ((1, 0), 0));
}

/// A machine that was frozen has heard nobody, whoever is there.
#[test]
fn after_a_stall_a_backup_listens_first() {
    let mut host = Host::new();
    host.hear(advert(router(12), 200));
    host.freeze(60 * SECOND);
    host.give(Input::Timer);
    assert_eq!(host.deeds(), [""; 0]);
    host.run(SECOND);
    host.hear(advert(router(12), 200));
    host.run(DOWN - NANO);
    assert!(!host.is_bound());
    host.run(NANO);
    assert!(host.is_bound());
}

// RFC9568: 2.5-1+ 2.5-1-
#[test]
fn flapping_is_told_once_in_ten_minutes() {
    let flap = |host: &mut Host, pause: Duration| {
        host.run(DOWN + pause);
        assert!(host.is_bound());
        host.hear(advert(router(12), 200));
    };
    let mut host = Host::new();
    (0..100).for_each(|_| flap(&mut host, 8 * DOWN));
    assert_eq!(host.told("Active 4 times"), 0, "so slow is no flapping");
    (0..4).for_each(|_| flap(&mut host, Duration::ZERO));
    assert_eq!(host.told("Active 4 times within 10.8s: adverts that come every 1s"), 1);
    (0..100).for_each(|_| flap(&mut host, Duration::ZERO));
    assert_eq!(host.told("Active 4 times"), 1);
    (0..100).for_each(|_| flap(&mut host, Duration::ZERO));
    assert_eq!(host.told("Active 4 times"), 2);
}

#[test]
fn who_is_active_is_said_again_after_an_interruption() {
    let mut host = Host::new();
    host.hear(advert(router(12), 200));
    host.drain(true);
    host.drain(false);
    host.hear(advert(router(12), 200));
    assert_eq!(host.status().why, "Backup: 10.0.20.12 is Active with priority 200");
}

#[test]
fn an_echo_of_its_own_is_nobodys() {
    let mut host = Host::active();
    host.hear(advert(super::host::ME.into(), 200));
    assert!(host.is_bound());
    assert_eq!((host.discards("own_address"), host.status().peers.len()), (1, 0));
}

/// Before the addresses are read, none is known to be absent.
#[test]
fn nothing_is_done_before_the_host_is_known() {
    let mut host = Host::before(vec![super::host::vip()], super::host::START);
    host.give(Input::Link { interface: ETH0, link: Some(super::host::up(2)) });
    host.run(60 * SECOND);
    assert_eq!((host.deeds(), host.status().reason), (vec![], "kernel_unasked"));
}

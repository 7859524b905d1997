//! `mac = "virtual"` on a segment of its own: two routers and a client on a bridge, in namespaces. It needs root and macvlan.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

mod frames;
mod stage;

use std::net::SocketAddr;
use std::time::Duration;

use frames::{Frame, Frames};
use stage::{ACTIVE_IS_DEAD, MAC4, MAC6, PORT, ROUTERS, Stage, VIP4, VIP6, VIP6_LOCAL, wait_until};

const SOON: Duration = Duration::from_secs(5);

/// Who answers at the VIP, in each family and by the link-local address.
fn who(stage: &Stage) -> [Option<String>; 3] {
    [VIP4.into(), VIP6.into(), VIP6_LOCAL.into()].map(|vip| stage.connect(vip))
}

fn served_by(stage: &Stage, router: usize) {
    let wanted = [(); 3].map(|()| Some(ROUTERS[router].to_owned()));
    wait_until(SOON, &format!("{} serves", ROUTERS[router]), || who(stage) == wanted);
}

/// What the client takes for the way to the VIP.
fn neighbours(stage: &Stage) -> [Option<String>; 3] {
    [VIP4.into(), VIP6.into(), VIP6_LOCAL.into()].map(|vip| stage.neighbour(vip))
}

fn virtual_macs() -> [Option<String>; 3] {
    [MAC4, MAC6, MAC6].map(|mac| Some(mac.to_owned()))
}

/// Nobody has said that the VIP is at another MAC, and each advert left with the virtual one (RFC 9568 section 7.3).
fn judge(frames: &[Frame]) {
    let mac_of = |vip: std::net::IpAddr| if vip.is_ipv4() { MAC4 } else { MAC6 };
    let mut seen = [false; 4];
    for frame in frames {
        match frame {
            Frame::Advert { ipv4, mac } => {
                assert_eq!(mac, if *ipv4 { MAC4 } else { MAC6 }, "{frame:?}");
                seen[usize::from(*ipv4)] = true;
            }
            Frame::Claim { address, mac } if [VIP4.into(), VIP6.into(), VIP6_LOCAL.into()].contains(address) => {
                assert_eq!(mac, mac_of(*address), "{frame:?}");
                seen[2 + usize::from(address.is_ipv4())] = true;
            }
            // And no other address is.
            Frame::Claim { mac, .. } => assert!(mac != MAC4 && mac != MAC6, "{frame:?}"),
        }
    }
    assert_eq!(seen, [true; 4], "adverts and claims of both families were to be seen");
}

#[test]
fn clients_notice_nothing_of_a_move() {
    let stage = Stage::new();
    let frames = Frames::watch(&stage);
    let first = stage.start(0, 200);
    served_by(&stage, 0);
    let mut second = stage.start(1, 100);
    assert_eq!(neighbours(&stage), virtual_macs());
    // The Backup has the same MAC, and is a client as well.
    wait_until(SOON, "the other one's interfaces are there", || stage.virtual_interfaces(1).len() == 2);
    for vip in [VIP4.into(), VIP6.into()] {
        assert_eq!(stage.connect_from(1, SocketAddr::new(vip, PORT)).as_deref(), Some(ROUTERS[0]), "{vip}");
    }
    assert!(!stage.holds(1, VIP4.into()));
    // For a second nothing tells the bridge that the MAC has moved to it: no report of a group, no solicitation.
    std::thread::sleep(Duration::from_secs(1));
    for interface in stage.virtual_interfaces(1) {
        assert_eq!(stage.sent(1, &interface), 0, "{interface}");
    }

    first.kill();
    wait_until(ACTIVE_IS_DEAD, "the other takes over", || stage.holds(1, VIP4.into()) && stage.holds(1, VIP6.into()));
    served_by(&stage, 1);
    assert_eq!(neighbours(&stage), virtual_macs());

    // What was killed has left its interfaces, and for some seconds the address.
    assert_eq!(stage.virtual_interfaces(0).len(), 2);
    let mut again = stage.start(0, 200);
    served_by(&stage, 0);
    wait_until(SOON, "the other has left", || !stage.holds(1, VIP4.into()) && !stage.holds(1, VIP6.into()));
    assert_eq!(neighbours(&stage), virtual_macs());
    assert_eq!(stage.virtual_interfaces(0).len(), 2);

    again.stop();
    assert_eq!(stage.virtual_interfaces(0), [""; 0], "they go with the daemon");
    served_by(&stage, 1);
    assert_eq!(neighbours(&stage), virtual_macs());
    second.stop();
    assert_eq!(stage.virtual_interfaces(1), [""; 0]);
    judge(&frames.all());
}

/// Packets of the node's own in the VIP's name leave by the interface below, whose kernel has to ask for its neighbours.
#[test]
fn a_node_that_speaks_as_the_vip_does_not_say_where_it_is() {
    let stage = Stage::new();
    let frames = Frames::watch(&stage);
    let _router = stage.start(0, 200);
    served_by(&stage, 0);
    for _ in 0..3 {
        stage.ip(0, "neigh flush all");
        stage.speak_as(0, VIP4.into());
        stage.speak_as(0, VIP6.into());
        served_by(&stage, 0);
    }
    assert_eq!(neighbours(&stage), virtual_macs());
    judge(&frames.all());
}

#[test]
fn the_interface_comes_and_goes_with_the_one_below() {
    let stage = Stage::new();
    let mut router = stage.start(0, 200);
    served_by(&stage, 0);
    stage.unplug(0);
    wait_until(SOON, "it is gone", || stage.virtual_interfaces(0).is_empty());
    assert!(router.is_running());
    stage.plug_in(0);
    served_by(&stage, 0);
    // And somebody who deletes it gets another one.
    stage.ip(0, "link delete vrrp4-155-eth0");
    served_by(&stage, 0);
    router.stop();
    assert_eq!(stage.virtual_interfaces(0), [""; 0]);
}

#[test]
fn a_host_that_would_answer_too_is_refused() {
    let stage = Stage::new();
    for (key, wrong, right) in [
        ("eth0/arp_ignore", "0", "net.ipv4.conf.eth0.arp_ignore = 1"),
        ("eth0/arp_announce", "1", "net.ipv4.conf.eth0.arp_announce = 2"),
        ("all/arp_filter", "1", "net.ipv4.conf.all.arp_filter = 0"),
        ("all/arp_ignore", "2", "net.ipv4.conf.all.arp_ignore = 1"),
    ] {
        let before = stage.set(0, key, wrong);
        let (code, said) = stage.start(0, 200).ended();
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(right), "{said}");
        assert_eq!(stage.virtual_interfaces(0), [""; 0], "nothing is left");
        let findings = stage.doctor(0);
        assert!(findings.contains(right), "{findings}");
        stage.set(0, key, &before);
    }
    stage.ip(0, "link add vrrp4-155-eth0 type veth peer name other");
    let (code, said) = stage.start(0, 200).ended();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("vrrp4-155-eth0 exists and is not this daemon's"), "{said}");
    assert_eq!(stage.virtual_interfaces(0), ["vrrp4-155-eth0"]);
    stage.ip(0, "link delete vrrp4-155-eth0");
    // Strict filtering of the host's is no obstacle.
    stage.set(0, "all/rp_filter", "1");
    let _router = stage.start(0, 200);
    served_by(&stage, 0);
    let findings = stage.doctor(0);
    assert!(findings.contains("nothing on this host answers for it beside its own MAC, vrrp4-155-eth0"), "{findings}");
}

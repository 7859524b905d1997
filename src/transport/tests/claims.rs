//! Announcements are claims to others, and nothing else wakes who listens for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use vrrp::wire::claim::Claim;

use super::segment::{ETH0, MACS, Segment, V4, V6, ip, is_quiet, many, on_a_segment};
use crate::transport::{Announcer, ClaimReceiver};

const VIP4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 20, 155));
const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x155));
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

fn listen(segment: &Segment, addresses: &[IpAddr]) -> ClaimReceiver {
    let index = segment.index(1);
    segment.on(1, || ClaimReceiver::open(index, addresses).unwrap())
}

/// Waits for so many claims.
async fn claims(ears: &ClaimReceiver, count: usize) -> Vec<Claim> {
    let mut heard = Vec::new();
    while heard.len() < count {
        heard.extend(ears.receive().await.unwrap());
    }
    heard
}

#[test]
fn announcements_of_both_families_are_heard() {
    on_a_segment(async |segment| {
        let ears = listen(&segment, &[VIP4, VIP6]);
        let (announcer, index) = (Announcer::open().unwrap(), segment.index(0));
        announcer.announce(index, OTHER_MAC, VIP4).unwrap();
        let claim = Claim { address: VIP4, mac: OTHER_MAC };
        assert_eq!(claims(&ears, 2).await, [claim; 2], "as a request and as a reply");
        announcer.announce(index, OTHER_MAC, VIP6).unwrap();
        assert_eq!(claims(&ears, 1).await, [Claim { address: VIP6, mac: OTHER_MAC }]);
    });
}

#[test]
fn either_family_alone_is_heard() {
    on_a_segment(async |segment| {
        let (announcer, index) = (Announcer::open().unwrap(), segment.index(0));
        for (address, other) in [(VIP4, VIP6), (VIP6, VIP4)] {
            let ears = listen(&segment, &[address]);
            announcer.announce(index, OTHER_MAC, other).unwrap();
            announcer.announce(index, OTHER_MAC, address).unwrap();
            assert!(claims(&ears, 1).await.iter().all(|claim| claim.address == address));
        }
        assert!(is_quiet(listen(&segment, &[]).receive()).await);
    });
}

/// The filters hold for as many addresses as a virtual router can have, and pick each of them and no other.
#[test]
fn each_of_255_addresses_of_both_families_is_heard_and_no_other() {
    on_a_segment(async |segment| {
        let [v4, v6] = many();
        // As small as the limit was before Linux 6.8; where it is still the host's and not the namespace's, it is left alone.
        let limit = "/proc/sys/net/core/optmem_max";
        let ears = segment.on(1, || {
            if std::path::Path::new(limit).exists() {
                std::fs::write(limit, "20480").unwrap();
            }
            ClaimReceiver::open(if_nametoindex(ETH0).unwrap(), &[&v4[..], &v6].concat()).unwrap()
        });
        let (announcer, index) = (Announcer::open().unwrap(), segment.index(0));
        for (host, (v4, v6)) in v4.into_iter().zip(v6).enumerate() {
            // One bit off in each byte: nobody's.
            if host % 16 == 0 {
                let (IpAddr::V4(near4), IpAddr::V6(near6)) = (v4, v6) else { panic!() };
                for byte in 0..4 {
                    let near = Ipv4Addr::from_bits(near4.to_bits() ^ 0x40 << (8 * byte));
                    announcer.announce(index, OTHER_MAC, near.into()).unwrap();
                }
                for byte in 0..16 {
                    let near = Ipv6Addr::from_bits(near6.to_bits() ^ 0x40 << (8 * byte));
                    announcer.announce(index, OTHER_MAC, near.into()).unwrap();
                }
            }
            announcer.announce(index, OTHER_MAC, v4).unwrap();
            announcer.announce(index, OTHER_MAC, v6).unwrap();
            let mut heard = claims(&ears, 3).await;
            heard.sort_by_key(|claim| claim.address);
            assert_eq!(heard, [v4, v4, v6].map(|address| Claim { address, mac: OTHER_MAC }));
        }
        assert!(is_quiet(ears.receive()).await);
    });
}

/// Hosts that look for each other, solicitations and answers among them, are no reason to wake up.
#[test]
fn a_busy_segment_wakes_nobody() {
    on_a_segment(async |segment| {
        let ears = listen(&segment, &[VIP4, VIP6]);
        let index = segment.index(0);
        let [from4, from6] = segment.on(0, || {
            let from6 = SocketAddrV6::new(V6[0], 0, 0, index);
            [UdpSocket::bind((V4[0], 0)).unwrap(), UdpSocket::bind(from6).unwrap()]
        });
        for other in 200..203 {
            segment.on(0, || ip("neigh flush dev eth0"));
            for to in [V4[1].into(), VIP4, Ipv4Addr::new(10, 0, 20, other).into()] {
                from4.send_to(b"?", (to, 9)).unwrap();
            }
            from6.send_to(b"?", (V6[1], 9)).unwrap();
        }
        assert!(is_quiet(ears.receive()).await);
    });
}

/// The kernel of a host that has the address answers who asks for it: over IPv6, who asks its solicited-node group.
// RFC9568: 6.4.3-2+
#[test]
fn an_answer_of_anothers_kernel_is_heard() {
    on_a_segment(async |segment| {
        ip("address add 10.0.20.155/32 dev eth0");
        ip("address add fd00::155/64 dev eth0 nodad");
        let ears = listen(&segment, &[VIP4, VIP6]);
        segment.on(1, || {
            ip("address add fd00::12/64 dev eth0 nodad");
            let from4 = UdpSocket::bind((V4[1], 0)).unwrap();
            from4.send_to(b"?", (Ipv4Addr::new(10, 0, 20, 155), 9)).unwrap();
        });
        assert_eq!(claims(&ears, 1).await, [Claim { address: VIP4, mac: MACS[0] }]);
        let from6 = loop {
            match segment.on(1, || UdpSocket::bind("[fd00::12]:0")) {
                Ok(socket) => break socket,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        while from6.send_to(b"?", "[fd00::155]:9").is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(claims(&ears, 1).await, [Claim { address: VIP6, mac: MACS[0] }]);
    });
}

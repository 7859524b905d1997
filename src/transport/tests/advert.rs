//! Advertisements over both families: what one host sends is what the other hears, and what is on the wire.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{bind, getsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use vrrp::types::{Interval, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};
use vrrp::wire::heard::Heard;
use vrrp::wire::ipv4::Discard;

use super::segment::{ETH0, MACS, Segment, V4, V6, ip, is_quiet, many, on_a_segment};
use crate::transport::{BUDGET, Rejected, WAITING, link_address, raw, v4, v6};

fn over4(host: usize) -> Advert<Ipv4Addr> {
    Advert {
        source: V4[host],
        destination: v4::GROUP,
        vrid: Vrid::new(155).unwrap(),
        priority: 100,
        interval: Interval::DEFAULT,
        addresses: vec![[10, 0, 20, 155].into()],
        checksum: ChecksumForm::Rfc5798,
    }
}

fn over6(host: usize) -> Advert<Ipv6Addr> {
    let addresses = ["fe80::155", "fd00::155"].map(|address| address.parse().unwrap()).to_vec();
    Advert {
        source: V6[host],
        destination: v6::GROUP,
        vrid: Vrid::new(155).unwrap(),
        priority: 100,
        interval: Interval::DEFAULT,
        addresses,
        checksum: ChecksumForm::Rfc9568,
    }
}

fn ears(segment: &Segment, host: usize) -> (v4::AdvertReceiver, v6::AdvertReceiver) {
    let index = segment.index(host);
    segment
        .on(host, || (v4::AdvertReceiver::open(ETH0, index).unwrap(), v6::AdvertReceiver::open(ETH0, index).unwrap()))
}

fn mouths(segment: &Segment, host: usize) -> (v4::AdvertSender, v6::AdvertSender) {
    let index = segment.index(host);
    segment.on(host, || (v4::AdvertSender::open(ETH0).unwrap(), v6::AdvertSender::open(ETH0, index).unwrap()))
}

#[test]
fn what_one_host_sends_the_other_hears() {
    on_a_segment(async |segment| {
        let (mouth4, mouth6) = mouths(&segment, 0);
        let (ear4, ear6) = ears(&segment, 1);
        let (own4, own6) = ears(&segment, 0);
        mouth4.send(&over4(0)).unwrap();
        assert_eq!(ear4.receive().await.unwrap(), [Ok(over4(0))]);
        mouth6.send(&over6(0)).unwrap();
        assert_eq!(ear6.receive().await.unwrap(), [Ok(over6(0))]);
        // To a peer alone, the greatest that there is: over IPv6 in fragments.
        let [addresses, _] = many();
        let addresses = addresses.into_iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let all = Advert { destination: V4[1], addresses: addresses.collect(), ..over4(0) };
        mouth4.send(&all).unwrap();
        assert_eq!(ear4.receive().await.unwrap(), [Ok(all)]);
        let addresses = (1..=255).map(|host| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, host)).collect();
        let all = Advert { destination: V6[1], addresses, ..over6(0) };
        mouth6.send(&all).unwrap();
        assert_eq!(ear6.receive().await.unwrap(), [Ok(all)]);
        assert!(is_quiet(own4.receive()).await && is_quiet(own6.receive()).await, "nobody hears himself");
    });
}

/// RFC 9568 section 5.1.2: group, TTL, protocol, from the address that was asked for although there are others.
// RFC9568: 5.1.2.3-1+ 7.2-4+
#[test]
fn what_is_on_the_wire() {
    on_a_segment(async |segment| {
        let (_, mouth6) = mouths(&segment, 0);
        let index = segment.index(1);
        let mut tap = segment.on(1, || {
            let protocol = (libc::ETH_P_IPV6 as u16).to_be();
            let tap = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(protocol)))).unwrap();
            bind(tap.as_raw_fd(), &link_address(protocol, index).unwrap()).unwrap();
            tap.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            tap
        });
        mouth6.send(&over6(0)).unwrap();
        let mut frame = [0; 2048];
        let heard = loop {
            let length = tap.read(&mut frame).unwrap();
            if let Some(heard) = Heard::read(&frame[..length]) {
                break heard;
            }
        };
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x12]);
        assert_eq!((heard.mac, heard.fault), (MACS[0], None));
        assert_eq!((heard.source, heard.destination), (V6[0].into(), v6::GROUP.into()));
        assert_eq!(heard.ttl, 255);
        let class = frame[14] << 4 | frame[15] >> 4;
        assert_eq!(class, 0xc0, "internetwork control");
        let foreign = Advert { source: "fe80::99".parse().unwrap(), ..over6(0) };
        assert_eq!(mouth6.send(&foreign).unwrap_err().raw_os_error(), Some(libc::EINVAL), "no address of this host");
    });
}

// RFC9568: 5.1.2.3-2- 7.1-1-
#[test]
fn what_is_wrong_over_ipv6_is_heard_with_the_virtual_router_that_it_is_for() {
    on_a_segment(async |segment| {
        let (_, ear6) = ears(&segment, 1);
        let index = segment.index(0);
        let stranger = segment.on(0, || raw(Domain::IPV6, ETH0).unwrap());
        stranger.set_multicast_hops_v6(255).unwrap();
        let to = SocketAddrV6::new(v6::GROUP, 0, 0, index).into();
        let right = over6(0).emit();
        let alter = |at: usize, byte: u8| {
            let mut message = right.clone();
            message[at] = byte;
            message
        };
        let vrid = Some(155);
        let bytes = right.len() - 8;
        for (message, rejected) in [
            (alter(7, right[7] ^ 1), Rejected { reason: Discard::Checksum, vrid }),
            (alter(0, 0x32), Rejected { reason: Discard::Type(2), vrid }),
            (alter(3, 1), Rejected { reason: Discard::Length { count: 1, bytes, of: 16 }, vrid }),
            (right[..7].to_vec(), Rejected { reason: Discard::Truncated, vrid: None }),
            // The longest that is read, and longer.
            (
                vec![0x31; 8192],
                Rejected { reason: Discard::Length { count: 0x31, bytes: 8184, of: 16 }, vrid: Some(0x31) },
            ),
            (
                vec![0x31; 9000],
                Rejected { reason: Discard::Length { count: 0x31, bytes: 8184, of: 16 }, vrid: Some(0x31) },
            ),
        ] {
            stranger.send_to(&message, &to).unwrap();
            assert_eq!(ear6.receive().await.unwrap(), [Err(rejected)]);
        }
        stranger.set_multicast_hops_v6(254).unwrap();
        stranger.send_to(&right, &to).unwrap();
        assert_eq!(ear6.receive().await.unwrap(), [Err(Rejected { reason: Discard::Ttl(254), vrid })]);
    });
}

#[test]
fn what_is_wrong_over_ipv4_names_its_virtual_router_too() {
    on_a_segment(async |segment| {
        let (ear4, _) = ears(&segment, 1);
        let stranger = segment.on(0, || raw(Domain::IPV4, ETH0).unwrap());
        let to = SocketAddrV4::new(v4::GROUP, 0).into();
        stranger.send_to(&over4(0).emit(), &to).unwrap();
        let vrid = Some(155);
        assert_eq!(ear4.receive().await.unwrap(), [Err(Rejected { reason: Discard::Ttl(1), vrid })]);
        stranger.set_multicast_ttl_v4(255).unwrap();
        let mut message = over4(0).emit();
        message[3] = 9;
        stranger.send_to(&message, &to).unwrap();
        let reason = Discard::Length { count: 9, bytes: 4, of: 4 };
        assert_eq!(ear4.receive().await.unwrap(), [Err(Rejected { reason, vrid })]);
    });
}

/// Thousands that nobody has had the time to read do not push out the one that counts.
#[test]
fn a_flood_waits_and_is_taken_in_portions() {
    const FLOOD: usize = 5000;
    on_a_segment(async |segment| {
        let (mouth4, mouth6) = mouths(&segment, 0);
        let (ear4, ear6) = ears(&segment, 1);
        for _ in 0..FLOOD {
            mouth4.send(&Advert { priority: 1, ..over4(0) }).unwrap();
            mouth6.send(&Advert { priority: 1, ..over6(0) }).unwrap();
        }
        mouth4.send(&over4(0)).unwrap();
        mouth6.send(&over6(0)).unwrap();
        let (mut heard4, mut heard6) = (Vec::new(), Vec::new());
        while heard4.len() <= FLOOD {
            let portion = ear4.receive().await.unwrap();
            assert!(portion.len() <= BUDGET);
            heard4.extend(portion);
        }
        while heard6.len() <= FLOOD {
            let portion = ear6.receive().await.unwrap();
            assert!(portion.len() <= BUDGET);
            heard6.extend(portion);
        }
        assert_eq!(heard4.last(), Some(&Ok(over4(0))));
        assert_eq!(heard6.last(), Some(&Ok(over6(0))));
    });
}

/// Whoever only sends keeps nothing waiting that he never reads.
#[test]
fn a_sender_receives_nothing() {
    on_a_segment(async |segment| {
        let (mouth4, mouth6) = mouths(&segment, 0);
        let there = mouths(&segment, 1);
        let (ear4, ear6) = ears(&segment, 0);
        there.0.send(&Advert { destination: V4[0], ..over4(1) }).unwrap();
        there.1.send(&Advert { destination: V6[0], ..over6(1) }).unwrap();
        assert!(ear4.receive().await.unwrap()[0].is_ok() && ear6.receive().await.unwrap()[0].is_ok());
        for mut mouth in [mouth4.socket(), mouth6.socket()] {
            let error = mouth.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        }
    });
}

#[test]
fn more_may_wait_than_the_hosts_limit() {
    on_a_segment(async |segment| {
        let socket = segment.on(0, || raw(Domain::IPV6, ETH0).unwrap());
        crate::transport::let_wait(&socket).unwrap();
        // The kernel doubles it, for its own needs.
        assert_eq!(getsockopt(&socket, sockopt::RcvBuf).unwrap(), 2 * WAITING);
    });
}

/// Groups are joined on one interface; what comes in by another is not heard.
#[test]
fn another_interface_is_not_heard() {
    on_a_segment(async |segment| {
        let (_, mouth6) = mouths(&segment, 0);
        let elsewhere = segment.on(1, || {
            ip("link add other0 type veth peer name other1");
            ip("link set other0 up");
            let index = if_nametoindex("other0").unwrap();
            v6::AdvertReceiver::open("other0", index).unwrap()
        });
        let (_, here) = ears(&segment, 1);
        mouth6.send(&over6(0)).unwrap();
        assert!(here.receive().await.unwrap()[0].is_ok());
        assert!(is_quiet(elsewhere.receive()).await);
    });
}

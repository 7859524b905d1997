//! The acknowledgement that fits no connection, read by somebody else's parser.

use std::net::SocketAddr;

use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
use vrrp::wire::tickle::{NUMBERS, packet};

fn parse(source: &str, destination: &str) -> (PacketHeaders<'static>, Vec<u8>) {
    let (source, destination): (SocketAddr, SocketAddr) = (source.parse().unwrap(), destination.parse().unwrap());
    let bytes = packet(source, destination, NUMBERS[2]).unwrap();
    let leaked: &'static [u8] = Box::leak(bytes.clone().into_boxed_slice());
    (PacketHeaders::from_ip_slice(leaked).unwrap(), bytes)
}

#[test]
fn it_acknowledges_nothing_over_ipv4() {
    let (headers, bytes) = parse("10.0.20.155:5432", "10.0.20.31:40001");
    let (Some(NetHeaders::Ipv4(ip, _)), Some(TransportHeader::Tcp(tcp))) = (headers.net, headers.transport) else {
        panic!("no TCP over IPv4: {bytes:02x?}");
    };
    assert_eq!((ip.source, ip.destination, ip.time_to_live), ([10, 0, 20, 155], [10, 0, 20, 31], 64));
    assert_eq!(usize::from(ip.total_len), bytes.len());
    assert_eq!(ip.header_checksum, ip.calc_header_checksum());
    assert_eq!((tcp.source_port, tcp.destination_port), (5432, 40001));
    assert_eq!((tcp.sequence_number, tcp.acknowledgment_number, tcp.window_size), (1 << 31, 0, 0));
    assert!(tcp.ack && !(tcp.syn || tcp.rst || tcp.fin || tcp.psh || tcp.urg));
    assert_eq!(tcp.checksum, tcp.calc_checksum_ipv4(&ip, &[]).unwrap());
}

#[test]
fn it_acknowledges_nothing_over_ipv6() {
    let (headers, bytes) = parse("[fd00:20::155]:5432", "[fd00:20::31]:40001");
    let (Some(NetHeaders::Ipv6(ip, _)), Some(TransportHeader::Tcp(tcp))) = (headers.net, headers.transport) else {
        panic!("no TCP over IPv6: {bytes:02x?}");
    };
    assert_eq!(ip.source_addr().to_string(), "fd00:20::155");
    assert_eq!(ip.destination_addr().to_string(), "fd00:20::31");
    assert_eq!((ip.hop_limit, ip.payload_length), (64, 20));
    assert_eq!((tcp.sequence_number, tcp.acknowledgment_number), (1 << 31, 0));
    assert!(tcp.ack && !(tcp.syn || tcp.rst || tcp.fin));
    assert_eq!(tcp.checksum, tcp.calc_checksum_ipv6(&ip, &[]).unwrap());
}

#[test]
fn there_is_none_between_the_families() {
    assert_eq!(packet("10.0.20.155:5432".parse().unwrap(), "[fd00:20::31]:1".parse().unwrap(), (0, 0)), None);
}

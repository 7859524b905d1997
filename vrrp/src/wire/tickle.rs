//! The acknowledgement that fits no connection: it makes the other end of a connection say what it believes in.
//!
//! Numbers out of the blue, no data. The receiver of such a segment answers with its own numbers (RFC 9293 section 3.10.7.4,
//! first step) and changes nothing; if whoever gets that answer knows no such connection, it answers with a reset that the
//! receiver believes. Whole IP packets, since that is what a raw socket takes.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pnet_packet::ip::IpNextHeaderProtocols::Tcp;
use pnet_packet::ipv4::{Ipv4Flags, MutableIpv4Packet};
use pnet_packet::ipv6::MutableIpv6Packet;
use pnet_packet::tcp::{MutableTcpPacket, TcpFlags};

use super::checksum::{of_message, with_pseudo_header};

/// Bytes of the headers, which are without options.
const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: usize = 20;

/// Hops that it may go: what hosts usually send with.
const HOPS: u8 = 64;

/// TCP's protocol number.
const PROTOCOL: u8 = 6;

/// The numbers that are sent, of sequence and of acknowledgement: 0 and its opposite in the circle of numbers, in every
/// combination. TCP itself answers to any of them. A firewall on the way that follows connections (Linux's conntrack) lets
/// pass what is behind its window and drops what is before it; so one of each pair gets through, whatever numbers the
/// connection has. With the first alone it was one connection of four.
pub const NUMBERS: [(u32, u32); 4] = [(0, 0), (0, OPPOSITE), (OPPOSITE, 0), (OPPOSITE, OPPOSITE)];

const OPPOSITE: u32 = 1 << 31;

/// From `source` to `destination`, with these numbers; `None` if they are not of one family.
pub fn packet(source: SocketAddr, destination: SocketAddr, numbers: (u32, u32)) -> Option<Vec<u8>> {
    let segment = acknowledgement(source.port(), destination.port(), numbers)?;
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4(source, destination, segment),
        (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6(source, destination, segment),
        _ => None,
    }
}

fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, mut segment: [u8; TCP]) -> Option<Vec<u8>> {
    let checksum = with_pseudo_header(PROTOCOL, source, destination, &segment);
    MutableTcpPacket::new(&mut segment)?.set_checksum(checksum);
    let mut header = [0; IPV4];
    let mut ip = MutableIpv4Packet::new(&mut header)?;
    ip.set_version(4);
    ip.set_header_length(5);
    ip.set_total_length((IPV4 + TCP) as u16);
    ip.set_flags(Ipv4Flags::DontFragment);
    ip.set_ttl(HOPS);
    ip.set_next_level_protocol(Tcp);
    ip.set_source(source.octets().into());
    ip.set_destination(destination.octets().into());
    let checksum = of_message(&header);
    MutableIpv4Packet::new(&mut header)?.set_checksum(checksum);
    Some([header.as_slice(), &segment].concat())
}

fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, mut segment: [u8; TCP]) -> Option<Vec<u8>> {
    let checksum = with_pseudo_header(PROTOCOL, source, destination, &segment);
    MutableTcpPacket::new(&mut segment)?.set_checksum(checksum);
    let mut header = [0; IPV6];
    let mut ip = MutableIpv6Packet::new(&mut header)?;
    ip.set_version(6);
    ip.set_payload_length(TCP as u16);
    ip.set_next_header(Tcp);
    ip.set_hop_limit(HOPS);
    ip.set_source(source.octets().into());
    ip.set_destination(destination.octets().into());
    Some([header.as_slice(), &segment].concat())
}

/// The segment, without its checksum.
fn acknowledgement(source: u16, destination: u16, (sequence, acknowledgement): (u32, u32)) -> Option<[u8; TCP]> {
    let mut segment = [0; TCP];
    let mut tcp = MutableTcpPacket::new(&mut segment)?;
    tcp.set_source(source);
    tcp.set_destination(destination);
    tcp.set_sequence(sequence);
    tcp.set_acknowledgement(acknowledgement);
    tcp.set_data_offset(5);
    tcp.set_flags(TcpFlags::ACK);
    // No promise of room: it is nobody's who could take anything.
    tcp.set_window(0);
    Some(segment)
}

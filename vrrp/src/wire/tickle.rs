//! The acknowledgement that fits no connection: it makes the other end of a connection say what it believes in.
//!
//! Sequence number 0, acknowledgement number 0, no data. The receiver of such a segment answers with its own numbers
//! (RFC 9293 section 3.10.7.4, first step) and changes nothing; if whoever gets that answer knows no such connection, it
//! answers with a reset that the receiver believes. Whole IP packets, since that is what a raw socket takes.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pnet_packet::ip::IpNextHeaderProtocols::Tcp;
use pnet_packet::ipv4::MutableIpv4Packet;
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

/// From `source` to `destination`; `None` if they are not of one family.
pub fn packet(source: SocketAddr, destination: SocketAddr) -> Option<Vec<u8>> {
    let ports = (source.port(), destination.port());
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4(source, destination, ports),
        (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6(source, destination, ports),
        _ => None,
    }
}

fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, ports: (u16, u16)) -> Option<Vec<u8>> {
    let mut bytes = vec![0; IPV4 + TCP];
    let segment = bytes.get_mut(IPV4..)?;
    acknowledge(segment, ports)?;
    let checksum = with_pseudo_header(PROTOCOL, source, destination, segment);
    MutableTcpPacket::new(segment)?.set_checksum(checksum);
    let mut ip = MutableIpv4Packet::new(&mut bytes)?;
    ip.set_version(4);
    ip.set_header_length(5);
    ip.set_total_length((IPV4 + TCP) as u16);
    ip.set_flags(pnet_packet::ipv4::Ipv4Flags::DontFragment);
    ip.set_ttl(HOPS);
    ip.set_next_level_protocol(Tcp);
    ip.set_source(source.octets().into());
    ip.set_destination(destination.octets().into());
    let checksum = of_message(bytes.get(..IPV4)?);
    MutableIpv4Packet::new(&mut bytes)?.set_checksum(checksum);
    Some(bytes)
}

fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, ports: (u16, u16)) -> Option<Vec<u8>> {
    let mut bytes = vec![0; IPV6 + TCP];
    let segment = bytes.get_mut(IPV6..)?;
    acknowledge(segment, ports)?;
    let checksum = with_pseudo_header(PROTOCOL, source, destination, segment);
    MutableTcpPacket::new(segment)?.set_checksum(checksum);
    let mut ip = MutableIpv6Packet::new(&mut bytes)?;
    ip.set_version(6);
    ip.set_payload_length(TCP as u16);
    ip.set_next_header(Tcp);
    ip.set_hop_limit(HOPS);
    ip.set_source(source.octets().into());
    ip.set_destination(destination.octets().into());
    Some(bytes)
}

fn acknowledge(segment: &mut [u8], (source, destination): (u16, u16)) -> Option<()> {
    let mut tcp = MutableTcpPacket::new(segment)?;
    tcp.set_source(source);
    tcp.set_destination(destination);
    tcp.set_data_offset(5);
    tcp.set_flags(TcpFlags::ACK);
    // No promise of room: it is nobody's who could take anything.
    tcp.set_window(0);
    Some(())
}

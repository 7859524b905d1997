//! The IPv4 packet around an advertisement: built for a raw socket that takes the header from us, read from one that
//! hands the header over.

use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::ipv4::{Ipv4Packet, MutableIpv4Packet, checksum};

use super::advert::Advert;
use super::checksum::PROTOCOL;
pub use super::discard::Discard;

/// RFC 9568 section 5.1.1.3: sent with 255, and nothing else is accepted, so that no router can have passed it on.
const TTL: u8 = 255;

/// Bytes of a header without options.
const HEADER: usize = 20;

/// Internetwork control (DSCP 48), as routing protocols have it.
const DSCP: u8 = 48;

/// The whole packet, for a raw socket with `IP_HDRINCL`. The identification is 0, which the kernel replaces; it fills
/// total length and checksum again.
pub fn packet(advert: &Advert<Ipv4Addr>) -> Vec<u8> {
    packet_of(advert.source, advert.destination, &advert.emit())
}

/// The same around any message of protocol 112.
pub fn packet_of(source: Ipv4Addr, destination: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let length = HEADER + message.len();
    let mut bytes = vec![0; length];
    if let Some(mut header) = MutableIpv4Packet::new(&mut bytes) {
        header.set_version(4);
        header.set_header_length(5);
        header.set_dscp(DSCP);
        header.set_total_length(u16::try_from(length).unwrap_or(u16::MAX));
        header.set_ttl(TTL);
        header.set_next_level_protocol(IpNextHeaderProtocol(PROTOCOL));
        // In a no_std build pnet has an address type of its own.
        header.set_source(source.octets().into());
        header.set_destination(destination.octets().into());
        let sum = checksum(&header.to_immutable());
        header.set_checksum(sum);
    }
    bytes[HEADER..].copy_from_slice(message);
    bytes
}

/// Reads what a raw socket handed over, IP header included. The header's own checksum was the kernel's to verify.
///
/// # Errors
/// The reason to discard it. What costs least is checked first, then what RFC 9568 section 7.1 lists, in its order.
pub fn parse(packet: &[u8]) -> Result<Advert<Ipv4Addr>, Discard> {
    let header = Ipv4Packet::new(packet).ok_or(Discard::Truncated)?;
    let start = usize::from(header.get_header_length()) * 4;
    if header.get_version() != 4 || start < HEADER {
        return Err(Discard::NotIpv4);
    }
    if header.get_next_level_protocol().0 != PROTOCOL {
        return Err(Discard::Protocol(header.get_next_level_protocol().0));
    }
    if header.get_ttl() != TTL {
        return Err(Discard::Ttl(header.get_ttl()));
    }
    // More fragments (bit 0 of the flags), or not the first one.
    if header.get_flags() & 1 != 0 || header.get_fragment_offset() != 0 {
        return Err(Discard::Fragment);
    }
    // What follows the packet within the frame is Ethernet's padding.
    let end = usize::from(header.get_total_length());
    let message = packet.get(start..end).ok_or(Discard::Truncated)?;
    Advert::parse(header.get_source().octets().into(), header.get_destination().octets().into(), message)
}

/// What there is of the message in a packet, right or not; empty if there is nothing of it, as in any fragment but the
/// first.
pub fn message(packet: &[u8]) -> &[u8] {
    let Some(header) = Ipv4Packet::new(packet).filter(|header| header.get_fragment_offset() == 0) else { return &[] };
    let start = usize::from(header.get_header_length()) * 4;
    let end = usize::from(header.get_total_length()).min(packet.len());
    packet.get(start..end).unwrap_or_default()
}

//! The IPv6 packet around an advertisement, as a packet socket hands it over. A raw socket gives and takes the message alone:
//! source, destination and hop limit come and go beside it.

use core::net::Ipv6Addr;

use pnet_packet::Packet;
use pnet_packet::ipv6::Ipv6Packet;

use super::advert::Advert;
use super::checksum::PROTOCOL;
use super::discard::Discard;

/// RFC 9568 section 5.1.2.3: sent with 255, and nothing else is accepted, so that no router can have passed it on.
pub const HOP_LIMIT: u8 = 255;

/// Reads a packet, IPv6 header included. One with extension headers is discarded by the protocol of the first of them: what
/// stays on the segment needs none.
///
/// # Errors
/// The reason to discard it. What costs least is checked first, then what RFC 9568 section 7.1 lists, in its order.
pub fn parse(packet: &[u8]) -> Result<Advert<Ipv6Addr>, Discard> {
    let header = Ipv6Packet::new(packet).ok_or(Discard::Truncated)?;
    if header.get_version() != 6 {
        return Err(Discard::NotIpv6);
    }
    if header.get_next_header().0 != PROTOCOL {
        return Err(Discard::Protocol(header.get_next_header().0));
    }
    // What follows the packet within the frame is Ethernet's padding; of a packet that was cut there is less.
    if header.payload().len() < usize::from(header.get_payload_length()) {
        return Err(Discard::Truncated);
    }
    let (source, destination) = (header.get_source().octets().into(), header.get_destination().octets().into());
    parse_message(source, destination, header.get_hop_limit(), header.payload())
}

/// Reads what a raw socket handed over.
///
/// # Errors
/// As [`parse`].
pub fn parse_message(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    message: &[u8],
) -> Result<Advert<Ipv6Addr>, Discard> {
    if hop_limit != HOP_LIMIT {
        return Err(Discard::Ttl(hop_limit));
    }
    Advert::parse(source, destination, message)
}

//! Neighbour discovery over Ethernet (RFC 4861): announcing an address, and reading who claims one. Whole frames both ways,
//! since that is what a packet socket takes and gives.

use core::net::Ipv6Addr;

use pnet_packet::Packet;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet_packet::icmpv6::ndp::{
    MutableNdpOptionPacket, MutableNeighborAdvertPacket, NdpOptionTypes, NeighborAdvertFlags, NeighborAdvertPacket,
};
use pnet_packet::icmpv6::{Icmpv6Code, Icmpv6Types};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};

use super::checksum;
use super::claim::Claim;

/// Bytes of an unsolicited neighbour advertisement's frame.
pub const LENGTH: usize = ETHERNET + IPV6 + MESSAGE + OPTION;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// Bytes of an IPv6 header.
const IPV6: usize = 40;

/// Bytes of a neighbour advertisement without options.
const MESSAGE: usize = 24;

/// Bytes of an option with a MAC; options say how long they are in units of this.
const OPTION: usize = 8;

/// ICMPv6's protocol number (RFC 4443 section 2.1).
const ICMPV6: u8 = 58;

/// RFC 4861 section 7.1.2: nothing else is accepted, so that no router can have passed it on.
const HOP_LIMIT: u8 = 255;

/// Everybody on the segment, and the MAC that this group has (RFC 2464 section 7).
const ALL_NODES: (Ipv6Addr, [u8; 6]) = (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), [0x33, 0x33, 0, 0, 0, 1]);

/// An unsolicited neighbour advertisement to everybody on the segment (RFC 9568 sections 6.4.1 and 6.4.2): router, not
/// solicited, override; from the announced address, which is the target too, with its MAC as an option.
pub fn announcement(mac: [u8; 6], address: Ipv6Addr) -> [u8; LENGTH] {
    let mut frame = [0; LENGTH];
    if let Some(mut ethernet) = MutableEthernetPacket::new(&mut frame) {
        ethernet.set_destination(ALL_NODES.1.into());
        ethernet.set_source(mac.into());
        ethernet.set_ethertype(EtherTypes::Ipv6);
    }
    if let Some(mut header) = MutableIpv6Packet::new(&mut frame[ETHERNET..]) {
        header.set_version(6);
        header.set_payload_length((MESSAGE + OPTION) as u16);
        header.set_next_header(IpNextHeaderProtocols::Icmpv6);
        header.set_hop_limit(HOP_LIMIT);
        header.set_source(address.octets().into());
        header.set_destination(ALL_NODES.0.octets().into());
    }
    if let Some(mut option) = MutableNdpOptionPacket::new(&mut frame[ETHERNET + IPV6 + MESSAGE..]) {
        option.set_option_type(NdpOptionTypes::TargetLLAddr);
        option.set_length(1);
        option.set_data(&mac);
    }
    if let Some(mut message) = MutableNeighborAdvertPacket::new(&mut frame[ETHERNET + IPV6..]) {
        message.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
        message.set_flags(NeighborAdvertFlags::Router | NeighborAdvertFlags::Override);
        message.set_target_addr(address.octets().into());
        let sum = checksum::with_pseudo_header(ICMPV6, address, ALL_NODES.0, message.packet());
        message.set_checksum(sum);
    }
    frame
}

/// Reads a claim from an Ethernet frame: any neighbour advertisement, asked for or not, that RFC 4861 section 7.1.2 lets
/// pass claims its target. `None` for everything else, solicitations included: their source is heeded by whom they ask only.
pub fn parse_claim(frame: &[u8]) -> Option<Claim> {
    let ethernet = EthernetPacket::new(frame)?;
    if ethernet.get_ethertype() != EtherTypes::Ipv6 {
        return None;
    }
    let header = Ipv6Packet::new(ethernet.payload())?;
    // What follows the packet within the frame is Ethernet's padding; of a packet that was cut there is less.
    let is_whole = header.payload().len() == usize::from(header.get_payload_length());
    let is_icmpv6 = header.get_next_header() == IpNextHeaderProtocols::Icmpv6;
    if header.get_version() != 6 || !is_whole || !is_icmpv6 || header.get_hop_limit() != HOP_LIMIT {
        return None;
    }
    let message = NeighborAdvertPacket::new(header.payload())?;
    let kind = (message.get_icmpv6_type(), message.get_icmpv6_code());
    let (source, destination): (Ipv6Addr, Ipv6Addr) =
        (header.get_source().octets().into(), header.get_destination().octets().into());
    let sum = checksum::with_pseudo_header(ICMPV6, source, destination, header.payload());
    if kind != (Icmpv6Types::NeighborAdvert, Icmpv6Code(0)) || sum != 0 {
        return None;
    }
    let address = Ipv6Addr::from(message.get_target_addr().octets());
    // To everybody, a solicited one cannot be (section 7.1.2), and neither a group nor nobody has a MAC.
    let is_contradiction = destination.is_multicast() && message.get_flags() & NeighborAdvertFlags::Solicited != 0;
    if address.is_multicast() || address.is_unspecified() || is_contradiction {
        return None;
    }
    let mac = target_mac(header.payload().get(MESSAGE..)?)?;
    Some(Claim { address: address.into(), mac: mac.unwrap_or_else(|| ethernet.get_source().octets()) })
}

/// The target link-layer address among the options, the first one that has the size of a MAC; `Some(None)` if there is none,
/// `None` if the options are no options (section 7.1.2: an option of length zero has the message discarded).
#[allow(clippy::option_option, reason = "no option and no options are different things")]
fn target_mac(mut options: &[u8]) -> Option<Option<[u8; 6]>> {
    let mut mac = None;
    while let &[kind, units, ..] = options {
        let (option, rest) = options.split_at_checked(usize::from(units) * OPTION).filter(|_| units != 0)?;
        if kind == NdpOptionTypes::TargetLLAddr.0 && units == 1 {
            mac = mac.or_else(|| option[2..].first_chunk().copied());
        }
        options = rest;
    }
    options.is_empty().then_some(mac)
}

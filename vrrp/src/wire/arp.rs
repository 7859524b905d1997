//! ARP over Ethernet (RFC 826): announcing an address, and reading who claims one. Whole frames both ways, since that is
//! what a packet socket takes and gives; without the padding to 60 bytes, which the sender's driver adds.

use core::net::Ipv4Addr;

use pnet_packet::Packet;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};

use super::claim::Claim;

/// Bytes of an ARP frame over Ethernet for IPv4, without padding.
pub const LENGTH: usize = ETHERNET + 28;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

const BROADCAST: [u8; 6] = [0xff; 6];

/// Bytes of a MAC and of an IPv4 address, as the ARP header states them.
const ADDRESS_LENGTHS: (u8, u8) = (6, 4);

/// The two forms of an announcement; some devices heed only one of them (RFC 5227 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Operation 1.
    Request,
    /// Operation 2.
    Reply,
}

/// A gratuitous ARP frame to everybody on the segment. Sender and target are the same: the announced address and its
/// MAC (RFC 9568 sections 6.4.1 and 6.4.2 as corrected by errata 7947 and 7949).
pub fn announcement(mac: [u8; 6], address: Ipv4Addr, form: Form) -> [u8; LENGTH] {
    let mut frame = [0; LENGTH];
    if let Some(mut ethernet) = MutableEthernetPacket::new(&mut frame) {
        ethernet.set_destination(BROADCAST.into());
        ethernet.set_source(mac.into());
        ethernet.set_ethertype(EtherTypes::Arp);
    }
    if let Some(mut arp) = MutableArpPacket::new(&mut frame[ETHERNET..]) {
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(ADDRESS_LENGTHS.0);
        arp.set_proto_addr_len(ADDRESS_LENGTHS.1);
        arp.set_operation(match form {
            Form::Request => ArpOperations::Request,
            Form::Reply => ArpOperations::Reply,
        });
        arp.set_sender_hw_addr(mac.into());
        arp.set_sender_proto_addr(address.octets().into());
        arp.set_target_hw_addr(mac.into());
        arp.set_target_proto_addr(address.octets().into());
    }
    frame
}

/// Reads a claim from an Ethernet frame: any ARP message, of either operation, that names its sender. The MAC is the one in
/// the message and not that of the frame around it: it is what caches take. `None` for everything else, a probe included:
/// one who asks with sender 0.0.0.0 claims nothing yet (RFC 5227 section 1.1).
pub fn parse_claim(frame: &[u8]) -> Option<Claim> {
    let ethernet = EthernetPacket::new(frame)?;
    if ethernet.get_ethertype() != EtherTypes::Arp {
        return None;
    }
    let arp = ArpPacket::new(ethernet.payload())?;
    let is_ipv4_over_ethernet = arp.get_hardware_type() == ArpHardwareTypes::Ethernet
        && arp.get_protocol_type() == EtherTypes::Ipv4
        && (arp.get_hw_addr_len(), arp.get_proto_addr_len()) == ADDRESS_LENGTHS;
    let is_known = matches!(arp.get_operation(), ArpOperations::Request | ArpOperations::Reply);
    let address = Ipv4Addr::from(arp.get_sender_proto_addr().octets());
    let claims = is_ipv4_over_ethernet && is_known && !address.is_unspecified();
    claims.then(|| Claim { address: address.into(), mac: arp.get_sender_hw_addr().octets() })
}

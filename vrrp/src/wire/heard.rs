//! A frame of protocol 112 for people: as much of it as can be read, and what is wrong with it. Nothing is decided by this;
//! what the virtual router goes by are [`ipv4::parse`] and [`ipv6::parse`], which have the last word here too.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use pnet_packet::Packet;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;

use super::address::Address;
use super::advert::{ChecksumForm, HEADER};
use super::checksum::{self, PROTOCOL};
use super::discard::Discard;
use super::{ipv4, ipv6};

/// Bytes of version 2's authentication data, behind the addresses (RFC 3768 section 5.3.10).
const AUTHENTICATION: usize = 8;

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The frame's source. A virtual router's own MAC is 00-00-5E-00-01-{VRID}, or -02- for IPv6 (RFC 9568 section 7.3).
    pub mac: [u8; 6],
    /// The packet's source.
    pub source: IpAddr,
    /// Its destination: the group, or a unicast peer.
    pub destination: IpAddr,
    /// The TTL or hop limit.
    pub ttl: u8,
    /// The message, unless there is less of it than its fixed bytes.
    pub message: Option<Message>,
    /// Why a router of RFC 9568 discards it. For version 2, why one of RFC 3768 does.
    pub fault: Option<Discard>,
}

/// The message, by its own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// 3, 2, or anything else up to 15.
    pub version: u8,
    /// 1 for an advertisement.
    pub kind: u8,
    /// The virtual router.
    pub vrid: u8,
    /// 255: the owner. 0: the sender stops being Active.
    pub priority: u8,
    /// The sender's advertisement interval.
    pub interval: Duration,
    /// Those that are there, whatever their count says.
    pub addresses: Vec<IpAddr>,
    /// The form of version 3's checksum; `None` if it is of another version or right in no form.
    pub checksum: Option<ChecksumForm>,
    /// Version 2's authentication type: 0 none, 1 a password in clear text, 2 a header of IPsec's.
    pub authentication: Option<u8>,
}

impl Heard {
    /// Reads an Ethernet frame. `None` for one that has nothing to do with protocol 112, or is too short to tell.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetPacket::new(frame)?;
        let mac = ethernet.get_source().octets();
        match ethernet.get_ethertype() {
            EtherTypes::Ipv4 => read_ipv4(mac, ethernet.payload()),
            EtherTypes::Ipv6 => read_ipv6(mac, ethernet.payload()),
            _ => None,
        }
    }
}

fn read_ipv4(mac: [u8; 6], packet: &[u8]) -> Option<Heard> {
    let header = Ipv4Packet::new(packet).filter(|header| header.get_next_level_protocol().0 == PROTOCOL)?;
    let (source, destination): (Ipv4Addr, Ipv4Addr) =
        (header.get_source().octets().into(), header.get_destination().octets().into());
    let bytes = ipv4::message(packet);
    let message = Message::read(source, destination, bytes);
    let fault = match ipv4::parse(packet) {
        Err(Discard::Version2 { .. }) => version2_fault(bytes),
        other => other.err(),
    };
    Some(Heard { mac, source: source.into(), destination: destination.into(), ttl: header.get_ttl(), message, fault })
}

fn read_ipv6(mac: [u8; 6], packet: &[u8]) -> Option<Heard> {
    let header = Ipv6Packet::new(packet).filter(|header| header.get_next_header().0 == PROTOCOL)?;
    let (source, destination): (Ipv6Addr, Ipv6Addr) =
        (header.get_source().octets().into(), header.get_destination().octets().into());
    let message = Message::read(source, destination, header.payload());
    let (ttl, fault) = (header.get_hop_limit(), ipv6::parse(packet).err());
    Some(Heard { mac, source: source.into(), destination: destination.into(), ttl, message, fault })
}

impl Message {
    fn read<A: Address>(source: A, destination: A, bytes: &[u8]) -> Option<Self> {
        let (&[version_type, vrid, priority, count, fifth, sixth, ..], list) = bytes.split_first_chunk::<HEADER>()?;
        let version = version_type >> 4;
        // Only version 2 has its interval in seconds, beside the type of its authentication.
        let (interval, authentication) = match version {
            2 => (Duration::from_secs(sixth.into()), Some(fifth)),
            _ => (Duration::from_millis(u64::from(u16::from_be_bytes([fifth & 0x0f, sixth])) * 10), None),
        };
        let addresses = list.chunks_exact(A::LENGTH).take(usize::from(count));
        Some(Self {
            version,
            kind: version_type & 0x0f,
            vrid,
            priority,
            interval,
            addresses: addresses.filter_map(A::read).map(Into::into).collect(),
            checksum: checksum::form(source, destination, bytes).filter(|_| version == 3),
            authentication,
        })
    }
}

/// What RFC 3768 section 7.1 has checked of a message, apart from what only its receiver's configuration can tell.
fn version2_fault(bytes: &[u8]) -> Option<Discard> {
    let Some((&[version_type, vrid, _, count, _, interval, ..], list)) = bytes.split_first_chunk::<HEADER>() else {
        return Some(Discard::Truncated);
    };
    // Without the data behind the addresses, which some leave out where there is no authentication.
    let length = usize::from(count) * 4;
    let kind = version_type & 0x0f;
    if kind != 1 {
        return Some(Discard::Type(kind));
    }
    if count == 0 {
        return Some(Discard::NoAddresses);
    }
    if list.len() != length && list.len() != length + AUTHENTICATION {
        return Some(Discard::Length { count, bytes: list.len(), of: 4 });
    }
    if checksum::of_message(bytes) != 0 {
        return Some(Discard::Checksum);
    }
    if vrid == 0 {
        return Some(Discard::VridZero);
    }
    (interval == 0).then_some(Discard::IntervalZero)
}

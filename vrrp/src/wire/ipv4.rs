//! The IPv4 packet around an advertisement: built for a raw socket that takes the header from us, read from one that
//! hands the header over.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::ipv4::{Ipv4Packet, MutableIpv4Packet, checksum};

use super::advert::Advert;
use super::checksum::PROTOCOL;

/// RFC 9568 section 5.1.1.3: sent with 255, and nothing else is accepted, so that no router can have passed it on.
const TTL: u8 = 255;

/// Bytes of a header without options.
const HEADER: usize = 20;

/// Internetwork control (DSCP 48), as routing protocols have it.
const DSCP: u8 = 48;

/// Why a packet is not used. One variant is one metric label and one sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Discard {
    /// Shorter than its headers.
    Truncated,
    /// No IPv4 header, or another protocol than 112.
    NotVrrp,
    /// A fragment: the message is not whole.
    Fragment,
    /// The TTL is not 255 (RFC 9568 section 7.1).
    Ttl(u8),
    /// VRRP version 2: recognised, counted, never obeyed.
    Version2 {
        /// The sender.
        source: Ipv4Addr,
        /// Its virtual router.
        vrid: u8,
        /// Its priority.
        priority: u8,
    },
    /// Neither version 3 nor 2 (RFC 9568 section 7.1).
    Version(u8),
    /// No advertisement (RFC 9568 section 5.2.2).
    Type(u8),
    /// Virtual router 0 (RFC 9568 section 5.2.3).
    VridZero,
    /// The checksum is right in neither form (RFC 9568 section 7.1).
    Checksum,
    /// No address in it (erratum 8299).
    NoAddresses,
    /// Not as long as its count of addresses says (RFC 9568 section 7.1).
    Length,
    /// Max Advertise Interval is 0 (erratum 8301).
    IntervalZero,
}

impl Discard {
    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::NotVrrp => "not_vrrp",
            Self::Fragment => "fragment",
            Self::Ttl(_) => "ttl",
            Self::Version2 { .. } => "version2",
            Self::Version(_) => "version",
            Self::Type(_) => "type",
            Self::VridZero => "vrid_zero",
            Self::Checksum => "checksum",
            Self::NoAddresses => "no_addresses",
            Self::Length => "length",
            Self::IntervalZero => "interval_zero",
        }
    }
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "shorter than its headers"),
            Self::NotVrrp => write!(f, "not VRRP over IPv4"),
            Self::Fragment => write!(f, "a fragment"),
            Self::Ttl(ttl) => write!(f, "TTL {ttl} instead of 255: it came from another segment"),
            Self::Version2 { source, vrid, priority } => {
                write!(f, "VRRP version 2 from {source}, virtual router {vrid}, priority {priority}")
            }
            Self::Version(version) => write!(f, "VRRP version {version}"),
            Self::Type(kind) => write!(f, "type {kind}, which is no advertisement"),
            Self::VridZero => write!(f, "virtual router 0"),
            Self::Checksum => write!(f, "wrong checksum"),
            Self::NoAddresses => write!(f, "no address in it"),
            Self::Length => write!(f, "not as long as its count of addresses says"),
            Self::IntervalZero => write!(f, "advertisement interval 0"),
        }
    }
}

impl core::error::Error for Discard {}

/// The whole packet, for a raw socket with `IP_HDRINCL`. The kernel fills length and checksum again.
pub fn packet(advert: &Advert) -> Vec<u8> {
    let message = advert.emit();
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
        header.set_source(advert.source.octets().into());
        header.set_destination(advert.destination.octets().into());
        let sum = checksum(&header.to_immutable());
        header.set_checksum(sum);
    }
    bytes[HEADER..].copy_from_slice(&message);
    bytes
}

/// Reads what a raw socket handed over, IP header included. Cheapest checks first.
///
/// # Errors
/// The reason to discard it.
pub fn parse(packet: &[u8]) -> Result<Advert, Discard> {
    let header = Ipv4Packet::new(packet).ok_or(Discard::Truncated)?;
    if header.get_version() != 4 || header.get_next_level_protocol().0 != PROTOCOL {
        return Err(Discard::NotVrrp);
    }
    // More fragments (bit 0 of the flags), or not the first one.
    if header.get_flags() & 1 != 0 || header.get_fragment_offset() != 0 {
        return Err(Discard::Fragment);
    }
    if header.get_ttl() != TTL {
        return Err(Discard::Ttl(header.get_ttl()));
    }
    let start = usize::from(header.get_header_length()) * 4;
    let end = usize::from(header.get_total_length());
    // What follows the packet within the frame is Ethernet's padding.
    let message = packet.get(start..end).filter(|_| start >= HEADER).ok_or(Discard::Truncated)?;
    Advert::parse(header.get_source().octets().into(), header.get_destination().octets().into(), message)
}

//! Why a packet is not used: one variant is one metric label, one log line and one requirement. Section numbers are
//! RFC 9568's; where it says that a check MUST be made, a packet that fails it MUST be discarded (section 7.1).

use core::fmt;
use core::net::Ipv4Addr;

/// Why a packet is not used. No timer is touched because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Discard {
    /// Fewer bytes than the IP header, its total length, or the eight fixed bytes of a message call for (7.1: the
    /// packet is complete, its fixed fields included).
    Truncated,
    /// No IPv4 header: another version, or a header of less than five words (RFC 791 section 3.1).
    NotIpv4,
    /// No IPv6 header: another version (RFC 8200 section 3).
    NotIpv6,
    /// Another IP protocol than 112 (5.1.1.4).
    Protocol(u8),
    /// The TTL or hop limit is not 255: a router has passed it on (5.1.1.3, 5.1.2.3, 7.1).
    Ttl(u8),
    /// A fragment: the message is not whole. The kernel reassembles before it hands over, so this is never seen.
    Fragment,
    /// VRRP version 2 (7.1: the version is 3). Recognised, since it tells that a router of the old kind is there, and
    /// never obeyed. Its numbers are as they stood in the packet; no checksum vouches for them.
    Version2 {
        /// The sender.
        source: Ipv4Addr,
        /// Its virtual router.
        vrid: u8,
        /// Its priority.
        priority: u8,
    },
    /// A version that is neither 3 nor 2 (7.1).
    Version(u8),
    /// Not of type 1, the advertisement, which is the only one (5.2.2, 7.1).
    Type(u8),
    /// The count of addresses is 0 (5.2.5; erratum 8299 for 7.1).
    NoAddresses,
    /// Not exactly as long as the count of addresses says (7.1: the packet is complete). Bytes behind the last address
    /// are no part of a version 3 message: Keepalived's HMAC trailer ends here as well.
    Length {
        /// The count of addresses.
        count: u8,
        /// The bytes that follow the eight fixed ones.
        bytes: usize,
        /// The bytes of one address.
        of: usize,
    },
    /// The checksum is right in no form (5.2.8, 7.1).
    Checksum,
    /// Virtual router 0, which there is none of (5.2.3).
    VridZero,
    /// Max Advertise Interval is 0: Backups would take over at once (erratum 8301 for 7.1).
    IntervalZero,
    /// Over IPv6, the first address is not link-local (5.2.9; erratum 8300 for 7.1).
    FirstAddress,
}

impl Discard {
    /// The metric label, snake_case.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::NotIpv4 => "not_ipv4",
            Self::NotIpv6 => "not_ipv6",
            Self::Protocol(_) => "protocol",
            Self::Ttl(_) => "ttl",
            Self::Fragment => "fragment",
            Self::Version2 { .. } => "version2",
            Self::Version(_) => "version",
            Self::Type(_) => "type",
            Self::NoAddresses => "no_addresses",
            Self::Length { .. } => "length",
            Self::Checksum => "checksum",
            Self::VridZero => "vrid_zero",
            Self::IntervalZero => "interval_zero",
            Self::FirstAddress => "first_address",
        }
    }
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "shorter than its headers"),
            Self::NotIpv4 => write!(f, "no IPv4 header"),
            Self::NotIpv6 => write!(f, "no IPv6 header"),
            Self::Protocol(protocol) => write!(f, "IP protocol {protocol} instead of 112"),
            Self::Ttl(ttl) => write!(f, "TTL {ttl} instead of 255: it came from another segment"),
            Self::Fragment => write!(f, "a fragment"),
            Self::Version2 { source, vrid, priority } => {
                write!(f, "VRRP version 2 from {source}, virtual router {vrid}, priority {priority}")
            }
            Self::Version(version) => write!(f, "VRRP version {version}"),
            Self::Type(kind) => write!(f, "type {kind}, which is no advertisement"),
            Self::NoAddresses => write!(f, "no address in it"),
            Self::Length { count, bytes, of } => write!(f, "{bytes} bytes for {count} addresses of {of}"),
            Self::Checksum => write!(f, "wrong checksum"),
            Self::VridZero => write!(f, "virtual router 0"),
            Self::IntervalZero => write!(f, "advertisement interval 0"),
            Self::FirstAddress => write!(f, "the first address is not link-local"),
        }
    }
}

impl core::error::Error for Discard {}

//! The Internet checksum, in the two forms that VRRPv3 routers use over IPv4.
//!
//! RFC 9568 section 5.2.8 sums the VRRP message alone for IPv4. RFC 5798 could be read to include a pseudo-header as for
//! IPv6, and much of what is deployed does that.

use core::net::Ipv4Addr;

/// VRRP's protocol number (RFC 9568 section 5.1.1.4).
pub(super) const PROTOCOL: u8 = 112;

/// The one's complement sum of 16-bit words, an odd last byte padded with zero.
fn sum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let rest = rest.first().map_or(0, |last| u32::from(*last) << 8);
    // 65,535 bytes of 0xff sum up to less than 2^31.
    words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum::<u32>() + rest
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum of a message. Over a message that contains its right checksum it is 0.
pub(super) fn of_message(message: &[u8]) -> u16 {
    !fold(sum(message))
}

/// The checksum of a message with the IPv4 pseudo-header in front. Over a message that contains its right checksum it
/// is 0.
pub(super) fn with_pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, message: &[u8]) -> u16 {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let header = sum(&source.octets()) + sum(&destination.octets()) + u32::from(PROTOCOL) + u32::from(length);
    !fold(header + sum(message))
}

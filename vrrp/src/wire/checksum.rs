//! The Internet checksum, in the two forms that VRRPv3 routers use over IPv4.
//!
//! RFC 9568 section 5.2.8 sums the VRRP message alone for IPv4, and puts a pseudo-header in front for IPv6. RFC 5798 could be
//! read to include one for IPv4 as well, and much of what is deployed does that. ICMPv6 has the same sum (RFC 4443 section
//! 2.3).

use alloc::vec::Vec;
use core::iter;

use super::address::Address;

/// VRRP's protocol number (RFC 9568 section 5.1.1.4).
pub(super) const PROTOCOL: u8 = 112;

/// What the checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ChecksumForm {
    /// Over IPv4 the message alone, over IPv6 with the pseudo-header: RFC 9568 section 5.2.8.
    Rfc9568,
    /// Over IPv4, with the IPv4 pseudo-header: a reading of RFC 5798 that Keepalived and FRR follow by default.
    Rfc5798,
}

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

/// The checksum of a message alone. Over a message that contains its right checksum it is 0.
pub(super) fn of_message(message: &[u8]) -> u16 {
    !fold(sum(message))
}

/// The checksum of a message of this protocol with the pseudo-header of its family in front. Over a message that contains
/// its right checksum it is 0.
pub(super) fn with_pseudo_header<A: Address>(protocol: u8, source: A, destination: A, message: &[u8]) -> u16 {
    // Both families' pseudo-headers sum up alike: addresses, length and protocol, and zeros.
    let mut addresses = Vec::with_capacity(2 * A::LENGTH);
    source.write(&mut addresses);
    destination.write(&mut addresses);
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    !fold(sum(&addresses) + u32::from(protocol) + u32::from(length) + sum(message))
}

/// The checksum of an advertisement in this form. Over a message that contains its right checksum it is 0.
pub(super) fn of<A: Address>(form: ChecksumForm, source: A, destination: A, message: &[u8]) -> u16 {
    if form == ChecksumForm::Rfc9568 && source.ipv4().is_some() {
        return of_message(message);
    }
    with_pseudo_header(PROTOCOL, source, destination, message)
}

/// The form in which a message's checksum is right; the RFC's where both are. Over IPv6 there is one.
pub(super) fn form<A: Address>(source: A, destination: A, message: &[u8]) -> Option<ChecksumForm> {
    let older = source.ipv4().map(|_| ChecksumForm::Rfc5798);
    let mut forms = iter::once(ChecksumForm::Rfc9568).chain(older);
    forms.find(|form| of(*form, source, destination, message) == 0)
}

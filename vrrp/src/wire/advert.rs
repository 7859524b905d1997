//! The VRRPv3 advertisement (RFC 9568 section 5.2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+---------------+---------------+
//! |Version| Type  | Virtual Rtr ID|   Priority    |  Addr count   |
//! +-------+-------+---------------+---------------+---------------+
//! |reserve| Max advertise interval|           Checksum            |
//! +-------+-----------------------+-------------------------------+
//! |                   IPv4 or IPv6 addresses                      |
//! ```

use alloc::vec::Vec;
use core::net::IpAddr;

use super::address::Address;
use super::checksum;
pub use super::checksum::ChecksumForm;
use super::discard::Discard;
use crate::types::{Interval, Vrid};

/// Bytes before the addresses.
pub(super) const HEADER: usize = 8;

/// The only type there is (RFC 9568 section 5.2.2).
const ADVERTISEMENT: u8 = 1;

/// A VRRPv3 advertisement, as received or to be sent. `Advert<Ipv4Addr>` and `Advert<Ipv6Addr>` have a wire format; `Advert`
/// alone is either of them, for whoever goes by what it says and not by how it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Advert<A = IpAddr> {
    /// The sender's primary address; over IPv6 a link-local one.
    pub source: A,
    /// 224.0.0.18 or ff02::12, or a unicast peer.
    pub destination: A,
    /// The virtual router.
    pub vrid: Vrid,
    /// 255: the owner of the addresses. 0: the sender stops being Active. Otherwise 1 to 254.
    pub priority: u8,
    /// The sender's Advertisement_Interval.
    pub interval: Interval,
    /// The virtual router's addresses, 1 to 255; over IPv6 the first one is link-local.
    pub addresses: Vec<A>,
    /// The form of its checksum. A message that is right in both forms counts as RFC 9568's.
    pub checksum: ChecksumForm,
}

impl<A: Address> Advert<A> {
    /// The message, without the IP header. Addresses after the 255th are left out: the count has one byte.
    pub fn emit(&self) -> Vec<u8> {
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        let interval = self.interval.centis().to_be_bytes();
        let mut message = Vec::with_capacity(HEADER + usize::from(count) * A::LENGTH);
        // The reserved nibble above the interval's twelve bits is zero.
        message.extend([0x30 | ADVERTISEMENT, self.vrid.get(), self.priority, count, interval[0], interval[1], 0, 0]);
        self.addresses.iter().take(usize::from(count)).for_each(|address| address.write(&mut message));
        let checksum = checksum::of(self.checksum, self.source, self.destination, &message);
        message[6..8].copy_from_slice(&checksum.to_be_bytes());
        message
    }

    /// Reads a message that came from `source` to `destination`.
    ///
    /// # Errors
    /// The reason why RFC 9568 section 7.1 has it discarded.
    pub fn parse(source: A, destination: A, message: &[u8]) -> Result<Self, Discard> {
        let Some((header, list)) = message.split_first_chunk::<HEADER>() else { return Err(Discard::Truncated) };
        let &[version_type, vrid, priority, count, interval_high, interval_low, ..] = header;
        match (version_type >> 4, source.ipv4()) {
            (3, _) => {}
            // The first three bytes of version 2 mean the same. It is shown to people and never obeyed.
            (2, Some(source)) => return Err(Discard::Version2 { source, vrid, priority }),
            (other, _) => return Err(Discard::Version(other)),
        }
        if version_type & 0x0f != ADVERTISEMENT {
            return Err(Discard::Type(version_type & 0x0f));
        }
        if count == 0 {
            return Err(Discard::NoAddresses);
        }
        if list.len() != usize::from(count) * A::LENGTH {
            return Err(Discard::Length { count, bytes: list.len(), of: A::LENGTH });
        }
        let checksum = checksum::form(source, destination, message).ok_or(Discard::Checksum)?;
        let vrid = Vrid::new(vrid).ok_or(Discard::VridZero)?;
        // The reserved nibble is ignored (section 5.2.6).
        let centis = u16::from_be_bytes([interval_high & 0x0f, interval_low]);
        let interval = Interval::from_centis(centis).ok_or(Discard::IntervalZero)?;
        let addresses: Vec<A> = list.chunks_exact(A::LENGTH).filter_map(A::read).collect();
        if !addresses[0].may_be_first() {
            return Err(Discard::FirstAddress);
        }
        Ok(Self { source, destination, vrid, priority, interval, addresses, checksum })
    }
}

impl<A: Address> From<Advert<A>> for Advert {
    fn from(advert: Advert<A>) -> Self {
        let Advert { source, destination, vrid, priority, interval, addresses, checksum } = advert;
        let addresses = addresses.into_iter().map(Into::into).collect();
        Self { source: source.into(), destination: destination.into(), vrid, priority, interval, addresses, checksum }
    }
}

//! The ways that protocol 112 takes between two nodes: by family, to the group or to a peer.

use std::fmt;
use std::net::IpAddr;

use crate::transport::{v4, v6};

/// One of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Way {
    /// IPv4, to 224.0.0.18.
    GroupV4,
    /// IPv4, to the peer.
    PeerV4,
    /// IPv6, to ff02::12.
    GroupV6,
    /// IPv6, to the peer.
    PeerV6,
}

impl Way {
    pub(super) const ALL: [Self; 4] = [Self::GroupV4, Self::PeerV4, Self::GroupV6, Self::PeerV6];

    /// That of a packet with this destination.
    pub(super) fn to(destination: IpAddr) -> Self {
        match (destination.is_multicast(), destination.is_ipv4()) {
            (true, true) => Self::GroupV4,
            (false, true) => Self::PeerV4,
            (true, false) => Self::GroupV6,
            (false, false) => Self::PeerV6,
        }
    }

    /// The group, if it leads to one.
    pub(super) fn group(self) -> Option<IpAddr> {
        match self {
            Self::GroupV4 => Some(v4::GROUP.into()),
            Self::GroupV6 => Some(v6::GROUP.into()),
            Self::PeerV4 | Self::PeerV6 => None,
        }
    }

    pub(super) const fn is_ipv4(self) -> bool {
        matches!(self, Self::GroupV4 | Self::PeerV4)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GroupV4 => "IPv4 multicast",
            Self::PeerV4 => "IPv4 unicast",
            Self::GroupV6 => "IPv6 multicast",
            Self::PeerV6 => "IPv6 unicast",
        })
    }
}

/// Some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ways(u8);

impl Ways {
    /// From a byte of the wire. Bits that mean nothing are dropped.
    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits & 0x0f)
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    pub(super) const fn insert(&mut self, way: Way) {
        self.0 |= 1 << way as u8;
    }

    pub(super) const fn has(self, way: Way) -> bool {
        self.0 & 1 << way as u8 != 0
    }
}

impl FromIterator<Way> for Ways {
    fn from_iter<T: IntoIterator<Item = Way>>(ways: T) -> Self {
        let mut all = Self::default();
        ways.into_iter().for_each(|way| all.insert(way));
        all
    }
}

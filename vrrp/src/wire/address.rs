//! What differs between the two families of virtual routers: the addresses.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses in one message are all of one family, and so is what carries it (RFC 9568 section 1).
pub trait Address: Copy + Ord + fmt::Debug + fmt::Display + Into<IpAddr> + sealed::Sealed {
    /// Bytes of one.
    const LENGTH: usize;

    /// From its first [`LENGTH`](Self::LENGTH) bytes; `None` if there are fewer.
    fn read(bytes: &[u8]) -> Option<Self>;

    /// Appends its bytes.
    fn write(self, to: &mut Vec<u8>);

    /// `None` if it is of the other family.
    fn of(address: IpAddr) -> Option<Self>;

    /// For what only IPv4 has.
    fn ipv4(self) -> Option<Ipv4Addr>;

    /// Whether it may stand first in a message: over IPv6 the virtual router's link-local address does (section 5.2.9;
    /// erratum 8300).
    fn may_be_first(self) -> bool;
}

impl Address for Ipv4Addr {
    const LENGTH: usize = 4;

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk::<4>().map(|octets| Self::from(*octets))
    }

    fn write(self, to: &mut Vec<u8>) {
        to.extend(self.octets());
    }

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    fn ipv4(self) -> Option<Ipv4Addr> {
        Some(self)
    }

    fn may_be_first(self) -> bool {
        true
    }
}

impl Address for Ipv6Addr {
    const LENGTH: usize = 16;

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk::<16>().map(|octets| Self::from(*octets))
    }

    fn write(self, to: &mut Vec<u8>) {
        to.extend(self.octets());
    }

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address),
        }
    }

    fn ipv4(self) -> Option<Ipv4Addr> {
        None
    }

    fn may_be_first(self) -> bool {
        self.is_unicast_link_local()
    }
}

mod sealed {
    use core::net::{Ipv4Addr, Ipv6Addr};

    /// There are two families, and there will be no third.
    pub trait Sealed {}

    impl Sealed for Ipv4Addr {}
    impl Sealed for Ipv6Addr {}
}

//! Who says that an address is theirs, by ARP or by neighbour discovery.

use core::net::IpAddr;

/// Somebody says that an address is theirs. Nothing proves it: neither protocol authenticates its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The claimed address; never the unspecified one.
    pub address: IpAddr,
    /// The MAC that neighbours' caches take from the message.
    pub mac: [u8; 6],
}

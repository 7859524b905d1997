//! The clients of a VIP, told of by its holder to those that may follow it, so that they can be told when it is gone.
//!
//! The holder reads its established connections from the kernel several times a second and sends the whole list to the daemon
//! of every other member, by UDP. *By UDP*, since a list is worth nothing when the next one is there: nothing has to be
//! repeated, no connection has to be kept or watched, a peer that is dead costs nothing, and nobody can hold this daemon's
//! attention by holding a connection. *Directly*, not through etcd, whose history would grow by gigabytes a day: it gets nothing of this.
//!
//! Each datagram is signed with the secret in V, which whoever reads V knows and nobody else; it names the V, and has to come
//! from an address of the member that holds it. What a forged list could do is little (see `vrrp::wire::tickle`: a living
//! connection is not harmed), but the VIP's holder would be made to send packets.
//!
//! `message` is the wire, `book` what was heard, `share` the daemon's part in it.

mod book;
mod message;
mod share;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

pub use book::Book;
pub use message::{Header, Part, Refusal, read, sign, write};
pub(crate) use share::{Lines, Settings, run};

/// The most clients of one VIP that are listed. Each takes 64 bytes of memory on each node, so a megabyte per VIP in all;
/// those beyond it learn of a death by their own time-outs.
pub const MOST: usize = 16_384;

/// A connection: the VIP's end, and the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// The VIP and its port.
    pub local: SocketAddr,
    /// The client and its.
    pub remote: SocketAddr,
}

/// An IPv4 address that comes in an IPv6 one's clothes, as itself.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(IpAddr::to_canonical(&address.ip()), address.port())
}

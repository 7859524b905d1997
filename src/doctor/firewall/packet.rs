//! A packet, in the words that rules of packet filters have for it.

use std::net::IpAddr;

pub(super) type Protocol = u8;
pub(super) type Flags = u8;
/// A set of conntrack's states, a bit each.
pub(super) type State = u8;

pub(super) const TCP: Protocol = 6;
pub(super) const UDP: Protocol = 17;
pub(super) const VRRP: Protocol = 112;

pub(super) const SYN: Flags = 0x02;
pub(super) const RST: Flags = 0x04;
pub(super) const ACK: Flags = 0x10;

pub(super) const INVALID: State = 1;
pub(super) const NEW: State = 2;
pub(super) const ESTABLISHED: State = 4;
pub(super) const RELATED: State = 8;
pub(super) const UNTRACKED: State = 16;

/// A packet of which everything is known but what is `None`.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) protocol: Protocol,
    pub(super) ipv4: bool,
    pub(super) source: Option<IpAddr>,
    pub(super) destination: Option<IpAddr>,
    pub(super) source_port: Option<u16>,
    pub(super) destination_port: Option<u16>,
    pub(super) flags: Flags,
    /// The states that it may have.
    pub(super) state: State,
    /// `None`: some interface, but not `lo`.
    pub(super) interface: Option<String>,
    /// Whether it comes in by that interface, or leaves.
    pub(super) inwards: bool,
}

//! The daemon's own packets: VRRP advertisements on raw sockets, ARP and neighbour discovery on packet sockets. All belong to
//! one interface, and are opened anew when that comes back under another index.

mod filter;
mod neighbour;
#[cfg(test)]
mod tests;
mod tickle;
pub mod v4;
pub mod v6;

use std::io::{self, ErrorKind};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use vrrp::wire::ipv4::Discard;

pub use neighbour::link_address;
pub use neighbour::{Announcer, ClaimReceiver};
pub use tickle::Tickler;

/// Most packets taken per wake-up: a flood delays neither timers nor evidence.
pub const BUDGET: usize = 32;

/// VRRP's protocol number (RFC 9568 sections 5.1.1.4 and 5.1.2.4).
const VRRP: i32 = 112;

/// Internetwork control (DSCP 48), as routing protocols have it.
const TRAFFIC_CLASS: u32 = 0xc0;

/// Bytes of packets that may wait to be read. The usual 200 KiB hold some hundreds of them, which a flood of 50,000 a second
/// fills in some milliseconds: then the kernel drops what comes, the Active's advertisements with the rest. Taken only while
/// packets wait.
const WAITING: usize = 4 << 20;

/// A packet that was of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub reason: Discard,
    /// The virtual router that it named, if it went so far.
    pub vrid: Option<u8>,
}

/// A raw socket of protocol 112 that is bound to the interface.
fn raw(domain: socket2::Domain, interface: &str) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(VRRP)))?;
    socket.set_nonblocking(true)?;
    // Without this the adverts of every interface arrive.
    socket.bind_device(Some(interface.as_bytes()))?;
    Ok(socket)
}

/// Lets [`WAITING`] bytes wait: beyond the host's limit with CAP_NET_ADMIN, otherwise up to it.
fn let_wait(socket: &Socket) -> io::Result<()> {
    setsockopt(socket, sockopt::RcvBufForce, &WAITING).or_else(|_| socket.set_recv_buffer_size(WAITING))
}

/// Waits until `one` finds something, and has it take at most [`BUDGET`] times. Dropped while it waits, it has taken nothing.
async fn take<T>(socket: &AsyncFd<Socket>, mut one: impl FnMut(&Socket) -> io::Result<T>) -> io::Result<Vec<T>> {
    let mut taken = Vec::new();
    loop {
        let mut ready = socket.readable().await?;
        while taken.len() < BUDGET {
            match ready.try_io(|socket| one(socket.get_ref())) {
                Ok(Ok(packet)) => taken.push(packet),
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        if !taken.is_empty() {
            return Ok(taken);
        }
    }
}

//! The TCP connections of an address: counting and resetting them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netlink_packet_core::Parseable;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, SOCK_DIAG_BY_FAMILY};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};
use netlink_packet_sock_diag::{SockDiagDestroy, SockDiagMessage};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use crate::channel::Channel;
use crate::deadline::Deadline;
use crate::error::{Error, Failure};

/// Passes over the table in one [`SockDiag::destroy`]: the second one meets connections that arrived during the first.
const PASSES: u32 = 3;

/// What [`SockDiag::destroy`] achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// Connections that were reset.
    pub destroyed: usize,
    /// Connections known to be there still: the budget was too small, or the kernel would not reset them.
    pub left: usize,
    /// Whether this kernel can reset connections at all (`CONFIG_INET_DIAG_DESTROY`, and the `inet_diag` and `tcp_diag`
    /// modules where those are modules).
    pub supported: bool,
}

/// The TCP connections of this network namespace: one netlink socket, one request at a time.
#[derive(Debug)]
pub struct SockDiag {
    channel: Channel,
}

/// A connection, as the kernel identifies it.
#[derive(Debug, Clone)]
struct Connection {
    family: u8,
    id: SocketId,
}

impl SockDiag {
    /// Opens the socket, in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Socket`]. No rights are needed to open it and to count; resetting needs `CAP_NET_ADMIN`.
    pub fn open() -> Result<Self, Error> {
        let channel = Channel::open(NETLINK_SOCK_DIAG).map_err(|e| e.during("open a sock_diag socket"))?;
        Ok(Self { channel })
    }

    /// Counts the connections to `local` whose client has something to be told: those in ESTABLISHED, SYN_RECV,
    /// FIN_WAIT1 and CLOSE_WAIT. IPv6 sockets that serve the address as `::ffff:a.b.c.d` count, listening ones do not.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if the table could not be read `within` the time given; [`Error::Kernel`] with ENOENT if the
    /// kernel has no `tcp_diag`; and those that any request can meet.
    pub fn established(&mut self, local: Ipv4Addr, within: Duration) -> Result<usize, Error> {
        self.connections(local, Deadline::after(within))
            .map(|connections| connections.len())
            .map_err(|e| e.during(format!("count the connections to {local}")))
    }

    /// Resets the connections that [`established`](Self::established) counts: the client gets an RST, the server's
    /// process an error on its socket. Stops when the budget is spent, at most one chunk of the table late.
    ///
    /// A listening socket is never touched, since each connection is named by both ends and by the kernel's cookie.
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`] and those that any request can meet. A kernel that cannot do it is no error.
    pub fn destroy(&mut self, local: Ipv4Addr, budget: Duration) -> Result<Reset, Error> {
        let deadline = Deadline::after(budget);
        let mut reset = Reset { destroyed: 0, left: 0, supported: true };
        for _ in 0..PASSES {
            let connections = match self.connections(local, deadline) {
                Ok(connections) => connections,
                Err(Failure::Timeout(_)) if reset.destroyed > 0 => break,
                Err(failure) if failure.is(libc::ENOENT) => return Ok(Reset { supported: false, ..reset }),
                Err(failure) => return Err(failure.during(format!("list the connections to {local}"))),
            };
            reset.left = connections.len();
            for connection in connections {
                if deadline.passed() {
                    return Ok(reset);
                }
                match self.destroy_one(connection, deadline) {
                    Ok(true) => reset.destroyed += 1,
                    Ok(false) => {}
                    Err(failure) if failure.is(libc::EOPNOTSUPP) => return Ok(Reset { supported: false, ..reset }),
                    Err(failure) => return Err(failure.during(format!("reset a connection to {local}"))),
                }
                reset.left -= 1;
            }
            if reset.left == 0 {
                break;
            }
        }
        Ok(reset)
    }

    fn connections(&mut self, local: Ipv4Addr, deadline: Deadline) -> Result<Vec<Connection>, Failure> {
        let mut all = Vec::new();
        for (family, address) in [(AF_INET, IpAddr::V4(local)), (AF_INET6, IpAddr::V6(local.to_ipv6_mapped()))] {
            let states =
                StateFlags::ESTABLISHED | StateFlags::SYN_RECV | StateFlags::FIN_WAIT1 | StateFlags::CLOSE_WAIT;
            let request = request(family, states, SocketId::new_v4());
            all.extend(self.channel.dump(SockDiagMessage::InetRequest(request), deadline, |kind, payload| {
                if kind != SOCK_DIAG_BY_FAMILY {
                    return Ok(None);
                }
                let InetResponseHeader { family, socket_id: id, .. } = InetResponseHeader::parse(payload)?;
                Ok((id.source_address == address).then_some(Connection { family, id }))
            })?);
        }
        Ok(all)
    }

    /// Whether this call reset it; it may have ended by itself.
    fn destroy_one(&mut self, connection: Connection, deadline: Deadline) -> Result<bool, Failure> {
        let request = request(connection.family, StateFlags::empty(), connection.id);
        let message = SockDiagDestroy::new(SockDiagMessage::InetRequest(request));
        match self.channel.request(message, 0, deadline, |_, _| Ok(())) {
            Ok(()) => Ok(true),
            // Gone; or gone, and its ends lead to another socket by now, which may be the listening one (ESTALE).
            Err(failure) if failure.is(libc::ENOENT) || failure.is(libc::ESTALE) => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

fn request(family: u8, states: StateFlags, socket_id: SocketId) -> InetRequest {
    InetRequest { family, protocol: IPPROTO_TCP, extensions: ExtensionFlags::empty(), states, socket_id }
}

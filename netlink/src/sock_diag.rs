//! The TCP connections of an address: counting, listing and resetting them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use netlink_packet_core::Parseable;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, SOCK_DIAG_BY_FAMILY};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};
use netlink_packet_sock_diag::{SockDiagDestroy, SockDiagMessage};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use crate::channel::Channel;
use crate::deadline::Deadline;
use crate::error::{Error, Failure};
use crate::sock_filter::{self, Filtered};

/// Passes over the table in one [`SockDiag::destroy`]: the second makes sure, and meets those that arrived meanwhile.
const PASSES: u32 = 3;

/// What [`SockDiag::destroy`] achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// Connections that were reset.
    pub destroyed: usize,
    /// Connections that are known to be there still; at least one if the budget did not suffice to read the table to its
    /// end.
    pub left: usize,
    /// Whether this kernel can reset connections at all (`CONFIG_INET_DIAG_DESTROY`, and the `inet_diag` and `tcp_diag`
    /// modules where those are modules).
    pub supported: bool,
}

/// The two ends of a connection. Those of an IPv6 socket that serves IPv4 (`::ffff:a.b.c.d`) are shown as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client {
    /// The end on this host.
    pub local: SocketAddr,
    /// The client's.
    pub remote: SocketAddr,
}

/// The TCP connections of this network namespace: one netlink socket, one request at a time.
#[derive(Debug)]
pub struct SockDiag {
    channel: Channel,
}

/// A connection, as the kernel identifies it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    family: u8,
    id: SocketId,
}

impl Connection {
    /// Understands a `SOCK_DIAG_BY_FAMILY`.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Failure> {
        let InetResponseHeader { family, socket_id: id, .. } = InetResponseHeader::parse(payload)?;
        Ok(Self { family, id })
    }

    fn is_at(&self, address: IpAddr, ports: &[u16]) -> bool {
        self.id.source_address == address && (ports.is_empty() || ports.contains(&self.id.source_port))
    }

    fn ends(&self) -> Client {
        let SocketId { source_address, source_port, destination_address, destination_port, .. } = self.id;
        Client {
            local: (source_address.to_canonical(), source_port).into(),
            remote: (destination_address.to_canonical(), destination_port).into(),
        }
    }

    /// The request to reset it.
    pub(crate) fn destruction(self) -> SockDiagDestroy {
        let request = request(self.family, StateFlags::empty(), self.id);
        SockDiagDestroy::new(SockDiagMessage::InetRequest(request))
    }
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
    pub fn established(&mut self, local: impl Into<IpAddr>, within: Duration) -> Result<usize, Error> {
        let (local, mut count) = (local.into(), 0);
        self.list(local, &[], Deadline::after(within), &mut |_| count += 1)
            .map_err(|e| e.during(format!("count the connections to {local}")))?;
        Ok(count)
    }

    /// Reports the connections to `local` that [`established`](Self::established) counts: those on these local ports, or on
    /// any if none are named. In no order; one that begins or ends meanwhile may be missing.
    ///
    /// Takes some 0.3 ms, a microsecond for each that is reported, and 0.2 microseconds for each other connection of the
    /// machine, in whatever network namespace: the kernel has them all in one table, which it has to read to its end.
    ///
    /// # Errors
    ///
    /// As [`established`](Self::established). Some may have been reported by then.
    pub fn clients(
        &mut self,
        local: impl Into<IpAddr>,
        ports: &[u16],
        within: Duration,
        each: &mut dyn FnMut(Client),
    ) -> Result<(), Error> {
        let local = local.into();
        self.list(local, ports, Deadline::after(within), &mut |connection| each(connection.ends()))
            .map_err(|e| e.during(format!("list the connections to {local}")))
    }

    /// Resets the connections that [`established`](Self::established) counts: the client gets an RST, the server's
    /// process an error on its socket. Those in SYN_RECV are dropped in silence, the kernel knows no other way.
    ///
    /// Stops when the budget is spent, later by a single reset or chunk of the table at most; half of what is left of it
    /// may be used for reading the table. Takes some 8 microseconds per connection.
    ///
    /// A listening socket is never touched: each connection is named by both its ends and by the kernel's cookie.
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`] and those that any request can meet, but never [`Error::Timeout`]. A kernel that cannot
    /// do it is no error.
    pub fn destroy(&mut self, local: impl Into<IpAddr>, budget: Duration) -> Result<Reset, Error> {
        let local = local.into();
        let deadline = Deadline::after(budget);
        let mut reset = Reset { destroyed: 0, left: 0, supported: true };
        for _ in 0..PASSES {
            let mut connections = Vec::new();
            let mut collect = |connection| connections.push(connection);
            let incomplete = match self.list(local, &[], deadline.halfway(), &mut collect) {
                Ok(()) => false,
                Err(Failure::Timeout(_)) => true,
                Err(failure) if failure.is(libc::ENOENT) => return Ok(Reset { supported: false, ..reset }),
                Err(failure) => return Err(failure.during(format!("list the connections to {local}"))),
            };
            reset.left = connections.len() + usize::from(incomplete);
            if reset.left == 0 {
                break;
            }
            for connection in connections {
                if deadline.passed() {
                    return Ok(reset);
                }
                match self.destroy_one(connection, deadline) {
                    Ok(was_there) => reset.destroyed += usize::from(was_there),
                    Err(Failure::Timeout(_)) => return Ok(reset),
                    Err(failure) if failure.is(libc::EOPNOTSUPP) => return Ok(Reset { supported: false, ..reset }),
                    Err(failure) => return Err(failure.during(format!("reset a connection to {local}"))),
                }
                reset.left -= 1;
            }
        }
        Ok(reset)
    }

    /// Whether this kernel can reset connections, found out without resetting any: it is asked to reset a connection that
    /// cannot be, between ports 0 and with a cookie that no socket has.
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`] without `CAP_NET_ADMIN`, [`Error::Timeout`] after `within`, and those that any request can
    /// meet.
    pub fn can_destroy(&mut self, within: Duration) -> Result<bool, Error> {
        const WHAT: &str = "find out whether connections can be reset";
        let deadline = Deadline::after(within);
        // A kernel without tcp_diag answers the same to this as to the question for a socket that is not there.
        match self.list(Ipv4Addr::UNSPECIFIED.into(), &[], deadline, &mut |_| ()) {
            Err(failure) if failure.is(libc::ENOENT) => return Ok(false),
            listed => listed.map_err(|failure| failure.during(WHAT))?,
        }
        match self.destroy_one(Connection { family: AF_INET, id: SocketId::new_v4() }, deadline) {
            Ok(_) => Ok(true),
            Err(failure) if failure.is(libc::EOPNOTSUPP) => Ok(false),
            Err(failure) => Err(failure.during(WHAT)),
        }
    }

    fn list(
        &mut self,
        local: IpAddr,
        ports: &[u16],
        deadline: Deadline,
        each: &mut dyn FnMut(Connection),
    ) -> Result<(), Failure> {
        let tables = match local {
            IpAddr::V4(v4) => vec![(AF_INET, local), (AF_INET6, IpAddr::V6(v4.to_ipv6_mapped()))],
            IpAddr::V6(_) => vec![(AF_INET6, local)],
        };
        for (family, address) in tables {
            self.dump(family, sock_filter::local(address, ports), deadline, &mut |connection| {
                // The kernel has been asked for just those. That it filters saves time; what is reset is decided here.
                if connection.is_at(address, ports) {
                    each(connection);
                }
            })?;
        }
        Ok(())
    }

    /// The connections of a family that the kernel's filter lets pass.
    fn dump(
        &mut self,
        family: u8,
        filter: Vec<u8>,
        deadline: Deadline,
        each: &mut dyn FnMut(Connection),
    ) -> Result<(), Failure> {
        let states = StateFlags::ESTABLISHED | StateFlags::SYN_RECV | StateFlags::FIN_WAIT1 | StateFlags::CLOSE_WAIT;
        let message = Filtered { request: request(family, states, SocketId::new_v4()), filter };
        self.channel.dump(message, deadline, |kind, payload| {
            if kind == SOCK_DIAG_BY_FAMILY {
                each(Connection::decode(payload)?);
            }
            Ok(None::<()>)
        })?;
        Ok(())
    }

    /// Whether this call reset it; it may have ended by itself.
    fn destroy_one(&mut self, connection: Connection, deadline: Deadline) -> Result<bool, Failure> {
        match self.channel.request(connection.destruction(), 0, deadline, |_, _| Ok(())) {
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, TcpStream};
    use std::process::Command;

    use nix::sched::{CloneFlags, unshare};

    use super::*;

    const AMPLE: Duration = Duration::from_secs(5);
    const MINE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 155);
    const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

    #[test]
    fn the_kernel_reports_no_others() {
        let test = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace (needs root)");
            assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
            let connect = |listener: &TcpListener, address: Ipv4Addr| {
                let client = TcpStream::connect((address, listener.local_addr().unwrap().port())).unwrap();
                (client, listener.accept().unwrap().0)
            };
            let v4 = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
            let v6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
            let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
            let mut pairs = Vec::new();
            for listener in [&v4[0], &v4[1], &v6] {
                pairs.push(connect(listener, MINE));
                pairs.extend([(); 7].map(|()| connect(listener, OTHER)));
            }

            let mut diag = SockDiag::open().unwrap();
            let mut reported = |family, filter| {
                let mut seen = Vec::new();
                diag.dump(family, filter, Deadline::after(AMPLE), &mut |connection| seen.push(connection)).unwrap();
                seen.len()
            };
            let mine = IpAddr::V4(MINE);
            let mapped = IpAddr::V6(MINE.to_ipv6_mapped());
            // Each client's end is a connection, too: of 127.0.0.1, over IPv4.
            assert_eq!(reported(AF_INET, Vec::new()), 16 + 24);
            assert_eq!(reported(AF_INET, sock_filter::local(mine, &[])), 2);
            assert_eq!(reported(AF_INET, sock_filter::local(mine, &[port(&v4[0])])), 1);
            assert_eq!(reported(AF_INET, sock_filter::local(mine, &[port(&v4[0]), port(&v6), port(&v4[1])])), 2);
            assert_eq!(reported(AF_INET, sock_filter::local(mine, &[port(&v6)])), 0);
            assert_eq!(reported(AF_INET6, Vec::new()), 8);
            assert_eq!(reported(AF_INET6, sock_filter::local(mapped, &[])), 1);
            assert_eq!(reported(AF_INET6, sock_filter::local(mapped, &[port(&v4[0]), port(&v6)])), 1);
            assert_eq!(reported(AF_INET6, sock_filter::local(mapped, &[port(&v4[0])])), 0);
            // As many as a program can name.
            let many: Vec<u16> = (1..64).chain([port(&v6)]).collect();
            assert_eq!(reported(AF_INET6, sock_filter::local(mapped, &many)), 1);
        };
        std::thread::spawn(test).join().unwrap();
    }
}

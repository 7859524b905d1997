//! Sends acknowledgements that fit no connection (`vrrp::wire::tickle`), by whatever way the host's routes lead to the client.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use vrrp::wire::tickle::{NUMBERS, packet};

/// Protocol 255: a raw socket that only sends, and is given the IP header.
const RAW: i32 = 255;

/// The sockets, of each family. One that the host does not have is reported when it is needed.
#[derive(Debug)]
pub struct Tickler {
    v4: io::Result<Socket>,
    v6: io::Result<Socket>,
}

impl Tickler {
    /// Opens them, in the network namespace of the calling thread. Needs CAP_NET_RAW.
    pub fn open() -> Self {
        Self { v4: raw(Domain::IPV4), v6: raw(Domain::IPV6) }
    }

    /// Sends one with each pair of numbers, without waiting for room.
    ///
    /// # Errors
    /// As the kernel reports them: no route to the client, no room left (ENOBUFS, EAGAIN), EPERM from a firewall that drops it.
    pub fn send(&self, vip: SocketAddr, client: SocketAddr) -> io::Result<()> {
        let socket = if client.is_ipv4() { &self.v4 } else { &self.v6 };
        let socket = socket.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
        // The kernel wants no port of a raw socket's destination (EINVAL for IPv6).
        let destination = SocketAddr::new(client.ip(), 0).into();
        NUMBERS.iter().try_for_each(|numbers| {
            let packet = packet(vip, client, *numbers).ok_or(io::ErrorKind::InvalidInput)?;
            socket.send_to(&packet, &destination).map(drop)
        })
    }
}

fn raw(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(RAW)))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

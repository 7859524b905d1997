//! VRRP over IPv4: protocol 112, multicast 224.0.0.18, raw sockets.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;
use vrrp::wire::advert::Advert;
use vrrp::wire::ipv4::{self, Discard};

use super::BUDGET;
use crate::async_fd::readable;

/// VRRP's multicast group (RFC 9568 section 5.1.1.2).
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// VRRP's protocol number (RFC 9568 section 5.1.1.4).
const VRRP: i32 = 112;

/// Longer than any advertisement with 255 addresses; what is cut off here is discarded for its length.
const LONGEST: usize = 2048;

/// Hears the advertisements on one interface.
#[derive(Debug)]
pub struct AdvertReceiver(AsyncFd<Socket>);

impl AdvertReceiver {
    /// Listens on the interface. Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or if the interface is gone.
    pub fn open(interface: &str, index: u32) -> io::Result<Self> {
        let socket = raw(interface)?;
        // Without this, groups that other sockets of the host joined on other interfaces would be heard as well.
        socket.set_multicast_all_v4(false)?;
        socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(index))?;
        Ok(Self(readable(socket)?))
    }

    /// Waits for packets; takes at most [`BUDGET`] of them.
    ///
    /// # Errors
    /// As the kernel reports them; after "network is down" the socket goes on to work once the interface is up.
    pub async fn receive(&self) -> io::Result<Vec<Result<Advert, Discard>>> {
        let mut packets = Vec::new();
        let mut buffer = [0; LONGEST];
        loop {
            let mut ready = self.0.readable().await?;
            while packets.len() < BUDGET {
                match ready.try_io(|socket| socket.get_ref().read(&mut buffer)) {
                    Ok(Ok(length)) => packets.push(ipv4::parse(&buffer[..length])),
                    Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                    Ok(Err(error)) => return Err(error),
                    Err(_) => break,
                }
            }
            if !packets.is_empty() {
                return Ok(packets);
            }
        }
    }
}

/// Sends advertisements from one interface.
#[derive(Debug)]
pub struct AdvertSender(Socket);

impl AdvertSender {
    /// A socket that only sends.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or if the interface is gone.
    pub fn open(interface: &str) -> io::Result<Self> {
        let socket = raw(interface)?;
        socket.set_header_included_v4(true)?;
        socket.set_multicast_loop_v4(false)?;
        // Every raw socket of a protocol gets a copy of each packet; nobody reads this one's. "ret #0" drops them.
        socket.attach_filter(&[SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0)])?;
        Ok(Self(socket))
    }

    /// Sends one advertisement, with its own IP header.
    ///
    /// # Errors
    /// As the kernel reports them. A firewall that drops the packet is reported as EPERM.
    pub fn send(&self, advert: &Advert) -> io::Result<()> {
        let destination = SocketAddrV4::new(advert.destination, 0);
        self.0.send_to(&ipv4::packet(advert), &destination.into()).map(drop)
    }
}

/// A raw socket that is bound to the interface.
fn raw(interface: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(VRRP)))?;
    socket.set_nonblocking(true)?;
    // Without this the adverts of every interface arrive.
    socket.bind_device(Some(interface.as_bytes()))?;
    Ok(socket)
}

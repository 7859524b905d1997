//! VRRP over IPv4: protocol 112, multicast 224.0.0.18, raw sockets.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, InterfaceIndexOrAddress, Socket};
use tokio::io::unix::AsyncFd;
use vrrp::wire::advert::Advert;
use vrrp::wire::{ipv4, vrid_of};

use super::{Rejected, filter, let_wait, raw, take};
use crate::async_fd::readable;

/// VRRP's multicast group (RFC 9568 section 5.1.1.2).
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

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
        let socket = raw(Domain::IPV4, interface)?;
        let_wait(&socket)?;
        // Without this, groups that other sockets of the host joined on other interfaces would be heard as well.
        socket.set_multicast_all_v4(false)?;
        socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(index))?;
        Ok(Self(readable(socket)?))
    }

    /// Waits for packets; takes at most [`BUDGET`](super::BUDGET) of them.
    ///
    /// # Errors
    /// As the kernel reports them; after "network is down" the socket goes on to work once the interface is up.
    pub async fn receive(&self) -> io::Result<Vec<Result<Advert<Ipv4Addr>, Rejected>>> {
        let parse = |packet: &[u8]| {
            ipv4::parse(packet).map_err(|reason| Rejected { reason, vrid: vrid_of(ipv4::message(packet)) })
        };
        self.receive_as(parse).await
    }

    /// The same of whatever `read` makes of the packets, IP header included.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub(crate) async fn receive_as<T>(&self, mut read: impl FnMut(&[u8]) -> T) -> io::Result<Vec<T>> {
        let mut buffer = [0; LONGEST];
        take(&self.0, |mut socket| socket.read(&mut buffer).map(|length| read(&buffer[..length]))).await
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
        let socket = raw(Domain::IPV4, interface)?;
        // Every raw socket of a protocol gets a copy of each packet; nobody reads this one's.
        socket.attach_filter(&filter::nothing())?;
        socket.set_header_included_v4(true)?;
        socket.set_multicast_loop_v4(false)?;
        Ok(Self(socket))
    }

    /// Sends one advertisement, with its own IP header.
    ///
    /// # Errors
    /// As the kernel reports them. A firewall that drops the packet is reported as EPERM.
    pub fn send(&self, advert: &Advert<Ipv4Addr>) -> io::Result<()> {
        self.send_message(advert.source, advert.destination, &advert.emit())
    }

    /// The same with any message of protocol 112.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) fn send_message(&self, source: Ipv4Addr, destination: Ipv4Addr, message: &[u8]) -> io::Result<()> {
        let packet = ipv4::packet_of(source, destination, message);
        self.0.send_to(&packet, &SocketAddrV4::new(destination, 0).into()).map(drop)
    }
}

#[cfg(test)]
impl AdvertSender {
    pub(super) fn socket(&self) -> &Socket {
        &self.0
    }
}

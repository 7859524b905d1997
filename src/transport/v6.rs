//! VRRP over IPv6: protocol 112, multicast ff02::12, raw sockets. The kernel keeps the IPv6 header to itself: addresses and hop
//! limit come and go beside the message. The checksum is ours as well (no `IPV6_CHECKSUM`): the kernel would drop what is
//! wrong without a word, and it is to be counted.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::{c_int, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Socket};
use tokio::io::unix::AsyncFd;
use vrrp::wire::advert::Advert;
use vrrp::wire::ipv6::{HOP_LIMIT, parse_message};
use vrrp::wire::vrid_of;

use super::{Rejected, TRAFFIC_CLASS, filter, let_wait, raw, take};
use crate::async_fd::readable;

/// VRRP's multicast group (RFC 9568 section 5.1.2.2).
pub const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// Longer than any message with 255 addresses; what is cut off here is discarded for its length.
const LONGEST: usize = 8192;

/// Hears the advertisements on one interface.
#[derive(Debug)]
pub struct AdvertReceiver(AsyncFd<Socket>);

impl AdvertReceiver {
    /// Listens on the interface. Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, if the interface is gone, or if IPv6 is switched off on it.
    pub fn open(interface: &str, index: u32) -> io::Result<Self> {
        let socket = raw(Domain::IPV6, interface)?;
        let_wait(&socket)?;
        // Without this, groups that other sockets of the host joined on other interfaces would be heard as well.
        socket.set_multicast_all_v6(false)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
        socket.join_multicast_v6(&GROUP, index)?;
        Ok(Self(readable(socket)?))
    }

    /// Waits for packets; takes at most [`BUDGET`](super::BUDGET) of them.
    ///
    /// # Errors
    /// As the kernel reports them; after "network is down" the socket goes on to work once the interface is up.
    pub async fn receive(&self) -> io::Result<Vec<Result<Advert<Ipv6Addr>, Rejected>>> {
        let parse = |source, destination, hop_limit, message: &[u8]| {
            let parsed = parse_message(source, destination, hop_limit, message);
            parsed.map_err(|reason| Rejected { reason, vrid: vrid_of(message) })
        };
        self.receive_as(parse).await
    }

    /// The same of whatever `read` makes of source, destination, hop limit and message.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub(crate) async fn receive_as<T>(
        &self,
        mut read: impl FnMut(Ipv6Addr, Ipv6Addr, u8, &[u8]) -> T,
    ) -> io::Result<Vec<T>> {
        let mut buffer = [0; LONGEST];
        let mut beside = cmsg_space!(in6_pktinfo, c_int);
        take(&self.0, |socket| {
            let (source, destination, hop_limit, length) = receive_one(socket, &mut buffer, &mut beside)?;
            Ok(read(source, destination, hop_limit, &buffer[..length]))
        })
        .await
    }
}

/// One message into `buffer`: where it came from and went to, its hop limit, and its length.
fn receive_one(socket: &Socket, buffer: &mut [u8], beside: &mut [u8]) -> io::Result<(Ipv6Addr, Ipv6Addr, u8, usize)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let received = recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(beside), MsgFlags::empty())?;
    // The kernel never leaves them out; nothing passes the checks without them.
    let (mut destination, mut hop_limit) = (Ipv6Addr::UNSPECIFIED, 0);
    for message in received.cmsgs()? {
        match message {
            ControlMessageOwned::Ipv6PacketInfo(info) => destination = info.ipi6_addr.s6_addr.into(),
            ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).unwrap_or(0),
            _ => {}
        }
    }
    let source = received.address.map_or(Ipv6Addr::UNSPECIFIED, |source| source.ip());
    Ok((source, destination, hop_limit, received.bytes))
}

/// Sends advertisements from one interface.
#[derive(Debug)]
pub struct AdvertSender {
    socket: Socket,
    index: u32,
}

impl AdvertSender {
    /// A socket that only sends.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or if the interface is gone.
    pub fn open(interface: &str, index: u32) -> io::Result<Self> {
        let socket = raw(Domain::IPV6, interface)?;
        // Every raw socket of a protocol gets a copy of each packet; nobody reads this one's.
        socket.attach_filter(&filter::nothing())?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
        socket.set_unicast_hops_v6(HOP_LIMIT.into())?;
        socket.set_tclass_v6(TRAFFIC_CLASS)?;
        Ok(Self { socket, index })
    }

    /// Lets it send from addresses of another interface: a virtual MAC's has none of its own.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn from_elsewhere(self) -> io::Result<Self> {
        self.socket.set_freebind_v6(true)?;
        Ok(self)
    }

    /// Sends one advertisement from its source, an address of this interface on which duplicate address detection is over.
    ///
    /// # Errors
    /// As the kernel reports them: EINVAL for a source that is no such address. A firewall that drops the packet is reported
    /// as EPERM.
    pub fn send(&self, advert: &Advert<Ipv6Addr>) -> io::Result<()> {
        self.send_message(advert.source, advert.destination, &advert.emit())
    }

    /// The same with any message of protocol 112.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) fn send_message(&self, source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> io::Result<()> {
        let destination = SocketAddrV6::new(destination, 0, 0, self.index);
        let from = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: source.octets() }, ipi6_ifindex: self.index as _ };
        sendmsg(
            self.socket.as_raw_fd(),
            &[IoSlice::new(message)],
            &[ControlMessage::Ipv6PacketInfo(&from)],
            MsgFlags::empty(),
            Some(&SockaddrIn6::from(destination)),
        )?;
        Ok(())
    }
}

#[cfg(test)]
impl AdvertSender {
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }
}

//! ARP and neighbour discovery on packet sockets: announcing the VIP, and hearing who else claims it.

use std::io::{self, ErrorKind, Read};
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{LinkAddr, MsgFlags, SockaddrLike, bind, sendto};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;
use vrrp::wire::arp::{self, Form};
use vrrp::wire::claim::Claim;
use vrrp::wire::ndisc;

use super::{filter, take};
use crate::async_fd::readable;

/// As much of a frame as is read: more than Ethernet carries without jumbo frames. An ARP frame has 60 bytes, a neighbour
/// advertisement 86, unless there are options that nobody knows.
const LONGEST: usize = 2048;

/// Sends gratuitous ARP and unsolicited neighbour advertisements.
#[derive(Debug)]
pub struct Announcer(Socket);

impl Announcer {
    /// A packet socket of protocol 0: it sends and never receives.
    ///
    /// # Errors
    /// Without CAP_NET_RAW.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Announces the address as `mac`'s: IPv4 by ARP, in request and in reply form, since some devices heed only one of
    /// them; IPv6 by a neighbour advertisement.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn announce(&self, link: u32, mac: [u8; 6], address: IpAddr) -> io::Result<()> {
        match address {
            IpAddr::V4(address) => [Form::Request, Form::Reply]
                .into_iter()
                .try_for_each(|form| self.send(link, &arp::announcement(mac, address, form))),
            IpAddr::V6(address) => self.send(link, &ndisc::announcement(mac, address)),
        }
    }

    fn send(&self, link: u32, frame: &[u8]) -> io::Result<()> {
        sendto(self.0.as_raw_fd(), frame, &link_address(0, link)?, MsgFlags::empty())?;
        Ok(())
    }
}

/// Hears claims of the VIPs, by ARP and by neighbour discovery.
#[derive(Debug)]
pub struct ClaimReceiver {
    addresses: Vec<IpAddr>,
    /// None where there is no address of that family.
    arp: Option<AsyncFd<Socket>>,
    ndisc: Option<AsyncFd<Socket>>,
}

impl ClaimReceiver {
    /// Listens on the interface for claims of `addresses`, of either family, 255 of each at least. Has to be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or if the interface is gone.
    pub fn open(link: u32, addresses: &[IpAddr]) -> io::Result<Self> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address {
                IpAddr::V4(address) => v4.push(*address),
                IpAddr::V6(address) => v6.push(*address),
            }
        }
        let arp = (!v4.is_empty()).then(|| listen(link, libc::ETH_P_ARP, &filter::arp_senders(&v4))).transpose()?;
        let ndisc =
            (!v6.is_empty()).then(|| listen(link, libc::ETH_P_IPV6, &filter::ndisc_targets(&v6))).transpose()?;
        Ok(Self { addresses: addresses.to_vec(), arp, ndisc })
    }

    /// Waits for frames that may be claims, takes at most [`BUDGET`](super::BUDGET) of them, and returns those that are.
    ///
    /// # Errors
    /// As the kernel reports them; after "network is down" the socket goes on to work once the interface is up.
    pub async fn receive(&self) -> io::Result<Vec<Claim>> {
        // Whichever is ready; not always the same one first, so that a flood of the one does not drown the other.
        let claims = tokio::select! {
            claims = hear(self.arp.as_ref(), arp::parse_claim) => claims?,
            claims = hear(self.ndisc.as_ref(), ndisc::parse_claim) => claims?,
        };
        // The filters look at 32 bits of an address.
        Ok(claims.into_iter().flatten().filter(|claim| self.addresses.contains(&claim.address)).collect())
    }
}

/// A packet socket that gets the frames of this EtherType which the filter lets pass.
fn listen(link: u32, ether_type: i32, filter: &[SockFilter]) -> io::Result<AsyncFd<Socket>> {
    // Protocol 0 until the filter is in place and the interface is set: nothing unwanted is ever queued.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(filter)?;
    bind(socket.as_raw_fd(), &link_address((ether_type as u16).to_be(), link)?)?;
    readable(socket)
}

async fn hear(
    socket: Option<&AsyncFd<Socket>>,
    parse: impl Fn(&[u8]) -> Option<Claim>,
) -> io::Result<Vec<Option<Claim>>> {
    let Some(socket) = socket else { return std::future::pending().await };
    let mut buffer = [0; LONGEST];
    take(socket, |mut socket| socket.read(&mut buffer).map(|length| parse(&buffer[..length]))).await
}

/// A `sockaddr_ll`; `protocol` in network order. Link 0 stands for all.
pub fn link_address(protocol: u16, link: u32) -> io::Result<LinkAddr> {
    let raw = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol,
        sll_ifindex: i32::try_from(link).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0xff; 8],
    };
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
    // SAFETY: `raw` is a complete sockaddr_ll of the given length, and is copied.
    #[allow(unsafe_code, reason = "nix builds link-layer addresses from raw ones only")]
    let address = unsafe { LinkAddr::from_raw((&raw const raw).cast(), Some(length)) };
    address.ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))
}

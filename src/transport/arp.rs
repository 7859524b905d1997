//! ARP on packet sockets: announcing the VIP, and hearing who else claims it.

use std::io::{self, ErrorKind, Read};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{LinkAddr, MsgFlags, SockaddrLike, bind, sendto};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;
use vrrp::wire::arp::{self, Claim, Form};

use super::BUDGET;
use crate::async_fd::readable;

/// An ARP frame is 42 bytes, 60 with Ethernet's padding.
const LONGEST: usize = 128;

/// Sends gratuitous ARP.
#[derive(Debug)]
pub struct ArpSender(Socket);

impl ArpSender {
    /// A packet socket of protocol 0: it sends and never receives.
    ///
    /// # Errors
    /// Without CAP_NET_RAW.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Announces the address as `mac`'s, in request and in reply form: some devices heed only one of them.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn announce(&self, link: u32, mac: [u8; 6], address: Ipv4Addr) -> io::Result<()> {
        let to = link_address(0, link)?;
        for form in [Form::Request, Form::Reply] {
            let frame = arp::announcement(mac, address, form);
            sendto(self.0.as_raw_fd(), frame.as_ref(), &to, MsgFlags::empty())?;
        }
        Ok(())
    }
}

/// Hears ARP claims of the VIPs.
#[derive(Debug)]
pub struct ArpReceiver(AsyncFd<Socket>);

impl ArpReceiver {
    /// Listens on the interface for frames in which one of `addresses` is the sender. Has to be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or if the interface is gone.
    pub fn open(link: u32, addresses: &[Ipv4Addr]) -> io::Result<Self> {
        // Protocol 0 until the filter is in place and the interface is set: nothing unwanted is ever queued.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&senders_only(addresses))?;
        bind(socket.as_raw_fd(), &link_address((libc::ETH_P_ARP as u16).to_be(), link)?)?;
        Ok(Self(readable(socket)?))
    }

    /// Waits for claims; takes at most [`BUDGET`] of them.
    ///
    /// # Errors
    /// As the kernel reports them; after "network is down" the socket goes on to work once the interface is up.
    pub async fn receive(&self) -> io::Result<Vec<Claim>> {
        let mut claims = Vec::new();
        let mut buffer = [0; LONGEST];
        loop {
            let mut ready = self.0.readable().await?;
            let mut taken = 0;
            while taken < BUDGET {
                match ready.try_io(|socket| socket.get_ref().read(&mut buffer)) {
                    Ok(Ok(length)) => claims.extend(arp::parse_claim(&buffer[..length])),
                    Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                    Ok(Err(error)) => return Err(error),
                    Err(_) => break,
                }
                taken += 1;
            }
            if taken > 0 {
                return Ok(claims);
            }
        }
    }
}

/// Lets frames pass whose ARP sender protocol address (offset 28) is one of `addresses`, so that a busy segment does
/// not wake the protocol thread for each question.
fn senders_only(addresses: &[Ipv4Addr]) -> Vec<SockFilter> {
    let op = |code: u32, jt: u8, k: u32| SockFilter::new(code as u16, jt, 0, k);
    let mut program = vec![op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 28)];
    for (index, address) in addresses.iter().enumerate() {
        // From here to "pass": the comparisons left, and "drop".
        let left = u8::try_from(addresses.len() - index).unwrap_or(u8::MAX);
        program.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, left, u32::from(*address)));
    }
    program.push(op(libc::BPF_RET | libc::BPF_K, 0, 0));
    program.push(op(libc::BPF_RET | libc::BPF_K, 0, u32::MAX));
    program
}

/// A `sockaddr_ll`; `protocol` in network order. Link 0 stands for all.
pub(crate) fn link_address(protocol: u16, link: u32) -> io::Result<LinkAddr> {
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

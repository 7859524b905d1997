//! A packet socket that hears every frame of protocol 112, those that this host sends included.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::socket::{LinkAddr, bind, recvfrom};
use pgvrrp_netlink::Link;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use crate::async_fd::Owner;
use crate::transport::link_address;

/// VRRP's groups (RFC 9568 sections 5.1.1.2 and 5.1.2.2).
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// Longer than any advertisement; what is cut off shows as such.
const LONGEST: usize = 9216;

/// Bytes of frames that may wait while a terminal is slow.
const WAITING: usize = 4 << 20;

/// From linux/if_packet.h: this host sends it.
const OUTGOING: u8 = 4;

/// A frame.
pub(crate) struct Frame {
    pub(super) link: u32,
    /// This host has sent it.
    pub(crate) ours: bool,
    pub(crate) bytes: Vec<u8>,
}

/// Open ears.
#[derive(Debug)]
pub(crate) struct Ears {
    socket: Socket,
    /// Membership ends with these.
    _groups: Vec<Socket>,
}

impl Ears {
    /// Listens on the interface of this index, or on all. `links` are those whose groups are joined: without that a switch or
    /// the interface itself may keep the frames away.
    ///
    /// # Errors
    /// Without CAP_NET_RAW.
    pub(crate) fn open(link: Option<u32>, links: &[Link]) -> io::Result<Self> {
        // Protocol 0 until the filter is in place: nothing unwanted is ever queued.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.attach_filter(&protocol_112())?;
        socket.set_recv_buffer_size(WAITING)?;
        bind(socket.as_raw_fd(), &link_address((libc::ETH_P_ALL as u16).to_be(), link.unwrap_or(0))?)?;
        Ok(Self { socket, _groups: links.iter().flat_map(|link| join(link.index)).collect() })
    }

    /// From now on [`Self::hear`] does not wait, and ends in `WouldBlock` where there is nothing.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub(crate) fn never_wait(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Waits for a frame.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub(crate) fn hear(&self) -> io::Result<Frame> {
        let mut bytes = vec![0; LONGEST];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut bytes) {
                Ok((length, from)) => {
                    bytes.truncate(length);
                    let (link, ours) = from.map_or((0, false), |from| (from.ifindex(), from.pkttype() == OUTGOING));
                    return Ok(Frame { link: u32::try_from(link).unwrap_or(0), ours, bytes });
                }
                Err(error) => match io::Error::from(error) {
                    // One of several interfaces has gone down; the others go on.
                    error if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::NetworkDown) => {}
                    error => return Err(error),
                },
            }
        }
    }
}

impl AsRawFd for Ears {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Owner for Ears {}

/// Sockets that are members of both groups; none where the interface has no such addresses, and there is nothing to hear.
fn join(link: u32) -> Vec<Socket> {
    let v4 = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(link))?;
        Ok::<_, io::Error>(socket)
    };
    let v6 = || {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        socket.join_multicast_v6(&GROUP_V6, link)?;
        Ok::<_, io::Error>(socket)
    };
    v4().into_iter().chain(v6()).collect()
}

/// Lets IPv4 and IPv6 frames of protocol 112 pass, so that the database's own traffic is not copied here. Frames of a VLAN
/// show on the interface below it as well, without their tag: they are the VLAN's.
fn protocol_112() -> Vec<SockFilter> {
    let op = |code: u32, jt: u8, jf: u8, k: u32| SockFilter::new(code as u16, jt, jf, k);
    let load = |size: u32, at: u32| op(libc::BPF_LD | size | libc::BPF_ABS, 0, 0, at);
    let is = |value: u32, jt: u8, jf: u8| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jt, jf, value);
    let verdict = |bytes: u32| op(libc::BPF_RET | libc::BPF_K, 0, 0, bytes);
    vec![
        load(libc::BPF_B, (libc::SKF_AD_OFF + libc::SKF_AD_VLAN_TAG_PRESENT) as u32),
        is(0, 0, 8),
        // The type of the frame, then the protocol: at 9 of IPv4's header, at 6 of IPv6's.
        load(libc::BPF_H, 12),
        is(libc::ETH_P_IP as u32, 0, 2),
        load(libc::BPF_B, 14 + 9),
        is(112, 3, 4),
        is(libc::ETH_P_IPV6 as u32, 0, 3),
        load(libc::BPF_B, 14 + 6),
        is(112, 0, 1),
        verdict(u32::MAX),
        verdict(0),
    ]
}

//! ARP and VRRP on the wire.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result};
use etherparse::{ArpOperation, IpNumber, Ipv4Slice, LinkSlice, NetSlice, SlicedPacket};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

use super::Stop;
use crate::frame_filter;
use crate::history::{Frame, History, Observation};
use crate::netns::Namespace;
use crate::network::Node;

/// `ETH_P_ALL` of linux/if_ether.h, in network byte order as packet sockets want it.
const ALL_PROTOCOLS: i32 = (0x0003_u16).to_be() as i32;

/// IP protocol number of VRRP.
const VRRP: IpNumber = IpNumber(112);

/// Reads each frame where it comes out of a node's cable: the sender is known, whatever addresses it claims.
#[derive(Debug)]
pub(super) struct FrameProbe {
    socket: Socket,
    /// The bridge's ports by interface index.
    ports: BTreeMap<usize, Node>,
    history: History,
}

impl FrameProbe {
    pub(super) fn new(lan: &Namespace, history: &History) -> Result<Self> {
        let (socket, ports) = lan
            .run(|| -> Result<_> {
                let mut ports = BTreeMap::new();
                for node in Node::ALL {
                    ports.insert(if_nametoindex(node.name())? as usize, node);
                }
                let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(ALL_PROTOCOLS)))?;
                socket.attach_filter(&frame_filter::vrrp_and_neighbours())?;
                socket.set_read_timeout(Some(Duration::from_millis(100)))?;
                Ok((socket, ports))
            })?
            .context("cannot listen on the bridge")?;
        Ok(Self { socket, ports, history: history.clone() })
    }

    pub(super) fn run(self, stop: &Stop) {
        let mut buffer = [0; 2048];
        while !stop.is_set() {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, Some(from))) => {
                    let node = self.ports.get(&from.ifindex());
                    if let (Some(node), Some(frame)) = (node, decode(&buffer[..length])) {
                        self.history.record(Observation::Frame { node: *node, frame });
                    }
                }
                Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(e) => {
                    self.history.record(Observation::Blind { reason: format!("the wire: {e}") });
                    return;
                }
            }
        }
    }
}

fn decode(bytes: &[u8]) -> Option<Frame> {
    let packet = SlicedPacket::from_ethernet(bytes).ok()?;
    let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link else { return None };
    match &packet.net {
        Some(NetSlice::Arp(arp)) => {
            let arp = arp.to_packet().try_eth_ipv4().ok()?;
            Some(Frame::Arp {
                reply: arp.operation == ArpOperation::REPLY,
                destination: ethernet.destination(),
                sender_mac: arp.sender_mac,
                sender: arp.sender_ipv4.into(),
                target: arp.target_ipv4.into(),
            })
        }
        Some(NetSlice::Ipv4(ip)) => decode_vrrp(ip),
        _ => None,
    }
}

/// RFC 9568, section 5.1.
fn decode_vrrp(ip: &Ipv4Slice<'_>) -> Option<Frame> {
    let header = ip.header();
    let (head, rest) = ip.payload().payload.split_first_chunk::<3>()?;
    let [version_and_type, vrid, priority] = *head;
    (header.protocol() == VRRP).then(|| Frame::Vrrp {
        source: header.source_addr(),
        destination: header.destination_addr(),
        ttl: header.ttl(),
        version: version_and_type >> 4,
        vrid,
        priority,
        rest: rest.to_vec(),
    })
}

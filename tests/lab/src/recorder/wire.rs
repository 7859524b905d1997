//! Frames where they come out of a router's cable: the sender is known, whatever addresses it claims.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::mpsc::Sender;

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket, Type};

use super::advert::{Frame, decode};
use super::record::{Event, What, send};
use crate::clock::Time;
use crate::frame_filter;
use crate::segment::Segment;

/// `ETH_P_ALL` of linux/if_ether.h, in network byte order as packet sockets want it.
const ALL_PROTOCOLS: i32 = (0x0003_u16).to_be() as i32;

/// The packet socket of one recorder.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    /// Places and interfaces by the bridges' ports.
    ports: BTreeMap<usize, (usize, &'static str)>,
}

impl Wire {
    pub(super) fn open(segment: &Segment) -> Result<Self> {
        let open = || -> Result<Self> {
            let mut ports = BTreeMap::new();
            for place in 0..segment.places() {
                for (number, interface) in segment.interfaces().iter().enumerate() {
                    let index = if_nametoindex(Segment::port(place, number).as_str())? as usize;
                    ports.insert(index, (place, *interface));
                }
            }
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(ALL_PROTOCOLS)))?;
            socket.attach_filter(&frame_filter::vrrp_and_neighbours())?;
            socket.set_recv_buffer_size(4 << 20)?;
            setsockopt(&socket, ReceiveTimestampns, &true)?;
            Ok(Self { socket, ports })
        };
        segment.lan().run(open)?.context("cannot listen on the bridge")
    }

    pub(super) fn drain(&mut self, events: &Sender<Event>) {
        let mut buffer = [0; 2048];
        let mut control = nix::cmsg_space!(TimeSpec);
        loop {
            let mut into = [IoSliceMut::new(&mut buffer)];
            let fd = self.socket.as_raw_fd();
            let Ok(message) = recvmsg::<LinkAddr>(fd, &mut into, Some(&mut control), MsgFlags::MSG_DONTWAIT) else {
                return;
            };
            let stamp = message.cmsgs().ok().and_then(|mut controls| {
                controls.find_map(|control| match control {
                    ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
                    _ => None,
                })
            });
            let port = message.address.and_then(|from| self.ports.get(&from.ifindex()));
            let length = message.bytes;
            if let (Some(stamp), Some((place, interface))) = (stamp, port)
                && let Some(frame) = decode(&buffer[..length])
            {
                let what = match frame {
                    Frame::Advert(advert) => What::Advert { interface, advert },
                    Frame::Announcement { mac, address } => What::Announcement { mac, address },
                };
                send(events, Time::from_realtime(stamp), *place, what);
            }
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

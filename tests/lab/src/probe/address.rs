//! Addresses coming and going, as the kernel reports them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Stop;
use crate::history::{History, Observation};
use crate::netns::Namespace;
use crate::network::{INTERFACE, Node};

/// `RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR` of linux/rtnetlink.h.
const ADDRESS_GROUPS: u32 = 0x10 | 0x100;

/// All nodes are read by one thread: the order between nodes is then the order of reading, not of scheduling.
pub(super) struct AddressProbe {
    sources: Vec<Source>,
    history: History,
}

struct Source {
    node: Node,
    socket: Socket,
    present: BTreeSet<IpAddr>,
}

impl AddressProbe {
    /// Subscribes first and looks at what is there afterwards, so that nothing falls in between.
    pub(super) fn new(nodes: &BTreeMap<Node, Namespace>, history: &History) -> Result<Self> {
        let mut sources = Vec::new();
        for (node, namespace) in nodes {
            let socket = namespace.run(subscribe)?.context("cannot subscribe to address events")?;
            let present = addresses(namespace)?;
            for address in &present {
                history.record(Observation::Address { node: *node, address: *address, present: true });
            }
            sources.push(Source { node: *node, socket, present });
        }
        Ok(Self { sources, history: history.clone() })
    }

    pub(super) fn run(mut self, stop: &Stop) {
        while !stop.is_set() {
            let timeout = PollTimeout::from(100_u8);
            let mut fds: Vec<PollFd<'_>> = Vec::new();
            let borrowed: Vec<_> = self.sources.iter().map(|s| s.socket.as_raw_fd()).collect();
            let _ = (&mut fds, borrowed, timeout);
            let _ = poll(&mut fds, timeout);
            for source in &mut self.sources {
                source.drain(&self.history);
            }
        }
    }
}

//! Addresses coming and going, as the kernel reports them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::Result;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{MsgFlags, recv};

use super::Stop;
use crate::history::{History, Observation};
use crate::netlink;
use crate::netns::Namespace;
use crate::network::{INTERFACE, Node};

/// All nodes are read by one thread: the order between nodes is then the order of reading, not of scheduling.
#[derive(Debug)]
pub(super) struct AddressProbe {
    sources: Vec<Source>,
    history: History,
}

#[derive(Debug)]
struct Source {
    node: Node,
    socket: OwnedFd,
    present: BTreeSet<IpAddr>,
}

impl AddressProbe {
    /// Subscribes first and looks at what is there afterwards, so that nothing falls in between.
    pub(super) fn new(nodes: &BTreeMap<Node, Namespace>, history: &History) -> Result<Self> {
        let mut sources = Vec::new();
        for (node, namespace) in nodes {
            let socket = netlink::subscribe(namespace, netlink::ADDRESSES)?;
            let mut source = Source { node: *node, socket, present: BTreeSet::new() };
            for address in addresses(namespace)? {
                source.note(address, true, history);
            }
            sources.push(source);
        }
        Ok(Self { sources, history: history.clone() })
    }

    pub(super) fn run(mut self, stop: &Stop) {
        while !stop.is_set() {
            let mut fds: Vec<PollFd<'_>> =
                self.sources.iter().map(|s| PollFd::new(s.socket.as_fd(), PollFlags::POLLIN)).collect();
            // An interrupted or timed-out wait only means one round for nothing.
            let _ = poll(&mut fds, 100_u8);
            for source in &mut self.sources {
                source.drain(&self.history);
            }
        }
    }
}

impl Source {
    fn drain(&mut self, history: &History) {
        let mut buffer = [0; 16 * 1024];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => self.read_messages(&buffer[..length], history),
                Err(Errno::ENOBUFS) => {
                    let reason = format!("the kernel dropped address events of {}", self.node);
                    history.record(Observation::Blind { reason });
                }
                Err(_) => return,
            }
        }
    }

    fn read_messages(&mut self, bytes: &[u8], history: &History) {
        netlink::for_each_message(bytes, |message| match message {
            RouteNetlinkMessage::NewAddress(address) => self.note_message(address, true, history),
            RouteNetlinkMessage::DelAddress(address) => self.note_message(address, false, history),
            _ => {}
        });
    }

    fn note_message(&mut self, message: &AddressMessage, present: bool, history: &History) {
        if let Some(address) = netlink::address_of(message) {
            self.note(address, present, history);
        }
    }

    /// A renewed lifetime is reported by the kernel like a new address: only changes count.
    fn note(&mut self, address: IpAddr, present: bool, history: &History) {
        let changed = if present { self.present.insert(address) } else { self.present.remove(&address) };
        if changed {
            history.record(Observation::Address { node: self.node, address, present });
        }
    }
}

fn addresses(namespace: &Namespace) -> Result<Vec<IpAddr>> {
    let listing = namespace.ip(&["-oneline", "address", "show", "dev", INTERFACE])?;
    // "2: eth0    inet 10.0.20.11/24 scope global eth0\ ..."
    Ok(listing.lines().filter_map(|l| l.split_whitespace().nth(3)?.split('/').next()?.parse().ok()).collect())
}

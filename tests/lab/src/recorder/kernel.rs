//! Which addresses a router has, and whether anybody can reach them there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::Sender;

use anyhow::{Context, Result};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use serde_json::Value;

use super::record::{Event, What, send};
use crate::clock::Time;
use crate::netlink;
use crate::segment::Segment;

/// A router's kernel, as it reports of itself.
///
/// A router *holds* an address if an interface that works has it. FRR has the addresses of a Backup too, on an interface
/// whose carrier it has taken away.
#[derive(Debug)]
pub(super) struct Kernel {
    place: usize,
    socket: OwnedFd,
    /// By interface.
    addresses: BTreeMap<u32, BTreeSet<IpAddr>>,
    working: BTreeSet<u32>,
    held: BTreeSet<IpAddr>,
}

impl Kernel {
    /// Subscribes first and looks at what is there afterwards, so that nothing falls in between.
    pub(super) fn watch(segment: &Segment, place: usize, events: &Sender<Event>) -> Result<Self> {
        let namespace = segment.namespace(place);
        let socket = netlink::subscribe(namespace, netlink::LINKS | netlink::ADDRESSES)?;
        let mut kernel =
            Self { place, socket, addresses: BTreeMap::new(), working: BTreeSet::new(), held: BTreeSet::new() };
        let listing = namespace.ip(&["-json", "address", "show"])?;
        let links: Vec<Value> = serde_json::from_str(&listing).context("ip -json does not speak JSON")?;
        for link in &links {
            kernel.note_listed(link);
        }
        kernel.report(Time::now(), events);
        Ok(kernel)
    }

    fn note_listed(&mut self, link: &Value) {
        let index = link["ifindex"].as_u64().unwrap_or_default() as u32;
        let flags = link["flags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        // `ip` shows the lack of IFF_RUNNING on an interface that is up as NO-CARRIER.
        let flags: BTreeSet<&str> = flags.collect();
        if flags.contains("LOWER_UP") && !flags.contains("NO-CARRIER") {
            self.working.insert(index);
        }
        let addresses = link["addr_info"].as_array().into_iter().flatten();
        let addresses = addresses.filter(|address| address["tentative"] != true);
        let addresses = addresses.filter_map(|address| address["local"].as_str()?.parse::<IpAddr>().ok());
        self.addresses.entry(index).or_default().extend(addresses);
    }

    /// Reads all that there is. `now` is a moment at which the first message was there already.
    pub(super) fn drain(&mut self, mut now: Time, events: &Sender<Event>) {
        let mut buffer = [0; 32 * 1024];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    netlink::for_each_message(&buffer[..length], |message| {
                        self.take(message);
                        self.report(now, events);
                    });
                }
                Err(Errno::ENOBUFS) => send(events, now, self.place, What::Blind),
                Err(_) => return,
            }
            now = Time::now();
        }
    }

    fn take(&mut self, message: &RouteNetlinkMessage) {
        match message {
            RouteNetlinkMessage::NewAddress(address) => self.take_address(address, true),
            RouteNetlinkMessage::DelAddress(address) => self.take_address(address, false),
            RouteNetlinkMessage::NewLink(link) => self.take_link(link),
            RouteNetlinkMessage::DelLink(link) => {
                self.working.remove(&link.header.index);
            }
            _ => {}
        }
    }

    fn take_address(&mut self, message: &AddressMessage, present: bool) {
        let Some(address) = netlink::address_of(message) else { return };
        let addresses = self.addresses.entry(message.header.index).or_default();
        if present && !message.header.flags.contains(AddressHeaderFlags::Tentative) {
            addresses.insert(address);
        } else {
            addresses.remove(&address);
        }
    }

    fn take_link(&mut self, message: &LinkMessage) {
        if message.header.flags.contains(LinkFlags::Running | LinkFlags::LowerUp) {
            self.working.insert(message.header.index);
        } else {
            self.working.remove(&message.header.index);
        }
    }

    fn report(&mut self, at: Time, events: &Sender<Event>) {
        let working = self.addresses.iter().filter(|(index, _)| self.working.contains(index));
        let held: BTreeSet<IpAddr> = working.flat_map(|(_, addresses)| addresses.iter().copied()).collect();
        for address in held.symmetric_difference(&self.held) {
            send(events, at, self.place, What::Held { address: *address, held: held.contains(address) });
        }
        self.held = held;
    }
}

impl AsFd for Kernel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

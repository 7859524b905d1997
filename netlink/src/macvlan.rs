//! An interface with a MAC of its own on top of another one: where a virtual router has its virtual MAC (RFC 9568 section
//! 7.3).
//!
//! Its mode is "vepa": it speaks with the segment, and never directly with the interface below it or with its siblings. So does
//! "private", but there a multicast frame that comes from the segment with the MAC of a macvlan, as every advert of a peer
//! does, is given to that macvlan alone: whoever listens on the interface below does not hear its peers.
//!
//! It is ours, so its settings may be ours too. Those of IPv4 go by netlink, which works where systemd's
//! `ProtectKernelTunables=` has made `/proc/sys` read-only; for those of IPv6 there is no such way. They are in place
//! before the interface is up for the first time:
//!
//! | setting | value | without it |
//! |---|---|---|
//! | IPv4 `arp_ignore` | 1; 8 for a virtual router of IPv6 | it answers ARP for the node's other addresses with the virtual MAC |
//! | IPv4 `arp_announce` | 2 | it may ask for neighbours in the name of another interface's address |
//! | IPv4 `rp_filter` | 2 | answers leave by the interface below, so strict filtering drops every request. The kernel takes the larger one of this and that of `all`: 2, "loose", also outdoes a strict `all` |
//! | IPv4 `forwarding`, `proxy_arp` | 0 | a Backup that forwards would pass on a flooded frame (RFC 9568 section 6.4.2: it must discard it) |
//! | IPv6 address generation | none | it makes itself a link-local address of the virtual MAC, on each node the same (RFC 9568 section 7.4) |
//! | IPv6 `accept_ra` | 0 | by a router advertisement it takes an address made of the virtual MAC, and a default route |
//! | IPv6 `forwarding` | 0 | as with IPv4, and it would join ff02::2 and send that with the virtual MAC |

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NlasIterator, parse_u32};
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags,
    LinkHeader, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::channel::Channel;
use crate::deadline::Deadline;
use crate::error::{Error, Failure};
use crate::kernel::{Kernel, REQUEST};
use crate::link::{self, HEADER};
use crate::sysctl;

/// The kind of the interface, by the kernel's word for it.
const KIND: &[u8] = b"macvlan";

const MODE: MacVlanMode = MacVlanMode::Vepa;

/// A macvlan as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Macvlan {
    /// Its name: at most 15 bytes.
    pub name: String,
    /// The index of the interface below it.
    pub parent: u32,
    /// Its MAC.
    pub mac: [u8; 6],
    /// Whose it is; becomes its alias (`ip link` shows it). An interface with another one is never touched.
    pub owner: String,
    /// Whether it is for IPv4 addresses, so that it has to answer ARP.
    pub ipv4: bool,
}

/// An interface that has the name of one that is wanted, or the owner.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    index: u32,
    name: String,
    switched_on: bool,
    /// Its mode, if it is a macvlan.
    mode: Option<MacVlanMode>,
    parent: Option<u32>,
    mac: Option<[u8; 6]>,
    owner: Option<String>,
}

impl Kernel {
    /// Makes sure that the macvlan is there, as it is wanted and up; returns its index. One that is there already is used as
    /// it is, with the addresses that it has, unless it is on another interface or has another MAC: then it is replaced.
    ///
    /// `known` is the index that this returned last: that one's settings are in place, and if nothing is to be changed,
    /// nothing is written. While the interface below is down it may stay down as well; that is no error.
    ///
    /// # Errors
    ///
    /// [`Error::NameTaken`] by an interface that is not this owner's, [`Error::Setting`], [`Error::NotPermitted`],
    /// [`Error::NoSuchInterface`] if the one below does not exist, [`Error::Kernel`], EBUSY among others: the MAC is another
    /// macvlan's. And those that any request can meet.
    pub fn keep_macvlan(&mut self, wanted: &Macvlan, known: Option<u32>) -> Result<u32, Error> {
        let channel = &mut self.channel;
        let during = |failure: Failure| failure.during(format!("set up interface {}", wanted.name));
        let mut found = find(channel, &wanted.name).map_err(during)?;
        if let Some(there) = &found {
            if !there.is_of(&wanted.owner) && !there.is_half_made(wanted) {
                return Err(Error::NameTaken { name: wanted.name.clone() });
            }
            if !there.is_as(wanted) {
                delete(channel, there.index).map_err(during)?;
                found = None;
            }
        }
        let found = match found {
            Some(found) => found,
            None => {
                request(channel, RouteNetlinkMessage::NewLink(wanted.creation()), NLM_F_CREATE | NLM_F_EXCL)
                    .map_err(during)?;
                let made = find(channel, &wanted.name).map_err(during)?;
                made.ok_or_else(|| Error::NoSuchInterface { what: format!("find interface {}", wanted.name) })?
            }
        };
        if known != Some(found.index) {
            wanted.configure(channel, found.index).map_err(during)?;
            for key in ["accept_ra", "forwarding"] {
                sysctl::set_ipv6(&wanted.name, key, "0")?;
            }
        }
        if !found.switched_on {
            switch_on(channel, found.index).map_err(during)?;
        }
        Ok(found.index)
    }

    /// Deletes every macvlan of this owner, with the addresses that are on it, except those with these names. Returns how
    /// many there were.
    ///
    /// # Errors
    ///
    /// Those that any request can meet, after the others have been deleted.
    pub fn delete_macvlans(&mut self, owner: &str, except: &[&str]) -> Result<usize, Error> {
        let channel = &mut self.channel;
        let message = RouteNetlinkMessage::GetLink(link::listing(None));
        let found = channel.dump(message, Deadline::after(REQUEST), |kind, payload| match kind {
            libc::RTM_NEWLINK => Found::decode(payload),
            _ => Ok(None),
        });
        let found = found.map_err(|e| e.during("list the interfaces"))?;
        let ours = found.into_iter().filter(|found| found.is_of(owner) && !except.contains(&found.name.as_str()));
        let deleted: Vec<_> = ours
            .map(|found| delete(channel, found.index).map_err(|e| e.during(format!("delete interface {}", found.name))))
            .collect();
        deleted.into_iter().try_fold(0, |sum, deleted| deleted.map(|was_there| sum + usize::from(was_there)))
    }
}

impl Macvlan {
    /// All that the kernel takes at creation.
    fn creation(&self) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(self.name.clone()),
            LinkAttribute::Link(self.parent),
            LinkAttribute::Address(self.mac.to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MODE)])),
            ]),
        ];
        message
    }

    /// The owner's mark, and what of the settings goes by netlink.
    fn configure(&self, channel: &mut Channel, index: u32) -> Result<(), Failure> {
        let ipv6 = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
        match request(channel, RouteNetlinkMessage::SetLink(self.settings(index, Some(ipv6))), 0) {
            // This kernel, or this interface, knows no IPv6: there is nothing to be kept from it.
            Err(failure) if failure.is(libc::EAFNOSUPPORT) => {
                request(channel, RouteNetlinkMessage::SetLink(self.settings(index, None)), 0)
            }
            outcome => outcome,
        }
    }

    fn settings(&self, index: u32, ipv6: Option<AfSpecUnspec>) -> LinkMessage {
        let arp_ignore = if self.ipv4 { 1 } else { 8 };
        // IPV4_DEVCONF_FORWARDING, _PROXY_ARP, _RP_FILTER, _ARP_ANNOUNCE and _ARP_IGNORE of linux/ip.h.
        let conf = [(1, 0), (3, 0), (8, 2), (18, 2), (19, arp_ignore)];
        let mut message = about(index);
        message.attributes = vec![
            LinkAttribute::IfAlias(self.owner.clone()),
            LinkAttribute::AfSpecUnspec([Some(ipv4(&conf)), ipv6].into_iter().flatten().collect()),
        ];
        message
    }
}

/// `IFLA_INET_CONF` with these numbers and values. Written by hand because the crate's own type leaves out a value of 0.
fn ipv4(conf: &[(u16, u32)]) -> AfSpecUnspec {
    const IFLA_INET_CONF: u16 = 1;
    const ENTRY: u16 = 8;
    let entry =
        |(kind, value): &(u16, u32)| [&ENTRY.to_ne_bytes()[..], &kind.to_ne_bytes(), &value.to_ne_bytes()].concat();
    let nested = IFLA_INET_CONF | netlink_packet_core::NLA_F_NESTED;
    let conf = DefaultNla::new(nested, conf.iter().flat_map(entry).collect());
    AfSpecUnspec::Inet(vec![AfSpecInet::Other(conf)])
}

fn about(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header = LinkHeader { index, ..LinkHeader::default() };
    message
}

fn switch_on(channel: &mut Channel, index: u32) -> Result<(), Failure> {
    let mut message = about(index);
    (message.header.flags, message.header.change_mask) = (LinkFlags::Up, LinkFlags::Up);
    match request(channel, RouteNetlinkMessage::SetLink(message), 0) {
        // The interface below is down.
        Err(failure) if failure.is(libc::ENETDOWN) => Ok(()),
        outcome => outcome,
    }
}

/// Whether this call deleted it; it may have gone before, with the interface below.
fn delete(channel: &mut Channel, index: u32) -> Result<bool, Failure> {
    match request(channel, RouteNetlinkMessage::DelLink(about(index)), 0) {
        Ok(()) => Ok(true),
        Err(failure) if failure.is(libc::ENODEV) => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn request(channel: &mut Channel, message: RouteNetlinkMessage, flags: u16) -> Result<(), Failure> {
    channel.request(message, flags, Deadline::after(REQUEST), |_, _| Ok(()))
}

fn find(channel: &mut Channel, name: &str) -> Result<Option<Found>, Failure> {
    let mut found = None;
    let message = RouteNetlinkMessage::GetLink(link::listing(Some(name)));
    let outcome = channel.request(message, 0, Deadline::after(REQUEST), |kind, payload| {
        if kind == libc::RTM_NEWLINK {
            found = Found::decode(payload)?;
        }
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(found),
        Err(failure) if failure.is(libc::ENODEV) => Ok(None),
        Err(failure) => Err(failure),
    }
}

impl Found {
    fn decode(payload: &[u8]) -> Result<Option<Self>, Failure> {
        let header = LinkHeader::parse(payload)?;
        if header.interface_family != AddressFamily::Unspec {
            return Ok(None);
        }
        let (mut name, mut parent, mut mac, mut owner, mut mode) = (None, None, None, None, None);
        for attribute in NlasIterator::new(&payload[HEADER..]) {
            let attribute = attribute?;
            let value = attribute.value();
            match attribute.kind() {
                libc::IFLA_IFNAME => name = Some(text(value)),
                libc::IFLA_LINK => parent = Some(parse_u32(value)?),
                libc::IFLA_ADDRESS => mac = value.try_into().ok(),
                libc::IFLA_IFALIAS => owner = Some(text(value)),
                libc::IFLA_LINKINFO => mode = macvlan_mode(value)?,
                _ => {}
            }
        }
        let switched_on = header.flags.contains(LinkFlags::Up);
        Ok(name.map(|name| Self { index: header.index, name, switched_on, mode, parent, mac, owner }))
    }

    fn is_of(&self, owner: &str) -> bool {
        self.mode.is_some() && self.owner.as_deref() == Some(owner)
    }

    /// The mark is set after the creation: a process that was killed in between leaves one like this.
    fn is_half_made(&self, wanted: &Macvlan) -> bool {
        self.owner.is_none() && !self.switched_on && self.is_as(wanted)
    }

    fn is_as(&self, wanted: &Macvlan) -> bool {
        self.mode == Some(MODE)
            && self.name == wanted.name
            && self.parent == Some(wanted.parent)
            && self.mac == Some(wanted.mac)
    }
}

/// None if the `IFLA_LINKINFO` is not that of a macvlan. Macvtaps have the same data, and another kind.
fn macvlan_mode(link_info: &[u8]) -> Result<Option<MacVlanMode>, Failure> {
    const IFLA_INFO_KIND: u16 = 1;
    const IFLA_INFO_DATA: u16 = 2;
    const IFLA_MACVLAN_MODE: u16 = 1;
    let (mut macvlan, mut mode) = (false, None);
    for attribute in NlasIterator::new(link_info) {
        let attribute = attribute?;
        match attribute.kind() {
            IFLA_INFO_KIND => {
                let kind = attribute.value();
                macvlan = kind.strip_suffix(&[0]).unwrap_or(kind) == KIND;
            }
            // The kernel sends the kind first.
            IFLA_INFO_DATA if macvlan => {
                for data in NlasIterator::new(attribute.value()) {
                    let data = data?;
                    if data.kind() == IFLA_MACVLAN_MODE {
                        mode = Some(MacVlanMode::from(parse_u32(data.value())?));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(mode.filter(|_| macvlan))
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

//! A network interface, and the messages about it.

use netlink_packet_core::{NlasIterator, parse_u32};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkMessage};

use crate::error::Failure;

/// The size of `struct ifinfomsg`.
pub(crate) const HEADER: usize = 16;

/// The longest interface name in bytes (`IFNAMSIZ` less the final zero).
pub(crate) const NAME_MAX: usize = libc::IFNAMSIZ - 1;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index, which is what the kernel goes by; names may change.
    pub index: u32,
    /// Its name. Bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Switched on (`IFF_UP`) and the lower layer has a carrier (`IFF_LOWER_UP`).
    pub up: bool,
    /// The link-layer address where it has the size of a MAC (6 bytes), as on Ethernet.
    pub mac: Option<[u8; 6]>,
    /// The largest packet in bytes; 0 if the kernel did not say.
    pub mtu: u32,
}

impl Link {
    /// Understands an `RTM_NEWLINK` or `RTM_DELLINK`; none where it is not about the interface itself.
    ///
    /// Bridges announce with the same message types, of family `AF_BRIDGE`, that a port joined or left: not a link that
    /// came or went. Wireless drivers send events without even a name. Only the few attributes needed are looked at,
    /// so that no new or odd one of the hundred others can make an interface unreadable.
    pub(crate) fn decode(payload: &[u8]) -> Result<Option<Self>, Failure> {
        let header = LinkHeader::parse(payload)?;
        if header.interface_family != AddressFamily::Unspec {
            return Ok(None);
        }
        let up = header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
        let (mut name, mut mac, mut mtu) = (None, None, 0);
        for attribute in NlasIterator::new(&payload[HEADER..]) {
            let attribute = attribute?;
            let value = attribute.value();
            match attribute.kind() {
                libc::IFLA_IFNAME => {
                    name = Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
                }
                libc::IFLA_ADDRESS => mac = value.try_into().ok(),
                libc::IFLA_MTU => mtu = parse_u32(value)?,
                _ => {}
            }
        }
        Ok(name.map(|name| Self { index: header.index, name, up, mac, mtu }))
    }
}

/// The request to list all interfaces, or to describe the one that has this name or alternative name.
pub(crate) fn listing(name: Option<&str>) -> LinkMessage {
    let mut message = LinkMessage::default();
    // Counters would make up most of the answer.
    message.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    message.attributes.extend(name.map(|name| LinkAttribute::IfName(name.to_owned())));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of this family about interface 7 named "eth0", up with carrier.
    fn message(family: u8) -> Vec<u8> {
        let mut bytes = vec![family, 0, 1, 0, 7, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
        bytes.extend([9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn a_bridge_port_that_leaves_is_not_a_link_that_goes() {
        let link = Link::decode(&message(0)).unwrap().unwrap();
        assert_eq!((link.index, link.name.as_str(), link.up, link.mac, link.mtu), (7, "eth0", true, None, 0));
        assert_eq!(Link::decode(&message(libc::AF_BRIDGE as u8)).unwrap(), None);
    }

    #[test]
    fn an_event_without_a_name_is_ignored_and_nonsense_is_an_error() {
        assert_eq!(Link::decode(&message(0)[..HEADER]).unwrap(), None);
        assert!(Link::decode(&message(0)[..HEADER + 6]).is_err());
        assert!(Link::decode(&message(0)[..HEADER - 1]).is_err());
    }
}

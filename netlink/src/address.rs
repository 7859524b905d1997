//! An address on an interface, and the messages about it.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{DecodeError, DefaultNla, NlasIterator, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};

use crate::error::Failure;

/// Marks the addresses that this program bound (`IFA_PROTO`, shown by `ip address` as `proto 112`): VRRP's own number.
const PROTOCOL: AddressProtocol = AddressProtocol::Other(112);

/// An unlimited lifetime in `IFA_CACHEINFO`.
const FOREVER: u32 = u32::MAX;

/// The size of `struct ifaddrmsg`.
const HEADER: usize = 8;

/// An address that is bound to an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The index of the interface.
    pub link: u32,
    /// The address itself (`IFA_LOCAL`).
    pub address: IpAddr,
    /// The other end, where the address is one of a point-to-point link. The prefix is then that of the other end.
    pub peer: Option<IpAddr>,
    /// Length of the prefix in bits, 0..=32 or 0..=128.
    pub prefix_len: u8,
    /// Seconds until the kernel removes it, rounded as the kernel does; none when it stays for ever.
    pub lifetime: Option<u32>,
    /// IPv4 only: the subnet's first address on this interface is another one, and this one may go with that.
    pub secondary: bool,
    /// IPv6 only: duplicate address detection has not finished, or failed. Nothing can be sent from such an address.
    pub tentative: bool,
    /// Bound by this program, in this life or an earlier one. Kernels before 5.18 do not remember: always false there.
    pub ours: bool,
}

impl Address {
    /// Whether deleting this address makes the kernel delete `other` too (if it does not promote secondaries).
    fn takes_along(&self, other: &Self) -> bool {
        !self.secondary
            && other.secondary
            && self.link == other.link
            && self.prefix_len == other.prefix_len
            && match (self.prefix(), other.prefix()) {
                (IpAddr::V4(a), IpAddr::V4(b)) => same_subnet(a, b, self.prefix_len),
                _ => false,
            }
    }

    /// The address that `prefix_len` cuts the prefix from (`IFA_ADDRESS`).
    fn prefix(&self) -> IpAddr {
        self.peer.unwrap_or(self.address)
    }

    /// Whether two rows are about the same address, whatever became of its lifetime and flags.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let identity = |row: &Self| (row.link, row.address, row.peer, row.prefix_len);
        identity(self) == identity(other)
    }
}

fn same_subnet(a: Ipv4Addr, b: Ipv4Addr, prefix_len: u8) -> bool {
    let host_bits = 32 - u32::from(prefix_len.min(32));
    (a.to_bits() ^ b.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
}

/// The addresses among `all` that the kernel deletes together with `address`, unless it promotes secondaries on that
/// interface (see [`promote_secondaries`](crate::promote_secondaries)): those of which it is the primary.
///
/// [`Kernel::unbind`](crate::Kernel::unbind) takes care of them. When an address *expires* nobody does: an address with
/// dependents should be unbound and bound again, which makes it a secondary itself.
pub fn dependents<'a>(all: &'a [Address], address: &'a Address) -> impl Iterator<Item = &'a Address> {
    all.iter().filter(|other| address.takes_along(other))
}

/// A row of the kernel's table with all that is needed to put it back as it was.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) address: Address,
    message: AddressMessage,
}

impl Row {
    /// Understands an `RTM_NEWADDR` or `RTM_DELADDR`; none for families other than IPv4 and IPv6.
    pub(crate) fn decode(payload: &[u8]) -> Result<Option<Self>, Failure> {
        let header = AddressHeader::parse(payload)?;
        if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6) {
            return Ok(None);
        }
        let mut attributes = Vec::new();
        for attribute in NlasIterator::new(&payload[HEADER..]) {
            let attribute = attribute?;
            // An attribute that is new or odd (a label need not be UTF-8) must not hide the address: keep it as it is.
            let known = AddressAttribute::parse(&attribute)
                .or_else(|_| DefaultNla::parse(&attribute).map(AddressAttribute::Other))?;
            attributes.push(known);
        }
        let mut message = AddressMessage::default();
        message.header = header;
        message.attributes = attributes;
        let address = describe(&message)?;
        Ok(Some(Self { address, message }))
    }

    /// The request to delete exactly this row.
    pub(crate) fn deletion(&self) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header = AddressHeader {
            family: self.message.header.family,
            prefix_len: self.address.prefix_len,
            index: self.address.link,
            ..AddressHeader::default()
        };
        let identity = |attribute: &&AddressAttribute| {
            matches!(attribute, AddressAttribute::Local(_) | AddressAttribute::Address(_))
        };
        message.attributes = self.message.attributes.iter().filter(identity).cloned().collect();
        message
    }

    /// The request to add this row again: prefix, peer, broadcast, label, scope, flags, metric and what is left of the
    /// lifetimes. None if it has expired by now.
    pub(crate) fn restoration(&self) -> Option<AddressMessage> {
        (self.address.lifetime != Some(0)).then(|| self.message.clone())
    }

    /// A /32 of the same address, to be bound for a short time.
    pub(crate) fn stand_in(&self, lifetime: u32) -> Self {
        let address = Address {
            prefix_len: 32,
            peer: None,
            lifetime: Some(lifetime),
            secondary: false,
            ours: true,
            ..self.address.clone()
        };
        let message = binding(address.link, address.address, 32, lifetime);
        Self { message, address }
    }

    /// The rows that the kernel may delete together with this one.
    pub(crate) fn dependents<'a>(&'a self, rows: &'a [Self]) -> impl Iterator<Item = &'a Self> {
        rows.iter().filter(|other| self.address.takes_along(&other.address))
    }

    /// The request to add this row, for one that is not in the table.
    pub(crate) fn addition(&self) -> &AddressMessage {
        &self.message
    }
}

fn describe(message: &AddressMessage) -> Result<Address, DecodeError> {
    let AddressHeader { family, prefix_len, flags, index, .. } = message.header;
    let mut flags = AddressFlags::from_bits_retain(u32::from(flags.bits()));
    let (mut local, mut prefix, mut lifetime, mut ours) = (None, None, None, false);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => prefix = Some(*address),
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::CacheInfo(info) => lifetime = (info.ifa_valid != FOREVER).then_some(info.ifa_valid),
            AddressAttribute::Protocol(protocol) => ours = *protocol == PROTOCOL,
            _ => {}
        }
    }
    // IPv6 sends IFA_LOCAL only where there is a peer.
    let address = local.or(prefix).ok_or("an address message without an address")?;
    // The bit of IFA_F_SECONDARY means "temporary" in IPv6.
    let ipv4 = family == AddressFamily::Inet;
    Ok(Address {
        link: index,
        address,
        peer: prefix.filter(|prefix| *prefix != address),
        prefix_len,
        lifetime,
        secondary: ipv4 && flags.contains(AddressFlags::Secondary),
        tentative: !ipv4 && flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
        ours,
    })
}

/// The request to bind `address` for `lifetime` seconds.
///
/// IPv6 goes without duplicate address detection: it would keep the address unusable for a second, and the other holder
/// it might find is the one that is being replaced. And it is deprecated from the beginning: it serves whoever comes, and
/// the kernel chooses it as the source of a connection of the node's own only if there is no other (RFC 6724 section 5, rule
/// 3). Otherwise it would take whichever address is most like the peer's, and that connection would break when the VIP moves.
pub(crate) fn binding(link: u32, address: IpAddr, prefix_len: u8, lifetime: u32) -> AddressMessage {
    let mut limits = CacheInfo::default();
    limits.ifa_preferred = if address.is_ipv6() { 0 } else { lifetime };
    limits.ifa_valid = lifetime;
    let flags = if address.is_ipv6() { AddressHeaderFlags::Nodad } else { AddressHeaderFlags::empty() };
    let mut message = AddressMessage::default();
    message.header =
        AddressHeader { family: family(address), prefix_len, flags, index: link, ..AddressHeader::default() };
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        AddressAttribute::CacheInfo(limits),
        AddressAttribute::Protocol(PROTOCOL),
    ];
    message
}

/// The request to list the addresses of one family, or of all ([`AddressFamily::Unspec`]).
pub(crate) fn listing(family: AddressFamily) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family;
    message
}

pub(crate) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, prefix_len: u8, secondary: bool) -> Address {
        let address = text.parse().unwrap();
        Address { link: 1, address, peer: None, prefix_len, lifetime: None, secondary, tentative: false, ours: false }
    }

    #[test]
    fn only_the_secondaries_of_the_same_subnet_depend_on_a_primary() {
        let all = [
            address("10.0.20.155", 24, false),
            address("10.0.20.11", 24, true),
            address("10.0.20.12", 25, true),
            address("10.0.21.11", 24, true),
            Address { link: 2, ..address("10.0.20.13", 24, true) },
            address("fd00::1", 24, false),
        ];
        assert_eq!(dependents(&all, &all[0]).collect::<Vec<_>>(), [&all[1]]);
        assert_eq!(dependents(&all, &all[1]).count(), 0, "a secondary takes nothing along");
    }

    #[test]
    fn a_prefix_of_any_length_is_compared() {
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 168, 0, 1));
        assert!(same_subnet(a, b, 0));
        assert!(!same_subnet(a, b, 1));
        assert!(same_subnet(a, a, 32));
        assert!(!same_subnet(a, Ipv4Addr::new(10, 0, 0, 2), 32));
        assert!(same_subnet(a, Ipv4Addr::new(10, 0, 0, 2), 30));
    }

    #[test]
    fn nonsense_is_an_error_and_not_an_absence() {
        assert!(Row::decode(&[2, 24, 0]).is_err());
        assert!(Row::decode(&[2, 24, 0, 0, 1, 0, 0, 0]).is_err(), "no address in it");
        assert!(Row::decode(&[2, 24, 0, 0, 1, 0, 0, 0, 3, 0]).is_err(), "half an attribute");
        assert!(Row::decode(&[28, 24, 0, 0, 1, 0, 0, 0]).unwrap().is_none(), "another family");
    }

    #[test]
    fn a_temporary_ipv6_address_is_no_secondary() {
        let mut bytes = vec![10, 64, 1, 0, 3, 0, 0, 0, 20, 0, 1, 0];
        bytes.extend("fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
        let row = Row::decode(&bytes).unwrap().unwrap();
        assert_eq!(row.address, Address { link: 3, ..address("fd00::1", 64, false) });
    }
}

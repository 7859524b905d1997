//! What this node knows of the kernel: its interface and the host's addresses.

use std::net::{IpAddr, Ipv4Addr};

use super::io::{Address, Link};

/// The interface and the addresses, as last told by the kernel.
#[derive(Debug)]
pub(super) struct KernelView {
    /// Name of the interface that carries the VIPs.
    pub(super) interface: String,
    /// The interface; `None` while it does not exist.
    pub(super) link: Option<Link>,
    addresses: Vec<Address>,
    /// Every VIP: never taken for an address of the host itself.
    vips: Vec<Ipv4Addr>,
    /// Dumps taken after the first.
    pub(super) resyncs: u64,
    dumped: bool,
}

impl KernelView {
    pub(super) fn new(interface: String, vips: Vec<Ipv4Addr>) -> Self {
        Self { interface, link: None, addresses: Vec::new(), vips, resyncs: 0, dumped: false }
    }

    /// Replaces everything.
    pub(super) fn take_dump(&mut self, addresses: Vec<Address>) {
        self.resyncs += u64::from(self.dumped);
        self.dumped = true;
        self.addresses = addresses;
    }

    /// Whether the addresses have been read: before that, none that is missing here is known to be absent.
    pub(super) fn is_known(&self) -> bool {
        self.dumped
    }

    pub(super) fn added(&mut self, address: Address) {
        match self.addresses.iter_mut().find(|known| same_place(known, &address)) {
            Some(known) => *known = address,
            None => self.addresses.push(address),
        }
    }

    pub(super) fn removed(&mut self, gone: &Address) {
        self.addresses.retain(|known| !same_place(known, gone));
    }

    /// The address is certain to be nowhere.
    pub(super) fn absent(&mut self, vip: Ipv4Addr) {
        self.addresses.retain(|known| known.address != IpAddr::V4(vip));
    }

    /// The address is certain to be nowhere but where it belongs, if there.
    pub(super) fn no_strays(&mut self, vip: Ipv4Addr, prefix_len: u8) {
        let link = self.link;
        self.addresses.retain(|known| {
            known.address != IpAddr::V4(vip)
                || (link.is_some_and(|link| link.index == known.link) && known.prefix_len == prefix_len)
        });
    }

    /// Where a VIP is.
    pub(super) fn places(&self, vip: Ipv4Addr) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |known| known.address == IpAddr::V4(vip))
    }

    pub(super) fn is_present(&self, vip: Ipv4Addr) -> bool {
        self.places(vip).next().is_some()
    }

    /// Whether the VIP is where it belongs, with a lifetime. Without one it is not our doing, even there.
    pub(super) fn is_in_place(&self, vip: Ipv4Addr, prefix_len: u8) -> bool {
        self.places(vip).any(|place| self.belongs(place, prefix_len) && place.lifetime.is_some())
    }

    /// Whether the VIP is anywhere without a lifetime.
    pub(super) fn is_unlimited(&self, vip: Ipv4Addr) -> bool {
        self.places(vip).any(|place| place.lifetime.is_none())
    }

    /// Whether the VIP is also where it does not belong.
    pub(super) fn has_strays(&self, vip: Ipv4Addr, prefix_len: u8) -> bool {
        self.places(vip).any(|place| !self.belongs(place, prefix_len))
    }

    fn belongs(&self, place: &Address, prefix_len: u8) -> bool {
        self.link.is_some_and(|link| link.index == place.link) && place.prefix_len == prefix_len
    }

    /// Whether this is an address of the host itself.
    pub(super) fn is_local(&self, address: &IpAddr) -> bool {
        let is_vip = self.vips.iter().any(|vip| IpAddr::V4(*vip) == *address);
        !is_vip && self.addresses.iter().any(|known| known.address == *address)
    }

    /// The interface's first IPv4 address that is no VIP: where adverts are sent from.
    pub(super) fn primary_address(&self) -> Option<Ipv4Addr> {
        let link = self.link?;
        self.addresses.iter().filter(|known| known.link == link.index).find_map(|known| match known.address {
            IpAddr::V4(address) if !self.vips.contains(&address) => Some(address),
            _ => None,
        })
    }
}

fn same_place(a: &Address, b: &Address) -> bool {
    a.link == b.link && a.address == b.address && a.prefix_len == b.prefix_len
}

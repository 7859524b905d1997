//! What this node knows of the kernel: its interfaces and the host's addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::io::{Address, Link};
use super::settings::{Family, InterfaceId, VipSettings};
use crate::gate::deadline::LIFETIME;
use crate::gate::guard::{Guard, stands};

/// Whether an address has no longer to live than the lifetime that we give.
pub(super) fn is_short_lived(address: &Address) -> bool {
    address.lifetime.is_some_and(|left| left <= LIFETIME.get())
}

/// The interfaces and the addresses, as last told by the kernel.
#[derive(Debug)]
pub(super) struct KernelView {
    interfaces: Vec<Interface>,
    /// The host's own, in the kernel's order.
    own: Vec<Address>,
    /// Where each address of the VIPs is: never taken for one of the host itself.
    vips: BTreeMap<IpAddr, Vec<Address>>,
    /// Dumps taken after the first.
    pub(super) resyncs: u64,
    dumped: bool,
}

#[derive(Debug)]
struct Interface {
    name: String,
    /// `None` while it does not exist.
    link: Option<Link>,
}

impl KernelView {
    pub(super) fn new(interfaces: Vec<String>, vips: impl Iterator<Item = IpAddr>) -> Self {
        let interfaces = interfaces.into_iter().map(|name| Interface { name, link: None }).collect();
        let vips = vips.map(|address| (address, Vec::new())).collect();
        Self { interfaces, own: Vec::new(), vips, resyncs: 0, dumped: false }
    }

    /// The operator says something else: these are the interfaces now, of which the first ones are those that are known, and
    /// these the addresses of the VIPs.
    pub(super) fn reconfigure(&mut self, interfaces: &[String], vips: impl Iterator<Item = IpAddr>) {
        let new = interfaces.iter().skip(self.interfaces.len());
        self.interfaces.extend(new.map(|name| Interface { name: name.clone(), link: None }));
        let known =
            std::mem::take(&mut self.own).into_iter().chain(std::mem::take(&mut self.vips).into_values().flatten());
        let known: Vec<_> = known.collect();
        self.vips = vips.map(|address| (address, Vec::new())).collect();
        known.into_iter().for_each(|address| self.added(address));
    }

    /// Returns whether the interface has another MAC than before: what the segment was told of is wrong then.
    pub(super) fn set_link(&mut self, interface: InterfaceId, link: Option<Link>) -> bool {
        let Some(known) = self.interfaces.get_mut(interface.0) else { return false };
        let before = std::mem::replace(&mut known.link, link).and_then(|link| link.mac);
        before.is_some() && before != link.and_then(|link| link.mac)
    }

    /// Replaces everything.
    pub(super) fn take_dump(&mut self, addresses: Vec<Address>) {
        self.resyncs += u64::from(self.dumped);
        self.dumped = true;
        self.own.clear();
        self.vips.values_mut().for_each(Vec::clear);
        addresses.into_iter().for_each(|address| self.added(address));
    }

    /// Whether the addresses have been read: before that, none that is missing here is known to be absent.
    pub(super) fn is_known(&self) -> bool {
        self.dumped
    }

    /// An interface; `None` while it does not exist.
    pub(super) fn link(&self, interface: InterfaceId) -> Option<Link> {
        self.interfaces.get(interface.0)?.link
    }

    /// Where the addresses of a VIP belong; `None` while one of its interfaces does not exist.
    pub(super) fn place(&self, vip: &VipSettings) -> Option<Link> {
        self.link(vip.interface).and_then(|_| self.link(vip.carrier()))
    }

    /// The first interface of a VIP that does not exist.
    pub(super) fn missing(&self, vip: &VipSettings) -> Option<InterfaceId> {
        [vip.interface, vip.carrier()].into_iter().find(|interface| self.link(*interface).is_none())
    }

    /// The first interface of a VIP that is down, or has no carrier.
    pub(super) fn down(&self, vip: &VipSettings) -> Option<InterfaceId> {
        [vip.interface, vip.carrier()].into_iter().find(|interface| !self.link(*interface).is_some_and(|link| link.up))
    }

    /// Its name.
    pub(super) fn name(&self, interface: InterfaceId) -> &str {
        self.interfaces.get(interface.0).map_or("", |interface| interface.name.as_str())
    }

    pub(super) fn added(&mut self, address: Address) {
        let list = self.vips.get_mut(&address.address).unwrap_or(&mut self.own);
        match list.iter_mut().find(|known| same_place(known, &address)) {
            Some(known) => *known = address,
            None => list.push(address),
        }
    }

    pub(super) fn removed(&mut self, gone: &Address) {
        let list = self.vips.get_mut(&gone.address).unwrap_or(&mut self.own);
        list.retain(|known| !same_place(known, gone));
    }

    /// The VIP has just been bound where it belongs.
    pub(super) fn bound(&mut self, vip: &VipSettings) {
        let Some(link) = self.place(vip) else { return };
        for net in &vip.addresses {
            self.added(Address {
                link: link.index,
                address: net.addr(),
                prefix_len: net.prefix_len(),
                lifetime: Some(1),
                tentative: false,
            });
        }
    }

    /// The VIP is certain to be nowhere.
    pub(super) fn absent(&mut self, vip: &VipSettings) {
        let links = self.links(vip);
        for net in vip.present_and_former() {
            self.vips.entry(net.addr()).or_default().retain(|place| !concerns(place, links));
        }
    }

    /// The VIP is certain to be nowhere but where it belongs, if there.
    pub(super) fn no_strays(&mut self, vip: &VipSettings) {
        let (link, links) = (self.place(vip), self.links(vip));
        for net in &vip.addresses {
            let list = self.vips.entry(net.addr()).or_default();
            list.retain(|place| belongs(place, net, link) || !concerns(place, links));
        }
        for net in &vip.former {
            self.vips.entry(net.addr()).or_default().retain(|place| !concerns(place, links));
        }
    }

    /// Where the addresses of a VIP are, each with whether it is where it belongs. One that it does not have any more belongs
    /// nowhere.
    pub(super) fn places<'a>(&'a self, vip: &'a VipSettings) -> impl Iterator<Item = (&'a Address, bool)> {
        let (link, links) = (self.place(vip), self.links(vip));
        let of = move |net: &'a IpNet| self.vips.get(&net.addr()).into_iter().flatten().map(move |place| (place, net));
        let present = vip.addresses.iter().flat_map(of).map(move |(place, net)| (place, belongs(place, net, link)));
        let former = vip.former.iter().filter(|_| stands(Guard::Former)).flat_map(of).map(|(place, _)| (place, false));
        present.chain(former).filter(move |(place, _)| concerns(place, links))
    }

    /// The interfaces that a VIP has to do with.
    fn links(&self, vip: &VipSettings) -> [Option<u32>; 2] {
        [vip.interface, vip.carrier()].map(|interface| self.link(interface).map(|link| link.index))
    }

    /// Whether any address of the VIP is anywhere.
    pub(super) fn is_present(&self, vip: &VipSettings) -> bool {
        self.places(vip).next().is_some()
    }

    /// Whether every address of the VIP is where it belongs, with a lifetime. Without one it is not our doing, even there.
    pub(super) fn is_in_place(&self, vip: &VipSettings) -> bool {
        let link = self.place(vip);
        vip.addresses.iter().all(|net| {
            let mut places = self.vips.get(&net.addr()).into_iter().flatten();
            places.any(|place| belongs(place, net, link) && place.lifetime.is_some())
        })
    }

    /// Whether an address of the VIP is anywhere without a lifetime.
    pub(super) fn is_unlimited(&self, vip: &VipSettings) -> bool {
        self.places(vip).any(|(place, _)| place.lifetime.is_none())
    }

    /// Whether an address of the VIP is also where it does not belong.
    pub(super) fn has_strays(&self, vip: &VipSettings) -> bool {
        self.places(vip).any(|(_, belongs)| !belongs)
    }

    /// Whether an address that no VIP has is here with a lifetime such as ours: a predecessor may have left it, by a
    /// configuration in which it was a VIP's.
    pub(super) fn has_leftover(&self) -> bool {
        self.own.iter().any(is_short_lived)
    }

    /// Whether this is an address of the host itself.
    pub(super) fn is_local(&self, address: &IpAddr) -> bool {
        self.own.iter().any(|known| known.address == *address)
    }

    /// Where a virtual router's adverts are sent from: an address of the interface that is no VIP. Over IPv6 that is a
    /// link-local one (RFC 9568 section 5.1.2.1), but for peers that are not link-local themselves.
    pub(super) fn source(&self, vip: &VipSettings, family: Family) -> Option<IpAddr> {
        let link = self.link(vip.interface)?;
        let global = vip.unicast_peers.iter().any(|peer| peer.is_ipv6() && !is_link_local(*peer));
        let own = self.own.iter().filter(|known| known.link == link.index && !known.tentative);
        own.map(|known| known.address)
            .filter(|address| Family::of(*address) == family)
            .find(|address| family == Family::V4 || is_link_local(*address) != global)
    }

    /// The addresses of an interface from which adverts are sent, for people.
    pub(super) fn sources(&self, interface: InterfaceId) -> Vec<IpAddr> {
        let Some(link) = self.link(interface) else { return Vec::new() };
        let own = || self.own.iter().filter(|known| known.link == link.index).map(|known| known.address);
        [own().find(IpAddr::is_ipv4), own().find(|address| is_link_local(*address))].into_iter().flatten().collect()
    }
}

/// Whether an address is a VIP's, as far as its place goes. A link-local one is another one on each link, and may be somebody's
/// on a link that the VIP has nothing to do with; but not with a lifetime, which is what ours have, whatever became of the
/// interface under them.
fn concerns(place: &Address, links: [Option<u32>; 2]) -> bool {
    !is_link_local(place.address) || place.lifetime.is_some() || links.contains(&Some(place.link))
}

/// Whether this is an IPv6 link-local address (RFC 4291 section 2.5.6).
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn belongs(place: &Address, net: &IpNet, link: Option<Link>) -> bool {
    link.is_some_and(|link| link.index == place.link) && place.prefix_len == net.prefix_len()
}

fn same_place(a: &Address, b: &Address) -> bool {
    a.link == b.link && a.address == b.address && a.prefix_len == b.prefix_len
}

//! What the operator says, as the node needs it.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vrrp::router::{ChecksumPolicy, Preempt};
use vrrp::types::{Interval, Priority, Vrid};

use super::lock::Identity;
use crate::gate::policy::Policy;

/// What the operator says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Who this daemon is.
    pub me: Identity,
    /// Names of the interfaces that carry VIPs or are tracked, each once. [`InterfaceId`]s are positions in this list.
    pub interfaces: Vec<String>,
    /// `[policy]`.
    pub policy: Policy,
    /// The VIPs. A [`VipId`](crate::gate::evidence::VipId) is a position in this list, and stays one as long as the daemon
    /// lives: what is configured later comes at the end, and what is not configured any more stays as [`retired`].
    ///
    /// [`retired`]: VipSettings::retired
    pub vips: Vec<VipSettings>,
}

/// One of the interfaces, by its position in [`Settings::interfaces`]: a name stays while the kernel's index changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InterfaceId(pub usize);

/// What the operator says of one VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipSettings {
    /// For people and labels.
    pub name: String,
    /// The addresses, which move as one, with the prefix lengths to bind them with. At least one.
    pub addresses: Vec<IpNet>,
    /// The virtual router; where there are addresses of both families, that of either.
    pub virtual_router_id: Vrid,
    /// Which interface it is on: there its peers are heard, and that one's address adverts come from.
    pub interface: InterfaceId,
    /// The interface on top of that one with the virtual router's own MAC (RFC 9568 section 7.3), if it has one: see
    /// [`carrier`](Self::carrier).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_mac: Option<InterfaceId>,
    /// Advertisement_Interval.
    pub interval: Interval,
    /// Checksum form to send.
    pub checksum: ChecksumPolicy,
    /// With whom to speak instead of the multicast group; empty: with the group.
    pub unicast_peers: Vec<IpAddr>,
    /// Who decides where it is.
    pub follows: Follows,
    /// Put on hold by hand before the daemon knew it.
    pub drained: bool,
    /// Addresses that it had before the operator said something else: they are to be nowhere on this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<IpNet>,
    /// Not configured any more: it leaves, and is forgotten when it has left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
}

/// The two kinds of addresses, and of virtual routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Who decides where a VIP is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Follows {
    /// etcd and PostgreSQL: it is where the primary is.
    Primary,
    /// VRRP's election.
    None(Rules),
}

/// What the operator says of an election.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// 1 to 254.
    pub priority: Priority,
    /// Whether, and how soon, to take over from an Active of lower priority.
    pub preempt: Preempt,
    /// Interfaces that have to be up besides the VIP's own.
    pub track: Vec<InterfaceId>,
}

impl Family {
    /// That of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl Follows {
    /// Interfaces that have to be up besides the VIP's own.
    pub fn tracked(&self) -> &[InterfaceId] {
        match self {
            Self::Primary => &[],
            Self::None(rules) => &rules.track,
        }
    }
}

impl Settings {
    /// The same daemon's by another configuration: what is still there keeps its number. `interfaces` are those that are known,
    /// and what is new after them. A VIP is the same one if it has the same name, is the same virtual router in the same place,
    /// and has the same lock.
    #[must_use]
    pub fn reloaded(&self, interfaces: Vec<String>, policy: Policy, wanted: Vec<VipSettings>) -> Self {
        let mut vips: Vec<_> = self.vips.iter().map(|vip| VipSettings { retired: true, ..vip.clone() }).collect();
        let all: Vec<_> = wanted.iter().flat_map(|vip| vip.addresses.iter().map(IpNet::addr)).collect();
        for new in wanted {
            let same = self.vips.iter().position(|old| !old.retired && old.is_same(&new));
            match same.and_then(|same| vips.get_mut(same)) {
                Some(vip) => {
                    // What another VIP has now is that one's to bind or to remove.
                    let former = vip.present_and_former().filter(|net| !all.contains(&net.addr())).copied().collect();
                    *vip = VipSettings { former, ..new };
                }
                None => vips.push(new),
            }
        }
        Self { me: self.me.clone(), interfaces, policy, vips }
    }
}

impl VipSettings {
    /// Whether the other one is this one with other settings.
    fn is_same(&self, other: &Self) -> bool {
        let place = |vip: &Self| (vip.name.clone(), vip.virtual_router_id, vip.interface, vip.virtual_mac);
        let primary = |vip: &Self| vip.follows == Follows::Primary;
        let lock = !primary(other) || lock_address(&self.addresses) == lock_address(&other.addresses);
        place(self) == place(other) && primary(self) == primary(other) && lock
    }

    /// The first address: by this the VIP goes where there is room for one only.
    pub fn address(&self) -> IpAddr {
        self.addresses.first().map_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), IpNet::addr)
    }

    /// Where its addresses are bound, and announcements and adverts leave.
    pub fn carrier(&self) -> InterfaceId {
        self.virtual_mac.unwrap_or(self.interface)
    }

    /// Whether this is one of its addresses.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.addr() == address)
    }

    /// Everything of it that may be on this host.
    pub fn present_and_former(&self) -> impl Iterator<Item = &IpNet> {
        self.addresses.iter().chain(&self.former)
    }

    /// Those of its addresses, in an order that does not depend on how a node lists them: ties of an election are broken in
    /// the first one, and two routers that broke them in different ones could answer each other without end.
    pub fn families(&self) -> impl Iterator<Item = Family> {
        [Family::V4, Family::V6].into_iter().filter(|family| self.of_family(*family).next().is_some())
    }

    /// Its addresses of one family, in order.
    pub fn of_family(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(IpNet::addr).filter(move |address| Family::of(*address) == family)
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let more = self.addresses.len().saturating_sub(1);
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        format!("{}{more}", self.address())
    }
}

/// By which of its addresses a VIP's lock is called: the smallest one, so that the order in which nodes list them is all the
/// same. `None` without any.
pub fn lock_address(addresses: &[IpNet]) -> Option<IpAddr> {
    addresses.iter().map(IpNet::addr).min()
}

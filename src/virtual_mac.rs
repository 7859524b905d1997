//! `mac = "virtual"`: the virtual router's own MAC address (RFC 9568 section 7.3), on an interface of the daemon's own on top
//! of the VIP's, a macvlan. docs/VIRTUAL-MAC.md says what was measured, and why the host has to be as it is checked here.

use std::io;

use pgvrrp_netlink::{Macvlan, arp_announce, arp_filter, arp_ignore};
use vrrp::types::Vrid;

use crate::node::{Family, InterfaceId, Settings, VipSettings};

/// The longest name of an interface.
const NAME_MAX: usize = 15;

/// An interface with a virtual MAC, as it is to be made.
#[derive(Clone, Debug)]
pub(crate) struct VirtualMac {
    /// The interface below it.
    pub(crate) below: InterfaceId,
    family: Family,
    name: String,
    mac: [u8; 6],
    owner: String,
}

impl VirtualMac {
    /// Those that the settings want, each with its own interface.
    pub(crate) fn all<'a>(settings: &'a Settings, owner: &'a str) -> impl Iterator<Item = (InterfaceId, Self)> + 'a {
        settings.vips.iter().filter(|vip| !vip.retired).filter_map(move |vip| {
            let own = vip.virtual_mac?;
            Some((own, Self::of(vip, settings.interfaces.get(own.0)?, owner)))
        })
    }

    fn of(vip: &VipSettings, name: &str, owner: &str) -> Self {
        let family = Family::of(vip.address());
        let mac = mac(family, vip.virtual_router_id);
        Self { below: vip.interface, family, name: name.to_owned(), mac, owner: owner.to_owned() }
    }

    /// The macvlan, on the interface with this index.
    pub(crate) fn macvlan(&self, parent: u32) -> Macvlan {
        let (name, owner) = (self.name.clone(), self.owner.clone());
        Macvlan { name, parent, mac: self.mac, owner, ipv4: self.family == Family::V4 }
    }

    /// What on this host keeps it from being the only one that answers for its addresses.
    pub(crate) fn obstacle(&self, below: &str) -> Option<String> {
        obstacle(below, self.family)
    }

    pub(crate) const fn family(&self) -> Family {
        self.family
    }

    pub(crate) const fn mac(&self) -> [u8; 6] {
        self.mac
    }
}

/// 00-00-5E-00-01-{VRID} for IPv4, 00-00-5E-00-02-{VRID} for IPv6.
const fn mac(family: Family, id: Vrid) -> [u8; 6] {
    let family = match family {
        Family::V4 => 1,
        Family::V6 => 2,
    };
    [0, 0, 0x5e, 0, family, id.get()]
}

/// The name of a virtual router's interface: `vrrp4-155-eth0`. The interface below is part of it, since the same number is
/// another virtual router there. Where that makes it too long a hash takes its place: `vrrp4-155-3f09a`.
pub(crate) fn name(family: Family, id: Vrid, below: &str) -> String {
    let family = match family {
        Family::V4 => "vrrp4",
        Family::V6 => "vrrp6",
    };
    let name = format!("{family}-{id}-{below}");
    if name.len() <= NAME_MAX {
        return name;
    }
    format!("{family}-{id}-{:05x}", hash(below) >> 12)
}

/// FNV-1a: the same in each version of this program, which has to know its predecessor's interfaces.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The mark on the interfaces of the daemon with this runtime directory, of which there is one.
pub(crate) fn owner(runtime_dir: &std::path::Path) -> String {
    format!("pgvrrp {}", runtime_dir.display())
}

/// What on this host keeps an interface with a virtual MAC on top of `below` from being the only one that answers for its
/// addresses, and what to do. These settings are the host's, and not ours to change. None if they are right, or if there is no
/// such interface.
///
/// IPv6 needs none: an address is answered for only where it is bound (RFC 4861 section 7.2.3), and is not asked in the name
/// of elsewhere.
pub(crate) fn obstacle(below: &str, family: Family) -> Option<String> {
    match family {
        Family::V4 => Host::read(below).map_or_else(|error| unreadable(below, &error), |host| host.obstacle(below)),
        Family::V6 => None,
    }
}

fn unreadable(below: &str, error: &io::Error) -> Option<String> {
    (error.kind() != io::ErrorKind::NotFound)
        .then(|| format!("mac = \"virtual\": net.ipv4.conf.{below} could not be read: {error}"))
}

/// The settings that matter. The kernel takes the larger of an interface's and that of `all`.
#[derive(Clone, Copy, Debug)]
struct Host {
    all_ignore: i32,
    all_filter: bool,
    ignore: i32,
    announce: i32,
}

impl Host {
    fn read(below: &str) -> io::Result<Self> {
        let all_ignore = arp_ignore("all")?;
        let ignore = arp_ignore(below)?.max(all_ignore);
        let announce = arp_announce(below)?.max(arp_announce("all")?);
        Ok(Self { all_ignore, all_filter: arp_filter("all")?, ignore, announce })
    }

    fn obstacle(self, below: &str) -> Option<String> {
        let (key, value, why) = match self {
            // 2 and above hold for the VIP's own interface as well, which has no subnet.
            Self { all_ignore: 2.., .. } => {
                ("all.arp_ignore".to_owned(), 1, "the kernel would answer no ARP request for the VIP")
            }
            Self { all_filter: true, .. } => {
                ("all.arp_filter".to_owned(), 0, "the kernel would answer no ARP request for the VIP")
            }
            // 3 answers for addresses of global scope wherever they are, and 4 to 7 mean nothing.
            Self { ignore: i32::MIN..=0 | 3..=7, .. } => (
                format!("{below}.arp_ignore"),
                1,
                "the kernel would answer ARP requests for the VIP with the MAC of this interface too",
            ),
            Self { announce: ..2, .. } => (
                format!("{below}.arp_announce"),
                2,
                "the kernel would ask for clients in the VIP's name with the MAC of this interface, and they would note it",
            ),
            _ => return None,
        };
        Some(format!("mac = \"virtual\" needs net.ipv4.conf.{key} = {value} (see sysctl.d(5)): else {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: Host = Host { all_ignore: 0, all_filter: false, ignore: 1, announce: 2 };

    fn vrid(id: u8) -> Vrid {
        Vrid::new(id).unwrap()
    }

    // RFC 9568 section 7.3.
    #[test]
    fn the_virtual_mac_is_made_of_the_family_and_the_number() {
        assert_eq!(mac(Family::V4, vrid(155)), [0, 0, 0x5e, 0, 1, 0x9b]);
        assert_eq!(mac(Family::V6, vrid(1)), [0, 0, 0x5e, 0, 2, 1]);
    }

    #[test]
    fn a_name_fits_and_is_another_one_on_another_interface() {
        assert_eq!(name(Family::V4, vrid(155), "eth0"), "vrrp4-155-eth0");
        assert_eq!(name(Family::V6, vrid(7), "enp1s0"), "vrrp6-7-enp1s0");
        let long = ["enp129s0f0np0", "enp129s0f1np1", "bond0.2000"].map(|below| name(Family::V4, vrid(255), below));
        assert!(long.iter().all(|name| name.len() == NAME_MAX), "{long:?}");
        assert!(long[0] != long[1] && long[1] != long[2], "{long:?}");
    }

    #[test]
    fn the_first_setting_that_is_wrong_is_named_with_the_right_value() {
        let told = |host: Host| host.obstacle("eth0").unwrap();
        assert_eq!(RIGHT.obstacle("eth0"), None);
        assert_eq!(Host { ignore: 2, ..RIGHT }.obstacle("eth0"), None);
        assert_eq!(Host { ignore: 8, ..RIGHT }.obstacle("eth0"), None);
        assert_eq!(Host { all_ignore: 1, ..RIGHT }.obstacle("eth0"), None);
        for ignore in [0, 3, 4, 7] {
            assert!(told(Host { ignore, ..RIGHT }).contains("net.ipv4.conf.eth0.arp_ignore = 1 "));
        }
        for announce in [0, 1] {
            assert!(told(Host { announce, ..RIGHT }).contains("net.ipv4.conf.eth0.arp_announce = 2 "));
        }
        for all_ignore in [2, 3, 8] {
            let host = Host { all_ignore, ignore: all_ignore, ..RIGHT };
            assert!(told(host).contains("net.ipv4.conf.all.arp_ignore = 1 "));
        }
        assert!(told(Host { all_filter: true, ..RIGHT }).contains("net.ipv4.conf.all.arp_filter = 0 "));
    }
}

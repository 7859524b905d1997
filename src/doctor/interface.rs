//! The interfaces that are to carry the VIPs, and what the kernel can do with addresses and connections.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use std::{io, iter};

use ipnet::IpNet;
use pgvrrp_config::{Config, Follows, Mac, Vip};
use pgvrrp_netlink::{Address, Error, Kernel, Link, SockDiag, promote_secondaries};

use super::areas::{INTERFACE, SOCKETS};
use super::report::Finding;
use crate::node::Family;
use crate::{requirements, virtual_mac};

/// What the kernel says about this host's interfaces and addresses.
pub(super) struct Host {
    interfaces: Vec<Interface>,
    addresses: Result<Vec<Address>, Error>,
}

struct Interface {
    name: String,
    link: Result<Option<Link>, Error>,
    promotes: io::Result<bool>,
    /// What keeps a virtual MAC on it from being the only one that answers for an IPv4 address.
    obstacle: Option<String>,
}

impl Host {
    /// Every address of this host itself, none if they could not be read. As for the daemon, a VIP is never one: it is
    /// wherever it is.
    pub(super) fn addresses(&self, config: &Config) -> Option<Vec<IpAddr>> {
        let all = self.addresses.as_ref().ok()?.iter().map(|known| known.address);
        Some(all.filter(|address| !is_vip(config, *address)).collect())
    }
}

fn is_vip(config: &Config, address: IpAddr) -> bool {
    config.vips.iter().any(|vip| vip.addresses.iter().any(|net| net.addr() == address))
}

/// The interfaces that a VIP's configuration names.
fn named_by(vip: &Vip) -> impl Iterator<Item = &String> {
    let tracked = match &vip.follows {
        Follows::Primary => [].as_slice(),
        Follows::None(election) => election.track_interfaces.as_slice(),
    };
    iter::once(&vip.interface).chain(tracked)
}

/// Asks the kernel. Needs no rights.
pub(super) fn ask(config: &Config) -> Host {
    let names: BTreeSet<_> = config.vips.iter().flat_map(named_by).cloned().collect();
    let mut kernel = Kernel::open();
    let of = |name: String| {
        let link = match &mut kernel {
            Ok(kernel) => kernel.link(&name),
            Err(_) => Kernel::open().map(|_| None),
        };
        let obstacle = virtual_mac::obstacle(&name, Family::V4);
        Interface { promotes: promote_secondaries(&name), obstacle, link, name }
    };
    let interfaces = names.into_iter().map(of).collect();
    let addresses = kernel.and_then(|mut kernel| kernel.addresses());
    Host { interfaces, addresses }
}

pub(super) fn judge(config: &Config, host: &Host) -> Vec<Finding> {
    host.interfaces.iter().flat_map(|interface| judge_one(config, host, interface)).collect()
}

fn judge_one(config: &Config, host: &Host, interface: &Interface) -> Vec<Finding> {
    let name = &interface.name;
    let (link, addresses) = match (&interface.link, &host.addresses) {
        (Ok(Some(link)), Ok(addresses)) => (link, addresses),
        (Ok(None), _) => {
            let text = format!("interface {name}: does not exist");
            let carries = config.vips.iter().any(|vip| vip.interface == *name);
            let setting = if carries { "interface" } else { "track_interfaces" };
            return vec![Finding::problem(INTERFACE, text, format!("name one that `ip link` shows in `{setting}`"))];
        }
        (Err(error), _) | (_, Err(error)) => {
            let text = format!("interface {name}: not checked: {error}");
            return vec![Finding::warning(INTERFACE, text, "try again")];
        }
    };
    let mut findings = Vec::new();
    if !link.up {
        let fix = format!("`ip link set {name} up`, and look at its cable or switch port");
        findings.push(Finding::problem(INTERFACE, format!("interface {name}: is down, or has no carrier"), fix));
    }
    let vips = || config.vips.iter().filter(|vip| vip.interface == *name);
    let own = own_addresses(config, addresses, link.index);
    for (family, is) in [("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("IPv6", IpAddr::is_ipv6)] {
        if vips().any(|vip| vip.addresses.iter().any(|net| is(&net.addr()))) {
            findings.extend(source(name, family, own.iter().find(|net| is(&net.addr()) && is_source(net)), link.up));
        }
    }
    for vip in vips() {
        findings.extend([Family::V4, Family::V6].into_iter().filter_map(|family| place(vip, family, &own)));
        findings.extend(size(vip, link));
        match vip.mac {
            // One is enough: what mends it mends the others.
            Mac::Interface => {
                findings.extend(vip.addresses.iter().find_map(|net| prefix(*net, name, &interface.promotes)));
            }
            Mac::Virtual => findings.push(own_mac(vip, interface.obstacle.as_deref())),
        }
    }
    findings
}

/// The interface's addresses that are no VIPs, in the kernel's order.
fn own_addresses(config: &Config, addresses: &[Address], link: u32) -> Vec<IpNet> {
    let own = addresses.iter().filter(|known| known.link == link && !is_vip(config, known.address));
    own.filter_map(|known| IpNet::new(known.address, known.prefix_len).ok()).collect()
}

/// Adverts leave from the first address, over IPv6 from the first link-local one.
fn is_source(net: &IpNet) -> bool {
    match net.addr() {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn source(interface: &str, family: &str, source: Option<&IpNet>, up: bool) -> Option<Finding> {
    match source {
        Some(source) => up.then(|| Finding::ok(INTERFACE, format!("interface {interface}: up, {source}"))),
        None => {
            let kind = if family == "IPv6" { "link-local IPv6" } else { family };
            let text = format!("interface {interface}: has no {kind} address of its own, from which to advertise");
            let fix =
                format!("give this node's own {kind} address to it, or name the interface that has it in `interface`");
            Some(Finding::problem(INTERFACE, text, fix))
        }
    }
}

/// Neighbours only look for the VIP on the segment if it is in the subnet that they have there.
fn place(vip: &Vip, family: Family, own: &[IpNet]) -> Option<Finding> {
    let own: Vec<_> = own.iter().filter(|net| Family::of(net.addr()) == family).collect();
    let vips = vip.addresses.iter().map(IpNet::addr).filter(|address| Family::of(*address) == family);
    let mut outside = vips.filter(|address| !own.iter().any(|net| net.contains(address)));
    if own.is_empty() {
        return None;
    }
    let first = outside.next()?;
    let others = match outside.count() {
        0 => ": is".to_owned(),
        more => format!(" and {more} more of {}'s addresses are", vip.name),
    };
    let (interface, nets) = (&vip.interface, own.iter().map(|net| net.trunc().to_string()).collect::<Vec<_>>());
    let text = format!("VIP {first}{others} in no subnet of {interface} ({})", nets.join(", "));
    Some(Finding::warning(
        INTERFACE,
        text,
        "take an address of that subnet, or make sure that the clients' router knows this segment as the way to it",
    ))
}

/// The same condition as the daemon's own refusal to start.
fn prefix(vip: IpNet, interface: &str, promotes: &io::Result<bool>) -> Option<Finding> {
    if vip.addr().is_ipv6() || vip.prefix_len() == 32 || matches!(promotes, Ok(true)) {
        return None;
    }
    let value = match promotes {
        Ok(_) => "is 0, so the kernel could remove".to_owned(),
        Err(error) => format!("could not be read ({error}); unless it is 1 the kernel could remove"),
    };
    let text = format!(
        "VIP {vip}: net.ipv4.conf.{interface}.promote_secondaries {value} this node's own addresses together with the VIP"
    );
    let fix =
        format!("configure the VIP as {} (/32), or set net.ipv4.conf.{interface}.promote_secondaries = 1", vip.addr());
    Some(Finding::problem(INTERFACE, text, fix))
}

/// The same condition as the daemon's own refusal to start.
fn size(vip: &Vip, link: &Link) -> Option<Finding> {
    let too_many = requirements::too_many(vip, link)?;
    Some(Finding::problem(INTERFACE, too_many, "divide them between several VIPs"))
}

/// The same condition as the daemon's own refusal to start.
fn own_mac(vip: &Vip, obstacle: Option<&str>) -> Finding {
    let (name, own) = (&vip.name, crate::settings::virtual_mac_name(vip));
    match obstacle.filter(|_| vip.addresses.iter().any(|net| net.addr().is_ipv4())) {
        None => {
            Finding::ok(INTERFACE, format!("VIP {name}: nothing on this host answers for it beside its own MAC, {own}"))
        }
        Some(obstacle) => {
            let fix = "set that, in /etc/sysctl.d as well; docs/VIRTUAL-MAC.md says why";
            Finding::problem(INTERFACE, format!("VIP {name}: {obstacle}"), fix)
        }
    }
}

/// Whether the kernel can reset connections; nothing is reset by the question.
pub(super) fn reset() -> Finding {
    const LIMIT: Duration = Duration::from_secs(1);
    match SockDiag::open().and_then(|mut sockets| sockets.can_destroy(LIMIT)) {
        Ok(true) => Finding::ok(SOCKETS, "connections: the kernel can reset those to a VIP that leaves (SOCK_DESTROY)"),
        Ok(false) => Finding::warning(
            SOCKETS,
            "connections: this kernel cannot reset those to a VIP that leaves (SOCK_DESTROY): clients wait for their own \
             time-outs instead",
            "`modprobe tcp_diag`, or a kernel with CONFIG_INET_DIAG_DESTROY; meanwhile TCP keepalives in the clients",
        ),
        Err(Error::NotPermitted { .. }) => Finding::note(
            SOCKETS,
            "connections: whether the kernel can reset them was not checked: needs CAP_NET_ADMIN",
        ),
        Err(error) => Finding::note(SOCKETS, format!("connections: whether the kernel can reset them: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::report::Level;
    use super::*;

    fn vip(prefix_len: u8) -> IpNet {
        IpNet::new(IpAddr::from([10, 0, 20, 155]), prefix_len).unwrap()
    }

    #[test]
    fn a_prefix_needs_promoted_secondaries() {
        assert_eq!(prefix(vip(32), "eth0", &Ok(false)), None);
        assert_eq!(prefix(vip(24), "eth0", &Ok(true)), None);
        let off = prefix(vip(24), "eth0", &Ok(false)).unwrap();
        assert!(off.level == Level::Problem && off.text.contains("promote_secondaries is 0"), "{off:?}");
        let unknown = prefix(vip(24), "eth0", &Err(io::ErrorKind::PermissionDenied.into())).unwrap();
        assert!(unknown.text.contains("could not be read (permission denied)"), "{}", unknown.text);
        assert!(!unknown.text.contains("is 0"), "{}", unknown.text);
    }

    fn config(vip: &str) -> Config {
        let text = format!(
            r#"
                node = "lb1"
                interface = "eth0"
                [[vip]]
                virtual_router_id = 1
                follows = "none"
                {vip}
            "#
        );
        Config::parse(Path::new("pgvrrp.toml"), &text, Path::new("/")).unwrap()
    }

    #[test]
    fn the_vip_belongs_to_a_subnet_of_the_interface() {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        let place = |addresses: &str, own: &[&str]| {
            let config = config(&format!("name = \"web\"\naddresses = {addresses}"));
            place(&config.vips[0], Family::V4, &nets(own)).map(|finding| finding.text)
        };
        let one = r#"["10.0.20.155"]"#;
        assert_eq!(place(one, &["192.168.1.1/24", "10.0.20.11/24"]), None);
        assert_eq!(place(one, &["10.0.20.11/25"]).unwrap(), "VIP 10.0.20.155: is in no subnet of eth0 (10.0.20.0/25)");
        let some = r#"["10.0.20.5", "10.0.20.155", "10.0.20.156", "10.0.20.157", "fe80::155"]"#;
        assert_eq!(
            place(some, &["10.0.20.11/25", "fe80::11/64"]).unwrap(),
            "VIP 10.0.20.155 and 2 more of web's addresses are in no subnet of eth0 (10.0.20.0/25)"
        );
        assert_eq!(place(some, &["fe80::11/64"]), None, "it has no address from which to advertise; that is said");
    }

    #[test]
    fn what_is_tracked_is_looked_at() {
        let config = config("address = \"10.0.20.155\"\ntrack_interfaces = [\"uplink\"]");
        let host = Host {
            interfaces: vec![Interface {
                name: "uplink".to_owned(),
                link: Ok(None),
                promotes: Ok(true),
                obstacle: None,
            }],
            addresses: Ok(Vec::new()),
        };
        assert_eq!(named_by(&config.vips[0]).collect::<Vec<_>>(), ["eth0", "uplink"]);
        let [finding] = judge(&config, &host).try_into().unwrap();
        assert!(finding.level == Level::Problem && finding.text == "interface uplink: does not exist", "{finding:?}");
        assert!(finding.fix.as_deref().is_some_and(|fix| fix.contains("`track_interfaces`")), "{finding:?}");
    }
}

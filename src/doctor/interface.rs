//! The interface that is to carry the VIPs, and what the kernel can do with addresses and connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::Ipv4Net;
use pgvrrp_config::Config;
use pgvrrp_netlink::{Address, Error, Kernel, Link, SockDiag, promote_secondaries};

use super::areas::{INTERFACE, SOCKETS};
use super::report::Finding;

/// What the kernel says about this host's addresses.
pub(super) struct Host {
    link: Result<Option<Link>, Error>,
    addresses: Result<Vec<Address>, Error>,
    promotes: io::Result<bool>,
}

impl Host {
    /// Every address of this host itself, none if they could not be read. As for the daemon, a VIP is never one: it is
    /// wherever it is.
    pub(super) fn addresses(&self, config: &Config) -> Option<Vec<IpAddr>> {
        let is_vip = |address: &IpAddr| config.vips.iter().any(|vip| IpAddr::V4(vip.address) == *address);
        let all = self.addresses.as_ref().ok()?.iter().map(|known| known.address);
        Some(all.filter(|address| !is_vip(address)).collect())
    }
}

/// Asks the kernel. Needs no rights.
pub(super) fn ask(interface: &str) -> Host {
    let promotes = promote_secondaries(interface);
    match Kernel::open() {
        Ok(mut kernel) => Host { link: kernel.link(interface), addresses: kernel.addresses(), promotes },
        Err(error) => Host { link: Err(error), addresses: Ok(Vec::new()), promotes },
    }
}

pub(super) fn judge(config: &Config, host: &Host) -> Vec<Finding> {
    let name = &config.interface;
    let (link, addresses) = match (&host.link, &host.addresses) {
        (Ok(Some(link)), Ok(addresses)) => (link, addresses),
        (Ok(None), _) => {
            let text = format!("interface {name}: does not exist");
            return vec![Finding::problem(INTERFACE, text, "name one that `ip link` shows in `interface`")];
        }
        (Err(error), _) | (_, Err(error)) => {
            let text = format!("interface {name}: not checked: {error}");
            return vec![Finding::warning(INTERFACE, text, "try again")];
        }
    };
    let mut findings = Vec::new();
    let own = own_addresses(config, addresses, link.index);
    if !link.up {
        let fix = format!("`ip link set {name} up`, and look at its cable or switch port");
        findings.push(Finding::problem(INTERFACE, format!("interface {name}: is down, or has no carrier"), fix));
    }
    match own.first() {
        Some(primary) if link.up => {
            findings.push(Finding::ok(INTERFACE, format!("interface {name}: up, {primary}")));
        }
        Some(_) => {}
        None => {
            let text = format!("interface {name}: has no IPv4 address of its own, from which to advertise");
            let fix = "give this node's own IPv4 address to it, or name the interface that has it in `interface`";
            findings.push(Finding::problem(INTERFACE, text, fix));
        }
    }
    for vip in &config.vips {
        findings.extend(place(vip.address, name, &own));
        findings.extend(prefix(vip.address, vip.prefix_len, name, &host.promotes));
    }
    findings
}

/// The interface's IPv4 addresses that are no VIPs, in the kernel's order: adverts leave from the first.
fn own_addresses(config: &Config, addresses: &[Address], link: u32) -> Vec<Ipv4Net> {
    let own = addresses.iter().filter(|known| known.link == link).filter_map(|known| match known.address {
        IpAddr::V4(address) if config.vips.iter().all(|vip| vip.address != address) => {
            Ipv4Net::new(address, known.prefix_len).ok()
        }
        _ => None,
    });
    own.collect()
}

/// Neighbours only look for the VIP on the segment if it is in the subnet that they have there.
fn place(vip: Ipv4Addr, interface: &str, own: &[Ipv4Net]) -> Option<Finding> {
    if own.is_empty() || own.iter().any(|net| net.contains(&vip)) {
        return None;
    }
    let nets: Vec<_> = own.iter().map(|net| net.trunc().to_string()).collect();
    let text = format!("VIP {vip}: is in no subnet of {interface} ({})", nets.join(", "));
    Some(Finding::warning(
        INTERFACE,
        text,
        "take an address of that subnet, or make sure that the clients' router knows this segment as the way to it",
    ))
}

/// The same condition as the daemon's own refusal to start.
fn prefix(vip: Ipv4Addr, prefix_len: u8, interface: &str, promotes: &io::Result<bool>) -> Option<Finding> {
    if prefix_len == 32 || matches!(promotes, Ok(true)) {
        return None;
    }
    let value = match promotes {
        Ok(_) => "is 0, so the kernel could remove".to_owned(),
        Err(error) => format!("could not be read ({error}); unless it is 1 the kernel could remove"),
    };
    let text = format!(
        "VIP {vip}/{prefix_len}: net.ipv4.conf.{interface}.promote_secondaries {value} this node's own addresses together \
         with the VIP"
    );
    let fix = format!("configure the VIP as {vip} (/32), or set net.ipv4.conf.{interface}.promote_secondaries = 1");
    Some(Finding::problem(INTERFACE, text, fix))
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
    use super::super::report::Level;
    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 155);

    #[test]
    fn a_prefix_needs_promoted_secondaries() {
        assert_eq!(prefix(VIP, 32, "eth0", &Ok(false)), None);
        assert_eq!(prefix(VIP, 24, "eth0", &Ok(true)), None);
        let off = prefix(VIP, 24, "eth0", &Ok(false)).unwrap();
        assert!(off.level == Level::Problem && off.text.contains("promote_secondaries is 0"), "{off:?}");
        let unknown = prefix(VIP, 24, "eth0", &Err(io::ErrorKind::PermissionDenied.into())).unwrap();
        assert!(unknown.text.contains("could not be read (permission denied)"), "{}", unknown.text);
        assert!(!unknown.text.contains("is 0"), "{}", unknown.text);
    }

    #[test]
    fn the_vip_belongs_to_a_subnet_of_the_interface() {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Ipv4Net>>();
        assert_eq!(place(VIP, "eth0", &nets(&["192.168.1.1/24", "10.0.20.11/24"])), None);
        let finding = place(VIP, "eth0", &nets(&["10.0.20.11/25"])).unwrap();
        assert!(finding.text.contains("10.0.20.0/25"), "{}", finding.text);
    }
}

//! What has to be true of this process, of this host and of the configuration before anything starts.

use std::net::IpAddr;

use pgvrrp_config::{Config, Mac, Vip};
use pgvrrp_netlink::{Kernel, Link, promote_secondaries};

use crate::capabilities::Capabilities;
use crate::failure::Failure;
use crate::settings::postgres_settings;

pub(crate) fn check_capabilities(observing: bool) -> Result<(), Failure> {
    let mut missing = Capabilities::own().map_err(Failure::system("cannot read own capabilities"))?.missing();
    // To listen takes the other one.
    missing.retain(|right| !observing || *right != "CAP_NET_ADMIN");
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::Permission(format!(
        "missing {}: run pgvrrp by its systemd unit, which grants exactly these, or as root",
        missing.join(" and ")
    )))
}

/// What a configuration has to be on this host, at start and whenever it is read again.
pub(crate) fn check(config: &Config) -> Result<(), Failure> {
    config.cluster.as_ref().map(postgres_settings).transpose().map_err(Failure::Config)?;
    check_prefixes(config)?;
    check_sizes(config)
}

/// A VIP with a prefix length below 32 may come to be the first address of its subnet. When that goes, by our hand or by
/// the end of its lifetime, the kernel removes the subnet's other addresses with it, unless told otherwise.
fn check_prefixes(config: &Config) -> Result<(), Failure> {
    // The interface of a virtual MAC has no other addresses.
    for vip in config.vips.iter().filter(|vip| vip.mac == Mac::Interface) {
        let Some(net) = vip.addresses.iter().find(|net| net.addr().is_ipv4() && net.prefix_len() < 32) else {
            continue;
        };
        // An interface that does not exist yet has no setting yet; the one for all interfaces decides.
        if promote_secondaries(&vip.interface).unwrap_or(false) {
            continue;
        }
        let interface = &vip.interface;
        return Err(Failure::Config(format!(
            "{net}: with this prefix length the kernel could remove this node's own addresses together with the VIP, \
             because net.ipv4.conf.{interface}.promote_secondaries is 0. Configure the address without a prefix length, \
             which binds it as /32, or set that to 1",
        )));
    }
    Ok(())
}

/// An advertisement is one packet: a list that does not fit into one of the interface's cannot be sent.
fn check_sizes(config: &Config) -> Result<(), Failure> {
    let mut kernel = Kernel::open().map_err(|error| Failure::Permission(error.to_string()))?;
    for vip in &config.vips {
        // One that does not exist yet may come to be large enough.
        let link = kernel.link(&vip.interface).ok().flatten();
        if let Some(text) = link.and_then(|link| too_many(vip, &link)) {
            return Err(Failure::Config(format!("{text}. Divide them between several VIPs")));
        }
    }
    Ok(())
}

/// What is wrong with a VIP that has more addresses than fit into one advertisement on its interface.
pub(crate) fn too_many(vip: &Vip, link: &Link) -> Option<String> {
    // The IP header, the message's, and an address.
    let families = [(IpAddr::is_ipv4 as fn(&IpAddr) -> bool, 20 + 8, 4), (IpAddr::is_ipv6, 40 + 8, 16)];
    families.into_iter().find_map(|(is, headers, each)| {
        let most = (link.mtu as usize).saturating_sub(headers) / each;
        let count = vip.addresses.iter().filter(|net| is(&net.addr())).count();
        let (name, interface, mtu) = (&vip.name, &vip.interface, link.mtu);
        (mtu > 0 && count > most).then(|| {
            format!(
                "VIP {name}: {count} addresses do not fit into one advertisement: {interface} has an MTU of {mtu}, which \
                 is room for {most}"
            )
        })
    })
}

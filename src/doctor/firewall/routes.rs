//! Strict reverse path filtering: what a client sends is dropped if the way back to it leaves by another interface.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::doctor::areas::FIREWALL as AREA;
use crate::doctor::report::Finding;

/// RTF_GATEWAY.
const GATEWAY: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    interface: String,
    net: Ipv4Net,
    metric: u32,
    is_by_gateway: bool,
}

/// `filter` is the larger one of the interface's value and that for all, as the kernel has it; `routes` is
/// `/proc/net/route`, which is the main table. What other tables say is not known here.
pub(super) fn judge(interface: &str, filter: i32, routes: &str) -> Option<Finding> {
    const STRICT: i32 = 1;
    if filter != STRICT {
        return None;
    }
    let routes: Vec<_> = routes.lines().filter_map(route).filter(|route| route.is_by_gateway).collect();
    let default = routes.iter().filter(|route| route.net.prefix_len() == 0).min_by_key(|route| route.metric);
    let fix = format!("net.ipv4.conf.{interface}.rp_filter = 2 (loose) in /etc/sysctl.d and by `sysctl -w`");
    if let Some(Route { interface: other, .. }) = default.filter(|route| route.interface != interface) {
        let text = format!(
            "firewall: rp_filter is strict on {interface}, and the default route leaves by {other}: what clients beyond \
             a router send to {interface} is dropped"
        );
        return Some(Finding::warning(AREA, text, fix));
    }
    let others = routes.iter().filter(|route| route.interface != interface && route.net.prefix_len() > 0);
    let others: Vec<_> = others.map(|route| format!("{} ({})", route.net, route.interface)).collect();
    let first = others.first()?;
    let more = if others.len() > 1 { format!(" and {} more", others.len() - 1) } else { String::new() };
    let text = format!(
        "firewall: rp_filter is strict on {interface}: clients of {first}{more} are not heard if what they send comes in \
         there"
    );
    Some(Finding::hint(AREA, text, fix))
}

fn route(line: &str) -> Option<Route> {
    let words: Vec<_> = line.split_whitespace().collect();
    let &[interface, destination, _, flags, _, _, metric, mask, ..] = words.as_slice() else { return None };
    let address = |word| u32::from_str_radix(word, 16).ok().map(|number| Ipv4Addr::from(number.to_ne_bytes()));
    Some(Route {
        interface: interface.to_owned(),
        net: Ipv4Net::with_netmask(address(destination)?, address(mask)?).ok()?,
        metric: metric.parse().ok()?,
        is_by_gateway: u32::from_str_radix(flags, 16).ok()? & GATEWAY != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Level;

    const HEAD: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    /// Interface, net, mask, flags and metric.
    type Line = (&'static str, [u8; 4], [u8; 4], u32, u32);

    fn table(routes: &[Line]) -> String {
        let lines = routes.iter().map(|(interface, net, mask, flags, metric)| {
            let [net, mask] = [net, mask].map(|bytes| u32::from_ne_bytes(*bytes));
            format!("{interface}\t{net:08X}\t0114000A\t{flags:04X}\t0\t0\t{metric}\t{mask:08X}\t0\t0\t0\n")
        });
        HEAD.to_owned() + &lines.collect::<String>()
    }

    #[test]
    fn only_what_comes_back_elsewhere() {
        let (eth0, eth1) = (("eth0", [0; 4], [0; 4], 3, 100), ("eth1", [0; 4], [0; 4], 3, 50));
        let connected = ("eth1", [10, 0, 30, 0], [255, 255, 255, 0], 1, 0);
        assert_eq!(judge("eth0", 1, &table(&[eth0, connected])), None);
        assert_eq!(judge("eth0", 0, &table(&[eth1])), None);
        assert_eq!(judge("eth0", 2, &table(&[eth1])), None);
        let finding = judge("eth0", 1, &table(&[eth0, eth1])).unwrap();
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.text.contains("the default route leaves by eth1"), "{finding:?}");
        let beyond = ("eth1", [172, 16, 0, 0], [255, 240, 0, 0], 3, 0);
        let finding = judge("eth0", 1, &table(&[eth0, beyond, beyond])).unwrap();
        assert_eq!(finding.level, Level::Note);
        assert!(finding.text.contains("172.16.0.0/12 (eth1) and 1 more"), "{finding:?}");
    }

    #[test]
    fn nonsense_is_no_route() {
        assert_eq!(judge("eth0", 1, "\u{0}\nx y z\neth1 zz 0 3 0 0 0 zz\neth1 0 0 3 0 0 0 00FF00FF 0 0 0"), None);
    }
}

//! What there is to test: the VIPs on the interface that the peer is reached by, and where their advertisements go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use pgvrrp_config::{Config, Vip};

use super::super::areas::PEER as AREA;
use super::super::report::Finding;
use super::ways::{Way, Ways};

/// An interface that carries VIPs.
#[derive(Clone, Debug)]
pub(in super::super) struct Segment {
    pub(in super::super) name: String,
    pub(in super::super) index: u32,
    /// This host's own addresses on it, in the kernel's order. VIPs are none.
    pub(in super::super) own: Vec<IpNet>,
}

/// What is sent, from where and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) peer: IpAddr,
    pub(super) interface: String,
    pub(super) index: u32,
    /// By which address the other doctor has to name this one.
    pub(super) here: IpAddr,
    /// What advertisements are sent from.
    pub(super) source_v4: Option<Ipv4Addr>,
    pub(super) source_v6: Option<Ipv6Addr>,
    /// Where each way leads.
    pub(super) destinations: BTreeMap<Way, BTreeSet<IpAddr>>,
    /// Those by which VRRP's own election goes: two routers are Active without them.
    pub(super) elects: Ways,
    /// The VIPs whose `unicast_peers` have addresses of the peer's family, and not the peer.
    pub(super) forgets: Vec<String>,
}

impl Plan {
    /// Finds the interface by the peer's address.
    ///
    /// # Errors
    /// What is wrong with that address.
    pub(super) fn of(config: &Config, segments: &[Segment], peer: IpAddr) -> Result<Self, Finding> {
        let refuse = |text: String, fix: &str| Err(Finding::problem(AREA, format!("peer {peer}: {text}"), fix));
        if config.vips.iter().any(|vip| vip.addresses.iter().any(|net| net.addr() == peer)) {
            return refuse("is a VIP".to_owned(), "name the other node's own address on that interface");
        }
        if segments.iter().any(|segment| segment.own.iter().any(|net| net.addr() == peer)) {
            return refuse("is this host's own address".to_owned(), "name the other node's; there, name this one");
        }
        let mut found = segments.iter().filter(|segment| segment.own.iter().any(|net| net.contains(&peer)));
        let Some(segment) = found.next() else {
            let nets = segments.iter().flat_map(|segment| {
                segment.own.iter().map(|net| format!("{} on {}", net.trunc(), segment.name)).collect::<Vec<_>>()
            });
            let nets: Vec<_> = nets.collect();
            let nets = if nets.is_empty() { "none".to_owned() } else { nets.join(", ") };
            return refuse(
                format!("is in no subnet of an interface that carries VIPs (there are: {nets})"),
                "name the other node's own address there: VRRP does not pass a router",
            );
        };
        if found.next().is_some() {
            let fix = "name the other node's IPv4 address";
            return refuse("could be on several interfaces that carry VIPs".to_owned(), fix);
        }
        let vips = config.vips.iter().filter(|vip| vip.interface == segment.name);
        let mut plan = Self {
            peer,
            interface: segment.name.clone(),
            index: segment.index,
            here: peer,
            source_v4: None,
            source_v6: None,
            destinations: BTreeMap::new(),
            elects: Ways::default(),
            forgets: Vec::new(),
        };
        for net in &segment.own {
            match net.addr() {
                IpAddr::V4(address) => plan.source_v4 = plan.source_v4.or(Some(address)),
                IpAddr::V6(address) if address.is_unicast_link_local() => {
                    plan.source_v6 = plan.source_v6.or(Some(address));
                }
                IpAddr::V6(_) => {}
            }
        }
        let beside = segment.own.iter().find(|net| net.contains(&peer)).map(IpNet::addr);
        let sender = if peer.is_ipv4() { plan.source_v4.map(IpAddr::from) } else { beside };
        plan.here = sender.or(beside).unwrap_or(peer);
        vips.for_each(|vip| plan.add(vip));
        // As the daemon does: nothing is sent without an address to send it from. That is among what is said of the interface.
        let (is_v4, is_v6) = (plan.source_v4.is_some(), plan.source_v6.is_some());
        plan.destinations.retain(|way, _| if way.is_ipv4() { is_v4 } else { is_v6 });
        Ok(plan)
    }

    fn add(&mut self, vip: &Vip) {
        for is_ipv4 in [true, false] {
            if !vip.addresses.iter().any(|net| net.addr().is_ipv4() == is_ipv4) {
                continue;
            }
            let peers: BTreeSet<_> =
                vip.unicast_peers.iter().copied().filter(|peer| peer.is_ipv4() == is_ipv4).collect();
            let group = if is_ipv4 { Way::GroupV4 } else { Way::GroupV6 };
            let to = if peers.is_empty() { group.group().into_iter().collect() } else { peers };
            if self.peer.is_ipv4() == is_ipv4 && !vip.unicast_peers.is_empty() && !to.contains(&self.peer) {
                self.forgets.push(vip.name.clone());
            }
            for destination in to {
                let way = Way::to(destination);
                self.destinations.entry(way).or_default().insert(destination);
                if !vip.follows.is_primary() {
                    self.elects.insert(way);
                }
            }
        }
    }

    pub(super) fn ways(&self) -> Ways {
        self.destinations.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(vips: &str) -> Config {
        let text = format!("node = \"lb1\"\ninterface = \"eth0\"\n{vips}");
        Config::parse(Path::new("pgvrrp.toml"), &text, Path::new("/")).unwrap()
    }

    fn segment(name: &str, own: &[&str]) -> Segment {
        Segment { name: name.to_owned(), index: 2, own: own.iter().map(|net| net.parse().unwrap()).collect() }
    }

    const MULTICAST: &str = "[[vip]]\nname = \"web\"\naddresses = [\"10.0.20.200\", \"fe80::200\"]\n\
                             virtual_router_id = 51\nfollows = \"none\"\n";

    #[test]
    fn ways_and_addresses() {
        let eth0 = segment("eth0", &["10.0.20.11/24", "fd00::11/64", "fe80::11/64"]);
        let plan = Plan::of(&config(MULTICAST), &[eth0], [10, 0, 20, 12].into()).unwrap();
        assert_eq!(plan.ways(), [Way::GroupV4, Way::GroupV6].into_iter().collect());
        assert_eq!(plan.elects, plan.ways());
        assert_eq!(plan.here, IpAddr::from([10, 0, 20, 11]));
        assert_eq!(plan.source_v6, Some("fe80::11".parse().unwrap()));
        assert_eq!(plan.destinations[&Way::GroupV6], ["ff02::12".parse().unwrap()].into());
    }

    #[test]
    fn unicast_peers_and_who_is_none_of_them() {
        let vips = "[[vip]]\nname = \"web\"\naddress = \"10.0.20.200\"\nvirtual_router_id = 51\nfollows = \"none\"\n\
                    unicast_peers = [\"10.0.20.12\", \"10.0.20.13\"]\n";
        let eth0 = [segment("eth0", &["10.0.20.11/24"])];
        let plan = |last: u8| Plan::of(&config(vips), &eth0, [10, 0, 20, last].into()).unwrap();
        assert_eq!(plan(12).ways(), [Way::PeerV4].into_iter().collect());
        assert_eq!(plan(12).destinations[&Way::PeerV4].len(), 2);
        assert_eq!((plan(12).forgets, plan(14).forgets), (vec![], vec!["web".to_owned()]));
    }

    #[test]
    fn what_is_no_peer() {
        let segments = [segment("eth0", &["10.0.20.11/24", "fe80::11/64"]), segment("eth1", &["fe80::11/64"])];
        let refused = |peer: &str| {
            let finding = Plan::of(&config(MULTICAST), &segments, peer.parse().unwrap()).unwrap_err();
            assert!(finding.fix.is_some());
            finding.text
        };
        assert_eq!(refused("10.0.20.200"), "peer 10.0.20.200: is a VIP");
        assert_eq!(refused("10.0.20.11"), "peer 10.0.20.11: is this host's own address");
        assert!(refused("10.0.30.12").contains("no subnet"), "{}", refused("10.0.30.12"));
        assert!(refused("10.0.30.12").contains("10.0.20.0/24 on eth0"));
        assert!(refused("fe80::12").contains("several interfaces"));
    }
}

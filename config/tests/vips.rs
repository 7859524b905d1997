//! `[[vip]]` in all its forms that are right.

use std::path::Path;
use std::time::Duration;

use pgvrrp_config::{Config, Election, Follows, Vip};
use vrrp::types::Priority;

const CLUSTER: &str = "[patroni]\nscope = \"odoo\"\n[etcd]\nendpoints = [\"http://10.0.20.13:2379\"]\n";

fn parse(text: &str) -> Config {
    let text = format!("node = \"db1\"\ninterface = \"eth0\"\n{text}");
    Config::parse(Path::new("pgvrrp.toml"), &text, Path::new("/"))
        .unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

/// The VIPs of plain VRRP with these lines.
fn plain<const N: usize>(vips: [&str; N]) -> [Vip; N] {
    let text: String = vips.map(|lines| format!("[[vip]]\nfollows = \"none\"\n{lines}\n")).concat();
    let config = parse(&text);
    assert!(!config.follows_primary());
    config.vips.try_into().expect("each is one VIP")
}

fn addresses(vip: &Vip) -> String {
    vip.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn plain_vrrp_needs_no_cluster() {
    let [vip] = plain(["address = \"10.0.20.155\"\nvirtual_router_id = 1"]);
    let election = Election {
        priority: Priority::new(100).unwrap(),
        preempt: true,
        preempt_delay: Duration::ZERO,
        track_interfaces: vec![],
    };
    assert_eq!(vip.follows, Follows::None(election));
    assert!(!vip.follows.is_primary());
    assert_eq!((vip.interface.as_str(), vip.unicast_peers.len()), ("eth0", 0));
}

#[test]
fn every_setting_of_an_election_arrives() {
    let vrid = "virtual_router_id";
    let [first, second] = plain([
        &format!(
            "address = \"10.0.20.155\"\n{vrid} = 1\npriority = 254\npreempt_delay = \"16m 40s\"\n\
             track_interfaces = [\"eth2\", \"eth1\"]"
        ),
        &format!(
            "address = \"10.0.20.156\"\n{vrid} = 2\ninterface = \"eth1\"\npriority = 1\npreempt = false\n\
             track_interfaces = [\"eth0\"]"
        ),
    ]);
    let Follows::None(election) = first.follows else { panic!("{first:?}") };
    assert_eq!((election.priority.get(), election.preempt), (254, true));
    assert_eq!(election.preempt_delay, Duration::from_secs(1000));
    assert_eq!(election.track_interfaces, ["eth2", "eth1"]);
    assert_eq!(second.interface, "eth1");
    let Follows::None(election) = second.follows else { panic!("{:?}", second.follows) };
    assert_eq!((election.priority.get(), election.preempt), (1, false));
    assert_eq!(election.preempt_delay, Duration::ZERO);
    assert_eq!(election.track_interfaces, ["eth0"]);
}

#[test]
fn one_vip_that_follows_the_primary_needs_the_cluster_for_itself() {
    let none = "[[vip]]\nfollows = \"none\"\naddress = \"10.0.20.156\"\nvirtual_router_id = 2\n";
    let primary = "[[vip]]\naddress = \"10.0.20.155\"\nvirtual_router_id = 1\n";
    for vips in [[none, primary], [primary, none]] {
        let config = parse(&format!("fence = \"lock\"\n{CLUSTER}{}", vips.concat()));
        assert!(config.follows_primary());
        assert_eq!(config.vips.iter().filter(|vip| vip.follows.is_primary()).count(), 1);
    }
}

#[test]
fn addresses_keep_their_order() {
    let list = "[\"fe80::200:5eff:fe00:201/64\", \"10.0.20.2/24\", \"FD00:0::155\", \"10.0.20.1\", \"fe80::1\"]";
    let [vip] = plain([&format!("addresses = {list}\nvirtual_router_id = 1")]);
    let expected = "fe80::200:5eff:fe00:201/64 10.0.20.2/24 fd00::155/128 10.0.20.1/32 fe80::1/128";
    assert_eq!(addresses(&vip), expected);
    assert_eq!(vip.name, "fe80::200:5eff:fe00:201");
}

#[test]
fn a_vip_that_follows_the_primary_may_have_all_of_them() {
    let vip = "[[vip]]\naddresses = [\"10.0.20.155\", \"fe80::1\"]\nvirtual_router_id = 1\ninterface = \"eth1\"\n\
               unicast_peers = [\"10.0.20.12\", \"fe80::12\"]\n";
    let config = parse(&format!("{CLUSTER}{vip}"));
    let [vip] = config.vips.as_slice() else { panic!("{:?}", config.vips) };
    assert_eq!(addresses(vip), "10.0.20.155/32 fe80::1/128");
    assert_eq!((vip.interface.as_str(), vip.name.as_str()), ("eth1", "10.0.20.155"));
    assert_eq!(vip.unicast_peers, ["10.0.20.12".parse::<std::net::IpAddr>().unwrap(), "fe80::12".parse().unwrap()]);
}

#[test]
fn ipv6_addresses_at_the_edge_of_what_a_host_can_have() {
    for (address, expected) in [
        ("febf::1", "febf::1/128"),
        ("fe80::", "fe80::/128"),
        ("fe80::1/1", "fe80::1/1"),
        ("fe80::1/128", "fe80::1/128"),
    ] {
        let [vip] = plain([&format!("address = \"{address}\"\nvirtual_router_id = 1")]);
        assert_eq!(addresses(&vip), expected);
    }
}

#[test]
fn as_many_addresses_as_an_advertisement_holds() {
    let list = (1..=255).map(|n| format!("\"10.0.20.{n}\", \"fe80::{n:x}\"")).collect::<Vec<_>>().join(", ");
    let [vip] = plain([&format!("addresses = [{list}]\nvirtual_router_id = 1")]);
    assert_eq!(vip.addresses.len(), 510);
}

/// A virtual router is told from others by its number on one link and in one family.
#[test]
fn one_number_for_several_virtual_routers() {
    let vrid = "virtual_router_id = 7";
    let vips = plain([
        &format!("address = \"10.0.20.1\"\n{vrid}"),
        &format!("address = \"fe80::1\"\n{vrid}"),
        &format!("addresses = [\"10.0.20.2\", \"fe80::2\"]\ninterface = \"eth1\"\n{vrid}"),
    ]);
    assert!(vips.iter().all(|vip| vip.virtual_router_id.get() == 7));
}

#[test]
fn no_peers_are_multicast() {
    let [vip] = plain(["address = \"10.0.20.1\"\nvirtual_router_id = 1\nunicast_peers = []"]);
    assert_eq!(vip.unicast_peers.len(), 0);
}

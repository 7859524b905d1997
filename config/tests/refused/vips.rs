//! What a `[[vip]]` is made of: addresses, interface, number, peers.

use crate::{FILE, RIGHT, one, refuse, with};

const UNICAST: &str = "a VIP is an address that clients can connect to";
const PEER: &str = "a peer is the address that another node has on this network at all times";

/// [`RIGHT`] with these lines in place of its VIP's address. They begin on line 16.
fn vip(lines: &str) -> String {
    RIGHT.replace("address = \"10.0.20.155\"", lines)
}

#[test]
fn ipv6_addresses() {
    let example = "write an IPv4 or IPv6 address, such as \"10.0.20.155\", or with a prefix length \"10.0.20.155/24\"";
    for (address, message, help) in [
        ("fe80::155/0", "the prefix length must be 1 to 128", "without one it is 128"),
        ("fe80::155/129", "the prefix length must be 1 to 128", "without one it is 128"),
        ("fe80::155/ffff::", "the prefix length must be 1 to 128", "without one it is 128"),
        ("::", ":: is the unspecified address", UNICAST),
        ("::1", "::1 is a loopback address", UNICAST),
        ("ff02::12", "ff02::12 is a multicast address", UNICAST),
        ("::ffff:10.0.20.155", "::ffff:10.0.20.155 is an IPv4 address in IPv6's clothes", "write \"10.0.20.155\""),
        (
            "fe80::155%eth0",
            "address is not an IP address",
            "write \"fe80::155\" without %eth0: which interface that is on, `interface` says",
        ),
        ("fe80::1::2", "address is not an IP address", example),
        ("[fe80::155]", "address is not an IP address", example),
    ] {
        one("[[vip]]", &format!("address = «\"{address}\"»"), message, help);
    }
}

#[test]
fn an_ipv6_address_that_is_not_link_local() {
    let message = "the first IPv6 address of a VIP must be link-local";
    one(
        "[[vip]]",
        "address = «\"fd00::155\"»",
        message,
        "write addresses = [\"fe80::200:5eff:fe00:29b\", \"fd00::155\"], on every node",
    );
    one(
        "[[vip]]",
        "address = «\"fd00::155/64\"»",
        message,
        "write addresses = [\"fe80::200:5eff:fe00:29b\", \"fd00::155/64\"], on every node",
    );
    let shown = |lines: &str| refuse(&vip(lines));
    let expected = r#"error: the first IPv6 address of a VIP must be link-local
  --> /etc/pgvrrp/pgvrrp.toml:18:3
   |
18 |   "fd00::155/64",
   |   ^^^^^^^^^^^^^^
   = help: put "fe80::200:5eff:fe00:29b" in front of it, on every node

1 error"#;
    assert_eq!(shown("addresses = [\n  \"10.0.20.155\",\n  \"fd00::155/64\",\n  \"fd00::156\",\n]"), expected);
    // 0xfec0::/10 is not link-local any more than fe7f:: is.
    for address in ["fec0::1", "fe7f::1"] {
        assert!(shown(&format!("addresses = [\"{address}\"]")).contains(message));
    }
    let told = shown("addresses = [\"fd00::155\", \"fe80::7/64\"]");
    assert!(told.ends_with("= help: put \"fe80::7\" in front of it\n\n1 error"), "{told}");
    let told = refuse(&vip("addresses = [\"fd00::1\"]").replace("virtual_router_id = 155", "virtual_router_id = 0"));
    assert!(told.contains("= help: put a link-local one in front of it, the same on every node\n"), "{told}");
    // It is not known what the first one was meant to be.
    let told = shown("addresses = [\"fe80:1\", \"fd00::155\"]");
    assert!(told.starts_with("error: address is not an IP address") && told.ends_with("\n1 error"), "{told}");
}

#[test]
fn one_address_or_a_list() {
    let write = "write addresses = [\"10.0.20.155\", \"10.0.20.156\"]";
    let expected = format!(
        "error: both `address` and `addresses`\n  --> {FILE}:17:1\n   |\n17 | addresses = [\"10.0.20.156\"]\n   | ^^^^^^^^^\n   \
         = note: the other one is on line 16\n   = help: write them all in `addresses`: they move together\n\n1 error"
    );
    let both = ["address = \"10.0.20.155\"", "addresses = [\"10.0.20.156\"]"];
    assert_eq!(refuse(&vip(&both.join("\n"))), expected);
    let shown = refuse(&vip(&format!("{}\n{}", both[1], both[0])));
    assert!(shown.contains("\n17 | address = \"10.0.20.155\"\n   | ^^^^^^^\n"), "{shown}");

    for (line, message) in [
        ("addresses = []", "addresses must not be empty"),
        ("addresses = \"10.0.20.155\"", "addresses must be a list of strings, not a string"),
        ("addresses = [155]", "addresses must be a list of strings, not a whole number"),
    ] {
        let shown = refuse(&vip(line));
        assert!(shown.starts_with(&format!("error: {message}\n")), "{shown}");
        assert!(shown.ends_with(&format!("= help: {write}\n\n1 error")), "{shown}");
    }
    one(
        "[[vip]]",
        "address = «[\"10.0.20.155\"]»",
        "address must be a string, not a list",
        "write address = \"10.0.20.155\", or addresses = [\"10.0.20.155\", \"10.0.20.156\"]",
    );
    let shown = refuse(&RIGHT.replace("address = \"10.0.20.155\"\n", ""));
    assert!(shown.starts_with("error: [[vip]] has no `address`\n"), "{shown}");
    assert!(shown.ends_with("= help: add address = \"10.0.20.155\"\n\n1 error"), "{shown}");
}

#[test]
fn an_address_twice_in_one_vip() {
    let expected = r#"error: address fe80::1 stands here twice
  --> /etc/pgvrrp/pgvrrp.toml:16:40
   |
16 | addresses = ["fe80::1", "10.0.20.155", "FE80:0::1/64"]
   |                                        ^^^^^^^^^^^^^^
   = note: the first one is on line 16
   = help: remove one of them

1 error"#;
    assert_eq!(refuse(&vip("addresses = [\"fe80::1\", \"10.0.20.155\", \"FE80:0::1/64\"]")), expected);
}

#[test]
fn an_ipv6_address_of_two_vips() {
    let second = "[[vip]]\nname = \"b\"\ninterface = \"eth1\"\naddresses = [\n\"10.0.20.155\",\n\"fe80::0:1\",\n]\nvirtual_router_id = 156\n";
    let shown = refuse(&format!("{}{second}", vip("addresses = [\"fe80::1\", \"10.0.20.154\"]")));
    assert!(
        shown.starts_with("error: address fe80::1 is that of another [[vip]]\n  --> /etc/pgvrrp/pgvrrp.toml:23:1\n")
    );
    assert!(shown.contains("= note: the first one is on line 16\n   = help: one address is one VIP\n"), "{shown}");
    assert!(shown.ends_with("\n1 error"), "{shown}");
}

#[test]
fn more_addresses_than_an_advertisement_holds() {
    let list = |range: std::ops::RangeInclusive<u32>, family: &dyn Fn(u32) -> String| {
        range.map(|n| format!("  \"{}\",\n", family(n))).collect::<String>()
    };
    let help = "= help: an advertisement holds no more: put the others into a [[vip]] of their own\n\n1 error";
    let v4 = list(1..=257, &|n| format!("10.0.{}.{}", n / 200, n % 200));
    let shown = refuse(&vip(&format!("addresses = [\n{v4}]")));
    assert!(shown.starts_with("error: more than 255 IPv4 addresses in one [[vip]]\n"), "{shown}");
    assert!(shown.contains(&format!("--> {FILE}:272:3\n")) && shown.ends_with(help), "{shown}");
    let v6 = list(1..=256, &|n| format!("fe80::{n:x}"));
    let shown = refuse(&vip(&format!("addresses = [\n  \"10.0.20.155\",\n{v6}]")));
    assert!(shown.starts_with("error: more than 255 IPv6 addresses in one [[vip]]\n"), "{shown}");
    assert!(shown.contains(&format!("--> {FILE}:273:3\n")) && shown.ends_with(help), "{shown}");
}

/// The same number on the same interface in the same family, however each of them is said.
#[test]
fn a_number_of_two_virtual_routers() {
    for (first, second) in [
        ("addresses = [\"10.0.20.155\"]", "address = \"10.0.20.156\""),
        ("address = \"10.0.20.155\"", "interface = \"eth0\"\naddress = \"10.0.20.156\""),
        ("addresses = [\"10.0.20.155\", \"fe80::1\"]", "address = \"fe80::2\""),
        ("address = \"fe80::2\"", "addresses = [\"10.0.20.155\", \"fe80::1\"]"),
        ("address = \"10.0.20.155\"", "addresses = [\"10.0.20.156\", \"fe80::1\"]"),
        ("interface = \"eth1\"\naddress = \"fe80::2\"", "interface = \"eth1\"\naddress = \"fe80::3\""),
        // What is wrong with the addresses does not hide it.
        ("address = \"10.0.20.155\"", "addresses = [\"10.0.20\", \"10.0.20.156\"]"),
    ] {
        let shown = refuse(&format!("{}[[vip]]\n{second}\nvirtual_router_id = 155\n", vip(first)));
        assert!(shown.contains("error: virtual_router_id 155 is that of another [[vip]]\n"), "{second}: {shown}");
        let help = "= help: each VIP is a virtual router of its own and needs its own number on its interface\n";
        assert!(shown.contains(help), "{shown}");
    }
}

#[test]
fn the_name_that_a_vip_has_without_one() {
    let first = vip("address = \"10.0.20.155\"\nname = \"fe80::1\"");
    let second = "[[vip]]\naddresses = [\"fe80::1\", \"10.0.20.156\"]\nvirtual_router_id = 156\n";
    let shown = refuse(&format!("{first}{second}"));
    assert!(
        shown.starts_with("error: name is that of another [[vip]]\n  --> /etc/pgvrrp/pgvrrp.toml:20:14\n"),
        "{shown}"
    );
}

/// That it is another's name too is the same mistake.
#[test]
fn an_address_of_two_vips_that_have_no_other_name() {
    let shown = refuse(&format!("{RIGHT}[[vip]]\naddress = \"10.0.20.155\"\nvirtual_router_id = 156\n"));
    assert!(shown.starts_with("error: address 10.0.20.155 is that of another [[vip]]\n"), "{shown}");
    assert!(shown.ends_with("\n1 error"), "{shown}");
}

#[test]
fn the_interface_of_a_vip() {
    let link = "`ip -brief link` lists the names";
    one("[[vip]]", "interface = «\"\"»", "interface must not be empty", link);
    one("[[vip]]", "interface = «\"eth0:1\"»", "interface must not contain a slash or a colon", link);
    one("[[vip]]", "interface = «0»", "interface must be a string, not a whole number", "write interface = \"eth0\"");
    // One mistake at the top is one mistake, and no reason to compare numbers.
    let second = "[[vip]]\naddress = \"10.0.20.156\"\ninterface = \"..\"\nvirtual_router_id = 155\n";
    let shown = refuse(&format!("{}{second}", RIGHT.replace("eth0", "eth 0")));
    assert!(shown.ends_with("\n2 errors"), "{shown}");
    let second = second.replace("interface = \"..\"", "iface = \"eth1\"");
    let shown = refuse(&format!("{RIGHT}{second}"));
    assert!(shown.starts_with("error: unknown key `iface`") && shown.ends_with("\n1 error"), "{shown}");
}

#[test]
fn unicast_peers() {
    for (peer, message, help) in [
        ("10.0.20.12/24", "a peer has no prefix length", "write \"10.0.20.12\""),
        ("db2/24", "a peer has no prefix length", PEER),
        ("db2", "a peer must be an IP address", PEER),
        ("", "a peer must be an IP address", PEER),
        (
            "fe80::2%eth0",
            "a peer must be an IP address",
            "write \"fe80::2\" without %eth0: which interface that is on, `interface` says",
        ),
        ("224.0.0.18", "224.0.0.18 is a multicast address", PEER),
        ("127.0.0.1", "127.0.0.1 is a loopback address", PEER),
        ("255.255.255.255", "255.255.255.255 is the broadcast address", PEER),
        ("ff02::12", "ff02::12 is a multicast address", PEER),
        ("::", ":: is the unspecified address", PEER),
        ("::ffff:10.0.20.12", "::ffff:10.0.20.12 is an IPv4 address in IPv6's clothes", "write \"10.0.20.12\""),
    ] {
        one("[[vip]]", &format!("unicast_peers = [\"10.0.20.11\", «\"{peer}\"»]"), message, help);
    }
    one(
        "[[vip]]",
        "unicast_peers = «\"10.0.20.12\"»",
        "unicast_peers must be a list of strings, not a string",
        "write unicast_peers = [\"10.0.20.12\"]",
    );
    one(
        "[[vip]]",
        "unicast_peers = [\"10.0.20.12\", «\"fe80::2\"»]",
        "an IPv6 peer, and this [[vip]] has no IPv6 address",
        "remove it: what it would be sent is about addresses of its own family",
    );
}

#[test]
fn a_family_without_a_peer() {
    let help = |family: &str| {
        format!(
            "= help: add the {family} address of each other node, or remove unicast_peers: advertisements are multicast \
             without it"
        )
    };
    let both = "addresses = [\"10.0.20.155\", \"fe80::1\"]";
    for (peer, family) in [("10.0.20.12", "IPv6"), ("fe80::2", "IPv4")] {
        let list = format!("[\"{peer}\"]");
        let line = format!("unicast_peers = {list}");
        let expected = format!(
            "error: unicast_peers has no {family} peer, and this [[vip]] has {family} addresses\n  --> {FILE}:17:17\n   \
             |\n17 | {line}\n   |                 {}\n   {}\n\n1 error",
            "^".repeat(list.len()),
            help(family),
        );
        assert_eq!(refuse(&vip(&format!("{both}\n{line}"))), expected);
    }
    // An address that is not understood may be of any family.
    let shown = refuse(&vip("addresses = [\"10.0.20.155\", \"fe80:1\"]\nunicast_peers = [\"fe80::2\"]"));
    assert!(shown.ends_with("\n1 error"), "{shown}");
}

#[test]
fn a_peer_named_twice() {
    let expected = r#"error: the same peer twice
  --> /etc/pgvrrp/pgvrrp.toml:17:28
   |
17 | unicast_peers = ["fe80::2","fe80:0::2"]
   |                            ^^^^^^^^^^^
   = note: the first one is on line 17
   = help: name each peer once

1 error"#;
    assert_eq!(refuse(&vip("address = \"fe80::1\"\nunicast_peers = [\"fe80::2\",\"fe80:0::2\"]")), expected);
}

#[test]
fn a_peer_that_is_a_vip() {
    let own = "address = \"10.0.20.155\"\nunicast_peers = [\"10.0.20.155\"]";
    let expected = format!(
        "error: peer 10.0.20.155 is the address of a [[vip]]\n  --> {FILE}:17:18\n   |\n17 | unicast_peers = \
         [\"10.0.20.155\"]\n   |                  ^^^^^^^^^^^^^\n   = note: that one is on line 16\n   = help: {PEER}\n\n\
         1 error"
    );
    assert_eq!(refuse(&vip(own)), expected);
    let later = "[[vip]]\naddress = \"10.0.20.156\"\nvirtual_router_id = 156\n";
    let shown = refuse(&format!("{}{later}", vip(&own.replace("[\"10.0.20.155\"]", "[\"10.0.20.156\"]"))));
    assert!(shown.starts_with("error: peer 10.0.20.156 is the address of a [[vip]]\n"), "{shown}");
    assert!(shown.contains("= note: that one is on line 20\n") && shown.ends_with("\n1 error"), "{shown}");
}

/// What people know from other programs.
#[test]
fn words_from_elsewhere() {
    for (line, help) in [
        (
            "«virtual_ipaddress_excluded» = []",
            "write addresses = [\"10.0.20.155\", \"10.0.20.156\"], or `address` for a single one",
        ),
        ("«nopreempt» = true", "write preempt = false"),
        ("«advert_int» = 1", "did you mean `advertisement_interval`?"),
        ("«unicast_peer» = []", "write unicast_peers = [\"10.0.20.12\"]"),
        ("«track_interface» = []", "write track_interfaces = [\"eth1\"]"),
        ("«track_script» = []", "remove it: `track_interfaces` is all that is tracked"),
        (
            "«state» = \"MASTER\"",
            "remove it: `priority` decides with follows = \"none\", and etcd with follows = \"primary\"",
        ),
        (
            "«unicast_src_ip» = \"10.0.20.11\"",
            "remove it: advertisements come from the address that the interface has itself",
        ),
        ("«version» = 3", "remove it: it is always 3"),
        ("«accept» = true", "remove it: the holder always accepts what is sent to the VIP"),
        ("«use_vmac» = true", "write mac = \"virtual\""),
        ("«dev» = \"eth0\"", "did you mean `interface`?"),
    ] {
        let key = line.split(['«', '»']).nth(1).unwrap();
        one("[[vip]]", line, &format!("unknown key `{key}` in [[vip]]"), help);
    }
    let shown = refuse(&with("[[vip]]", "auth_pass = \"hunter2\"").0);
    assert!(shown.contains("= help: remove it: VRRPv3 has no authentication\n"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_virtual_mac_is_that_of_one_family() {
    let shown = refuse(&vip("addresses = [\"10.0.20.155\", \"fe80::155\"]\nmac = \"virtual\""));
    let expected = r#"error: mac = "virtual" with both IPv4 and IPv6 addresses
  --> /etc/pgvrrp/pgvrrp.toml:17:7
   |
17 | mac = "virtual"
   |       ^^^^^^^^^
   = help: make one [[vip]] for each family: their virtual MAC addresses differ

1 error"#;
    assert_eq!(shown, expected);
}

#[test]
fn a_virtual_mac_needs_multicast() {
    let shown = refuse(&vip("address = \"10.0.20.155\"\nmac = \"virtual\"\nunicast_peers = [\"10.0.20.12\"]"));
    assert!(shown.starts_with("error: mac = \"virtual\" with `unicast_peers`\n"), "{shown}");
    assert!(shown.contains("a network without multicast does not let a second MAC address through either"), "{shown}");
}

/// But for a link-local address, whose route is one for each interface.
#[test]
fn a_virtual_mac_brings_no_second_route() {
    let shown = refuse(&vip("address = \"10.0.20.155/24\"\nmac = \"virtual\""));
    assert!(shown.starts_with("error: a prefix length with mac = \"virtual\": 10.0.20.155/24\n"), "{shown}");
    assert!(shown.contains("= help: write \"10.0.20.155\": the VIP would bring a second route"), "{shown}");
    let shown = refuse(&vip("addresses = [\"fe80::155/64\", \"fd00::155/64\"]\nmac = \"virtual\""));
    assert!(shown.starts_with("error: a prefix length with mac = \"virtual\": fd00::155/64\n"), "{shown}");
}

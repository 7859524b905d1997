//! A VIP in the network's own configuration: whoever reads that binds it on this node at every boot, asked or not, and on
//! every node that was set up alike.

use std::net::IpAddr;

use super::super::areas::MANAGERS as AREA;
use super::super::report::Finding;
use super::ini::assignments;
use super::networkd;
use super::tree::Tree;

/// An address in a file: the line, from 1, and the word that may be one.
type Word<'a> = (usize, &'a str);

/// Every file of the host that sets addresses, with how to read it.
pub(super) fn judge(tree: &Tree, vips: &[IpAddr]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut look = |paths: Vec<String>, read: fn(&str) -> Vec<Word<'_>>| {
        for path in paths {
            let text = tree.read(&path).unwrap_or_default();
            let found = read(&text).into_iter().find_map(|(line, word)| Some((line, vip(word, vips)?)));
            findings.extend(found.map(|(line, vip)| bound_at_boot(&path, line, vip)));
        }
    };
    for dir in networkd::DIRS {
        look(tree.list(dir, |name| name.ends_with(".network")), networkd_words);
        for dropins in tree.list(dir, |name| name.ends_with(".network.d")) {
            look(tree.list(&dropins, |name| name.ends_with(".conf")), networkd_words);
        }
    }
    for dir in ["/etc", "/run", "/usr/lib"] {
        let dir = format!("{dir}/NetworkManager/system-connections");
        look(tree.list(&dir, |name| !name.starts_with('.')), network_manager_words);
    }
    for dir in ["/etc/sysconfig/network-scripts", "/etc/sysconfig/network"] {
        look(tree.list(dir, |name| name.starts_with("ifcfg-")), ifcfg_words);
    }
    look(vec!["/etc/network/interfaces".to_owned()], ifupdown_words);
    look(tree.list("/etc/network/interfaces.d", |name| !name.starts_with('.')), ifupdown_words);
    for dir in ["/etc/netplan", "/run/netplan", "/usr/lib/netplan"] {
        look(tree.list(dir, |name| name.ends_with(".yaml")), netplan_words);
    }
    findings
}

fn bound_at_boot(path: &str, line: usize, vip: IpAddr) -> Finding {
    let text = format!(
        "{path}, line {line}: sets VIP {vip}, at every boot and whoever holds it: until pgvrrp runs here and removes it, two nodes \
         may have it"
    );
    let fix = "take it out of there, on every node: pgvrrp alone binds it";
    Finding::problem(AREA, text, fix)
}

/// The VIP that a word is, whatever its prefix length and spelling.
fn vip(word: &str, vips: &[IpAddr]) -> Option<IpAddr> {
    let address = word.trim_matches(['"', '\'']).split('/').next()?;
    let address = address.parse::<IpAddr>().ok()?;
    vips.contains(&address).then_some(address)
}

fn networkd_words(text: &str) -> Vec<Word<'_>> {
    let addresses = assignments(text).filter(|a| matches!(a.section, "Network" | "Address") && a.key == "Address");
    addresses.map(|a| (a.line, a.value)).collect()
}

/// `address1=10.0.20.11/24,10.0.20.1`: what follows the comma is a gateway. Several are separated by semicolons.
fn network_manager_words(text: &str) -> Vec<Word<'_>> {
    let is = |a: &super::ini::Assignment<'_>| matches!(a.section, "ipv4" | "ipv6") && a.key.starts_with("address");
    let lines = assignments(text).filter(is);
    let lists = lines.flat_map(|a| a.value.split(';').map(move |address| (a.line, address)));
    lists.filter_map(|(line, address)| Some((line, address.split(',').next()?.trim()))).collect()
}

/// `IPADDR=`, `IPADDR1=`, `IPV6ADDR=`, and a list in quotes in `IPV6ADDR_SECONDARIES=`.
fn ifcfg_words(text: &str) -> Vec<Word<'_>> {
    let is = |a: &super::ini::Assignment<'_>| a.key.starts_with("IPADDR") || a.key.starts_with("IPV6ADDR");
    let lists = assignments(text).filter(is).map(|a| (a.line, a.value));
    lists.flat_map(|(line, list)| list.split_whitespace().map(move |word| (line, word))).collect()
}

/// `address 10.0.20.11/24`, and commands such as `up ip addr add 10.0.20.155/24 dev eth0`.
fn ifupdown_words(text: &str) -> Vec<Word<'_>> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|(number, line)| {
        let words: Vec<_> = line.split_whitespace().collect();
        let sets = |pair: &[&str]| matches!(pair[0], "address" | "add" | "replace" | "change");
        let adds_route = words.iter().any(|word| matches!(*word, "route" | "r" | "rule" | "neigh"));
        let found: Vec<_> =
            words.windows(2).filter(|pair| !adds_route && sets(pair)).map(|pair| (number, pair[1])).collect();
        found
    });
    words.collect()
}

/// An interface's addresses have a prefix length, which those of gateways and name servers have not; routes and rules name
/// theirs behind `to:` and `from:`.
fn netplan_words(text: &str) -> Vec<Word<'_>> {
    let lines = (1..).zip(text.lines()).filter_map(|(number, line)| Some((number, line.split('#').next()?)));
    let lines = lines.filter(|(_, line)| !["to:", "from:"].iter().any(|key| line.contains(key)));
    let words = lines.flat_map(|(number, line)| {
        line.split([' ', '\t', ',', '[', ']', '{', '}']).map(move |word| (number, word.trim_end_matches(':')))
    });
    words.filter(|(_, word)| word.contains('/')).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    fn vips() -> [IpAddr; 2] {
        [[10, 0, 20, 155].into(), "fd00::155".parse().unwrap()]
    }

    /// Path and line of what is found in one file.
    fn found(path: &str, text: &str) -> Vec<String> {
        let dir = tree(&[(path, text)]);
        let findings = judge(&Tree::new(dir.path()), &vips());
        assert!(findings.iter().all(|finding| finding.fix.is_some()));
        findings.iter().filter_map(|finding| Some(finding.text.split_once(": sets")?.0.to_owned())).collect()
    }

    #[test]
    fn each_kind_of_file() {
        let files = [
            ("etc/systemd/network/eth0.network", "[Network]\nAddress=10.0.20.11/24\nAddress=10.0.20.155/24\n", 3),
            ("usr/lib/systemd/network/a.network.d/vip.conf", "[Address]\nAddress=fd00:0::155/64\n", 2),
            (
                "etc/NetworkManager/system-connections/eth0.nmconnection",
                "[ipv4]\naddress2=10.0.20.155/24,10.0.20.1\n",
                2,
            ),
            ("run/NetworkManager/system-connections/netplan-eth0", "[ipv6]\naddresses=fd00::1/64;fd00::155/64;\n", 2),
            ("etc/sysconfig/network-scripts/ifcfg-eth0", "IPADDR=10.0.20.11\nIPADDR1=\"10.0.20.155\"\n", 2),
            ("etc/sysconfig/network-scripts/ifcfg-eth0", "IPV6ADDR_SECONDARIES=\"fd00::2/64 fd00::155/64\"\n", 1),
            ("etc/network/interfaces", "iface eth0 inet static\n  address 10.0.20.155/24\n", 2),
            ("etc/network/interfaces.d/vip", "up ip addr add 10.0.20.155/32 dev eth0\n", 1),
            (
                "etc/netplan/50-cloud-init.yaml",
                "network:\n ethernets:\n  eth0:\n   addresses:\n   - 10.0.20.155/24\n",
                5,
            ),
            ("etc/netplan/a.yaml", "eth0: {addresses: [10.0.20.11/24, \"fd00::155/64\"]}\n", 1),
        ];
        for (path, text, line) in files {
            assert_eq!(found(path, text), [format!("/{path}, line {line}")], "{text}");
        }
    }

    #[test]
    fn what_only_mentions_it() {
        let files = [
            (
                "etc/systemd/network/eth0.network",
                "[Network]\n#Address=10.0.20.155/24\nGateway=10.0.20.155\nDNS=10.0.20.155\n",
            ),
            (
                "etc/systemd/network/eth0.network",
                "[Route]\nDestination=10.0.20.155/32\n[Network]\nAddress=10.0.20.15/24\n",
            ),
            ("etc/systemd/network/eth0.netdev", "[Network]\nAddress=10.0.20.155/24\n"),
            (
                "etc/NetworkManager/system-connections/eth0",
                "[ipv4]\naddress1=10.0.20.11/24,10.0.20.155\ndns=10.0.20.155;\n",
            ),
            ("etc/sysconfig/network-scripts/ifcfg-eth0", "GATEWAY=10.0.20.155\n"),
            (
                "etc/network/interfaces",
                "  gateway 10.0.20.155\n  up ip route add 10.0.20.155 dev eth1\n # address 10.0.20.155\n",
            ),
            (
                "etc/netplan/a.yaml",
                "- to: 10.0.20.155/32\n  via: 10.0.20.155\ngateway4: 10.0.20.155 # 10.0.20.155/24\n",
            ),
        ];
        for (path, text) in files {
            assert_eq!(found(path, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn nonsense_is_read_to_its_end() {
        let nonsense =
            "address\nadd\n[=\n]\n====\n/////\n\u{0}\u{1b}[2Jaddress \u{ffff}\nAddress=////\naddress1=,;;,\n\t- :/\n";
        for path in ["etc/network/interfaces", "etc/netplan/a.yaml", "etc/systemd/network/a.network"] {
            assert_eq!(found(path, nonsense), [""; 0]);
        }
    }
}

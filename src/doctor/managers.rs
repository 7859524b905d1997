//! Who else on this host has an opinion about the addresses of a VIP's interface: what configures the network at boot, and
//! other programs that move VIPs. Files are read, nothing is run and nobody is asked.

mod fixed;
mod ini;
mod network_manager;
mod networkd;
mod rivals;
mod tree;

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use pgvrrp_config::Config;

use super::areas::MANAGERS as AREA;
use super::peer::Segment;
use super::report::Finding;
pub(super) use rivals::Ours;
use tree::Tree;

/// Reads what is below `root`, and judges it.
pub(super) fn judge(config: &Config, segments: &[Segment], root: &Path, ours: Ours) -> Vec<Finding> {
    let tree = Tree::new(root);
    let vips: Vec<_> = config.vips.iter().flat_map(|vip| vip.addresses.iter().map(IpNet::addr)).collect();
    let mut findings = fixed::judge(&tree, &vips);
    findings.extend(rivals::judge(&tree, &vips, ours));
    for segment in segments {
        let on_it = config.vips.iter().filter(|vip| vip.interface == segment.name);
        let mut addresses = on_it.flat_map(|vip| vip.addresses.iter().map(IpNet::addr));
        // Others are never removed by either.
        if addresses.any(|address| !is_link_local(address)) {
            findings.extend(networkd::judge(&tree, segment));
            findings.extend(network_manager::judge(&tree, segment));
        }
    }
    if findings.is_empty() && is_container(&tree) {
        let text = "whether something else sets the VIP's addresses: not to be seen from inside a container";
        findings.push(Finding::hint(AREA, text, "run `pgvrrp doctor` on the host as well, as root"));
    } else if findings.is_empty() {
        findings.push(Finding::ok(AREA, "nothing else was seen on this host that sets or removes the VIP's addresses"));
    }
    // As another user there is always something, of which each is like the others.
    if let [first, rest @ ..] = tree.denied().as_slice() {
        let others = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        let text = format!("whether something else sets the VIP's addresses: this user may not read {first}{others}");
        findings.push(Finding::hint(AREA, text, "run this as root as well"));
    }
    findings
}

/// Whether these files are not the host's: engines leave a mark, and where they do not, the daemon is process 1.
fn is_container(tree: &Tree) -> bool {
    let first = tree.read("/proc/1/comm");
    tree.has("/run/.containerenv") || tree.has("/.dockerenv") || first.is_some_and(|name| name.trim_end() == "pgvrrp")
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::report::Level;
    use super::*;

    /// A root directory with these files.
    pub(super) fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    pub(super) fn segment() -> Segment {
        Segment { name: "eth0".to_owned(), index: 2, own: vec!["10.0.20.11/24".parse().unwrap()] }
    }

    fn found(root: &Path, addresses: &str) -> Vec<(Level, String)> {
        let text = format!(
            "node = \"lb1\"\ninterface = \"eth0\"\n[[vip]]\nname = \"web\"\naddresses = {addresses}\nvirtual_router_id = 51\n\
             follows = \"none\"\n"
        );
        let config = Config::parse(Path::new("pgvrrp.toml"), &text, Path::new("/")).unwrap();
        let findings = judge(&config, &[segment()], root, Ours::Looks);
        findings.into_iter().map(|finding| (finding.level, finding.text)).collect()
    }

    #[test]
    fn a_host_with_everything_and_one_with_nothing() {
        let dir = tree(&[
            ("etc/netplan/50-cloud-init.yaml", "eth0:\n  addresses: [10.0.20.11/24, 10.0.20.155/24]\n"),
            ("etc/keepalived/keepalived.conf", "virtual_ipaddress {\n10.0.20.155\n}\n"),
            ("proc/12/comm", "keepalived\n"),
            ("run/systemd/netif/links/2", "ADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/a.network\n"),
            ("run/NetworkManager/devices/2", "[device]\nmanaged=true\n"),
        ]);
        let levels: Vec<_> = found(dir.path(), "[\"10.0.20.155\"]").into_iter().map(|(level, _)| level).collect();
        assert_eq!(levels, [Level::Problem, Level::Warning, Level::Warning, Level::Note]);
        // A link-local VIP is left alone by them.
        let [(level, _)] = found(dir.path(), "[\"fe80::155\"]").try_into().unwrap();
        assert_eq!(level, Level::Ok);
        let [(level, text)] = found(tree(&[]).path(), "[\"10.0.20.155\"]").try_into().unwrap();
        assert!(level == Level::Ok && text.starts_with("nothing else was seen"), "{text}");
    }

    #[test]
    fn from_inside_a_container_nothing_is_known_of_the_host() {
        for (mark, text) in [("run/.containerenv", ""), (".dockerenv", ""), ("proc/1/comm", "pgvrrp\n")] {
            let [(level, text)] = found(tree(&[(mark, text)]).path(), "[\"10.0.20.155\"]").try_into().unwrap();
            assert!(level == Level::Note && text.contains("inside a container"), "{mark}: {text}");
        }
        let [(level, _)] = found(tree(&[("proc/1/comm", "systemd\n")]).path(), "[\"10.0.20.155\"]").try_into().unwrap();
        assert_eq!(level, Level::Ok);
    }

    #[test]
    fn what_is_no_file_and_what_is_too_long() {
        let dir = tree(&[("etc/netplan/b.yaml", &format!("{}\n- 10.0.20.155/24\n", "#".repeat(300 << 10)))]);
        nix::unistd::mkfifo(&dir.path().join("etc/netplan/a.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir(dir.path().join("etc/netplan/c.yaml")).unwrap();
        let [(level, _)] = found(dir.path(), "[\"10.0.20.155\"]").try_into().unwrap();
        assert_eq!(level, Level::Ok, "neither waited for nor read to its end");
    }
}

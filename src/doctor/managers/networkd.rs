//! systemd-networkd. When it configures an interface it removes addresses that it did not set, unless it is told to keep them.
//! It tells apart by their lifetimes: those that have none are *static* to it, the others *dynamic* (`dhcp`, by its older
//! word). The kernel removes a VIP that is not renewed, so a VIP is dynamic, and `KeepConfiguration=static` does not keep it.
//! IPv6's link-local addresses it leaves alone.

use std::collections::BTreeMap;

use super::super::areas::MANAGERS as AREA;
use super::super::peer::Segment;
use super::super::report::Finding;
use super::ini::assignments;
use super::tree::Tree;

/// Where its configuration is, the first being the last word.
pub(super) const DIRS: [&str; 5] = [
    "/etc/systemd/network",
    "/run/systemd/network",
    "/usr/local/lib/systemd/network",
    "/usr/lib/systemd/network",
    "/lib/systemd/network",
];

/// What a setting means for the VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    Everything,
    StaticOnly,
    Nothing,
}

pub(super) fn judge(tree: &Tree, segment: &Segment) -> Option<Finding> {
    let (name, state) = (&segment.name, tree.read(&format!("/run/systemd/netif/links/{}", segment.index))?);
    let file = network_file(&state)?;
    let mut said = None;
    for path in [vec![file.to_owned()], dropins(tree, file)].concat() {
        said = settle(&tree.read(&path).unwrap_or_default()).or(said);
    }
    // Newer versions have a default for all interfaces.
    let of_all = || settle(&tree.read("/etc/systemd/networkd.conf").unwrap_or_default());
    let (keeps, word) =
        said.or_else(of_all).unwrap_or_else(|| (Keeps::Nothing, "KeepConfiguration= is not set".to_owned()));
    let what = format!("{name}: systemd-networkd manages it by {file}");
    let why = match keeps {
        Keeps::Everything => return Some(Finding::ok(AREA, format!("{what}, and leaves the VIP alone ({word})"))),
        Keeps::StaticOnly => format!("{word} keeps addresses without a lifetime alone, and a VIP has one"),
        Keeps::Nothing => word,
    };
    let text = format!(
        "{what}, and removes the VIP for a moment when it configures it anew, as when it is restarted by an upgrade: {why}"
    );
    let base = file.rsplit('/').next().unwrap_or(file);
    let fix = format!(
        "`KeepConfiguration=yes` below `[Network]` in /etc/systemd/network/{base}.d/pgvrrp.conf (before systemd 243 \
         `CriticalConnection=yes` below `[DHCP]`), then `networkctl reload`"
    );
    Some(Finding::warning(AREA, text, fix))
}

/// Of an interface that it manages, by its own record of it.
fn network_file(state: &str) -> Option<&str> {
    let value = |key: &str| state.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let managed = !matches!(value("ADMIN_STATE"), None | Some("unmanaged"));
    value("NETWORK_FILE").filter(|file| managed && file.starts_with('/'))
}

/// Files beside it, in the order in which they are read: by name, and of one name only that of the first directory.
fn dropins(tree: &Tree, file: &str) -> Vec<String> {
    let base = file.rsplit('/').next().unwrap_or(file);
    let mut by_name = BTreeMap::new();
    for dir in DIRS {
        for path in tree.list(&format!("{dir}/{base}.d"), |name| name.ends_with(".conf")) {
            by_name.entry(path.rsplit('/').next().unwrap_or_default().to_owned()).or_insert(path);
        }
    }
    by_name.into_values().collect()
}

/// The last word of a file, if it says anything, and by what.
fn settle(text: &str) -> Option<(Keeps, String)> {
    let settings = assignments(text).filter_map(|a| {
        let is_true = ["1", "yes", "y", "true", "t", "on"].contains(&a.value.to_ascii_lowercase().as_str());
        let keeps = match (a.section, a.key) {
            // What it became in version 243 keeps as much.
            ("DHCP" | "DHCPv4", "CriticalConnection") if is_true => Keeps::Everything,
            ("Network", "KeepConfiguration") => match a.value {
                "dynamic" | "dhcp" => Keeps::Everything,
                "static" => Keeps::StaticOnly,
                _ if is_true => Keeps::Everything,
                _ => Keeps::Nothing,
            },
            _ => return None,
        };
        Some((keeps, format!("{}={}", a.key, a.value)))
    });
    settings.last()
}

#[cfg(test)]
mod tests {
    use super::super::super::report::Level;
    use super::super::tests::{segment, tree};
    use super::*;

    const STATE: &str = "# This is private data. Do not parse.\nADMIN_STATE=configured\nOPER_STATE=routable\n\
                         NETWORK_FILE=/run/systemd/network/10-netplan-eth0.network\n";

    fn found(files: &[(&str, &str)]) -> Option<Finding> {
        let dir = tree(files);
        judge(&Tree::new(dir.path()), &segment())
    }

    #[test]
    fn what_keeps_an_address_with_a_lifetime() {
        let keeps = |text: &str| settle(text).map(|(keeps, _)| keeps);
        for word in ["yes", "true", "on", "1", "dynamic", "dhcp"] {
            assert_eq!(keeps(&format!("[Network]\nKeepConfiguration={word}\n")), Some(Keeps::Everything), "{word}");
        }
        assert_eq!(keeps("[Network]\nKeepConfiguration=static\n"), Some(Keeps::StaticOnly));
        for word in ["no", "dhcp-on-stop", "dynamic-on-stop", "", "nonsense"] {
            assert_eq!(keeps(&format!("[Network]\nKeepConfiguration={word}\n")), Some(Keeps::Nothing), "{word}");
        }
        assert_eq!(keeps("[DHCP]\nCriticalConnection=true\n"), Some(Keeps::Everything));
        assert_eq!(keeps("[Link]\nKeepConfiguration=yes\n[Network]\n#KeepConfiguration=yes\n"), None);
    }

    #[test]
    fn by_its_own_record_and_the_files_that_it_names() {
        let record = ("run/systemd/netif/links/2", STATE);
        let network = ("run/systemd/network/10-netplan-eth0.network", "[Network]\nAddress=10.0.20.11/24\n");
        let warning = found(&[record, network]).unwrap();
        assert_eq!(warning.level, Level::Warning);
        assert!(warning.text.ends_with("KeepConfiguration= is not set"), "{}", warning.text);
        assert!(warning.fix.unwrap().contains("/etc/systemd/network/10-netplan-eth0.network.d/pgvrrp.conf"));

        let dropin = "etc/systemd/network/10-netplan-eth0.network.d/pgvrrp.conf";
        let kept = found(&[record, network, (dropin, "[Network]\nKeepConfiguration=yes\n")]).unwrap();
        assert_eq!(kept.level, Level::Ok, "{}", kept.text);
        let half = found(&[record, network, (dropin, "[Network]\nKeepConfiguration=static\n")]).unwrap();
        assert!(half.level == Level::Warning && half.text.contains("a VIP has one"), "{}", half.text);
        // A file of the same name in a directory that counts less is not read.
        let masked = "usr/lib/systemd/network/10-netplan-eth0.network.d/pgvrrp.conf";
        let masked = found(&[record, network, (dropin, ""), (masked, "[Network]\nKeepConfiguration=yes\n")]).unwrap();
        assert_eq!(masked.level, Level::Warning);
        let of_all = ("etc/systemd/networkd.conf", "[Network]\nKeepConfiguration=yes\n");
        assert_eq!(found(&[record, network, of_all]).unwrap().level, Level::Ok);
    }

    #[test]
    fn interfaces_that_are_not_its_business() {
        assert_eq!(found(&[]), None);
        for state in ["", "ADMIN_STATE=unmanaged\nNETWORK_FILE=/x.network\n", "ADMIN_STATE=configured\n", "\0\u{1b}[="]
        {
            assert_eq!(found(&[("run/systemd/netif/links/2", state)]), None, "{state:?}");
        }
    }
}

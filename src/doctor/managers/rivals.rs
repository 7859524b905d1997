//! Other programs of this host that move addresses about, and have the same VIP in their configuration.

use std::net::IpAddr;

use super::super::areas::MANAGERS as AREA;
use super::super::report::Finding;
use super::tree::Tree;

/// One of them.
struct Rival {
    name: &'static str,
    /// Its unit, without `.service`; its process is called so, too.
    unit: &'static str,
    /// Directories whose `.conf` files it reads.
    dirs: &'static [&'static str],
    files: &'static [&'static str],
}

const RIVALS: [Rival; 2] = [
    Rival { name: "Keepalived", unit: "keepalived", dirs: &["/etc/keepalived", "/etc/keepalived/conf.d"], files: &[] },
    Rival {
        name: "vip-manager",
        unit: "vip-manager",
        dirs: &[],
        files: &["/etc/default/vip-manager.yml", "/etc/default/vip-manager", "/etc/vip-manager.yml"],
    },
];

/// What the daemon of this node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Ours {
    /// It binds the VIP.
    Acts,
    /// It does not run, or only observes.
    Looks,
}

pub(super) fn judge(tree: &Tree, vips: &[IpAddr], ours: Ours) -> Vec<Finding> {
    let processes = processes(tree);
    RIVALS.iter().filter_map(|rival| judge_one(tree, vips, ours, rival, &processes)).collect()
}

fn judge_one(tree: &Tree, vips: &[IpAddr], ours: Ours, rival: &Rival, processes: &[String]) -> Option<Finding> {
    let Rival { name, unit, dirs, files } = rival;
    let listed = dirs.iter().flat_map(|dir| tree.list(dir, |name| name.ends_with(".conf")));
    let mut files = listed.chain(files.iter().map(|file| (*file).to_owned()));
    let (file, line, vip) = files.find_map(|file| {
        let (line, vip) = mentions(&tree.read(&file)?, vips)?;
        Some((file, line, vip))
    })?;
    let runs = processes.iter().any(|process| process == unit);
    let starts = tree.has(&format!("/etc/systemd/system/multi-user.target.wants/{unit}.service"));
    let has = format!("has VIP {vip}, too ({file}, line {line})");
    Some(match (runs, ours) {
        (true, Ours::Acts) => Finding::problem(
            AREA,
            format!("{name} runs and {has}: it binds it by its own judgement, on whatever node"),
            format!("`systemctl disable --now {unit}` on every node, or take the VIP out of its configuration"),
        ),
        (true, Ours::Looks) => Finding::warning(
            AREA,
            format!("{name} runs and {has}"),
            format!(
                "before pgvrrp takes over, `systemctl disable --now {unit}`; docs/MIGRATE-KEEPALIVED.md says in which order"
            ),
        ),
        (false, _) if starts => Finding::warning(
            AREA,
            format!("{name} does not run, but starts at the next boot, and {has}"),
            format!("`systemctl disable {unit}`"),
        ),
        (false, _) => return None,
    })
}

/// The first line on which one of these addresses stands, comments apart.
fn mentions(text: &str, vips: &[IpAddr]) -> Option<(usize, IpAddr)> {
    (1..).zip(text.lines()).find_map(|(number, line)| {
        let line = line.split(['#', '!']).next().unwrap_or_default();
        // Everything that stands in an address, and what may follow it.
        let words = line.split(|c: char| !c.is_ascii_hexdigit() && !matches!(c, '.' | ':' | '/'));
        let mut addresses = words.filter_map(|word| word.split('/').next()?.parse::<IpAddr>().ok());
        addresses.find(|address| vips.contains(address)).map(|vip| (number, vip))
    })
}

/// The names of this host's processes, as the kernel cuts them off: 15 bytes.
fn processes(tree: &Tree) -> Vec<String> {
    let pids = tree.list_all("/proc", |name| name.bytes().all(|byte| byte.is_ascii_digit()));
    pids.iter().filter_map(|pid| Some(tree.read(&format!("{pid}/comm"))?.trim_end().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::report::Level;
    use super::super::tests::tree;
    use super::*;

    const CONF: &str =
        "vrrp_instance VI_1 {\n  # 10.0.20.155\n  virtual_ipaddress {\n    10.0.20.155/24 dev eth0\n  }\n}\n";
    const FILE: (&str, &str) = ("etc/keepalived/keepalived.conf", CONF);
    const RUNS: (&str, &str) = ("proc/77/comm", "keepalived\n");

    fn found(files: &[(&str, &str)], ours: Ours) -> Vec<(Level, String)> {
        let dir = tree(files);
        let findings = judge(&Tree::new(dir.path()), &[[10, 0, 20, 155].into()], ours);
        assert!(
            findings.iter().all(|finding| finding.fix.as_ref().is_some_and(|fix| fix.contains("systemctl disable")))
        );
        findings.into_iter().map(|finding| (finding.level, finding.text)).collect()
    }

    #[test]
    fn one_that_runs_and_one_that_will() {
        let [(level, text)] = found(&[FILE, RUNS], Ours::Acts).try_into().unwrap();
        assert_eq!(level, Level::Problem);
        assert!(
            text.starts_with("Keepalived runs and has VIP 10.0.20.155, too (/etc/keepalived/keepalived.conf, line 4)")
        );
        assert_eq!(found(&[FILE, RUNS], Ours::Looks)[0].0, Level::Warning);
        let enabled = ("etc/systemd/system/multi-user.target.wants/keepalived.service", "");
        let [(level, text)] = found(&[FILE, enabled], Ours::Acts).try_into().unwrap();
        assert!(level == Level::Warning && text.contains("starts at the next boot"), "{text}");
        let vip_manager = [
            ("etc/default/vip-manager.yml", "interval: 1000\nip: \"10.0.20.155\"\n"),
            ("proc/8/comm", "vip-manager\n"),
        ];
        assert!(found(&vip_manager, Ours::Acts)[0].1.contains("vip-manager.yml, line 2"));
    }

    #[test]
    fn those_that_do_no_harm() {
        assert_eq!(found(&[FILE], Ours::Acts), []);
        let other = ("etc/keepalived/keepalived.conf", "virtual_ipaddress {\n 10.0.20.156\n}\n! 10.0.20.155\n");
        assert_eq!(found(&[other, RUNS], Ours::Acts), []);
        assert_eq!(found(&[RUNS], Ours::Acts), []);
        assert_eq!(
            found(&[("etc/keepalived/keepalived.conf", "\0:/::.\u{1b}//10.0.20.155.1:::\n"), RUNS], Ours::Acts),
            []
        );
    }
}

//! The packet filter, conntrack and the routes: what on this host itself may keep packets from a VIP, and above all what
//! the next primary needs to tell the clients of one whose host died.

mod fate;
mod iptables;
mod judge;
mod kernel;
mod nft;
mod packet;
mod program;
mod routes;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::{fs, thread};

use pgvrrp_config::{Config, Mac};
use pgvrrp_netlink::rp_filter;

use super::areas::FIREWALL as AREA;
use super::report::{Finding, Level};
pub(super) use judge::Ports;
use kernel::NfTables;
use program::Answer;
use rules::{Table, Tool};

/// What the host says of itself.
#[derive(Debug)]
pub(super) struct Seen {
    kernel: NfTables,
    /// `nft --json list ruleset`.
    nft: Answer,
    /// `nft -a list ruleset`.
    listing: Answer,
    iptables: Answer,
    ip6tables: Answer,
    /// The kernel has tables of the old iptables, which nf_tables does not show.
    is_legacy: bool,
    /// `nf_conntrack_tcp_loose`; `None` without conntrack, which then knows no packet's state.
    loose: Option<i32>,
    /// `/proc/net/route`.
    routes: String,
    /// The effective `rp_filter` of each interface of IPv4 VIPs.
    rp_filters: BTreeMap<String, i32>,
}

/// Asks the kernel, and whatever programs there are.
pub(super) async fn ask(config: &Config) -> Option<Seen> {
    let vips = config.vips.iter().filter(|vip| vip.mac == Mac::Interface);
    let vips = vips.filter(|vip| vip.addresses.iter().any(|net| net.addr().is_ipv4()));
    let interfaces: BTreeSet<_> = vips.map(|vip| vip.interface.clone()).collect();
    tokio::task::spawn_blocking(move || ask_now(interfaces)).await.ok()
}

fn ask_now(interfaces: BTreeSet<String>) -> Seen {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let legacy = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];
    let loose = text("/proc/sys/net/netfilter/nf_conntrack_tcp_loose").trim().parse().ok();
    // All at once: each has its limit.
    let programs: [(&str, &[&str]); 4] = [
        ("nft", &["--json", "list", "ruleset"]),
        ("nft", &["-a", "list", "ruleset"]),
        ("iptables-save", &[]),
        ("ip6tables-save", &[]),
    ];
    let [nft, listing, iptables, ip6tables] = thread::scope(|scope| {
        programs.map(|(name, args)| scope.spawn(move || program::run(name, args))).map(|run| {
            // It has no reason to panic.
            run.join().unwrap_or_else(|_| Answer::Failed("not run".to_owned()))
        })
    });
    let rp_filters = interfaces.into_iter().filter_map(|name| Some((rp_filter(&name).ok()?, name)));
    Seen {
        kernel: kernel::ask(),
        nft,
        listing,
        iptables,
        ip6tables,
        is_legacy: legacy.iter().any(|path| !text(path).trim().is_empty()),
        loose,
        routes: text("/proc/net/route"),
        rp_filters: rp_filters.map(|(value, name)| (name, value)).collect(),
    }
}

pub(super) fn judge(config: &Config, seen: &Seen, ports: Ports) -> Vec<Finding> {
    let is_cluster = config.vips.iter().any(|vip| vip.follows.is_primary());
    let mut findings: Vec<_> = drain(&seen.kernel).filter(|_| is_cluster).into_iter().collect();
    let (tables, unread) = read(seen);
    // The kernel's default, and no state is asked for where there is no conntrack.
    let loose = seen.loose != Some(0);
    let kept = judge::judge(config, &tables, ports, loose);
    if kept.is_empty() && unread.is_empty() {
        findings.push(Finding::ok(AREA, nothing(&tables, seen.loose)));
    }
    findings.extend(unread.into_iter().map(|what| Finding::note(AREA, format!("firewall: {what}"))));
    findings.extend(kept);
    findings.extend(seen.rp_filters.iter().filter_map(|(name, filter)| routes::judge(name, *filter, &seen.routes)));
    findings
}

fn nothing(tables: &[Table], loose: Option<i32>) -> String {
    let tables = tables.iter().filter(|table| table.chains.iter().any(|chain| chain.base.is_some())).count();
    match (tables, loose) {
        (0, _) => "firewall: no rules".to_owned(),
        (_, Some(loose)) => {
            format!("firewall: no rule was seen that keeps packets from a VIP (nf_conntrack_tcp_loose = {loose})")
        }
        (_, None) => "firewall: no rule was seen that keeps packets from a VIP".to_owned(),
    }
}

/// Whether a drain can keep new connections waiting.
fn drain(kernel: &NfTables) -> Option<Finding> {
    match kernel {
        NfTables::Tables(_) => Some(Finding::ok(
            AREA,
            "firewall: the kernel has nf_tables, with which new connections wait during a drain",
        )),
        NfTables::Absent => Some(Finding {
            area: AREA,
            level: Level::Note,
            text:
                "firewall: the kernel has no nf_tables: new connections are refused during the some 60 ms of a drain, \
                   instead of waiting"
                    .to_owned(),
            fix: Some("`modprobe nf_tables`, or a kernel with CONFIG_NF_TABLES".to_owned()),
        }),
        NfTables::NotPermitted => None,
        NfTables::Unknown(why) => Some(Finding::note(AREA, format!("firewall: whether there is nf_tables: {why}"))),
    }
}

/// The tables, and why there may be more.
fn read(seen: &Seen) -> (Vec<Table>, Vec<String>) {
    if seen.kernel == NfTables::NotPermitted {
        return (
            Vec::new(),
            vec!["not checked: to see the rules needs CAP_NET_ADMIN: run this as root as well".to_owned()],
        );
    }
    let (mut tables, mut unread, mut covered) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (answer, tool, family) in [(&seen.iptables, Tool::Iptables, "ip"), (&seen.ip6tables, Tool::Ip6tables, "ip6")] {
        match answer {
            Answer::Printed(saved) => {
                tables.extend(iptables::parse(saved, tool));
                if iptables::are_in_nf_tables(saved) {
                    let names = saved.lines().filter_map(|line| line.strip_prefix('*'));
                    covered.extend(names.map(|name| format!("{family} {}", name.trim())));
                }
            }
            Answer::Failed(why) => unread.push(format!("what `{family}tables-save` shows could not be read: {why}")),
            Answer::NotInstalled => {}
        }
    }
    if seen.is_legacy && seen.iptables == Answer::NotInstalled {
        unread.push("the rules of iptables could not be read: install iptables to have them checked".to_owned());
    }
    match (&seen.nft, &seen.kernel) {
        (Answer::Printed(json), _) => match nft::parse(json, seen.listing.printed().unwrap_or_default()) {
            Some(mut ruleset) => {
                // What both show, iptables shows better.
                ruleset.tables.retain(|table| !covered.contains(&table.name));
                ruleset.foreign.retain(|name| !covered.contains(name));
                if !ruleset.foreign.is_empty() {
                    let names = ruleset.foreign.join(", ");
                    unread.push(format!(
                        "rules of iptables in {names} could not be read: install iptables to have them checked"
                    ));
                }
                tables.extend(ruleset.tables);
            }
            None => unread.push("what `nft --json list ruleset` prints is not understood".to_owned()),
        },
        (Answer::Failed(why), _) => unread.push(format!("what `nft list ruleset` shows could not be read: {why}")),
        (Answer::NotInstalled, NfTables::Tables(number)) if *number > covered.len() => {
            unread.push("the rules of nf_tables could not be read: install nftables to have them checked".to_owned());
        }
        (Answer::NotInstalled, _) => {}
    }
    (tables, unread)
}

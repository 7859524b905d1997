//! What the rules that were read mean for the packets that matter to a VIP.

use std::collections::BTreeSet;
use std::net::IpAddr;

use pgvrrp_config::{Config, Mac, Vip};

use super::packet::{self, Fate, Packet, State};
use super::rules::{Chain, Table, Tool};
use crate::doctor::areas::FIREWALL as AREA;
use crate::doctor::report::{Finding, Level};

/// The ports that are to be open.
#[derive(Clone, Copy, Debug)]
pub(in crate::doctor) struct Ports {
    pub(in crate::doctor) postgres: u16,
    /// UDP: where daemons hand each other the lists of clients.
    pub(in crate::doctor) clients: u16,
}

/// A packet's purpose.
///
/// Clients of a primary whose host died are told by an ACK from the VIP that fits nothing (a tickle). The client answers
/// with what it expects, for which there is no connection here, and that this kernel answers with a RST. With conntrack
/// and `nf_conntrack_tcp_loose` the first one makes an entry, so that the answer is "established"; without, all three are
/// "invalid".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Tickle,
    Answer,
    Reset,
    Connection,
    List { inwards: bool },
    Advert { inwards: bool },
}

impl Purpose {
    const CLUSTER: [Self; 6] = [
        Self::Tickle,
        Self::Answer,
        Self::Reset,
        Self::Connection,
        Self::List { inwards: true },
        Self::List { inwards: false },
    ];
    const ALL: [Self; 2] = [Self::Advert { inwards: true }, Self::Advert { inwards: false }];

    fn is_to_tell(self) -> bool {
        matches!(self, Self::Tickle | Self::Answer | Self::Reset)
    }

    /// Without a table's own influence on it.
    fn state(self, loose: bool) -> State {
        match self {
            Self::Tickle if loose => packet::NEW,
            Self::Answer | Self::Reset if loose => packet::ESTABLISHED,
            Self::Tickle | Self::Answer | Self::Reset => packet::INVALID,
            // The first of its kind; those after it may be let in for its sake.
            Self::Connection | Self::List { .. } | Self::Advert { .. } => packet::NEW,
        }
    }

    fn packet(self, vip: &Vip, address: IpAddr, ports: Ports, loose: bool) -> Packet {
        let inwards = match self {
            Self::Answer | Self::Connection => true,
            Self::Tickle | Self::Reset => false,
            Self::List { inwards } | Self::Advert { inwards } => inwards,
        };
        let protocol = match self {
            Self::List { .. } => packet::UDP,
            Self::Advert { .. } => packet::VRRP,
            _ => packet::TCP,
        };
        let (here, port) = match self {
            Self::List { .. } => (None, Some(ports.clients)),
            Self::Advert { .. } => (None, None),
            _ => (Some(address), Some(ports.postgres)),
        };
        let flags = match self {
            Self::Tickle | Self::Answer => packet::ACK,
            Self::Reset => packet::RST,
            Self::Connection => packet::SYN,
            Self::List { .. } | Self::Advert { .. } => 0,
        };
        // Lists come to the port from anywhere, and go to that of the peer.
        let is_destination = inwards || matches!(self, Self::List { .. });
        Packet {
            protocol,
            ipv4: address.is_ipv4(),
            source: here.filter(|_| !inwards),
            destination: here.filter(|_| inwards),
            source_port: port.filter(|_| !is_destination),
            destination_port: port.filter(|_| is_destination),
            flags,
            state: self.state(loose),
            // What comes to a virtual MAC comes by an interface of its own, what leaves may leave by the other.
            interface: (vip.mac == Mac::Interface).then(|| vip.interface.clone()),
            inwards,
        }
    }
}

/// Everything that these rules keep from this host's VIPs. Nothing if they keep nothing.
pub(super) fn judge(config: &Config, tables: &[Table], ports: Ports, loose: bool) -> Vec<Finding> {
    let mut told = BTreeSet::new();
    let mut findings = Vec::new();
    for vip in &config.vips {
        let cluster = Purpose::CLUSTER.into_iter().filter(|_| vip.follows.is_primary());
        for purpose in cluster.chain(Purpose::ALL) {
            for address in [IpAddr::is_ipv4, IpAddr::is_ipv6].iter().filter_map(|is| {
                let mut addresses = vip.addresses.iter().map(ipnet::IpNet::addr);
                addresses.find(is)
            }) {
                let subject = Subject { purpose, vip, address, ports, loose, tables };
                for (table, chain) in on_the_way(&subject) {
                    let place = place(table, chain);
                    let finding = subject.finding(table, chain, &place);
                    // A tickle and a RST that one rule drops are one finding.
                    findings.extend(finding.filter(|_| told.insert((place, subject.kind()))));
                }
            }
        }
    }
    findings
}

fn on_the_way<'a>(subject: &Subject<'a>) -> impl Iterator<Item = (&'a Table, &'a Chain)> + use<'a> {
    let Packet { ipv4, inwards, .. } = subject.packet(true);
    let chains = subject.tables.iter().filter(move |table| table.of_family(ipv4));
    let chains = chains.flat_map(|table| table.chains.iter().map(move |chain| (table, chain)));
    chains.filter(move |(_, chain)| chain.base.is_some_and(|base| base.hook.is_inwards() == inwards))
}

/// For people.
fn place(table: &Table, chain: &Chain) -> String {
    let Table { name, tool, .. } = table;
    match tool {
        Tool::Nft => format!("{name} {}", chain.name),
        _ if name == "filter" => format!("{} {}", program(*tool), chain.name),
        _ => format!("{} -t {name} {}", program(*tool), chain.name),
    }
}

fn program(tool: Tool) -> &'static str {
    match tool {
        Tool::Nft => "nft",
        Tool::Iptables => "iptables",
        Tool::Ip6tables => "ip6tables",
    }
}

/// A packet of a VIP.
#[derive(Clone, Copy)]
struct Subject<'a> {
    purpose: Purpose,
    vip: &'a Vip,
    address: IpAddr,
    ports: Ports,
    loose: bool,
    tables: &'a [Table],
}

impl Subject<'_> {
    fn packet(&self, loose: bool) -> Packet {
        let mut packet = self.purpose.packet(self.vip, self.address, self.ports, loose);
        packet.untrack(self.tables);
        packet
    }

    /// Those of one kind are mended by the same.
    fn kind(&self) -> &'static str {
        match self.purpose {
            Purpose::Tickle | Purpose::Reset => "tell",
            Purpose::Answer => "answer",
            Purpose::Connection => "connection",
            Purpose::List { .. } => "list",
            Purpose::Advert { .. } => "advert",
        }
    }

    fn finding(&self, table: &Table, chain: &Chain, place: &str) -> Option<Finding> {
        let fate = self.packet(self.loose).in_chain(table, chain);
        if !self.purpose.is_to_tell() {
            let Fate::Dropped(by) = fate else { return None };
            return Some(Finding {
                area: AREA,
                level: Level::Note,
                text: format!("firewall: {place}: could not see a rule that lets {} ({by})", self.what()),
                fix: Some(self.rule(table, chain)),
            });
        }
        let (level, verb, by) = match fate {
            Fate::Passes => return None,
            Fate::Dropped(by) => (Level::Warning, "drops", by),
            Fate::MayBeDropped(by) => (Level::Note, "may drop", by),
        };
        // Is it conntrack's strictness alone?
        let is_strict = !self.loose && self.packet(true).in_chain(table, chain) == Fate::Passes;
        let strict = if is_strict { ", and net.netfilter.nf_conntrack_tcp_loose is 0" } else { "" };
        let mut fix = self.rule(table, chain);
        if is_strict {
            fix = format!(
                "net.netfilter.nf_conntrack_tcp_loose = 1 in /etc/sysctl.d and by `sysctl -w`, as is the kernel's default; or {fix}"
            );
        }
        let text = format!(
            "firewall: {place} {verb} {} ({by}{strict}): they wait for their own time-outs instead",
            self.what()
        );
        Some(Finding { area: AREA, level, text, fix: Some(fix) })
    }

    fn what(&self) -> String {
        let way = |inwards| if inwards { "in" } else { "out" };
        match self.purpose {
            Purpose::Tickle | Purpose::Reset => "what tells the clients of a primary whose host died".to_owned(),
            Purpose::Answer => "what clients answer who are told that the primary's host died".to_owned(),
            Purpose::Connection => format!("connections to {} in, TCP port {}", self.address, self.ports.postgres),
            Purpose::List { inwards } => {
                format!("the lists of clients {}, UDP port {}", way(inwards), self.ports.clients)
            }
            Purpose::Advert { inwards } => format!("VRRP {}, protocol 112", way(inwards)),
        }
    }

    /// A rule before all others, so it has to be as narrow as can be: what it lets in beside is answered by a RST.
    fn rule(&self, table: &Table, chain: &Chain) -> String {
        let family = if self.address.is_ipv4() { "ip" } else { "ip6" };
        let Self { address, ports: Ports { postgres, clients }, .. } = self;
        let command = match table.tool {
            Tool::Nft => {
                let rule = match self.purpose {
                    Purpose::Tickle | Purpose::Reset => format!("{family} saddr {address} tcp sport {postgres}"),
                    Purpose::Answer => {
                        format!("{family} daddr {address} tcp dport {postgres} tcp flags & (syn | rst | ack) == ack")
                    }
                    Purpose::Connection => format!("{family} daddr {address} tcp dport {postgres}"),
                    Purpose::List { .. } => format!("udp dport {clients}"),
                    Purpose::Advert { .. } => "meta l4proto 112".to_owned(),
                };
                format!("nft 'insert rule {} {} {rule} accept'", table.name, chain.name)
            }
            tool => {
                let rule = match self.purpose {
                    Purpose::Tickle | Purpose::Reset => format!("-s {address} -p tcp --sport {postgres}"),
                    Purpose::Answer => {
                        format!("-d {address} -p tcp --dport {postgres} --tcp-flags SYN,RST,ACK ACK")
                    }
                    Purpose::Connection => format!("-d {address} -p tcp --dport {postgres}"),
                    Purpose::List { .. } => format!("-p udp --dport {clients}"),
                    Purpose::Advert { .. } => "-p 112".to_owned(),
                };
                let of = if table.name == "filter" { String::new() } else { format!("-t {} ", table.name) };
                format!("{} {of}-I {} {rule} -j ACCEPT", program(tool), chain.name)
            }
        };
        let kept = if table.name == "inet firewalld" {
            "; firewalld forgets it when it reloads"
        } else {
            ", and the same where the rules are kept"
        };
        format!("`{command}`{kept}")
    }
}

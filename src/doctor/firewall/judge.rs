//! What the rules that were read mean for the packets that matter to a VIP.

use std::collections::BTreeSet;
use std::net::IpAddr;

use pgvrrp_config::{Config, Mac, Vip};

use super::fate::Fate;
use super::packet::{self, Packet, State};
use super::rules::{Chain, Table, Tool};
use crate::doctor::areas::FIREWALL as AREA;
use crate::doctor::report::{Finding, Level};

/// The ports that are to be open.
#[derive(Clone, Copy, Debug)]
pub(in crate::doctor) struct Ports {
    pub(in crate::doctor) postgres: u16,
    /// UDP: where daemons hand each other the lists of clients; `None` if they do not.
    pub(in crate::doctor) clients: Option<u16>,
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
            Self::List { .. } => (None, ports.clients),
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
    let mut kept: Vec<Kept<'_>> = Vec::new();
    for vip in &config.vips {
        let gives_lists = |of: &Purpose| ports.clients.is_some() || !matches!(of, Purpose::List { .. });
        let cluster = Purpose::CLUSTER.into_iter().filter(|of| vip.follows.is_primary() && gives_lists(of));
        for (purpose, net) in cluster.chain(Purpose::ALL).flat_map(|of| vip.addresses.iter().map(move |net| (of, net)))
        {
            let subject = Subject { purpose, vip, address: net.addr(), ports, loose, tables };
            for (table, chain) in on_the_way(&subject) {
                let fate = subject.packet(loose).in_chain(table, chain);
                if fate == Fate::Passes || !purpose.is_to_tell() && !matches!(fate, Fate::Dropped(_)) {
                    continue;
                }
                // A tickle and a RST, or two addresses, that are dropped at the same place are one finding.
                let is_same = |kept: &&mut Kept<'_>| {
                    let same = std::ptr::eq(kept.chain, chain) && kept.subject.kind() == subject.kind();
                    same && std::mem::discriminant(&kept.fate) == std::mem::discriminant(&fate)
                };
                match kept.iter_mut().find(is_same) {
                    Some(kept) => drop(kept.addresses.insert(subject.address)),
                    None => {
                        let addresses = BTreeSet::from([subject.address]);
                        kept.push(Kept { subject, table, chain, fate, addresses });
                    }
                }
            }
        }
    }
    kept.iter().map(Kept::finding).collect()
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
}

/// What does not come through a chain.
struct Kept<'a> {
    /// The first of its kind.
    subject: Subject<'a>,
    table: &'a Table,
    chain: &'a Chain,
    fate: Fate,
    addresses: BTreeSet<IpAddr>,
}

impl Kept<'_> {
    fn finding(&self) -> Finding {
        let Self { subject, table, chain, .. } = self;
        let place = place(table, chain);
        let (level, verb, by) = match &self.fate {
            Fate::Dropped(by) => (Level::Warning, "drops", by.as_str()),
            Fate::MayBeDropped(by) => (Level::Note, "may drop", by.as_str()),
            Fate::Passes => (Level::Ok, "lets through", ""),
        };
        if !subject.purpose.is_to_tell() {
            return Finding {
                area: AREA,
                level: Level::Note,
                text: format!("firewall: {place}: could not see a rule that lets {} ({by})", self.what()),
                fix: Some(self.fix()),
            };
        }
        // Is it conntrack's strictness alone?
        let is_strict = !subject.loose && subject.packet(true).in_chain(table, chain) == Fate::Passes;
        let (strict, sysctl) = if is_strict {
            let sysctl = "net.netfilter.nf_conntrack_tcp_loose = 1, the kernel's default, in /etc/sysctl.d and by \
                          `sysctl -w`; or ";
            (", and net.netfilter.nf_conntrack_tcp_loose is 0", sysctl)
        } else {
            ("", "")
        };
        let text = format!(
            "firewall: {place} {verb} {} ({by}{strict}): they wait for their own time-outs instead",
            self.what()
        );
        Finding { area: AREA, level, text, fix: Some(format!("{sysctl}{}", self.fix())) }
    }

    fn what(&self) -> String {
        let Ports { postgres, clients } = self.subject.ports;
        let clients = clients.unwrap_or_default();
        let way = |inwards| if inwards { "in" } else { "out" };
        match self.subject.purpose {
            Purpose::Tickle | Purpose::Reset => "what tells clients that the primary's host died".to_owned(),
            Purpose::Answer => "what clients answer when told that the primary's host died".to_owned(),
            Purpose::Connection => {
                format!("connections to {} in, TCP port {postgres}", list(&self.addresses, |_| true))
            }
            Purpose::List { inwards } => format!("the lists of clients {}, UDP port {clients}", way(inwards)),
            Purpose::Advert { inwards } => format!("VRRP {}, protocol 112", way(inwards)),
        }
    }

    /// Rules before all others, so they have to be as narrow as can be: what they let in beside is answered by a RST.
    fn fix(&self) -> String {
        let needs_address = !matches!(self.subject.purpose, Purpose::List { .. } | Purpose::Advert { .. });
        let families = [("ip", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("ip6", IpAddr::is_ipv6)];
        let families = families.into_iter().filter(|(_, is)| self.addresses.iter().any(is));
        let commands = families.map(|(family, is)| format!("`{}`", self.command(family, &list(&self.addresses, is))));
        let commands: Vec<_> = commands.take(if needs_address { 2 } else { 1 }).collect();
        let kept = if self.table.name == "inet firewalld" {
            "; firewalld forgets it when it reloads"
        } else {
            ", and the same where the rules are kept"
        };
        format!("{}{kept}", commands.join(" and "))
    }

    fn command(&self, family: &str, addresses: &str) -> String {
        let Ports { postgres, clients } = self.subject.ports;
        let clients = clients.unwrap_or_default();
        let (table, chain) = (&self.table.name, &self.chain.name);
        let purpose = self.subject.purpose;
        match self.table.tool {
            Tool::Nft => {
                let addresses =
                    if addresses.contains(',') { format!("{{ {addresses} }}") } else { addresses.to_owned() };
                let rule = match purpose {
                    Purpose::Tickle | Purpose::Reset => format!("{family} saddr {addresses} tcp sport {postgres}"),
                    Purpose::Answer => {
                        format!("{family} daddr {addresses} tcp dport {postgres} tcp flags & (syn | rst | ack) == ack")
                    }
                    Purpose::Connection => format!("{family} daddr {addresses} tcp dport {postgres}"),
                    Purpose::List { .. } => format!("udp dport {clients}"),
                    Purpose::Advert { .. } => "meta l4proto 112".to_owned(),
                };
                format!("nft 'insert rule {table} {chain} {rule} accept'")
            }
            tool => {
                let addresses = addresses.replace(' ', "");
                let rule = match purpose {
                    Purpose::Tickle | Purpose::Reset => format!("-s {addresses} -p tcp --sport {postgres}"),
                    Purpose::Answer => {
                        format!("-d {addresses} -p tcp --dport {postgres} --tcp-flags SYN,RST,ACK ACK")
                    }
                    Purpose::Connection => format!("-d {addresses} -p tcp --dport {postgres}"),
                    Purpose::List { .. } => format!("-p udp --dport {clients}"),
                    Purpose::Advert { .. } => "-p 112".to_owned(),
                };
                let of = if table == "filter" { String::new() } else { format!("-t {table} ") };
                format!("{} {of}-I {chain} {rule} -j ACCEPT", program(tool))
            }
        }
    }
}

fn list(addresses: &BTreeSet<IpAddr>, which: impl Fn(&IpAddr) -> bool) -> String {
    let addresses = addresses.iter().filter(|address| which(address)).map(ToString::to_string);
    addresses.collect::<Vec<_>>().join(", ")
}

//! Broken networks: packets dropped by nftables inside a node, without a reset or an ICMP message to anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::cluster::Lab;
use crate::etcd::{CLIENT_PORT, PEER_PORT};
use crate::network::Node;
use crate::patroni::{POSTGRES_PORT, REST_PORT};

/// What is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// TCP from or to etcd's ports on another machine, both of clients and between members.
    Etcd,
    /// TCP from or to one etcd member's machine only, on etcd's ports.
    EtcdMember(Node),
    /// VRRP: IP protocol 112.
    Vrrp,
    /// Patroni's REST API.
    Rest,
    /// PostgreSQL: clients and replication.
    Postgres,
    /// Everything to and from another machine: a pulled cable (the link stays up). ARP is not dropped.
    All,
    /// Everything to and from one machine.
    Peer(Node),
}

/// Which way is cut, as the node that drops sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// What it would receive.
    In,
    /// What it sends.
    Out,
    /// Both.
    Both,
}

/// The cuts of one lab.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<BTreeMap<Node, BTreeSet<(Traffic, Direction)>>>);

impl Lab {
    /// Drops `traffic` on `node` from now on, in addition to what is dropped already. Connections that exist hang.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn cut(&self, node: Node, traffic: Traffic, direction: Direction) -> Result<()> {
        self.change_faults(node, |cuts| {
            cuts.insert((traffic, direction));
        })
    }

    /// Ends one cut on `node`.
    ///
    /// # Errors
    /// As [`Self::cut`].
    pub fn uncut(&self, node: Node, traffic: Traffic, direction: Direction) -> Result<()> {
        self.change_faults(node, |cuts| {
            cuts.remove(&(traffic, direction));
        })
    }

    /// Drops protocol 112 on every node, both ways.
    ///
    /// # Errors
    /// As [`Self::cut`].
    pub fn cut_vrrp_everywhere(&self) -> Result<()> {
        Node::ALL.into_iter().try_for_each(|node| self.cut(node, Traffic::Vrrp, Direction::Both))
    }

    /// Ends every cut on `node`.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn heal(&self, node: Node) -> Result<()> {
        self.change_faults(node, BTreeSet::clear)
    }

    /// Ends every cut everywhere.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn heal_all(&self) -> Result<()> {
        Node::ALL.into_iter().try_for_each(|node| self.heal(node))
    }

    fn change_faults(&self, node: Node, change: impl FnOnce(&mut BTreeSet<(Traffic, Direction)>)) -> Result<()> {
        let mut faults = self.faults.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cuts = faults.entry(node).or_default();
        change(cuts);
        self.namespace(node).nft(&ruleset(cuts))
    }
}

/// A table of the lab's own, replaced in one transaction. In the raw hooks, ahead of any rule of the daemon's.
fn ruleset(cuts: &BTreeSet<(Traffic, Direction)>) -> String {
    let rules = |way: Direction| {
        let applies = |d: Direction| d == way || d == Direction::Both;
        let cuts = cuts.iter().filter(|(_, d)| applies(*d));
        cuts.fold(String::new(), |mut rules, (traffic, _)| {
            let _ = writeln!(rules, "    {} counter drop", matches(*traffic, way));
            rules
        })
    };
    table(&rules(Direction::In), &rules(Direction::Out))
}

/// The commands that put these rules, or none, in place of the former ones.
pub(crate) fn table(incoming: &str, outgoing: &str) -> String {
    // Making it first lets the deletion succeed when there is none yet.
    let mut script = String::from("add table inet lab\ndelete table inet lab\n");
    if !(incoming.is_empty() && outgoing.is_empty()) {
        let _ = write!(
            script,
            "table inet lab {{\n\
             \x20 chain in {{\n    type filter hook prerouting priority -400;\n    iif lo accept\n{incoming}  }}\n\
             \x20 chain out {{\n    type filter hook output priority -400;\n    oif lo accept\n{outgoing}  }}\n\
             }}\n",
        );
    }
    script
}

fn matches(traffic: Traffic, way: Direction) -> String {
    let peer = |node: Node| format!("ip {} {}", if way == Direction::In { "saddr" } else { "daddr" }, node.ip());
    // A node may be client, server or both: either port may be the one.
    let tcp =
        |ports: &str| format!("meta l4proto tcp th sport {ports} counter drop\n    meta l4proto tcp th dport {ports}");
    let etcd_ports = format!("{{ {CLIENT_PORT}, {PEER_PORT} }}");
    match traffic {
        Traffic::Etcd => tcp(&etcd_ports),
        Traffic::EtcdMember(node) => {
            let peer = peer(node);
            format!("{peer} tcp sport {etcd_ports} counter drop\n    {peer} tcp dport {etcd_ports}")
        }
        Traffic::Vrrp => "meta l4proto 112".to_owned(),
        Traffic::Rest => tcp(&REST_PORT.to_string()),
        Traffic::Postgres => tcp(&POSTGRES_PORT.to_string()),
        Traffic::All => "meta nfproto ipv4".to_owned(),
        Traffic::Peer(node) => peer(node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cut_leaves_no_table() {
        assert!(!ruleset(&BTreeSet::new()).contains("chain"));
    }

    #[test]
    fn a_one_way_cut_has_rules_in_one_chain_only() {
        let script = ruleset(&BTreeSet::from([(Traffic::Vrrp, Direction::Out)]));
        let (input, output) = script.split_once("chain out").unwrap();
        assert!(!input.contains("112"));
        assert!(output.contains("meta l4proto 112 counter drop"));
    }
}

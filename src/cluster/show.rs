//! The cluster in words: a row a node.

use std::fmt::Write;

use super::{Cluster, Node};
use crate::words::harmless;

/// For programs.
pub(super) fn json(cluster: &Cluster) -> String {
    // Strings and numbers: there is nothing that JSON could refuse.
    let mut json = serde_json::to_string_pretty(cluster).unwrap_or_default();
    json.push('\n');
    json
}

/// For people.
pub(super) fn text(cluster: &Cluster) -> String {
    let mut out = format!("asked from {}\n", cluster.asked_from);
    if let Some(etcd) = &cluster.etcd {
        let leader = match (&etcd.leader, &etcd.error) {
            (Some(leader), _) => format!("the leader key is {}'s", harmless(leader)),
            (None, None) => "nobody has the leader key".to_owned(),
            (None, Some(_)) => "not known".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "etcd: {leader}");
    }
    for vip in cluster.vips.iter().filter(|vip| vip.follows_primary) {
        if let Some(lock) = &vip.lock {
            let _ = writeln!(out, "{}: its lock is {}'s", vip.name, harmless(lock));
        }
    }
    let head = ["node", "VIP here", "PostgreSQL", "pgvrrp", "why"].map(str::to_owned);
    let rows: Vec<_> = cluster.nodes.iter().map(|(name, node)| row(name, node)).collect();
    out.push('\n');
    out += &table(std::iter::once(&head).chain(&rows));
    out.push('\n');
    for wrong in &cluster.wrong {
        let _ = writeln!(out, "WRONG: {}", harmless(wrong));
    }
    if cluster.wrong.is_empty() {
        out += "nothing is wrong with that\n";
    }
    out
}

fn row(name: &str, node: &Node) -> [String; 5] {
    let (here, version, why) = match &node.daemon {
        Some(daemon) => {
            let held: Vec<_> = daemon.vips.iter().filter(|(_, vip)| vip.held).map(|(name, _)| harmless(name)).collect();
            let here = if held.is_empty() { "-".to_owned() } else { held.join(" ") };
            let why = match daemon.vips.len() {
                1 => daemon.vips.values().map(|vip| harmless(&vip.why)).collect(),
                count => format!("{count} VIPs: `pgvrrp status` there says why"),
            };
            (here, harmless(&daemon.version), why)
        }
        None => ("?".to_owned(), "no answer".to_owned(), "-".to_owned()),
    };
    let mut postgres = Vec::new();
    if let Some(member) = &node.member {
        postgres.extend([&member.role, &member.state].into_iter().flatten().map(|word| harmless(word)));
        postgres.extend(member.timeline.map(|timeline| format!("timeline {timeline}")));
        postgres.extend(member.lag.map(|lag| format!("lag {}", bytes(lag))));
    } else if let Some(role) = node.daemon.as_ref().and_then(|daemon| daemon.role.as_ref()) {
        postgres.push(harmless(role));
    }
    let postgres = if postgres.is_empty() { "-".to_owned() } else { postgres.join(", ") };
    [harmless(name), here, postgres, version, why]
}

/// Columns as wide as they have to be, and the last one as it comes.
fn table<'a>(rows: impl Iterator<Item = &'a [String; 5]> + Clone) -> String {
    let mut widths = [0; 5];
    for row in rows.clone() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines = rows.map(|row| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    });
    lines.collect()
}

fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count / 1024),
        _ => format!("{} MiB", count / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Daemon, Etcd, Member, Place, Vip};
    use super::*;
    use crate::fields;

    /// A cluster of which everything is known that can be, and in other people's words.
    fn cluster() -> Cluster {
        let word = || Some("db\u{1b}1".to_owned());
        let place = Place { held: true, why: "because\n".to_owned(), heard: vec![String::new()], ..Place::default() };
        let vips = BTreeMap::from([("10.0.20.155".to_owned(), place)]);
        let member = Member { role: word(), state: word(), timeline: Some(3), host: word(), lag: Some(2048) };
        let daemon = Daemon { version: "0.1.0".to_owned(), role: word(), vips, ..Daemon::default() };
        let node = Node { member: Some(member), daemon: Some(daemon), error: word() };
        Cluster {
            asked_from: "db1".to_owned(),
            etcd: Some(Etcd { error: word(), leader: word() }),
            nodes: BTreeMap::from([("db1".to_owned(), node)]),
            vips: vec![Vip { name: "10.0.20.155".to_owned(), follows_primary: true, lock: word() }],
            wrong: vec!["all\r".to_owned()],
        }
    }

    #[test]
    fn every_field_is_documented_and_nothing_else() {
        assert_eq!(
            fields::of(&cluster(), &["nodes", "nodes{}.daemon.vips"]),
            fields::documented("field of the cluster")
        );
    }

    #[test]
    fn a_row_a_node_and_nothing_that_acts_on_a_terminal() {
        let mut cluster = cluster();
        cluster.nodes.insert("db2".to_owned(), Node::default());
        let expected = "asked from db1\n\
            etcd: the leader key is db\u{fffd}1's\n\
            10.0.20.155: its lock is db\u{fffd}1's\n\
            \n\
            node  VIP here     PostgreSQL                         pgvrrp     why\n\
            db1   10.0.20.155  db\u{fffd}1, db\u{fffd}1, timeline 3, lag 2 KiB  0.1.0      because\u{fffd}\n\
            db2   ?            -                                  no answer  -\n\
            \n\
            WRONG: all\u{fffd}\n";
        assert_eq!(text(&cluster), expected);
    }
}

//! What contradicts what.

use super::{Cluster, Node, Vip};

/// Fills in what is wrong.
pub(super) fn judge(cluster: &mut Cluster) {
    let mut wrong = Vec::new();
    if let Some(etcd) = &cluster.etcd {
        if let Some(error) = &etcd.error {
            wrong.push(format!("etcd could not be read, or not all of it: {error}"));
        } else if etcd.leader.is_none() {
            wrong.push("nobody has the leader key".to_owned());
        }
    }
    for (name, node) in &cluster.nodes {
        match (&node.daemon, &node.error) {
            (Some(daemon), _) if daemon.stuck => {
                wrong.push(format!("the daemon of {name} is stuck, and what it says is old"));
            }
            (None, Some(error)) => wrong.push(format!("no daemon answers for {name}: {error}")),
            (None, None) => wrong.push(format!("the daemon of {name} could not be asked: `[http] listen` is \"off\"")),
            (Some(_), _) => {}
        }
    }
    for vip in &cluster.vips {
        where_it_is(cluster, vip, &mut wrong);
    }
    cluster.wrong = wrong;
}

fn where_it_is(cluster: &Cluster, vip: &Vip, wrong: &mut Vec<String>) {
    let name = &vip.name;
    let holds = |node: &Node| node.daemon.as_ref().and_then(|daemon| daemon.vips.get(name)).is_some_and(|vip| vip.held);
    let holders: Vec<_> = cluster.nodes.iter().filter(|(_, node)| holds(node)).map(|(node, _)| node.as_str()).collect();
    let leader = cluster.etcd.as_ref().and_then(|etcd| etcd.leader.as_deref());
    match holders.as_slice() {
        // Where it is, somebody who does not answer may know.
        [] if cluster.nodes.values().any(|node| node.daemon.is_none()) => {}
        [] => wrong.push(format!("{name} is nowhere")),
        [_] => {}
        several => wrong.push(format!("{name} is HERE on {}", several.join(" and on "))),
    }
    if !vip.follows_primary {
        return;
    }
    for holder in holders {
        if let Some(leader) = leader.filter(|leader| *leader != holder) {
            wrong.push(format!("{name} is HERE on {holder}, and the leader key is {leader}'s"));
        }
        if let Some(lock) = vip.lock.as_deref().filter(|lock| *lock != holder) {
            wrong.push(format!("{name} is HERE on {holder}, and its lock is {lock}'s"));
        }
    }
    strangers(cluster, name, wrong);
}

/// Whoever is heard and is none of the members. Where a host has a name, it cannot be told.
fn strangers(cluster: &Cluster, name: &str, wrong: &mut Vec<String>) {
    let hosts = cluster.nodes.values().filter_map(|node| node.member.as_ref()?.host.as_deref());
    let hosts: Vec<_> = hosts.collect();
    if hosts.is_empty() || !hosts.iter().all(|host| host.parse::<std::net::Ipv4Addr>().is_ok()) {
        return;
    }
    let places = cluster.nodes.values().filter_map(|node| node.daemon.as_ref()?.vips.get(name));
    let heard: std::collections::BTreeSet<_> = places.flat_map(|place| &place.heard).collect();
    for address in heard {
        if address.parse::<std::net::Ipv4Addr>().is_ok() && !hosts.contains(&address.as_str()) {
            wrong.push(format!("{address} advertises {name}, and is none of the members"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Daemon, Etcd, Member, Place};
    use super::*;

    const VIP: &str = "10.0.20.155";

    fn node(address: &str, held: Option<bool>, heard: &[&str]) -> Node {
        let heard = heard.iter().map(|&address| address.to_owned()).collect();
        let place = |held| Place { held, heard, ..Place::default() };
        Node {
            member: Some(Member { host: Some(address.to_owned()), ..Member::default() }),
            error: held.is_none().then(|| "no answer".to_owned()),
            daemon: held
                .map(|held| Daemon { vips: BTreeMap::from([(VIP.to_owned(), place(held))]), ..Daemon::default() }),
        }
    }

    fn judged(leader: Option<&str>, lock: Option<&str>, nodes: [Node; 2]) -> Vec<String> {
        let [db1, db2] = nodes;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let mut cluster = Cluster {
            etcd: Some(Etcd { error: None, leader: owned(leader) }),
            nodes: BTreeMap::from([("db1".to_owned(), db1), ("db2".to_owned(), db2)]),
            vips: vec![Vip { name: VIP.to_owned(), follows_primary: true, lock: owned(lock) }],
            ..Cluster::default()
        };
        judge(&mut cluster);
        cluster.wrong
    }

    fn db1(held: Option<bool>, heard: &[&str]) -> Node {
        node("10.0.20.11", held, heard)
    }

    fn db2(held: Option<bool>, heard: &[&str]) -> Node {
        node("10.0.20.12", held, heard)
    }

    #[test]
    fn nothing_is_wrong_where_all_agree() {
        let nodes = [db1(Some(true), &[]), db2(Some(false), &["10.0.20.11"])];
        assert_eq!(judged(Some("db1"), Some("db1"), nodes), [""; 0]);
    }

    #[test]
    fn what_disagrees_is_pointed_out() {
        let both = [db1(Some(true), &[]), db2(Some(true), &[])];
        assert_eq!(
            judged(Some("db1"), Some("db1"), both),
            [
                "10.0.20.155 is HERE on db1 and on db2",
                "10.0.20.155 is HERE on db2, and the leader key is db1's",
                "10.0.20.155 is HERE on db2, and its lock is db1's"
            ]
        );
        let nobody = || [db1(Some(false), &[]), db2(Some(false), &[])];
        assert_eq!(judged(Some("db1"), None, nobody()), ["10.0.20.155 is nowhere"]);
        assert_eq!(judged(None, None, nobody()), ["nobody has the leader key", "10.0.20.155 is nowhere"]);
        // The one that does not answer may have it.
        let silent = [db1(None, &[]), db2(Some(false), &["10.0.20.11"])];
        assert_eq!(judged(Some("db1"), Some("db1"), silent), ["no daemon answers for db1: no answer"]);
        let stranger = [db1(Some(true), &["10.0.20.100"]), db2(Some(false), &["10.0.20.11"])];
        assert_eq!(
            judged(Some("db1"), Some("db1"), stranger),
            ["10.0.20.100 advertises 10.0.20.155, and is none of the members"]
        );
    }
}

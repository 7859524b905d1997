//! This node as a member of Patroni's cluster: is there such a member, and is it this host?

use std::net::IpAddr;
use std::time::Duration;

use hyper::Uri;
use pgvrrp_config::Config;
use serde_json::Value;
use tokio::time::timeout;

use super::areas::PATRONI as AREA;
use super::keys::Contents;
use super::report::Finding;
use crate::evidence::etcd::keys::Keys;
use crate::evidence::etcd::parse::{Resolver, member_host};
use crate::gate::evidence::Member;

/// How long the name in `api_url` may take to resolve.
const RESOLVE: Duration = Duration::from_millis(500);

/// `host` has this host's own addresses, if they are known.
pub(super) async fn judge(
    config: &Config,
    keys: &Keys,
    contents: &Contents,
    host: Option<Vec<IpAddr>>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let value = match &contents.member {
        Ok(Some(value)) => value,
        Ok(None) => return vec![unknown_member(config, keys, contents, host.as_deref())],
        Err(unread) => {
            let text =
                format!("Patroni member {}: not checked, {} cannot be read: {}", config.node, keys.member, unread.why);
            return vec![Finding::warning(AREA, text, "see what is said about etcd and its rights above")];
        }
    };
    let member = Resolver::default().member(value).await;
    let host = host.unwrap_or_default();
    findings.push(place(config, &member, contents, &host));
    if let Some(url) = &member.api_url {
        findings.extend(rest_api(url, &addresses_of(url).await, &host));
    }
    let standby = contents.config.as_ref().is_ok_and(|value| value.as_deref().is_some_and(is_standby_cluster));
    findings.push(leader(config, contents, standby));
    if standby {
        findings.push(standby_cluster());
    }
    findings
}

/// There is no such member: then one of those that there are is this node, or it is the wrong cluster.
fn unknown_member(config: &Config, keys: &Keys, contents: &Contents, host: Option<&[IpAddr]>) -> Finding {
    let text = format!("Patroni member {}: {} does not exist", config.node, keys.member);
    let members = contents.members.as_deref().unwrap_or_default();
    let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
    let fix = match mine(members, host.unwrap_or_default()) {
        Some(name) => format!("node = \"{name}\", the member of this host; the members are {}", names.join(", ")),
        None if !names.is_empty() => format!(
            "set `node` to the `name` in this node's Patroni configuration; the members are {}",
            names.join(", ")
        ),
        None if contents.initialize == Ok(None) => format!(
            "start Patroni, or correct `namespace`, `scope` and, with Citus, `group` under [patroni]: there is no cluster below {}",
            keys.leader.trim_end_matches("leader")
        ),
        None => "start Patroni on this node, or set `node` to the `name` in its configuration".to_owned(),
    };
    Finding::problem(AREA, text, fix)
}

/// The member whose `conn_url` has an address of this host.
fn mine<'a>(members: &'a [(String, Vec<u8>)], host: &[IpAddr]) -> Option<&'a str> {
    let is_here = |value: &[u8]| {
        member_host(value).and_then(|address| address.parse().ok()).is_some_and(|address| host.contains(&address))
    };
    members.iter().find(|(_, value)| is_here(value)).map(|(name, _)| name.as_str())
}

fn place(config: &Config, member: &Member, contents: &Contents, host: &[IpAddr]) -> Finding {
    let Member { host: named, addresses, .. } = member;
    let who = format!("Patroni member {}", config.node);
    if addresses.is_empty() {
        let text = format!("{who}: the name {named} in its conn_url does not resolve here");
        return Finding::problem(
            AREA,
            text,
            "make it resolve, or use an address in Patroni's postgresql.connect_address",
        );
    }
    if host.is_empty() {
        return Finding::note(AREA, format!("{who}: exists at {named}; this host's addresses could not be read"));
    }
    if is_here(addresses, host) {
        return Finding::ok(AREA, format!("{who}: exists, at {named}, which is this host"));
    }
    let members = contents.members.as_deref().unwrap_or_default();
    let fix = match mine(members, host) {
        Some(name) => format!("node = \"{name}\", the member of this host"),
        None => {
            "set `node` to the `name` in this node's Patroni configuration, or correct postgresql.connect_address there"
                .to_owned()
        }
    };
    Finding::problem(AREA, format!("{who}: belongs to another host: its conn_url leads to {named}"), fix)
}

/// The daemon's own rule, by which it serves this member or another: one of the host's addresses, as they are written. A
/// loopback address is no exception.
fn is_here(addresses: &[IpAddr], host: &[IpAddr]) -> bool {
    addresses.iter().any(|address| host.contains(address))
}

/// Asked by the daemon while etcd is silent, for Patroni's failsafe mode: another host's Patroni is not believed.
fn rest_api(url: &str, addresses: &[IpAddr], host: &[IpAddr]) -> Option<Finding> {
    // The daemon only connects to it: what leads back to this host is enough.
    let leads_here = |address: &IpAddr| address.is_loopback() || host.contains(&address.to_canonical());
    if host.is_empty() || addresses.iter().any(leads_here) {
        return None;
    }
    let text = if addresses.is_empty() {
        format!("Patroni REST API: the host in {url} does not resolve here")
    } else {
        format!("Patroni REST API: {url} leads to another host")
    };
    Some(Finding::warning(AREA, text, "correct restapi.connect_address in Patroni's configuration on this node"))
}

async fn addresses_of(url: &str) -> Vec<IpAddr> {
    let Ok(uri) = url.parse::<Uri>() else { return Vec::new() };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    match timeout(RESOLVE, tokio::net::lookup_host((host, 0))).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        _ => Vec::new(),
    }
}

/// As Patroni decides it: there is somewhere to replicate from.
fn is_standby_cluster(value: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(value).unwrap_or_default();
    let standby = &value["standby_cluster"];
    let is_set = |key: &str| !matches!(&standby[key], Value::Null) && standby[key] != "";
    ["host", "port", "restore_command"].into_iter().any(is_set)
}

fn standby_cluster() -> Finding {
    Finding::warning(
        AREA,
        "Patroni standby cluster: no node is a primary here, so a VIP with follows = \"primary\" stays away",
        "nothing, until this cluster is to be promoted: then remove standby_cluster by `patronictl edit-config`",
    )
}

fn leader(config: &Config, contents: &Contents, standby: bool) -> Finding {
    match &contents.leader {
        // Of a standby cluster: not a primary.
        Ok(Some(value)) if standby => Finding::ok(AREA, format!("Patroni leader: {}", String::from_utf8_lossy(value))),
        Ok(Some(value)) if value == config.node.as_bytes() => {
            Finding::ok(AREA, "Patroni leader: this node; the VIP belongs here")
        }
        Ok(Some(value)) => {
            Finding::ok(AREA, format!("Patroni leader: {}; the VIP belongs there", String::from_utf8_lossy(value)))
        }
        Ok(None) => Finding::warning(
            AREA,
            "Patroni leader: nobody has the leader key, so no node may hold the VIP",
            "`patronictl list`, and Patroni's log on the node that should be the primary",
        ),
        Err(unread) => Finding::warning(
            AREA,
            format!("Patroni leader: the leader key cannot be read: {}", unread.why),
            "see what is said about etcd and its rights above",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str) -> Vec<u8> {
        format!(r#"{{"conn_url":"postgres://{host}:5432/postgres"}}"#).into_bytes()
    }

    #[test]
    fn the_member_of_this_host_is_found_by_its_address() {
        let members = [("db1".to_owned(), at("10.0.20.11")), ("db2".to_owned(), at("10.0.20.12"))];
        let host = ["127.0.0.1".parse().unwrap(), "10.0.20.12".parse().unwrap()];
        assert_eq!(mine(&members, &host), Some("db2"));
        assert_eq!(mine(&members, &[]), None);
        assert_eq!(mine(&[("db1".to_owned(), b"nonsense".to_vec())], &host), None);
    }

    /// The same that `KernelView::is_local` says.
    #[test]
    fn a_member_is_here_by_an_address_of_the_host() {
        let host = ["127.0.0.1".parse().unwrap(), "10.0.20.12".parse().unwrap()];
        let here = |address: &str| is_here(&[address.parse().unwrap()], &host);
        assert!(here("10.0.20.12") && here("127.0.0.1"));
        assert!(!here("10.0.20.11") && !here("127.0.1.1") && !here("::1"));
    }

    #[test]
    fn standby_clusters() {
        for config in [
            r#"{"standby_cluster":{"host":"10.0.30.11","port":5432}}"#,
            r#"{"standby_cluster":{"restore_command":"cp %f %p"}}"#,
        ] {
            assert!(is_standby_cluster(config.as_bytes()), "{config}");
        }
        for config in [
            "{}",
            "nonsense",
            r#"{"standby_cluster":null}"#,
            r#"{"standby_cluster":{}}"#,
            r#"{"standby_cluster":{"host":""}}"#,
        ] {
            assert!(!is_standby_cluster(config.as_bytes()), "{config}");
        }
    }

    #[test]
    fn an_api_elsewhere() {
        let host = ["10.0.20.11".parse().unwrap()];
        let api = |address: &str| rest_api("http://db1:8008/patroni", &[address.parse().unwrap()], &host);
        assert_eq!(api("10.0.20.11"), None);
        assert_eq!(api("::ffff:10.0.20.11"), None);
        assert_eq!(api("127.0.1.1"), None);
        assert!(api("10.0.20.12").unwrap().text.contains("another host"));
        assert!(rest_api("http://db1:8008/patroni", &[], &host).unwrap().text.contains("does not resolve"));
    }
}

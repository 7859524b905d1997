//! Everybody who may know something.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use pgvrrp_config::Config;
use serde_json::Value;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::{Cluster, Daemon, Etcd, Failure, Member, Node, Place, Vip};
use crate::doctor::{etcd, keys};
use crate::evidence::etcd::parse::{lock_holder, member_host};
use crate::evidence::patroni;
use crate::gate::evidence::LockHolder;
use crate::observe::control::{self, Ask};
use crate::settings::etcd_settings;

/// How long another daemon may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest status that is read: one of 250 VIPs has 1 MB.
const LONGEST: usize = 16 << 20;

pub(super) async fn everybody(config: &Config) -> Result<Cluster, Failure> {
    let runtime_dir = config.runtime_dir.clone();
    let own = spawn_blocking(move || control::ask(&runtime_dir, &Ask::Json));
    let (own, read) = tokio::join!(own, ask_etcd(config));
    let own = match own {
        Ok(Ok((answer, _))) => serde_json::from_str(&answer).map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(format!("{}: {error}", control::path(&config.runtime_dir).display())),
        Err(error) => Err(error.to_string()),
    };
    let mut cluster = Cluster { asked_from: config.node.clone(), ..Cluster::default() };
    cluster.vips = config
        .vips
        .iter()
        .map(|vip| Vip { name: vip.name.clone(), follows_primary: vip.follows.is_primary(), lock: None })
        .collect();
    let members = match read {
        Some(read) => cluster.take_etcd(read),
        None => BTreeMap::new(),
    };
    // Who is not in etcd, or while that is silent, may have been heard.
    let heard = own.as_ref().map(peers).unwrap_or_default();
    let others = ask_others(config, &members, if members.is_empty() { heard } else { BTreeSet::new() }).await;
    let own_node = cluster.nodes.entry(config.node.clone()).or_default();
    own_node.take(own);
    for (name, answer) in others {
        // A daemon is what it says it is.
        let says = answer.as_ref().ok().and_then(|status| status["node"].as_str()).map(str::to_owned);
        let name = says.unwrap_or(name);
        if name != config.node {
            cluster.nodes.entry(name).or_default().take(answer);
        }
    }
    let etcd_error = cluster.etcd.as_ref().map(|etcd| etcd.error.clone().unwrap_or_default());
    if cluster.nodes.values().all(|node| node.daemon.is_none()) && etcd_error.as_ref().is_none_or(|why| !why.is_empty())
    {
        let daemon = cluster.nodes.get(&config.node).and_then(|node| node.error.clone()).unwrap_or_default();
        let etcd = etcd_error.map(|why| format!("; {why}")).unwrap_or_default();
        return Err(Failure::Nobody(format!("{daemon}{etcd}")));
    }
    Ok(cluster)
}

/// What is in etcd, or why that is not known; `None` where there is no cluster.
async fn ask_etcd(config: &Config) -> Option<Result<keys::Contents, String>> {
    let settings = etcd_settings(config, config.cluster.as_ref()?);
    let mut endpoints = etcd::ask(&settings).await;
    match endpoints.iter_mut().find_map(etcd::Endpoint::reader) {
        Some(client) => Some(Ok(keys::read(client, &settings).await)),
        None => {
            let why = endpoints.iter().map(|endpoint| format!("etcd {}: {}", endpoint.authority, endpoint.trouble()));
            Some(Err(why.collect::<Vec<_>>().join("; ")))
        }
    }
}

/// Asks the daemon of each member but this one, and at each address; by what it is known as.
async fn ask_others(
    config: &Config,
    members: &BTreeMap<String, Option<String>>,
    heard: BTreeSet<IpAddr>,
) -> Vec<(String, Result<Value, String>)> {
    let Some(port) = config.http.listen.map(|listen| listen.port()) else { return Vec::new() };
    let mut asked = JoinSet::new();
    let named = members.iter().filter(|(name, _)| **name != config.node);
    let named = named.map(|(name, host)| (name.clone(), host.clone()));
    let heard = heard.into_iter().map(|address| (address.to_string(), Some(address.to_string())));
    for (name, host) in named.chain(heard) {
        asked.spawn_local(async move {
            let answer = match host {
                Some(host) => ask_daemon(&host, port).await,
                None => Err("its member key names no host".to_owned()),
            };
            (name, answer)
        });
    }
    asked.join_all().await
}

async fn ask_daemon(host: &str, port: u16) -> Result<Value, String> {
    let url = match host.contains(':') {
        true => format!("http://[{host}]:{port}/status"),
        false => format!("http://{host}:{port}/status"),
    };
    let answer = timeout(PATIENCE, patroni::get(&url, LONGEST)).await;
    let body = answer.map_err(|_| format!("{url}: no answer within {PATIENCE:?}"))??;
    let status: Value = serde_json::from_slice(&body).map_err(|error| format!("{url}: {error}"))?;
    if status["vips"].is_array() { Ok(status) } else { Err(format!("{url}: what answers is no pgvrrp")) }
}

/// The routers that a daemon has heard.
fn peers(status: &Value) -> BTreeSet<IpAddr> {
    let vips = status["vips"].as_array().into_iter().flatten();
    let peers = vips.flat_map(|vip| vip["peers"].as_array().into_iter().flatten());
    let addresses = peers.filter_map(|peer| peer["address"].as_str()?.parse().ok());
    // A link-local address is of no use without its link.
    addresses.filter(|address: &IpAddr| !crate::node::is_link_local(*address)).collect()
}

impl Cluster {
    /// Returns where each member is.
    fn take_etcd(&mut self, read: Result<keys::Contents, String>) -> BTreeMap<String, Option<String>> {
        let mut etcd = Etcd::default();
        let mut hosts = BTreeMap::new();
        match read {
            Err(why) => etcd.error = Some(why),
            Ok(contents) => {
                let mut unread = BTreeSet::new();
                let leader = contents.leader.unwrap_or_else(|why| {
                    unread.insert(why.why);
                    None
                });
                etcd.leader = leader.map(|value| String::from_utf8_lossy(&value).into_owned());
                for (vip, lock) in self.vips.iter_mut().filter(|vip| vip.follows_primary).zip(contents.locks) {
                    match lock {
                        Ok(value) => vip.lock = value.map(|value| holder(&value)),
                        Err(why) => drop(unread.insert(why.why)),
                    }
                }
                match contents.members {
                    Ok(members) => hosts = self.take_members(members, etcd.leader.as_deref()),
                    Err(why) => drop(unread.insert(why.why)),
                }
                etcd.error = (!unread.is_empty()).then(|| unread.into_iter().collect::<Vec<_>>().join("; "));
            }
        }
        self.etcd = Some(etcd);
        hosts
    }

    fn take_members(
        &mut self,
        members: Vec<(String, Vec<u8>)>,
        leader: Option<&str>,
    ) -> BTreeMap<String, Option<String>> {
        let read: Vec<_> = members
            .into_iter()
            .map(|(name, value)| (name, member_host(&value), serde_json::from_slice(&value).unwrap_or(Value::Null)))
            .collect();
        let position = |value: &Value| value["xlog_location"].as_u64();
        let ahead =
            read.iter().find(|(name, ..)| Some(name.as_str()) == leader).and_then(|(.., value)| position(value));
        let mut hosts = BTreeMap::new();
        for (name, host, value) in read {
            let word = |key: &str| value[key].as_str().map(str::to_owned);
            let is_leader = Some(name.as_str()) == leader;
            let lag = ahead.zip(position(&value)).filter(|_| !is_leader);
            let member = Member {
                role: word("role"),
                state: word("state"),
                timeline: value["timeline"].as_u64(),
                host: host.clone(),
                lag: lag.map(|(ahead, position)| ahead.saturating_sub(position)),
            };
            self.nodes.entry(name.clone()).or_default().member = Some(member);
            hosts.insert(name, host);
        }
        hosts
    }
}

fn holder(value: &[u8]) -> String {
    match lock_holder(value) {
        LockHolder::Known(known) => known.member,
        LockHolder::Unknown(text) => text,
    }
}

impl Node {
    fn take(&mut self, answer: Result<Value, String>) {
        match answer {
            Ok(status) => (self.daemon, self.error) = (Some(Daemon::of(&status)), None),
            Err(why) => self.error = Some(why),
        }
    }
}

impl Daemon {
    /// It may be of another version than this program.
    fn of(status: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let vips = status["vips"].as_array().into_iter().flatten().map(|vip| {
            let place = Place {
                held: vip["held"] == true,
                reason: text(&vip["reason"]),
                why: text(&vip["why"]),
                heard: heard(vip),
            };
            (text(&vip["name"]), place)
        });
        Self {
            version: text(&status["version"]),
            role: status["postgres"]["role"].as_str().map(str::to_owned),
            stuck: status["age"].as_f64().is_some_and(|age| age >= 2.0),
            vips: vips.collect(),
        }
    }
}

/// Those whose last advertisement has not run out.
fn heard(vip: &Value) -> Vec<String> {
    let lasts = vip["vrrp"]["active_down_interval"].as_f64().unwrap_or_default();
    let peers = vip["peers"].as_array().into_iter().flatten();
    let living = peers.filter(|peer| {
        let is_fresh = peer["age"].as_f64().is_some_and(|age| age < lasts);
        is_fresh && peer["version"] == 3 && peer["priority"].as_u64().is_some_and(|priority| priority > 0)
    });
    living.filter_map(|peer| peer["address"].as_str().map(str::to_owned)).collect()
}

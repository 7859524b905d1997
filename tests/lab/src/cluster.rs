//! The whole: network, etcd and a Patroni cluster, started together and gone together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::clock::Time;
use crate::etcd::{EtcdClient, EtcdLayout, Member, Tokens};
use crate::faults::Faults;
use crate::http::Request;
use crate::netns::Namespace;
use crate::network::{Network, Node};
use crate::patroni::{self, Database, LEADER_KEY, Timing};
use crate::prerequisites::{self, Tools};
use crate::site::Site;

/// How a lab is to be.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Patroni's times.
    pub timing: Timing,
    /// Where etcd runs.
    pub etcd: EtcdLayout,
    /// Whether etcd has the API of version 2 as well.
    pub etcd_v2: bool,
    /// Whether etcd asks for passwords.
    pub etcd_auth: bool,
    /// What it gives for them.
    pub etcd_tokens: Tokens,
    /// Whether etcd has TLS, and asks its clients for a certificate of the lab's authority.
    pub etcd_tls: bool,
    /// Whether PostgreSQL has TLS, and lets nobody in by its loopback address without that and a password or certificate.
    pub postgres_tls: bool,
    /// Patroni's `failsafe_mode`.
    pub failsafe_mode: bool,
    /// How many connections PostgreSQL takes.
    pub max_connections: u32,
}

impl Default for Options {
    /// One etcd member without passwords and TLS, and Patroni's shortest times.
    fn default() -> Self {
        Self {
            timing: Timing::FAST,
            etcd: EtcdLayout::Single,
            etcd_v2: false,
            etcd_auth: false,
            etcd_tokens: Tokens::default(),
            etcd_tls: false,
            postgres_tls: false,
            failsafe_mode: false,
            max_connections: 100,
        }
    }
}

/// A running cluster: primary on db1, a streaming replica on db2. Everything is gone when it is dropped.
#[derive(Debug)]
pub struct Lab {
    // In the order in which they must go: children first, then the namespaces and files they use.
    databases: [Database; 2],
    members: Vec<Member>,
    etcd: EtcdClient,
    network: Network,
    authority: Authority,
    tools: Tools,
    options: Options,
    pub(crate) faults: Faults,
    site: Arc<Site>,
}

impl Lab {
    /// Starts everything, and waits until db1 is the primary and db2 streams from it.
    ///
    /// # Errors
    /// Without root, when a program is missing (see [`prerequisites`]), or when a part does not come up in time; the
    /// message then ends with the last lines of its log.
    pub fn start(options: Options) -> Result<Self> {
        prerequisites::require_root()?;
        let tools = Tools::find()?;
        let site = Site::new()?;
        let network = Network::build(&site)?;
        let on = |node: Node| &network.nodes[&node];
        let authority = Authority::new(&site.dir().join("tls"))?;
        let member = |node: Node| Member::new(node, &options, on(node), &tools, &site, &authority);
        let members = options.etcd.nodes().iter().map(|node| member(*node));
        let members = members.collect::<Result<Vec<_>>>()?;
        authority.issue_nameless("client", tools.account)?;
        let database = |node: Node| Database::new(node, on(node), &tools, &site, &options, &authority);
        let databases = [database(Node::Db1)?, database(Node::Db2)?];
        let etcd = EtcdClient::new(on(Node::Dcs), &options, &tools, options.etcd_auth);
        let faults = Faults::default();
        let lab = Self { databases, members, etcd, network, authority, tools, options, faults, site };
        lab.bring_up().map_err(|e| e.context(lab.log_tails()))?;
        Ok(lab)
    }

    fn bring_up(&self) -> Result<()> {
        self.members.iter().try_for_each(Member::start)?;
        self.etcd.wait_healthy(Duration::from_secs(20))?;
        if self.options.etcd_auth {
            let open = EtcdClient::new(self.namespace(Node::Dcs), &self.options, &self.tools, false);
            patroni::set_up_etcd_auth(&open)?;
        }
        self.database(Node::Db1).start()?;
        // Whoever makes this key makes the cluster; from then on the second node can only be a replica.
        self.wait_until("Patroni's initialize key", Duration::from_secs(20), || {
            Ok(self.etcd.get("/service/odoo/initialize")?.is_some())
        })?;
        self.database(Node::Db2).start()?;
        self.database(Node::Db1).wait_writable(Duration::from_secs(60))?;
        self.database(Node::Db1).sql(
            "create role pgvrrp login; \
             create role app login; \
             create table writes (id bigserial primary key, node text not null, at timestamptz not null default now()); \
             grant insert, select on writes to app; \
             grant usage on sequence writes_id_seq to app",
        )?;
        self.wait_until("PostgreSQL on db2", Duration::from_secs(60), || {
            self.database(Node::Db2).sql("select 1").map(|_| true)
        })?;
        // Any change wakes Patroni on the primary, which then makes db2's replication slot: up to loop_wait earlier.
        self.patch_config(&json!({"maximum_lag_on_failover": 16_777_216}))?;
        self.wait_streaming(Node::Db2, Duration::from_secs(60))
    }

    /// The directory of this lab: below it, one per node with data, sockets, configuration and logs.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.site.dir()
    }

    /// Makes a directory below it, for the account that PostgreSQL and the applications run as.
    pub(crate) fn make_dir(&self, name: &str) -> Result<PathBuf> {
        self.site.make_dir(name, Some(self.tools.account))
    }

    /// The programs in use.
    #[must_use]
    pub const fn tools(&self) -> &Tools {
        &self.tools
    }

    /// How the lab was started.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// A machine's network.
    #[must_use]
    pub fn namespace(&self, node: Node) -> &Namespace {
        &self.network.nodes[&node]
    }

    pub(crate) const fn namespaces(&self) -> &BTreeMap<Node, Namespace> {
        &self.network.nodes
    }

    /// The namespace that has the bridge and nothing else.
    #[must_use]
    pub const fn lan(&self) -> &Namespace {
        &self.network.lan
    }

    /// Patroni and PostgreSQL on a database node.
    ///
    /// # Panics
    /// For a node without a database.
    #[must_use]
    pub fn database(&self, node: Node) -> &Database {
        let index = Node::DATABASES.iter().position(|n| *n == node);
        &self.databases[index.unwrap_or_else(|| panic!("{node} has no database"))]
    }

    /// Who has signed the certificates of this lab. `client.pem` and `client.key` beside its own are for etcd's clients.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The etcd members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Access to etcd's keys from dcs.
    #[must_use]
    pub const fn etcd(&self) -> &EtcdClient {
        &self.etcd
    }

    /// Access to the keys by each member alone, from its own machine.
    pub(crate) fn etcd_members_alone(&self) -> impl Iterator<Item = EtcdClient> {
        let nodes = self.members.iter().map(Member::node);
        nodes.map(|node| self.etcd.alone(node, self.namespace(node)))
    }

    /// The etcd member that leads the others, by its own word.
    #[must_use]
    pub fn etcd_leader(&self) -> Option<&Member> {
        self.members
            .iter()
            .zip(self.etcd_members_alone())
            .find(|(_, etcd)| etcd.leads().unwrap_or(false))
            .map(|(m, _)| m)
    }

    /// The node that the leader key names, `None` when there is no such key.
    ///
    /// # Errors
    /// When etcd does not answer.
    pub fn leader(&self) -> Result<Option<Node>> {
        Ok(self.etcd.get(LEADER_KEY)?.and_then(|kv| Node::from_name(&kv.value)))
    }

    /// Waits until `node` has the leader key and its PostgreSQL accepts writes.
    ///
    /// # Errors
    /// When that is not so within `limit`.
    pub fn wait_primary(&self, node: Node, limit: Duration) -> Result<()> {
        self.wait_until(&format!("{node} to be the primary"), limit, || {
            Ok(self.leader()? == Some(node) && self.database(node).sql("select pg_is_in_recovery()")? == "f")
        })
    }

    /// Waits until the primary sees `replica` streaming and in step.
    ///
    /// # Errors
    /// When that is not so within `limit`.
    pub fn wait_streaming(&self, replica: Node, limit: Duration) -> Result<()> {
        let query = format!(
            "select count(*) from pg_stat_replication \
             where application_name = '{replica}' and state = 'streaming' and pg_current_wal_lsn() - replay_lsn = 0"
        );
        let primary = self.database(replica.other());
        self.wait_until(&format!("{replica} to stream"), limit, || Ok(primary.sql(&query)? == "1"))?;
        // Patroni on the replica says so a moment later; a switchover before that is refused.
        self.wait_until(&format!("Patroni to call {replica} streaming"), limit, || {
            Ok(self.database(replica).state()?["replication_state"] == "streaming")
        })
    }

    /// Waits for the usual state after a move: `primary` is the primary and the other node its streaming replica.
    ///
    /// # Errors
    /// When that is not so within `limit`.
    pub fn wait_settled(&self, primary: Node, limit: Duration) -> Result<()> {
        self.wait_primary(primary, limit)?;
        self.wait_streaming(primary.other(), limit)
    }

    /// Asks Patroni for a switchover to `target`, and returns when it says that the move was done or refused.
    ///
    /// # Errors
    /// With Patroni's words when it refuses.
    pub fn switchover(&self, target: Node) -> Result<Switchover> {
        let leader = target.other();
        let body = json!({"leader": leader.name(), "candidate": target.name()}).to_string();
        let asked = Time::now();
        let answer = self.database(leader).rest(Request::post("/switchover", &body), Duration::from_secs(60))?;
        if answer.status != 200 {
            bail!("Patroni refuses the switchover to {target}: {} {}", answer.status, answer.body);
        }
        Ok(Switchover { asked, answered: Time::now() })
    }

    /// Changes Patroni's dynamic configuration, for example `{"pause": true}` or `{"ttl": 40}`; `null` removes a key.
    ///
    /// # Errors
    /// With Patroni's words when it refuses.
    pub fn patch_config(&self, change: &Value) -> Result<()> {
        let leader = self.leader()?.unwrap_or(Node::Db1);
        let body = change.to_string();
        let request = Request { method: "PATCH", ..Request::post("/config", &body) };
        let answer = self.database(leader).rest(request, Duration::from_secs(10))?;
        if answer.status != 200 {
            bail!("Patroni refuses the configuration {change}: {} {}", answer.status, answer.body);
        }
        Ok(())
    }

    /// Pauses or resumes Patroni's automatic failover, and waits until both nodes know.
    ///
    /// # Errors
    /// When they do not within 15 s.
    pub fn pause(&self, paused: bool) -> Result<()> {
        self.patch_config(&if paused { json!({"pause": true}) } else { json!({"pause": null}) })?;
        self.wait_until("both nodes to know of the pause", Duration::from_secs(15), || {
            let knows = |d: &Database| Ok(d.state()?["pause"].as_bool().unwrap_or(false) == paused);
            self.databases.iter().map(knows).try_fold(true, |all, one: Result<bool>| Ok(all && one?))
        })
    }

    /// Asks again and again until `condition` is true; an error counts as "not yet", and the last one is reported.
    ///
    /// # Errors
    /// When it is not true within `limit`.
    pub fn wait_until(&self, what: &str, limit: Duration, condition: impl Fn() -> Result<bool>) -> Result<()> {
        let start = Time::now();
        loop {
            let result = condition();
            if matches!(result, Ok(true)) {
                return Ok(());
            }
            if start.elapsed() > limit {
                let complaint = format!("waited {limit:?} in vain for {what}");
                return result.and_then(|_| bail!("the condition is false")).context(complaint);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The last lines of every log, for a failure's message.
    #[must_use]
    pub fn log_tails(&self) -> String {
        const LINES: usize = 15;
        let mut text = String::new();
        for node in Node::ALL {
            let Ok(entries) = std::fs::read_dir(self.dir().join(node.name())) else { continue };
            for path in
                entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "log"))
            {
                let log = std::fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = &lines[lines.len().saturating_sub(LINES)..];
                text += &format!("--- {}, last lines:\n{}\n", path.display(), tail.join("\n"));
            }
        }
        text
    }
}

/// A switchover that Patroni has carried out.
#[derive(Clone, Copy, Debug)]
pub struct Switchover {
    /// When it was asked for.
    pub asked: Time,
    /// When Patroni said that the new primary has the leader key.
    pub answered: Time,
}

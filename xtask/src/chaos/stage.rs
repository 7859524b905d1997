//! The cluster, the daemons on it, and what is broken at the moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use lab::daemon::{Daemon, Launch};
use lab::http::Request;
use lab::process::Process;
use lab::{Direction, Lab, Node, Time, Traffic, VIP};
use serde_json::json;

use super::judge::{ByHand, Outage};
use super::plan::Kind;

/// After healing, for so long: V and K of a dead holder run out, Patroni starts PostgreSQL, rewinds, promotes.
const SETTLE: Duration = Duration::from_secs(150);

/// A fault that was carried out.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    pub(crate) kind: Kind,
    /// "db1", or the etcd member's node.
    pub(crate) whom: String,
    pub(crate) from: Time,
    /// Its end, where it has one.
    pub(crate) to: Option<Time>,
}

/// What can be out of order, one thing at a time each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Daemon(Node),
    Postgres(Node),
    Patroni(Node),
    Etcd(Node),
    Link(Node),
    Cut(Node, Traffic, Direction),
    /// Patroni's dynamic configuration.
    Config,
    Processors,
    Clock,
}

/// How a part is put in order again.
#[derive(Debug)]
pub(crate) enum Remedy {
    Continue,
    Start,
    Uncut,
    Up,
    Patch(serde_json::Value),
    End(Vec<Process>),
    StepBack(i64),
}

#[derive(Debug)]
struct Broken {
    due: Time,
    part: Part,
    remedy: Remedy,
    deed: usize,
}

pub(crate) struct Stage {
    pub(crate) lab: Arc<Lab>,
    binary: PathBuf,
    /// Where recordings go.
    dir: PathBuf,
    daemons: BTreeMap<Node, Daemon>,
    broken: Vec<Broken>,
    /// What was asked of Patroni and is not answered yet.
    asked: Vec<JoinHandle<()>>,
    pub(crate) recordings: Vec<PathBuf>,
    pub(crate) deeds: Vec<Deed>,
    pub(crate) outages: Vec<Outage>,
    pub(crate) by_hand: Vec<ByHand>,
}

impl Stage {
    pub(crate) fn new(lab: Lab, binary: &Path, dir: &Path) -> Result<Self> {
        let mut stage = Self {
            lab: Arc::new(lab),
            binary: binary.to_owned(),
            dir: dir.to_owned(),
            daemons: BTreeMap::new(),
            broken: Vec::new(),
            asked: Vec::new(),
            recordings: Vec::new(),
            deeds: Vec::new(),
            outages: Vec::new(),
            by_hand: Vec::new(),
        };
        Node::DATABASES.into_iter().try_for_each(|node| stage.start_daemon(node))?;
        Ok(stage)
    }

    pub(crate) fn daemon(&self, node: Node) -> &Daemon {
        &self.daemons[&node]
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// The node that has the VIP; without one, who is to have it.
    pub(crate) fn holder(&self) -> Node {
        let has = |node: &Node| self.has_vip(*node).unwrap_or(false);
        let leader = || self.lab.leader().ok().flatten().unwrap_or(Node::Db1);
        Node::DATABASES.into_iter().find(has).unwrap_or_else(leader)
    }

    pub(crate) fn has_vip(&self, node: Node) -> Result<bool> {
        let listed = self.lab.namespace(node).ip(&["-oneline", "address", "show"])?;
        Ok(listed.contains(&format!(" {VIP}/")))
    }

    /// Whether none of these is out of order at the moment.
    pub(crate) fn are_whole(&self, parts: &[Part]) -> bool {
        self.broken.iter().all(|broken| !parts.contains(&broken.part))
    }

    pub(crate) fn is_any_etcd_broken(&self) -> bool {
        self.broken.iter().any(|broken| matches!(broken.part, Part::Etcd(_)))
    }

    /// Something was done that is over.
    pub(crate) fn done(&mut self, kind: Kind, whom: impl ToString, from: Time) {
        self.deeds.push(Deed { kind, whom: whom.to_string(), from, to: None });
    }

    /// Something was done that lasts: this puts it in order again then.
    pub(crate) fn broke(&mut self, kind: Kind, from: Time, length: Duration, remedies: Vec<(Part, Remedy)>) {
        let whom = remedies.first().map_or_else(String::new, |(part, _)| part.whom());
        self.deeds.push(Deed { kind, whom, from, to: Some(from.plus(length)) });
        let deed = self.deeds.len() - 1;
        let broken = |(part, remedy)| Broken { due: from.plus(length), part, remedy, deed };
        self.broken.extend(remedies.into_iter().map(broken));
    }

    /// Lets time pass, and puts in order what is due.
    pub(crate) fn wait(&mut self, length: Duration) -> Result<()> {
        let end = Time::now().plus(length);
        while Time::now() < end {
            let next = self.broken.iter().map(|broken| broken.due).min().unwrap_or(end).min(end);
            thread::sleep(next.since(Time::now()).min(Duration::from_millis(50)));
            self.mend(Time::now())?;
        }
        Ok(())
    }

    /// Lets every fault end by itself.
    pub(crate) fn wait_out(&mut self) -> Result<()> {
        while let Some(due) = self.broken.iter().map(|broken| broken.due).max() {
            self.wait(due.since(Time::now()).max(Duration::from_millis(10)))?;
        }
        Ok(())
    }

    /// Puts in order what is due by then. What cannot be yet, for another fault is in the way, is tried again a second later.
    fn mend(&mut self, until: Time) -> Result<()> {
        let (due, rest): (Vec<_>, Vec<_>) = self.broken.drain(..).partition(|broken| broken.due <= until);
        self.broken = rest;
        for mut broken in due {
            if self.apply(broken.part, &mut broken.remedy)? {
                self.deeds[broken.deed].to = Some(Time::now());
            } else {
                broken.due = Time::now().plus(Duration::from_secs(1));
                self.broken.push(broken);
            }
        }
        Ok(())
    }

    fn apply(&mut self, part: Part, remedy: &mut Remedy) -> Result<bool> {
        use nix::sys::signal::Signal::SIGCONT;
        match (part, remedy) {
            (Part::Daemon(node), Remedy::Continue) => {
                self.daemons[&node].thaw()?;
                self.is_back(node);
            }
            (Part::Daemon(node), _) => self.start_daemon(node)?,
            (Part::Postgres(node), _) => {
                // It may have been killed meanwhile.
                let _ = self.lab.database(node).signal_postgres(SIGCONT);
            }
            (Part::Patroni(node), Remedy::Continue) => self.lab.database(node).signal_patroni(SIGCONT)?,
            (Part::Patroni(node), _) => self.lab.database(node).start()?,
            (Part::Etcd(node), remedy) => {
                let member = self.lab.members().iter().find(|member| member.node() == node);
                let member = member.context("no etcd member there")?;
                if matches!(remedy, Remedy::Continue) { member.signal(SIGCONT)? } else { member.start()? }
            }
            (Part::Link(node), _) => drop(self.lab.namespace(node).ip(&["link", "set", "eth0", "up"])?),
            (Part::Cut(node, traffic, direction), _) => self.lab.uncut(node, traffic, direction)?,
            (_, Remedy::Patch(change)) => return Ok(self.lab.patch_config(change).is_ok()),
            (_, Remedy::End(processes)) => processes.clear(),
            (_, Remedy::StepBack(seconds)) => lab::clock::step_realtime(*seconds)?,
            (part, remedy) => anyhow::bail!("{remedy:?} is no remedy for {part:?}"),
        }
        Ok(true)
    }

    /// Asks something of Patroni that takes its time.
    pub(crate) fn ask(&mut self, question: impl FnOnce(&Lab) + Send + 'static) {
        let lab = Arc::clone(&self.lab);
        self.asked.push(thread::spawn(move || question(&lab)));
    }

    pub(crate) fn start_daemon(&mut self, node: Node) -> Result<()> {
        let record = self.dir.join(format!("{node}-{}.jsonl", self.recordings.len()));
        self.recordings.push(record.clone());
        let launch = Launch { record: Some(record), ..Launch::reference(&self.lab, node) };
        // The former one goes first: it may have ended by itself only now.
        self.daemons.remove(&node);
        self.daemons.insert(node, Daemon::start(&self.lab, node, &self.binary, &launch)?);
        self.is_back(node);
        Ok(())
    }

    pub(crate) fn is_out(&mut self, node: Node, from: Time) {
        self.outages.push(Outage { node, from, to: None });
    }

    fn is_back(&mut self, node: Node) {
        let now = Time::now();
        self.outages.iter_mut().filter(|o| o.node == node && o.to.is_none()).for_each(|outage| outage.to = Some(now));
    }

    /// No daemon runs any more: their recordings are complete.
    pub(crate) fn end_daemons(&mut self) {
        self.daemons.clear();
    }

    /// Copies every log to where the recordings are.
    pub(crate) fn keep_logs(&self) {
        for node in Node::ALL {
            let entries = std::fs::read_dir(self.lab.dir().join(node.name())).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "log")) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let _ = std::fs::copy(&path, self.dir.join(format!("{node}-{name}")));
            }
        }
    }

    /// Puts everything in order, and waits until the cluster is as it was. Returns how long the VIP took to be where the
    /// primary is and take writes.
    ///
    /// # Errors
    /// When it is not within [`SETTLE`].
    pub(crate) fn settle(&mut self) -> Result<Duration> {
        let healed = Time::now();
        while !self.broken.is_empty() {
            self.mend(Time::from_nanos(u64::MAX))?;
            thread::sleep(Duration::from_millis(20));
        }
        self.lab.heal_all()?;
        // A change that was answered by an error may have been made all the same.
        let usual = json!({"pause": null, "ttl": self.lab.options().timing.ttl});
        self.lab.wait_until("Patroni to take its usual configuration", SETTLE, || {
            self.revive()?;
            self.lab.patch_config(&usual).map(|()| true)
        })?;
        let served = || {
            self.revive()?;
            let leader = self.lab.leader()?.context("no leader")?;
            let placed = self.has_vip(leader)? && !self.has_vip(leader.other())?;
            Ok(placed && self.lab.database(leader).sql("select pg_is_in_recovery()")? == "f")
        };
        self.lab.wait_until("the VIP on the primary", SETTLE, served)?;
        let took = healed.elapsed();
        for question in self.asked.drain(..) {
            let _ = question.join();
        }
        self.rejoin()?;
        self.lab.wait_until("the VIP on the primary", SETTLE, || {
            let leader = self.lab.leader()?.context("no leader")?;
            Ok(self.has_vip(leader)? && !self.has_vip(leader.other())?)
        })?;
        Ok(took)
    }

    /// Patroni ends by itself when it is started while there is no etcd; a service manager would start it again.
    fn revive(&self) -> Result<()> {
        let dead = |node: &Node| self.lab.database(*node).patroni_pid().is_none();
        Node::DATABASES.into_iter().filter(dead).try_for_each(|node| self.lab.database(node).start())
    }

    /// The other node streams again; if it cannot, Patroni makes its copy anew.
    fn rejoin(&self) -> Result<()> {
        let streams = |limit| {
            let replica = || anyhow::Ok(self.lab.leader()?.context("no leader")?.other());
            self.lab.wait_until("a replica", limit, || {
                self.revive()?;
                let replica = replica()?;
                Ok(self.lab.database(replica).state()?["replication_state"] == "streaming")
            })?;
            self.lab.wait_streaming(replica()?, limit)
        };
        if streams(Duration::from_secs(45)).is_ok() {
            return Ok(());
        }
        let body = json!({"force": true}).to_string();
        self.lab.wait_until("Patroni to make a replica anew", SETTLE, || {
            self.revive()?;
            let replica = self.lab.leader()?.context("no leader")?.other();
            let answer =
                self.lab.database(replica).rest(Request::post("/reinitialize", &body), Duration::from_secs(10))?;
            Ok(answer.status == 200)
        })?;
        streams(SETTLE)
    }
}

impl Part {
    fn whom(self) -> String {
        match self {
            Self::Daemon(node) | Self::Postgres(node) | Self::Patroni(node) | Self::Etcd(node) | Self::Link(node) => {
                node.to_string()
            }
            Self::Cut(node, Traffic::EtcdMember(member), _) => format!("{node} from {member}"),
            Self::Cut(node, ..) => node.to_string(),
            Self::Config | Self::Processors | Self::Clock => String::new(),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A stepped clock is the machine's, not the lab's.
        let clocks = self.broken.drain(..).filter_map(|broken| match broken.remedy {
            Remedy::StepBack(seconds) => Some(seconds),
            _ => None,
        });
        for seconds in clocks {
            let _ = lab::clock::step_realtime(seconds);
        }
        for question in self.asked.drain(..) {
            let _ = question.join();
        }
    }
}

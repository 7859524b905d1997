//! What every scenario begins and ends with.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::analysis::{Analysis, Holding};
use lab::daemon::{Daemon, Launch};
use lab::{Lab, Node, Options, Probes, Time};
use serde_json::Value;

use crate::recordings::Recordings;

/// A scenario that takes longer than this has hung: usually, and when things are repeated as often as required.
const LONGEST: [usize; 2] = [300, 900];

/// What fills a history without explaining anything.
const NOISE: [&str; 4] = ["client:", "advertisement", "gratuitous", "insert"];

/// The daemon that was built with the tests.
const OURS: &str = env!("CARGO_BIN_EXE_pgvrrp");

/// The daemon under test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("PGVRRP_BINARY").map_or_else(|| OURS.into(), PathBuf::from)
}

/// Built from the sources that these tests are of, in whatever profile. Another build may know nothing of recordings, or
/// decide otherwise.
fn is_of_this_tree(build: &Path) -> bool {
    Path::new(OURS).ancestors().nth(2).is_some_and(|target| build.starts_with(target))
}

/// How often to repeat something: a few times, or as often as the requirements say.
pub(crate) fn times(usually: usize, full: usize) -> usize {
    if std::env::var_os("PGVRRP_FULL").is_some() { full } else { usually }
}

/// A cluster with daemons on its database nodes.
pub(crate) struct Stage<'lab> {
    pub(crate) lab: &'lab Lab,
    pub(crate) probes: RefCell<Probes>,
    daemons: RefCell<BTreeMap<Node, Daemon>>,
    forgiven: Cell<bool>,
    recordings: Recordings,
    recorded: Cell<bool>,
}

/// Plays a scenario on a cluster of its own: a daemon on each database node, the VIP on db1, a client in a hurry that
/// writes through the VIP. Fails if the scenario does, or if a promise was broken at any moment of it.
pub(crate) fn play(options: Options, act: impl FnOnce(&Stage<'_>) -> Result<()>) {
    play_with(options, |stage| {
        for node in Node::DATABASES {
            stage.start_daemon(node)?;
        }
        stage.wait_vip(Node::Db1, Duration::from_secs(10))?;
        stage.probes.borrow_mut().add_hasty_client()?;
        act(stage)
    });
}

/// The same without daemons and client: the scenario starts them itself.
pub(crate) fn play_with(options: Options, act: impl FnOnce(&Stage<'_>) -> Result<()>) {
    let (done, is_done) = sync_channel::<()>(0);
    let name = thread::current().name().unwrap_or("scenario").to_owned();
    let longest = Duration::from_secs(times(LONGEST[0], LONGEST[1]) as u64);
    let of = name.clone();
    thread::spawn(move || {
        if is_done.recv_timeout(longest) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{of} has hung for {longest:?}");
            lab::clean_up_all();
            std::process::exit(1);
        }
    });
    let result = perform(options, &name, act);
    drop(done);
    if let Err(error) = result {
        panic!("{error:?}");
    }
}

fn perform(options: Options, name: &str, act: impl FnOnce(&Stage<'_>) -> Result<()>) -> Result<()> {
    let lab = Lab::start(options)?;
    let start = Time::now();
    let probes = Probes::watch(&lab)?;
    let history = probes.history().clone();
    let stage = Stage {
        lab: &lab,
        probes: RefCell::new(probes),
        daemons: RefCell::default(),
        forgiven: Cell::new(false),
        recordings: Recordings::below(&lab.dir())?,
        recorded: Cell::new(true),
    };
    let result = act(&stage);
    stage.recordings.keep(name)?;
    let result = result.and_then(|()| {
        let violations = stage.analysis().violations();
        ensure!(stage.forgiven.get() || violations.is_empty(), "broken promises:\n{}", violations.join("\n"));
        stage.recordings.replay()
    });
    result.map_err(|error| {
        let logs: String =
            stage.daemons.borrow().iter().map(|(node, daemon)| format!("--- {node}\n{}\n", daemon.log())).collect();
        let events = history.to_text(start);
        let notable: Vec<_> = events.lines().filter(|line| NOISE.iter().all(|noise| !line.contains(noise))).collect();
        let tail = notable[notable.len().saturating_sub(120)..].join("\n");
        error.context(format!("{tail}\n{logs}"))
    })
}

impl Stage<'_> {
    pub(crate) fn start_daemon(&self, node: Node) -> Result<()> {
        self.launch(node, &Launch::reference(self.lab, node))
    }

    /// Starts a daemon in place of the one that the node had.
    pub(crate) fn launch(&self, node: Node, launch: &Launch) -> Result<()> {
        self.launch_build(node, launch, &binary())
    }

    /// The same with another build of the daemon.
    pub(crate) fn launch_build(&self, node: Node, launch: &Launch, build: &Path) -> Result<()> {
        let mut launch = launch.clone();
        if self.recorded.get() && build == binary() && is_of_this_tree(build) {
            launch.record = Some(self.recordings.next(node, &launch.name));
        }
        let daemon = Daemon::start(self.lab, node, build, &launch)?;
        self.daemons.borrow_mut().insert(node, daemon);
        Ok(())
    }

    /// Does something with a node's daemon.
    pub(crate) fn daemon<T>(&self, node: Node, act: impl FnOnce(&Daemon) -> Result<T>) -> Result<T> {
        act(self.daemons.borrow().get(&node).with_context(|| format!("{node} has no daemon"))?)
    }

    /// The scenario itself put the VIP in two places.
    pub(crate) fn forgive(&self) {
        self.forgiven.set(true);
    }

    pub(crate) fn analysis(&self) -> Analysis {
        Analysis::of(self.probes.borrow().history())
    }

    /// The daemons that are started from now on do not record.
    pub(crate) fn unrecorded(&self) {
        self.recorded.set(false);
    }

    /// What all daemons have recorded so far.
    pub(crate) fn recording(&self) -> String {
        self.recordings.text()
    }

    /// Who has the VIP now, as the kernels' notifications say.
    pub(crate) fn holders(&self) -> Vec<Node> {
        self.analysis().holdings().iter().filter(|holding| holding.to.is_none()).map(|holding| holding.node).collect()
    }

    /// When the VIP last appeared on a node, or went.
    pub(crate) fn last_holding(&self, node: Node) -> Result<Holding> {
        let holdings = self.analysis().holdings();
        holdings.into_iter().rfind(|holding| holding.node == node).with_context(|| format!("{node} never had the VIP"))
    }

    /// Waits until the node has the VIP, and nobody else.
    pub(crate) fn wait_vip(&self, node: Node, limit: Duration) -> Result<()> {
        self.lab.wait_until(&format!("the VIP on {node}"), limit, || Ok(self.holders() == [node]))
    }

    /// Waits until the client's writes through the VIP succeed again.
    pub(crate) fn wait_writes(&self, limit: Duration) -> Result<()> {
        let from = Time::now();
        self.lab.wait_until("a write through the VIP", limit, || {
            Ok(self.analysis().writes().any(|(at, attempt)| at > from && attempt.error.is_none()))
        })
    }

    /// The client in a hurry has not been told no since then, nor been left waiting for long. That a write takes more than
    /// its 200 ms on a machine with much else to do is not the VIP's doing.
    pub(crate) fn undisturbed(&self, since: Time) -> Result<()> {
        let analysis = self.analysis();
        let errors = analysis.writes().filter(|(at, _)| *at > since).filter_map(|(_, write)| write.error.as_deref());
        let told_no: Vec<_> = errors.filter(|error| !error.contains("no answer within")).collect();
        ensure!(told_no.is_empty(), "{} writes failed, such as: {}", told_no.len(), told_no[0]);
        let (_, gap) = analysis.longest_write_gap(since).context("no writes")?;
        ensure!(gap < Duration::from_secs(5), "no write succeeded for {gap:?}");
        Ok(())
    }

    /// The VIP has not left since it came, writes went on, and none of these sessions has ended.
    pub(crate) fn nobody_noticed(&self, holding: &Holding, since: Time, sessions: &Range<usize>) -> Result<()> {
        ensure!(self.last_holding(holding.node)?.from == holding.from, "the VIP left and came back");
        self.undisturbed(since)?;
        let ended = self.analysis().session_ends().any(|(session, ..)| sessions.contains(&session));
        ensure!(!ended, "a session was ended");
        Ok(())
    }

    /// For a while nothing may happen to the VIP.
    pub(crate) fn calm(&self, span: Duration) -> Result<()> {
        let before = self.analysis().holdings();
        thread::sleep(span);
        let after = self.analysis().holdings();
        ensure!(
            before == after,
            "the VIP moved when nothing should: {:?}",
            &after[before.len().min(after.len()) - 1..]
        );
        Ok(())
    }

    /// The first VIP in a daemon's status.
    pub(crate) fn vip_status(&self, node: Node) -> Result<Value> {
        self.daemon(node, |daemon| Ok(daemon.status()?["vips"][0].clone()))
    }

    /// Waits until a daemon gives this as the reason for the gate's state, in its status and in its metrics.
    pub(crate) fn wait_reason(&self, node: Node, reason: &str, limit: Duration) -> Result<()> {
        let result = self.lab.wait_until(&format!("{node} to say {reason}"), limit, || {
            let series = format!("pgvrrp_gate_reason{{vip=\"10.0.20.155\",reason=\"{reason}\"}}");
            let in_metrics = self.daemon(node, |daemon| daemon.metric(&series))? == Some(1.0);
            Ok(self.vip_status(node)?["reason"] == reason && in_metrics)
        });
        result.with_context(|| {
            format!("it says: {}", self.vip_status(node).map_or_else(|e| e.to_string(), |v| v["why"].to_string()))
        })
    }

    /// The text of `pgvrrp status`, which has to name this.
    pub(crate) fn status_says(&self, node: Node, what: &str) -> Result<()> {
        let output = self.daemon(node, |daemon| {
            daemon.command(&["status".as_ref(), "--config".as_ref(), daemon.config_path().as_ref()])
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !text.contains(what) {
            bail!("`status` does not say {what:?}:\n{text}");
        }
        Ok(())
    }
}

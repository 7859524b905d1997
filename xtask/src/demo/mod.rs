//! `cargo xtask demo`: the reference setup in network namespaces, a switchover, a crash, and what they cost.

mod figures;
mod screen;

use std::io::{self, BufRead, IsTerminal};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lab::daemon::{Daemon, Launch};
use lab::patroni::Timing;
use lab::{Analysis, Lab, Node, Options, Probes, Time, VIP, prerequisites};

use crate::workspace;
use figures::Figures;
use screen::Screen;

/// How many connections lie idle through each move.
const SESSIONS: usize = 10;

/// Longer than any step takes: a crash costs Patroni its ttl of 30 s, and the old primary's return its time.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn run(keep: bool) -> Result<()> {
    println!("pgvrrp demo: a Patroni cluster of two nodes, etcd and a client, in network namespaces on this machine.");
    println!("It needs Rust, root, and Debian or Ubuntu; it takes about two minutes beyond compiling.");
    println!("Nothing is left running. Ctrl-C cleans up.\n");
    prerequisites::require_root()?;
    step("looking for PostgreSQL, etcd, Patroni and small tools");
    prerequisites::install(&mut |line| println!("   {line}"))?;
    step("building pgvrrp (the first time takes some minutes)");
    let binary = workspace::build_release()?;
    step("starting etcd, Patroni and PostgreSQL");
    let start = Time::now();
    let lab = Lab::start(Options { timing: Timing::DEFAULT, ..Options::default() })?;
    println!("   primary db1, streaming replica db2, after {:.1} s", start.elapsed().as_secs_f64());
    step("starting pgvrrp on db1 and db2");
    let daemons = Node::DATABASES.map(|node| Daemon::start(&lab, node, &binary, &Launch::reference(&lab, node)));
    let [one, two] = daemons;
    let daemons = [one?, two?];
    let probes = Probes::watch(&lab)?;
    lab.wait_until("the VIP on db1", LIMIT, || Ok(holder(&probes) == Some(Node::Db1))).context(lab.log_tails())?;
    println!("   {VIP} is on db1\n");

    let screen = Screen::new(probes.history().clone(), &daemons);
    thread::scope(|scope| {
        scope.spawn(|| screen.run());
        let told = Story { lab: &lab, probes, screen: &screen }.tell();
        screen.stop();
        told
    })
    .map_err(|e| e.context(lab.log_tails()))?;
    if keep {
        look_around(&lab, &binary, &daemons)?;
    }
    println!("cleaning up");
    Ok(())
}

fn step(text: &str) {
    println!("=> {text}");
}

/// Who has the VIP now, as the kernels tell.
fn holder(probes: &Probes) -> Option<Node> {
    Analysis::of(probes.history()).holdings().into_iter().find(|h| h.to.is_none()).map(|h| h.node)
}

struct Story<'a> {
    lab: &'a Lab,
    probes: Probes,
    screen: &'a Screen<'a>,
}

impl Story<'_> {
    fn tell(mut self) -> Result<()> {
        self.probes.add_hasty_client()?;
        self.probes.add_patient_client()?;
        thread::sleep(Duration::from_secs(3));

        let mut all = Vec::new();
        let switchover = self.one_move("planned switchover, asked of Patroni's REST API", Node::Db2, |lab| {
            let asked = Time::now();
            lab.switchover(Node::Db2)?;
            Ok(asked)
        })?;
        all.push(("switchover", switchover));
        let crash = self.one_move("SIGKILL of PostgreSQL and Patroni on the primary", Node::Db1, |lab| {
            lab.database(Node::Db2).kill_all()
        })?;
        all.push(("crash", crash));

        self.probes.history().mark("Patroni on db2 is started again");
        self.lab.database(Node::Db2).start()?;
        self.lab.wait_settled(Node::Db1, LIMIT)?;
        let analysis = Analysis::of(&self.probes.stop());
        let violations = analysis.violations();
        self.screen.say(&figures::table(&all, &analysis));
        if !violations.is_empty() {
            bail!("broken promises:\n{}", violations.join("\n"));
        }
        self.screen.say(
            "At no time did two nodes have the VIP, was it on a node in recovery, or did a client read from a replica.",
        );
        Ok(())
    }

    /// Makes the VIP move to `target`, and reports.
    fn one_move(&mut self, what: &str, target: Node, act: impl FnOnce(&Lab) -> Result<Time>) -> Result<Figures> {
        let sessions = self.probes.open_sessions(SESSIONS)?;
        self.screen.say(&format!("\n=> {what}, while {SESSIONS} more connections lie idle"));
        self.probes.history().mark(what);
        let begun = act(self.lab)?;
        self.lab.wait_primary(target, LIMIT)?;
        self.lab.wait_until("the VIP to follow", LIMIT, || Ok(holder(&self.probes) == Some(target)))?;
        if self.lab.database(target.other()).patroni_pid().is_some() {
            self.lab.wait_streaming(target.other(), LIMIT)?;
        }
        thread::sleep(Duration::from_secs(3));
        let figures = Figures::of(&Analysis::of(self.probes.history()), begun, target, sessions)?;
        self.screen.say(&format!("\n{figures}"));
        Ok(figures)
    }
}

/// Leaves everything running until Enter.
fn look_around(lab: &Lab, binary: &Path, daemons: &[Daemon]) -> Result<()> {
    let namespace = |node: Node| lab.namespace(node).name();
    let psql = lab.tools().postgres_program("psql");
    let libraries = lab.tools().libraries.as_ref();
    let environment = libraries.map(|l| format!("env LD_LIBRARY_PATH={} ", l.display())).unwrap_or_default();
    println!("\nThe cluster goes on running. To look around, in another terminal, as root:\n");
    for daemon in daemons {
        let config = daemon.config_path().display();
        println!("  ip netns exec {} {} status --config {config}", namespace(daemon.node()), binary.display());
    }
    println!("  ip netns exec {} {environment}{} -h {VIP} -U app postgres", namespace(Node::Client), psql.display());
    println!("  ip netns exec {} curl -s http://localhost:{}/metrics", namespace(Node::Db1), lab::daemon::HTTP_PORT);
    println!("  ip netns exec {} ip address show dev eth0", namespace(Node::Db1));
    let switchover = r#"-d '{"leader": "db1", "candidate": "db2"}'"#;
    println!("  ip netns exec {} curl -s {}:8008/switchover {switchover}", namespace(Node::Client), Node::Db1.ip());
    println!("\nLogs, sockets and data are below {}.", lab.dir().display());
    if io::stdin().is_terminal() {
        println!("Enter or Ctrl-C ends it.");
        io::stdin().lock().lines().next().transpose()?;
        return Ok(());
    }
    println!("SIGTERM or Ctrl-C ends it (process {}).", std::process::id());
    loop {
        thread::park();
    }
}

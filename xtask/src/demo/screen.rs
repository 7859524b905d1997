//! The live view: a line per change and, below it, the state of things.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use lab::daemon::Daemon;
use lab::history::{Event, Frame, Observation, STILL_WAITING};
use lab::patroni::LEADER_KEY;
use lab::probe::OWN_PREFIX;
use lab::{Analysis, History, Node, Time, VIP};
use serde_json::Value;

/// How often changes are looked for.
const PERIOD: Duration = Duration::from_millis(100);

/// How often the state of things is shown.
const STATE_PERIOD: Duration = Duration::from_secs(1);

/// The terminal, shared by the live view and whoever tells the story.
#[derive(Debug)]
pub(super) struct Screen<'a> {
    history: History,
    daemons: &'a [Daemon],
    origin: Time,
    stopped: AtomicBool,
    terminal: Mutex<Terminal>,
}

/// What is on the terminal.
#[derive(Debug)]
struct Terminal {
    is_tty: bool,
    /// The state, shown at the bottom of a terminal and drawn anew after each line above it.
    state: Vec<String>,
    /// How many lines of it are drawn.
    drawn: usize,
}

impl<'a> Screen<'a> {
    pub(super) fn new(history: History, daemons: &'a [Daemon]) -> Self {
        let terminal = Terminal { is_tty: io::stdout().is_terminal(), state: Vec::new(), drawn: 0 };
        let (origin, stopped, terminal) = (Time::now(), AtomicBool::new(false), Mutex::new(terminal));
        Self { history, daemons, origin, stopped, terminal }
    }

    /// Shows changes as they come, until [`Self::stop`].
    pub(super) fn run(&self) {
        let mut seen = self.history.len();
        let mut luck = Luck { failed: 0, good: self.origin };
        let mut state_shown = self.origin;
        while !self.stopped.load(Ordering::Relaxed) {
            let events = self.history.since(seen);
            seen += events.len();
            for line in self.changes(&events, &mut luck) {
                self.say(&line);
            }
            if state_shown.elapsed() >= STATE_PERIOD {
                state_shown = Time::now();
                let state = self.state();
                self.terminal().show_state(state);
            }
            thread::sleep(PERIOD);
        }
        self.terminal().forget_state();
    }

    /// Ends the live view.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Prints lines above the state.
    pub(super) fn say(&self, text: &str) {
        self.terminal().say(text);
    }

    fn terminal(&self) -> MutexGuard<'_, Terminal> {
        self.terminal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line per change that matters to a spectator; what comes in numbers is counted.
    fn changes(&self, events: &[Event], luck: &mut Luck) -> Vec<String> {
        let mut lines = Vec::new();
        let mut counted: BTreeMap<String, (Time, usize)> = BTreeMap::new();
        for event in events {
            lines.extend(luck.change(&event.what).map(|line| (event.at, line)));
            match describe(&event.what) {
                Change::None => {}
                Change::Line(line) => lines.push((event.at, line)),
                Change::Count(what) => counted.entry(what).or_insert((event.at, 0)).1 += 1,
            }
        }
        lines.extend(counted.into_iter().map(|(what, (at, count))| (at, format!("{count:>3} x {what}"))));
        lines.sort_by_key(|(at, _)| *at);
        let stamped = |(at, line): (Time, String)| format!("{:>9.3} s  {line}", at.millis_after(self.origin) / 1e3);
        lines.into_iter().map(stamped).collect()
    }

    /// Who holds the VIP, each node's evidence, and the client's luck in the last second.
    fn state(&self) -> Vec<String> {
        let holdings = Analysis::of(&self.history).holdings();
        let holders: Vec<&str> = holdings.iter().filter(|h| h.to.is_none()).map(|h| h.node.name()).collect();
        let holders = if holders.is_empty() { "nowhere".to_owned() } else { format!("on {}", holders.join(" AND ")) };
        let mut lines = vec![format!("VIP {VIP} {holders}   {}", self.client_in_last_second())];
        lines.extend(self.daemons.iter().map(|d| match d.status() {
            Ok(status) => evidence(d.node(), &status),
            Err(error) => format!("{}: {}", d.node(), error.to_string().lines().next().unwrap_or_default()),
        }));
        lines
    }

    fn client_in_last_second(&self) -> String {
        let now = Time::now();
        let second_ago = Time::from_nanos(now.as_nanos() - 1_000_000_000);
        let (mut written, mut failed, mut last) = (0, 0, None);
        for event in self.history.between(second_ago, now) {
            match event.what {
                Observation::Write(attempt) if attempt.error.is_none() => {
                    written += 1;
                    last = attempt.node;
                }
                Observation::Write(_) => failed += 1,
                _ => {}
            }
        }
        let on = last.map(|n| format!(" on {n}")).unwrap_or_default();
        format!("client, last second: {written} writes{on}, {failed} failed")
    }
}

/// Whether the hasty client's attempts fail, and how many did in a row.
#[derive(Debug)]
struct Luck {
    failed: usize,
    /// When the attempt began that went well last.
    good: Time,
}

impl Luck {
    /// A line when its luck turns.
    fn change(&mut self, what: &Observation) -> Option<String> {
        let Observation::Write(attempt) = what else { return None };
        match &attempt.error {
            // Attempts overlap: one that began before a good one is a latecomer of worse times.
            Some(_) if attempt.started <= self.good => None,
            Some(_) => {
                self.failed += 1;
                (self.failed == 1).then(|| format!("client: writes begin to fail: {attempt}"))
            }
            None => {
                self.good = self.good.max(attempt.started);
                let failed = std::mem::take(&mut self.failed);
                (failed > 0).then(|| format!("client: {attempt}, after {failed} failed attempts"))
            }
        }
    }
}

enum Change {
    None,
    Line(String),
    Count(String),
}

fn describe(what: &Observation) -> Change {
    match what {
        Observation::Mark { text } => Change::Line(format!("-- {text}")),
        Observation::Address { node, address, present } if *address == VIP => {
            Change::Line(format!("{node}: VIP {}", if *present { "BOUND" } else { "REMOVED" }))
        }
        Observation::Role { .. } | Observation::Blind { .. } => Change::Line(what.to_string()),
        Observation::Key { key, value, .. } if key == LEADER_KEY => Change::Line(
            value.as_ref().map_or_else(|| "etcd: leader key gone".to_owned(), |v| format!("etcd: leader key = {v}")),
        ),
        Observation::Key { key, value, .. } if key.starts_with(OWN_PREFIX) => match value {
            Some(value) => Change::Line(format!("etcd: VIP's key = {}", member(value))),
            None => Change::Line("etcd: VIP's key gone".to_owned()),
        },
        Observation::Write(attempt) if attempt.from_replica => Change::Line(format!("client: {attempt}")),
        Observation::Patient(attempt) if attempt.error.as_ref().is_some_and(|e| e != STILL_WAITING) => {
            Change::Count(format!("patient client: {attempt}"))
        }
        Observation::SessionEnd { node, how, .. } => {
            Change::Count(format!("long-lived connection to {} told: {how}", node.map_or("?", Node::name)))
        }
        Observation::Frame { node, frame: Frame::Vrrp { priority: 0, .. } } => {
            Change::Line(format!("{node}: VRRP advertisement with priority 0"))
        }
        Observation::Frame { node, frame: Frame::Arp { sender, target, .. } } if sender == target && *sender == VIP => {
            Change::Count(format!("{node}: gratuitous ARP for the VIP"))
        }
        _ => Change::None,
    }
}

/// The member that a value of the daemon's own key names.
fn member(value: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(value).ok();
    parsed.and_then(|v| v["member"].as_str().map(ToOwned::to_owned)).unwrap_or_else(|| value.to_owned())
}

/// One node's part of `pgvrrp status --json` in one line.
fn evidence(node: Node, status: &Value) -> String {
    let vip = &status["vips"][0];
    let ago = |age: &Value| age.as_f64().map_or_else(|| "never".to_owned(), |age| format!("{age:.1} s ago"));
    let role = status["postgres"]["role"].as_str().unwrap_or("unknown");
    let leader = if status["etcd"]["leader_is_me"] == true {
        "mine"
    } else {
        status["etcd"]["leader"].as_str().unwrap_or("nobody's")
    };
    let deadline = vip["lock"]["deadline_in"].as_f64().map(|d| format!(", gone within {d:.1} s without proof"));
    format!(
        "{node} {:<9} PostgreSQL {role} ({}), leader key {leader} ({}){}; {}",
        vip["phase"].as_str().unwrap_or("?"),
        ago(&status["postgres"]["age"]),
        ago(&status["etcd"]["age"]),
        deadline.unwrap_or_default(),
        vip["why"].as_str().unwrap_or_default(),
    )
}

impl Terminal {
    fn say(&mut self, text: &str) {
        self.erase();
        println!("{text}");
        self.draw();
    }

    fn show_state(&mut self, state: Vec<String>) {
        if self.is_tty {
            self.erase();
            self.state = state;
            self.draw();
        } else {
            println!("           {}", state.join(" | "));
        }
    }

    fn forget_state(&mut self) {
        self.erase();
        self.state.clear();
    }

    /// Cursor up, and clear to the end of the screen (ECMA-48).
    fn erase(&mut self) {
        if self.drawn > 0 {
            print!("\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    /// Without wrapping at the right margin, for a wrapped line would be two to erase.
    fn draw(&mut self) {
        if !self.state.is_empty() {
            print!("\x1b[?7l");
            self.state.iter().for_each(|line| println!("  {line}"));
            print!("\x1b[?7h");
            self.drawn = self.state.len();
        }
        // A terminal that is gone will end this program by SIGHUP.
        let _ = io::stdout().flush();
    }
}

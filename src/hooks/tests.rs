//! Real processes, on this thread's own.

use std::cell::RefCell;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use super::board::Board;
use super::child::{self, Ended, Job, Outcome};
use super::memory::Memory;
use super::queue::{self, Queue};
use super::state::{State, Transition};
use super::{Hooks, VipHooks, privileges};
use crate::node::status::{HooksStatus, Status};

/// For what takes milliseconds where nothing is wrong.
const LIMIT: Duration = Duration::from_secs(30);

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { timeout(LIMIT, work).await.expect("it ends in time") })
}

fn script(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn run(command: &[&str], limit: Duration) -> Outcome {
    let job = Job {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        environment: vec![("PGVRRP_VIP", "web".to_owned())],
        limit,
    };
    block_on(child::run(&job, "web", "on_active"))
}

fn words(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Whether a process is there and no zombie.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn what_becomes_of_a_run() {
    let ended = |command: &[&str]| {
        let outcome = run(command, LIMIT);
        (outcome.result, outcome.exit_code, outcome.text)
    };
    assert_eq!(ended(&["/bin/true"]), (Ended::Ok, Some(0), "has run".to_owned()));
    assert_eq!(ended(&["/bin/sh", "-c", "exit 3"]), (Ended::Failed, Some(3), "failed: exit code 3".to_owned()));
    assert_eq!(ended(&["/bin/sh", "-c", "kill -9 $$"]), (Ended::Failed, None, "failed: signal 9".to_owned()));
    let (result, code, text) = ended(&["/nonexistent/hook"]);
    assert_eq!((result, code), (Ended::NotStarted, None));
    assert!(text.starts_with("cannot be started: No such file"), "{text}");
}

#[test]
fn a_hook_has_a_clean_environment_and_nothing_of_ours_open() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let text = format!(
        "exec > {}\n/usr/bin/env; pwd; ls /proc/self/fd | tr '\\n' ' '; echo; readlink /proc/self/fd/0",
        out.display()
    );
    privileges::keep_descriptors();
    assert_eq!(run(&[&script(&dir, "hook", &text)], LIMIT).result, Ended::Ok);
    let said = words(&out);
    let has = |line: &str| said.iter().any(|said| said == line);
    assert!(has("PGVRRP_VIP=web") && has("/") && has("/dev/null"), "{said:?}");
    assert!(!said.iter().any(|line| line.starts_with("HOME=") || line.starts_with("CARGO")), "{said:?}");
    // The three, and the directory that `ls` reads.
    assert!(has("0 1 2 3 "), "{said:?}");
}

#[test]
fn one_that_takes_too_long_ends_with_all_that_it_has_started() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let text = format!(
        "trap '' TERM\n(trap '' TERM; sleep 1000) &\necho $! >> {0}\necho $$ >> {0}\nsleep 1000\nsleep 1000",
        out.display()
    );
    let outcome = run(&[&script(&dir, "hook", &text)], Duration::from_millis(500));
    assert_eq!((outcome.result, outcome.exit_code), (Ended::Timeout, None));
    let pids = words(&out);
    assert_eq!(pids.len(), 2);
    block_on(async {
        while pids.iter().any(|pid| lives(pid)) {
            sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn what_it_leaves_behind_ends_with_it_and_delays_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let text = format!("sleep 1000 &\necho $! > {}", out.display());
    assert_eq!(run(&[&script(&dir, "hook", &text)], LIMIT).result, Ended::Ok);
    let pids = words(&out);
    block_on(async {
        while pids.iter().any(|pid| lives(pid)) {
            sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn whoever_says_much_is_not_kept_waiting() {
    let outcome = run(&["/bin/sh", "-c", "dd if=/dev/zero bs=65536 count=64 2>/dev/null; exit 4"], LIMIT);
    assert_eq!((outcome.result, outcome.exit_code), (Ended::Failed, Some(4)));
}

fn transition(state: State) -> Transition {
    Transition { state, before: None, reason: "holding".to_owned(), why: "it is\nso".to_owned() }
}

fn hooks_of(board: &Board) -> HooksStatus {
    let start = vrrp::time::Instant::from_millis(1000);
    let mut picture: Status =
        crate::node::Node::new(crate::node::tests::world::settings(crate::gate::policy::Policy::default()), start)
            .status(start);
    picture.vips[0].name = "web".to_owned();
    board.fill(&mut picture);
    picture.vips.remove(0).hooks.expect("it has hooks")
}

#[test]
fn hooks_run_one_after_the_other_and_the_newest_transition_is_next() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let go = dir.path().join("go");
    let slow = script(
        &dir,
        "slow",
        &format!("while [ ! -e {} ]; do sleep 0.02; done\necho \"$*\" >> {}", go.display(), out.display()),
    );
    let quick = script(&dir, "quick", &format!("echo \"$PGVRRP_STATE $PGVRRP_WHY $*\" >> {}", out.display()));
    let hooks = Hooks {
        on_active: vec![slow, "own".to_owned()],
        on_change: vec![quick.clone()],
        on_stop: vec![quick],
        ..Hooks::default()
    };
    let vip = VipHooks {
        name: "web".to_owned(),
        addresses: vec!["10.0.20.1".to_owned()],
        interface: "eth0".to_owned(),
        virtual_router_id: 7,
        priority: 150,
        member: "db1".to_owned(),
        timeout: LIMIT,
        hooks,
    };
    let vip = Rc::new(RefCell::new(vip));
    let (board, memory) = (Board::default(), Rc::new(Memory::open(dir.path())));
    let queue = Rc::new(Queue::new("web".to_owned(), board.clone()));
    block_on(async {
        let work = queue::work(queue.clone(), vip, memory.clone(), board.clone());
        let worker = tokio::task::spawn_local(work);
        queue.put(transition(State::Active));
        while hooks_of(&board).running.is_none() {
            sleep(Duration::from_millis(5)).await;
        }
        // Both of these come while the first is running.
        queue.put(transition(State::Fault));
        queue.put(transition(State::Backup));
        let status = hooks_of(&board);
        assert_eq!((status.queued, status.superseded, memory.state("web")), (1, 1, None));
        fs::write(&go, "").unwrap();
        while memory.state("web") != Some(State::Backup) {
            sleep(Duration::from_millis(5)).await;
        }
        queue.end_with(Some(transition(State::Stop)));
        worker.await.unwrap();
    });
    assert_eq!(
        words(&out),
        [
            "own INSTANCE web MASTER 150",
            "active it is\u{fffd}so INSTANCE web MASTER 150",
            "backup it is\u{fffd}so INSTANCE web BACKUP 150",
            "stop it is\u{fffd}so INSTANCE web STOP 150",
            "stop it is\u{fffd}so INSTANCE web STOP 150",
        ]
    );
    let status = hooks_of(&board);
    let last = status.last.unwrap();
    assert_eq!((last.hook, last.state, last.result, last.exit_code), ("on_change", "stop", "ok", Some(0)));
    assert_eq!((status.runs[&("on_active", "ok")], status.runs[&("on_change", "ok")], status.took.count), (1, 3, 5));
    assert_eq!(memory.state("web"), Some(State::Stop));
}

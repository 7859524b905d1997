//! The log: its forms, its limits, and that nobody waits for whoever reads it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde_json::Value;

use crate::stage::{NOBODY, Stage, wait_for, wait_until};

/// Lines of one kind that are written in a minute.
const MOST: usize = 30;

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn of<'a>(lines: &'a [Value], event: &str, reason: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event && line["reason"] == reason).collect()
}

#[test]
fn each_transition_is_one_line_with_its_reason_and_evidence() {
    let stage = Stage::new();
    stage.configure("[log]\nformat = \"json\"");
    let (daemon, log) = stage.start_logging();
    stage.wait_until_held();
    assert_eq!(stage.pgvrrp(&[], &["drain", "web"]).0, Some(0));
    daemon.stop();
    let lines = objects(&fs::read_to_string(log).unwrap());
    for (event, reason, words) in [
        ("reason", "backup", "Backup: just started"),
        ("reason", "active", "Active: no Active was heard"),
        ("gained", "active", "10.0.20.155 is bound here (bind "),
        ("reason", "drained", "drained by hand"),
        ("lost", "drained", "10.0.20.155 has left this node (unbind "),
        ("reason", "stopping", "the daemon is stopping"),
    ] {
        let [line] = of(&lines, event, reason)[..] else { panic!("{event}, {reason}: {lines:#?}") };
        assert!(line["message"].as_str().unwrap().contains(words), "{line}");
        assert_eq!((&line["level"], &line["vip"]), (&"info".into(), &"web".into()));
        assert!(line["evidence"].as_str().unwrap().starts_with("priority 100; heard nobody"), "{line}");
    }
    let gained = of(&lines, "gained", "active")[0]["message"].as_str().unwrap();
    assert!(gained.contains("): Active: no Active was heard"), "{gained}");
}

#[test]
fn text_has_no_colours_where_there_is_no_terminal() {
    let stage = Stage::new();
    stage.configure("");
    let (daemon, log) = stage.start_logging();
    stage.wait_until_held();
    daemon.stop();
    let text = fs::read_to_string(log).unwrap();
    let line = text.lines().find(|line| line.contains("is bound here")).unwrap();
    assert!(line.contains("Z  INFO 10.0.20.155 is bound here (bind "), "{line}");
    assert!(line.contains(" vip=\"web\" event=\"gained\" reason=\"active\" evidence=\"priority 100; "), "{line}");
    assert!(!text.contains('\u{1b}') && text.lines().all(|line| line.starts_with("20")), "{text}");
}

/// journald's socket is one that this test listens at, in a mount namespace of the daemon's.
#[test]
fn journald_is_told_with_fields() {
    let stage = Stage::new();
    stage.configure("");
    let there = stage.dir().join("journal");
    fs::create_dir(&there).unwrap();
    let journal = UnixDatagram::bind(there.join("socket")).unwrap();
    journal.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let log = stage.dir().join("log");
    let file = File::create(&log).unwrap();
    let meta = file.metadata().unwrap();
    let stream = ("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()));
    let mounted = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && mount --bind {} /run/systemd/journal && exec \"$@\"",
        there.display()
    );
    let daemon = stage.start(&["unshare", "--mount", "sh", "-c", &mounted, "sh"], &[stream], file);
    let mut records = Vec::new();
    let mut read = || {
        let mut buffer = [0; 65536];
        while let Ok(length) = journal.recv(&mut buffer) {
            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
            let fields = text.lines().map(|line| line.split_once('=').unwrap());
            let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
            records.push(fields.collect::<BTreeMap<_, _>>());
            if records.last().unwrap().get("PGVRRP_EVENT").is_some_and(|event| event == "gained") {
                return records.last().cloned();
            }
        }
        None
    };
    let mut gained = None;
    wait_until("a record says that the VIP is here", || {
        gained = gained.take().or_else(&mut read);
        gained.is_some()
    });
    let gained = gained.unwrap();
    for (name, value) in [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "pgvrrp"),
        ("PGVRRP_VIP", "web"),
        ("PGVRRP_REASON", "active"),
        ("PGVRRP_EVENT", "gained"),
    ] {
        assert_eq!(gained[name], value, "{gained:?}");
    }
    assert!(gained["MESSAGE"].contains("10.0.20.155 is bound here"), "{gained:?}");
    assert!(gained["PGVRRP_EVIDENCE"].starts_with("priority 100"), "{gained:?}");
    daemon.stop();
    assert_eq!(fs::read_to_string(log).unwrap(), "", "nothing is said twice");
}

#[test]
fn nobody_on_the_wire_fills_the_log() {
    let stage = Stage::new();
    stage.configure("[log]\nformat = \"json\"");
    let (daemon, log) = stage.start_logging();
    stage.wait_until_held();
    let moves = "pgvrrp_transitions_total{vip=\"web\",direction=\"gained\"}";
    let flapper = stage.flap();
    wait_until("it has come and gone a hundred times", || stage.metric(moves) > 100.0);
    drop(flapper);
    daemon.stop();
    let lines = objects(&fs::read_to_string(log).unwrap());
    for (event, reason) in [("gained", "active"), ("lost", "backup"), ("reason", "active"), ("reason", "backup")] {
        let count = of(&lines, event, reason).len();
        // The minute may end meanwhile: then there are the number, and the next minute's.
        assert!((MOST..=2 * MOST).contains(&count), "{event}, {reason}: {count}");
    }
    // What somebody else does keeps no other news out.
    assert_eq!(of(&lines, "reason", "stopping").len(), 1);
    assert!(lines.len() < 300, "{} lines", lines.len());
}

#[test]
fn a_pipe_that_nobody_reads_delays_nothing_but_lines() {
    let stage = Stage::new();
    stage.configure("");
    let (mut reader, writer) = std::io::pipe().unwrap();
    fill(&writer);
    let daemon = stage.start(&[], &[], OwnedFd::from(writer));
    stage.wait_until_held();
    let flapper = stage.flap();
    let dropped = || stage.metric("pgvrrp_log_lines_dropped_total");
    wait_for(Duration::from_secs(60), "lines are dropped", || dropped() > 0.0);
    let moves = || stage.metric("pgvrrp_transitions_total{vip=\"web\",direction=\"gained\"}");
    let before = moves();
    sleep(Duration::from_secs(1));
    assert!(moves() > before + 5.0, "it goes on: {before}, {}", moves());
    drop(flapper);
    // From now on somebody reads.
    let said = Arc::new(Mutex::new(String::new()));
    let told = said.clone();
    let reading = thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = reader.read(&mut piece) {
            told.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    });
    let has = |words: &str| said.lock().unwrap().contains(words);
    wait_until("what was said meanwhile, and that some of it is missing", || {
        has("is bound here") && has(" log lines were dropped, since they were not taken in time")
    });
    // A line that finds the queue full is dropped as any other.
    wait_until("there is room again", || {
        stage.pgvrrp(&[], &["log-level", "info"]);
        has("the log's level, by hand")
    });
    daemon.stop();
    reading.join().unwrap();
    assert!(has("SIGTERM: releasing") && has("the daemon is stopping"));
}

/// So that the next byte does not fit.
fn fill(writer: &impl AsFd) {
    fcntl(writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    fcntl(writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while nix::unistd::write(writer, &[b'\n'; 512]).is_ok() {}
    fcntl(writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
}

#[test]
fn the_level_is_changed_by_hand_and_back() {
    let stage = Stage::new();
    stage.configure("[log]\nlevel = \"warn\"");
    let (daemon, log) = stage.start_logging();
    stage.wait_until_held();
    let level = |wrapper: &[&str], arguments: &[&str]| {
        let (code, text) = stage.pgvrrp(wrapper, &[&["log-level"], arguments].concat());
        (code, text.trim_end().to_owned())
    };
    let said = |code, text: &str| (Some(code), text.to_owned());
    assert_eq!(level(&[], &[]), said(0, "warn"));
    let debug = "debug until the daemon ends or `pgvrrp log-level --reset`; at its start: warn";
    assert_eq!(level(&[], &["debug"]), said(0, debug));
    assert_eq!(level(&[], &[]), said(0, debug));
    // Whoever may look may look; to change something is for others.
    let user = format!("--reuid={NOBODY}");
    let member = ["setpriv", &user, "--regid=0", "--clear-groups"];
    assert_eq!(level(&member, &[]), said(0, debug));
    let refused = "error: nothing has changed: only root and the daemon's own user may ask for that";
    assert_eq!(level(&member, &["trace"]), said(75, refused));
    assert_eq!(level(&[], &[]), said(0, debug));
    assert_eq!(stage.pgvrrp(&[], &["drain", "web"]).0, Some(0));
    assert_eq!(level(&[], &["--reset"]), said(0, "warn"));
    assert_eq!(stage.pgvrrp(&[], &["undrain", "web"]).0, Some(0));
    stage.wait_until_held();
    daemon.stop();
    assert_eq!(level(&[], &["loud"]).0, Some(64));
    assert_eq!(level(&[], &[]).0, Some(69));
    let text = fs::read_to_string(log).unwrap();
    assert_eq!(text.matches("has left this node").count(), 1, "only while it was to be said: {text}");
    assert!(!text.contains("is bound here"), "{text}");
}

#[test]
fn a_wrong_word_in_the_environment_is_78() {
    let stage = Stage::new();
    stage.configure("");
    let log = stage.dir().join("log");
    let mut daemon = stage.start(&[], &[("PGVRRP_LOG_LEVEL", "loud".to_owned())], File::create(&log).unwrap());
    wait_until("it has ended", || !daemon.is_running());
    let text = fs::read_to_string(log).unwrap();
    assert_eq!(
        text,
        "error: PGVRRP_LOG_LEVEL is \"loud\": set it to one of error, warn, info, debug, trace, or not at all\n"
    );
}

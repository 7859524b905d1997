//! One process of the daemon replaces another: by a handover, after a kill at any moment, by another build.
//!
//! `PGVRRP_OTHER_BINARY` names another build, older or newer, for the scenarios that need two.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Output;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::{Daemon, Launch};
use lab::{Node, Options, Time};
use nix::sys::signal::Signal;

use crate::stage::{Stage, binary, play, play_with, times};

/// `pgvrrp handover` on a node, and what a supervisor does meanwhile: it starts this build, if any, when the former daemon
/// has ended.
fn hand_over(stage: &Stage<'_>, node: Node, next: Option<PathBuf>) -> Result<Output> {
    let config = stage.daemon(node, |daemon| Ok(daemon.config_path().to_owned()))?;
    let namespace = stage.lab.namespace(node).clone();
    let asker = thread::spawn(move || {
        let args: [&OsStr; 3] = ["handover".as_ref(), "--config".as_ref(), config.as_ref()];
        namespace.command(binary()).args(args).output()
    });
    if let Some(next) = next {
        let status = stage.daemon(node, |daemon| daemon.process().wait(Duration::from_secs(3)))?;
        ensure!(status.success(), "the daemon ended with {status}");
        thread::sleep(Duration::from_millis(100));
        stage.launch_build(node, &Launch::reference(stage.lab, node), &next)?;
    }
    Ok(asker.join().ok().context("the asker panicked")??)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn handed_over_without_a_flap() {
    play(Options::default(), |stage| {
        let sessions = stage.probes.borrow_mut().open_sessions(5)?;
        let before = Time::now();
        let holding = stage.last_holding(Node::Db1)?;
        for _ in 0..times(4, 20) {
            for node in Node::DATABASES {
                let output = hand_over(stage, node, Some(binary()))?;
                print!("{node}: {}", text(&output));
                ensure!(output.status.success(), "{}: {}", output.status, text(&output));
                let held = if node == Node::Db1 { "10.0.20.155 HERE" } else { "no VIP was here" };
                ensure!(text(&output).contains(held), "{}", text(&output));
            }
        }
        stage.calm(Duration::from_secs(4))?;
        stage.nobody_noticed(&holding, before, &sessions)?;
        // And the next process moves it as its predecessor would have.
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, Duration::from_secs(10))?;
        stage.wait_writes(Duration::from_secs(5))
    });
}

#[test]
fn handed_over_to_nobody() {
    play(Options::default(), |stage| {
        let asked = Time::now();
        let output = hand_over(stage, Node::Db1, None)?;
        print!("{}", text(&output));
        ensure!(output.status.code() == Some(1), "{}: {}", output.status, text(&output));
        ensure!(text(&output).contains("no other has come"), "{}", text(&output));
        let left = stage.last_holding(Node::Db1)?.to.context("still there")?.millis_after(asked);
        println!("the address left {left:.0} ms after it was asked for");
        ensure!((2000.0..4300.0).contains(&left), "the address left after {left} ms");
        // The lock has run out by itself: whoever is next is not kept waiting for long.
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, Duration::from_secs(25))
    });
}

#[test]
fn a_handover_that_would_lose_the_vip_is_refused() {
    play(Options::default(), |stage| {
        let members = stage.lab.members();
        // Patroni would step down meanwhile, and the VIP would leave for that.
        stage.lab.database(Node::Db1).signal_patroni(Signal::SIGSTOP)?;
        members.iter().try_for_each(|member| member.signal(Signal::SIGSTOP))?;
        let silent = "etcd does not answer";
        stage.lab.wait_until("the daemon to miss etcd", Duration::from_secs(8), || {
            let status = stage.daemon(Node::Db1, Daemon::status)?;
            Ok(!status["etcd"]["error"].is_null())
        })?;
        let output = hand_over(stage, Node::Db1, None)?;
        members.iter().try_for_each(|member| member.signal(Signal::SIGCONT))?;
        stage.lab.database(Node::Db1).signal_patroni(Signal::SIGCONT)?;
        print!("{}", text(&output));
        ensure!(output.status.code() == Some(75), "{}: {}", output.status, text(&output));
        ensure!(text(&output).contains(silent), "{}", text(&output));
        stage.wait_vip(Node::Db1, Duration::from_secs(10))
    });
}

/// Wherever in a switchover the two daemons are when they are killed, and however long they are away, the VIP is never in
/// two places, and in the end it is where the primary is.
#[test]
fn killed_and_restarted_at_any_moment_of_a_switchover() {
    play(Options::default(), |stage| {
        let mut dice = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
        let mut below = |limit: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice % limit
        };
        let turns = times(4, 20);
        for turn in 0..turns {
            let (from, to) = if turn % 2 == 0 { (Node::Db1, Node::Db2) } else { (Node::Db2, Node::Db1) };
            let victim = if below(2) == 0 { from } else { to };
            let (moment, away) = (below(2_500), below(2_000));
            println!("{from} -> {to}, {victim}'s daemon killed at {moment} ms for {away} ms");
            thread::scope(|scope| {
                let switchover = scope.spawn(|| stage.lab.switchover(to));
                thread::sleep(Duration::from_millis(moment));
                let killed = stage.daemon(victim, |daemon| Ok(daemon.kill())).and_then(|_| {
                    thread::sleep(Duration::from_millis(away));
                    stage.start_daemon(victim)
                });
                switchover.join().ok().context("the switchover panicked")?.and(killed)
            })?;
            stage.wait_vip(to, Duration::from_secs(30))?;
            stage.lab.wait_settled(to, Duration::from_secs(30))?;
        }
        stage.wait_writes(Duration::from_secs(5))
    });
}

/// Another build of the daemon, older or newer.
fn other_build() -> Option<PathBuf> {
    let other = env::var_os("PGVRRP_OTHER_BINARY").map(PathBuf::from);
    if other.is_none() {
        println!("skipped: PGVRRP_OTHER_BINARY names no other build");
    }
    other
}

/// The two nodes of a rolling upgrade.
#[test]
fn two_builds_on_two_nodes() {
    let Some(other) = other_build() else { return };
    play_with(Options::default(), |stage| {
        stage.start_daemon(Node::Db1)?;
        stage.launch_build(Node::Db2, &Launch::reference(stage.lab, Node::Db2), &other)?;
        stage.wait_vip(Node::Db1, Duration::from_secs(10))?;
        for node in [Node::Db2, Node::Db1, Node::Db2, Node::Db1] {
            stage.lab.switchover(node)?;
            stage.wait_vip(node, Duration::from_secs(10))?;
            stage.lab.wait_settled(node, Duration::from_secs(30))?;
        }
        Ok(())
    });
}

/// Where there is no handover: the next build finds what a killed one left, and so does the one that is put back.
#[test]
fn another_build_goes_on_after_a_kill() {
    let Some(other) = other_build() else { return };
    play(Options::default(), |stage| {
        let holding = stage.last_holding(Node::Db1)?;
        for build in [other.clone(), binary(), other.clone(), binary()] {
            stage.daemon(Node::Db1, |daemon| Ok(daemon.kill()))?;
            thread::sleep(Duration::from_millis(300));
            stage.launch_build(Node::Db1, &Launch::reference(stage.lab, Node::Db1), &build)?;
            stage.calm(Duration::from_secs(5))?;
        }
        ensure!(stage.last_holding(Node::Db1)?.from == holding.from, "the VIP left and came back");
        Ok(())
    });
}

/// A build of the future, or somebody by hand, has put what this one does not understand. It is a lock like any other:
/// waited for, never stolen.
#[test]
fn a_lock_in_an_unknown_format_is_respected() {
    play(Options::default(), |stage| {
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, Duration::from_secs(10))?;
        stage.lab.wait_settled(Node::Db2, Duration::from_secs(30))?;
        let etcd = stage.lab.etcd();
        let key = etcd.get_prefix("/pgvrrp/")?.pop().context("no lock")?.key;
        stage.daemon(Node::Db2, Daemon::terminate)?;
        for value in [r#"{"format":99,"holder":{"name":"db2"}}"#, "\u{1}not even JSON"] {
            let granted = etcd.etcdctl(&["lease", "grant", "8"])?;
            let lease = granted.split_whitespace().nth(1).context("no lease")?;
            etcd.etcdctl(&["put", &format!("--lease={lease}"), &key, value])?;
            stage.start_daemon(Node::Db2)?;
            stage.wait_reason(Node::Db2, "lock_unreadable", Duration::from_secs(5))?;
            stage.status_says(Node::Db2, "a format that this version does not know")?;
            stage.daemon(Node::Db2, |daemon| {
                let alarms =
                    daemon.log().lines().filter(|line| line.contains("ERROR") && line.contains("format")).count();
                ensure!(alarms >= 1, "no alarm: {}", daemon.log());
                let waiting = daemon.metric("pgvrrp_lock_waiting_seconds{vip=\"10.0.20.155\"}")?;
                ensure!(waiting > Some(0.0), "waiting for {waiting:?}");
                Ok(())
            })?;
            ensure!(stage.holders().is_empty());
            stage.wait_vip(Node::Db2, Duration::from_secs(15))?;
            stage.daemon(Node::Db2, Daemon::terminate)?;
        }
        Ok(())
    });
}

#[test]
fn whoever_may_only_look_ends_nothing() {
    play(Options::default(), |stage| {
        let holding = stage.last_holding(Node::Db1)?;
        let config = stage.daemon(Node::Db1, |daemon| Ok(daemon.config_path().to_owned()))?;
        // Another user, in the group of the control socket.
        let ask = |what: &str, group: &str| {
            let mut command = stage.lab.namespace(Node::Db1).command("setpriv");
            command.args(["--reuid=65534", &format!("--regid={group}"), "--clear-groups"]).arg(binary());
            command.args([what, "--config"]).arg(&config).output()
        };
        let status = ask("status", "0")?;
        ensure!(status.status.success() && text(&status).contains("10.0.20.155/32: HERE"), "{}", text(&status));
        let handover = ask("handover", "0")?;
        let refusal = "only root and the daemon's own user may ask for that";
        ensure!(!handover.status.success() && text(&handover).contains(refusal), "{}", text(&handover));
        // And one who is not in it.
        let status = ask("status", "65534")?;
        ensure!(!status.status.success() && text(&status).contains("Permission denied"), "{}", text(&status));
        stage.calm(Duration::from_secs(2))?;
        ensure!(stage.last_holding(Node::Db1)?.from == holding.from, "the VIP moved");
        Ok(())
    });
}

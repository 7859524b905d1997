//! The daemon itself is killed, stopped, continued, restarted.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::{Daemon, Launch};
use lab::{Node, Options, Time};

use crate::stage::{Stage, binary, play};

/// A dead daemon's address is gone after its lifetime of 3 s and the second by which the kernel may be late.
const LIFETIME: f64 = 4000.0;

/// The holder's daemon cannot act any more; then Patroni moves the primary.
fn switch_without(stage: &Stage<'_>, disabled: Time) -> Result<()> {
    stage.lab.wait_until("the kernel to remove the address", Duration::from_secs(6), || {
        Ok(!stage.holders().contains(&Node::Db1))
    })?;
    let left = stage.last_holding(Node::Db1)?.to.context("still there")?.millis_after(disabled);
    println!("the kernel removed the address after {left:.0} ms");
    ensure!(left <= LIFETIME + 100.0, "the address stayed for {left} ms");
    stage.lab.switchover(Node::Db2)?;
    stage.wait_reason(Node::Db2, "lock_held", Duration::from_secs(10))?;
    stage.status_says(Node::Db2, "db1 still holds the lock")?;
    let series = "pgvrrp_lock_waiting_seconds{vip=\"10.0.20.155\"}";
    let waiting = stage.daemon(Node::Db2, |daemon| daemon.metric(series))?;
    ensure!(waiting > Some(0.0), "waiting for {waiting:?}");
    stage.wait_vip(Node::Db2, Duration::from_secs(25))?;
    stage.wait_writes(Duration::from_secs(5))
}

#[test]
fn killed_and_then_a_switchover() {
    play(Options::default(), |stage| {
        let killed = stage.daemon(Node::Db1, |daemon| Ok(daemon.kill()))?;
        switch_without(stage, killed)
    });
}

#[test]
fn stopped_then_a_switchover_and_continued_long_after() {
    play(Options::default(), |stage| {
        let frozen = stage.daemon(Node::Db1, Daemon::freeze)?;
        switch_without(stage, frozen)?;
        // Another one started meanwhile does not get far.
        let second = Launch { name: "second".to_owned(), ..Launch::reference(stage.lab, Node::Db1) };
        let second = Daemon::start(stage.lab, Node::Db1, &binary(), &second)?;
        let status = second.process().wait(Duration::from_secs(5))?;
        ensure!(status.code() == Some(75), "the second daemon ended with {status}: {}", second.log());
        ensure!(second.log().contains("another pgvrrp runs on this host"), "{}", second.log());
        stage.daemon(Node::Db1, Daemon::thaw)?;
        stage.calm(Duration::from_secs(5))?;
        stage.wait_reason(Node::Db1, "other_leads", Duration::from_secs(5))?;
        stage.daemon(Node::Db1, |daemon| {
            let stalls = daemon.metric("pgvrrp_loop_stalls_total")?;
            ensure!(stalls.is_some_and(|stalls| stalls >= 1.0), "stalls: {stalls:?}");
            Ok(())
        })?;
        // And it serves again when it is its turn.
        stage.lab.wait_settled(Node::Db2, Duration::from_secs(30))?;
        stage.lab.switchover(Node::Db1)?;
        stage.wait_vip(Node::Db1, Duration::from_secs(20))
    });
}

#[test]
fn stopped_shortly_and_nothing_happens() {
    play(Options::default(), |stage| {
        stage.daemon(Node::Db1, Daemon::freeze)?;
        thread::sleep(Duration::from_millis(1500));
        stage.daemon(Node::Db1, Daemon::thaw)?;
        stage.calm(Duration::from_secs(3))
    });
}

#[test]
fn restarted_after_a_kill_without_a_flap() {
    play(Options::default(), |stage| {
        let sessions = stage.probes.borrow_mut().open_sessions(5)?;
        let before = Time::now();
        // Its recording is to show how it was at rest.
        stage.calm(Duration::from_secs(2))?;
        stage.daemon(Node::Db1, |daemon| Ok(daemon.kill()))?;
        thread::sleep(Duration::from_millis(300));
        stage.start_daemon(Node::Db1)?;
        stage.calm(Duration::from_secs(8))?;
        ensure!(stage.holders() == [Node::Db1]);
        stage.undisturbed(before)?;
        ensure!(stage.analysis().session_ends().all(|(index, ..)| !sessions.contains(&index)), "a session was ended");
        Ok(())
    });
}

#[test]
fn ended_by_a_signal_releases_at_once() {
    play(Options::default(), |stage| {
        let took = stage.daemon(Node::Db1, Daemon::terminate)?;
        println!("SIGTERM: ended after {took:?}");
        ensure!(took < Duration::from_millis(500), "it took {took:?}");
        ensure!(stage.holders().is_empty());
        ensure!(stage.lab.etcd().get_prefix("/pgvrrp/")?.is_empty(), "its lock is still there");
        // K is still db1's: started again, it serves again.
        stage.start_daemon(Node::Db1)?;
        stage.wait_vip(Node::Db1, Duration::from_secs(5))?;
        let interrupted = Time::now();
        stage.daemon(Node::Db1, |daemon| daemon.process().signal(nix::sys::signal::Signal::SIGINT))?;
        stage.daemon(Node::Db1, |daemon| daemon.process().wait(Duration::from_secs(5)))?;
        let took = interrupted.elapsed();
        ensure!(took < Duration::from_millis(500), "SIGINT took {took:?}");
        Ok(())
    });
}

#[test]
fn a_hangup_changes_nothing() {
    play(Options::default(), |stage| {
        stage.daemon(Node::Db1, |daemon| daemon.process().signal(nix::sys::signal::Signal::SIGHUP))?;
        stage.calm(Duration::from_secs(2))?;
        stage.daemon(Node::Db1, |daemon| {
            ensure!(daemon.log().contains("read again: nothing has changed"), "{}", daemon.log());
            Ok(())
        })
    });
}

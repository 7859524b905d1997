//! etcd and PostgreSQL answer late, in pieces, or with what is no answer.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::Launch;
use lab::patroni::Timing;
use lab::process::signal_pid;
use lab::proxy::{Manner, Proxy};
use lab::{Node, Options};
use nix::sys::signal::Signal;

use crate::stage::{Stage, play, play_with, times};

const SECOND: Duration = Duration::from_secs(1);

/// Where the proxies listen, on each database node.
const PORT: u16 = 6400;

/// What servers of another kind say.
const PAGE: Manner = Manner::Says(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html></html>\n", false);
const NOTHING: Manner = Manner::Says(b"", false);
const NOISE: Manner = Manner::Says(&[0x5a; 4096], true);
/// HTTP/2's settings and a piece of data, without end.
const FRAMES: Manner = Manner::Says(b"\0\0\0\x04\0\0\0\0\0\0\x03\xe8\0\0\0\0\0\x01", true);
/// PostgreSQL's "authenticated", "ready", and a row of 2 GB that does come.
const ROW: Manner = Manner::Says(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05ID\x7f\xff\xff\xff\0\x01\x7f\xff\xff\0", true);

/// What a daemon that is told nonsense may grow to, and take of a processor.
const MOST_MEMORY: u64 = 64 << 20;
const MOST_CPU: f64 = 0.5;

/// Daemons that see etcd through proxies, the VIP on db1.
fn behind_etcd(timing: Timing, act: impl FnOnce(&Stage<'_>, &[Proxy]) -> Result<()>) {
    play_with(Options { timing, ..Options::default() }, |stage| {
        let etcd = stage.lab.options().etcd.nodes()[0].ip();
        let endpoints = format!("[\"http://127.0.0.1:{PORT}\"]");
        let change = |launch: &mut Launch| {
            launch.config.set("etcd", "endpoints", &endpoints);
        };
        behind(stage, |_| (etcd, 2379).into(), change, act)
    });
}

/// The same with PostgreSQL.
fn behind_postgresql(act: impl FnOnce(&Stage<'_>, &[Proxy]) -> Result<()>) {
    play_with(Options { timing: Timing::FAST, ..Options::default() }, |stage| {
        let connection = format!("\"host=127.0.0.1 port={PORT} user=pgvrrp dbname=postgres\"");
        let change = |launch: &mut Launch| {
            launch.config.set("postgres", "connection", &connection).set("postgres", "sslmode", "\"disable\"");
        };
        behind(stage, |node| (node.ip(), 5432).into(), change, act)
    });
}

fn behind(
    stage: &Stage<'_>,
    server: impl Fn(Node) -> SocketAddr,
    change: impl Fn(&mut Launch),
    act: impl FnOnce(&Stage<'_>, &[Proxy]) -> Result<()>,
) -> Result<()> {
    let mut proxies = Vec::new();
    for node in Node::DATABASES {
        proxies.push(Proxy::start(stage.lab.namespace(node), PORT, server(node))?);
        let mut launch = Launch::reference(stage.lab, node);
        change(&mut launch);
        stage.launch(node, &launch)?;
    }
    stage.wait_vip(Node::Db1, 10 * SECOND)?;
    stage.probes.borrow_mut().add_hasty_client()?;
    act(stage, &proxies)?;
    for node in Node::DATABASES {
        is_modest(stage, node)?;
    }
    Ok(())
}

fn set(proxies: &[Proxy], manner: Manner) {
    proxies.iter().for_each(|proxy| proxy.set(manner));
}

/// So long the servers answer in this manner; then all is as it was. Returns what a daemon took of a processor meanwhile.
fn spell(stage: &Stage<'_>, proxies: &[Proxy], manner: Manner, length: Duration) -> Result<f64> {
    let spent = || -> Result<Duration> {
        let of = |node| stage.daemon(node, |daemon| daemon.process().cpu_time());
        Ok(of(Node::Db1)?.max(of(Node::Db2)?))
    };
    let before = spent()?;
    set(proxies, manner);
    thread::sleep(length);
    set(proxies, Manner::Faithful);
    Ok((spent()? - before).as_secs_f64() / length.as_secs_f64())
}

/// Nothing that was said has made it grow, or fill the log.
fn is_modest(stage: &Stage<'_>, node: Node) -> Result<()> {
    stage.daemon(node, |daemon| {
        let memory = daemon.process().peak_resident_bytes()?;
        ensure!(memory < MOST_MEMORY, "{node}: {memory} bytes");
        let lines = daemon.log().lines().count();
        println!("{node}: at most {} KiB resident, {lines} lines of log", memory >> 10);
        ensure!(lines < 1000, "{node}: {lines} lines of log");
        Ok(())
    })
}

/// Requests that had to wait arrive after all, long after whoever sent them has given up.
#[test]
fn etcd_stalls_for_ten_seconds_again_and_again() {
    behind_etcd(Timing::FAST, |stage, proxies| {
        let before = stage.analysis().holdings();
        for _ in 0..times(2, 3) {
            spell(stage, proxies, Manner::Stalled, 10 * SECOND)?;
            thread::sleep(2 * SECOND);
        }
        ensure!(stage.analysis().holdings() == before, "the VIP moved: {:?}", stage.analysis().holdings());
        // Patroni has etcd; the daemons do not while the VIP has to move.
        set(proxies, Manner::Stalled);
        thread::sleep(2 * SECOND);
        stage.lab.switchover(Node::Db2)?;
        stage.lab.wait_until("the VIP to leave", 10 * SECOND, || Ok(stage.holders().is_empty()))?;
        thread::sleep(8 * SECOND);
        ensure!(stage.holders().is_empty(), "bound without etcd: {:?}", stage.holders());
        set(proxies, Manner::Faithful);
        stage.wait_vip(Node::Db2, 30 * SECOND)?;
        stage.wait_writes(10 * SECOND)?;
        stage.calm(3 * SECOND)
    });
}

#[test]
fn etcd_answers_byte_by_byte() {
    behind_etcd(Timing::FAST, |stage, proxies| {
        set(proxies, Manner::Bytewise(Duration::ZERO));
        stage.calm(3 * SECOND)?;
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, 20 * SECOND)?;
        stage.lab.wait_settled(Node::Db2, 60 * SECOND)?;
        // So slow that no answer is complete in time: as good as none.
        set(proxies, Manner::Bytewise(100 * Duration::from_millis(1)));
        stage.wait_reason(Node::Db2, "deadline", 20 * SECOND)?;
        ensure!(stage.holders().is_empty(), "{:?}", stage.holders());
        set(proxies, Manner::Faithful);
        stage.wait_vip(Node::Db2, 20 * SECOND)
    });
}

#[test]
fn etcd_answers_nonsense() {
    behind_etcd(Timing::FAST, |stage, proxies| {
        let before = stage.analysis().holdings();
        for (name, manner) in [("a page", PAGE), ("nothing", NOTHING), ("noise", NOISE), ("frames", FRAMES)] {
            let cpu = spell(stage, proxies, manner, times(3, 5) as u32 * SECOND)?;
            println!("{name}: {:.1} % of a core", cpu * 100.0);
            ensure!(cpu < MOST_CPU, "{name}: {cpu} of a core");
            thread::sleep(2 * SECOND);
            ensure!(stage.analysis().holdings() == before, "the VIP moved: {:?}", stage.analysis().holdings());
        }
        // What is nearly right may be understood: that the lock is another's, say.
        spell(stage, proxies, Manner::Garbled(40), 10 * SECOND)?;
        stage.wait_vip(Node::Db1, 30 * SECOND)?;
        set(proxies, PAGE);
        stage.wait_reason(Node::Db1, "deadline", 20 * SECOND)?;
        stage.status_says(Node::Db1, "etcd error")?;
        set(proxies, Manner::Faithful);
        stage.wait_vip(Node::Db1, 20 * SECOND)
    });
}

#[test]
fn postgresql_answers_byte_by_byte() {
    behind_postgresql(|stage, proxies| {
        set(proxies, Manner::Bytewise(Duration::ZERO));
        stage.calm(3 * SECOND)?;
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, 20 * SECOND)?;
        let lag = stage.analysis().moves().pop().and_then(|moved| moved.lag()).context("no lag")?;
        println!("VIP lag with PostgreSQL byte by byte: {lag:?}");
        ensure!(lag.at_least < 1000.0, "{lag:?}");
        stage.lab.wait_settled(Node::Db2, 60 * SECOND)?;
        // No answer is complete within the half second that it may take: that proves nothing, and etcd still answers.
        set(proxies, Manner::Bytewise(20 * Duration::from_millis(1)));
        stage.calm(10 * SECOND)?;
        stage.status_says(Node::Db2, "PostgreSQL does not answer")?;
        has_few_sessions(stage, Node::Db2)?;
        set(proxies, Manner::Faithful);
        stage.calm(3 * SECOND)
    });
}

#[test]
fn postgresql_answers_nonsense() {
    behind_postgresql(|stage, proxies| {
        let (garbled, stalled) = (("garbled", Manner::Garbled(40)), ("stalled", Manner::Stalled));
        let foreign = [("a page", PAGE), ("nothing", NOTHING), ("noise", NOISE), ("a row", ROW)];
        for (name, manner) in foreign.into_iter().chain([garbled, stalled]) {
            let cpu = spell(stage, proxies, manner, times(3, 5) as u32 * SECOND)?;
            println!("{name}: {:.1} % of a core", cpu * 100.0);
            ensure!(cpu < MOST_CPU, "{name}: {cpu} of a core");
            stage.wait_vip(Node::Db1, 20 * SECOND)?;
            has_few_sessions(stage, Node::Db1)?;
        }
        Ok(())
    });
}

/// PostgreSQL serves, but the process that serves the daemon's session does not: storage that hangs does that to one of them.
#[test]
fn a_backend_of_postgresql_hangs_again_and_again() {
    play(Options::default(), |stage| {
        let pid = stage.daemon(Node::Db1, |daemon| Ok(daemon.process().pid()))?;
        let descriptors = || Ok::<_, anyhow::Error>(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count());
        let before = descriptors()?;
        let mut hanging = Vec::new();
        for _ in 0..6 {
            let fresh = RefCell::new(Vec::new());
            stage.lab.wait_until("a session that answers", 10 * SECOND, || {
                let serving = sessions(stage)?.into_iter().filter(|backend| !hanging.contains(backend));
                fresh.replace(serving.collect());
                Ok(!fresh.borrow().is_empty() && stage.vip_status(Node::Db1)?["reason"] == "holding")
            })?;
            let fresh = fresh.into_inner();
            fresh.iter().try_for_each(|backend| signal_pid(*backend, Signal::SIGSTOP))?;
            hanging.extend(fresh);
            stage.calm(2 * SECOND)?;
        }
        ensure!(descriptors()? <= before + 2, "{} descriptors, {before} before", descriptors()?);
        hanging.iter().try_for_each(|backend| signal_pid(*backend, Signal::SIGCONT))?;
        stage.lab.wait_until("those that hung to be gone", 10 * SECOND, || Ok(sessions(stage)?.len() == 1))
    });
}

/// The processes that serve the daemon on db1.
fn sessions(stage: &Stage<'_>) -> Result<Vec<u32>> {
    let listed = "select pid from pg_stat_activity where application_name = 'pgvrrp'";
    let listed = stage.lab.database(Node::Db1).sql(listed)?;
    listed.lines().map(|line| Ok(line.parse()?)).collect()
}

/// A session that was given up does not keep its place in PostgreSQL.
fn has_few_sessions(stage: &Stage<'_>, node: Node) -> Result<()> {
    let count = "select count(*) from pg_stat_activity where application_name = 'pgvrrp'";
    let sessions: u32 = stage.lab.database(node).sql(count)?.parse()?;
    ensure!(sessions <= 3, "{sessions} sessions of the daemon's on {node}");
    Ok(())
}

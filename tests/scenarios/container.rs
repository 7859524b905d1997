//! The daemon in a container, as `docs/CONTAINERS.md` has it: image, unit and commands are read from there and run with podman on
//! a node of a cluster. What systemd does by the unit, a loop does; and once a systemd, where `PGVRRP_DEBIAN` names a system to boot
//! (`cargo xtask package-test`).
//!
//! podman has files of its own there, which go with the scenario, and makes no control groups.

mod engine;

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::{Config, Daemon, Launch};
use lab::process::Process;
use lab::{Node, Options, Time, prerequisites};

use crate::stage::{binary, play_with};
use engine::{Engine, field, said};

const SECOND: Duration = Duration::from_secs(1);

/// CAP_NET_ADMIN and CAP_NET_RAW, as /proc says it.
const BOTH: &str = "0000000000003000";

/// Types what is on the page.
fn play_page(engine: &Engine<'_>) -> Result<Option<Process>> {
    let (stage, mut unit) = (engine.stage, None);
    let mut before = None;
    for line in engine.typed() {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["systemctl", "daemon-reload"] => {}
            ["systemctl", "enable", ..] => {
                let mut config = Config::reference(stage.lab, Node::Db1);
                config.remove("", "runtime_dir").remove("postgres", "connection");
                fs::write(engine.file("/etc/pgvrrp/pgvrrp.toml"), config.render())?;
                unit = Some(engine.start(&line)?);
                stage.wait_vip(Node::Db1, 10 * SECOND)?;
                stage.probes.borrow_mut().add_hasty_client()?;
                let sessions = stage.probes.borrow_mut().open_sessions(5)?;
                before = Some((stage.last_holding(Node::Db1)?, Time::now(), sessions, engine.inspect("Image")?));
            }
            ["tar", "--extract", "--file", name, ..] => {
                engine.make_tarball(name)?;
                engine.succeed(&line)?;
            }
            ["podman", "build", ..] => {
                engine.write_containerfile(if unit.is_some() { "LABEL version=next\n" } else { "" })?;
                engine.succeed(&line)?;
            }
            [.., "status"] => {
                let text = engine.succeed(&line)?;
                ensure!(text.contains("10.0.20.155/32: HERE"), "{text}");
            }
            [.., "doctor"] => doctor(&engine.succeed(&line)?)?,
            [.., "handover"] => {
                let text = engine.succeed(&line)?;
                ensure!(text.starts_with("the daemon has handed over to the next one within"), "{text}");
                ensure!(text.contains("10.0.20.155 HERE"), "{text}");
                let (holding, since, sessions, image) = before.as_ref().context("it has not been started")?;
                stage.calm(4 * SECOND)?;
                stage.nobody_noticed(holding, *since, sessions)?;
                ensure!(engine.inspect("Image")? != *image, "it is the former image");
                before = None;
            }
            _ => drop(engine.succeed(&line)?),
        }
    }
    ensure!(before.is_none(), "the page has no handover");
    unit.context("the page starts nothing")
}

/// What it says of the daemon that runs beside it, and that nothing is wrong.
fn doctor(text: &str) -> Result<()> {
    for words in [
        "(process 1) has CAP_NET_ADMIN and CAP_NET_RAW",
        "primary, connected",
        "daemon: runs (process 1)",
        "not to be seen from inside a container",
    ] {
        ensure!(text.contains(words), "{words:?} is not there: {text}");
    }
    ensure!(!text.contains("\nproblem"), "{text}");
    Ok(())
}

/// It has nothing that the page does not give it.
fn confined(engine: &Engine<'_>) -> Result<()> {
    let status = engine.file(&format!("/proc/{}/status", engine.inspect("State.Pid")?));
    let status = fs::read_to_string(status)?;
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        ensure!(field(&status, set) == BOTH, "{status}");
    }
    for (name, value) in [("Uid:", "899\t899\t899\t899"), ("NoNewPrivs:", "1"), ("Seccomp:", "2")] {
        ensure!(field(&status, name) == value, "{status}");
    }
    Ok(())
}

/// The next container goes on with what a killed one has left.
fn killed(engine: &Engine<'_>) -> Result<()> {
    let stage = engine.stage;
    let (holding, since) = (stage.last_holding(Node::Db1)?, Time::now());
    let sessions = stage.probes.borrow_mut().open_sessions(5)?;
    engine.succeed("podman kill --signal KILL pgvrrp")?;
    stage.calm(4 * SECOND)?;
    stage.nobody_noticed(&holding, since, &sessions)?;
    let uptime = engine.status()?["uptime"].as_f64().context("no uptime")?;
    ensure!(uptime < 4.5, "it was not killed: up {uptime} s");
    Ok(())
}

/// Whoever else serves this VIP on this host, in a container or not.
fn alone(engine: &Engine<'_>) -> Result<()> {
    let stage = engine.stage;
    let holding = stage.last_holding(Node::Db1)?;
    let again = engine.setting("ExecStart")?.replace("--name pgvrrp --replace", "--name second");
    let elsewhere = again.replace("/run/pgvrrp:", "/run/second:");
    fs::create_dir(engine.file("/run/second"))?;
    chown(engine.file("/run/second"), Some(899), Some(899))?;
    for (line, words) in [
        (&again, "another pgvrrp runs on this host: it holds /run/pgvrrp/lock"),
        (&elsewhere, "another pgvrrp runs on this host (outside this container), with another runtime_dir"),
    ] {
        let output = engine.run(line)?;
        ensure!(
            output.status.code() == Some(75) && said(&output).contains(words),
            "{}: {}",
            output.status,
            said(&output)
        );
    }
    // root's own.
    let launch = Launch { name: "of-the-host".to_owned(), ..Launch::reference(stage.lab, Node::Db1) };
    let own = Daemon::start(stage.lab, Node::Db1, &binary(), &launch)?;
    let status = own.process().wait(Duration::from_secs(5))?;
    let words = "with another runtime_dir, and serves 10.0.20.155 already";
    ensure!(status.code() == Some(75) && own.log().contains(words), "{status}: {}", own.log());
    ensure!(stage.last_holding(Node::Db1)?.from == holding.from, "the VIP left");
    Ok(())
}

/// A postmaster that has no number in the container is never taken for the former one.
fn postmaster_unknown(engine: &Engine<'_>) -> Result<()> {
    let (stage, database) = (engine.stage, engine.stage.lab.database(Node::Db1));
    database.sql("ALTER ROLE pgvrrp CONNECTION LIMIT 0")?;
    database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'pgvrrp'")?;
    stage.lab.wait_until("the VIP to leave", SECOND, || Ok(stage.holders().is_empty()))?;
    let why = engine.status()?["vips"][0]["why"].to_string();
    ensure!(why.contains("53300"), "{why}");
    database.sql("ALTER ROLE pgvrrp CONNECTION LIMIT -1")?;
    stage.wait_vip(Node::Db1, 5 * SECOND)
}

/// Stops it by this line.
fn stopped(engine: &Engine<'_>, line: &str) -> Result<()> {
    let stage = engine.stage;
    let asked = Time::now();
    engine.succeed(line)?;
    let left = stage.last_holding(Node::Db1)?.to.context("still there")?.millis_after(asked);
    println!("the VIP left {left:.0} ms after it was asked for");
    ensure!(left < 1500.0, "it took {left} ms");
    ensure!(stage.lab.etcd().get_prefix("/pgvrrp/")?.is_empty(), "its lock is still there");
    // And it was the container that had it: the other node goes on.
    stage.lab.switchover(Node::Db2)?;
    stage.wait_vip(Node::Db2, 10 * SECOND)
}

#[test]
fn in_a_container_as_the_page_has_it() {
    play_with(Options::default(), |stage| {
        stage.start_daemon(Node::Db2)?;
        let engine = Engine::on_a_host(stage)?;
        let played = play_page(&engine).and_then(|unit| {
            confined(&engine)?;
            killed(&engine)?;
            alone(&engine)?;
            postmaster_unknown(&engine)?;
            fs::write(engine.in_context("stopped"), "")?;
            stopped(&engine, &engine.setting("ExecStop")?)?;
            unit.context("a loop is a process")?.wait(5 * SECOND)?;
            ensure!(engine.log().trim_end().ends_with("it has ended: 0"), "it did not end by itself");
            Ok(())
        });
        played.map_err(|error| error.context(engine.log()))
    });
}

#[test]
fn in_a_container_under_systemd() {
    let debian = std::env::var_os("PGVRRP_DEBIAN").map(PathBuf::from);
    let (Some(debian), Ok(Some(podman))) = (debian, prerequisites::podman()) else {
        println!("skipped: PGVRRP_DEBIAN names no system to boot, or there is no podman that could be put into it");
        return;
    };
    play_with(Options::default(), |stage| {
        stage.start_daemon(Node::Db2)?;
        let engine = Engine::on_a_machine(stage, &debian, &podman)?;
        let played = play_page(&engine).and_then(|_| {
            confined(&engine)?;
            killed(&engine)?;
            engine.succeed("systemctl reload pgvrrp")?;
            stopped(&engine, "systemctl stop pgvrrp")?;
            ensure!(engine.succeed("podman ps --quiet")?.is_empty(), "a container still runs");
            Ok(())
        });
        played.map_err(|error| error.context(engine.log()))
    });
}

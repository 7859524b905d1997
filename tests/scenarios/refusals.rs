//! Starts that cannot work: a clear message or a reason in the status, never a panic, never a bound VIP.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::daemon::{Daemon, Launch};
use lab::process::Process;
use lab::{Direction, Node, Options, Traffic};

use crate::stage::{Stage, binary, play, play_with};

/// Starts a daemon that has to end by itself, with this exit code and this in its log.
pub(crate) fn refuses(stage: &Stage<'_>, launch: &Launch, code: i32, words: &[&str]) -> Result<()> {
    let daemon = Daemon::start(stage.lab, Node::Db1, &binary(), launch)?;
    let status = daemon.process().wait(Duration::from_secs(5))?;
    let log = daemon.log();
    ensure!(status.code() == Some(code), "exit code {status} instead of {code}: {log}");
    for word in words {
        ensure!(log.contains(word), "{word:?} is not in the log:\n{log}");
    }
    ensure!(!log.contains("panicked"), "{log}");
    ensure!(stage.holders().is_empty(), "the VIP is bound");
    Ok(())
}

pub(crate) fn named(stage: &Stage<'_>, name: &str) -> Launch {
    Launch { name: name.to_owned(), ..Launch::reference(stage.lab, Node::Db1) }
}

#[test]
fn ends_with_a_clear_message() {
    play_with(Options::default(), |stage| {
        let mut launch = named(stage, "bad-value");
        launch.config.set("vip", "virtual_router_id", "300").set("vip", "adress", "\"10.0.20.155\"");
        refuses(stage, &launch, 78, &["virtual_router_id", "bad-value.toml:", "^^^", "adress", "2 errors"])?;

        let mut launch = named(stage, "not-yet");
        launch.config.set("vip", "follows", "\"replica\"");
        refuses(stage, &launch, 78, &["not available in this version"])?;

        let mut launch = named(stage, "no-rights");
        launch.wrapper = ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
            .map(str::to_owned)
            .to_vec();
        let run = stage.lab.dir().join("norights");
        launch.config.set("", "runtime_dir", &format!("\"{}\"", run.display()));
        refuses(stage, &launch, 77, &["CAP_NET_ADMIN and CAP_NET_RAW"])?;

        let mut launch = named(stage, "one-right");
        launch.wrapper = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"].map(str::to_owned).to_vec();
        refuses(stage, &launch, 77, &["CAP_NET_RAW"])?;

        let mut launch = named(stage, "no-recording");
        launch.record = Some("/nonexistent/directory/file.jsonl".into());
        refuses(stage, &launch, 71, &["cannot record to /nonexistent/directory/file.jsonl: No such file"])?;

        let mut launch = named(stage, "prefix");
        launch.config.set("vip", "address", "\"10.0.20.155/24\"");
        stage.lab.namespace(Node::Db1).run(|| {
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", "0")
                .and_then(|()| std::fs::write("/proc/sys/net/ipv4/conf/all/promote_secondaries", "0"))
        })??;
        refuses(stage, &launch, 78, &["promote_secondaries"])
    });
}

#[test]
fn a_second_daemon_on_the_same_host() {
    play(Options::default(), |stage| {
        let second = Daemon::start(stage.lab, Node::Db1, &binary(), &named(stage, "second"))?;
        let status = second.process().wait(Duration::from_secs(5))?;
        ensure!(status.code() == Some(75), "{status}: {}", second.log());
        ensure!(second.log().contains("another pgvrrp runs on this host"), "{}", second.log());
        // Nor with a runtime directory of its own: the two would remove each other's address.
        let mut apart = named(stage, "apart");
        let run = stage.lab.dir().join("apart");
        apart.config.set("", "runtime_dir", &format!("\"{}\"", run.display()));
        let third = Daemon::start(stage.lab, Node::Db1, &binary(), &apart)?;
        let status = third.process().wait(Duration::from_secs(5))?;
        ensure!(status.code() == Some(75), "{status}: {}", third.log());
        ensure!(third.log().contains("serves 10.0.20.155 already"), "{}", third.log());
        stage.calm(Duration::from_secs(1))
    });
}

/// Starts a daemon that has to wait, and to say why.
pub(crate) fn waits(stage: &Stage<'_>, launch: &Launch, reason: &str, words: &str) -> Result<()> {
    stage.launch(Node::Db1, launch)?;
    stage.wait_reason(Node::Db1, reason, Duration::from_secs(10))?;
    stage.status_says(Node::Db1, words)?;
    std::thread::sleep(Duration::from_secs(1));
    ensure!(stage.holders().is_empty(), "the VIP is bound");
    stage.daemon(Node::Db1, |daemon| {
        ensure!(!daemon.log().contains("panicked"), "{}", daemon.log());
        daemon.terminate()
    })?;
    Ok(())
}

#[test]
fn waits_and_says_why() {
    play_with(Options::default(), |stage| {
        let mut launch = named(stage, "no-interface");
        launch.config.set("", "interface", "\"eth7\"");
        waits(stage, &launch, "no_interface", "there is no interface eth7")?;

        let mut launch = named(stage, "no-member");
        launch.config.set("", "node", "\"db7\"");
        waits(stage, &launch, "unknown_member", "/service/odoo/members/db7")?;

        let mut launch = named(stage, "wrong-member");
        launch.config.set("", "node", "\"db2\"");
        waits(stage, &launch, "other_leads", "db1 holds Patroni's leader key")?;

        let mut launch = named(stage, "no-socket");
        launch.config.set("postgres", "connection", "\"host=/nonexistent user=pgvrrp dbname=postgres\"");
        waits(stage, &launch, "postgres_down", "/nonexistent/.s.PGSQL.5432")?;

        let mut launch = named(stage, "no-role");
        let socket = stage.lab.database(Node::Db1).socket_dir();
        let connection = format!("\"host={} user=nobody_known dbname=postgres\"", socket.display());
        launch.config.set("postgres", "connection", &connection);
        waits(stage, &launch, "postgres_unknown", "nobody_known")?;

        let mut launch = named(stage, "no-etcd");
        launch.config.set("etcd", "endpoints", "[\"http://10.0.20.13:2999\"]");
        waits(stage, &launch, "etcd_unasked", "etcd error")?;

        stage.lab.cut(Node::Db1, Traffic::Etcd, Direction::Both)?;
        waits(stage, &named(stage, "etcd-cut"), "etcd_unasked", "etcd error")?;
        stage.lab.heal_all()?;

        let mut launch = named(stage, "http-taken");
        launch.config.set("http", "listen", "\"10.9.9.9:9155\"");
        stage.launch(Node::Db1, &launch)?;
        stage.wait_vip(Node::Db1, Duration::from_secs(10))?;
        stage.daemon(Node::Db1, |daemon| {
            ensure!(daemon.log().contains("HTTP is not available"), "{}", daemon.log());
            Ok(())
        })
    });
}

/// A PostgreSQL of its own that belongs to no cluster, with its socket in `dir`.
pub(crate) fn stranger(stage: &Stage<'_>, dir: &Path) -> Result<Process> {
    let tools = stage.lab.tools();
    std::fs::create_dir(dir)?;
    std::os::unix::fs::chown(dir, Some(tools.account.uid), Some(tools.account.gid))?;
    let data = dir.join("data");
    let db1 = stage.lab.namespace(Node::Db1);
    let mut initdb = db1.command_as(tools.postgres_program("initdb"), tools.account);
    let made =
        initdb.current_dir(dir).arg("-D").arg(&data).args(["--no-sync", "-A", "trust", "-U", "pgvrrp"]).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut postgres = db1.command_as(tools.postgres_program("postgres"), tools.account);
    postgres.current_dir(dir).arg("-D").arg(&data).arg("-k").arg(dir).args(["-c", "listen_addresses="]);
    postgres.stdout(Stdio::null()).stderr(Stdio::null());
    Process::spawn("a stranger's PostgreSQL", postgres)
}

#[test]
fn the_wrong_postgresql_behind_the_socket() {
    play_with(Options::default(), |stage| {
        let dir = stage.lab.dir().join("stranger");
        let stranger = stranger(stage, &dir)?;
        let mut launch = named(stage, "stranger");
        launch.config.set("postgres", "connection", &format!("\"host={} user=pgvrrp dbname=postgres\"", dir.display()));
        waits(stage, &launch, "wrong_server", "leads to another server")?;
        stranger.kill();
        Ok(())
    });
}

//! The table of situations that have no single right answer, row by row: what the VIP does, what status and metrics say.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::Launch;
use lab::http::Request;
use lab::process::signal_pid;
use lab::{Node, Options, Time};
use nix::sys::signal::Signal;
use pgvrrp::transport::v4::AdvertSender;
use vrrp::types::Interval;

use crate::conflicts::rival;
use crate::stage::{Stage, play, play_with};

fn metric(stage: &Stage<'_>, node: Node, series: &str) -> Result<Option<f64>> {
    stage.daemon(node, |daemon| daemon.metric(series))
}

#[test]
fn paused_and_the_leader_key_has_expired() {
    play(Options::default(), |stage| {
        stage.lab.pause(true)?;
        stage.lab.database(Node::Db1).kill_patroni();
        stage.wait_reason(Node::Db1, "holding_paused", Duration::from_secs(40))?;
        stage.status_says(Node::Db1, "the leader key is gone while Patroni is paused")?;
        stage.calm(Duration::from_secs(5))?;
        // Patroni comes back and takes its key again: nothing moves.
        stage.lab.database(Node::Db1).start()?;
        stage.wait_reason(Node::Db1, "holding", Duration::from_secs(20))?;
        stage.lab.pause(false)?;
        stage.calm(Duration::from_secs(3))?;
        ensure!(stage.analysis().holdings().len() == 1, "the VIP moved");
        Ok(())
    });
}

#[test]
fn paused_with_the_policy_to_release() {
    play_with(Options::default(), |stage| {
        for node in Node::DATABASES {
            let mut launch = Launch::reference(stage.lab, node);
            launch.config.set("policy", "paused", "\"release\"");
            stage.launch(node, &launch)?;
        }
        stage.wait_vip(Node::Db1, Duration::from_secs(10))?;
        stage.lab.pause(true)?;
        stage.lab.database(Node::Db1).kill_patroni();
        stage.lab.wait_until("the VIP to leave", Duration::from_secs(40), || Ok(stage.holders().is_empty()))?;
        stage.wait_reason(Node::Db1, "no_leader", Duration::from_secs(5))?;
        stage.status_says(Node::Db1, "no member holds Patroni's leader key")?;
        stage.calm(Duration::from_secs(3))
    });
}

/// The process that replays WAL on a standby: stopped, it leaves a promotion unfinished.
fn startup_process(stage: &Stage<'_>, node: Node) -> Result<u32> {
    for pid in stage.lab.database(node).postgres_pids() {
        let title = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if title.contains("startup") {
            return Ok(pid);
        }
    }
    anyhow::bail!("{node} has no startup process")
}

#[test]
fn a_promotion_is_stuck_in_recovery() {
    play(Options::default(), |stage| {
        let startup = startup_process(stage, Node::Db2)?;
        signal_pid(startup, Signal::SIGSTOP)?;
        stage.lab.database(Node::Db1).kill_all()?;
        stage.wait_reason(Node::Db2, "in_recovery", Duration::from_secs(50))?;
        ensure!(metric(stage, Node::Db2, "pgvrrp_vip_armed{vip=\"10.0.20.155\"}")? == Some(1.0));
        thread::sleep(Duration::from_secs(7));
        ensure!(stage.holders().is_empty(), "the VIP is bound on a node in recovery");
        stage.status_says(Node::Db2, "PostgreSQL is in recovery")?;
        stage.daemon(Node::Db2, |daemon| {
            ensure!(daemon.log().contains("in recovery for more than 5 s"), "{}", daemon.log());
            Ok(())
        })?;
        signal_pid(startup, Signal::SIGCONT)?;
        stage.wait_vip(Node::Db2, Duration::from_secs(20))?;
        let movement = stage.analysis().moves().pop().context("no move")?;
        let lag = movement.lag().context("no lag")?;
        // By then PostgreSQL is asked every 100 ms only.
        println!("bound {:.1} to {:.1} ms after the promotion had ended", lag.at_least, lag.at_most);
        ensure!(lag.at_least < 500.0, "{lag:?}");
        Ok(())
    });
}

#[test]
fn the_kernel_refuses_to_bind() {
    play_with(Options::default(), |stage| {
        // An interface whose MTU is below what IPv4 needs takes no IPv4 address; only the loopback can be made so small.
        let db1 = stage.lab.namespace(Node::Db1);
        db1.ip(&["link", "set", "lo", "mtu", "67"])?;
        let mut launch = Launch::reference(stage.lab, Node::Db1);
        launch.config.set("", "interface", "\"lo\"");
        stage.launch(Node::Db1, &launch)?;
        // Without its loopback the host cannot be asked by HTTP.
        stage.lab.wait_until("the refusal", Duration::from_secs(10), || {
            Ok(stage.vip_status(Node::Db1)?["reason"] == "bind_refused")
        })?;
        stage.status_says(Node::Db1, "could not be bound")?;
        ensure!(stage.lab.etcd().get_prefix("/pgvrrp/")?.is_empty(), "the lock is kept without the address");
        db1.ip(&["link", "set", "lo", "mtu", "65536"])?;
        stage.wait_vip(Node::Db1, Duration::from_secs(15))?;
        ensure!(stage.vip_status(Node::Db1)?["counters"]["lost"] == 0, "what was never bound was counted as lost");
        db1.ip(&["address", "add", "127.0.0.1/8", "dev", "lo"])?;
        ensure!(metric(stage, Node::Db1, "pgvrrp_bind_refused_total{vip=\"10.0.20.155\"}")? >= Some(1.0));
        Ok(())
    });
}

/// The last revision of etcd that the holder has read.
fn revision(stage: &Stage<'_>) -> Result<i64> {
    stage.daemon(Node::Db1, |daemon| daemon.status()?["etcd"]["revision"].as_i64().context("no revision"))
}

#[test]
fn etcd_is_rebuilt_from_an_old_backup() {
    play(Options::default(), |stage| {
        let data = stage.lab.dir().join("dcs/etcd");
        let backup = stage.lab.dir().join("dcs/backup");
        let member = &stage.lab.members()[0];
        let copy = |from: &std::path::Path, to: &std::path::Path| -> Result<()> {
            let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status()?;
            ensure!(done.success(), "cp failed");
            Ok(())
        };
        member.kill();
        copy(&data, &backup)?;
        member.start()?;
        stage.lab.etcd().wait_healthy(Duration::from_secs(20))?;
        // History that the backup does not know.
        for number in 0..200 {
            stage.lab.etcd().put("/elsewhere", &number.to_string())?;
        }
        stage.lab.wait_until(
            "the daemon to have read that",
            Duration::from_secs(10),
            || Ok(revision(stage)? >= 200),
        )?;
        member.kill();
        std::fs::remove_dir_all(&data)?;
        copy(&backup, &data)?;
        member.start()?;
        stage.lab.etcd().wait_healthy(Duration::from_secs(20))?;
        stage.wait_reason(Node::Db1, "etcd_rebuilt", Duration::from_secs(10))?;
        stage.status_says(Node::Db1, "another cluster or an older copy")?;
        ensure!(metric(stage, Node::Db1, "pgvrrp_etcd_rebuilt_total")? == Some(1.0));
        ensure!(stage.holders().is_empty(), "the VIP is still bound");
        stage.lab.wait_until("the VIP to come back", Duration::from_secs(60), || Ok(stage.holders().len() == 1))?;
        stage.wait_writes(Duration::from_secs(10))
    });
}

#[test]
fn postgresql_is_restarted_in_place() {
    play(Options::default(), |stage| {
        let asked = Time::now();
        let answer = stage.lab.database(Node::Db1).rest(Request::post("/restart", "{}"), Duration::from_secs(30))?;
        ensure!(answer.status == 200, "{}", answer.body);
        stage.lab.wait_until("the VIP to have left and come back", Duration::from_secs(20), || {
            Ok(stage.analysis().holdings().len() == 2 && stage.holders() == [Node::Db1])
        })?;
        stage.status_says(Node::Db1, "left ")?;
        stage.status_says(Node::Db1, "PostgreSQL is down")?;
        let lost = metric(stage, Node::Db1, "pgvrrp_transitions_total{vip=\"10.0.20.155\",direction=\"lost\"}")?;
        ensure!(lost == Some(1.0), "lost {lost:?} times");
        stage.wait_writes(Duration::from_secs(10))?;
        println!("writes again {:.0} ms after the restart was asked for", Time::now().millis_after(asked));
        Ok(())
    });
}

/// By hand, behind Patroni's back.
fn stop_postgresql(stage: &Stage<'_>, node: Node) -> Result<()> {
    let (tools, database) = (stage.lab.tools(), stage.lab.database(node));
    let mut pg_ctl = stage.lab.namespace(node).command_as(tools.postgres_program("pg_ctl"), tools.account);
    tools.set_environment(&mut pg_ctl);
    pg_ctl.current_dir("/").arg("-D").arg(database.data_dir()).args(["stop", "-m", "fast", "-w"]);
    let done = pg_ctl.output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

#[test]
fn postgresql_is_restarted_with_the_policy_to_hold() {
    play_with(Options::default(), |stage| {
        for node in Node::DATABASES {
            let mut launch = Launch::reference(stage.lab, node);
            launch.config.set("policy", "postgres_down", "\"hold\"");
            stage.launch(node, &launch)?;
        }
        stage.wait_vip(Node::Db1, Duration::from_secs(10))?;
        let database = stage.lab.database(Node::Db1);
        let answer = database.rest(Request::post("/restart", "{}"), Duration::from_secs(30))?;
        ensure!(answer.status == 200, "{}", answer.body);
        stage.wait_reason(Node::Db1, "holding", Duration::from_secs(10))?;
        // For longer than the moment of a restart: in a pause Patroni does not start it again.
        stage.lab.pause(true)?;
        stop_postgresql(stage, Node::Db1)?;
        stage.wait_reason(Node::Db1, "holding_down", Duration::from_secs(5))?;
        stage.status_says(Node::Db1, "holding by policy")?;
        stage.calm(Duration::from_secs(2))?;
        ensure!(stage.analysis().holdings().len() == 1, "the VIP moved");
        // Patroni starts it again, or fails over.
        stage.lab.pause(false)?;
        stage.lab.wait_until("the VIP to be with a primary", Duration::from_secs(40), || {
            Ok(stage.holders().len() == 1 && stage.lab.leader()? == stage.holders().first().copied())
        })
    });
}

#[test]
fn postgresql_has_no_connection_left() {
    play(Options::default(), |stage| {
        // As a superuser, so that the reserved connections are used up as well.
        let database = stage.lab.database(Node::Db1);
        let socket = database.socket_dir();
        let backend = database.sql("select pid from pg_stat_activity where application_name = 'pgvrrp'")?.parse()?;
        // The daemon's next session is not to have the place of the one that ends.
        database.sql("alter role pgvrrp connection limit 0")?;
        let mut clients = Vec::new();
        for _ in 0..110 {
            let mut psql = stage.lab.namespace(Node::Db1).command(stage.lab.tools().postgres_program("psql"));
            psql.arg("-h").arg(&socket).args(["-U", "postgres", "-d", "postgres", "-c", "select pg_sleep(20)"]);
            psql.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            clients.push(lab::process::Process::spawn("psql", psql)?);
        }
        stage.lab.wait_until("every connection to be taken", Duration::from_secs(15), || {
            Ok(database.sql("select 1").is_err())
        })?;
        signal_pid(backend, Signal::SIGTERM)?;
        stage.wait_reason(Node::Db1, "holding_unanswered", Duration::from_secs(5))?;
        stage.status_says(Node::Db1, "holding while the lock is confirmed")?;
        stage.calm(Duration::from_secs(3))?;
        drop(clients);
        stage.lab.wait_until("a connection to be free", Duration::from_secs(30), || {
            Ok(database.sql("alter role pgvrrp connection limit -1").is_ok())
        })?;
        stage.wait_reason(Node::Db1, "holding", Duration::from_secs(30))?;
        ensure!(stage.analysis().holdings().len() == 1, "the VIP moved");
        Ok(())
    });
}

#[test]
fn a_foreign_active_is_made_to_yield_before_the_address_is_bound() {
    play(Options::default(), |stage| {
        let client = stage.lab.namespace(Node::Client);
        let sender = client.run(|| AdvertSender::open("eth0"))??;
        let mut advert = rival(100);
        advert.interval = Interval::from_centis(20).context("200 ms is an interval")?;
        let stop = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = sender.send(&advert);
                    thread::sleep(Duration::from_millis(200));
                }
            });
            let result =
                stage.lab.switchover(Node::Db2).and_then(|_| stage.wait_vip(Node::Db2, Duration::from_secs(20)));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            result
        })?;
        let movement = stage.analysis().moves().pop().context("no move")?;
        let lag = movement.lag().context("no lag")?;
        println!("bound {:.1} to {:.1} ms after it could be", lag.at_least, lag.at_most);
        // It does not yield: bound when the tenth of a second is over.
        ensure!(lag.at_most >= 95.0 && lag.at_least < 400.0, "{lag:?}");
        stage.status_says(Node::Db2, "foreign routers displaced 1")?;
        let displaced = metric(stage, Node::Db2, "pgvrrp_displaced_total{vip=\"10.0.20.155\"}")?;
        ensure!(displaced == Some(1.0), "displaced {displaced:?}");
        Ok(())
    });
}

/// The leader of a standby cluster holds K, and its PostgreSQL follows another cluster: there is no primary for the VIP.
#[test]
fn the_cluster_becomes_a_standby_cluster_and_a_cluster_of_its_own_again() {
    play(Options::default(), |stage| {
        // Its primary is nowhere, which makes no difference to its members.
        stage.lab.patch_config(&serde_json::json!({"standby_cluster": {"host": "10.0.20.100", "port": 5432}}))?;
        stage.lab.wait_until("the VIP to leave", Duration::from_secs(30), || Ok(stage.holders().is_empty()))?;
        stage.lab.wait_until("the leader to be in recovery", Duration::from_secs(60), || {
            let leader = stage.lab.leader()?.unwrap_or(Node::Db1);
            Ok(stage.lab.database(leader).sql("select pg_is_in_recovery()").is_ok_and(|answer| answer == "t"))
        })?;
        let leader = stage.lab.leader()?.context("no leader")?;
        stage.wait_reason(leader, "standby_cluster", Duration::from_secs(20))?;
        stage.status_says(leader, "this is a standby cluster")?;
        thread::sleep(Duration::from_secs(6));
        ensure!(stage.holders().is_empty(), "the VIP is bound in a standby cluster");
        stage.daemon(leader, |daemon| {
            ensure!(
                !daemon.log().contains("in recovery for more than"),
                "this promotion is not slow: {}",
                daemon.log()
            );
            Ok(())
        })?;
        stage.lab.patch_config(&serde_json::json!({"standby_cluster": null}))?;
        stage.lab.wait_until("the VIP to be somewhere", Duration::from_secs(40), || Ok(stage.holders().len() == 1))?;
        stage.wait_writes(Duration::from_secs(10))
    });
}

//! `fence = "leader-key"`, with an etcd user that may not write anything.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::Launch;
use lab::{Direction, Node, Options, Time, Traffic};
use nix::sys::signal::Signal;

use crate::stage::{Stage, play_with, times};

const SECOND: Duration = Duration::from_secs(1);

fn start_daemon(stage: &Stage<'_>, node: Node) -> Result<()> {
    let mut launch = Launch::reference(stage.lab, node);
    launch.config.set("", "fence", "\"leader-key\"");
    launch.config.set_etcd_user("reader", "may-only-read", &stage.lab.dir().join("reader-password"))?;
    stage.launch(node, &launch)
}

/// A user that may read the cluster's keys, and daemons that know no other.
fn start(stage: &Stage<'_>) -> Result<()> {
    for command in [
        "role add reader",
        "role grant-permission reader --prefix=true read /service/odoo/",
        "user add reader:may-only-read",
        "user grant-role reader reader",
    ] {
        stage.lab.etcd().etcdctl(&command.split_whitespace().collect::<Vec<_>>())?;
    }
    for node in Node::DATABASES {
        start_daemon(stage, node)?;
    }
    stage.wait_vip(Node::Db1, 10 * SECOND)?;
    stage.probes.borrow_mut().add_hasty_client()
}

fn play(act: impl FnOnce(&Stage<'_>) -> Result<()>) {
    play_with(Options { etcd_auth: true, ..Options::default() }, |stage| {
        start(stage)?;
        act(stage)?;
        ensure!(stage.lab.etcd().get_prefix("/pgvrrp/")?.is_empty(), "something was written");
        Ok(())
    });
}

#[test]
fn a_read_only_user_of_etcd() {
    play(|stage| {
        stage.status_says(Node::Db1, "the leader key is the fence")?;
        stage.daemon(Node::Db1, |daemon| {
            ensure!(daemon.metric("pgvrrp_fence{vip=\"10.0.20.155\",fence=\"leader_key\"}")? == Some(1.0));
            ensure!(daemon.log().contains("does not wait for a node whose daemon is dead or frozen"));
            Ok(())
        })?;
        stage.calm(5 * SECOND)?;
        for round in 0..times(1, 10) {
            let to = [Node::Db2, Node::Db1][round % 2];
            stage.lab.switchover(to)?;
            stage.wait_vip(to, 20 * SECOND)?;
            stage.wait_writes(5 * SECOND)?;
            let movement = stage.analysis().moves().pop().context("no move")?;
            println!("bound {:?} after the new primary accepted writes", movement.lag().context("no lag")?);
            stage.lab.wait_streaming(to.other(), 60 * SECOND)?;
        }
        Ok(())
    });
}

#[test]
fn a_read_only_user_when_the_primarys_host_is_cut_off_from_etcd() {
    play(|stage| {
        // Patroni hangs: only what is left of K's lease decides.
        stage.lab.database(Node::Db1).signal_patroni(Signal::SIGSTOP)?;
        let cut = Time::now();
        stage.lab.cut(Node::Db1, Traffic::Etcd, Direction::Both)?;
        thread::sleep(8 * SECOND);
        ensure!(stage.holders() == [Node::Db1]);
        stage.lab.wait_until("the VIP to leave", 20 * SECOND, || Ok(!stage.holders().contains(&Node::Db1)))?;
        let left = stage.last_holding(Node::Db1)?.to.context("still there")?.millis_after(cut);
        println!("the VIP left {left:.0} ms after etcd was cut off");
        // K's lease of 20 s was renewed at most 1 s before, and etcd rounds down.
        ensure!((9_000.0..16_500.0).contains(&left), "the VIP left after {left} ms");
        stage.wait_vip(Node::Db2, 40 * SECOND)?;
        stage.lab.heal_all()?;
        stage.calm(3 * SECOND)?;
        stage.lab.database(Node::Db1).signal_patroni(Signal::SIGCONT)?;
        stage.calm(3 * SECOND)
    });
}

#[test]
fn a_read_only_user_and_a_daemon_that_is_killed_and_comes_back() {
    play(|stage| {
        let before = stage.analysis().holdings();
        stage.daemon(Node::Db1, |daemon| Ok(daemon.kill()))?;
        thread::sleep(Duration::from_millis(300));
        start_daemon(stage, Node::Db1)?;
        thread::sleep(6 * SECOND);
        ensure!(stage.analysis().holdings() == before, "the VIP moved: {:?}", stage.analysis().holdings());
        // Patroni restarts: K has another lease of the same epoch.
        stage.lab.database(Node::Db1).kill_patroni();
        thread::sleep(SECOND);
        stage.lab.database(Node::Db1).start()?;
        stage.calm(15 * SECOND)
    });
}

//! etcd's only member is rebooted, with Patroni's failsafe mode on and off.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::Launch;
use lab::patroni::Timing;
use lab::{Node, Options, Time};

use crate::stage::{Stage, play, play_with, times};

const SECOND: Duration = Duration::from_secs(1);

fn options(timing: Timing) -> Options {
    Options { timing, failsafe_mode: true, ..Options::default() }
}

/// etcd is down for a while, and nothing moves: not the VIP, and not a client's connection.
fn a_reboot_of_etcd(stage: &Stage<'_>, down: Duration, patient: Duration) -> Result<()> {
    let member = &stage.lab.members()[0];
    // The standby has read etcd, too, before that goes.
    stage.wait_reason(Node::Db2, "other_leads", 10 * SECOND)?;
    let before = stage.analysis().holdings();
    let from = Time::now();
    member.kill();
    stage.wait_reason(Node::Db1, "holding_failsafe", patient)?;
    stage.status_says(
        Node::Db1,
        "Patroni's failsafe mode is active: it cannot reach etcd, and says that this node is the primary",
    )?;
    stage.status_says(Node::Db1, "failsafe     active, this node is the primary (http://10.0.20.11:8008/patroni")?;
    stage.daemon(Node::Db1, |daemon| {
        ensure!(daemon.metric("pgvrrp_failsafe_active")? == Some(1.0));
        ensure!(daemon.metric("pgvrrp_etcd_up")? == Some(0.0));
        Ok(())
    })?;
    stage.wait_reason(Node::Db2, "other_leads", 5 * SECOND)?;
    thread::sleep(down.saturating_sub(Duration::from_secs_f64(Time::now().millis_after(from) / 1000.0)));
    member.start()?;
    stage.wait_reason(Node::Db1, "holding", Duration::from_secs(30))?;
    stage.calm(5 * SECOND)?;
    ensure!(stage.analysis().holdings() == before, "the VIP moved: {:?}", stage.analysis().holdings());
    stage.undisturbed(from)
}

#[test]
fn etcd_is_rebooted_in_failsafe_mode() {
    play(options(Timing::FAST), |stage| a_reboot_of_etcd(stage, 45 * SECOND, 15 * SECOND));
}

/// With Patroni's default times it takes up to 20 s until the failsafe mode is active: in the full run only.
#[test]
fn etcd_is_rebooted_in_failsafe_mode_with_patronis_default_times() {
    if times(0, 1) == 0 {
        return;
    }
    play(options(Timing::DEFAULT), |stage| {
        // Several phases of Patroni's cycle of 10 s.
        for round in 0..5 {
            println!("round {round}");
            a_reboot_of_etcd(stage, 40 * SECOND, 30 * SECOND)?;
            thread::sleep(Duration::from_millis(2300));
        }
        Ok(())
    });
}

#[test]
fn a_member_that_is_not_reached_ends_the_failsafe_mode() {
    play(options(Timing::FAST), |stage| {
        stage.lab.members()[0].kill();
        stage.wait_reason(Node::Db1, "holding_failsafe", 15 * SECOND)?;
        thread::sleep(15 * SECOND);
        ensure!(stage.holders() == [Node::Db1]);
        // Patroni steps down: nobody can tell whether db2 is a primary.
        stage.lab.database(Node::Db2).kill_patroni();
        let killed = Time::now();
        stage.lab.wait_until("the VIP to leave", 30 * SECOND, || Ok(stage.holders().is_empty()))?;
        let left = stage.last_holding(Node::Db1)?.to.context("still there")?.millis_after(killed);
        println!("the VIP left {left:.0} ms after the other member was gone");
        stage.calm(5 * SECOND)?;
        stage.lab.members()[0].start()?;
        stage.lab.database(Node::Db2).start()?;
        stage.wait_vip(Node::Db1, 40 * SECOND)
    });
}

#[test]
fn etcd_is_rebooted_in_failsafe_mode_with_the_policy_to_drop() {
    play_with(options(Timing::FAST), |stage| {
        for node in Node::DATABASES {
            let mut launch = Launch::reference(stage.lab, node);
            launch.config.set("policy", "failsafe", "\"drop\"");
            stage.launch(node, &launch)?;
        }
        stage.wait_vip(Node::Db1, 10 * SECOND)?;
        leaves_because_of(stage, &["etcd has not confirmed in time"])?;
        ensure!(stage.lab.database(Node::Db1).sql("select pg_is_in_recovery()")? == "f", "Patroni kept its primary");
        stage.lab.members()[0].start()?;
        stage.wait_vip(Node::Db1, 20 * SECOND)
    });
}

/// With its default times Patroni looks every 10 s and tries for 10 s: it steps down 10 to 20 s after etcd has gone, and D is
/// after 14.7 s. Either may be first.
#[test]
fn etcd_is_rebooted_without_failsafe_mode() {
    play(Options { timing: Timing::DEFAULT, ..Options::default() }, |stage| {
        leaves_because_of(stage, &["etcd has not confirmed in time", "PostgreSQL is down"])?;
        stage.lab.members()[0].start()?;
        stage.wait_vip(Node::Db1, 60 * SECOND)
    });
}

fn leaves_because_of(stage: &Stage<'_>, reasons: &[&str]) -> Result<()> {
    let from = Time::now();
    stage.lab.members()[0].kill();
    thread::sleep(8 * SECOND);
    ensure!(stage.holders() == [Node::Db1], "a hiccup moved the VIP: {:?}", stage.holders());
    stage.lab.wait_until("the VIP to leave", 10 * SECOND, || Ok(stage.holders().is_empty()))?;
    let left = stage.last_holding(Node::Db1)?.to.context("still there")?.millis_after(from);
    println!("the VIP left {left:.0} ms after etcd had gone");
    stage.daemon(Node::Db1, |daemon| {
        ensure!(daemon.metric("pgvrrp_failsafe_active")?.is_none(), "Patroni was asked");
        Ok(())
    })?;
    let moves = stage.vip_status(Node::Db1)?["moves"][0]["reason"].to_string();
    ensure!(reasons.iter().any(|reason| moves.contains(reason)), "{moves}");
    ensure!(left < 14_700.0, "later than any deadline: {left} ms");
    Ok(())
}

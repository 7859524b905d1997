//! etcd is cut off, goes down, comes back; its keys are touched by hand.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::etcd::EtcdLayout;
use lab::patroni::Timing;
use lab::{Direction, Lab, Node, Options, Time, Traffic};
use nix::sys::signal::Signal;

use crate::stage::{Stage, play, times};

/// Without Patroni's own stepping down, D alone decides.
#[test]
fn cut_off_from_a_primary_whose_patroni_hangs() {
    play(Options { timing: Timing::FAST, ..Options::default() }, |stage| {
        stage.lab.database(Node::Db1).signal_patroni(Signal::SIGSTOP)?;
        let cut = Time::now();
        stage.lab.cut(Node::Db1, Traffic::Etcd, Direction::Both)?;
        thread::sleep(Duration::from_secs(9));
        ensure!(stage.holders() == [Node::Db1], "D allows it to stay: {:?}", stage.holders());
        let left = left(stage, cut)?;
        // TTL 17 s: D is 13.8 s after the last proof, which is at most a second older than the cut.
        ensure!((10_000.0..13_800.0).contains(&left), "the VIP left after {left} ms");
        stage.wait_reason(Node::Db1, "deadline", Duration::from_secs(3))?;
        stage.status_says(Node::Db1, "etcd has not confirmed in time that the VIP may be here")?;
        let up = stage.daemon(Node::Db1, |daemon| daemon.metric("pgvrrp_etcd_up"))?;
        ensure!(up == Some(0.0), "etcd up: {up:?}");
        // K expires, db2 is promoted while db1 still accepts writes: a split brain that no client of the VIP sees.
        stage.wait_vip(Node::Db2, Duration::from_secs(40))?;
        stage.lab.heal_all()?;
        // Its member key has expired with K, which is not what has to be said first.
        stage.wait_reason(Node::Db1, "split_brain", Duration::from_secs(10))?;
        stage.lab.wait_until("the split brain to be counted", Duration::from_secs(3), || {
            let series = "pgvrrp_split_brains_total{vip=\"10.0.20.155\"}";
            Ok(stage.daemon(Node::Db1, |daemon| daemon.metric(series))? == Some(1.0))
        })?;
        stage.calm(Duration::from_secs(3))?;
        stage.lab.database(Node::Db1).signal_patroni(Signal::SIGCONT)?;
        stage.calm(Duration::from_secs(3))
    });
}

/// When the VIP left db1, in milliseconds after a moment; waits for it.
fn left(stage: &Stage<'_>, since: Time) -> Result<f64> {
    stage.lab.wait_until("the VIP to leave", Duration::from_secs(30), || Ok(!stage.holders().contains(&Node::Db1)))?;
    let left = stage.last_holding(Node::Db1)?.to.context("still there")?.millis_after(since);
    println!("the VIP left {left:.0} ms after etcd was cut off");
    Ok(left)
}

/// Waits for Patroni's long times: in the full run only.
#[test]
fn cut_off_from_the_primary_with_patronis_default_times() {
    if times(0, 1) == 0 {
        return;
    }
    play(Options { timing: Timing::DEFAULT, ..Options::default() }, |stage| {
        let cut = Time::now();
        stage.lab.cut(Node::Db1, Traffic::Etcd, Direction::Both)?;
        thread::sleep(Duration::from_secs(7));
        ensure!(stage.holders() == [Node::Db1], "D allows it to stay: {:?}", stage.holders());
        // TTL 18 s: D is 14.7 s after the last proof. Patroni may step down earlier.
        let left = left(stage, cut)?;
        ensure!(left < 14_700.0, "the VIP left after {left} ms");
        stage.wait_vip(Node::Db2, Duration::from_secs(60))?;
        stage.lab.heal_all()?;
        stage.calm(Duration::from_secs(5))?;
        stage.wait_reason(Node::Db1, "other_leads", Duration::from_secs(20))
    });
}

#[test]
fn cut_off_and_back_before_the_deadline() {
    play(Options { timing: Timing::DEFAULT, ..Options::default() }, |stage| {
        let before = stage.analysis().holdings();
        stage.lab.cut(Node::Db1, Traffic::Etcd, Direction::Both)?;
        thread::sleep(Duration::from_secs(6));
        stage.lab.heal_all()?;
        thread::sleep(Duration::from_secs(6));
        ensure!(stage.analysis().holdings() == before, "the VIP moved");
        Ok(())
    });
}

#[test]
fn silent_in_one_direction_only() {
    play(Options::default(), |stage| {
        stage.lab.cut(Node::Db1, Traffic::Etcd, Direction::In)?;
        stage.wait_vip(Node::Db2, Duration::from_secs(60))?;
        stage
            .wait_reason(Node::Db1, "postgres_down", Duration::from_secs(1))
            .or_else(|_| stage.status_says(Node::Db1, "etcd error"))?;
        stage.lab.heal_all()?;
        stage.calm(Duration::from_secs(5))
    });
}

fn outage(stage: &Stage<'_>, span: Duration) -> Result<()> {
    for member in stage.lab.members() {
        member.kill();
    }
    thread::sleep(span);
    let (metric, status) =
        stage.daemon(Node::Db1, |daemon| Ok((daemon.metric("pgvrrp_etcd_up")?, daemon.status()?)))?;
    ensure!(metric == Some(0.0), "pgvrrp_etcd_up is {metric:?}");
    ensure!(status["etcd"]["error"].is_string(), "status does not tell of etcd's silence: {status}");
    for member in stage.lab.members() {
        member.start()?;
    }
    stage.lab.etcd().wait_healthy(Duration::from_secs(20))?;
    stage.lab.wait_until("Patroni to have a primary again", Duration::from_secs(90), || has_primary(stage.lab))?;
    let primary = Time::now();
    stage.lab.wait_until("the VIP to be back", Duration::from_secs(30), || Ok(stage.holders().len() == 1))?;
    let back = primary.elapsed();
    println!("etcd down for {span:?}: VIP back {back:?} after Patroni had a primary");
    ensure!(back < Duration::from_secs(2), "service returned {back:?} after Patroni had a primary");
    stage.wait_writes(Duration::from_secs(10))
}

fn has_primary(lab: &Lab) -> Result<bool> {
    let Some(leader) = lab.leader()? else { return Ok(false) };
    Ok(lab.database(leader).sql("select pg_is_in_recovery()")? == "f")
}

#[test]
fn down_for_10_seconds() {
    play(Options::default(), |stage| outage(stage, Duration::from_secs(10)));
}

/// Too long for every run.
#[test]
fn down_for_25_seconds_and_for_a_minute() {
    for (timing, seconds) in [(Timing::DEFAULT, 25), (Timing::FAST, 60)].into_iter().take(times(0, 2)) {
        play(Options { timing, ..Options::default() }, |stage| outage(stage, Duration::from_secs(seconds)));
    }
}

#[test]
fn one_of_three_members_down_or_hung() {
    // With its shortest times Patroni itself may not survive the election of a new leader on a busy machine.
    let options = Options { etcd: EtcdLayout::Spread, timing: Timing::DEFAULT, ..Options::default() };
    play(options, |stage| {
        for member in stage.lab.members() {
            let before = stage.analysis().holdings();
            member.signal(Signal::SIGSTOP)?;
            thread::sleep(Duration::from_secs(6));
            member.signal(Signal::SIGCONT)?;
            thread::sleep(Duration::from_secs(2));
            ensure!(stage.analysis().holdings() == before, "the VIP moved while {} was hung", member.node());
        }
        let dead = &stage.lab.members()[2];
        dead.kill();
        stage.calm(Duration::from_secs(6))?;
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, Duration::from_secs(20))
    });
}

#[test]
fn the_lock_is_deleted_by_hand() {
    play(Options::default(), |stage| {
        let key = stage.lab.etcd().get_prefix("/pgvrrp/")?.pop().context("no lock")?.key;
        stage.lab.etcd().delete(&key)?;
        released_and_acquired_anew(stage, "the lock in etcd is lost: it was deleted")
    });
}

#[test]
fn the_locks_lease_is_revoked_by_hand() {
    play(Options::default(), |stage| {
        let lease = stage.lab.etcd().get_prefix("/pgvrrp/")?.pop().context("no lock")?.lease;
        stage.lab.etcd().revoke(lease)?;
        released_and_acquired_anew(stage, "the lock in etcd is lost: ")
    });
}

fn released_and_acquired_anew(stage: &Stage<'_>, why: &str) -> Result<()> {
    stage.lab.wait_until("the VIP to have left and come back", Duration::from_secs(5), || {
        Ok(stage.analysis().holdings().len() == 2 && stage.holders() == [Node::Db1])
    })?;
    stage.daemon(Node::Db1, |daemon| {
        let lost = daemon.metric("pgvrrp_locks_lost_total{vip=\"10.0.20.155\"}")?;
        ensure!(lost == Some(1.0), "locks lost: {lost:?}");
        Ok(())
    })?;
    stage.status_says(Node::Db1, why)?;
    stage.wait_writes(Duration::from_secs(5))
}

#[test]
fn patronis_ttl_is_changed_at_run_time() {
    play(Options::default(), |stage| {
        stage.lab.patch_config(&serde_json::json!({"ttl": 40}))?;
        stage.calm(Duration::from_secs(4))?;
        let status = stage.vip_status(Node::Db1)?;
        ensure!(status["lock"]["ttl"] == 37.0, "{}", status["lock"]);
        stage.status_says(Node::Db1, "(TTL 37.0 s)")?;
        let series = "pgvrrp_lock_ttl_seconds{vip=\"10.0.20.155\"}";
        let ttl = stage.daemon(Node::Db1, |daemon| daemon.metric(series))?;
        ensure!(ttl == Some(37.0), "{ttl:?}");
        Ok(())
    });
}

//! A promotion that takes its time: Patroni runs a `pre_promote` script, and PostgreSQL is in recovery until it ends.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Node, Options, Time};
use serde_json::{Value, json};

use crate::stage::{Stage, play};

const SECOND: Duration = Duration::from_secs(1);

/// What the log says of it, once.
const WARNING: &str = "in recovery for more than 5 s";

/// How often it was said, and that it concerned a promotion.
fn warnings(stage: &Stage<'_>) -> Result<usize> {
    stage.daemon(Node::Db2, |daemon| Ok(daemon.log().matches(WARNING).count()))
}

/// For how long the node says that it has been armed, in seconds.
fn armed_for(vip: &Value) -> Result<f64> {
    ensure!(vip["phase"] == "armed", "{vip}");
    vip["since"].as_f64().with_context(|| format!("no time: {vip}"))
}

#[test]
fn a_promotion_takes_thirteen_seconds() {
    play(Options::default(), |stage| {
        stage.lab.patch_config(&json!({"postgresql": {"pre_promote": "/bin/sleep 13"}}))?;
        // Several rounds of Patroni's loop: both have it by then.
        thread::sleep(3 * SECOND);
        stage.lab.switchover(Node::Db2)?;
        stage.wait_reason(Node::Db2, "in_recovery", 5 * SECOND)?;
        let armed = Time::now();
        let metric = |series: &str| stage.daemon(Node::Db2, |daemon| daemon.metric(series));
        ensure!(metric("pgvrrp_vip_armed{vip=\"10.0.20.155\"}")? == Some(1.0));
        ensure!(metric("pgvrrp_lock_mine{vip=\"10.0.20.155\"}")? == Some(1.0));
        ensure!(warnings(stage)? == 0, "told before it was slow");
        thread::sleep((7 * SECOND).saturating_sub(armed.elapsed()));
        ensure!(stage.holders().is_empty(), "the VIP is bound on a node in recovery");
        ensure!(warnings(stage)? == 1, "not told, or more than once");
        ensure!(metric("pgvrrp_vip_armed{vip=\"10.0.20.155\"}")? == Some(1.0));
        let span = armed_for(&stage.vip_status(Node::Db2)?)?;
        ensure!((6.5..9.0).contains(&span), "armed for {span} s, it says");
        stage.status_says(Node::Db2, "PostgreSQL is in recovery")?;
        stage.status_says(Node::Db2, "phase        armed for")?;
        stage.wait_vip(Node::Db2, 20 * SECOND)?;
        stage.wait_writes(5 * SECOND)?;
        ensure!(warnings(stage)? == 1, "told more than once");
        let movement = stage.analysis().moves().pop().context("no move")?;
        let writable = movement.writable.context("never writable")?;
        let took = writable.latest.millis_after(movement.key_taken);
        let lag = movement.lag().context("no lag")?;
        println!("promoted in {took:.0} ms; bound {:.1} to {:.1} ms after that", lag.at_least, lag.at_most);
        ensure!(took >= 12_000.0, "the promotion was not slow");
        // By then PostgreSQL is asked every 100 ms only.
        ensure!(lag.at_most < 250.0, "{lag:?}");
        Ok(())
    });
}

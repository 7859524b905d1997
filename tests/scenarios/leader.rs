//! Patroni's leader key goes without PostgreSQL: deleted by hand, or expired with its Patroni.

use std::time::Duration;

use anyhow::ensure;
use lab::patroni::{LEADER_KEY, Timing};
use lab::{Node, Options, Time};

use crate::stage::play;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_leader_key_is_deleted_by_hand() {
    play(Options::default(), |stage| {
        let deleted = Time::now();
        stage.lab.etcd().delete(LEADER_KEY)?;
        stage.lab.wait_until("the VIP to leave", 2 * SECOND, || {
            Ok(stage.last_holding(Node::Db1)?.to.is_some() || stage.analysis().holdings().len() > 1)
        })?;
        let first = stage.analysis().holdings().into_iter().find(|holding| holding.node == Node::Db1);
        let left = first.and_then(|holding| holding.to).map_or(f64::INFINITY, |to| to.millis_after(deleted));
        println!("the VIP left {left:.1} ms after the leader key was deleted");
        ensure!(left < 1000.0, "only after {left} ms");
        // Whoever has the key next, Patroni decides; the VIP follows.
        stage.lab.wait_until("the VIP to be somewhere again", 30 * SECOND, || Ok(stage.holders().len() == 1))?;
        stage.wait_writes(10 * SECOND)
    });
}

/// PostgreSQL goes on without its Patroni and accepts writes, while another is promoted. No client of the VIP sees that.
#[test]
fn patroni_is_killed_and_the_other_is_promoted() {
    play(Options { timing: Timing::FAST, ..Options::default() }, |stage| {
        stage.lab.database(Node::Db1).kill_patroni();
        stage.lab.wait_until("the VIP to leave db1", 30 * SECOND, || Ok(!stage.holders().contains(&Node::Db1)))?;
        stage.wait_vip(Node::Db2, 30 * SECOND)?;
        stage.wait_writes(5 * SECOND)?;
        // Its PostgreSQL is primary still.
        ensure!(stage.lab.database(Node::Db1).sql("SELECT pg_is_in_recovery()")?.trim() == "f");
        stage.lab.wait_until("the split brain to be counted", 3 * SECOND, || {
            let series = "pgvrrp_split_brains_total{vip=\"10.0.20.155\"}";
            Ok(stage.daemon(Node::Db1, |daemon| daemon.metric(series))? == Some(1.0))
        })?;
        stage.daemon(Node::Db1, |daemon| {
            let told = "split brain: PostgreSQL here accepts writes while db2 holds the leader key";
            ensure!(daemon.log().contains(told), "{}", daemon.log());
            Ok(())
        })?;
        stage.calm(3 * SECOND)?;
        // Patroni comes back and makes a standby of it; the next move finds everything in order.
        stage.lab.database(Node::Db1).start()?;
        stage.lab.wait_settled(Node::Db2, 60 * SECOND)?;
        stage.calm(2 * SECOND)
    });
}

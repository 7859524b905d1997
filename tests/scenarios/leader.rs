//! Patroni's leader key goes without PostgreSQL: deleted by hand, or expired with its Patroni.

use std::time::Duration;

use anyhow::ensure;
use lab::patroni::{LEADER_KEY, Timing};
use lab::{Node, Options, Time};
use nix::sys::signal::Signal;

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
        stage.status_says(Node::Db1, "no member holds Patroni's leader key")?;
        stage.lab.wait_until("the loss to be counted", SECOND, || {
            let series = "pgvrrp_transitions_total{vip=\"10.0.20.155\",direction=\"lost\"}";
            Ok(stage.daemon(Node::Db1, |daemon| daemon.metric(series))? == Some(1.0))
        })?;
        // Whoever has the key next, Patroni decides; the VIP follows.
        stage.lab.wait_until("the VIP to be somewhere again", 30 * SECOND, || Ok(stage.holders().len() == 1))?;
        stage.wait_writes(10 * SECOND)
    });
}

/// Patroni hangs, its PostgreSQL is primary, and the key is suddenly another's: at once, and every connection is cut.
#[test]
fn the_leader_key_is_anothers_while_postgresql_accepts_writes() {
    play(Options::default(), |stage| {
        let sessions = stage.probes.borrow_mut().open_sessions(5)?;
        for node in Node::DATABASES {
            stage.lab.database(node).signal_patroni(Signal::SIGSTOP)?;
        }
        let put = Time::now();
        stage.lab.etcd().put(LEADER_KEY, "db2")?;
        stage.lab.wait_until("the VIP to leave", 2 * SECOND, || Ok(stage.holders().is_empty()))?;
        let left = stage.last_holding(Node::Db1)?.to.map_or(f64::INFINITY, |to| to.millis_after(put));
        println!("the VIP left {left:.1} ms after the leader key was another's");
        ensure!(left < 1000.0, "only after {left} ms");
        stage.wait_reason(Node::Db1, "split_brain", 3 * SECOND)?;
        stage.status_says(Node::Db1, "split brain: PostgreSQL here accepts writes while db2 holds")?;
        stage.daemon(Node::Db1, |daemon| {
            let counted = daemon.metric("pgvrrp_split_brains_total{vip=\"10.0.20.155\"}")?;
            let reset = daemon.metric("pgvrrp_connections_reset_total{vip=\"10.0.20.155\"}")?;
            ensure!(counted == Some(1.0) && reset >= Some(5.0), "split brains {counted:?}, reset {reset:?}");
            Ok(())
        })?;
        let told: Vec<_> = stage.analysis().session_ends().map(|(index, ..)| index).collect();
        ensure!(sessions.clone().all(|index| told.contains(&index)), "not every connection was cut");
        stage.calm(2 * SECOND)?;
        // Patroni's own lease is what the key lives by; whoever it finds there, it decides anew.
        stage.lab.etcd().delete(LEADER_KEY)?;
        for node in Node::DATABASES {
            stage.lab.database(node).signal_patroni(Signal::SIGCONT)?;
        }
        stage.lab.wait_until("the VIP to be somewhere again", 40 * SECOND, || Ok(stage.holders().len() == 1))?;
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
        // Its member key is gone as well; that is not what has to be said.
        stage.wait_reason(Node::Db1, "split_brain", 3 * SECOND)?;
        stage.status_says(Node::Db1, "split brain: PostgreSQL here accepts writes while db2 holds")?;
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

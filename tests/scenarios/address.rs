//! Hands in the kernel's tables, and on the daemon's session.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Node, Options, Time};

use crate::stage::{Stage, play};

/// What is on the interface besides the VIP.
fn other_addresses(stage: &Stage<'_>, node: Node) -> Result<Vec<String>> {
    let listed = stage.lab.namespace(node).ip(&["-oneline", "address", "show", "dev", "eth0"])?;
    Ok(listed.lines().filter(|line| !line.contains("10.0.20.155")).map(str::to_owned).collect())
}

#[test]
fn deleted_on_the_holder() {
    play(Options::default(), |stage| {
        let db1 = stage.lab.namespace(Node::Db1);
        db1.ip(&["address", "add", "10.0.20.30/24", "dev", "eth0"])?;
        let others = other_addresses(stage, Node::Db1)?;
        let mut worst = 0.0_f64;
        for round in 1..=5 {
            let held = stage.analysis().holdings().len();
            db1.ip(&["address", "del", "10.0.20.155/32", "dev", "eth0"])?;
            stage.lab.wait_until("the VIP to be put back", Duration::from_secs(2), || {
                Ok(stage.analysis().holdings().len() == held + 1 && stage.holders() == [Node::Db1])
            })?;
            let holdings = stage.analysis().holdings();
            let gone = holdings[held - 1].to.context("it did not go")?;
            worst = worst.max(holdings[held].from.millis_after(gone));
            stage.daemon(Node::Db1, |daemon| {
                let repaired = daemon.metric("pgvrrp_repairs_total{vip=\"10.0.20.155\",kind=\"restored\"}")?;
                ensure!(repaired == Some(f64::from(round)), "repaired: {repaired:?}");
                Ok(())
            })?;
        }
        println!("put back after {worst:.2} ms at most");
        ensure!(worst < 50.0, "put back after {worst} ms");
        ensure!(other_addresses(stage, Node::Db1)? == others, "other addresses were touched");
        stage.status_says(Node::Db1, "repaired 5")
    });
}

#[test]
fn added_on_the_other_node() {
    play(Options::default(), |stage| {
        let db2 = stage.lab.namespace(Node::Db2);
        let others = other_addresses(stage, Node::Db2)?;
        let mut worst = 0.0_f64;
        for how in [["10.0.20.155/32", "eth0"], ["10.0.20.155/24", "eth0"], ["10.0.20.155/32", "lo"]] {
            // The one whom this test puts in two places is this test: what the probes see is not judged.
            let before = Time::now();
            db2.ip(&["address", "add", how[0], "dev", how[1]])?;
            stage.lab.wait_until("the VIP to be removed", Duration::from_secs(2), || {
                let listed = db2.ip(&["-oneline", "address", "show"])?;
                Ok(!listed.contains("10.0.20.155"))
            })?;
            // The probe reads the kernel's notices in its own time.
            stage.lab.wait_until("the probe to have seen it", Duration::from_secs(2), || {
                Ok(stage.last_holding(Node::Db2).is_ok_and(|holding| holding.from > before && holding.to.is_some()))
            })?;
            let holding = stage.last_holding(Node::Db2)?;
            worst = worst.max(holding.to.context("still there")?.millis_after(holding.from));
        }
        println!("removed after {worst:.2} ms at most");
        ensure!(worst < 50.0, "removed after {worst} ms");
        ensure!(stage.holders() == [Node::Db1]);
        ensure!(other_addresses(stage, Node::Db2)? == others, "other addresses were touched");
        stage.daemon(Node::Db2, |daemon| {
            let expelled = daemon.metric("pgvrrp_repairs_total{vip=\"10.0.20.155\",kind=\"expelled\"}")?;
            ensure!(expelled == Some(3.0), "expelled: {expelled:?}");
            Ok(())
        })?;
        // This scenario's own doing.
        stage.forgive();
        Ok(())
    });
}

#[test]
fn a_second_copy_beside_the_held_address() {
    play(Options::default(), |stage| {
        let db1 = stage.lab.namespace(Node::Db1);
        for (address, device) in [("10.0.20.155/24", "eth0"), ("10.0.20.155/32", "lo")] {
            db1.ip(&["address", "add", address, "dev", device])?;
            stage.lab.wait_until("the copy to be removed", Duration::from_secs(2), || {
                let listed = db1.ip(&["-oneline", "address", "show"])?;
                Ok(listed.matches("10.0.20.155").count() == 1 && listed.contains("10.0.20.155/32"))
            })?;
            thread::sleep(Duration::from_secs(4));
            let listed = db1.ip(&["-oneline", "address", "show", "dev", "eth0"])?;
            ensure!(listed.contains("10.0.20.155/32"), "the held address went with the copy: {listed}");
        }
        stage.wait_reason(Node::Db1, "holding", Duration::from_secs(5))?;
        stage.daemon(Node::Db1, |daemon| {
            let expelled = daemon.metric("pgvrrp_repairs_total{vip=\"10.0.20.155\",kind=\"expelled\"}")?;
            ensure!(expelled == Some(2.0), "expelled: {expelled:?}");
            Ok(())
        })
    });
}

#[test]
fn the_daemons_session_is_ended_by_an_administrator() {
    play(Options::default(), |stage| {
        for node in Node::DATABASES {
            for _ in 0..3 {
                let ended = stage.lab.database(node).sql(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'pgvrrp'",
                )?;
                ensure!(ended == "1", "{ended} sessions");
                stage.calm(Duration::from_millis(1500))?;
            }
        }
        Ok(())
    });
}

#[test]
fn the_interface_goes_down_and_comes_back() {
    play(Options::default(), |stage| {
        let db1 = stage.lab.namespace(Node::Db1);
        db1.ip(&["link", "set", "eth0", "down"])?;
        thread::sleep(Duration::from_millis(500));
        db1.ip(&["link", "set", "eth0", "up"])?;
        stage.lab.wait_until(
            "the VIP to be on one node",
            Duration::from_secs(40),
            || Ok(stage.holders().len() == 1),
        )?;
        stage.wait_writes(Duration::from_secs(20))
    });
}

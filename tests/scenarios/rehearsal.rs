//! Daemons that only observe, beside a real Keepalived that follows Patroni by a check script.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::{Daemon, Launch};
use lab::history::{Frame, Observation};
use lab::{Node, Options};
use serde_json::Value;

use crate::migration::Way;
use crate::stage::{Stage, play_with};

const SECOND: Duration = Duration::from_secs(1);

fn observe(stage: &Stage<'_>, node: Node) -> Result<()> {
    let launch = Launch { observe: true, ..Launch::reference(stage.lab, node) };
    // The right to listen is all that it needs.
    let wrapper = [
        "setpriv",
        "--bounding-set",
        "-all,+net_raw",
        "--inh-caps",
        "-all,+net_raw",
        "--ambient-caps",
        "-all,+net_raw",
    ];
    let wrapper = wrapper.map(str::to_owned).to_vec();
    stage.launch(node, &Launch { wrapper, ..launch })
}

/// What a daemon says of the VIP beside what is.
fn observed(stage: &Stage<'_>, node: Node) -> Result<Value> {
    Ok(stage.vip_status(node)?["observed"].clone())
}

fn wait_observed(stage: &Stage<'_>, node: Node, would_hold: bool, present: bool) -> Result<()> {
    let what = format!("{node} to see what it would do, and what is done");
    stage.lab.wait_until(&what, 30 * SECOND, || {
        let seen = observed(stage, node)?;
        Ok(seen["would_hold"] == would_hold && seen["present"] == present)
    })
}

/// The newest difference of a kind.
fn difference(stage: &Stage<'_>, node: Node, kind: &str, here: bool) -> Result<f64> {
    let seen = observed(stage, node)?;
    let all = seen["differences"].as_array().context("no differences")?;
    let found = all.iter().find(|one| one["kind"] == kind && one["here"] == here);
    found.and_then(|one| one["by"].as_f64()).with_context(|| format!("{kind}, here {here}, is not in {seen:#}"))
}

#[test]
fn what_keepalived_does_is_compared_with_what_would_be_done() {
    play_with(Options::default(), |stage| {
        // Keepalived may have it in two places for a moment: that is no promise of ours.
        stage.forgive();
        let way = Way { stage, version: 3 };
        let primary = way.keepalived(Node::Db1)?;
        let standby = way.standby_keepalived()?;
        stage.wait_vip(Node::Db1, 20 * SECOND).with_context(|| primary.log())?;
        for node in Node::DATABASES {
            observe(stage, node)?;
        }
        wait_observed(stage, Node::Db1, true, true)?;
        wait_observed(stage, Node::Db2, false, false)?;
        stage.lab.switchover(Node::Db2)?;
        wait_observed(stage, Node::Db2, true, true)?;
        wait_observed(stage, Node::Db1, false, false)?;
        let (came, left) =
            (difference(stage, Node::Db2, "later", true)?, difference(stage, Node::Db1, "later", false)?);
        println!("Keepalived: came {came:.2} s later, and left {left:.2} s later");
        ensure!(came > 0.2 && left > 0.2, "a script that is run once a second cannot be as fast");
        for node in Node::DATABASES {
            stage.daemon(node, |daemon| {
                for (series, value) in [("pgvrrp_observing", 1.0), ("pgvrrp_vip_held{vip=\"10.0.20.155\"}", 0.0)] {
                    ensure!(daemon.metric(series)? == Some(value), "{series} on {node}");
                }
                ensure!(daemon.log().contains("would be: "), "{}", daemon.log());
                Ok(())
            })?;
            let tables = stage.lab.namespace(node).command("nft").args(["list", "tables"]).output()?;
            let tables = String::from_utf8_lossy(&tables.stdout).into_owned();
            ensure!(!tables.contains("pgvrrp"), "{tables}");
        }
        let is_owners =
            |what: &Observation| matches!(what, Observation::Frame { frame: Frame::Vrrp { priority: 255, .. }, .. });
        let owners = stage.analysis().events().iter().filter(|event| is_owners(&event.what)).count();
        ensure!(owners == 0, "{owners} times somebody has advertised as pgvrrp does");
        let written = stage.lab.etcd().etcdctl(&["get", "--prefix", "--keys-only", "/pgvrrp/"])?;
        ensure!(written.trim().is_empty(), "something was written: {written}");
        // It goes, and what it has looked at stays.
        for node in Node::DATABASES {
            stage.daemon(node, Daemon::terminate)?;
        }
        ensure!(stage.holders() == [Node::Db2], "{:?}", stage.holders());
        drop((primary, standby));
        Ok(())
    });
}

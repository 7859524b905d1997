//! The way from vip-manager to pgvrrp and back, as `docs/MIGRATE-VIP-MANAGER.md` describes it, where the figures stand.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::vip_manager::{Mirror, VipManager};
use lab::{Node, Options, VIP};

use crate::migration::{SESSIONS, Step, step};
use crate::stage::{Stage, play_with, times};

const SECOND: Duration = Duration::from_secs(1);

/// In this time it has looked at its key twice.
const LOOK: Duration = Duration::from_secs(2);

fn stop_ours(stage: &Stage<'_>, node: Node) -> Result<()> {
    stage.daemon(node, |daemon| daemon.terminate().map(drop))
}

/// The last step: pgvrrp on the standby, after which nothing moves.
fn complete(stage: &Stage<'_>, primary: Node) -> Result<()> {
    stage.start_daemon(primary.other())?;
    stage.lab.wait_settled(primary, 30 * SECOND)?;
    stage.calm(SECOND)
}

/// The way back, with the primary on db1: both vip-managers.
fn back(stage: &Stage<'_>) -> Result<[VipManager; 2]> {
    let mut primary = None;
    step(stage, "back to vip-manager", || {
        stop_ours(stage, Node::Db2)?;
        stop_ours(stage, Node::Db1)?;
        primary = Some(VipManager::start(stage.lab, Node::Db1)?);
        Ok(())
    })?;
    let standby = VipManager::start(stage.lab, Node::Db2)?;
    stage.calm(LOOK)?;
    primary.map(|primary| [primary, standby]).ok_or_else(|| anyhow::anyhow!("it was started"))
}

#[test]
fn from_vip_manager_and_back() {
    play_with(Options { etcd_v2: true, ..Options::default() }, |stage| {
        let _mirror = Mirror::start(stage.lab)?;
        let mut managers = [VipManager::start(stage.lab, Node::Db1)?, VipManager::start(stage.lab, Node::Db2)?];
        stage.wait_vip(Node::Db1, 15 * SECOND)?;
        stage.probes.borrow_mut().add_hasty_client()?;
        stage.calm(LOOK)?;
        for _ in 0..times(1, 5) {
            let [primary, standby] = &managers;
            let Step { absent, ended } = step(stage, "vip-manager ended, the address removed by hand", || {
                standby.stop()?;
                primary.stop()?;
                stage.lab.namespace(Node::Db1).ip(&["address", "delete", &format!("{VIP}/32"), "dev", "eth0"])?;
                stage.start_daemon(Node::Db1)
            })?;
            ensure!(absent < 5000.0 && ended == 0, "{absent} ms, {ended} sessions");
            complete(stage, Node::Db1)?;
            managers = back(stage)?;

            let [primary, standby] = &managers;
            let Step { absent, ended } = step(stage, "vip-manager ended, the address left to pgvrrp", || {
                standby.stop()?;
                primary.stop()?;
                ensure!(stage.holders() == [Node::Db1], "vip-manager has removed the VIP");
                stage.start_daemon(Node::Db1)?;
                let holds = || Ok(stage.vip_status(Node::Db1)?["reason"] == "holding");
                stage.lab.wait_until("db1 to hold the VIP", 10 * SECOND, holds)
            })?;
            ensure!(absent < 5000.0 && ended == SESSIONS, "{absent} ms, {ended} sessions");
            complete(stage, Node::Db1)?;
            managers = back(stage)?;
        }
        let violations = stage.analysis().violations();
        ensure!(violations.is_empty(), "{}", violations.join("\n"));
        // Where vip-manager has the VIP when the primary moves is no promise of ours.
        stage.forgive();
        fails_over_meanwhile(stage, managers)?;
        let overlaps = stage.analysis().overlaps();
        ensure!(overlaps.is_empty(), "two had the VIP: {overlaps:#?}");
        Ok(())
    });
}

/// Patroni moves the primary when vip-manager has ended on the standby: nobody has the VIP until the steps are done with
/// the nodes exchanged.
fn fails_over_meanwhile(stage: &Stage<'_>, [primary, standby]: [VipManager; 2]) -> Result<()> {
    standby.stop()?;
    stage.lab.switchover(Node::Db2)?;
    stage.lab.wait_settled(Node::Db2, 60 * SECOND)?;
    stage.lab.wait_until("vip-manager to remove the VIP", 15 * SECOND, || Ok(stage.holders().is_empty()))?;
    primary.stop()?;
    stage.start_daemon(Node::Db2)?;
    stage.wait_vip(Node::Db2, 15 * SECOND)?;
    complete(stage, Node::Db2)?;
    // It is pgvrrp's: it follows the primary.
    stage.lab.switchover(Node::Db1)?;
    stage.wait_vip(Node::Db1, 20 * SECOND)?;
    stage.lab.wait_settled(Node::Db1, 60 * SECOND)
}

//! Two machines move over from Debian's Keepalived to the package and back, by the lines of docs/MIGRATE-KEEPALIVED.md.

use std::fs;

use anyhow::{Context, Result, ensure};
use lab::Node;

use super::installed::{Installed, SECOND};
use super::printed::MIGRATE_KEEPALIVED as DOCUMENT;
use crate::migration::{check_script, keepalived_conf};

/// The VIP has the name of Keepalived's instance.
const HERE: &str = "10.0.20.155/32 (odoo): HERE";

const CHECK: &str = "/etc/keepalived/chk_patroni.sh";

pub(super) fn there_and_back(primary: &Installed<'_>, standby: &Installed<'_>) -> Result<()> {
    for here in [primary, standby] {
        starts_with_keepalived(here)?;
    }
    has_it(primary)?;
    primary.stage.probes.borrow_mut().add_hasty_client()?;
    for here in [primary, standby] {
        is_prepared(here)?;
    }
    let (prepared, sessions) = (primary.holding()?, primary.stage.probes.borrow_mut().open_sessions(5)?);

    standby.as_printed(&DOCUMENT, "systemctl disable --now keepalived")?;
    ensure!(primary.holding()?.from == prepared.from, "the VIP left before it should");
    primary.as_printed(&DOCUMENT, "systemctl disable --now keepalived && systemctl enable --now pgvrrp")?;
    serves(primary)?;
    standby.as_printed(&DOCUMENT, "systemctl enable --now pgvrrp")?;
    standby.as_printed(&DOCUMENT, "pgvrrp status")?;
    primary.stage.calm(2 * SECOND)?;
    let ended = primary.stage.analysis().session_ends().filter(|(session, ..)| sessions.contains(session)).count();
    ensure!(ended == 0, "{ended} of 5 connections have ended");
    goes_back(primary, standby)?;

    standby.as_printed(&DOCUMENT, "systemctl disable --now keepalived")?;
    primary.as_printed(&DOCUMENT, "systemctl enable --now pgvrrp")?;
    serves(primary)?;
    primary.as_printed(&DOCUMENT, "systemctl disable --now keepalived")?;
    serves(primary)?;
    standby.as_printed(&DOCUMENT, "systemctl enable --now pgvrrp")?;
    primary.stage.calm(2 * SECOND)?;
    follows_the_primary(primary, standby)
}

/// As Debian's package runs it.
fn starts_with_keepalived(here: &Installed<'_>) -> Result<()> {
    here.write_program(CHECK, &check_script(here.node))?;
    fs::write(here.machine.file("/etc/keepalived/keepalived.conf"), keepalived_conf(3, here.node, CHECK.as_ref()))?;
    fs::create_dir(here.machine.file("/etc/patroni"))?;
    let patroni = here.stage.lab.dir().join(here.node.name()).join("patroni.json");
    // JSON is YAML too.
    fs::copy(&patroni, here.machine.file("/etc/patroni/patroni.yml")).with_context(|| patroni.display().to_string())?;
    here.succeed("systemctl enable --now keepalived").map(drop)
}

fn has_it(primary: &Installed<'_>) -> Result<()> {
    let log = || primary.succeed("journalctl -u keepalived -o cat").unwrap_or_default();
    primary.stage.wait_vip(primary.node, 20 * SECOND).with_context(log)
}

/// The steps that touch nothing.
fn is_prepared(here: &Installed<'_>) -> Result<()> {
    here.install(super::installed::NEWER)?;
    here.as_printed(&DOCUMENT, "pgvrrp import --output /etc/pgvrrp/pgvrrp.toml")?;
    here.as_printed(&DOCUMENT, "sudo -u pgvrrp pgvrrp check")?;
    here.as_printed(&DOCUMENT, "sudo -u pgvrrp pgvrrp doctor").map(drop)
}

/// As the operator is told to see it.
fn serves(primary: &Installed<'_>) -> Result<()> {
    primary.wait_status(HERE)?;
    primary.wait_vip()?;
    primary.as_printed(&DOCUMENT, "pgvrrp status").map(drop)
}

fn goes_back(primary: &Installed<'_>, standby: &Installed<'_>) -> Result<()> {
    standby.as_printed(&DOCUMENT, "systemctl disable --now pgvrrp")?;
    primary.as_printed(&DOCUMENT, "systemctl disable --now pgvrrp && systemctl enable --now keepalived")?;
    has_it(primary)?;
    standby.as_printed(&DOCUMENT, "systemctl enable --now keepalived")?;
    primary.stage.calm(2 * SECOND)
}

/// And so the two units do.
fn follows_the_primary(primary: &Installed<'_>, standby: &Installed<'_>) -> Result<()> {
    primary.stage.lab.wait_settled(Node::Db1, 30 * SECOND)?;
    primary.stage.lab.switchover(Node::Db2)?;
    standby.stage.wait_vip(Node::Db2, 20 * SECOND)?;
    standby.wait_status(HERE)
}

//! What the package's end leaves: no VIP, no process, and the configuration until it is purged.

use std::fs;

use anyhow::{Result, ensure};

use super::installed::{CONFIG, Installed, NEWER, SECOND, configuration};
use super::printed::README;
use super::upgrades::{ELECTED, elected};

/// Which is here. Installed again, the package starts with the configuration that was left.
pub(super) fn with_an_elected_vip(here: &Installed<'_>) -> Result<()> {
    here.as_printed(&README, "apt remove pgvrrp")?;
    ensure!(!here.has_address(ELECTED)?, "the removal leaves it bound");
    ensure!(!here.runs(), "a daemon is left");
    ensure!(fs::read_to_string(here.machine.file(CONFIG))? == elected(here), "the configuration is gone");
    here.install(NEWER)?;
    here.stage.lab.wait_until("the elected VIP", 10 * SECOND, || here.has_address(ELECTED))
}

pub(super) fn with_a_vip_that_follows_the_primary(here: &Installed<'_>) -> Result<()> {
    let configuration = configuration(here.stage.lab, here.node).render();
    here.configure(&configuration)?;
    here.succeed("systemctl restart pgvrrp")?;
    here.wait_vip()?;
    ensure!(!here.has_address(ELECTED)?, "a restart with another configuration leaves what was elected");
    here.as_printed(&README, "apt remove pgvrrp")?;
    here.wait_gone()?;
    ensure!(!here.runs(), "a daemon is left");
    ensure!(fs::read_to_string(here.machine.file(CONFIG))? == configuration, "the configuration is gone");
    here.as_printed(&README, "apt purge pgvrrp")?;
    let left = here.succeed("find / -xdev -name '*pgvrrp*' -not -path '/proc/*' -not -path '/root/*'")?;
    ensure!(left.is_empty(), "left behind:\n{left}");
    ensure!(!here.machine.file("/run/pgvrrp").exists(), "/run/pgvrrp is left behind");
    // Its user stays, as usual.
    here.succeed("getent passwd pgvrrp").map(drop)
}

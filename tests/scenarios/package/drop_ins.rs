//! Other ways to run it, by `systemctl edit pgvrrp`: with a recording, and only observing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use anyhow::{Result, ensure};

use super::installed::{Installed, SECOND, SETTLED};
use super::printed::{OBSERVE, README};

const RECORDING: &str = "/var/lib/pgvrrp/recording.jsonl";

pub(super) fn records(here: &Installed<'_>) -> Result<()> {
    let holding = here.holding()?;
    here.edit_unit(&README.block_with("StateDirectory=pgvrrp")?)?;
    here.as_printed(&README, "systemctl daemon-reload")?;
    here.as_printed(&README, "sudo -u pgvrrp pgvrrp handover")?;
    let mode = fs::metadata(here.machine.file(RECORDING))?.permissions().mode() & 0o7777;
    ensure!(mode == 0o600, "the recording has mode {mode:o}");
    // Once more, into the same file.
    thread::sleep(SECOND);
    here.as_printed(&README, "sudo -u pgvrrp pgvrrp handover")?;
    here.revert_unit()?;
    thread::sleep(SECOND);
    // It needs neither the daemon nor its user.
    here.succeed("pgvrrp handover")?;
    let replayed = here.succeed(&format!("pgvrrp replay --verbose {RECORDING}"))?;
    println!("{}", replayed.lines().last().unwrap_or_default());
    ensure!(replayed.contains("10.0.20.155"), "{replayed}");
    here.has_kept(&holding)
}

pub(super) fn observes(here: &Installed<'_>) -> Result<()> {
    here.stop()?;
    here.edit_unit(&OBSERVE.block_with("ExecStart=/usr/bin/pgvrrp run --config /etc/pgvrrp/pgvrrp.toml --observe")?)?;
    here.succeed("systemctl daemon-reload && systemctl start pgvrrp")?;
    thread::sleep(SETTLED);
    let said = here.as_printed(&OBSERVE, "pgvrrp status")?;
    ensure!(
        said.contains("observing: what follows would be") && said.contains("10.0.20.155/32: would be HERE"),
        "{said}"
    );
    ensure!(here.stage.holders().is_empty(), "it has bound the VIP");
    ensure!(here.stage.lab.etcd().get("/pgvrrp/v1/service/odoo/10.0.20.155")?.is_none(), "it has taken the lock");
    here.revert_unit()?;
    here.succeed("systemctl restart pgvrrp")?;
    here.wait_vip()
}

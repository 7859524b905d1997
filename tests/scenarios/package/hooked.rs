//! Hooks under the unit: what docs/HOOKS.md says that they may do and may not.

use std::fs;

use anyhow::{Result, ensure};

use super::installed::{Installed, SECOND, SETTLED, configuration};
use super::printed::HOOKS;

/// Says what it may do, a line each.
const TELL: &str = r#"#!/bin/sh
echo "is $(id --user --name), $(grep CapEff /proc/self/status | tr '\t' ' '), told $*"
try() {
    what=$1
    shift
    if "$@" >/dev/null 2>&1; then echo "may $what"; else echo "may not $what"; fi
}
for dir in /run/pgvrrp /tmp /var/lib/node_exporter /etc/pgvrrp /usr/local/bin; do
    try "write $dir" sh -c "echo \$PGVRRP_STATE > $dir/told"
done
try "chown" chown pgvrrp /tmp/told
try "sudo" sudo --non-interactive true
try "look into /root" ls /root
try "see devices" ls /dev/a-device
"#;

const PROGRAM: &str = "/etc/pgvrrp/hooks/announce";

pub(super) fn hooks_are_in_the_sandbox(here: &Installed<'_>) -> Result<()> {
    let right = configuration(here.stage.lab, here.node).render();
    here.write_program(PROGRAM, TELL)?;
    here.succeed("touch /dev/a-device && install --directory --owner=pgvrrp /var/lib/node_exporter")?;
    here.succeed("echo 'pgvrrp ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/all")?;
    // As HOOKS.md names it.
    let hook = format!("on_active = [\"{PROGRAM}\", \"--channel\", \"db\"]");
    ensure!(HOOKS.block_with(&hook)?.contains("[hooks]"), "docs/HOOKS.md has no such hook");
    here.configure(&format!("{right}\n[hooks]\n{hook}\n"))?;
    here.systemctl("reload")?;
    let said = told(here)?;
    ensure!(
        said.contains("is pgvrrp, CapEff: 0000000000000000, told --channel db INSTANCE 10.0.20.155 MASTER 255"),
        "{said}"
    );
    for may in ["write /run/pgvrrp", "write /tmp"] {
        ensure!(said.contains(&format!("may {may} vip=")), "a hook may not {may}:\n{said}");
    }
    let may_not = [
        "write /var/lib/node_exporter",
        "write /etc/pgvrrp",
        "write /usr/local/bin",
        "chown",
        "sudo",
        "look into /root",
    ];
    for may_not in may_not.into_iter().chain(["see devices"]) {
        ensure!(said.contains(&format!("may not {may_not} vip=")), "a hook may {may_not}:\n{said}");
    }
    ensure!(!here.machine.file("/tmp/told").exists(), "its /tmp is everybody's");

    HOOKS.ensure_prints("ReadWritePaths=/var/lib/node_exporter")?;
    here.edit_unit("[Service]\nReadWritePaths=/var/lib/node_exporter\n")?;
    let holding = here.holding()?;
    println!("{}", here.succeed("systemctl daemon-reload && sudo -u pgvrrp pgvrrp handover")?);
    here.has_kept(&holding)?;
    let said = told(here)?;
    ensure!(said.contains("may write /var/lib/node_exporter vip="), "{said}");
    ensure!(
        fs::read_to_string(here.machine.file("/var/lib/node_exporter/told"))? == "active\n",
        "it wrote something else"
    );

    here.revert_unit()?;
    here.succeed("rm -r /etc/pgvrrp/hooks /etc/sudoers.d/all /var/lib/node_exporter")?;
    here.configure(&right)?;
    here.systemctl("reload")?;
    Ok(())
}

/// The VIP leaves and comes; what the hook said of its coming is in the journal.
fn told(here: &Installed<'_>) -> Result<String> {
    let since = here.succeed("date +%s.%N")?;
    here.succeed("pgvrrp drain 10.0.20.155")?;
    here.stage.lab.wait_until("the VIP to leave", SETTLED, || Ok(here.stage.holders().is_empty()))?;
    here.succeed("pgvrrp undrain 10.0.20.155")?;
    here.wait_vip()?;
    let journal = || here.succeed(&format!("journalctl -q -u pgvrrp -o cat --since @{}", since.trim()));
    here.stage.lab.wait_until("the hook", 5 * SECOND, || Ok(journal()?.contains("hook=\"on_active\" took=")))?;
    let said = journal()?;
    println!("{said}");
    Ok(said)
}

//! The package comes, is configured, and the daemon starts, as README.md has it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};

use super::installed::{Installed, NEWER, configuration};
use super::printed::README;

pub(super) fn installs_without_being_configured(here: &Installed<'_>) -> Result<()> {
    let said = here.as_printed(&README, "apt install ./pgvrrp_0.1.0-1_amd64.deb")?;
    ensure!(said.contains("to be configured in /etc/pgvrrp/pgvrrp.toml"), "{said}");
    ensure!(here.systemctl("is-enabled")?.trim() == "enabled", "it would not start with the machine");
    // Neither fails: the machine boots as well with a package that is not configured.
    here.systemctl("start")?;
    ensure!(here.property("ActiveState")? == "inactive" && here.property("Result")? == "success", "it was started");
    let dir = fs::metadata(here.machine.file("/etc/pgvrrp"))?;
    let owner = here.succeed("stat --format=%U:%G /etc/pgvrrp")?;
    ensure!(dir.permissions().mode() & 0o7777 == 0o750 && owner.trim() == "root:pgvrrp", "{dir:?} {owner}");
    let conffiles = here.succeed("dpkg-query --show --showformat='${Conffiles}' pgvrrp")?;
    ensure!(conffiles.is_empty(), "dpkg will ask about {conffiles}");
    // The example needs no more than to be filled in.
    here.succeed("pgvrrp check /usr/share/doc/pgvrrp/examples/pgvrrp.toml")?;
    here.succeed("pgvrrp check /usr/share/doc/pgvrrp/examples/plain.toml")?;
    Ok(())
}

/// With all that the unit takes from it and gives to it.
pub(super) fn starts(here: &Installed<'_>) -> Result<()> {
    here.configure(&configuration(here.stage.lab, here.node).render())?;
    here.as_printed(&README, "sudo -u pgvrrp pgvrrp check /etc/pgvrrp/pgvrrp.toml")?;
    // No problem is left but that nothing runs yet.
    here.as_printed(&README, "sudo -u pgvrrp pgvrrp doctor")?;
    here.as_printed(&README, "systemctl daemon-reload")?;
    here.as_printed(&README, "systemctl enable --now pgvrrp")?;
    here.wait_vip()?;
    here.wait_status("10.0.20.155/32: HERE")?;
    let said = here.as_printed(&README, "pgvrrp status")?;
    ensure!(said.contains("10.0.20.155/32: HERE"), "{said}");
    let process = here.machine.process(here.daemon()?)?;
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    ensure!(field(&status, "CapEff:") == "0000000000003000", "{status}");
    ensure!(field(&status, "CapBnd:") == "0000000000003000", "{status}");
    ensure!(field(&status, "Seccomp:") == "2" && field(&status, "NoNewPrivs:") == "1", "{status}");
    ensure!(!field(&status, "Uid:").starts_with('0'), "it runs as root: {status}");
    keeps_on_time(here, process, &status)?;
    // As either of those who may ask.
    for doctor in ["sudo -u pgvrrp pgvrrp doctor", "pgvrrp doctor"] {
        let said = here.machine.output(&["sh", "-c", doctor])?;
        println!("# {doctor}\n{said}");
        ensure!(said.contains("ok       daemon: runs"), "{said}");
    }
    ensure!(here.succeed("sudo -u pgvrrp pgvrrp status")?.contains("HERE"), "its user may not look");
    // Nobody else may, since passwords may be in there.
    let refused = here.ends_with("sudo -u nobody pgvrrp status", 78)?;
    ensure!(refused.contains("Permission denied"), "{refused}");
    Ok(())
}

/// Where there is a configuration before the package comes, that starts by itself.
pub(super) fn installs_configured_and_starts(here: &Installed<'_>) -> Result<()> {
    fs::create_dir(here.machine.file("/etc/pgvrrp"))?;
    here.configure(&configuration(here.stage.lab, here.node).render())?;
    let said = here.install(NEWER)?;
    ensure!(!said.contains("does not start"), "{said}");
    here.wait_vip()
}

/// Memory that is locked, and real-time priority. systemd grants the limits for both only where it has that right itself, which
/// the host's own namespaces may lack.
fn keeps_on_time(here: &Installed<'_>, process: u32, status: &str) -> Result<()> {
    const SYS_RESOURCE: u64 = 1 << 24;
    let systemd = fs::read_to_string(here.machine.file("/proc/1/status"))?;
    if u64::from_str_radix(field(&systemd, "CapEff:"), 16)? & SYS_RESOURCE == 0 {
        println!("systemd has no CAP_SYS_RESOURCE here: locked memory and real-time priority are not looked at");
        return Ok(());
    }
    ensure!(field(status, "VmLck:") != "0 kB", "its memory is not locked: {status}");
    let threads = fs::read_dir(format!("/proc/{process}/task"))?;
    let policies = threads.map(|thread| policy(&fs::read_to_string(thread?.path().join("stat"))?));
    ensure!(policies.collect::<Result<Vec<_>>>()?.contains(&2), "no thread has real-time priority (SCHED_RR)");
    Ok(())
}

/// A line of /proc/PID/status.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default()
}

/// Field 41 of /proc/PID/stat. The second one is a name in parentheses, and may have spaces in it.
fn policy(stat: &str) -> Result<u32> {
    let (_, rest) = stat.rsplit_once(") ").context("strange stat")?;
    Ok(rest.split(' ').nth(38).context("short stat")?.parse()?)
}

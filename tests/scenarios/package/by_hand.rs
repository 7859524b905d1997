//! An installation by hand, its upgrade, and the package in its place, as README.md has them.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::installed::{Installed, NEWER, configuration};
use super::printed::README;
use crate::stage::binary;

/// What is below the directory in which the lines of README.md are typed: what was built, and the sources.
fn lay_out_the_sources(here: &Installed<'_>) -> Result<()> {
    let (sources, root) = (Path::new(env!("CARGO_MANIFEST_DIR")), here.machine.file("/root"));
    for dir in ["target/release", "packaging", "docs"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::copy(binary(), root.join("target/release/pgvrrp"))?;
    for file in ["packaging/pgvrrp.service", "README.md"] {
        fs::copy(sources.join(file), root.join(file))?;
    }
    for entry in fs::read_dir(sources.join("docs"))? {
        let path = entry?.path();
        fs::copy(&path, root.join("docs").join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

pub(super) fn is_installed(here: &Installed<'_>) -> Result<()> {
    lay_out_the_sources(here)?;
    let block = README.block_with("# install -m 755 target/release/pgvrrp /usr/local/bin/")?;
    for line in block.lines().filter_map(|line| line.strip_prefix("# ")) {
        here.as_printed(&README, line)?;
    }
    here.configure(&configuration(here.stage.lab, here.node).render())?;
    here.as_printed(&README, "sudo -u pgvrrp pgvrrp check /etc/pgvrrp/pgvrrp.toml")?;
    here.as_printed(&README, "systemctl daemon-reload")?;
    here.as_printed(&README, "systemctl enable --now pgvrrp")?;
    here.wait_vip()?;
    ensure!(here.machine.file("/usr/local/share/doc/pgvrrp/docs/STATUS.md").exists(), "the documents are missing");
    let unit = here.succeed("systemd-analyze verify pgvrrp.service 2>&1 | grep -v 'man pgvrrp' || true")?;
    ensure!(unit.is_empty(), "{unit}");
    Ok(())
}

pub(super) fn is_upgraded(here: &Installed<'_>) -> Result<()> {
    let (former, holding) = (here.daemon()?, here.holding()?);
    for line in [
        "install -m 755 target/release/pgvrrp /usr/local/bin/pgvrrp.new && mv /usr/local/bin/pgvrrp.new /usr/local/bin/pgvrrp",
        "sudo -u pgvrrp pgvrrp handover",
    ] {
        here.as_printed(&README, line)?;
    }
    ensure!(here.daemon()? != former, "it is the former process");
    here.has_kept(&holding)
}

pub(super) fn the_package_takes_over(here: &Installed<'_>) -> Result<()> {
    let (former, holding) = (here.daemon()?, here.holding()?);
    let said = here.install(NEWER)?;
    ensure!(said.contains("the daemon that runs is not of this package"), "{said}");
    // What is removed is the package, not what the operator runs.
    here.succeed("dpkg --remove pgvrrp")?;
    ensure!(here.daemon()? == former, "the operator's daemon was stopped");
    let block = README.block_with("# systemctl reenable pgvrrp")?;
    for line in block.lines().filter_map(|line| line.strip_prefix("# ")) {
        here.as_printed(&README, line)?;
    }
    here.has_kept(&holding)?;
    let process = here.machine.process(here.daemon()?)?;
    let program = fs::read_link(format!("/proc/{process}/exe"))?;
    ensure!(program.ends_with("usr/bin/pgvrrp"), "it is {}", program.display());
    ensure!(
        here.property("FragmentPath")? == "/lib/systemd/system/pgvrrp.service"
            || here.property("FragmentPath")? == "/usr/lib/systemd/system/pgvrrp.service",
        "it is still the unit by hand"
    );
    Ok(())
}

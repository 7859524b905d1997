//! Another build of the daemon, for the scenarios in which two versions meet.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace::{self, ROOT_PACKAGE, cargo};

/// The version that the present one has to understand, and be understood by: the first that could move a VIP.
const OLDER: &str = "829eb0d28ee74d848f837f97916035be97af2310";

/// Builds it below `target/older`, once. `None` if this clone does not reach back so far.
///
/// # Errors
/// If it cannot be unpacked or built.
pub(crate) fn build() -> Result<Option<PathBuf>> {
    let dir = workspace::root().join("target/older");
    let (sources, binary) = (dir.join(OLDER), dir.join("target/release/pgvrrp"));
    let mut known = git(&["cat-file", "-e", &format!("{OLDER}^{{commit}}")]);
    if !known.stderr(Stdio::null()).status().context("cannot run git")?.success() {
        println!("commit {OLDER} is not in this clone: two versions together are not tried");
        return Ok(None);
    }
    if !sources.exists() {
        fs::create_dir_all(&sources)?;
        let mut archive = git(&["archive", OLDER]).stdout(Stdio::piped()).spawn()?;
        let packed = archive.stdout.take().context("git archive has no output")?;
        let unpacked = Command::new("tar").arg("-x").arg("-C").arg(&sources).stdin(packed).status()?;
        if !(unpacked.success() && archive.wait()?.success()) {
            fs::remove_dir_all(&sources)?;
            bail!("commit {OLDER} cannot be unpacked");
        }
    }
    let mut build = cargo(["build", "--release", "--locked", "--package", ROOT_PACKAGE, "--bin", "pgvrrp"]);
    build.current_dir(&sources).arg("--target-dir").arg(dir.join("target"));
    // It has to be there soon and not to be fast.
    let quick = [("LTO", "off"), ("OPT_LEVEL", "1"), ("CODEGEN_UNITS", "16")];
    build.envs(quick.map(|(name, value)| (format!("CARGO_PROFILE_RELEASE_{name}"), value)));
    workspace::run(&mut build)?;
    Ok(Some(binary))
}

fn git(args: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.args(args).current_dir(workspace::root()).stdin(Stdio::null());
    git
}

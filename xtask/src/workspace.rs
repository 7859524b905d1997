//! This workspace and its cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The name of the root package.
pub(crate) const ROOT_PACKAGE: &str = "pgvrrp";

/// The name of the lab's package.
pub(crate) const LAB_PACKAGE: &str = "lab";

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A cargo command in the workspace.
pub(crate) fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(args).current_dir(root()).stdin(Stdio::null());
    cargo
}

/// Runs a command whose output goes straight to the terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        bail!("{shown} failed ({status})");
    }
    Ok(())
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Builds the daemon as it is shipped and returns its path.
pub(crate) fn build_release() -> Result<PathBuf> {
    run(&mut cargo(["build", "--release", "--package", ROOT_PACKAGE, "--bin", "pgvrrp"]))?;
    let target =
        metadata()?["target_directory"].as_str().map(PathBuf::from).context("cargo names no target directory")?;
    Ok(target.join("release/pgvrrp"))
}

/// The names of the root package's integration tests.
pub(crate) fn integration_tests() -> Result<Vec<String>> {
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.filter(|p| p["name"] == ROOT_PACKAGE).flat_map(|p| p["targets"].as_array()).flatten();
    let tests = targets.filter(|t| t["kind"][0] == "test");
    Ok(tests.filter_map(|t| t["name"].as_str().map(ToOwned::to_owned)).collect())
}

fn metadata() -> Result<Value> {
    let output = cargo(["metadata", "--no-deps", "--format-version", "1"]).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

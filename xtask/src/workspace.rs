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
    Ok(target_dir()?.join("release/pgvrrp"))
}

/// Where cargo builds.
pub(crate) fn target_dir() -> Result<PathBuf> {
    metadata()?["target_directory"].as_str().map(PathBuf::from).context("cargo names no target directory")
}

/// What cargo knows of one of the workspace's packages.
pub(crate) fn package(name: &str) -> Result<Value> {
    let mut metadata = metadata()?;
    let packages = metadata["packages"].as_array_mut().into_iter().flatten();
    packages.map(Value::take).find(|package| package["name"] == name).with_context(|| format!("no package {name}"))
}

/// What cargo knows of the workspace and of every crate that it is made of, on one system.
pub(crate) fn metadata_of_everything(target: &str) -> Result<Value> {
    ask(["metadata", "--locked", "--format-version", "1", "--filter-platform", target])
}

/// The names of the root package's integration tests.
pub(crate) fn integration_tests() -> Result<Vec<String>> {
    let package = package(ROOT_PACKAGE)?;
    let targets = package["targets"].as_array().into_iter().flatten();
    let tests = targets.filter(|t| t["kind"][0] == "test");
    Ok(tests.filter_map(|t| t["name"].as_str().map(ToOwned::to_owned)).collect())
}

fn metadata() -> Result<Value> {
    ask(["metadata", "--no-deps", "--format-version", "1"])
}

fn ask<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<Value> {
    let output = cargo(args).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

//! The Debian package, by cargo-deb. What is in it stands in `[package.metadata.deb]` of Cargo.toml.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use super::{Made, output};
use crate::workspace::{self, ROOT_PACKAGE, cargo};

/// The cargo-deb that is fetched where there is none.
const CARGO_DEB: &str = "3.8.0";

/// Debian's count of packages of one version.
const REVISION: &str = "1";

#[derive(Debug, Default, Args)]
pub(crate) struct Debian {
    /// The Debian package's version instead of one made from the newest commit
    #[arg(long, value_name = "VERSION")]
    debian_version: Option<String>,
    /// Who answers for the Debian package: whoever builds it for others
    #[arg(long, value_name = "NAME <ADDRESS>")]
    maintainer: Option<String>,
}

impl Debian {
    /// Of this version.
    pub(super) fn of(version: &str) -> Self {
        Self { debian_version: Some(version.to_owned()), maintainer: None }
    }
}

/// Builds the package of the program that is in `target/release`, and puts it into a directory.
pub(super) fn build(made: &Made, options: &Debian, to: &Path) -> Result<PathBuf> {
    let version = options.debian_version.clone().unwrap_or_else(|| format!("{}-{REVISION}", made.version));
    let maintainer = options.maintainer.clone().map_or_else(maintainer, Ok)?;
    fs::create_dir_all(to)?;
    fs::write(made.dir.join("changelog.Debian"), changelog(&version, &maintainer, made.date)?)?;
    let mut command = cargo_deb()?;
    command.args(["--no-build", "--quiet", "--package", ROOT_PACKAGE]);
    command.args(["--deb-version", &version, "--maintainer", &maintainer, "--output"]).arg(to);
    command.env("SOURCE_DATE_EPOCH", made.date.to_string()).current_dir(workspace::root());
    Ok(output(&mut command)?.into())
}

/// That of Cargo.toml.
fn maintainer() -> Result<String> {
    let maintainer = &workspace::package(ROOT_PACKAGE)?["metadata"]["deb"]["maintainer"];
    Ok(maintainer.as_str().context("Cargo.toml names no maintainer of the package")?.to_owned())
}

/// Debian's changelog is of the packaging; the project's own is beside it.
fn changelog(version: &str, maintainer: &str, date: u64) -> Result<String> {
    let date = output(Command::new("date").args(["--utc", "--rfc-email", "--date"]).arg(format!("@{date}")))?;
    Ok(format!(
        "{ROOT_PACKAGE} ({version}) unstable; urgency=medium\n\n  \
         * What has changed is in /usr/share/doc/{ROOT_PACKAGE}/changelog.gz.\n\n \
         -- {maintainer}  {date}\n"
    ))
}

/// The machine's, or one of our own.
fn cargo_deb() -> Result<Command> {
    let mut there = cargo(["deb", "--version"]);
    if there.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Ok(cargo(["deb"]));
    }
    let tools = workspace::root().join("target/tools");
    let program = tools.join("bin/cargo-deb");
    if !program.exists() {
        // It is used a few times: that it is built sooner counts for more than that it is fast.
        let features = ["--debug", "--no-default-features", "--features", "lzma"];
        let args = [&["install", "cargo-deb", "--locked", "--version", CARGO_DEB], &features[..], &["--root"]].concat();
        workspace::run(cargo(args).arg(&tools).arg("--target-dir").arg(tools.join("build")))?;
    }
    Ok(Command::new(program))
}

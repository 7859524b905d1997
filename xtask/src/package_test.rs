//! `cargo xtask package-test`: the Debian package, installed, upgraded and removed on a Debian that is booted for it.

use std::env;

use anyhow::Result;
use lab::prerequisites;

use crate::dist;
use crate::workspace::{self, cargo};

/// They differ in nothing but their version, by which README.md names the files.
const VERSIONS: [&str; 2] = ["0.1.0-1", "0.2.0-1"];

/// Fetches what is missing, builds two packages, and plays the scenarios of tests/scenarios/package.rs with them,
/// and the one of a container that systemd starts.
pub(crate) fn run() -> Result<()> {
    prerequisites::install(&mut |step| println!("{step}"))?;
    let debian = prerequisites::debian(&mut |step| println!("{step}"))?;
    let packages = env::join_paths(dist::packages(VERSIONS)?)?;
    prerequisites::install_podman(&mut |step| println!("{step}"))?;
    let only = ["package::", "container::in_a_container_under_systemd"];
    let mut scenarios =
        cargo(["test", "--test", "scenarios", "--", only[0], only[1], "--test-threads=1", "--nocapture"]);
    scenarios.env("PGVRRP_PACKAGES", packages).env("PGVRRP_DEBIAN", debian);
    workspace::run(&mut scenarios)
}

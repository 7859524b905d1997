//! `cargo xtask test`: every check there is, in the order of what fails fastest.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};
use lab::{Machine, Time, prerequisites};

use crate::older;
use crate::package_test;
use crate::simulate;
use crate::workspace::{self, LAB_PACKAGE, ROOT_PACKAGE, cargo};

/// The integration test of the root package that needs a whole lab per scenario.
const SCENARIOS: &str = "scenarios";

/// The one that needs a segment of routers per test.
const INTEROP: &str = "interop";

/// Tells the scenarios to repeat as often as the requirements say.
const FULL: &str = "PGVRRP_FULL";

/// Tells the scenarios which daemon to try: the one that is shipped, while they themselves need no optimising.
const BINARY: &str = "PGVRRP_BINARY";

/// Tells them of another version of it.
const OTHER_BINARY: &str = "PGVRRP_OTHER_BINARY";

/// Runs all steps, stops at the first that fails, and sums up.
pub(crate) fn run(full: bool) -> Result<()> {
    let mut summary = Summary::default();
    summary.step("prerequisites", || prerequisites::install(&mut |step| println!("{step}")).map(drop))?;
    summary.step("container engine", || prerequisites::install_podman(&mut |step| println!("{step}")))?;
    summary.step("browser", || prerequisites::install_browser(&mut |step| println!("{step}")))?;
    for (name, mut command) in steps()? {
        summary.step(name, || run_shown(&mut command))?;
    }
    let mut daemon = None;
    summary.step("release build", || {
        daemon = Some(workspace::build_release()?);
        Ok(())
    })?;
    let mut interop = cargo(["test", "--test", INTEROP, "--", "--test-threads=1", "--nocapture"]);
    interop.envs(daemon.iter().map(|daemon| (BINARY, daemon)));
    summary.step("plain VRRP beside Keepalived and FRR", || run_shown(&mut interop))?;
    let mut other = None;
    summary.step("release build of an older version", || {
        other = older::build()?;
        Ok(())
    })?;
    let mut scenarios = cargo(["test", "--test", SCENARIOS, "--", "--test-threads=1", "--nocapture"]);
    scenarios.envs(daemon.map(|daemon| (BINARY, daemon)));
    scenarios.envs(other.map(|other| (OTHER_BINARY, other)));
    if full {
        scenarios.env(FULL, "1");
    }
    summary.step("scenarios in network namespaces", || run_shown(&mut scenarios))?;
    match Machine::obstacle() {
        None => summary.step("the Debian package on a booted Debian", package_test::run)?,
        Some(why) => println!("no Debian can be booted here, so the package is not tried: {why}"),
    }
    summary.print();
    Ok(())
}

fn run_shown(command: &mut Command) -> Result<()> {
    println!("$ {}", workspace::shown(command));
    workspace::run(command)
}

fn steps() -> Result<Vec<(&'static str, Command)>> {
    let mut steps = vec![
        ("format", cargo(["fmt", "--all", "--check"])),
        ("clippy", cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        (
            "purity: the decisions build without any I/O",
            cargo(["check", "--package", ROOT_PACKAGE, "--no-default-features"]),
        ),
    ];
    if is_installed("deny") {
        steps.push(("dependencies", cargo(["deny", "check"])));
    } else {
        println!("cargo-deny is not installed: licences and advisories are not checked");
    }
    let crates = ["test", "--workspace", "--exclude", ROOT_PACKAGE, "--exclude", LAB_PACKAGE];
    steps.push(("tests of the crates", cargo(crates)));
    // Each of these starts a cluster.
    steps.push(("tests of the lab", cargo(["test", "--package", LAB_PACKAGE, "--", "--test-threads=1"])));
    let mut own = cargo(["test", "--package", ROOT_PACKAGE, "--lib", "--bins"]);
    for name in workspace::integration_tests()?.iter().filter(|name| ![SCENARIOS, INTEROP].contains(&name.as_str())) {
        own.args(["--test", name]);
    }
    steps.push(("tests of the daemon", own));
    steps.extend(simulate::suite());
    Ok(steps)
}

fn is_installed(subcommand: &str) -> bool {
    let mut command = cargo([subcommand, "--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// What was run, and how long it took.
#[derive(Debug, Default)]
struct Summary {
    done: Vec<(String, Duration)>,
}

impl Summary {
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n=== {name}");
        let start = Time::now();
        let result = work();
        let took = start.elapsed();
        if let Err(error) = result {
            self.print();
            bail!("{name} FAILED after {:.1} s: {error:#}", took.as_secs_f64());
        }
        println!("--- {name}: ok, {:.1} s", took.as_secs_f64());
        self.done.push((name.to_owned(), took));
        Ok(())
    }

    fn print(&self) {
        println!("\n=== summary");
        for (name, took) in &self.done {
            println!("  ok {:>7.1} s  {name}", took.as_secs_f64());
        }
        let total: Duration = self.done.iter().map(|(_, took)| *took).sum();
        println!("     {:>7.1} s  in all", total.as_secs_f64());
    }
}

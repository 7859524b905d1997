//! `cargo xtask simulate`: many histories of the simulator, or one of them in words.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::workspace::{self, ROOT_PACKAGE, cargo};

/// The test that runs seeds.
const SEEDS: &str = "no_seed_breaks_a_promise";

/// Which histories.
#[derive(Clone, Debug, Args)]
pub(crate) struct Histories {
    /// How many; 2000 without --seconds
    #[arg(long)]
    pub(crate) seeds: Option<u64>,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    pub(crate) first: u64,
    /// As many as fit into this time
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
    /// On so many cores; all of them unless given
    #[arg(long)]
    pub(crate) jobs: Option<usize>,
    /// Report every broken promise instead of stopping at the first
    #[arg(long)]
    pub(crate) go_on: bool,
    /// Replay this one seed and print every event
    #[arg(long, conflicts_with_all = ["seeds", "first", "seconds", "jobs", "go_on"])]
    pub(crate) seed: Option<u64>,
}

/// The suite's: seeds that are the same each time, this commit's for half a minute, the small world with each triple of events, and
/// what every guard is good for.
pub(crate) fn suite() -> Vec<(&'static str, Command)> {
    let mut fixed = simulation(SEEDS, &[]);
    fixed.env("PGVRRP_SEEDS", "3000").env("PGVRRP_JOBS", cores().to_string());
    let mut new = simulation(SEEDS, &[]);
    new.env("PGVRRP_FIRST", seeds_of_this_commit().to_string());
    new.env("PGVRRP_SECONDS", "30").env("PGVRRP_JOBS", cores().to_string());
    vec![
        ("simulator, 3000 seeds", fixed),
        ("simulator, seeds of this commit for 30 s", new),
        ("simulator, a small world to its end", simulation("exhaustive", &[])),
        ("every guard taken away", simulation("sabotage_of", &["--features", "sabotage"])),
    ]
}

/// Where nobody has looked yet. Each commit has seeds of its own: what one run of it meets, the next one meets as well.
fn seeds_of_this_commit() -> u64 {
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(workspace::root()).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let first = commit.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    first.map_or(1_000_000_000, |first| u64::from(first) * 1_000_000)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs them. Ends with a report of what was met how often.
///
/// # Errors
/// If one of them breaks a promise, or, from 100,000 on, if they did not go everywhere.
pub(crate) fn run(histories: &Histories) -> Result<()> {
    let mut command = simulation(SEEDS, &[]);
    if let Some(seed) = histories.seed {
        return workspace::run(command.env("PGVRRP_SEED", seed.to_string()));
    }
    command.env("PGVRRP_FIRST", histories.first.to_string());
    command.env("PGVRRP_JOBS", histories.jobs.unwrap_or_else(cores).to_string());
    match (histories.seeds, histories.seconds) {
        (None, None) => drop(command.env("PGVRRP_SEEDS", "2000")),
        (seeds, seconds) => {
            seeds.map(|seeds| command.env("PGVRRP_SEEDS", seeds.to_string()));
            seconds.map(|seconds| command.env("PGVRRP_SECONDS", seconds.to_string()));
        }
    }
    if histories.go_on {
        command.env("PGVRRP_GO_ON", "1");
    }
    workspace::run(&mut command)
}

/// The simulator's tests of this name, optimised and without the daemon around the node.
fn simulation(tests: &str, features: &[&str]) -> Command {
    let mut command = cargo(["test", "--quiet", "--profile", "simulation", "--package", ROOT_PACKAGE]);
    command.arg("--no-default-features").args(features);
    command.args(["--test", "simulation", tests, "--", "--nocapture"]);
    command
}

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

/// The suite's: seeds that are the same each time, new ones for half a minute, the small world with each triple of events, and
/// what every guard is good for.
pub(crate) fn suite() -> Vec<(&'static str, Command)> {
    let mut fixed = simulation(SEEDS, &[]);
    fixed.env("PGVRRP_SEEDS", "3000").env("PGVRRP_JOBS", cores().to_string());
    let mut new = simulation(SEEDS, &[]);
    new.env("PGVRRP_FIRST", some_seed().to_string());
    new.env("PGVRRP_SECONDS", "30").env("PGVRRP_JOBS", cores().to_string());
    vec![
        ("simulator, 3000 seeds", fixed),
        ("simulator, new seeds for 30 s", new),
        ("simulator, a small world to its end", simulation("exhaustive", &[])),
        ("every guard taken away", simulation("sabotage_of", &["--features", "sabotage"])),
    ]
}

/// Where nobody has looked yet, in all likelihood.
fn some_seed() -> u64 {
    let mut bytes = [0; 4];
    let read =
        std::fs::File::open("/dev/urandom").and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes));
    read.map_or(1_000_000_000, |()| u64::from(u32::from_le_bytes(bytes)) * 1_000_000)
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

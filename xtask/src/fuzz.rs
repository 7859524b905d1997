//! `cargo xtask fuzz`: each fuzz target for a while, and what it came to. `docs/FUZZING.md` says what the targets are.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::workspace::{self, cargo};

/// The most that one input may take, in seconds, and that it may have allocated at once, in MiB. Long inputs are tried from the
/// start: hours of short ones say little about a history.
const LIMITS: [&str; 4] = ["-timeout=10", "-malloc_limit_mb=256", "-rss_limit_mb=2048", "-len_control=0"];

/// What to run.
#[derive(Clone, Debug, Args)]
pub(crate) struct Run {
    /// For so many minutes each
    #[arg(long, default_value_t = 1)]
    minutes: u32,
    /// This target; all of them unless given
    #[arg(long)]
    target: Option<String>,
}

/// Runs them one after the other, on one core.
///
/// # Errors
/// If an input broke something, once all have been run; and without the tools, or such a target.
pub(crate) fn run(run: &Run) -> Result<()> {
    require_tools()?;
    let known = targets()?;
    let wanted = match &run.target {
        Some(target) if known.contains(target) => vec![target.clone()],
        Some(target) => bail!("there is no target {target}: it is one of {}", known.join(", ")),
        None => known,
    };
    let mut build = cargo(["+nightly", "fuzz", "build", "--target-dir", "target/fuzz"]);
    // Built alone, a target is there sooner.
    build.args(&run.target);
    workspace::run(&mut build)?;
    let mut broken = Vec::new();
    println!("{:<14} {:>12} {:>9} {:>8}", "target", "executions", "exec/s", "coverage");
    for target in wanted {
        match fuzz(&target, run.minutes)? {
            Ok(figures) => println!("{target:<14} {figures}"),
            Err(log) => {
                println!("{target:<14} BROKEN: {}", log.display());
                broken.push(target);
            }
        }
    }
    if !broken.is_empty() {
        bail!("broken by an input, which the end of the log names: {}", broken.join(", "));
    }
    Ok(())
}

fn require_tools() -> Result<()> {
    let works = |args: &[&str]| {
        let mut command = cargo(args.iter().copied());
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !works(&["+nightly", "--version"]) {
        bail!("fuzzing needs a nightly toolchain, and nothing else does: rustup toolchain install nightly");
    }
    if !works(&["+nightly", "fuzz", "--version"]) {
        bail!("fuzzing needs cargo-fuzz: cargo install cargo-fuzz --locked");
    }
    Ok(())
}

fn targets() -> Result<Vec<String>> {
    let dir = workspace::root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        names.extend(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// What came of it, or the log of how it broke.
fn fuzz(target: &str, minutes: u32) -> Result<Result<Figures, PathBuf>> {
    let fuzz = workspace::root().join("fuzz");
    // What is found on the way is of use to the next run and to nobody else; what is kept was chosen.
    let out = workspace::root().join("target/fuzz/found").join(target);
    let (found, log) = (out.join("corpus"), out.join("log"));
    fs::create_dir_all(&found)?;
    let mut command = cargo(["+nightly", "fuzz", "run", "--target-dir", "target/fuzz", target]);
    let kept = ["corpus", "regressions"].map(|kind| fuzz.join(kind).join(target));
    command.arg(found).args(kept.iter().filter(|dir| dir.exists()));
    command.arg("--").args(LIMITS).arg(format!("-max_total_time={}", minutes * 60)).arg("-print_final_stats=1");
    command.arg(format!("-artifact_prefix={}/", out.display()));
    let status = command.stdout(Stdio::null()).stderr(File::create(&log)?).status().context("cannot run cargo")?;
    if status.success() { Figures::read(&log).map(Ok) } else { Ok(Err(log)) }
}

/// What libFuzzer says at the end.
struct Figures {
    executions: u64,
    per_second: u64,
    /// Edges of the program that some input has taken.
    coverage: u64,
}

impl Figures {
    fn read(log: &Path) -> Result<Self> {
        let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
        let behind = |label: &str| {
            let rest = text.rsplit_once(label).map(|(_, rest)| rest);
            let number = rest.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok());
            number.with_context(|| format!("there is no {label} in {}", log.display()))
        };
        Ok(Self {
            executions: behind("stat::number_of_executed_units:")?,
            per_second: behind("stat::average_exec_per_sec:")?,
            coverage: behind(" cov: ")?,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12} {:>9} {:>8}", self.executions, self.per_second, self.coverage)
    }
}

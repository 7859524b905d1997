//! `cargo xtask bench`: what this daemon does, measured beside what the others do, on the same machine at the same time.

mod failover;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use lab::prerequisites;
use lab::recorder::require_real_time;
use lab::router::Make;

use crate::workspace;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    /// How late a Backup has the address, of plain VRRP, after a crash and after a goodbye of the Active router
    Failover(Failover),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Failover {
    /// How often each make is tried with each interval
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Which makes, with commas
    #[arg(long, value_delimiter = ',', default_value = "pgvrrp,keepalived,frr", value_parser = make)]
    make: Vec<Make>,
    /// Which advertisement intervals, with commas; multiples of 10ms
    #[arg(long, value_delimiter = ',', default_value = "1s,100ms,10ms", value_parser = interval)]
    interval: Vec<Duration>,
    /// Another build of this daemon than that of this tree, which is then not built
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Write every single measurement as JSON, and no table
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// When the lab cannot be built, or a router of a make that is to be tried does not work at all.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let Bench::Failover(failover) = bench;
    prerequisites::require_root()?;
    require_real_time()?;
    prerequisites::install(&mut |line| eprintln!("   {line}"))?;
    let binary = match &failover.binary {
        Some(binary) => binary.clone(),
        None if failover.make.contains(&Make::Pgvrrp) => workspace::build_release()?,
        // The others need no build of ours.
        None => PathBuf::new(),
    };
    let measured = failover::measure(failover.runs, &failover.make, &failover.interval, &binary)?;
    if failover.json {
        println!("{}", report::json(&measured)?);
    } else {
        println!("{}", report::tables(&measured));
    }
    Ok(())
}

fn make(name: &str) -> Result<Make> {
    let Some(make) = Make::from_name(name) else {
        let known = Make::ALL.map(Make::name).join(", ");
        bail!("there are {known}");
    };
    Ok(make)
}

fn interval(text: &str) -> Result<Duration> {
    let number = |unit: &str| text.strip_suffix(unit)?.parse::<u64>().ok();
    let millis = number("ms").or_else(|| Some(1000 * number("s")?));
    match millis {
        Some(millis @ 10..=40_950) if millis % 10 == 0 => Ok(Duration::from_millis(millis)),
        _ => bail!("10ms to 40950ms in steps of 10ms, or whole seconds such as 1s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_what_the_wire_can_say() {
        assert_eq!(interval("1s").ok(), Some(Duration::from_secs(1)));
        assert_eq!(interval("10ms").ok(), Some(Duration::from_millis(10)));
        for wrong in ["0s", "15ms", "41s", "10", "x"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}

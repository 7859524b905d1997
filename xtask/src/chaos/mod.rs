//! `cargo xtask chaos`: a real cluster, faults of every kind in an order that a seed gives, and a judge.

mod judge;
mod picture;
mod plan;
mod report;
mod stage;
mod strike;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use lab::etcd::EtcdLayout;
use lab::patroni::Timing;
use lab::{Analysis, Lab, Node, Options, Probes, Time, prerequisites};

use crate::workspace;
use judge::Case;
use plan::{Kind, Plan};
use report::Report;
use stage::Stage;

/// So many faults, then everything is put in order and the cluster has to be as it was.
const FAULTS: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Chaos {
    /// How long faults are injected for
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// What chooses the faults, their order and their lengths [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Only faults of these kinds, with commas, such as DaemonKilled,Switchover
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Step CLOCK_REALTIME, too: the whole machine's, by up to 30 s, for up to 5 s
    #[arg(long)]
    clock_steps: bool,
}

/// Runs it. Report, picture, history and recordings are in `target/chaos/seed-N`.
///
/// # Errors
/// If a promise was broken, if the cluster did not come back after healing, or if the lab itself failed.
pub(crate) fn run(chaos: &Chaos) -> Result<()> {
    prerequisites::require_root()?;
    prerequisites::install(&mut |line| println!("   {line}"))?;
    let binary = workspace::build_release()?;
    let seed = chaos.seed.unwrap_or_else(some_seed);
    let mut plan = Plan::new(seed, &chaos.kinds()?);
    let options = options(&mut plan);
    println!("seed {seed}: {}", words(&options));
    let dir = workspace::root().join(format!("target/chaos/seed-{seed}"));
    // Of a former run of this seed.
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;

    let lab = Lab::start(options)?;
    lab.database(Node::Db1)
        .sql("create table careful (value bigint primary key, node text); grant insert, select on careful to app")?;
    let mut probes = Probes::watch(&lab)?;
    let mut stage = Stage::new(lab, &binary, &dir)?;
    stage.settle().map_err(|e| e.context(stage.lab.log_tails()))?;
    probes.add_careful_client()?;
    let begun = Time::now();
    let mut report = Report::new(seed, &options, begun);
    let end = begun.plus(Duration::from_secs(60 * chaos.minutes));
    let came = play(&mut stage, &mut plan, &mut report, end);
    let lab_says = came.is_err().then(|| stage.lab.log_tails());

    // The last attempts end before the last look at what is there.
    let history = probes.stop();
    let present = stage.lab.leader().ok().flatten().and_then(|leader| {
        let all = stage.lab.database(leader).sql("select value from careful").ok()?;
        Some(all.lines().filter_map(|line| line.parse::<i64>().ok()).collect())
    });
    stage.keep_logs();
    let recordings = replayed(&binary, &mut stage)?;
    let analysis = Analysis::of(&history);
    let case = Case { analysis: &analysis, outages: &stage.outages, by_hand: &stage.by_hand };
    let text = report.text(&case, &stage.deeds, present.as_ref(), &recordings);
    fs::write(dir.join("report.txt"), &text)?;
    fs::write(dir.join("history.txt"), history.to_text(begun))?;
    let title = format!("pgvrrp chaos, seed {seed}: {}", words(&options));
    fs::write(dir.join("timeline.svg"), picture::draw(&case, &stage.deeds, begun, &title))?;
    println!("\n{text}\nreport.txt, timeline.svg, history.txt, logs and recordings are in target/chaos/seed-{seed}");
    came.map_err(|e| e.context(lab_says.unwrap_or_default()))?;
    let broken = case.judge().broken.len() + recordings.iter().filter(|(_, wrong)| wrong.is_some()).count();
    if broken > 0 {
        bail!("seed {seed}: {broken} broken promises");
    }
    Ok(())
}

/// Rounds of faults, each of which ends with a cluster as it should be.
fn play(stage: &mut Stage, plan: &mut Plan, report: &mut Report, end: Time) -> Result<()> {
    let begun = report.begun;
    while Time::now() < end {
        for _ in 0..FAULTS {
            let fault = plan.next();
            stage.wait(fault.after)?;
            let length = if fault.length.is_zero() { String::new() } else { format!(" for {:.1?}", fault.length) };
            let at = Time::now().since(begun).as_secs_f64();
            let done = stage.strike(&fault).with_context(|| format!("{}{length}", fault.kind))?;
            let whom = stage.deeds.last().filter(|_| done).map_or("not possible now", |deed| deed.whom.as_str());
            println!("{at:>8.1} s  {}{length}: {whom}", fault.kind);
        }
        // Half of the time each fault has its full length: those that outlast leases matter most.
        if plan.chance(50) {
            stage.wait_out()?;
        }
        let took = stage.settle()?;
        let (at, holder) = (Time::now().since(begun).as_secs_f64(), stage.holder());
        println!(
            "{at:>8.1} s  everything is in order again; the VIP was on the primary after {took:.1?}, now {holder}"
        );
        report.settled.push(took);
    }
    Ok(())
}

impl Chaos {
    fn kinds(&self) -> Result<Vec<Kind>> {
        let named = |name: &String| {
            let kind = Kind::ALL.into_iter().find(|kind| format!("{kind:?}") == *name);
            kind.with_context(|| format!("no kind of fault is called {name}; there are: {:?}", Kind::ALL))
        };
        let all = if self.only.is_empty() {
            Kind::ALL.to_vec()
        } else {
            self.only.iter().map(named).collect::<Result<_>>()?
        };
        Ok(all.into_iter().filter(|kind| self.clock_steps || *kind != Kind::ClockStepped).collect())
    }
}

/// The cluster of a seed.
fn options(plan: &mut Plan) -> Options {
    Options {
        timing: if plan.chance(70) { Timing::FAST } else { Timing::DEFAULT },
        etcd: if plan.chance(75) { EtcdLayout::Spread } else { EtcdLayout::Single },
        failsafe_mode: plan.chance(30),
        ..Options::default()
    }
}

fn words(options: &Options) -> String {
    let Timing { ttl, loop_wait, retry_timeout } = options.timing;
    let members = options.etcd.nodes().len();
    let failsafe = if options.failsafe_mode { "on" } else { "off" };
    format!(
        "{members} etcd members, ttl/loop_wait/retry_timeout {ttl}/{loop_wait}/{retry_timeout}, failsafe mode {failsafe}"
    )
}

fn some_seed() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs())
}

/// Takes every decision of every daemon anew, and compares: its file, and what was wrong.
fn replayed(binary: &Path, stage: &mut Stage) -> Result<Vec<(PathBuf, Option<String>)>> {
    stage.end_daemons();
    let replay = |path: &PathBuf| {
        let output = Command::new(binary).arg("replay").arg(path).output().context("cannot run pgvrrp replay")?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Ok((path.clone(), (!output.status.success()).then_some(said)))
    };
    stage.recordings.iter().map(replay).collect()
}

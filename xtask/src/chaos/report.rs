//! What a run amounts to, in words and figures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use lab::analysis::Distribution;
use lab::{Options, Time};

use super::judge::Case;
use super::plan::Kind;
use super::stage::Deed;
use super::words;

/// So many lines of a kind are enough to look into it.
const SHOWN: usize = 20;

pub(crate) struct Report {
    seed: u64,
    options: Options,
    pub(crate) begun: Time,
    /// How long the VIP took after each healing.
    pub(crate) settled: Vec<Duration>,
}

impl Report {
    pub(crate) fn new(seed: u64, options: &Options, begun: Time) -> Self {
        Self { seed, options: *options, begun, settled: Vec::new() }
    }

    pub(crate) fn text(
        &self,
        case: &Case<'_>,
        deeds: &[Deed],
        present: Option<&BTreeSet<i64>>,
        recordings: &[(PathBuf, Option<String>)],
    ) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text, case, deeds, present, recordings);
        text
    }

    fn write(
        &self,
        text: &mut String,
        case: &Case<'_>,
        deeds: &[Deed],
        present: Option<&BTreeSet<i64>>,
        recordings: &[(PathBuf, Option<String>)],
    ) -> std::fmt::Result {
        let minutes = case.last().since(self.begun).as_secs_f64() / 60.0;
        writeln!(text, "seed {}, {minutes:.1} minutes, {}", self.seed, words(&self.options))?;
        let verdict = case.judge();
        list(text, "broken promises", &verdict.broken)?;
        list(text, "looks like one, and is excused", &verdict.excused)?;
        let wrong =
            recordings.iter().filter_map(|(path, wrong)| Some(format!("{}: {}", path.display(), wrong.as_ref()?)));
        list(text, "recordings that replay otherwise", &wrong.collect::<Vec<_>>())?;
        writeln!(text, "\n{} recordings replayed", recordings.len())?;
        self.write_figures(text, case, present)?;
        writeln!(text, "\nfaults")?;
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        deeds.iter().for_each(|deed| *counts.entry(deed.kind).or_default() += 1);
        for kind in Kind::ALL {
            writeln!(text, "  {:>5}  {kind}", counts.get(&kind).copied().unwrap_or(0))?;
        }
        Ok(())
    }

    fn write_figures(&self, text: &mut String, case: &Case<'_>, present: Option<&BTreeSet<i64>>) -> std::fmt::Result {
        let holdings = case.holdings();
        let held: Duration =
            holdings.iter().map(|h| h.to.unwrap_or_else(|| case.last()).since(h.from.max(self.begun))).sum();
        let share = held.as_secs_f64() / case.last().since(self.begun).as_secs_f64() * 100.0;
        writeln!(text, "the VIP was bound {} times, {share:.1} % of the time", holdings.len())?;
        let attempts = case.analysis.writes().count();
        let values: BTreeSet<i64> = case.acknowledged().filter_map(|(_, attempt)| attempt.value).collect();
        writeln!(text, "{attempts} attempts to write through the VIP, {} acknowledged", values.len())?;
        if let Some(present) = present {
            let lost = values.difference(present).count();
            // Replication is asynchronous: Patroni's trade, not the VIP's.
            writeln!(text, "{lost} of those are gone with a primary whose last writes no replica had")?;
        }
        let lags = case.analysis.moves().iter().filter_map(|moved| Some(moved.lag()?.at_most)).collect::<Vec<_>>();
        if let Some(lags) = Distribution::of(lags) {
            writeln!(text, "from writable with the leader key to bound, faults included, ms: {lags}")?;
        }
        if let Some(settled) = Distribution::of(self.settled.iter().map(Duration::as_secs_f64)) {
            writeln!(text, "from healing to the VIP on a primary, s: {settled}")?;
        }
        Ok(())
    }
}

fn list(text: &mut String, what: &str, lines: &[String]) -> std::fmt::Result {
    writeln!(text, "\n{what}: {}", lines.len())?;
    for line in lines.iter().take(SHOWN) {
        writeln!(text, "  {line}")?;
    }
    if lines.len() > SHOWN {
        writeln!(text, "  and {} more", lines.len() - SHOWN)?;
    }
    Ok(())
}

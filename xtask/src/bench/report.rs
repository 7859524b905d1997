//! What was measured, as tables in Markdown and as JSON.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use lab::analysis::Distribution;
use lab::router::Make;
use serde_json::{Value, json};

use super::failover::{Measured, Run, Takeover, Takeovers};

/// One of the figures of a run, if it has it.
type Figure = fn(&Takeovers) -> Option<f64>;

/// What is told of all runs.
struct Table {
    title: &'static str,
    figure: Figure,
    /// The same by each make's own reckoning, where there is such a thing. Only then is it worth a ratio.
    by_own: Option<Figure>,
}

const TABLES: [Table; 4] = [
    Table {
        title: "Crash (SIGKILL to all processes): from the last advertisement to the address on the Backup, less \
                `Active_Down_Interval`, in ms",
        figure: |both| Some(both.crash.late),
        by_own: Some(|both| Some(both.crash.late_by_own)),
    },
    Table {
        title: "Goodbye (SIGTERM): from the advertisement of priority 0 to the address on the Backup, less `Skew_Time`, \
                in ms",
        figure: |both| Some(both.goodbye.late),
        by_own: Some(|both| Some(both.goodbye.late_by_own)),
    },
    Table {
        title: "Goodbye: for how long nobody had the address, in ms (negative: both had it)",
        figure: |both| both.goodbye.gap,
        by_own: None,
    },
    Table {
        title: "Crash: from the address on the Backup to its first announcement, in ms",
        figure: |both| both.crash.announced,
        by_own: None,
    },
];

/// Why one of them is early.
const FRR_IS_EARLY: &str = "FRR computes `Skew_Time` in whole hundredths of a second and drops the rest, so it waits too \
    short: by up to 10 ms, and with an interval of 10 ms it does not wait for the skew at all. Its second line is late \
    against what it meant to wait.";

pub(super) fn tables(measured: &Measured) -> String {
    let mut text = format!(
        "Priorities 200 and 100, IPv4, one address. Between the end of a system call that binds an address and the \
         recorder's stamp, in us: {}. {} runs do not count, because a processor stood still for more than 2 ms meanwhile \
         and ran nobody, whatever the priority.\n",
        measured.accuracy, measured.disturbed
    );
    for Table { title, figure, by_own } in TABLES {
        let ratio = if by_own.is_some() { [" median / ours |", "---:|"] } else { ["", ""] };
        let _ = write!(
            text,
            "\n{title}:\n\n| interval | make | n | min | median | p90 | max |{}\n|---:|---|---:|---:|---:|---:|---:|{}\n",
            ratio[0], ratio[1]
        );
        for (interval, make) in cells(measured) {
            let of = |make, figure| distribution(measured, interval, make, figure);
            let ours = of(Make::Pgvrrp, figure);
            let Some(by_own) = by_own else {
                text += &row(interval, make.name(), of(make, figure).as_ref(), None);
                continue;
            };
            // What is early compares with nothing.
            if make == Make::Frr {
                text += &row(interval, make.name(), of(make, figure).as_ref(), Some(None));
                text += &row(interval, "frr, by its own skew", of(make, by_own).as_ref(), Some(ours.as_ref()));
            } else {
                text += &row(interval, make.name(), of(make, figure).as_ref(), Some(ours.as_ref()));
            }
        }
    }
    if measured.runs.iter().any(|run| run.make == Make::Frr) {
        let _ = writeln!(text, "\n{FRR_IS_EARLY}");
    }
    let failed: Vec<&Run> = measured.runs.iter().filter(|run| run.result.is_err()).collect();
    if !failed.is_empty() {
        let _ = writeln!(text, "\n{} of {} runs failed:\n", failed.len(), measured.runs.len());
        for (interval, make) in cells(measured) {
            let count = failed.iter().filter(|run| (run.interval, run.make) == (interval, make)).count();
            if count > 0 {
                let _ = writeln!(text, "- {} at {interval:?}: {count}", make.name());
            }
        }
    }
    text
}

/// `ours` is what to compare with, if the table compares at all.
fn row(interval: Duration, name: &str, all: Option<&Distribution>, ours: Option<Option<&Distribution>>) -> String {
    let figures = all.map_or_else(
        || "0 | - | - | - | -".to_owned(),
        |all| {
            let [min, median, p90, max] = [all.min(), all.median(), all.percentile(90.0), all.max()];
            format!("{} | {min:.3} | {median:.3} | {p90:.3} | {max:.3}", all.count())
        },
    );
    let ratio = ours.map(|ours| match all.zip(ours) {
        Some((all, ours)) => format!(" {:.2} |", all.median() / ours.median()),
        None => " - |".to_owned(),
    });
    format!("| {interval:?} | {name} | {figures} |{}\n", ratio.unwrap_or_default())
}

/// Every interval and make that was tried, in the order of the first round.
fn cells(measured: &Measured) -> Vec<(Duration, Make)> {
    let mut cells: Vec<(Duration, Make)> = measured.runs.iter().map(|run| (run.interval, run.make)).collect();
    cells.sort_by_key(|(interval, make)| (std::cmp::Reverse(*interval), *make));
    cells.dedup();
    cells
}

fn distribution(measured: &Measured, interval: Duration, make: Make, figure: Figure) -> Option<Distribution> {
    let runs = measured.runs.iter().filter(|run| (run.interval, run.make) == (interval, make));
    Distribution::of(runs.filter_map(|run| figure(run.result.as_ref().ok()?)))
}

pub(super) fn json(measured: &Measured) -> Result<String> {
    let takeover = |t: &Takeover| json!({"took_ms": t.took, "late_ms": t.late, "late_by_own_ms": t.late_by_own, "announced_after_ms": t.announced, "nobody_ms": t.gap});
    let run = |run: &Run| {
        let mut value = json!({"make": run.make.name(), "interval_ms": run.interval.as_millis() as u64});
        match &run.result {
            Ok(both) => {
                value["crash"] = takeover(&both.crash);
                value["goodbye"] = takeover(&both.goodbye);
            }
            Err(error) => value["error"] = Value::from(format!("{error}")),
        }
        value
    };
    let accuracy = &measured.accuracy;
    let value = json!({
        "accuracy_us": {"median": accuracy.median(), "p90": accuracy.percentile(90.0), "max": accuracy.max()},
        "disturbed": measured.disturbed,
        "priorities": {"active": 200, "backup": 100},
        "runs": measured.runs.iter().map(run).collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&value)?)
}

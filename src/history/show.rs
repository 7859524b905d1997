//! `pgvrrp history`.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Answer, OfVip, Phase, Told};
use crate::observe::control::{self, Ask};
use crate::process::Process;
use crate::words::{harmless, span};

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No daemon answers.
    #[error("{0}")]
    NoDaemon(io::Error),
    /// It answers something else.
    #[error(
        "the daemon ({0}) is of a version that keeps no history; `pgvrrp status` shows its last moves, and \
         `pgvrrp handover` replaces it without moving the VIP"
    )]
    Older(Process),
}

/// The last `most` moves of each VIP, for people or for programs.
///
/// # Errors
/// See [`Failure`].
pub(crate) fn run(runtime_dir: &Path, most: usize, json: bool) -> Result<String, Failure> {
    let (answer, daemon) = control::ask(runtime_dir, &Ask::History).map_err(Failure::NoDaemon)?;
    // One that does not know the question answers with its status, which begins with its name.
    let mut answer: Answer = serde_json::from_str(&answer).map_err(|_| Failure::Older(daemon.process))?;
    for vip in &mut answer.vips {
        vip.moves.drain(..vip.moves.len().saturating_sub(most));
    }
    if json {
        let mut json = serde_json::to_string_pretty(&answer).unwrap_or_default();
        json.push('\n');
        return Ok(json);
    }
    let texts: Vec<_> = answer.vips.iter().map(|vip| text(&answer.node, vip)).collect();
    Ok(texts.join("\n"))
}

fn text(node: &str, vip: &OfVip) -> String {
    let mut out = format!("{} on {node}\n", vip.name);
    if vip.moves.is_empty() {
        out += "  has neither come nor left since the daemon first started after the boot\n";
    }
    let ages: Vec<_> = vip.moves.iter().map(|told| format!("{} ago", span(age(told)))).collect();
    let width = ages.iter().map(String::len).max().unwrap_or_default();
    for (told, age) in vip.moves.iter().zip(&ages) {
        let kind = match told.kind.as_ref() {
            "gained" => "came",
            "lost" => "left",
            other => other,
        };
        // Writing to a String cannot fail.
        let _ = write!(out, "  {}  {age:>width$}  {}  ", harmless(&told.time), harmless(kind));
        let _ = writeln!(out, "{}{}", harmless(&told.reason), phases(&told.phases));
    }
    out
}

fn age(told: &Told) -> Duration {
    Duration::try_from_secs_f64(told.age).unwrap_or_default()
}

fn phases(phases: &[Phase]) -> String {
    let phases: Vec<_> = phases
        .iter()
        .map(|phase| {
            format!("{} {}", harmless(&phase.name), span(Duration::try_from_secs_f64(phase.took).unwrap_or_default()))
        })
        .collect();
    if phases.is_empty() { String::new() } else { format!(" ({})", phases.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_each_and_the_newest_last() {
        let told = |time: &str, age: f64, kind: &'static str, phases: Vec<Phase>| Told {
            time: time.to_owned(),
            age,
            kind: kind.into(),
            reason: "because\n".to_owned(),
            phases,
        };
        let lock = Phase { name: "lock".into(), took: 0.0031 };
        let bind = Phase { name: "bind".into(), took: 0.0005 };
        let vip = OfVip {
            name: "10.0.20.155".to_owned(),
            moves: vec![
                told("2026-11-26T18:02:11.532Z", 723.0, "gained", vec![lock, bind]),
                told("2026-11-26T18:14:12.000Z", 2.0, "lost", Vec::new()),
            ],
        };
        let expected = "10.0.20.155 on db1\n\
            \x20 2026-11-26T18:02:11.532Z  12 min 3 s ago  came  because\u{fffd} (lock 3.1 ms, bind 0.5 ms)\n\
            \x20 2026-11-26T18:14:12.000Z       2.0 s ago  left  because\u{fffd}\n";
        assert_eq!(text("db1", &vip), expected);
    }
}

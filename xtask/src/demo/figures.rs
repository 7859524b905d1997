//! What a move cost, in numbers.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::analysis::Move;
use lab::{Analysis, Node, Time};

/// Everything that is reported of one move.
#[derive(Debug)]
pub(super) struct Figures {
    begun: Time,
    the_move: Move,
    write_gap: Duration,
    sessions: usize,
    /// When each long-lived connection that was told was told.
    told: Vec<Time>,
}

impl Figures {
    /// Of the last move to `target`, which was brought about at `begun`.
    pub(super) fn of(analysis: &Analysis, begun: Time, target: Node, sessions: Range<usize>) -> Result<Self> {
        let the_move = analysis.moves().pop().filter(|m| m.to == target).context("the leader key has not moved")?;
        let (_, write_gap) = analysis.longest_write_gap(begun).context("the client has not written")?;
        let told = analysis.session_ends().filter(|(n, ..)| sessions.contains(n)).map(|(_, at, _)| at).collect();
        Ok(Self { begun, the_move, write_gap, sessions: sessions.len(), told })
    }

    /// Milliseconds from the end of the old PostgreSQL to the last connection that was told.
    fn told_after(&self) -> Option<f64> {
        let down = self.the_move.old_down?;
        // The goodbye comes a little before the server stops answering.
        Some(self.told.iter().max()?.millis_after(down).max(0.0))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "timeline ({} to {}):", self.the_move.from.map_or("nobody", Node::name), self.the_move.to)?;
        write!(f, "{}", self.the_move.timeline(self.begun))
    }
}

/// All moves side by side, with their names. `analysis` is of the whole, finished history.
pub(super) fn table(moves: &[(&str, Figures)], analysis: &Analysis) -> String {
    let mut text = format!("\n{:<46}", "measured");
    for (name, _) in moves {
        text += &format!("{name:>16}");
    }
    let mut row = |title: &str, value: &dyn Fn(usize, &Figures) -> Option<String>| {
        text += &format!("\n{title:<46}");
        for (i, (_, figures)) in moves.iter().enumerate() {
            text += &format!("{:>16}", value(i, figures).unwrap_or_else(|| "-".to_owned()));
        }
    };
    let millis = |value: f64| format!("{value:.1} ms");
    let entitled = |f: &Figures| f.the_move.entitled().map(|e| e.latest);
    // A client that began during a move belongs to it, however late it ended: up to the next move.
    let patient = |i: usize, f: &Figures| {
        analysis.patient(f.begun, moves.get(i + 1).map_or_else(Time::now, |(_, next)| next.begun))
    };
    row("Patroni's part, until the new primary writes", &|_, f| Some(millis(entitled(f)?.millis_after(f.begun))));
    row("VIP lag after that (ours)", &|_, f| f.the_move.lag().map(|l| millis(l.at_most)));
    row("VIP off the old node after PostgreSQL's end", &|_, f| f.the_move.release_lag().map(millis));
    row("client's longest gap between two writes", &|_, f| Some(millis(f.write_gap.as_secs_f64() * 1e3)));
    row("patient client: attempts", &|i, f| Some(patient(i, f).attempts.to_string()));
    row("  failed", &|i, f| Some(patient(i, f).failed().to_string()));
    row("  still repeating their SYN at the end", &|i, f| Some(patient(i, f).waiting.to_string()));
    row("long-lived connections told", &|_, f| Some(format!("{} of {}", f.told.len(), f.sessions)));
    row("  the last one, after PostgreSQL's end", &|_, f| f.told_after().map(millis));
    text + "\n"
}

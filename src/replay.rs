//! `pgvrrp replay`: a recording, read by a person.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use crate::recording::{self, Step, brief_input, brief_output, replay};

/// Why there is no summary.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The recording.
    Recording(recording::Failure),
    /// Standard output.
    Print(io::Error),
}

/// Replays a file, to standard output line by line if `verbose`, and says what came of it.
///
/// # Errors
/// See [`Failure`].
pub(crate) fn run(file: &Path, verbose: bool) -> Result<String, Failure> {
    let opened = File::open(file).map_err(|error| Failure::Recording(error.into()))?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut printed = Ok(());
    let result = replay(BufReader::new(opened), |step| {
        if verbose && printed.is_ok() {
            printed = writeln!(out, "{}", line(&step));
        }
    });
    printed.and_then(|()| out.flush()).map_err(Failure::Print)?;
    let sum = result.map_err(Failure::Recording)?;
    let mut text = format!("{} passes replayed, every output as recorded\n", sum.passes);
    if sum.starts > 1 {
        let _ = writeln!(text, "{} starts of the daemon", sum.starts);
    }
    if sum.torn > 0 {
        let _ = writeln!(text, "{} torn: the daemon was killed while it was written", lines(sum.torn));
    }
    if sum.overrun {
        text += "it ends before the daemon did: the file was written too slowly\n";
    }
    Ok(text)
}

fn lines(count: u64) -> String {
    if count == 1 { "1 line is".to_owned() } else { format!("{count} lines are") }
}

fn line(step: &Step<'_>) -> String {
    match step {
        Step::Start(header) => {
            let me = &header.settings.me;
            let vips: Vec<_> = header.settings.vips.iter().map(|vip| vip.address().to_string()).collect();
            let (version, started) = (&header.version, header.started);
            format!("pgvrrp {version} on {}, VIP {}, starts {started} after boot", me.member, vips.join(", "))
        }
        Step::Pass { since, pass } => {
            let outputs: Vec<_> = pass.outputs.iter().map(brief_output).collect();
            let arrow = if outputs.is_empty() { "" } else { "  ->  " };
            format!("{:>12.6}  {}{arrow}{}", since.as_secs_f64(), brief_input(&pass.input), outputs.join("; "))
        }
    }
}

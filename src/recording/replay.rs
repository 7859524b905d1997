//! Runs a recording through fresh nodes and compares what they answer with what was answered then.

use std::fmt;
use std::io::{self, BufRead};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use vrrp::time::Instant;

use super::{FORMAT, Header, Overrun, Pass, brief};
use crate::node::Node;
use crate::node::io::{Input, Output};

/// One line of a recording, as it is replayed.
#[derive(Debug)]
pub enum Step<'a> {
    /// A daemon started, and a fresh node with it.
    Start(&'a Header),
    /// The node answered as recorded.
    Pass {
        /// Since that daemon's start.
        since: Duration,
        /// What was recorded.
        pass: &'a Pass,
    },
}

/// What was replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Calls of the node.
    pub passes: u64,
    /// Starts of a daemon.
    pub starts: u64,
    /// Lines that were cut off by the end of their daemon.
    pub torn: u64,
    /// The writer of the last daemon fell behind, and the recording ends before it.
    pub overrun: bool,
}

/// Why a recording was not replayed to its end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// There is nothing in it.
    #[error("nothing is recorded in it")]
    Empty,
    /// A line is none of a recording's.
    #[error("line {line} is no line of a recording: {why}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// It is of another format.
    #[error("line {line}: format {format}, written by pgvrrp {version}; this is pgvrrp {} and reads format {FORMAT}: use that one", env!("CARGO_PKG_VERSION"))]
    Format {
        /// The number of the line that says so.
        line: u64,
        /// What it says.
        format: u64,
        /// The version that wrote it.
        version: String,
    },
    /// The node answered otherwise.
    #[error("{0}")]
    Differs(Box<Difference>),
}

/// The first pass in which the node answered otherwise than recorded.
#[derive(Debug)]
pub struct Difference {
    /// The number of its line, from 1.
    pub line: u64,
    /// The version that recorded it.
    pub version: String,
    /// Since the daemon's start.
    pub since: Duration,
    /// What was recorded.
    pub recorded: Pass,
    /// What the node answered now.
    pub replayed: Vec<Output>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, version, since, recorded, replayed } = self;
        let Pass { at, input, outputs } = recorded;
        writeln!(f, "line {line}: recorded by pgvrrp {version} at {at}, {since:.6?} after its start")?;
        writeln!(f, "  input     {}", brief::input(input))?;
        writeln!(f, "            {input:?}")?;
        let both = outputs.len().max(replayed.len());
        for (then, now) in (0..both).map(|index| (outputs.get(index), replayed.get(index))) {
            let text = |output: Option<&Output>| output.map_or_else(|| "nothing".to_owned(), |o| format!("{o:?}"));
            if then == now {
                writeln!(f, "  both      {}", text(then))?;
            } else {
                writeln!(f, "  recorded  {}\n  replayed  {}", text(then), text(now))?;
            }
        }
        Ok(())
    }
}

/// Replays a whole recording. `each` is shown every line that was as recorded.
///
/// # Errors
/// At the first thing that is wrong, see [`Failure`].
pub fn replay(mut recording: impl BufRead, mut each: impl FnMut(Step<'_>)) -> Result<Summary, Failure> {
    let mut sum = Summary::default();
    let mut running: Option<(Header, Node)> = None;
    // A line that was cut off is the last one of its daemon.
    let mut torn: Option<Failure> = None;
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        if recording.read_until(b'\n', &mut text)? == 0 {
            break;
        }
        // Within a string that was cut off, the end of the line would be a mistake of another kind.
        let kind = Kind::of(text.strip_suffix(b"\n").unwrap_or(&text), line);
        if !matches!(kind, Ok(Kind::Start(_)))
            && let Some(failure) = torn.take()
        {
            return Err(failure);
        }
        match kind {
            Ok(Kind::Start(header)) => {
                torn = None;
                sum.starts += 1;
                sum.overrun = false;
                each(Step::Start(&header));
                let node = Node::new(header.settings.clone(), header.started);
                running = Some((*header, node));
            }
            Ok(Kind::Pass(pass)) => {
                let Some((header, node)) = &mut running else {
                    return Err(Failure::Line { line, why: "it does not begin with the start of a daemon".to_owned() });
                };
                let since = pass.at.since(header.started);
                answers_as_recorded(node, &pass).map_err(|replayed| {
                    let version = header.version.clone();
                    Failure::Differs(Box::new(Difference { line, version, since, recorded: (*pass).clone(), replayed }))
                })?;
                sum.passes += 1;
                each(Step::Pass { since, pass: &pass });
            }
            Ok(Kind::Overrun) => sum.overrun = true,
            Err(Unread::Torn(why)) => {
                sum.torn += 1;
                torn = Some(Failure::Line { line, why });
            }
            Err(Unread::Wrong(failure)) => return Err(failure),
        }
    }
    // Nothing but the beginning of a first line is no recording yet.
    match (torn, sum.starts) {
        (Some(failure), 0) => Err(failure),
        (None, 0) => Err(Failure::Empty),
        _ => Ok(sum),
    }
}

fn answers_as_recorded(node: &mut Node, pass: &Pass) -> Result<(), Vec<Output>> {
    let (at, input): (Instant, Input) = (pass.at, pass.input.clone());
    let outputs = node.handle(at, input);
    if outputs == pass.outputs { Ok(()) } else { Err(outputs) }
}

/// What a line is.
enum Kind {
    Start(Box<Header>),
    Pass(Box<Pass>),
    Overrun,
}

/// Why a line could not be read.
enum Unread {
    /// It ends too early.
    Torn(String),
    Wrong(Failure),
}

impl Kind {
    /// The first key decides: a recording has one line of another kind among thousands of passes.
    fn of(text: &[u8], line: u64) -> Result<Self, Unread> {
        if text.starts_with(br#"{"at":"#) {
            parse(text, line).map(Self::Pass)
        } else if text.starts_with(br#"{"format":"#) {
            let known: Format = parse(text, line)?;
            if known.format != u64::from(FORMAT) {
                let Format { format, version } = known;
                return Err(Unread::Wrong(Failure::Format { line, format, version }));
            }
            parse(text, line).map(Self::Start)
        } else if text.starts_with(br#"{"overrun":"#) {
            parse::<Overrun>(text, line).map(|_| Self::Overrun)
        } else {
            parse::<IgnoredAny>(text, line)?;
            Err(Unread::Wrong(Failure::Line {
                line,
                why: "it begins with none of the keys it may begin with".to_owned(),
            }))
        }
    }
}

/// What a first line of any format has.
#[derive(Deserialize)]
struct Format {
    format: u64,
    #[serde(default)]
    version: String,
}

fn parse<T: DeserializeOwned>(text: &[u8], line: u64) -> Result<T, Unread> {
    serde_json::from_slice(text).map_err(|error| {
        let why = error.to_string();
        if error.is_eof() { Unread::Torn(why) } else { Unread::Wrong(Failure::Line { line, why }) }
    })
}

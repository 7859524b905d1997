//! In which form the log is written, where to, and from which level on.

use std::io::{self, IsTerminal};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::sys::stat::fstat;
use pgvrrp_config::{Log, LogFormat, LogLevel};

use super::render::{Form, Text};

/// Where journald takes what is said in its own protocol.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// What the process finds around it.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// `PGVRRP_LOG_LEVEL`.
    level: Option<String>,
    /// `PGVRRP_LOG_FORMAT`.
    format: Option<String>,
    /// `NO_COLOR` is set, to whatever (no-color.org).
    no_color: bool,
    /// Standard error is a terminal.
    terminal: bool,
    /// Standard error is the stream that systemd has connected to the journal: `JOURNAL_STREAM` names it, by device and inode.
    journal_stream: bool,
    /// journald's socket.
    journal: PathBuf,
}

/// What was chosen.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) level: LogLevel,
    pub(super) target: Target,
    /// Something that was asked for could not be had.
    pub(super) warning: Option<String>,
}

/// Where lines go.
#[derive(Debug)]
pub(super) enum Target {
    /// To standard error.
    Stderr(Form),
    /// To journald, by its own protocol; as text to standard error what cannot be sent there.
    Journal {
        /// What it is sent by.
        socket: UnixDatagram,
        /// Where to. Named each time, since a journald that was started anew has another one behind the same name.
        path: PathBuf,
    },
}

impl Surroundings {
    pub(super) fn own() -> Self {
        Self {
            level: variable("PGVRRP_LOG_LEVEL"),
            format: variable("PGVRRP_LOG_FORMAT"),
            no_color: variable("NO_COLOR").is_some_and(|value| !value.is_empty()),
            terminal: io::stderr().is_terminal(),
            journal_stream: variable("JOURNAL_STREAM").is_some_and(|stream| is_stderr(&stream)),
            journal: JOURNAL.into(),
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "what is said about the log before the configuration can be, and by systemd"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether `DEVICE:INODE` is standard error. A process that inherits the variable may have another one.
fn is_stderr(stream: &str) -> bool {
    fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// # Errors
/// What is wrong with a variable.
pub(super) fn choose(log: &Log, around: &Surroundings) -> Result<Choice, String> {
    let level = named("PGVRRP_LOG_LEVEL", around.level.as_deref(), &LogLevel::ALL, LogLevel::as_str)?;
    let format = named("PGVRRP_LOG_FORMAT", around.format.as_deref(), &LogFormat::ALL, LogFormat::as_str)?;
    let level = level.unwrap_or(log.level);
    // The journal notes the time itself.
    let text = Form::Text(Text { time: !around.journal_stream, colour: around.terminal && !around.no_color });
    let (target, warning) = match format.unwrap_or(log.format) {
        LogFormat::Auto if around.journal_stream => journal(&around.journal, text),
        LogFormat::Journald => journal(&around.journal, text),
        LogFormat::Auto | LogFormat::Text => (Target::Stderr(text), None),
        LogFormat::Json => (Target::Stderr(Form::Json), None),
    };
    Ok(Choice { level, target, warning })
}

/// The journal. A log that cannot be had in one form is had in another: it never keeps the VIP from being served.
fn journal(path: &Path, text: Form) -> (Target, Option<String>) {
    let connected = UnixDatagram::unbound().and_then(|socket| {
        // Only to know whether somebody is there.
        UnixDatagram::unbound()?.connect(path)?;
        Ok(socket)
    });
    match connected {
        Ok(socket) => (Target::Journal { socket, path: path.to_owned() }, None),
        Err(error) => {
            let warning = format!("{}: {error}; logging as text to standard error", path.display());
            (Target::Stderr(text), Some(warning))
        }
    }
}

fn named<T: Copy>(
    name: &str,
    value: Option<&str>,
    all: &[T],
    word: fn(T) -> &'static str,
) -> Result<Option<T>, String> {
    let Some(value) = value else { return Ok(None) };
    let found = all.iter().copied().find(|one| word(*one) == value);
    let words: Vec<_> = all.iter().map(|one| word(*one)).collect();
    let wrong = || format!("{name} is {value:?}: set it to one of {}, or not at all", words.join(", "));
    found.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Log = Log { level: LogLevel::Info, format: LogFormat::Auto };

    fn target(log: &Log, around: &Surroundings) -> Target {
        choose(log, around).unwrap().target
    }

    #[test]
    fn colours_are_for_terminals_whose_owner_wants_them() {
        let mut around = Surroundings { terminal: true, ..Surroundings::default() };
        let is = |target: &Target, time, colour| matches!(target, Target::Stderr(Form::Text(text)) if *text == Text { time, colour });
        assert!(is(&target(&LOG, &around), true, true));
        around.no_color = true;
        assert!(is(&target(&LOG, &around), true, false));
        assert!(is(&target(&LOG, &Surroundings::default()), true, false));
    }

    #[test]
    fn the_journal_is_spoken_to_where_standard_error_is_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("socket");
        let _listening = UnixDatagram::bind(&journal).unwrap();
        let mut around = Surroundings { journal, ..Surroundings::default() };
        assert!(matches!(target(&LOG, &around), Target::Stderr(_)));
        assert!(matches!(target(&Log { format: LogFormat::Journald, ..LOG }, &around), Target::Journal { .. }));
        around.journal_stream = true;
        assert!(matches!(target(&LOG, &around), Target::Journal { .. }));
        assert!(matches!(target(&Log { format: LogFormat::Json, ..LOG }, &around), Target::Stderr(Form::Json)));
    }

    #[test]
    fn without_journald_there_is_text_and_a_word_about_it() {
        let around =
            Surroundings { journal_stream: true, journal: "/nonexistent/socket".into(), ..Surroundings::default() };
        let choice = choose(&LOG, &around).unwrap();
        let text = Text { time: false, colour: false };
        assert!(matches!(choice.target, Target::Stderr(Form::Text(form)) if form == text), "{:?}", choice.target);
        assert!(choice.warning.unwrap().contains("/nonexistent/socket"));
    }

    #[test]
    fn the_environment_goes_first_and_is_read_strictly() {
        let mut around =
            Surroundings { level: Some("debug".into()), format: Some("json".into()), ..Surroundings::default() };
        let choice = choose(&LOG, &around).unwrap();
        assert_eq!(choice.level, LogLevel::Debug);
        assert!(matches!(choice.target, Target::Stderr(Form::Json)));
        around.level = Some("inof".into());
        let wrong = choose(&LOG, &around).unwrap_err();
        assert_eq!(
            wrong,
            "PGVRRP_LOG_LEVEL is \"inof\": set it to one of error, warn, info, debug, trace, or not at all"
        );
    }

    #[test]
    fn a_stream_is_known_by_its_device_and_inode() {
        let stat = fstat(io::stderr()).unwrap();
        assert!(is_stderr(&format!("{}:{}", stat.st_dev, stat.st_ino)));
        assert!(!is_stderr(&format!("{}:{}", stat.st_dev, stat.st_ino + 1)));
        assert!(!is_stderr(""));
    }
}

//! `pgvrrp watch`: the status as it changes. On a terminal it is drawn again and again in the same place; otherwise each
//! change is a line. It goes on while the daemon is away, and ends with a signal, or when nobody reads any more.

mod changes;
mod screen;

use std::io::{self, IsTerminal, Write, stdout};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::observe::control::{self, Ask};
use changes::Changes;

/// Pause between two looks that are drawn.
const REDRAW: Duration = Duration::from_secs(1);

/// Pause between two looks for changes.
const LOOK: Duration = Duration::from_millis(250);

/// Watches. `help` says what may be the matter with a daemon that does not answer.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn run(runtime_dir: &Path, colour: bool, help: impl Fn(&io::Error) -> String) -> io::Result<()> {
    let watched = if stdout().is_terminal() { draw(runtime_dir, colour, help) } else { tell(runtime_dir, help) };
    match watched {
        // Whoever closes it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn draw(runtime_dir: &Path, colour: bool, help: impl Fn(&io::Error) -> String) -> io::Result<()> {
    let ask = if colour { Ask::Colour } else { Ask::Text };
    loop {
        let text = match control::ask(runtime_dir, &ask) {
            Ok((text, _)) => text,
            Err(error) => format!("{}\n", help(&error)),
        };
        write(&screen::frame(&text, crate::terminal::size()))?;
        pause(REDRAW)?;
    }
}

fn tell(runtime_dir: &Path, help: impl Fn(&io::Error) -> String) -> io::Result<()> {
    let mut changes = Changes::default();
    loop {
        let lines = match control::ask(runtime_dir, &Ask::Json) {
            Ok((picture, daemon)) => changes.seen(&serde_json::from_str(&picture).unwrap_or_default(), daemon),
            Err(error) => changes.gone(&help(&error)),
        };
        let time = crate::words::exact_time(crate::clock::time_of_day());
        let text: String = lines.iter().map(|line| format!("{time} {line}\n")).collect();
        if !text.is_empty() {
            write(&text)?;
        }
        pause(LOOK)?;
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Waits for a while, and no longer than somebody reads.
fn pause(span: Duration) -> io::Result<()> {
    let out = stdout();
    // Nothing is asked for but what is told unasked: that the other end is closed.
    let mut watched = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let span = PollTimeout::try_from(span).map_err(io::Error::other)?;
    match poll(&mut watched, span) {
        Ok(0) | Err(nix::Error::EINTR) => Ok(()),
        Ok(_) => Err(io::ErrorKind::BrokenPipe.into()),
        Err(error) => Err(error.into()),
    }
}

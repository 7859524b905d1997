//! Logs. A line goes into a bounded queue, and a thread of its own writes it: whoever reads our standard error slowly
//! delays nothing but lines, and what does not fit is dropped and counted.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::node::io::{Level, Notice};
use crate::words::harmless;

/// Lines that may wait.
const QUEUE: usize = 1024;

/// Lines dropped since the start.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines dropped since the start, because nobody took them.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Starts logging to standard error, at `level` (`error`, `warn`, `info`, `debug`, `trace`). Under systemd lines have no
/// time stamp, since journald has its own.
///
/// # Errors
/// If no thread can be started.
pub fn start(level: &str) -> io::Result<()> {
    let (lines, queue) = sync_channel(QUEUE);
    thread::Builder::new().name("pgvrrp-log".to_owned()).spawn(move || write(&queue))?;
    let filter = EnvFilter::new(format!("warn,pgvrrp={level}"));
    let terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Queue(lines)).with_target(false);
    // A second start in one process keeps the first.
    let _ = if is_under_journald() {
        builder.with_ansi(false).without_time().try_init()
    } else {
        builder.with_ansi(terminal).try_init()
    };
    Ok(())
}

/// One line for what the node had to tell.
pub fn tell(notice: &Notice, vip: Option<&str>) {
    let vip = vip.unwrap_or("-");
    let text = harmless(&notice.text);
    match notice.level {
        Level::Info => info!(vip, "{text}"),
        Level::Warning => warn!(vip, "{text}"),
        Level::Alarm => error!(vip, "{text}"),
    }
}

#[allow(clippy::disallowed_methods, reason = "systemd hands this over by the environment, and by nothing else")]
fn is_under_journald() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok()
}

fn write(queue: &Receiver<Vec<u8>>) {
    let mut told = 0;
    while let Ok(line) = queue.recv() {
        let mut stderr = io::stderr().lock();
        let lost = dropped();
        if lost > told {
            let _ =
                writeln!(stderr, "pgvrrp: {} log lines were dropped, since they were not taken in time", lost - told);
            told = lost;
        }
        // Nobody can be told that standard error is gone.
        let _ = stderr.write_all(&line);
    }
}

#[derive(Clone, Debug)]
struct Queue(SyncSender<Vec<u8>>);

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, text: Vec::new() }
    }
}

/// One line in the making; queued when it is complete.
#[derive(Debug)]
struct Line<'a> {
    queue: &'a Queue,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if let Err(TrySendError::Full(_)) = self.queue.0.try_send(std::mem::take(&mut self.text)) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

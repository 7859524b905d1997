//! The bounded queue of lines, and the thread that empties it. Whoever says something never waits here.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::sleep;
use std::time::Duration;

use tracing::Level;

use super::choice::Target;
use super::entry::Entry;
use super::limit::Limits;
use super::render::{self, Form, Text};
use crate::clock;

/// Lines that may wait.
const QUEUE: usize = 1024;

/// How long the end of the process may wait for the last lines.
const FINISH: Duration = Duration::from_millis(200);

/// How long the thread waits for a line before it looks at what else is due.
const LOOK: Duration = Duration::from_secs(60);

/// Lines dropped since the start.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines that are in the queue, or being written.
static WAITING: AtomicU64 = AtomicU64::new(0);

/// Lines dropped since the start, because nobody took them.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Waits until what was said is written, for 200 ms at most. For the end of the process.
pub fn finish() {
    let until = clock::now() + FINISH;
    while WAITING.load(Ordering::Acquire) > 0 && clock::now() < until {
        sleep(Duration::from_millis(1));
    }
}

/// The way in.
#[derive(Clone, Debug)]
pub(super) struct Entries(SyncSender<Entry>);

impl Entries {
    /// Queues a line, or drops and counts it.
    pub(super) fn put(&self, entry: Entry) {
        WAITING.fetch_add(1, Ordering::AcqRel);
        if self.0.try_send(entry).is_err() {
            WAITING.fetch_sub(1, Ordering::AcqRel);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Both ends.
pub(super) fn make() -> (Entries, Receiver<Entry>) {
    let (entries, waiting) = sync_channel(QUEUE);
    (Entries(entries), waiting)
}

/// Writes until nobody says anything any more.
pub(super) fn write(waiting: &Receiver<Entry>, mut target: Target) {
    let (mut limits, mut told) = (Limits::default(), 0);
    loop {
        let due = limits.due().map_or(LOOK, |due| due.since(clock::now()));
        let next = waiting.recv_timeout(due);
        let now = clock::now();
        limits.close(now).iter().for_each(|line| target.write(line));
        match next {
            Ok(entry) => {
                let lost = dropped();
                if lost > told {
                    let text = format!("{} log lines were dropped, since they were not taken in time", lost - told);
                    target.write(&Entry::new(Level::WARN, text));
                    told = lost;
                }
                if limits.admit(now, &entry) {
                    target.write(&entry);
                }
                WAITING.fetch_sub(1, Ordering::AcqRel);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Target {
    fn write(&mut self, entry: &Entry) {
        let line = match self {
            Self::Stderr(form) => form.line(entry),
            Self::Journal { socket, path } => {
                if socket.send_to(&render::datagram(entry), &*path).is_ok() {
                    return;
                }
                Form::Text(Text { time: true, colour: false }).line(entry)
            }
        };
        // Nobody can be told that standard error is gone.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
}

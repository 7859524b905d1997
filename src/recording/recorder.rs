//! Writes the recording, without ever making the protocol thread wait: it hands copies over, a thread of its own turns
//! them into text. What that thread cannot keep up with ends the recording, and nothing else.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, channel, sync_channel};
use std::thread::{self, Thread};
use std::time::Duration;

use serde::Serialize;
use tracing::{error, warn};
use vrrp::time::Instant;

use super::{Header, Overrun, Pass};
use crate::node::io::Input;
use crate::node::{Node, Settings};

/// How often the file is written; what a SIGKILL may cost.
const WRITE: Duration = Duration::from_millis(20);

/// Passes that may wait for the writer: many seconds of them while PostgreSQL is asked every 2 ms.
const WAITING: usize = 8192;

/// The end of the daemon waits this long for the last lines. After that, a disk that hangs has to do without them.
const FINISH: Duration = Duration::from_millis(300);

/// A recording that is being made. Complete in the file when dropped.
#[derive(Debug)]
pub struct Recorder {
    lines: Option<SyncSender<Line>>,
    overrun: Arc<AtomicBool>,
    writer: Thread,
    finished: Receiver<()>,
}

/// Boxed: the room for those that wait is there from the start.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Line {
    Start(Box<Header>),
    Pass(Box<Pass>),
}

impl Recorder {
    /// Opens the file, with mode 0600, and goes on at its end if there was one.
    ///
    /// # Errors
    /// When it cannot be created or written, is no regular file, or when there is no thread to be had.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::start(open(path)?, WAITING)
    }

    pub(super) fn start(file: File, waiting: usize) -> io::Result<Self> {
        let (lines, to_write) = sync_channel(waiting);
        let (done, finished) = channel();
        let overrun = Arc::new(AtomicBool::new(false));
        let overran = Arc::clone(&overrun);
        let writer = thread::Builder::new().name("pgvrrp-record".to_owned()).spawn(move || {
            if let Err(error) = write(file, &to_write, &overran) {
                error!(%error, "the recording ends here: its file cannot be written");
            }
            let _ = done.send(());
        })?;
        Ok(Self { lines: Some(lines), overrun, writer: writer.thread().clone(), finished })
    }

    /// A node is made with these settings at this moment.
    pub fn begin(&mut self, settings: &Settings, started: Instant) {
        self.hand_over(|| Line::Start(Box::new(Header::new(settings.clone(), started))));
    }

    /// [`Node::handle`], recorded.
    pub fn handle(&mut self, node: &mut Node, now: Instant, input: Input) -> Vec<crate::node::io::Output> {
        let copy = self.lines.is_some().then(|| input.clone());
        let outputs = node.handle(now, input);
        if let Some(input) = copy {
            self.hand_over(|| Line::Pass(Box::new(Pass { at: now, input, outputs: outputs.clone() })));
        }
        outputs
    }

    /// The writer is not woken by this, which would be a system call: it looks by itself.
    fn hand_over(&mut self, line: impl FnOnce() -> Line) {
        let Some(lines) = &self.lines else { return };
        match lines.try_send(line()) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => {
                self.overrun.store(true, Ordering::Relaxed);
                warn!("the recording ends here: its file is written too slowly");
            }
            // The writer has said why.
            Err(TrySendError::Disconnected(_)) => {}
        }
        self.lines = None;
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.lines = None;
        self.writer.unpark();
        if self.finished.recv_timeout(FINISH) == Err(RecvTimeoutError::Timeout) {
            warn!("the end of the recording could not be written in time");
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    if path.metadata().is_ok_and(|known| !known.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    // A daemon that was killed may have left half a line.
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// Until there is nobody left to hand anything over.
fn write(mut file: File, lines: &Receiver<Line>, overrun: &AtomicBool) -> io::Result<()> {
    let mut text = Vec::new();
    loop {
        let ended = loop {
            match lines.try_recv() {
                Ok(line) => append(&mut text, &line)?,
                Err(TryRecvError::Empty) => break false,
                Err(TryRecvError::Disconnected) => break true,
            }
        };
        if ended && overrun.load(Ordering::Relaxed) {
            append(&mut text, &Overrun { overrun: true })?;
        }
        // One call, and no buffer besides the kernel's: what was written outlives the process.
        file.write_all(&text)?;
        text.clear();
        if ended {
            return Ok(());
        }
        thread::park_timeout(WRITE);
    }
}

fn append(text: &mut Vec<u8>, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

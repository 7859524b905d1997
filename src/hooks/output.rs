//! What a hook says on standard output and standard error: to the log, a line each, and so much of it and no more.

use std::io;

use tokio::net::unix::pipe::Receiver;
use tracing::info;

/// Lines of one run that are logged, and bytes of it that are looked at.
const LINES: usize = 20;
const BYTES: usize = 4096;

/// Read at a time.
const PIECE: usize = 4096;
const PIECES: usize = 16;

/// The reading end of its pipe, and what came out of it.
#[derive(Debug)]
pub(super) struct Output {
    pipe: Receiver,
    said: Vec<u8>,
    /// Bytes beyond what is looked at.
    more: u64,
    /// It has closed its end, or that cannot be read any more.
    pub(super) is_over: bool,
}

impl Output {
    pub(super) fn new(pipe: Receiver) -> Self {
        Self { pipe, said: Vec::new(), more: 0, is_over: false }
    }

    /// Waits until there is something, and takes it: who writes never waits for long, however much it is.
    pub(super) async fn take(&mut self) {
        if self.pipe.readable().await.is_err() {
            self.is_over = true;
        }
        self.take_what_is_there();
    }

    /// Takes what has arrived: as much as a pipe holds, since whoever goes on writing would be listened to for ever.
    pub(super) fn take_what_is_there(&mut self) {
        let mut piece = [0; PIECE];
        for _ in 0..PIECES {
            match self.pipe.try_read(&mut piece) {
                Ok(0) => return self.is_over = true,
                Ok(length) => {
                    let kept = length.min(BYTES.saturating_sub(self.said.len()));
                    self.said.extend(piece.iter().take(kept));
                    self.more += (length - kept) as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.is_over = true,
            }
        }
    }

    /// Logs it.
    pub(super) fn tell(&self, vip: &str, hook: &str) {
        let text = String::from_utf8_lossy(&self.said);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        for line in lines.iter().take(LINES) {
            info!(vip, hook, "hook says: {line}");
        }
        if lines.len() > LINES || self.more > 0 {
            let (left, bytes) = (lines.len().saturating_sub(LINES), self.more);
            info!(vip, hook, "hook says more: {left} lines and {bytes} bytes are not logged");
        }
    }
}

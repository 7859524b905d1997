//! Eyes on a segment: advertisements by the kernel's own clock, and which router has which address.
//!
//! All moments are on one clock. A frame's is that of its arrival at the bridge's port, by the kernel; it is converted
//! from `CLOCK_REALTIME`, which costs less than a microsecond. The kernel does not stamp what it says of addresses and
//! links: that moment is when the recorder's thread has woken up, at a real-time priority, so it is late by a scheduling
//! latency, never early. `tests/segment.rs` of the lab measures by how much: see [`Recorder`].

mod advert;
mod calibration;
mod kernel;
mod record;
mod stalls;
mod wire;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::gettid;

use crate::clock::Time;
use crate::process;
use crate::segment::Segment;
use kernel::Kernel;
use wire::Wire;

pub use advert::{Advert, Form};
pub use calibration::bind_for_calibration;
pub use record::{Event, Holding, Record, What};

/// A running recorder. It ends when this is dropped.
///
/// On a machine with two processors of 2026 its stamp of an address is within 35 us of the end of the system call that
/// binds it in nine cases of ten, which is the accuracy of its difference to the stamp of a frame too.
#[derive(Debug)]
pub struct Recorder {
    known: Mutex<Known>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What has been seen, and where more of it comes from. The thread that sees never waits for one that asks.
#[derive(Debug)]
struct Known {
    record: Record,
    more: Receiver<Event>,
}

impl Recorder {
    /// Starts to watch every router of a segment. What is there at the start is recorded as if it came then.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn start(segment: &Segment) -> Result<Self> {
        let (events, more) = mpsc::channel();
        let wire = Wire::open(segment)?;
        let places = 0..segment.places();
        let kernels = places.map(|place| Kernel::watch(segment, place, &events)).collect::<Result<Vec<_>>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let (ready, is_ready) = mpsc::sync_channel(1);
        let mut threads = stalls::watch(&events, &stop)?;
        let work = move || {
            process::favour_above_all(gettid().as_raw().unsigned_abs());
            // Whoever starts this waits for it.
            let _ = ready.send(());
            watch(wire, kernels, &events, &ended);
        };
        threads.push(thread::Builder::new().name("recorder".to_owned()).spawn(work)?);
        is_ready.recv()?;
        Ok(Self { known: Mutex::new(Known { record: Record::default(), more }), stop, threads })
    }

    /// Asks what was seen so far, in the order of time.
    pub fn ask<T>(&self, question: impl FnOnce(&Record) -> T) -> T {
        question(&self.up_to_date().record)
    }

    /// Asks again and again until there is an answer.
    ///
    /// # Errors
    /// When there is none within `limit`.
    pub fn wait<T>(&self, what: &str, limit: Duration, question: impl Fn(&Record) -> Option<T>) -> Result<T> {
        let start = Time::now();
        loop {
            if let Some(answer) = self.ask(&question) {
                return Ok(answer);
            }
            if start.elapsed() > limit {
                bail!("waited {limit:?} in vain for {what}");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Forgets all that is of the past, but not who has which address.
    pub fn forget(&self) {
        self.up_to_date().record.forget();
    }

    fn up_to_date(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { record, more } = &mut *known;
        record.extend(more.try_iter());
        known
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

/// One thread for all: it sees the order in which things happened.
fn watch(mut wire: Wire, mut kernels: Vec<Kernel>, events: &Sender<Event>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut fds: Vec<PollFd<'_>> =
            kernels.iter().map(|kernel| PollFd::new(kernel.as_fd(), PollFlags::POLLIN)).collect();
        fds.push(PollFd::new(wire.as_fd(), PollFlags::POLLIN));
        // An interrupted or timed-out wait only means one round for nothing.
        let _ = poll(&mut fds, 100_u8);
        // What is to be read now was there before this moment.
        let now = Time::now();
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        for (kernel, _) in kernels.iter_mut().zip(&ready).filter(|(_, ready)| **ready) {
            kernel.drain(now, events);
        }
        wire.drain(events);
    }
}

/// Whether the machine can do this at all, for a message before anything is started.
///
/// # Errors
/// When it has no real-time scheduling for us: moments would be late by milliseconds.
pub fn require_real_time() -> Result<()> {
    let mut chrt = std::process::Command::new("chrt");
    let status = chrt.args(["--fifo", "1", "true"]).status().context("cannot run chrt (util-linux)")?;
    if !status.success() {
        bail!("this machine does not let a real-time priority be had");
    }
    Ok(())
}

//! A machine that stands still: nothing that is measured on it in that moment is anybody's fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, gettid};

use super::record::{Event, What, send};
use crate::clock::Time;
use crate::process;

/// How often each processor is looked at.
const EVERY: Duration = Duration::from_millis(2);

/// What is told.
const NOTABLE: Duration = Duration::from_millis(2);

/// One thread on each processor that this program may use, at a real-time priority: if it is not let run, no daemon is.
pub(super) fn watch(events: &Sender<Event>, stop: &Arc<AtomicBool>) -> Result<Vec<JoinHandle<()>>> {
    let allowed = nix::sched::sched_getaffinity(Pid::from_raw(0))?;
    let processors = (0..CpuSet::count()).filter(|number| allowed.is_set(*number).unwrap_or(false));
    processors
        .map(|number| {
            let (events, stop) = (events.clone(), Arc::clone(stop));
            let (ready, is_ready) = mpsc::sync_channel(1);
            let work = move || {
                let mut own = CpuSet::new();
                // Where that is refused it watches whichever processor it runs on.
                let _ = own.set(number).and_then(|()| sched_setaffinity(Pid::from_raw(0), &own));
                process::favour_above_all(gettid().as_raw().unsigned_abs());
                let _ = ready.send(());
                while !stop.load(Ordering::Relaxed) {
                    look(number, &events);
                }
            };
            let thread = thread::Builder::new().name(format!("stalls-{number}")).spawn(work)?;
            is_ready.recv()?;
            Ok(thread)
        })
        .collect()
}

fn look(processor: usize, events: &Sender<Event>) {
    let due = Time::now().plus(EVERY);
    thread::sleep(EVERY);
    let now = Time::now();
    let length = now.since(due);
    if length > NOTABLE {
        send(events, now, processor, What::Stall { length });
    }
}

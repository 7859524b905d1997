//! Adopts and reaps the processes that Patroni leaves behind.
//!
//! Patroni starts PostgreSQL so that it outlives Patroni: its parent is then the machine's init. Not every init reaps
//! (that of a container often does not), and Patroni takes a zombie for a running server. So this program makes itself
//! the nearest "subreaper" of its descendants and does that work.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getsid};

use crate::process::stat_fields;

/// Children with an owner in this program, who wants to read their exit status.
static OWNED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// To be held while a child is started and noted, so that it cannot be taken for an orphan in between.
pub(crate) fn owned() -> MutexGuard<'static, BTreeSet<u32>> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on, orphaned descendants become children of this program and are reaped within some 20 ms of their end.
pub(crate) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // Cannot fail with a valid argument; without it, init adopts them as usual.
        let _ = nix::sys::prctl::set_child_subreaper(true);
        thread::spawn(|| {
            loop {
                reap_orphans();
                thread::sleep(Duration::from_millis(20));
            }
        });
    });
}

fn reap_orphans() {
    let Ok(session) = getsid(None) else { return };
    let owned = owned();
    for pid in children() {
        let Some(stat) = stat_fields(pid) else { continue };
        // A child of this program's own session is a short command whose caller waits for it: all others were made by
        // `Process`, with a session of their own, or descend from such a one.
        let is_orphan = stat.session != session.as_raw() && !owned.contains(&pid);
        if is_orphan && stat.state == 'Z' {
            let _ = waitpid(Pid::from_raw(pid as i32), None);
        }
    }
}

/// The kernel lists children by the thread that they belong to; orphans go to any.
fn children() -> Vec<u32> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists = threads.filter_map(|t| fs::read_to_string(t.ok()?.path().join("children")).ok());
    lists.flat_map(|l| l.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<_>>()).collect()
}

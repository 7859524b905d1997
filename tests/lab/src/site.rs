//! What a lab leaves on the machine while it runs, and the ways it is cleaned up.
//!
//! Everything carries one label, `pgvrrplab-<pid>-<n>`: the namespaces and the directory in /tmp. It goes away
//! - when the lab is dropped, also by a panic;
//! - when the program ends in any other way, SIGKILL included: a guardian process, waiting for the end of a pipe whose
//!   other end only this program has, removes it;
//! - when the next lab starts, if even the guardian was killed.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::clock::Time;
use crate::netns::{NETNS_DIR, Namespace, ip};
use crate::process::{self, Account};
use crate::reaper;

pub(crate) const PREFIX: &str = "pgvrrplab-";

/// Short, since the path of a Unix socket has at most 107 bytes. Not `$TMPDIR`, for the same reason.
const PARENT_DIR: &str = "/tmp";

/// The sites of this program that still exist.
static SITES: Mutex<Vec<Weak<Site>>> = Mutex::new(Vec::new());

/// One lab's label, directory and guardian.
#[derive(Debug)]
pub(crate) struct Site {
    label: String,
    guardian: Mutex<Option<Child>>,
}

impl Site {
    /// Sweeps what dead programs left, and takes a label that no other lab has.
    pub(crate) fn new() -> Result<Arc<Self>> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        sweep();
        reaper::start();
        let label = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let guardian = Mutex::new(Some(start_guardian(&label)?));
        let site = Arc::new(Self { label, guardian });
        fs::DirBuilder::new()
            .mode(0o755)
            .create(site.dir())
            .with_context(|| format!("cannot make {:?}", site.dir()))?;
        lock(&SITES).push(Arc::downgrade(&site));
        Ok(site)
    }

    pub(crate) fn dir(&self) -> PathBuf {
        Path::new(PARENT_DIR).join(&self.label)
    }

    /// Makes a directory below the lab's own, with parents.
    pub(crate) fn make_dir(&self, name: &str, owner: Option<Account>) -> Result<PathBuf> {
        let path = self.dir().join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {path:?}"))?;
        if let Some(owner) = owner {
            chown(&path, Some(owner.uid), Some(owner.gid)).with_context(|| format!("cannot chown {path:?}"))?;
        }
        Ok(path)
    }

    pub(crate) fn make_namespace(&self, suffix: &str) -> Result<Namespace> {
        Namespace::create(&format!("{}-{suffix}", self.label))
    }

    /// Kills every process in the namespaces and removes these and the directory. Does nothing the second time.
    pub(crate) fn clean_up(&self) {
        remove(&self.label);
        if let Some(mut guardian) = lock(&self.guardian).take() {
            let _ = guardian.kill();
            let _ = guardian.wait();
            reaper::owned().remove(&guardian.id());
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.clean_up();
    }
}

/// Removes every lab of this program at once. For a Ctrl-C handler, to be followed by the program's exit: a thread in
/// the middle of using a lab sees errors. What such a thread still makes is the guardians' to remove.
pub fn clean_up_all() {
    let sites: Vec<_> = lock(&SITES).drain(..).filter_map(|s| s.upgrade()).collect();
    for site in &sites {
        remove(&site.label);
    }
    // Dropping the last reference here would end a guardian: it must outlive this program.
    sites.into_iter().for_each(std::mem::forget);
}

/// Removes what labs of dead programs have left. Starting a lab does it as well.
pub fn sweep() {
    for label in labels_present() {
        let owner = label.strip_prefix(PREFIX).and_then(|l| l.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid: u32| !process::is_alive(pid)) {
            remove(&label);
        }
    }
}

fn labels_present() -> Vec<String> {
    let mut labels: Vec<String> = [NETNS_DIR, PARENT_DIR].into_iter().flat_map(|d| entries(d, PREFIX)).collect();
    for label in &mut labels {
        // pgvrrplab-<pid>-<n>-<node>: the label is what comes before the third hyphen.
        if let Some((end, _)) = label.match_indices('-').nth(2) {
            label.truncate(end);
        }
    }
    labels.sort();
    labels.dedup();
    labels
}

fn entries(dir: &str, prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let name = |e: io::Result<fs::DirEntry>| e.ok()?.file_name().into_string().ok();
    entries.filter_map(name).filter(|n| n.starts_with(prefix)).collect()
}

fn remove(label: &str) {
    for name in entries(NETNS_DIR, &format!("{label}-")) {
        if let Ok(namespace) = Namespace::open(&name) {
            kill_everything_in(&namespace);
        }
        // What fails here is left for the next sweep.
        let _ = ip(&["netns", "del", &name]);
    }
    let _ = fs::remove_dir_all(Path::new(PARENT_DIR).join(label));
}

/// Again and again, since a process may fork between the listing and the kill.
fn kill_everything_in(namespace: &Namespace) {
    let start = Time::now();
    while start.elapsed() < Duration::from_secs(5) {
        let pids: Vec<u32> =
            namespace.pids().unwrap_or_default().into_iter().filter(|&p| process::is_alive(p)).collect();
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            let _ = process::signal_pid(pid, Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A shell that sleeps in a read until this program is gone, then removes the site.
fn start_guardian(label: &str) -> Result<Child> {
    const SCRIPT: &str = r#"
        trap '' HUP INT TERM
        read -r _
        for path in "$2/$1"-*; do
            [ -e "$path" ] || continue
            namespace=${path##*/}
            for round in 1 2 3 4 5 6 7 8 9 10; do
                pids=$(ip netns pids "$namespace")
                [ -n "$pids" ] || break
                kill -9 $pids
                sleep 0.05
            done
            ip netns del "$namespace"
        done
        rm -rf "$3/$1"
    "#;
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "guardian", label, NETNS_DIR, PARENT_DIR]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    process::before_exec(&mut command, || {
        nix::unistd::setsid()?;
        Ok(())
    });
    let mut owned = reaper::owned();
    let child = command.spawn().context("cannot start sh")?;
    owned.insert(child.id());
    Ok(child)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What came of hooks, for those who look at the daemon.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vrrp::time::Instant;

use super::child::Outcome;
use crate::clock;
use crate::node::status::{HookRun, HooksStatus, RunningHook, Status};

/// Of the VIPs that had hooks run, by name. A clone is the same board.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, Entry>>>);

#[derive(Debug, Default)]
struct Entry {
    status: HooksStatus,
    /// When the one that is running was started.
    started: Option<Instant>,
    /// When the last one ended.
    ended: Option<Instant>,
}

impl Board {
    /// Puts what is known into a picture.
    pub(crate) fn fill(&self, status: &mut Status) {
        let now = clock::now();
        let entries = self.entries();
        for vip in &mut status.vips {
            vip.hooks = entries.get(&vip.name).map(|entry| entry.seen(now));
        }
    }

    pub(super) fn queued(&self, vip: &str, queued: u64) {
        self.with(vip, |entry| entry.status.queued = queued);
    }

    pub(super) fn superseded(&self, vip: &str, count: u64) {
        self.with(vip, |entry| entry.status.superseded += count);
    }

    pub(super) fn started(&self, vip: &str, hook: &'static str) {
        self.with(vip, |entry| {
            entry.started = Some(clock::now());
            entry.status.running = Some(RunningHook { hook, age: Duration::ZERO });
        });
    }

    pub(super) fn ended(&self, vip: &str, hook: &'static str, state: &'static str, command: String, outcome: &Outcome) {
        let result = outcome.result.as_str();
        self.with(vip, |entry| {
            (entry.started, entry.status.running, entry.ended) = (None, None, Some(clock::now()));
            *entry.status.runs.entry((hook, result)).or_default() += 1;
            entry.status.took.record(outcome.took);
            let (exit_code, took) = (outcome.exit_code, outcome.took);
            let last = HookRun { hook, state, command, result, exit_code, took, age: Duration::ZERO };
            entry.status.last = Some(last);
        });
    }

    fn with(&self, vip: &str, change: impl FnOnce(&mut Entry)) {
        change(self.entries().entry(vip.to_owned()).or_default());
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn seen(&self, now: Instant) -> HooksStatus {
        let mut status = self.status.clone();
        if let (Some(running), Some(started)) = (&mut status.running, self.started) {
            running.age = now.since(started);
        }
        if let (Some(last), Some(ended)) = (&mut status.last, self.ended) {
            last.age = now.since(ended);
        }
        status
    }
}

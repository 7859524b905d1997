//! Hooks: whoever runs them fills this in.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::Histogram;
use super::seconds::seconds;

/// The hooks of a VIP.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HooksStatus {
    /// The one that is running.
    pub running: Option<RunningHook>,
    /// Transitions that wait for it: 0 or 1.
    pub queued: u64,
    /// Transitions without a hook, since others had followed them already.
    pub superseded: u64,
    /// The last one that has ended.
    pub last: Option<HookRun>,
    /// How many runs there were, by hook and result.
    #[serde(skip)]
    pub runs: BTreeMap<(&'static str, &'static str), u64>,
    /// How long they took.
    #[serde(skip)]
    pub took: Histogram,
}

/// A hook that is running.
#[derive(Clone, Debug, Serialize)]
pub struct RunningHook {
    /// `on_active`, `on_backup`, `on_fault`, `on_stop` or `on_change`.
    pub hook: &'static str,
    /// For how long.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
}

/// A hook that has ended.
#[derive(Clone, Debug, Serialize)]
pub struct HookRun {
    /// `on_active`, `on_backup`, `on_fault`, `on_stop` or `on_change`.
    pub hook: &'static str,
    /// What it was run for: `active`, `backup`, `fault` or `stop`.
    pub state: &'static str,
    /// The program and its arguments, as configured.
    pub command: String,
    /// `ok`, `failed`, `timeout` or `not_started`.
    pub result: &'static str,
    /// `None` if it did not end by itself.
    pub exit_code: Option<i32>,
    /// How long it took.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
    /// How long ago it ended.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
}

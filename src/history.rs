//! The moves of each VIP to this node and away from it, with the time of day: kept by the daemon, over its restarts, for
//! `pgvrrp history` and the web page.
//!
//! The node itself knows the last few since it started, by the boot clock. They are given their times of day here, where the
//! picture is looked at, and are kept in a file in the runtime directory: it outlives the daemon and ends with the boot, and so
//! does the clock by which ages are told.

mod file;
mod keeper;
pub(crate) mod show;

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use keeper::{Keeper, follow};

/// How many moves of each VIP are kept.
const MOST: usize = 64;

/// The most of a reason that is kept, in characters: PostgreSQL's words may be many.
const LONGEST: usize = 400;

/// A move that is over, as the file has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// The VIP's name.
    vip: String,
    /// The time of day when it was over, RFC 3339 in UTC, as the host's clock was then.
    time: String,
    /// The same in seconds after boot, suspend included.
    boot: f64,
    /// `gained` or `lost`.
    kind: Cow<'static, str>,
    /// Why.
    reason: String,
    /// In order.
    phases: Vec<Phase>,
}

/// A phase of a move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Phase {
    /// As in the status.
    name: Cow<'static, str>,
    /// Seconds.
    took: f64,
}

/// What is answered to `pgvrrp history`, and by HTTP. As it is read, it may be another version's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// This node's member name.
    node: String,
    /// By name.
    vips: Vec<OfVip>,
}

/// The moves of one VIP, the newest last.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OfVip {
    name: String,
    moves: Vec<Told>,
}

/// A move, as it is told.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    time: String,
    /// Seconds since then, by the boot clock.
    age: f64,
    kind: Cow<'static, str>,
    reason: String,
    phases: Vec<Phase>,
}

impl Told {
    fn of(kept: &Kept, now: Duration) -> Self {
        let Kept { vip: _, time, boot, kind, reason, phases } = kept.clone();
        Self { time, age: (now.as_secs_f64() - boot).max(0.0), kind, reason, phases }
    }
}

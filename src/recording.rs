//! What a daemon's node was told and what it answered, written down; and the same again, in a fresh node.
//!
//! A recording is text, one JSON object per line, told apart by its first key:
//!
//! ```text
//! {"format":1,"version":"0.1.0","settings":{...},"started":N}     a daemon started; N: CLOCK_BOOTTIME in nanoseconds
//! {"at":N,"input":{...},"outputs":[...]}                          one call of Node::handle
//! {"overrun":true}                                                the writer fell behind, and the recording ends here
//! ```
//!
//! The node is pure, so the recorded inputs give the recorded outputs, in any process and at any later time. Every prefix
//! is a recording; a daemon that is killed leaves a last line that may be torn, and the next one begins with a line of its
//! own kind again.

mod brief;
#[cfg(feature = "daemon")]
pub mod recorder;
mod replay;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use vrrp::time::Instant;

pub use brief::{input as brief_input, output as brief_output};
pub use replay::{Difference, Failure, Step, Summary, replay};

use crate::node::Settings;
use crate::node::io::{Input, Output};

/// The format that this build writes and reads. Once there is a release, it moves on with every change of what `Settings`,
/// `Input` or `Output` look like.
pub const FORMAT: u32 = 1;

/// A daemon started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// The daemon's version.
    pub version: String,
    /// What its node was made of. Passwords are the askers', and not in here.
    pub settings: Settings,
    /// When its node was made.
    pub started: Instant,
}

impl Header {
    /// Of this build, now.
    pub fn new(settings: Settings, started: Instant) -> Self {
        Self { format: FORMAT, version: env!("CARGO_PKG_VERSION").to_owned(), settings, started }
    }
}

/// One call of [`Node::handle`](crate::node::Node::handle).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// `now`.
    pub at: Instant,
    /// What the node was told.
    pub input: Input,
    /// What it answered.
    pub outputs: Vec<Output>,
}

/// The writer fell behind: what came later is not in the recording.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Overrun {
    overrun: bool,
}

//! Everybody who looks at the daemon. They read the one picture that the protocol thread publishes; none of them
//! computes a second truth, and none can hold the protocol thread up.

mod bounded;
pub mod control;
mod evidence;
pub mod http;
pub mod logging;
mod metrics;
pub mod systemd;
#[cfg(test)]
mod tests;
#[doc(hidden)]
pub mod text;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use vrrp::time::Instant;

use crate::clock;
use crate::hooks::Board;
use crate::node::status::Status;

/// The protocol thread publishes at least once a second; a picture older than this means that it is stuck.
const STUCK: Duration = Duration::from_secs(2);

/// Where the picture is had from: the node's, and what came of hooks.
#[derive(Clone, Debug)]
pub struct Source {
    status: watch::Receiver<Arc<Status>>,
    hooks: Board,
}

impl Source {
    /// From these two.
    pub fn new(status: watch::Receiver<Arc<Status>>, hooks: Board) -> Self {
        Self { status, hooks }
    }

    /// The picture as it looks now.
    fn seen(&self) -> Status {
        let picture = self.status.borrow().clone();
        let passed = clock::now().since(Instant::ZERO).saturating_sub(picture.taken);
        let mut picture = picture.after(passed);
        self.hooks.fill(&mut picture);
        picture
    }
}

/// Whether the protocol thread is running.
fn is_alive(status: &Status) -> bool {
    clock::now().since(Instant::ZERO).saturating_sub(status.taken) < STUCK
}

/// What others wrote into etcd or answered, without what would do something to a terminal or begin a line of its own.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

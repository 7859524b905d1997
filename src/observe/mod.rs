//! Everybody who looks at the daemon. They read the one picture that the protocol thread publishes; none of them
//! computes a second truth, and none can hold the protocol thread up.

mod bounded;
pub mod control;
mod evidence;
mod health;
pub mod http;
pub mod logging;
mod metrics;
mod page;
pub mod systemd;
#[cfg(test)]
mod tests;
#[doc(hidden)]
pub mod text;

use std::sync::Arc;

use tokio::sync::watch;
use vrrp::time::Instant;

use crate::clock;
use crate::history::Keeper;
use crate::hooks::Board;
use crate::node::status::Status;

/// What there is to look at.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The picture that was published last.
    pub status: watch::Receiver<Arc<Status>>,
    /// The moves that are remembered.
    pub history: Arc<Keeper>,
    /// What came of hooks.
    pub hooks: Board,
}

impl Observed {
    /// The picture as it looks now.
    fn seen(&self) -> Status {
        let picture = self.status.borrow().clone();
        let passed = clock::now().since(Instant::ZERO).saturating_sub(picture.taken);
        let mut picture = picture.after(passed);
        self.hooks.fill(&mut picture);
        picture
    }
}

//! How long to wait for the kernel. Bounds the work of this crate; decides nothing.

use std::time::{Duration, Instant};

/// A moment after which a request is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    end: Instant,
    within: Duration,
}

impl Deadline {
    pub(crate) fn after(within: Duration) -> Self {
        // A budget beyond what the clock can express is no budget; a day is as good.
        let now = now();
        let end = now.checked_add(within).unwrap_or(now + Duration::from_secs(86_400));
        Self { end, within }
    }

    pub(crate) fn passed(&self) -> bool {
        now() >= self.end
    }

    /// How long it is until then; nothing when it has passed.
    pub(crate) fn left(&self) -> Duration {
        self.end.saturating_duration_since(now())
    }

    /// A deadline in the middle of the time that is left.
    pub(crate) fn halfway(&self) -> Self {
        Self::after(self.left() / 2)
    }

    /// The whole time that was allowed, for the message.
    pub(crate) fn within(&self) -> Duration {
        self.within
    }
}

#[allow(clippy::disallowed_methods, reason = "measures how long the kernel takes to answer; no decision depends on it")]
fn now() -> Instant {
    Instant::now()
}

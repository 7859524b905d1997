//! Master time, and each host's own `CLOCK_BOOTTIME`, which alone its daemon can see.

use vrrp::time::Instant;

/// Nanoseconds of master time. etcd's leader judges leases by it.
pub(crate) type Nanos = u64;

pub(crate) const US: Nanos = 1_000;
pub(crate) const MS: Nanos = 1_000_000;
pub(crate) const S: Nanos = 1_000_000_000;

/// One host's clock: runs too fast or too slow. It may jump forward and change its rate; it never goes back, since the
/// kernel promises that of `CLOCK_BOOTTIME`, as of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    rate: f64,
    anchor: Nanos,
    local: u64,
}

impl Clock {
    /// A clock that shows `local` at `now`, and `rate` local seconds for each of master time.
    pub(crate) fn new(rate: f64, now: Nanos, local: u64) -> Self {
        Self { rate, anchor: now, local }
    }

    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// It shows so much more from now on.
    pub(crate) fn jump(&mut self, now: Nanos, ahead: u64) {
        let local = self.read(now).as_nanos() + ahead;
        *self = Self::new(self.rate, now, local);
    }

    /// It runs at another rate from now on.
    pub(crate) fn run_at(&mut self, now: Nanos, rate: f64) {
        let local = self.read(now).as_nanos();
        *self = Self::new(rate, now, local);
    }

    pub(crate) fn read(&self, now: Nanos) -> Instant {
        Instant::from_nanos(self.local + (now.saturating_sub(self.anchor) as f64 * self.rate) as u64)
    }

    /// The first master time at which the clock shows `local` or more.
    pub(crate) fn when(&self, local: Instant) -> Nanos {
        let ahead = local.as_nanos().saturating_sub(self.local);
        self.anchor + (ahead as f64 / self.rate).ceil() as u64 + 1
    }

    /// How long a local span is in master time.
    pub(crate) fn span(&self, local: Nanos) -> Nanos {
        (local as f64 / self.rate) as u64
    }
}

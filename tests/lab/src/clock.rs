//! The one clock that every probe stamps its observations with.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use serde::{Deserialize, Serialize};

/// A moment on `CLOCK_BOOTTIME`, in nanoseconds since the machine started.
///
/// The same clock as the daemon's, so that moments in its status can be compared with those of the probes. All network
/// namespaces share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// The present moment.
    ///
    /// # Panics
    /// Never on Linux 2.6.39 or newer, which all know this clock.
    #[must_use]
    pub fn now() -> Self {
        let spec = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has CLOCK_BOOTTIME");
        Self(spec.tv_sec() as u64 * 1_000_000_000 + spec.tv_nsec() as u64)
    }

    /// A moment of the recent past that was stamped by `CLOCK_REALTIME`, as the kernel stamps packets. Exact to well
    /// below a microsecond, unless that clock was stepped in between.
    ///
    /// # Panics
    /// As [`Self::now`].
    #[must_use]
    pub fn from_realtime(stamp: TimeSpec) -> Self {
        let nanos = |spec: TimeSpec| i128::from(spec.tv_sec()) * 1_000_000_000 + i128::from(spec.tv_nsec());
        // Both clocks cannot be read at once: of three attempts the one that was interrupted least.
        let offset = (0..3).map(|_| {
            let before = Self::now();
            let realtime = clock_gettime(ClockId::CLOCK_REALTIME).expect("Linux has CLOCK_REALTIME");
            let took = Self::now().0 - before.0;
            (took, nanos(realtime) - i128::from(before.0 + took / 2))
        });
        let (_, offset) = offset.min().expect("three attempts");
        Self((nanos(stamp) - offset) as u64)
    }

    /// A moment given in nanoseconds of `CLOCK_BOOTTIME`.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds of `CLOCK_BOOTTIME`.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago this moment was.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// The time from `earlier` to this moment; zero if `earlier` is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Milliseconds from `other` to this moment, negative if this one came first.
    #[must_use]
    pub fn millis_after(self, other: Self) -> f64 {
        (i128::from(self.0) - i128::from(other.0)) as f64 / 1e6
    }

    /// This moment, moved into the future.
    #[must_use]
    pub const fn plus(self, by: Duration) -> Self {
        Self(self.0 + by.as_nanos() as u64)
    }
}

/// Steps the machine's `CLOCK_REALTIME`, for all that runs on it. `CLOCK_BOOTTIME` goes on as it did.
///
/// # Errors
/// When the machine does not allow that.
pub fn step_realtime(seconds: i64) -> Result<()> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    let then = TimeSpec::new(now.tv_sec() + seconds, now.tv_nsec());
    clock_settime(ClockId::CLOCK_REALTIME, then).context("this machine does not let its clock be stepped")
}

impl fmt::Display for Time {
    /// Seconds and microseconds since boot, as the kernel's log has them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000_000, self.0 % 1_000_000_000 / 1000)
    }
}

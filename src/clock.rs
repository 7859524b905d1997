//! The only place that reads a clock.

use nix::time::{ClockId, clock_gettime};
use vrrp::time::Instant;

/// The time since boot, suspend included.
///
/// # Panics
/// Never on Linux 2.6.39 or newer, where `CLOCK_BOOTTIME` cannot fail.
pub fn now() -> Instant {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    Instant::from_nanos(now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs())
}

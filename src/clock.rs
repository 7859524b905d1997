//! The only place that reads a clock.

use std::time::{Duration, SystemTime};

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

/// The time of day, for people alone: nothing is decided by it, since it may step.
#[allow(clippy::disallowed_methods, reason = "this is the place that reads clocks")]
pub fn time_of_day() -> SystemTime {
    SystemTime::now()
}

/// What the calling thread has used of processors so far: neither its pauses nor those in which others run count.
///
/// # Panics
/// Never on Linux, where every thread has this clock.
pub fn used() -> Duration {
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has CLOCK_THREAD_CPUTIME_ID");
    used.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sleeps_uses_nothing() {
        let before = used();
        std::thread::sleep(Duration::from_millis(100));
        assert!(used() - before < Duration::from_millis(50));
    }
}

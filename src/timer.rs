//! One timer for all deadlines, on `CLOCK_BOOTTIME`: absolute, exact to the kernel's own precision, and suspend counts.

use std::io;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;
use vrrp::time::Instant;

use crate::async_fd::{OwnedTimer, readable};

/// The timer.
#[derive(Debug)]
pub(crate) struct Timer(AsyncFd<OwnedTimer>);

impl Timer {
    /// A timer that is not set. Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub(crate) fn new() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        Ok(Self(readable(OwnedTimer(timer))?))
    }

    /// Sets it. A moment that has passed fires at once.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub(crate) fn set(&self, due: Instant) -> io::Result<()> {
        // Zero would disarm it.
        let due = TimeSpec::from_duration(Duration::from_nanos(due.as_nanos().max(1)));
        self.0.get_ref().0.set(Expiration::OneShot(due), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        Ok(())
    }

    /// Waits until it fires. It stays fired until it is set again.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub(crate) async fn fired(&self) -> io::Result<()> {
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}

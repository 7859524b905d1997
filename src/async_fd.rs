//! Descriptors that the runtime waits for.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::timerfd::TimerFd;
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A type that owns one descriptor for as long as it lives, and never hands out another.
pub(crate) trait Owner: AsRawFd {}

impl Owner for Socket {}

/// nix's timer, which lends its descriptor in another way than the runtime asks for it.
#[derive(Debug)]
pub(crate) struct OwnedTimer(pub(crate) TimerFd);

impl AsRawFd for OwnedTimer {
    fn as_raw_fd(&self) -> RawFd {
        use std::os::fd::AsFd;
        self.0.as_fd().as_raw_fd()
    }
}

impl Owner for OwnedTimer {}

/// Has the runtime wait for `owner` to become readable. It has to be non-blocking, and this be called within a runtime.
pub(crate) fn readable<T: Owner>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: an `Owner` keeps its one descriptor open until it is dropped, which is after the registration ends.
    #[allow(unsafe_code, reason = "the runtime cannot see that the descriptor stays the same; `Owner` promises it")]
    let registered = unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) };
    Ok(registered?)
}

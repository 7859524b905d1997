//! Keeps the protocol thread on time: real-time priority, and memory that is not paged out. Both are asked for and not
//! needed; without them a busy machine makes moves slower, never less safe.

use std::io;

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use tracing::{debug, info};

/// Low among the real-time priorities: before every ordinary process, behind the kernel's own threads.
pub(crate) const PRIORITY: i32 = 5;

/// Gives the calling thread real-time priority (SCHED_RR), which its children do not inherit.
pub(crate) fn prioritise_thread() {
    // The kernel's own: musl's function of that name does nothing, and its structure is another one.
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    let parameters: libc::c_int = PRIORITY;
    // SAFETY: 0 names the calling thread, and `parameters` lives through the call; the kernel's sched_param is one int.
    #[allow(unsafe_code, reason = "nix does not wrap this call")]
    let result = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const parameters) };
    match result {
        0 => debug!("this thread has real-time priority"),
        _ => {
            let error = io::Error::last_os_error();
            info!(%error, "no real-time priority: moves may take longer on a busy machine (LimitRTPRIO= in the unit grants it)");
        }
    }
}

/// Keeps what is resident resident. Only without a limit: with one, memory that a thread asks for later would be refused.
pub(crate) fn lock_memory() {
    let unlimited = getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == RLIM_INFINITY);
    // Pages are locked when they are touched, so nothing grows by this.
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    let all = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault;
    match unlimited.then(|| mlockall(all)) {
        Some(Ok(())) => debug!("memory is locked"),
        Some(Err(error)) => info!(%error, "memory is not locked"),
        None => info!(
            "memory is not locked: a machine that swaps may delay moves (LimitMEMLOCK=infinity in the unit allows it)"
        ),
    }
}

//! What hooks may do: nothing that every other process of this user may not. A thread has its own capabilities, and its
//! children have those that it had: so this thread gives up all of them before it starts any.

use rustix::io;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// The kernel's sets have room for so many.
const MOST: u32 = 64;

/// Gives up what the calling thread has.
///
/// # Errors
/// If its children would inherit a capability, or could get one.
pub(super) fn give_up() -> Result<(), io::Errno> {
    // First, since it takes one to do that (CAP_SETPCAP). Under the unit there is none, and what is in the set is of no use
    // to a process without privileges that can get no new ones; to root it would be, who has that one.
    for bit in 0..MOST {
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit));
    }
    clear_ambient_capability_set()?;
    set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    keep_descriptors();
    // The unit's filter of system calls refuses this one. It is the thread's own business: no child has them by it.
    let _ = set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none });
    Ok(())
}

/// No descriptor beyond the first three is inherited. Ours are opened so; those that the daemon has from whoever started it
/// are marked so here.
pub(super) fn keep_descriptors() {
    // SAFETY: takes numbers alone, and sets a flag that no code depends on.
    #[allow(unsafe_code, reason = "no safe wrapper has this flag")]
    let _ = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

//! The one sysctl that matters here, read and never written.

use std::fs;
use std::io;

/// Whether the kernel keeps the secondary addresses of a subnet when the first (primary) IPv4 address of that subnet goes
/// from `interface`. When not, it deletes them with it.
///
/// Binding an address with a prefix shorter than /32 risks other addresses only if this is false: it may be, or become,
/// the primary of its subnet, and nobody can put the others back when it expires because the daemon is dead. /32 never
/// has secondaries.
///
/// Reads `/proc/sys/net/ipv4/conf/{all,INTERFACE}/promote_secondaries` of the network namespace of the calling thread;
/// either one being set is enough (the kernel's `IN_DEV_PROMOTE_SECONDARIES` is their OR).
///
/// # Errors
///
/// `NotFound` when there is no such interface, `InvalidInput` when the name cannot be one, else what reading `/proc`
/// gave.
pub fn promote_secondaries(interface: &str) -> io::Result<bool> {
    if interface.is_empty() || interface.contains('/') || interface == "." || interface == ".." {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{interface:?} is not an interface name")));
    }
    for scope in [interface, "all"] {
        let value = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{scope}/promote_secondaries"))?;
        if value.trim() != "0" {
            return Ok(true);
        }
    }
    Ok(false)
}

//! The sysctls that matter here. Those of the host are read and never written.

use std::fs;
use std::io::{self, ErrorKind};

use crate::error::Error;

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
    for scope in [interface, "all"] {
        if ipv4(scope, "promote_secondaries")? != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// For which addresses the kernel answers ARP requests that come in at `interface`; `all` for what holds for each at least.
/// The kernel takes the larger one of the two.
///
/// # Errors
///
/// As [`promote_secondaries`].
pub fn arp_ignore(interface: &str) -> io::Result<i32> {
    ipv4(interface, "arp_ignore")
}

/// In the name of which address the kernel sends ARP requests from `interface`. For `all`, see [`arp_ignore`].
///
/// # Errors
///
/// As [`promote_secondaries`].
pub fn arp_announce(interface: &str) -> io::Result<i32> {
    ipv4(interface, "arp_announce")
}

/// Whether the kernel answers ARP requests on `interface` only where the way back leads. One for `all` is enough.
///
/// # Errors
///
/// As [`promote_secondaries`].
pub fn arp_filter(interface: &str) -> io::Result<bool> {
    Ok(ipv4(interface, "arp_filter")? != 0)
}

/// How the kernel filters what comes in at `interface` by the way back to its source: 0 not at all, 1 strictly, by the same
/// interface only, 2 loosely, by any. The larger one of the interface's own value and that for all, as the kernel has it.
///
/// # Errors
///
/// As [`promote_secondaries`].
pub fn rp_filter(interface: &str) -> io::Result<i32> {
    Ok(ipv4(interface, "rp_filter")?.max(ipv4("all", "rp_filter")?))
}

/// The value below `net.ipv4.conf` in the network namespace of the calling thread.
fn ipv4(interface: &str, key: &str) -> io::Result<i32> {
    if interface.is_empty() || interface.contains('/') || interface == "." || interface == ".." {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("{interface:?} is not an interface name")));
    }
    let text = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{interface}/{key}"))?;
    text.trim().parse().map_err(|_| io::Error::new(ErrorKind::InvalidData, format!("{key} is {text:?}")))
}

/// Sets what is below `net.ipv6.conf`, unless it is so already: where it cannot be written it may still be right. Only for
/// interfaces that this program has made.
pub(crate) fn set_ipv6(interface: &str, key: &str, value: &'static str) -> Result<(), Error> {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/{key}");
    let set = match fs::read_to_string(&path) {
        Ok(is) if is.trim() == value => Ok(()),
        Ok(_) => fs::write(&path, value),
        // No IPv6 on this host, or on this interface.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    set.map_err(|source| Error::Setting { key: format!("net.ipv6.conf.{interface}.{key}"), value, source })
}

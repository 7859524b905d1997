//! One daemon per VIP and host, whatever their runtime directories: two that share a VIP would remove each other's
//! address as a stray.
//!
//! The lock is the name of an abstract Unix socket. Such names belong to the network namespace, as the address does; the
//! kernel frees them with the process, however that ends; and a process that is stopped keeps them.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Uid;
use tracing::warn;

use crate::capabilities::Capabilities;
use crate::failure::Failure;
use crate::process::Process;

/// Holds the name for as long as it lives.
#[derive(Debug)]
pub(crate) struct VipLock(#[allow(dead_code, reason = "held, not used")] UnixListener);

/// Takes the lock of a VIP.
///
/// # Errors
/// `Err(Some(process))` if another daemon on this host has it; `Err(None)` if the name cannot be had for another reason, or is
/// held by a user who could not run a daemon: anybody can take a name, and must not be able to keep the VIP away by that.
fn take(vip: IpAddr) -> Result<VipLock, Option<Process>> {
    let name = SocketAddr::from_abstract_name(format!("pgvrrp/vip/{vip}")).map_err(|_| None)?;
    match UnixListener::bind_addr(&name) {
        Ok(listener) => Ok(VipLock(listener)),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(holder(&name).unwrap_or(None)),
        Err(_) => Err(None),
    }
}

/// Takes those of several VIPs. What cannot be had for a reason that is no daemon's is said, and gone without.
///
/// # Errors
/// Another daemon on this host has one of them.
pub(crate) fn take_all(vips: impl Iterator<Item = IpAddr>) -> Result<BTreeMap<IpAddr, VipLock>, Failure> {
    let mut locks = BTreeMap::new();
    for vip in vips {
        match take(vip) {
            Ok(lock) => drop(locks.insert(vip, lock)),
            Err(Some(process)) => return Err(Failure::VipInUse { vip, process }),
            Err(None) => warn!(%vip, "cannot make sure that no other pgvrrp on this host serves the same VIP"),
        }
    }
    Ok(locks)
}

/// The process that listens under the name, if it can be a daemon: it is root's, or of the same user as this one, or it has a
/// daemon's rights, such as one in a container whose user is nobody here.
fn holder(name: &SocketAddr) -> io::Result<Option<Process>> {
    let credentials = getsockopt(&UnixStream::connect_addr(name)?, sockopt::PeerCredentials)?;
    let (uid, process) = (Uid::from_raw(credentials.uid()), Process::new(credentials.pid()));
    let has_rights = || Capabilities::of(process).is_ok_and(|capabilities| capabilities.missing().is_empty());
    Ok((uid.is_root() || uid == Uid::effective() || has_rights()).then_some(process))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_per_vip_until_it_lets_go() {
        // No VIP of any test: 192.0.2.0/24 is for documentation.
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let held = take(one).unwrap();
        assert_eq!(take(one).unwrap_err().and_then(Process::number), i32::try_from(std::process::id()).ok());
        let _another = take(other).unwrap();
        drop(held);
        take(one).unwrap();
    }
}

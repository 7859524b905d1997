//! What can go wrong, sorted by what the reader can do about it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

/// A request to the kernel that did not come to a good end.
///
/// `what` is always the attempt in words, such as `bind 10.0.20.155/32 to interface 3`.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The process lacks `CAP_NET_ADMIN` in the network namespace of the socket (EPERM).
    #[error(
        "cannot {what}: not permitted; give the process CAP_NET_ADMIN (systemd: AmbientCapabilities=CAP_NET_ADMIN)"
    )]
    NotPermitted {
        /// The attempt.
        what: String,
    },
    /// The interface does not exist, or no longer (ENODEV).
    #[error("cannot {what}: there is no such interface")]
    NoSuchInterface {
        /// The attempt.
        what: String,
    },
    /// The interface takes no IPv6 addresses (EACCES, which the kernel uses for this and not for missing rights).
    #[error("cannot {what}: IPv6 is disabled there, see sysctl net.ipv6.conf.INTERFACE.disable_ipv6")]
    Ipv6Disabled {
        /// The attempt.
        what: String,
    },
    /// The kernel did not answer in time. Whether it did what it was asked is unknown.
    #[error("cannot {what}: no answer from the kernel within {} ms", .within.as_millis())]
    Timeout {
        /// The attempt.
        what: String,
        /// How long the answer was waited for.
        within: Duration,
    },
    /// The table changed under each of several attempts to read it. Try again.
    #[error("cannot {what}: the kernel's table changed during each attempt to read it")]
    Unsettled {
        /// The attempt.
        what: String,
    },
    /// This kernel has not what it takes, or an older one than is needed. It will not have it later, unless a module is loaded.
    #[error("cannot {what}: this kernel has no {lacks}: {source}")]
    Unsupported {
        /// The attempt.
        what: String,
        /// What is missing, in words.
        lacks: &'static str,
        /// The errno that told it.
        source: io::Error,
    },
    /// The kernel said no, for any other reason.
    #[error("cannot {what}: {source}{}", Explained(.explanation))]
    Kernel {
        /// The attempt.
        what: String,
        /// The errno of the answer.
        source: io::Error,
        /// The kernel's own words, if it sent any (extended acknowledgement).
        explanation: Option<String>,
    },
    /// The kernel said something that cannot be understood. Nothing may be concluded from it.
    #[error("cannot {what}: the kernel's answer is malformed: {reason}")]
    Malformed {
        /// The attempt.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The address came back, or stayed, although the kernel acknowledged its removal each time.
    #[error("{address} is still bound to interface {link} after {attempts} removals: somebody else keeps adding it")]
    StillBound {
        /// The address that should be gone.
        address: IpAddr,
        /// An interface on which it was last seen.
        link: u32,
        /// How often its removal was tried.
        attempts: u32,
    },
    /// The address is gone, as confirmed by a dump, but took others with it that could not be put back.
    #[error("{address} is gone but took {} with it, and putting back failed: {source}", Listed(.lost))]
    TookOthers {
        /// The address that was to be removed.
        address: IpAddr,
        /// What else is missing now: address and prefix length.
        lost: Vec<(IpAddr, u8)>,
        /// Why the first of them could not be put back.
        source: Box<Self>,
    },
    /// There is an interface of this name that is not this program's. It is left alone.
    #[error(
        "interface {name} exists and is not this daemon's (its alias says whose it is): remove it with `ip link delete {name}`, \
         or give it another name"
    )]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A sysctl of an interface of this program's own has a value that will not do, and cannot be changed.
    #[error(
        "cannot set {key} = {value}: {source}. Under systemd that takes ProtectKernelTunables=no in the unit (`systemctl edit`)"
    )]
    Setting {
        /// Such as `net.ipv6.conf.INTERFACE.accept_ra`.
        key: String,
        /// What it has to be.
        value: &'static str,
        /// Why it cannot be written.
        source: io::Error,
    },
    /// The netlink socket itself failed: no file descriptor left, no memory.
    #[error("cannot {what}: netlink socket: {source}")]
    Socket {
        /// The attempt.
        what: String,
        /// The failure of the system call.
        source: io::Error,
    },
}

struct Explained<'a>(&'a Option<String>);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |text| write!(f, " (the kernel says: {text})"))
    }
}

struct Listed<'a>(&'a [(IpAddr, u8)]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (address, prefix_len)) in self.0.iter().enumerate() {
            write!(f, "{}{address}/{prefix_len}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// How one exchange with the kernel failed, before it is known to the reader what it was for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The kernel's answer was this (positive) errno.
    Refused { errno: i32, explanation: Option<String> },
    /// No answer in time.
    Timeout(Duration),
    /// The dump was interrupted by changes (`NLM_F_DUMP_INTR`) time and again.
    Unsettled,
    /// Not netlink as we know it.
    Malformed(String),
    /// A system call on the socket failed.
    Socket(io::Error),
}

impl Failure {
    /// Whether the kernel refused with this errno.
    pub(crate) fn is(&self, wanted: i32) -> bool {
        matches!(self, Self::Refused { errno, .. } if *errno == wanted)
    }

    /// Adds what was attempted.
    pub(crate) fn during(self, what: impl Into<String>) -> Error {
        let what = what.into();
        match self {
            Self::Refused { errno: libc::EPERM, .. } => Error::NotPermitted { what },
            Self::Refused { errno: libc::ENODEV, .. } => Error::NoSuchInterface { what },
            Self::Refused { errno: libc::EACCES, .. } => Error::Ipv6Disabled { what },
            Self::Refused { errno, explanation } => {
                Error::Kernel { what, source: io::Error::from_raw_os_error(errno), explanation }
            }
            Self::Timeout(within) => Error::Timeout { what, within },
            Self::Unsettled => Error::Unsettled { what },
            Self::Malformed(reason) => Error::Malformed { what, reason },
            Self::Socket(source) => Error::Socket { what, source },
        }
    }
}

impl From<netlink_packet_core::DecodeError> for Failure {
    fn from(error: netlink_packet_core::DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_was_tried_and_what_to_do() {
        let refused = |errno| Failure::Refused { errno, explanation: Some("no.".into()) }.during("bind it").to_string();
        assert!(refused(libc::EPERM).contains("cannot bind it") && refused(libc::EPERM).contains("CAP_NET_ADMIN"));
        assert!(refused(libc::EACCES).contains("disable_ipv6"));
        assert!(refused(libc::ENODEV).contains("no such interface"));
        assert!(refused(libc::EINVAL).ends_with("(the kernel says: no.)"));
        assert!(Failure::Timeout(Duration::from_millis(200)).during("bind it").to_string().contains("200 ms"));
        let vip = IpAddr::from([10, 0, 20, 155]);
        let lost = vec![(IpAddr::from([10, 0, 20, 11]), 24), (IpAddr::from([10, 0, 20, 12]), 24)];
        let source = Box::new(Failure::Unsettled.during("put back"));
        let text = Error::TookOthers { address: vip, lost, source }.to_string();
        assert!(text.contains("10.0.20.155 is gone but took 10.0.20.11/24, 10.0.20.12/24 with it"), "{text}");
    }
}

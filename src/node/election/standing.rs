//! How an election stands: the metric's label, and the sentence that people read.

use std::fmt;

/// Why a VIP in an election is, or is not, on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The host's addresses have not been read yet.
    KernelUnasked,
    /// The daemon is stopping, or about to be replaced.
    Stopping,
    /// `pgvrrp drain`.
    Drained,
    /// The VIP is not configured any more.
    Removed,
    /// The interface does not exist.
    NoInterface(String),
    /// It is down, or has no carrier.
    InterfaceDown(String),
    /// A tracked interface does not exist, is down, or has no carrier.
    TrackedDown(String),
    /// The interface has no address to advertise from.
    NoSource(String),
    /// The kernel refused to bind the address; tried again after a pause.
    BindRefused(String),
    /// Watching the Active, and because of what.
    Backup(String),
    /// The Active, this one, said goodbye: to be followed after Skew_Time.
    Leaving(String),
    /// Active, and because of what.
    Active(String),
}

impl Standing {
    /// The metric's label.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::KernelUnasked => "kernel_unasked",
            Self::Stopping => "stopping",
            Self::Drained => "drained",
            Self::Removed => "removed",
            Self::NoInterface(_) => "no_interface",
            Self::InterfaceDown(_) => "interface_down",
            Self::TrackedDown(_) => "tracked_down",
            Self::NoSource(_) => "no_source",
            Self::BindRefused(_) => "bind_refused",
            Self::Backup(_) | Self::Leaving(_) => "backup",
            Self::Active(_) => "active",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KernelUnasked => write!(f, "the host's addresses have not been read yet"),
            Self::Stopping => write!(f, "the daemon is stopping"),
            Self::Drained => write!(f, "drained by hand: `pgvrrp undrain` ends that"),
            Self::Removed => write!(f, "taken out of the configuration"),
            Self::NoInterface(name) => write!(f, "there is no interface {name}"),
            Self::InterfaceDown(name) => {
                write!(f, "interface {name} is down, has no carrier, or cannot be listened on")
            }
            Self::TrackedDown(name) => write!(f, "tracked interface {name} is missing, down, or without carrier"),
            Self::NoSource(name) => write!(f, "interface {name} has no address of its own to advertise from"),
            Self::BindRefused(error) => write!(f, "the kernel refused to bind the address, tried again soon: {error}"),
            Self::Backup(why) => write!(f, "Backup: {why}"),
            Self::Leaving(who) => write!(f, "Backup: {who} said goodbye"),
            Self::Active(why) => write!(f, "Active: {why}"),
        }
    }
}

//! Guards that can be taken away, to see what they are good for.

use std::cell::Cell;

/// Declares them, and the list of all of them.
macro_rules! models {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Guards that live outside the pure parts: in the actuator, in the askers, in etcd's transactions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Model {
            $($(#[$doc])* $name,)*
        }

        #[cfg(feature = "sabotage")]
        impl Model {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

models! {
    /// The actuator reads the clock just before a call, and after a bind.
    NotAfter,
    /// The actuator's second reading, after the bind's acknowledgement.
    NotAfterAgain,
    /// ... and the first.
    NotAfterFirst,
    /// A bind that came too late and could not be undone is one that went wrong: the address is proved absent.
    ProvedAbsent,
    /// The address has a lifetime.
    Lifetime,
    /// What follows an unbind that failed is skipped.
    ReleaseOrder,
    /// What follows a bind that failed is skipped.
    BindOrder,
    /// The acquisition compares K's value and epoch.
    FenceLeader,
    /// ... the epoch.
    Epoch,
    /// ... and V.
    FenceLock,
    /// Each acquisition has a fresh lease.
    FreshLease,
    /// A keepalive that timed out closes its stream.
    OneKeepalive,
    /// The keepalive is an Output; without this the asker keeps the lease alive by itself.
    KeepaliveIsOutput,
    /// The read is sent after the keepalive's answer.
    ReadAfterKeepalive,
    /// Reads are linearizable.
    Linearizable,
}

thread_local! {
    static REMOVED: Cell<u32> = const { Cell::new(0) };
}

/// Whether this guard is taken away.
pub(crate) fn removed(guard: Model) -> bool {
    REMOVED.with(Cell::get) & bit(guard) != 0
}

const fn bit(guard: Model) -> u32 {
    1 << guard as u8
}

/// Takes these guards away from everything on this thread, and puts all others back.
#[cfg(feature = "sabotage")]
pub(crate) fn remove(guards: impl IntoIterator<Item = Model>) {
    REMOVED.with(|cell| cell.set(guards.into_iter().fold(0, |bits, guard| bits | bit(guard))));
}

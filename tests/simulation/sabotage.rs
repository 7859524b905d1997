//! Guards that can be taken away, to see what they are good for.

use std::cell::Cell;

/// Guards that live outside the pure parts: in the actuator, in the askers, in etcd's transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// The actuator reads the clock just before a call, and after a bind.
    NotAfter,
    /// The actuator's second reading, after the bind's acknowledgement.
    NotAfterAgain,
    /// The address has a lifetime.
    Lifetime,
    /// What follows an unbind that failed is skipped.
    ReleaseOrder,
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
    /// The read is sent after the keepalive's answer.
    ReadAfterKeepalive,
    /// Reads are linearizable.
    Linearizable,
}

/// Guards without which a promise is known to be broken, and a seed that shows it. The others' seeds are still looked for:
/// `PGVRRP_SABOTAGE=n` tries seeds 1 to n.
pub(crate) const SHOWN: [(Model, u64); 6] = [
    (Model::NotAfter, 55),
    (Model::Lifetime, 5),
    (Model::ReleaseOrder, 11),
    (Model::FenceLeader, 184),
    (Model::FreshLease, 169),
    (Model::Linearizable, 16),
];

thread_local! {
    static REMOVED: Cell<Option<Model>> = const { Cell::new(None) };
}

/// Whether this guard is taken away.
pub(crate) fn removed(guard: Model) -> bool {
    REMOVED.with(Cell::get) == Some(guard)
}

/// Takes one guard away from everything on this thread, or puts all back.
pub(crate) fn remove(guard: Option<Model>) {
    REMOVED.with(|cell| cell.set(guard));
}

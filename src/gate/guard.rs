//! The guards that the pure parts stand on, by name, so that each can be taken away and missed.
//!
//! In a build without the feature `sabotage`, which is every build but that of the simulator's own test, all of them
//! stand and the compiler sees nothing but `true`.

/// Declares the guards, and the list of all of them, so that none can be left out of the test.
macro_rules! guards {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One guard: one condition at one place.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Guard {
            $($(#[$doc])* $name,)*
        }

        impl Guard {
            /// Every guard.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

guards! {
    /// While bound, evidence against holding closes the gate.
    Verdict,
    /// While bound, K seen to be another's, or gone, closes the gate.
    LeaderKey,
    /// The gate closes at D.
    Deadline,
    /// D is counted as if this host's clock were 10 % slow.
    ClockRate,
    /// 1.5 s are kept back from D.
    Reserve,
    /// The address's lifetime ends 1.5 s before D.
    LifetimeMargin,
    /// A round proves nothing unless it reads V after the keepalive.
    ProofReadsLock,
    /// A read from before our put says nothing about it.
    ReadNotOlder,
    /// With K as the fence, what was known of a former lease of K's says nothing any more.
    LeaderLease,
    /// Binding needs a positive "primary".
    Primary,
    /// ... to a question asked since V is ours.
    AskedSinceAcquired,
    /// An address that is gone is put back only while PostgreSQL says "primary".
    Repair,
    /// After a stall, nothing is bound before fresh evidence.
    FreshAfterStall,
    /// Binding needs an answer of PostgreSQL's to a question of the last 2 s.
    RecentAnswer,
    /// Acquiring needs an answer to a question asked since the last release.
    ArmedSinceRelease,
    /// A PostgreSQL with another system identifier than the cluster's is another cluster's.
    SystemIdentifier,
    /// Acquiring needs Patroni's member of this name to be on this host.
    LocalMember,
    /// Nothing is acquired for a while in an etcd that is another one.
    Quarantine,
    /// V of another incarnation is another's.
    Incarnation,
    /// V of another boot is another's.
    Boot,
    /// An address found at start stays only by right of V.
    Adoption,
    /// V's lease is revoked only when the address is confirmed gone.
    RevokeAfterUnbind,
    /// An address that is here without the right is removed.
    Expel,
    /// A lease of ours is revoked only while the address is seen to be absent.
    RevokeAbsent,
    /// V that was being acquired when etcd turned out to be another one does not count.
    Void,
    /// V that was held when etcd turned out to be another one is lost.
    RebuiltLoses,
    /// Another cluster ID is another etcd.
    OtherCluster,
    /// A revision that went back is an older copy of etcd.
    OlderRevision,
    /// V read as gone, or as another's, is lost at once.
    LockLost,
    /// A keepalive that finds no lease ends the hold at once.
    LeaseLost,
    /// Patroni's failsafe mode keeps what is bound, and binds nothing.
    VouchBindsNothing,
    /// ... for 5 s from when it was asked.
    VouchEnds,
    /// A pause keeps what is bound, and binds nothing.
    PauseBindsNothing,
    /// Acquiring needs a PostgreSQL that is primary or standby, not down or unknown.
    EligibleRole,
    /// Acquiring needs Patroni's member of this name to resolve.
    MemberResolved,
    /// Acquiring needs Patroni's `initialize` key.
    Initialized,
    /// V of another member is another's.
    OwnMember,
    /// Role reports are taken in the order in which they were asked.
    RoleOrder,
    /// The VIP is removed where it does not belong, beside where it does.
    Strays,
    /// After a stall, a VIP without a lifetime is not left in its place.
    Unlimited,
    /// What speaks for the VIP comes just after a renewal.
    RenewThenAnnounce,
    /// While V may live by a lease that nobody keeps alive, D is no later than that one's.
    RefreshLimit,
    /// A release while V is put anew waits for the answer.
    LeaveAfterAnswer,
    /// After a start, no lock is given up while an address may be here that a predecessor left, by another configuration.
    Leftover,
    /// An address that is taken out of a VIP belongs to it for as long as it is here.
    Former,
    /// A VIP that begins anew waits for what is left of the one in its place.
    Anew,
    /// An advertisement from this node's own address is no rival's.
    OwnAddress,
    /// An advertisement of another virtual router is not this one's.
    VirtualRouter,
}

#[cfg(not(feature = "sabotage"))]
pub(crate) const fn stands(_: Guard) -> bool {
    true
}

#[cfg(feature = "sabotage")]
pub(crate) fn stands(guard: Guard) -> bool {
    removed::REMOVED.with(std::cell::Cell::get) & removed::bit(guard) == 0
}

/// Taking guards away, for the test that shows what each is for.
#[cfg(feature = "sabotage")]
pub mod removed {
    use super::Guard;
    use std::cell::Cell;

    thread_local! {
        pub(super) static REMOVED: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) const fn bit(guard: Guard) -> u64 {
        1 << guard as u8
    }

    /// Takes these guards away from every node on this thread, and puts all others back.
    pub fn set(guards: impl IntoIterator<Item = Guard>) {
        REMOVED.with(|cell| cell.set(guards.into_iter().fold(0, |bits, guard| bits | bit(guard))));
    }
}

//! What the operator decides for the situations that have no single right answer (`[policy]`).

/// The settings under `[policy]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// K is mine, PostgreSQL is down or restarting.
    pub postgres_down: PostgresDown,
    /// Patroni is paused, K has expired, PostgreSQL is still primary.
    pub paused: Paused,
    /// A router that is not of our kind is Active when the gate opens.
    pub foreign_active: ForeignActive,
}

/// `postgres_down`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PostgresDown {
    /// Leave after the drain: a client's SYN then waits for the next primary where it would have been refused.
    #[default]
    Release,
    /// Keep the address while K is mine.
    Hold,
}

/// `paused`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paused {
    /// Hold while V is mine: nobody else can take it, and nobody is promoted in a pause.
    #[default]
    Hold,
    /// Leave as if Patroni were not paused.
    Release,
}

/// `foreign_active`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForeignActive {
    /// Advertise first, which makes it yield; bind when it says goodbye, or 100 ms later.
    #[default]
    AdvertiseFirst,
    /// Bind at once.
    BindAtOnce,
}

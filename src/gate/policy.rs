//! What the operator decides for the situations that have no single right answer (`[policy]`).

use serde::{Deserialize, Serialize};

/// The settings under `[policy]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// K is mine, PostgreSQL is down or restarting.
    pub postgres_down: PostgresDown,
    /// Patroni is paused, K has expired, PostgreSQL is still primary.
    pub paused: Paused,
    /// A router that is not of our kind is Active when the gate opens.
    pub foreign_active: ForeignActive,
    /// etcd is silent, and Patroni keeps its primary by its failsafe mode.
    pub failsafe: Failsafe,
    /// What keeps two nodes from holding a VIP. At the top of the file, not under `[policy]`.
    pub fence: Fence,
}

/// `postgres_down`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostgresDown {
    /// Leave after the drain: a client's SYN then waits for the next primary where it would have been refused.
    #[default]
    Release,
    /// Keep the address while K is mine.
    Hold,
}

/// `paused`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paused {
    /// Hold while V is mine: nobody else can take it, and nobody is promoted in a pause.
    #[default]
    Hold,
    /// Leave as if Patroni were not paused.
    Release,
}

/// `foreign_active`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignActive {
    /// Advertise first, which makes it yield; bind when it says goodbye, or 100 ms later.
    #[default]
    AdvertiseFirst,
    /// Bind at once.
    BindAtOnce,
}

/// `failsafe`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failsafe {
    /// Follow Patroni: hold while its failsafe mode vouches for this node (see [`failsafe`](super::failsafe)).
    #[default]
    Auto,
    /// Leave at the deadline all the same.
    Drop,
}

/// `fence`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fence {
    /// V, a key of pgvrrp's own.
    #[default]
    Lock,
    /// K itself, for as long as its lease is known to live; nothing is written to etcd. Nothing then keeps the next
    /// primary waiting for a daemon that is dead or frozen, so P1 is not promised for up to 4 s after that.
    LeaderKey,
}

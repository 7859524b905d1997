//! What the askers report, as plain values. Each answer carries the time at which it was *asked*: a slow answer is old.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vrrp::time::Instant;

/// Position of a VIP in the configuration; one daemon serves several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VipId(pub usize);

/// An etcd lease ID. 0 means "no lease".
pub type LeaseId = i64;

/// Everything the gate needs from etcd, read in one linearizable transaction and so true at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Before the request was sent.
    pub asked: Instant,
    /// The endpoint that answered, as configured.
    pub endpoint: String,
    /// etcd's cluster ID; another one means another etcd.
    pub cluster_id: u64,
    /// The header's revision; orders the answers of one cluster.
    pub revision: i64,
    /// K, Patroni's leader key; `None` while nobody holds it.
    pub leader: Option<LeaderKey>,
    /// V of each VIP, in the order of the configuration; `None` where it does not exist.
    pub locks: Vec<Option<LockKey>>,
    /// Patroni's `config` key; `None` while it is missing or not readable as JSON.
    pub config: Option<PatroniConfig>,
    /// Patroni's `initialize` key: PostgreSQL's system identifier in decimal. `None` before the cluster is bootstrapped.
    pub system_identifier: Option<String>,
    /// Patroni's `members/<me>`; `None` if no member of that name exists.
    pub member: Option<Member>,
    /// The name of that key, for people.
    pub member_key: String,
}

/// Patroni's leader key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderKey {
    /// The value: the name of the member that leads.
    pub member: String,
    /// The ownership epoch. Patroni's lease is no token of ownership: giving up the leadership deletes the key, not the lease.
    pub create_revision: i64,
    /// The lease that it lives by: that of Patroni's session, never ours to revoke.
    pub lease: LeaseId,
    /// How long that lease lives at least, if it was the one that [`EtcdRequest::Round`] asked about.
    pub remaining: Option<Remaining>,
}

/// What is left of a lease that somebody else keeps alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    /// Before the question was sent; the key was read after it was answered.
    pub asked: Instant,
    /// Whole seconds that were left, rounded down.
    pub ttl: u64,
}

/// pgvrrp's own key for one VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockKey {
    /// Changes with each put.
    pub mod_revision: i64,
    /// The lease that it lives by.
    pub lease: LeaseId,
    /// Who put it.
    pub holder: LockHolder,
}

/// The value of V.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockHolder {
    /// Written by a pgvrrp that speaks this format.
    Known(LockValue),
    /// Written by something else: a holder like any other, never overwritten. Carries the raw value, shortened.
    Unknown(String),
}

/// V's value in format 1, JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockValue {
    /// Always 1; another number makes the holder [`LockHolder::Unknown`].
    pub format: u32,
    /// Patroni's member name of the holder.
    pub member: String,
    /// The kernel's boot ID of the holder's host.
    pub boot_id: String,
    /// A random number kept in the holder's runtime directory: survives a restart of the daemon, not a clone of the machine.
    pub incarnation: String,
    /// K's `create_revision` for which V was taken.
    pub epoch: i64,
}

impl LockValue {
    /// The format this build writes and understands.
    pub const FORMAT: u32 = 1;
}

/// What matters of Patroni's dynamic configuration, after the adjustments that Patroni itself makes to the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatroniConfig {
    /// Life of Patroni's leases without renewal; at least 20 s.
    pub ttl: Duration,
    /// Pause between two of Patroni's cycles; at least 1 s.
    pub loop_wait: Duration,
    /// How long Patroni retries etcd and PostgreSQL; at least 3 s.
    pub retry_timeout: Duration,
    /// `patronictl pause` is in force.
    pub paused: bool,
    /// `failsafe_mode: true`.
    pub failsafe_mode: bool,
    /// There is a `standby_cluster`: the leader's PostgreSQL follows another cluster, and stays in recovery.
    #[serde(default)]
    pub standby_cluster: bool,
}

impl PatroniConfig {
    /// Patroni's own defaults.
    pub const DEFAULT: Self = Self {
        ttl: Duration::from_secs(30),
        loop_wait: Duration::from_secs(10),
        retry_timeout: Duration::from_secs(10),
        paused: false,
        failsafe_mode: false,
        standby_cluster: false,
    };
}

/// Patroni's `members/<me>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The host part of `conn_url`, as written.
    pub host: String,
    /// What that resolves to; empty if the name did not resolve.
    pub addresses: Vec<IpAddr>,
    /// `api_url`, Patroni's REST API; `None` if the key does not say.
    pub api_url: Option<String>,
}

/// What the gate asks of etcd. At most one [`EtcdRequest::Round`], and per VIP one other, are under way at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EtcdRequest {
    /// Keep the named leases alive, each once, and *then* read everything. The order is the proof: a V read after its
    /// lease's keepalive was answered lives at least as long as that answer says.
    Round {
        /// Leases to keep alive; empty on a node that holds nothing.
        keep_alive: Vec<(VipId, LeaseId)>,
        /// K's lease, to be asked how long it lives, with `fence = "leader-key"`.
        leader_lease: Option<LeaseId>,
    },
    /// Grant a fresh lease and put V under it, in a transaction that compares K with `epoch` and V with `expect`.
    Acquire {
        /// Which V.
        vip: VipId,
        /// The value to put.
        value: LockValue,
        /// The lease's TTL to ask for, in seconds.
        ttl: u64,
        /// What V has to be for the put to happen.
        expect: Expect,
    },
    /// Revoke a lease, and with it V if it still lives by that lease. "Not found" is as good as done.
    Revoke {
        /// Which V's lease.
        vip: VipId,
        /// The lease.
        lease: LeaseId,
    },
}

/// The state of V on which an acquisition depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// V does not exist (`create_revision = 0`).
    Absent,
    /// V is still the very one that this host put, by its `mod_revision`.
    Mine(i64),
}

/// What came of an [`EtcdRequest`], or an unasked hint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EtcdReport {
    /// A watch saw K or V change, or lost its stream: look again. Carries no evidence.
    Hint,
    /// Somebody has asked Patroni for a switchover or a failover, not for a later time. Carries no evidence: Patroni may
    /// refuse.
    Switchover {
        /// From which member; `None`: from whoever leads.
        leader: Option<String>,
        /// When it was asked for, as etcd counts.
        revision: i64,
    },
    /// The request for it is gone: refused, or carried out.
    SwitchoverWithdrawn,
    /// The end of a round.
    Round {
        /// The keepalives that were answered. A lease that is missing here got no answer, which says nothing about it.
        kept: Vec<Kept>,
        /// The read. It was sent after the keepalives were answered.
        observation: Result<Box<Observation>, String>,
    },
    /// The end of an acquisition.
    Acquire {
        /// Which V.
        vip: VipId,
        /// What came of it.
        outcome: Acquisition,
    },
    /// The end of a revocation.
    Revoke {
        /// Which V.
        vip: VipId,
        /// The lease.
        lease: LeaseId,
        /// `Ok`: the lease is gone, by this request or before it. `Err`: unknown.
        outcome: Result<(), String>,
    },
}

/// One answered keepalive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Whose lease.
    pub vip: VipId,
    /// The lease.
    pub lease: LeaseId,
    /// Before the keepalive was sent.
    pub asked: Instant,
    /// The TTL that etcd granted, in seconds; 0 or less: the lease is gone.
    pub ttl: i64,
}

/// What came of an acquisition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acquisition {
    /// V is ours.
    Acquired {
        /// Before the lease was asked for.
        asked: Instant,
        /// The fresh lease.
        lease: LeaseId,
        /// The granted TTL in seconds, which may be more than was asked for.
        ttl: i64,
        /// V's new `mod_revision`.
        mod_revision: i64,
        /// Which etcd it was that put it. `None` in recordings of earlier versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cluster_id: Option<u64>,
    },
    /// The comparison failed: K or V is not what it was. The fresh lease has to be revoked.
    Refused {
        /// The fresh lease, which nothing lives by.
        lease: LeaseId,
    },
    /// It failed before V could have been touched: no lease, no put.
    Failed {
        /// Why.
        reason: String,
    },
    /// The put was sent and not answered. Revoking the lease settles it: a put that arrives later finds no lease.
    Unknown {
        /// The fresh lease.
        lease: LeaseId,
        /// Why.
        reason: String,
    },
}

/// An answer about the local PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleReport {
    /// Before the question was sent.
    pub asked: Instant,
    /// The answer.
    pub role: Role,
    /// `pg_control_system().system_identifier` of the server that answered, in decimal; `None` if none did.
    pub system_identifier: Option<String>,
    /// For people: what exactly was seen, such as `57P03: the database system is starting up`.
    pub detail: String,
}

/// What the local Patroni says of itself on `GET /patroni`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatroniReport {
    /// Before the question was sent.
    pub asked: Instant,
    /// The answer, or why there is none.
    pub answer: Result<PatroniState, String>,
}

/// The part of `GET /patroni` that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatroniState {
    /// It runs its PostgreSQL as the primary.
    pub primary: bool,
    /// Its failsafe mode is active: all members have accepted it as the primary while etcd is out of its reach.
    pub failsafe_active: bool,
}

/// What the local PostgreSQL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// `pg_is_in_recovery()` is false: accepts writes.
    Primary,
    /// In recovery.
    Standby,
    /// No server, or one that is starting up or shutting down.
    Down,
    /// It did not answer in time; proves nothing.
    Unknown,
}

impl Role {
    /// As in the JSON and in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

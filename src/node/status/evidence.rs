//! What the node goes by: etcd, PostgreSQL, Patroni and the interfaces, as they last were seen.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::seconds::{opt_seconds, seconds};
use crate::gate::evidence::{PatroniConfig, Role};

/// What etcd says, and how old that is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EtcdStatus {
    /// Age of the last answered read, counted from when it was asked; `None` before the first.
    #[serde(serialize_with = "opt_seconds")]
    pub age: Option<Duration>,
    /// The endpoint that gave it.
    pub endpoint: Option<String>,
    /// Why the latest round failed; `None` if it succeeded.
    pub error: Option<String>,
    /// The revision of the last answered read.
    pub revision: i64,
    /// The member that holds K, Patroni's leader key.
    pub leader: Option<String>,
    /// Whether that is this node.
    pub leader_is_me: bool,
    /// K's `create_revision`, the ownership epoch.
    pub epoch: Option<i64>,
    /// Patroni's dynamic configuration.
    pub patroni: Option<PatroniStatus>,
    /// PostgreSQL's system identifier according to Patroni.
    pub system_identifier: Option<String>,
}

/// Patroni's dynamic configuration.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PatroniStatus {
    /// Seconds.
    #[serde(serialize_with = "seconds")]
    pub ttl: Duration,
    /// Seconds.
    #[serde(serialize_with = "seconds")]
    pub loop_wait: Duration,
    /// Seconds.
    #[serde(serialize_with = "seconds")]
    pub retry_timeout: Duration,
    /// `patronictl pause` is in force.
    pub paused: bool,
    /// `failsafe_mode: true`.
    pub failsafe_mode: bool,
    /// There is a `standby_cluster`.
    pub standby_cluster: bool,
}

impl From<PatroniConfig> for PatroniStatus {
    fn from(config: PatroniConfig) -> Self {
        let PatroniConfig { ttl, loop_wait, retry_timeout, paused, failsafe_mode, standby_cluster } = config;
        Self { ttl, loop_wait, retry_timeout, paused, failsafe_mode, standby_cluster }
    }
}

/// Patroni's word on its failsafe mode, asked while the VIP is held and the mode is on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FailsafeStatus {
    /// Where it is asked.
    pub url: String,
    /// Age of the last answer, or of the failure to get one, from when it was asked.
    #[serde(serialize_with = "opt_seconds")]
    pub age: Option<Duration>,
    /// Patroni says that it runs the primary.
    pub primary: bool,
    /// Patroni says that its failsafe mode is active.
    pub active: bool,
    /// Why the last question was not answered.
    pub error: Option<String>,
}

/// What the local PostgreSQL says, and how old that is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PostgresStatus {
    /// Age of the last answer, counted from when it was asked; `None` before the first.
    #[serde(serialize_with = "opt_seconds")]
    pub age: Option<Duration>,
    /// The answer.
    pub role: Option<Role>,
    /// What exactly was seen.
    pub detail: String,
    /// The system identifier of the server that answers.
    pub system_identifier: Option<String>,
}

/// An interface.
#[derive(Clone, Debug, Default, Serialize)]
pub struct InterfaceStatus {
    /// Its configured name.
    pub name: String,
    /// The kernel's index; `None` while it does not exist.
    pub index: Option<u32>,
    /// Administratively up, with carrier.
    pub up: bool,
    /// The addresses that adverts are sent from, one of each family that it has.
    pub sources: Vec<IpAddr>,
}

//! The configuration.

use std::time::Duration;

use serde::Serialize;

use super::seconds::{opt_seconds, seconds};

/// The configuration in force, and what became of others.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConfigStatus {
    /// How long ago it came into force.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// Others that have come into force since the daemon started.
    pub reloads: u64,
    /// Others that were refused.
    pub refused: u64,
    /// Why the last one was, if none has come into force since.
    pub refusal: Option<String>,
    /// How long ago.
    #[serde(serialize_with = "opt_seconds")]
    pub refusal_age: Option<Duration>,
}

//! What an observing daemon has seen of a VIP that it would hold.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::seconds::seconds;

/// What would be, and what is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ObservedStatus {
    /// This daemon would have it bound here.
    pub would_hold: bool,
    /// Since when that is so.
    #[serde(serialize_with = "seconds")]
    pub would_age: Duration,
    /// It is bound here, by somebody else.
    pub present: bool,
    /// Since when that is so.
    #[serde(serialize_with = "seconds")]
    pub present_age: Duration,
    /// Who was heard to advertise it within the last 4 s.
    pub heard: Option<IpAddr>,
    /// How the two differed, newest first, bounded.
    pub differences: Vec<DifferenceStatus>,
}

/// How what would have been differed from what was.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DifferenceStatus {
    /// How long ago the two agreed again.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// `later`, `earlier`, `never` or `alone`.
    pub kind: &'static str,
    /// Whether it was about being here; else about being away.
    pub here: bool,
    /// By how much, or for how long.
    #[serde(serialize_with = "seconds")]
    pub by: Duration,
    /// The same for people.
    pub text: String,
}

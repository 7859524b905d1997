//! Moves that are over.

use std::time::Duration;

use serde::Serialize;

use super::seconds::seconds;

/// One completed move of the VIP to or away from this node, with the time each phase took.
#[derive(Clone, Debug, Serialize)]
pub struct Move {
    /// To this node, or away from it.
    pub kind: MoveKind,
    /// How long ago it was completed.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// Why.
    pub reason: String,
    /// Phases in order, each with its duration in seconds.
    pub phases: Vec<MovePhase>,
}

/// Direction of a [`Move`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveKind {
    /// The VIP came to this node.
    Gained,
    /// The VIP left this node.
    Lost,
}

/// A phase of a move.
#[derive(Clone, Debug, Serialize)]
pub struct MovePhase {
    /// Gained: `lock`, `promotion`, `bind`. Lost: `drain`, `unbind`.
    pub name: &'static str,
    /// Seconds.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
}

//! The words for what a VIP can be: its phase, its router's state, and who decides.

use serde::Serialize;
use vrrp::router::State;

/// Where a VIP is in its life on this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseLabel {
    /// Not here, and not entitled.
    #[default]
    Closed,
    /// Found bound at start, waiting for the evidence that it may stay.
    Adopting,
    /// V is being acquired, or held while PostgreSQL is not yet primary.
    Armed,
    /// Advertising, to make a foreign Active go before the address is bound.
    Displacing,
    /// Bound.
    Active,
    /// Still bound, while PostgreSQL says goodbye to its clients.
    Draining,
    /// Being removed.
    Releasing,
}

impl PhaseLabel {
    /// As in the JSON and in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Adopting => "adopting",
            Self::Armed => "armed",
            Self::Displacing => "displacing",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Releasing => "releasing",
        }
    }
}

/// The state of RFC 9568 section 6.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouterLabel {
    /// Listening only: the gate is closed, or something is in the way.
    #[default]
    Initialize,
    /// Watching the Active. Never entered by an owner.
    Backup,
    /// Advertising.
    Active,
}

impl RouterLabel {
    /// As in the JSON and in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Active => "active",
        }
    }
}

impl From<State> for RouterLabel {
    fn from(state: State) -> Self {
        match state {
            State::Initialize => Self::Initialize,
            State::Backup => Self::Backup,
            State::Active => Self::Active,
        }
    }
}

/// Who decides where a VIP is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FollowsLabel {
    /// etcd and PostgreSQL.
    #[default]
    Primary,
    /// VRRP's election.
    None,
}

impl FollowsLabel {
    /// As in the JSON and in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::None => "none",
        }
    }
}

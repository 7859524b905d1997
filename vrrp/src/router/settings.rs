//! What the operator says of a virtual router.

use core::time::Duration;

use super::ChecksumPolicy;
use crate::types::{Interval, Priority, Vrid};

/// What the operator says of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its identifier.
    pub vrid: Vrid,
    /// This router's priority.
    pub priority: Priority,
    /// Advertisement_Interval.
    pub interval: Interval,
    /// Whether a Backup takes over from an Active of lower priority.
    pub preempt: Preempt,
    /// Which checksum form to send.
    pub checksum: ChecksumPolicy,
}

/// Whether a Backup takes over from an Active of lower priority: RFC 9568's Preempt_Mode, and how long it waits before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Preempt {
    /// Preempt_Mode false: whoever is Active stays so.
    Never,
    /// Preempt_Mode false until this time has passed since an Active of lower priority was first heard, and true from then
    /// on: a host that has just come up may want to fetch its caches, or its data, first. Zero is Preempt_Mode true.
    After(Duration),
}

impl Preempt {
    /// Preempt_Mode true, the RFC's default (section 6.1).
    pub const AT_ONCE: Self = Self::After(Duration::ZERO);
}

impl Default for Preempt {
    fn default() -> Self {
        Self::AT_ONCE
    }
}

//! A VIP's virtual router, and the others that were heard on it.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use vrrp::router::Router;

use super::seconds::{opt_seconds, seconds};

/// The numbers of RFC 9568 section 6.1, as they are now.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct VrrpStatus {
    /// This router's priority; 255 is the owner's.
    pub priority: u8,
    /// Advertisement_Interval, as configured.
    #[serde(serialize_with = "seconds")]
    pub advertisement_interval: Duration,
    /// Active_Adver_Interval: what the Active was heard to use.
    #[serde(serialize_with = "seconds")]
    pub active_adver_interval: Duration,
    /// Skew_Time.
    #[serde(serialize_with = "seconds")]
    pub skew_time: Duration,
    /// Active_Down_Interval.
    #[serde(serialize_with = "seconds")]
    pub active_down_interval: Duration,
}

impl VrrpStatus {
    pub(in crate::node) fn of(router: &Router) -> Self {
        let settings = router.settings();
        Self {
            priority: settings.priority.get(),
            advertisement_interval: settings.interval.duration(),
            active_adver_interval: router.active_adver_interval().duration(),
            skew_time: router.skew_time(),
            active_down_interval: router.active_down_interval(),
        }
    }
}

/// A VRRP router heard on the segment.
#[derive(Clone, Debug, Serialize)]
pub struct PeerStatus {
    /// Source of its adverts.
    pub address: IpAddr,
    /// VRRP version it speaks; 2 is counted and shown, not obeyed.
    pub version: u8,
    /// Its last priority; 0 means that it said goodbye, 255 that it owns the address.
    pub priority: u8,
    /// Its last advertisement interval.
    #[serde(serialize_with = "seconds")]
    pub interval: Duration,
    /// Age of its last advert; `None` for a unicast peer that was never heard.
    #[serde(serialize_with = "opt_seconds")]
    pub age: Option<Duration>,
    /// Adverts heard.
    pub adverts: u64,
    /// The addresses that it lists differ from this VIP.
    pub address_mismatch: bool,
    /// Its interval differs from this node's.
    pub interval_mismatch: bool,
}

impl PeerStatus {
    pub(crate) fn never_heard(address: IpAddr) -> Self {
        Self {
            address,
            version: 3,
            priority: 0,
            interval: Duration::ZERO,
            age: None,
            adverts: 0,
            address_mismatch: false,
            interval_mismatch: false,
        }
    }
}

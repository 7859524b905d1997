//! Patroni's failsafe mode: etcd is silent, and Patroni stays primary because every member of the cluster has just told
//! it by REST that it may.
//!
//! Holding the VIP past D is as safe as that: another node can take V only if it owns K, and a member that has accepted
//! this primary does not take K for a `ttl` from then on. So it never lets a node *bind*, only keep what it holds, and
//! only for a few seconds from each time that Patroni was asked and said so.

use std::time::Duration;

use vrrp::time::Instant;

use super::evidence::{Observation, PatroniReport};
use super::guard::{Guard, stands};
use super::policy::{Failsafe, Policy};

/// How long Patroni's word is good for, from when it was asked. It is asked twice a second.
pub const VOUCHED: Duration = Duration::from_secs(5);

/// Whether Patroni is to be asked: its failsafe mode is on as far as known. Not only in etcd's silence, since etcd may be
/// silent to Patroni alone, and then the first that is seen of it is that K is gone.
pub fn is_due(policy: Policy, etcd: Option<&Observation>) -> bool {
    let on = etcd.and_then(|etcd| etcd.config).is_some_and(|config| config.failsafe_mode);
    policy.failsafe == Failsafe::Auto && on
}

/// When Patroni was last asked and vouched for this node, if that is still good now.
pub fn vouched(now: Instant, patroni: Option<&PatroniReport>) -> Option<Instant> {
    let report = patroni?;
    let yes = report.answer.as_ref().is_ok_and(|answer| answer.primary && answer.failsafe_active);
    (yes && (now < report.asked + VOUCHED || !stands(Guard::VouchEnds))).then_some(report.asked)
}

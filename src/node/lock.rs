//! The fence of one VIP: where this node is with V, its own key. At most one operation on it is under way at any time.
//! With `fence = "leader-key"` there is no V, and K takes its place.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vrrp::time::Instant;

use crate::gate::deadline;
use crate::gate::evidence::{
    Acquisition, EtcdRequest, Expect, Kept, LeaseId, LockHolder, LockKey, LockValue, Observation, Remaining, VipId,
};
use crate::gate::guard::{Guard, stands};
use crate::gate::verdict::Held;

/// Pause before a revocation whose outcome is unknown is tried again.
const REVOKE_AGAIN: Duration = Duration::from_millis(500);

/// Pause before V is put under a lease with another TTL again, if that failed.
const REFRESH_AGAIN: Duration = Duration::from_secs(1);

/// Why a put was refused, as far as etcd says.
const CHANGED: &str = "the leader key or the lock changed at the same moment";

/// Who this daemon is, as far as V is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Patroni member name.
    pub member: String,
    /// The kernel's boot ID.
    pub boot_id: String,
    /// The number in the runtime directory.
    pub incarnation: String,
}

impl Identity {
    /// The value to put for an epoch of K.
    fn value(&self, epoch: i64) -> LockValue {
        LockValue {
            format: LockValue::FORMAT,
            member: self.member.clone(),
            boot_id: self.boot_id.clone(),
            incarnation: self.incarnation.clone(),
            epoch,
        }
    }

    /// Whether V was put by this daemon or by its predecessor in the same runtime directory since the same boot. The
    /// runtime directory's lock shows that the predecessor is dead; a clone or a restored image has another boot.
    pub(super) fn owns(&self, key: &LockKey) -> bool {
        match &key.holder {
            LockHolder::Known(value) => {
                (value.member == self.member || !stands(Guard::OwnMember))
                    && (value.boot_id == self.boot_id || !stands(Guard::Boot))
                    && (value.incarnation == self.incarnation || !stands(Guard::Incarnation))
            }
            LockHolder::Unknown(_) => false,
        }
    }
}

/// Where this node is with V.
#[derive(Debug)]
pub(super) enum Lock {
    /// Nothing of ours is in etcd, as far as we know.
    None,
    /// A put is under way. `void`: whatever comes of it, it was for another etcd than this one.
    Acquiring { epoch: i64, ttl: u64, void: bool },
    /// V is ours. `refresh`: Patroni's times have changed, and it is to be moved to a fresh lease.
    Held { held: Held, refresh: Option<Refresh> },
    /// V is to go, and a put that moves it to a fresh lease is under way: its answer says which lease is to be revoked.
    Leaving { lease: LeaseId },
    /// A lease that V lives by, or may live by, is being revoked.
    Revoking { lease: LeaseId, under_way: bool, again: Instant, since: Instant },
}

/// V's way to a fresh lease with another TTL.
#[derive(Debug)]
pub(super) struct Refresh {
    /// The TTL that was asked for, in seconds.
    ttl: u64,
    /// When to try again; `None` while the answer is awaited.
    again: Option<Instant>,
    /// The D of the fresh lease, which nobody keeps alive yet.
    cap: Instant,
    /// The earliest of those of which etcd never said whether V was put under them.
    doubt: Option<Instant>,
}

impl Refresh {
    fn is_awaited(&self) -> bool {
        self.again.is_none()
    }

    /// D may not be later than this, since V may live by a lease that nobody keeps alive.
    fn limit(&self) -> Option<Instant> {
        let awaited = Some(self.cap).filter(|_| self.is_awaited());
        [awaited, self.doubt].into_iter().flatten().min().filter(|_| stands(Guard::RefreshLimit))
    }
}

impl Lock {
    pub(super) fn held(&self) -> Option<&Held> {
        match self {
            Self::Held { held, .. } => Some(held),
            _ => None,
        }
    }

    /// Whether V was held and is known to be gone, or another's.
    pub(super) fn is_lost(&self) -> bool {
        self.held().is_some_and(|held| held.lost.is_some())
    }

    /// Starts to acquire V.
    pub(super) fn acquire(&mut self, vip: VipId, me: &Identity, epoch: i64, ttl: u64, expect: Expect) -> EtcdRequest {
        *self = Self::Acquiring { epoch, ttl, void: false };
        EtcdRequest::Acquire { vip, value: me.value(epoch), ttl, expect }
    }

    /// Moves V to a fresh lease if Patroni's times now ask for another TTL.
    ///
    /// What came of a put that was not answered is settled by reading V, or by the next put: only one of the two can find V
    /// as it was.
    pub(super) fn refresh(&mut self, now: Instant, vip: VipId, me: &Identity, ttl: u64) -> Option<EtcdRequest> {
        let Self::Held { held, refresh } = self else { return None };
        let former = refresh.as_ref();
        let wait = former.is_some_and(|refresh| refresh.again.is_none_or(|again| now < again));
        // In doubt V is put anew even if its TTL is right: D would stay capped otherwise.
        let wanted = held.ttl_asked != ttl || former.is_some_and(|refresh| refresh.doubt.is_some());
        if held.lease.is_none() || held.lost.is_some() || !wanted || wait {
            return None;
        }
        let cap = deadline::deadline(now, ttl);
        let doubt = former.and_then(|former| former.doubt);
        if stands(Guard::RefreshLimit) {
            held.deadline = held.deadline.min(cap);
        }
        *refresh = Some(Refresh { ttl, again: None, cap, doubt });
        Some(EtcdRequest::Acquire { vip, value: me.value(held.epoch), ttl, expect: Expect::Mine(held.mod_revision) })
    }

    /// K itself becomes the fence: read as this member's, after its lease was asked how long it lives (rule A). `false` if
    /// that was not answered, or nothing was left.
    pub(super) fn hold_by_leader_key(&mut self, now: Instant, read: &Observation) -> bool {
        let Some((leader, remaining)) = read.leader.as_ref().and_then(|key| key.remaining.map(|left| (key, left)))
        else {
            return false;
        };
        let held = Held {
            lease: None,
            leader_lease: Some(leader.lease),
            ttl: remaining.ttl,
            ttl_asked: remaining.ttl,
            mod_revision: read.revision,
            epoch: leader.create_revision,
            acquired: now,
            proven: remaining.asked,
            deadline: deadline::deadline(remaining.asked, remaining.ttl),
            lost: None,
        };
        let good = deadline::lifetime(now, held.deadline).is_some();
        if good {
            *self = Self::Held { held, refresh: None };
        }
        good
    }

    /// Gives up what is held: V by revoking its lease, K by forgetting it.
    pub(super) fn let_go(&mut self, now: Instant) {
        if let Self::Held { held, refresh } = self {
            let under_way = refresh.as_ref().is_some_and(Refresh::is_awaited);
            match held.lease {
                Some(lease) if under_way && stands(Guard::LeaveAfterAnswer) => *self = Self::Leaving { lease },
                Some(lease) => self.revoke(now, lease),
                None => *self = Self::None,
            }
        }
    }

    /// Starts to revoke the lease. The request goes out when the address is on no interface of this host: nothing must
    /// be able to take V while the address is still here.
    pub(super) fn revoke(&mut self, now: Instant, lease: LeaseId) {
        *self = Self::Revoking { lease, under_way: false, again: now, since: now };
    }

    /// The revocation to send now, if one is due.
    pub(super) fn due(&mut self, now: Instant, vip: VipId) -> Option<EtcdRequest> {
        match self {
            Self::Revoking { lease, under_way: under_way @ false, again, .. } if *again <= now => {
                *under_way = true;
                Some(EtcdRequest::Revoke { vip, lease: *lease })
            }
            _ => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Revoking { under_way: false, again, .. } => Some(*again),
            _ => None,
        }
    }

    /// Takes the end of an acquisition. Returns why it failed, if it did.
    pub(super) fn acquired(&mut self, now: Instant, outcome: Acquisition) -> Result<(), String> {
        let (epoch, ttl_asked) = match std::mem::replace(self, Self::None) {
            // Decided before etcd turned out to be another one: it does not count, and whoever trusts the former etcd is
            // waited for.
            Self::Acquiring { void: true, .. } => {
                if let Acquisition::Acquired { lease, .. }
                | Acquisition::Refused { lease }
                | Acquisition::Unknown { lease, .. } = outcome
                {
                    self.revoke(now, lease);
                }
                return Err("etcd turned out to be another one meanwhile".to_owned());
            }
            Self::Acquiring { epoch, ttl, .. } => (epoch, ttl),
            Self::Held { held, refresh: Some(refresh) } if refresh.is_awaited() => {
                return self.refreshed(now, held, refresh, outcome);
            }
            Self::Leaving { lease } => {
                // Where etcd did not say, V may live by either: what is left of it is cleaned up when it is read.
                let lease = match outcome {
                    Acquisition::Acquired { lease, .. } | Acquisition::Unknown { lease, .. } => lease,
                    Acquisition::Refused { .. } | Acquisition::Failed { .. } => lease,
                };
                self.revoke(now, lease);
                return Ok(());
            }
            // Nobody waits for this answer: whatever V became by it, the next read tells.
            other => {
                *self = other;
                return Ok(());
            }
        };
        match outcome {
            Acquisition::Acquired { asked, lease, ttl, mod_revision, .. } => {
                let ttl = u64::try_from(ttl).unwrap_or(0);
                *self = Self::Held {
                    held: Held {
                        lease: Some(lease),
                        leader_lease: None,
                        ttl,
                        ttl_asked,
                        mod_revision,
                        epoch,
                        acquired: now,
                        // The grant is the first keepalive, and the put that succeeded under it the first read.
                        proven: asked,
                        deadline: deadline::deadline(asked, ttl),
                        lost: None,
                    },
                    refresh: None,
                };
                Ok(())
            }
            Acquisition::Failed { reason } => Err(reason),
            Acquisition::Refused { lease } => {
                self.revoke(now, lease);
                Err(CHANGED.to_owned())
            }
            Acquisition::Unknown { lease, reason } => {
                self.revoke(now, lease);
                Err(reason)
            }
        }
    }

    /// Takes the end of a put that moves V to a fresh lease. Whatever it is, V stays held, and by what is read of it.
    fn refreshed(&mut self, now: Instant, held: Held, refresh: Refresh, outcome: Acquisition) -> Result<(), String> {
        let doubt = refresh.limit();
        let again = Refresh { again: Some(now + REFRESH_AGAIN), ..refresh };
        let ttl_asked = again.ttl;
        let (held, refresh, result) = match outcome {
            Acquisition::Acquired { asked, lease, ttl, mod_revision, .. } => {
                let ttl = u64::try_from(ttl).unwrap_or(0);
                let deadline = deadline::deadline(asked, ttl);
                (
                    Held { lease: Some(lease), ttl, ttl_asked, mod_revision, proven: asked, deadline, ..held },
                    None,
                    Ok(()),
                )
            }
            Acquisition::Failed { reason } => (held, Some(again), Err(reason)),
            Acquisition::Refused { .. } => (held, Some(again), Err(CHANGED.to_owned())),
            Acquisition::Unknown { reason, .. } => (held, Some(Refresh { doubt, ..again }), Err(reason)),
        };
        *self = Self::Held { held, refresh };
        result
    }

    /// Takes the end of a revocation.
    pub(super) fn revoked(&mut self, now: Instant, of: LeaseId, outcome: &Result<(), String>) {
        if let Self::Revoking { lease, under_way, again, .. } = self
            && *lease == of
        {
            match outcome {
                Ok(()) => *self = Self::None,
                Err(_) => {
                    *under_way = false;
                    *again = now + REVOKE_AGAIN;
                }
            }
        }
    }

    /// Takes a proof round: the keepalive's answer, and what was read of V after it. Only both together move D: a
    /// lease that still answers is not V, since V can be deleted, and another's.
    pub(super) fn prove(&mut self, me: &Identity, kept: Option<&Kept>, read: Option<&Observation>, vip: VipId) {
        let Self::Held { held, refresh } = self else { return };
        if held.lease.is_none() {
            return prove_by_leader_key(held, me, read);
        }
        let kept = kept.filter(|kept| Some(kept.lease) == held.lease);
        if kept.is_some_and(|kept| kept.ttl <= 0) && stands(Guard::LeaseLost) {
            held.lost = Some("its lease has expired or was revoked".to_owned());
            return;
        }
        if let (Some(kept), false) = (kept, stands(Guard::ProofReadsLock)) {
            held.proven = held.proven.max(kept.asked);
            held.deadline = held.deadline.max(deadline::deadline(kept.asked, held.ttl));
            return;
        }
        // A read from before our put says nothing about it.
        let Some(read) = read.filter(|read| read.revision >= held.mod_revision || !stands(Guard::ReadNotOlder)) else {
            return;
        };
        let lost = match read.locks.get(vip.0).and_then(Option::as_ref) {
            None => Some("it was deleted".to_owned()),
            Some(key) if key.mod_revision == held.mod_revision && Some(key.lease) == held.lease => {
                let others = read.leader.as_ref().is_some_and(|leader| leader.member != me.member);
                if let Some(kept) = kept.filter(|_| !others) {
                    held.ttl = u64::try_from(kept.ttl).unwrap_or(0);
                    held.proven = held.proven.max(kept.asked);
                    let proven = held.deadline.max(deadline::deadline(kept.asked, held.ttl));
                    let limit = refresh.as_ref().and_then(Refresh::limit);
                    held.deadline = limit.map_or(proven, |limit| proven.min(limit));
                }
                // Lost and taken anew while V stayed ours: the next put has to name the present one.
                if let Some(leader) = read.leader.as_ref().filter(|_| !others) {
                    held.epoch = leader.create_revision;
                }
                None
            }
            // Our own put under a fresh lease, whose answer is still on its way.
            Some(key) if refresh.as_ref().is_some_and(Refresh::is_awaited) && me.owns(key) => None,
            // ... whose answer never came: this is it. D stays where it is until that lease is kept alive.
            Some(key) if refresh.as_ref().is_some_and(|refresh| refresh.doubt.is_some()) && me.owns(key) => {
                held.ttl_asked = refresh.take().map_or(held.ttl_asked, |refresh| refresh.ttl);
                (held.lease, held.mod_revision) = (Some(key.lease), key.mod_revision);
                None
            }
            Some(key) => Some(format!("it is now {}'s", holder_name(key))),
        };
        if lost.is_some() && stands(Guard::LockLost) {
            held.lost = lost;
        }
    }
}

/// The same with K as the fence. Its lease may change with Patroni's session; its epoch may not.
///
/// Sound since another takes K only after it is gone: by expiry no sooner than what was left when it was asked, as the
/// read that followed shows K alive with that very lease, and renewals and etcd's elections only prolong it; by
/// Patroni's own hand only after PostgreSQL was stopped, which is seen for itself.
fn prove_by_leader_key(held: &mut Held, me: &Identity, read: Option<&Observation>) {
    let Some(read) = read else { return };
    // That K is gone or another's is the verdict's business.
    let Some(leader) = read.leader.as_ref().filter(|key| key.member == me.member) else { return };
    if leader.create_revision != held.epoch {
        held.lost = Some("the leader key was lost and taken anew".to_owned());
    } else if let Some(Remaining { asked, ttl }) = leader.remaining {
        // The newest answer alone: K may live by another lease than before, and a shorter one.
        (held.leader_lease, held.ttl, held.proven) = (Some(leader.lease), ttl, asked);
        let former = if stands(Guard::LeaderLease) { Instant::ZERO } else { held.deadline };
        held.deadline = former.max(deadline::deadline(asked, ttl));
    } else if held.leader_lease != Some(leader.lease) && stands(Guard::LeaderLease) {
        // By a lease that has not been asked about yet: what was known of the former says nothing any more.
        held.deadline = held.deadline.min(read.asked + deadline::NEW_LEASE);
    }
}

/// The holder's name for people.
pub(super) fn holder_name(key: &LockKey) -> String {
    match &key.holder {
        LockHolder::Known(value) => value.member.clone(),
        LockHolder::Unknown(raw) => format!("an unknown format ({raw})"),
    }
}

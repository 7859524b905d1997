//! What this node could do about V now, and by what right.

use super::{Claim, Vip};
use crate::gate::evidence::{Expect, LockHolder, LockKey, Role};
use crate::gate::guard::{Guard, stands};
use crate::gate::policy::{Fence, Paused};
use crate::gate::reason::Reason;
use crate::gate::verdict::{Verdict, eligible, verdict};
use crate::node::kernel_view::is_short_lived;
use crate::node::lock::{Lock, holder_name};
use crate::node::vip::Surroundings;

impl Vip {
    /// What could be done about V, and by what right.
    pub(super) fn claim(&self, around: &Surroundings<'_>) -> Claim {
        match &self.lock {
            Lock::None => match self.may_acquire(around) {
                Ok(_) if around.evidence.policy.fence == Fence::LeaderKey => Claim::Hold,
                Ok((epoch, expect)) => Claim::Take(epoch, expect),
                Err(reason) => Claim::No(reason),
            },
            Lock::Acquiring { .. } => Claim::Wait(Reason::Acquiring),
            Lock::Revoking { .. } | Lock::Leaving { .. } if around.stopping => Claim::Wait(Reason::Stopping),
            Lock::Revoking { .. } | Lock::Leaving { .. } => Claim::Wait(Reason::Unlocking),
            Lock::Held { .. } if around.stopping => Claim::GiveUp(Reason::Stopping),
            Lock::Held { .. } if self.settings.retired => Claim::GiveUp(Reason::Removed),
            Lock::Held { .. } if self.drained => Claim::GiveUp(Reason::Drained),
            Lock::Held { .. } if around.handing_over => Claim::Wait(Reason::HandingOver),
            // Without the interface there is nothing to bind to, and V only keeps others from serving.
            Lock::Held { .. } if around.kernel.place(&self.settings).is_none() => {
                Claim::GiveUp(self.no_interface(around))
            }
            Lock::Held { held, .. } => match verdict(&around.evidence, held, false) {
                Verdict::Open(reason) => Claim::Open(reason),
                Verdict::Armed(reason) => Claim::Wait(reason),
                Verdict::Drain(reason) | Verdict::Shut(reason) => Claim::GiveUp(reason),
            },
        }
    }

    pub(super) fn may_acquire(&self, around: &Surroundings<'_>) -> Result<(i64, Expect), Reason> {
        let evidence = &around.evidence;
        if around.stopping {
            return Err(Reason::Stopping);
        }
        if around.handing_over {
            return Err(Reason::HandingOver);
        }
        if self.settings.retired {
            return Err(Reason::Removed);
        }
        if self.drained {
            return Err(Reason::Drained);
        }
        if around.kernel.place(&self.settings).is_none() {
            return Err(self.no_interface(around));
        }
        if let Some(leader) = self.split_brain_with(around) {
            return Err(Reason::SplitBrain(leader.to_owned()));
        }
        let epoch = eligible(evidence, |address| around.kernel.is_local(address), self.released)?;
        if let Some((_, error)) = &self.refused {
            return Err(Reason::BindRefused(error.clone()));
        }
        if let Some(failure) = &self.acquire_failure {
            return Err(Reason::AcquireFailed(failure.reason.clone()));
        }
        // A read asked before our last revocation ended may show a V that is gone.
        let etcd = evidence.etcd.filter(|etcd| etcd.asked > self.unlocked).ok_or(Reason::EtcdUnasked)?;
        match etcd.locks.get(self.id.0).and_then(Option::as_ref) {
            None => Ok((epoch, Expect::Absent)),
            Some(key) if around.me.owns(key) => Ok((epoch, Expect::Mine(key.mod_revision))),
            Some(LockKey { holder: LockHolder::Unknown(value), .. }) => Err(Reason::LockUnreadable(value.clone())),
            Some(key) => Err(Reason::LockHeld(holder_name(key))),
        }
    }

    /// Who holds K while PostgreSQL here accepts writes. A no like any other; but where Patroni is dead the member's key is
    /// gone as well, and that is not what has to be said first.
    fn split_brain_with<'a>(&self, around: &Surroundings<'a>) -> Option<&'a str> {
        let evidence = &around.evidence;
        let etcd = evidence.etcd?;
        let leader = etcd.leader.as_ref().filter(|leader| leader.member != evidence.member)?;
        // Under another member's name nothing is split.
        let is_here = |address| around.kernel.is_local(address);
        let named = etcd.member.as_ref().is_none_or(|member| member.addresses.iter().any(is_here));
        (self.split_brain && evidence.member_known && named).then_some(&leader.member)
    }

    /// Whether an address that is bound without our doing may stay for now. Only one that our predecessor bound, with
    /// the lifetime it gave it still running, and only while nothing has said no.
    pub(super) fn may_stay(&self, around: &Surroundings<'_>, claim: &Claim) -> bool {
        let mut places = around.kernel.places(&self.settings);
        let ours = places.all(|(place, _)| is_short_lived(place)) && !around.kernel.has_strays(&self.settings);
        let deserved = match claim {
            Claim::Take(_, Expect::Mine(_)) | Claim::Hold | Claim::Open(_) => true,
            Claim::Take(_, Expect::Absent) | Claim::GiveUp(_) => false,
            Claim::Wait(reason) | Claim::No(reason) => reason.is_undecided(),
        };
        // Without our predecessor's lock, or K where that is the fence, there is no right to wait for.
        let etcd = around.evidence.etcd;
        let lock = etcd.is_none_or(|etcd| match around.evidence.policy.fence {
            Fence::Lock => etcd.locks.get(self.id.0).and_then(Option::as_ref).is_some_and(|key| around.me.owns(key)),
            Fence::LeaderKey => etcd.leader.as_ref().is_some_and(|leader| leader.member == around.me.member),
        });
        // Nor is there one without K, whatever a put that is under way leads to.
        let paused = etcd.and_then(|etcd| etcd.config).is_some_and(|config| config.paused);
        let stays = paused && around.evidence.policy.paused == Paused::Hold;
        let led = etcd.is_none_or(|etcd| match &etcd.leader {
            Some(leader) => leader.member == around.me.member,
            None => stays,
        });
        // Whatever etcd will say, on a server that is no primary the address has no business.
        let refuted = around.evidence.postgres.is_some_and(|report| matches!(report.role, Role::Standby | Role::Down));
        let wanted = !self.settings.retired && !self.drained;
        let right = (deserved && wanted && lock && led && !refuted) || !stands(Guard::Adoption);
        ours && right && self.adopt_until.is_some_and(|until| around.evidence.now < until)
    }

    /// A V of our own that is neither held nor about to be: from before a restart, or from an answer that never came.
    /// It only keeps others waiting. The address has been found absent.
    pub(super) fn clean_up_leftover(&mut self, around: &Surroundings<'_>, reason: &Reason) {
        let decided = !reason.is_undecided() && !matches!(reason, Reason::AcquireFailed(_));
        let Some(etcd) = around.evidence.etcd.filter(|etcd| decided && etcd.asked > self.unlocked) else { return };
        if around.kernel.is_present(&self.settings) && stands(Guard::RevokeAbsent) {
            return;
        }
        if let Some(key) = etcd.locks.get(self.id.0).and_then(Option::as_ref)
            && around.me.owns(key)
        {
            self.lock.revoke(around.evidence.now, key.lease);
        }
    }
}

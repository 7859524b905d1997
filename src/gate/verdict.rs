//! The decision. Two questions: may this node try to take V (`eligible`), and what does holding V allow (`verdict`).

use std::net::IpAddr;

use vrrp::time::Instant;

use super::deadline::{self, RECENT};
use super::evidence::{LeaseId, Observation, PatroniConfig, Role, RoleReport};
use super::failsafe;
use super::guard::{Guard, stands};
use super::policy::{Fence, Paused, Policy, PostgresDown};
use super::reason::Reason;

/// What is known when a decision is taken. All of it was asked before `now`.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The time of the decision.
    pub now: Instant,
    /// This node's Patroni member name.
    pub member: &'a str,
    /// The last good read of etcd; `None` before the first.
    pub etcd: Option<&'a Observation>,
    /// Whether `members/<me>` was ever read: then the name is right, whatever is missing now.
    pub member_known: bool,
    /// The cluster's system identifier as it was last read; it does not go with the key that said so.
    pub system_identifier: Option<&'a str>,
    /// Nothing may be acquired before this moment, since etcd turned out to be another one.
    pub quarantine: Option<Instant>,
    /// The last answer about PostgreSQL; `None` before the first.
    pub postgres: Option<&'a RoleReport>,
    /// When Patroni was last asked and its failsafe mode vouched for this node; `None` if that is not good any more.
    pub vouched: Option<Instant>,
    /// Answers asked before this moment are from before a stall: they justify no bind.
    pub fresh_after: Instant,
    /// The operator's settings.
    pub policy: Policy,
}

/// The fence, as long as it is held: V, or K itself with [`Fence::LeaderKey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// V's lease. `None` if K is the fence: its lease is Patroni's, and nothing of ours may keep it alive or revoke it.
    pub lease: Option<LeaseId>,
    /// With K as the fence, its lease at the last proof.
    pub leader_lease: Option<LeaseId>,
    /// The granted TTL in seconds; with K, what was left of it at the last proof.
    pub ttl: u64,
    /// The TTL that was asked for, in seconds.
    pub ttl_asked: u64,
    /// What our put made it; with K, the revision at which it was read.
    pub mod_revision: i64,
    /// K's `create_revision` for which it was taken.
    pub epoch: i64,
    /// When it became ours.
    pub acquired: Instant,
    /// When the last proof was asked.
    pub proven: Instant,
    /// D.
    pub deadline: Instant,
    /// Why it is known to be lost.
    pub lost: Option<String>,
}

impl Held {
    /// Until when the address may stay: D, or for longer while Patroni's failsafe mode vouches for this node. For what is
    /// bound already, and for nothing else.
    pub fn stays_until(&self, evidence: &Evidence<'_>) -> Instant {
        evidence.vouched.map_or(self.deadline, |asked| self.deadline.max(asked + failsafe::VOUCHED))
    }
}

/// What holding V allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The address may be bound, or stay bound.
    Open(Reason),
    /// V may be kept, the address not yet bound.
    Armed(Reason),
    /// The address has to leave, after PostgreSQL said goodbye to its clients.
    Drain(Reason),
    /// The address has to leave now, and V with it.
    Shut(Reason),
}

/// May this node try to acquire V? `Ok` carries K's `create_revision`, on which the transaction then depends.
///
/// PostgreSQL has to have answered "standby" or "primary" to a question asked after `released`: so an old primary does
/// not take V again while it is shutting down with K still its own.
pub fn eligible(evidence: &Evidence<'_>, local: impl Fn(&IpAddr) -> bool, released: Instant) -> Result<i64, Reason> {
    let etcd = evidence.etcd.ok_or(Reason::EtcdUnasked)?;
    let unknown = || Reason::UnknownMember(etcd.member_key.clone());
    // First of all, since a wrong name or scope explains everything else that is seen.
    if etcd.member.is_none() && !evidence.member_known {
        return Err(unknown());
    }
    let leader = etcd.leader.as_ref().ok_or(Reason::NoLeader)?;
    if leader.member != evidence.member {
        return Err(Reason::OtherLeads(leader.member.clone()));
    }
    if stands(Guard::Quarantine) && evidence.quarantine.is_some_and(|until| evidence.now < until) {
        return Err(Reason::EtcdRebuilt);
    }
    // The right process: two Patronis that were given one name must not both be served.
    let member = etcd.member.as_ref().ok_or_else(unknown)?;
    if member.addresses.is_empty() && stands(Guard::MemberResolved) {
        return Err(Reason::MemberUnresolved(member.host.clone()));
    }
    if stands(Guard::LocalMember) && !member.addresses.iter().any(local) {
        return Err(Reason::MemberElsewhere(member.host.clone()));
    }
    let postgres = evidence
        .postgres
        .filter(|report| report.asked > released || !stands(Guard::ArmedSinceRelease))
        .ok_or(Reason::PostgresUnasked)?;
    match postgres.role {
        Role::Primary | Role::Standby => {}
        _ if !stands(Guard::EligibleRole) => {}
        Role::Down => return Err(Reason::PostgresDown(postgres.detail.clone())),
        Role::Unknown => return Err(Reason::PostgresUnknown(postgres.detail.clone())),
    }
    // The right server, in the right cluster.
    if etcd.system_identifier.is_none() && stands(Guard::Initialized) {
        return Err(Reason::NotInitialized);
    }
    same_server(evidence, postgres)?;
    Ok(leader.create_revision)
}

/// What does holding V allow? `bound` tells whether the address is bound now: holding needs no positive no (P6),
/// binding needs a positive yes.
pub fn verdict(evidence: &Evidence<'_>, held: &Held, bound: bool) -> Verdict {
    // Verdict, deadline and kernel lifetime are three independent ways out. This is the deadline: whatever the rest
    // says, an old proof is none.
    let vouched = bound || !stands(Guard::VouchBindsNothing);
    let deadline = if vouched { held.stays_until(evidence) } else { held.deadline };
    if stands(Guard::Deadline) && evidence.now >= deadline::leave_by(deadline) {
        return Verdict::Shut(Reason::Deadline);
    }
    if bound && !stands(Guard::Verdict) {
        return Verdict::Open(Reason::Holding);
    }
    if let Some(how) = &held.lost {
        return Verdict::Shut(Reason::LockLost(how.clone()));
    }
    let open = match leader_key(evidence, held, bound) {
        Ok(open) => open,
        Err(reason) => return Verdict::Shut(reason),
    };
    let Some(postgres) = evidence.postgres else {
        return Verdict::Armed(Reason::PostgresUnasked);
    };
    if let Err(reason) = same_server(evidence, postgres) {
        return Verdict::Shut(reason);
    }
    let detail = || postgres.detail.clone();
    match (postgres.role, bound) {
        (Role::Primary, true) => Verdict::Open(open),
        // A "primary" that was asked before V became ours may be the primary that we were before the last one.
        (Role::Primary, false) if stands(Guard::AskedSinceAcquired) && postgres.asked < held.acquired => {
            Verdict::Armed(Reason::PostgresUnasked)
        }
        (Role::Primary, false) if !is_fresh(evidence, held) => Verdict::Armed(Reason::Stalled),
        (Role::Primary, false) if !is_recent(evidence) => {
            Verdict::Armed(Reason::PostgresUnknown(format!("its last answer is more than {RECENT:?} old")))
        }
        (Role::Primary, false) => Verdict::Open(open),
        (Role::Standby, true) => Verdict::Shut(Reason::InRecovery),
        (Role::Standby | Role::Unknown, false) if !stands(Guard::Primary) => Verdict::Open(open),
        (Role::Standby, false) if patroni_config(evidence.etcd).standby_cluster => {
            Verdict::Armed(Reason::StandbyCluster)
        }
        (Role::Standby, false) => Verdict::Armed(Reason::InRecovery),
        (Role::Unknown, true) => Verdict::Open(Reason::HoldingUnanswered(detail())),
        (Role::Unknown, false) => Verdict::Armed(Reason::PostgresUnknown(detail())),
        (Role::Down, true) => match evidence.policy.postgres_down {
            // With K as the fence, Patroni's next step is to give it away. The configuration refuses this already.
            PostgresDown::Hold if evidence.policy.fence == Fence::Lock => Verdict::Open(Reason::HoldingDown(detail())),
            PostgresDown::Release | PostgresDown::Hold => Verdict::Drain(Reason::PostgresDown(detail())),
        },
        (Role::Down, false) => Verdict::Shut(Reason::PostgresDown(detail())),
    }
}

/// Whether the proof of V and PostgreSQL's answer were both asked since the last stall.
pub fn is_fresh(evidence: &Evidence<'_>, held: &Held) -> bool {
    if !stands(Guard::FreshAfterStall) {
        return true;
    }
    let since = |asked: Instant| asked >= evidence.fresh_after;
    (since(held.proven) || evidence.vouched.is_some_and(since))
        && evidence.postgres.is_some_and(|report| since(report.asked))
}

/// Whether PostgreSQL's answer is recent enough for a bind. Where the kernel keeps call after call waiting, the next answer
/// waits to be read behind them.
pub fn is_recent(evidence: &Evidence<'_>) -> bool {
    let recent = |report: &RoleReport| evidence.now.since(report.asked) <= RECENT;
    evidence.postgres.is_some_and(recent) || !stands(Guard::RecentAnswer)
}

/// The configuration by which V's TTL is chosen: Patroni's own, or its defaults while that is unreadable.
pub fn patroni_config(etcd: Option<&Observation>) -> PatroniConfig {
    etcd.and_then(|etcd| etcd.config).unwrap_or(PatroniConfig::DEFAULT)
}

/// Is K still mine, or may what is bound stay without it? `Ok` says why it may.
fn leader_key(evidence: &Evidence<'_>, held: &Held, bound: bool) -> Result<Reason, Reason> {
    let vouched = (bound || !stands(Guard::VouchBindsNothing)) && evidence.vouched.is_some();
    let mine = if vouched { Reason::HoldingFailsafe } else { Reason::Holding };
    // A read that is older than our put says nothing: the put itself compared K.
    let Some(etcd) = evidence.etcd.filter(|etcd| etcd.revision >= held.mod_revision) else {
        return Ok(mine);
    };
    match &etcd.leader {
        _ if bound && !stands(Guard::LeaderKey) => Ok(mine),
        Some(leader) if leader.member == evidence.member => Ok(mine),
        Some(leader) => Err(Reason::OtherLeads(leader.member.clone())),
        // Nothing but K kept others away.
        None if evidence.policy.fence == Fence::LeaderKey => Err(Reason::NoLeader),
        None if vouched => Ok(mine),
        None => {
            let paused = etcd.config.is_some_and(|config| config.paused);
            let stays =
                (bound || !stands(Guard::PauseBindsNothing)) && paused && evidence.policy.paused == Paused::Hold;
            if stays { Ok(Reason::HoldingPaused) } else { Err(Reason::NoLeader) }
        }
    }
}

fn same_server(evidence: &Evidence<'_>, postgres: &RoleReport) -> Result<(), Reason> {
    match (&postgres.system_identifier, evidence.system_identifier) {
        (Some(server), Some(cluster)) if server != cluster && stands(Guard::SystemIdentifier) => {
            Err(Reason::WrongServer { server: server.clone(), cluster: cluster.to_owned() })
        }
        _ => Ok(()),
    }
}

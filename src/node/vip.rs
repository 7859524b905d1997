//! One VIP on this node: from closed, by way of its lock in etcd, to bound, and back.
//!
//! ```text
//!            eligible            put             primary                 down
//!   Closed ----------> (Acquiring) --> (Held: armed) ----> Active ---------------> Draining
//!     ^  \                                  |   \            |  ^ renew, repair       |
//!     |   `--> expel a stray address        |    Displacing--'  |                     | nobody connected,
//!     |                                     | give up           | lost, D, standby    | or 150 ms
//!     |                                     v                   v                     v
//!     `--------- address absent ------ (Revoking) <--------- Releasing <--------------'
//! ```
//!
//! The words in brackets are states of [`Lock`], the others of [`Phase`]. Every pass computes the same decision anew
//! from the evidence and brings the address in line with it; no event is needed for the address to leave.

use std::net::Ipv4Addr;
use std::time::Duration;

use vrrp::router::{self, Action, Event, Router};
use vrrp::time::Instant;
use vrrp::types::{Interval, Priority, Vrid};
use vrrp::wire::advert::Advert;

use super::io::{Level, Notice, Outcome, Output, Version2};
use super::kernel_view::KernelView;
use super::lock::{Identity, Lock, holder_name};
use super::peers::Peers;
use super::record::Record;
use super::status::PhaseLabel;
use crate::gate::deadline;
use crate::gate::evidence::{Acquisition, Expect, Kept, LeaseId, Observation, Role, VipId};
use crate::gate::policy::ForeignActive;
use crate::gate::reason::Reason;
use crate::gate::verdict::{Evidence, Verdict, eligible, is_fresh, patroni_config, verdict};

/// The address's lifetime is renewed, and V's lease is proved, this often.
pub(super) const RENEW: Duration = Duration::from_secs(1);

/// How long PostgreSQL may say goodbye to its clients while the address is still there. Its listening socket stays open
/// for that long, and refuses; so shorter than the 300 ms that P2 allows.
const DRAIN: Duration = Duration::from_millis(150);

/// How often the connections are counted while draining.
const DRAIN_PROBE: Duration = Duration::from_millis(5);

/// The most that resetting connections may delay the removal of the address, and what is left for those that raced.
const RESET_BEFORE: Duration = Duration::from_millis(40);
const RESET_AFTER: Duration = Duration::from_millis(10);

/// Pause before an address that would not go is removed again.
const UNBIND_AGAIN: Duration = Duration::from_millis(50);

/// Pause after the kernel refused to bind.
const BIND_AGAIN: Duration = Duration::from_secs(5);

/// How long a foreign Active has to yield.
const DISPLACE: Duration = Duration::from_millis(100);

/// An address found at start waits this long for the evidence that it may stay; the lifetime that our predecessor gave
/// it ends by then too.
const ADOPT: Duration = Duration::from_secs(4);

/// While evidence is awaited, nothing is due earlier than this; the evidence itself is an input.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Pauses between the announcements after a bind; then one every [`ANNOUNCE_REFRESH`], for the caches that missed them.
const ANNOUNCE_BURST: [Duration; 3] = [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(4)];
const ANNOUNCE_REFRESH: Duration = Duration::from_secs(30);

/// Rivals make this node announce again, but not more often than this.
const ANNOUNCE_REPLY: Duration = Duration::from_secs(1);

/// A promotion that takes longer than this is told.
const SLOW_PROMOTION: Duration = Duration::from_secs(5);

/// What the operator says of one VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipSettings {
    /// For people and labels.
    pub name: String,
    /// The address.
    pub address: Ipv4Addr,
    /// Prefix length to bind it with, 32 unless configured.
    pub prefix_len: u8,
    /// The virtual router.
    pub virtual_router_id: Vrid,
    /// Advertisement_Interval.
    pub interval: Interval,
    /// Checksum form to send.
    pub checksum: router::ChecksumPolicy,
}

/// Everything around a VIP that its decisions need.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) me: &'a Identity,
    pub(super) evidence: Evidence<'a>,
    pub(super) kernel: &'a KernelView,
    pub(super) stopping: bool,
}

/// Where the address is in its life.
#[derive(Debug)]
enum Phase {
    /// Not bound by our will.
    Closed,
    /// Advertising already, to be bound at `until`.
    Displacing { until: Instant },
    /// Bound. `confirmed`: the kernel has said so.
    Active { confirmed: bool, renew: Instant, announce: Instant, bursts: usize },
    /// Still bound.
    Draining { until: Instant, probe: Instant, reason: Reason },
    /// Being removed; `again` is set when that failed. `stray`: somebody else had put it here.
    Releasing { again: Option<Instant>, stray: bool },
}

/// What this node could do about V now.
enum Claim {
    /// Put V.
    Take(i64, Expect),
    /// V is ours: the address may be bound.
    Open(Reason),
    /// An answer is awaited.
    Wait(Reason),
    /// V is ours and not deserved.
    GiveUp(Reason, LeaseId),
    /// Not now.
    No(Reason),
}

/// One VIP.
#[derive(Debug)]
pub(super) struct Vip {
    pub(super) id: VipId,
    pub(super) settings: VipSettings,
    pub(super) router: Router,
    phase: Phase,
    pub(super) phase_since: Instant,
    pub(super) lock: Lock,
    pub(super) reason: Reason,
    /// When the address was last released: evidence asked before is of another life.
    released: Instant,
    /// When the last revocation ended: a read asked before may still show the V that is gone.
    unlocked: Instant,
    adopt_until: Option<Instant>,
    /// The kernel refused to bind; what it said, and when to try again.
    refused: Option<(Instant, String)>,
    acquire_error: Option<String>,
    announced: Option<Instant>,
    slow_promotion_told: bool,
    split_brain: bool,
    /// Something was seen that asks for a new look at etcd.
    pub(super) look_again: bool,
    pub(super) peers: Peers,
    pub(super) record: Record,
}

impl Vip {
    pub(super) fn new(id: VipId, settings: VipSettings, now: Instant) -> Self {
        let router = Router::new(router::Settings {
            vrid: settings.virtual_router_id,
            priority: Priority::OWNER,
            interval: settings.interval,
            preempt: true,
            checksum: settings.checksum,
        });
        Self {
            id,
            settings,
            router,
            phase: Phase::Closed,
            phase_since: now,
            lock: Lock::None,
            reason: Reason::EtcdUnasked,
            released: now,
            unlocked: now,
            adopt_until: Some(now + ADOPT),
            refused: None,
            acquire_error: None,
            announced: None,
            slow_promotion_told: false,
            split_brain: false,
            look_again: false,
            peers: Peers::default(),
            record: Record::default(),
        }
    }

    // ---- What comes in ------------------------------------------------------------------------------------------

    pub(super) fn take_advert(&mut self, around: &Surroundings<'_>, advert: &Advert, out: &mut Vec<Output>) {
        self.record.counters.adverts_received += 1;
        self.peers.advert(around.evidence.now, advert, self.settings.address);
        let actions = self.router.handle(around.evidence.now, Event::Advert(advert));
        self.carry_out(around, actions, out);
    }

    pub(super) fn take_version2(&mut self, now: Instant, advert: Version2) {
        self.record.counters.version2_received += 1;
        self.peers.version2(now, advert);
    }

    pub(super) fn take_arp_claim(&mut self, now: Instant, mac: [u8; 6], out: &mut Vec<Output>) {
        // While another node holds the VIP, this is that node speaking of what is its own.
        if self.is_bound() {
            self.record.counters.arp_conflicts += 1;
            let [a, b, c, d, e, f] = mac;
            let who = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
            self.conflict(now, &format!("{who} claims the address by ARP"), out);
        }
    }

    /// A round has ended. `read` is `None` if it is no evidence.
    pub(super) fn take_round(&mut self, me: &Identity, kept: &[Kept], read: Option<&Observation>) {
        let kept = kept.iter().find(|kept| kept.vip == self.id);
        self.lock.prove(me, kept, read, self.id);
        if read.is_some() {
            self.acquire_error = None;
        }
    }

    pub(super) fn take_acquisition(&mut self, now: Instant, outcome: Acquisition, out: &mut Vec<Output>) {
        let refreshing = self.lock.held().is_some();
        match self.lock.acquired(now, outcome) {
            Ok(()) if refreshing => self.tell(Level::Info, "the lock has a fresh lease with the new TTL".to_owned(), out),
            Ok(()) => self.record.locked(now),
            Err(reason) => {
                self.acquire_error = Some(reason);
                self.look_again = true;
            }
        }
    }

    pub(super) fn take_revocation(&mut self, now: Instant, lease: LeaseId, outcome: &Result<(), String>) {
        if let (Lock::Revoking { lease: ours, since, .. }, Ok(())) = (&self.lock, outcome)
            && *ours == lease
        {
            self.record.unlocked(now.since(*since));
            self.unlocked = now;
            self.look_again = true;
        }
        self.lock.revoked(now, lease, outcome);
    }

    /// etcd is another one than before: V in it is nobody's proof.
    pub(super) fn etcd_rebuilt(&mut self) {
        if let Lock::Held { held, .. } = &mut self.lock {
            held.lost = Some("etcd is another cluster or an older copy than before".to_owned());
        }
    }

    pub(super) fn take_outcome(&mut self, around: &Surroundings<'_>, outcome: &Outcome, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        let counters = &mut self.record.counters;
        match outcome {
            Outcome::Bound { at, .. } => self.bound(*at, out),
            Outcome::Late { .. } => {
                counters.late += 1;
                self.unconfirmed(now);
            }
            Outcome::BindRefused { error, .. } => {
                counters.bind_refused += 1;
                self.tell(Level::Alarm, format!("the kernel refused to bind {}: {error}", self.settings.address), out);
                self.refused = Some((now + BIND_AGAIN, error.clone()));
                // Without the address V only keeps others from serving; the release proves the address absent first.
                self.release(around, Reason::BindRefused(error.clone()), out);
            }
            Outcome::Unbound { removed, at, .. } => self.unbound(now, *at, *removed, out),
            Outcome::UnbindFailed { error, .. } => {
                if let Phase::Releasing { again, .. } = &mut self.phase {
                    *again = Some(now + UNBIND_AGAIN);
                    self.tell(Level::Alarm, format!("{} cannot be removed: {error}", self.settings.address), out);
                }
            }
            Outcome::StraysRemoved { removed, .. } => counters.expelled += *removed as u64,
            Outcome::Reset { destroyed, .. } => counters.connections_reset += *destroyed as u64,
            Outcome::Connections { count, .. } => {
                // Everybody was told: nothing is left to wait for.
                if let (Phase::Draining { until, .. }, Some(0)) = (&mut self.phase, count) {
                    *until = now;
                }
            }
            Outcome::Advertised { .. } => counters.adverts_sent += 1,
            Outcome::Announced { .. } => counters.announcements += 1,
            Outcome::SendFailed { .. } => counters.send_errors += 1,
        }
    }

    // ---- What is to be done -------------------------------------------------------------------------------------

    /// Brings the address and V in line with the evidence. Called after every input, and when a deadline has come.
    pub(super) fn advance(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        self.watch_for_split_brain(around, out);
        match self.phase {
            Phase::Closed | Phase::Displacing { .. } => self.advance_closed(around, out),
            Phase::Active { .. } => self.advance_active(around, out),
            Phase::Draining { .. } => self.advance_draining(around, out),
            Phase::Releasing { again: Some(again), .. } if again <= around.evidence.now => self.unbind(around, out),
            Phase::Releasing { .. } => {}
        }
        if let Some(request) = self.lock.due(around.evidence.now, self.id) {
            out.push(Output::Etcd(request));
        }
        self.advertise(around, out);
    }

    fn advance_closed(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        self.adopt_until = self.adopt_until.filter(|until| now < *until);
        self.refused = self.refused.take().filter(|(until, _)| now < *until);
        let claim = self.claim(around);
        let address = self.settings.address;
        if around.kernel.is_present(address) && matches!(self.phase, Phase::Closed) && !self.may_stay(around, &claim) {
            // Present without the right: somebody else put it here, or our predecessor left what is not ours to keep.
            self.adopt_until = None;
            self.enter(now, Phase::Releasing { again: None, stray: true });
            self.unbind(around, out);
            return;
        }
        match claim {
            Claim::Take(epoch, expect) => {
                self.record.claimed(now);
                let ttl = deadline::lock_ttl(&patroni_config(around.evidence.etcd));
                out.push(Output::Etcd(self.lock.acquire(self.id, around.me, epoch, ttl, expect)));
                self.explain(Reason::Acquiring, out);
            }
            Claim::Open(reason) => self.open(around, reason, out),
            Claim::Wait(reason) => {
                self.tell_slow_promotion(now, &reason, out);
                self.explain(reason, out);
            }
            Claim::GiveUp(reason, lease) => {
                // Nothing to unbind: the address is absent, or `may_stay` would have said no above.
                self.leave_vrrp(around);
                self.record.abandoned();
                self.lock.revoke(now, lease);
                self.enter(now, Phase::Closed);
                self.explain(reason, out);
            }
            Claim::No(reason) => {
                if matches!(reason, Reason::LockHeld(_)) {
                    self.record.claimed(now);
                    self.record.waiting.get_or_insert(now);
                } else {
                    self.record.abandoned();
                }
                self.clean_up_leftover(around, &reason);
                self.explain(reason, out);
            }
        }
    }

    /// What could be done about V, and by what right.
    fn claim(&self, around: &Surroundings<'_>) -> Claim {
        match &self.lock {
            Lock::None => match self.may_acquire(around) {
                Ok((epoch, expect)) => Claim::Take(epoch, expect),
                Err(reason) => Claim::No(reason),
            },
            Lock::Acquiring { .. } => Claim::Wait(Reason::Acquiring),
            Lock::Revoking { .. } if around.stopping => Claim::Wait(Reason::Stopping),
            Lock::Revoking { .. } => Claim::Wait(Reason::Unlocking),
            Lock::Held { held, .. } if around.stopping => Claim::GiveUp(Reason::Stopping, held.lease),
            Lock::Held { held, .. } => match verdict(&around.evidence, held, false) {
                Verdict::Open(reason) => Claim::Open(reason),
                Verdict::Armed(reason) => Claim::Wait(reason),
                Verdict::Drain(reason) | Verdict::Shut(reason) => Claim::GiveUp(reason, held.lease),
            },
        }
    }

    fn may_acquire(&self, around: &Surroundings<'_>) -> Result<(i64, Expect), Reason> {
        let evidence = &around.evidence;
        if around.stopping {
            return Err(Reason::Stopping);
        }
        if around.kernel.link.is_none() {
            return Err(Reason::NoInterface(around.kernel.interface.clone()));
        }
        let epoch = eligible(evidence, |address| around.kernel.is_local(address), self.released)?;
        if let Some((_, error)) = &self.refused {
            return Err(Reason::BindRefused(error.clone()));
        }
        if let Some(error) = &self.acquire_error {
            return Err(Reason::AcquireFailed(error.clone()));
        }
        // A read asked before our last revocation ended may show a V that is gone.
        let etcd = evidence.etcd.filter(|etcd| etcd.asked >= self.unlocked).ok_or(Reason::EtcdUnasked)?;
        match etcd.locks.get(self.id.0).and_then(Option::as_ref) {
            None => Ok((epoch, Expect::Absent)),
            Some(key) if around.me.owns(key) => Ok((epoch, Expect::Mine(key.mod_revision))),
            Some(key) => Err(Reason::LockHeld(holder_name(key))),
        }
    }

    /// Whether an address that is bound without our doing may stay for now. Only one that our predecessor bound, with
    /// the lifetime it gave it still running, and only while nothing has said no.
    fn may_stay(&self, around: &Surroundings<'_>, claim: &Claim) -> bool {
        let VipSettings { address, prefix_len, .. } = self.settings;
        let ours = around.kernel.places(address).all(|place| place.lifetime.is_some_and(|left| left <= 3))
            && !around.kernel.has_strays(address, prefix_len);
        let deserved = match claim {
            Claim::Take(_, Expect::Mine(_)) | Claim::Open(_) => true,
            Claim::Take(_, Expect::Absent) | Claim::GiveUp(..) => false,
            Claim::Wait(reason) | Claim::No(reason) => reason.is_undecided(),
        };
        ours && deserved && self.adopt_until.is_some_and(|until| around.evidence.now < until)
    }

    /// A V of our own that is neither held nor about to be: from before a restart, or from an answer that never came.
    /// It only keeps others waiting. The address has been found absent.
    fn clean_up_leftover(&mut self, around: &Surroundings<'_>, reason: &Reason) {
        let decided = !reason.is_undecided() && !matches!(reason, Reason::AcquireFailed(_));
        let Some(etcd) = around.evidence.etcd.filter(|etcd| decided && etcd.asked >= self.unlocked) else { return };
        if around.kernel.is_present(self.settings.address) {
            return;
        }
        if let Some(key) = etcd.locks.get(self.id.0).and_then(Option::as_ref)
            && around.me.owns(key)
        {
            self.lock.revoke(around.evidence.now, key.lease);
        }
    }

    /// The gate is open: bind, or make a foreign Active yield first.
    fn open(&mut self, around: &Surroundings<'_>, reason: Reason, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        let wait = around.evidence.policy.foreign_active == ForeignActive::AdvertiseFirst;
        match self.phase {
            Phase::Closed if wait && self.peers.foreign_active(now) => {
                self.enter(now, Phase::Displacing { until: now + DISPLACE });
                let actions = self.router.handle(now, Event::Startup);
                self.carry_out(around, actions, out);
                self.explain(Reason::Displacing, out);
            }
            Phase::Displacing { until } if now < until && self.peers.foreign_active(now) => {}
            _ => {
                self.record.opened(now);
                self.reason = reason;
                self.leave_vrrp(around);
                if self.bind(around, out) {
                    let actions = self.router.handle(now, Event::Startup);
                    self.enter(now, Phase::Active { confirmed: false, renew: now + RENEW, announce: now, bursts: 0 });
                    self.carry_out(around, actions, out);
                }
            }
        }
    }

    fn advance_active(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        match self.verdict(around) {
            Verdict::Open(reason) => self.keep(around, reason, out),
            Verdict::Drain(reason) => {
                self.record.drain_began(now);
                self.enter(now, Phase::Draining { until: now + DRAIN, probe: now, reason: reason.clone() });
                self.explain(reason, out);
                self.advance_draining(around, out);
            }
            Verdict::Armed(reason) | Verdict::Shut(reason) => self.release(around, reason, out),
        }
    }

    /// Keeps the address where it belongs, and nowhere else.
    fn keep(&mut self, around: &Surroundings<'_>, reason: Reason, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        let VipSettings { address, prefix_len, .. } = self.settings;
        let ttl = deadline::lock_ttl(&patroni_config(around.evidence.etcd));
        if let Some(request) = self.lock.refresh(self.id, around.me, ttl) {
            out.push(Output::Etcd(request));
        }
        let Some(link) = around.kernel.link else { return };
        if around.kernel.has_strays(address, prefix_len) {
            out.push(Output::UnbindStrays { vip: self.id, keep: link.index });
        }
        // After a stall nothing is bound or announced before fresh evidence; that the hold itself ends is not the
        // stall's business but D's.
        if !self.lock.held().is_some_and(|held| is_fresh(&around.evidence, held)) {
            if let Phase::Active { renew, announce, .. } = &mut self.phase {
                let later = now + LOOK_AGAIN;
                (*renew, *announce) = ((*renew).max(later), (*announce).max(later));
            }
            return self.explain(Reason::Stalled, out);
        }
        self.explain(reason, out);
        let Phase::Active { confirmed, renew, announce, bursts } = &mut self.phase else { return };
        let deleted = *confirmed && !around.kernel.is_in_place(address, prefix_len);
        let renew_due = now >= *renew;
        let announce_due = *confirmed && (deleted || now >= *announce);
        if renew_due || deleted {
            *renew = now + RENEW;
        }
        if announce_due {
            *announce = now + ANNOUNCE_BURST.get(*bursts).copied().unwrap_or(ANNOUNCE_REFRESH);
            *bursts += 1;
        }
        if deleted {
            self.record.counters.repaired += 1;
            self.tell(Level::Warning, format!("{address} was removed by somebody else: putting it back"), out);
        }
        if (renew_due || deleted) && !self.bind(around, out) {
            return;
        }
        if announce_due {
            self.announce(around, out);
        }
    }

    fn advance_draining(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        let verdict = self.verdict(around);
        let Phase::Draining { until, probe, reason } = &mut self.phase else { return };
        match verdict {
            Verdict::Shut(reason) => self.release(around, reason, out),
            _ if now >= *until => {
                let reason = reason.clone();
                self.release(around, reason, out);
            }
            _ if now >= *probe => {
                *probe = now + DRAIN_PROBE;
                out.push(Output::CountConnections { vip: self.id });
            }
            _ => {}
        }
    }

    fn verdict(&self, around: &Surroundings<'_>) -> Verdict {
        match self.lock.held() {
            _ if around.stopping => Verdict::Shut(Reason::Stopping),
            Some(held) => verdict(&around.evidence, held, true),
            // Bound without V: there is no such state, and if there were, it would end here.
            None => Verdict::Shut(Reason::LockLost("this node does not hold it".to_owned())),
        }
    }

    // ---- Outputs ------------------------------------------------------------------------------------------------

    /// Binds or renews. `false` if D is too near for even the shortest lifetime.
    fn bind(&self, around: &Surroundings<'_>, out: &mut Vec<Output>) -> bool {
        let now = around.evidence.now;
        let (Some(link), Some(held)) = (around.kernel.link, self.lock.held()) else { return false };
        let Some(lifetime) = deadline::lifetime(now, held.deadline) else { return false };
        let not_after = deadline::not_after(now);
        out.push(Output::Bind { vip: self.id, link: link.index, lifetime, not_after });
        true
    }

    fn announce(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        if let Some(link) = around.kernel.link {
            self.announced = Some(now);
            out.push(Output::Announce { vip: self.id, link: link.index, not_after: deadline::not_after(now) });
        }
    }

    /// The address has to go: cut, remove, cut what raced, say goodbye. The lock follows once the kernel has confirmed.
    fn release(&mut self, around: &Surroundings<'_>, reason: Reason, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        self.record.release_began(now);
        self.enter(now, Phase::Releasing { again: None, stray: false });
        self.reason = reason;
        // Past D another node may be holding the VIP: resetting connections first would only prolong that.
        let overdue = self.lock.held().is_none_or(|held| now >= held.deadline);
        if !overdue {
            out.push(Output::Reset { vip: self.id, budget: RESET_BEFORE });
        }
        self.unbind(around, out);
        let actions = self.router.handle(now, Event::Shutdown);
        self.carry_out(around, actions, out);
    }

    fn unbind(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let _ = around;
        if let Phase::Releasing { again, stray } = &mut self.phase {
            *again = None;
            if *stray {
                out.push(Output::Reset { vip: self.id, budget: RESET_BEFORE });
            }
            out.push(Output::Unbind { vip: self.id });
            out.push(Output::Reset { vip: self.id, budget: RESET_AFTER });
        }
    }

    /// The router's timer.
    fn advertise(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        if self.router.deadline().is_some_and(|deadline| deadline <= now) {
            let actions = self.router.handle(now, Event::Timer);
            // After a stall an advertisement would claim what is not known any more.
            if self.lock.held().is_some_and(|held| is_fresh(&around.evidence, held)) {
                self.carry_out(around, actions, out);
            }
        }
    }

    fn leave_vrrp(&mut self, around: &Surroundings<'_>) {
        // The goodbye that this yields is not sent: nothing was bound, or an advert follows at once.
        let _ = self.router.handle(around.evidence.now, Event::Shutdown);
    }

    /// Turns the router's actions into outputs. Binding and removing are decided here and not by the router, whose
    /// Active is only ever entered with the gate open.
    fn carry_out(&mut self, around: &Surroundings<'_>, actions: Vec<Action>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        for action in actions {
            match action {
                Action::SendAdvert { priority, checksum } => {
                    if let Some(source) = around.kernel.primary_address() {
                        let not_after = deadline::not_after(now);
                        out.push(Output::Advertise { vip: self.id, priority, source, checksum, not_after });
                    }
                }
                Action::Announce => {
                    if self.is_bound() {
                        self.announce(around, out);
                    }
                }
                Action::Conflict { source, priority } => {
                    self.record.counters.advert_conflicts += 1;
                    self.conflict(now, &format!("{source} advertises priority {priority} for this virtual router"), out);
                }
                Action::BindAddresses | Action::UnbindAddresses => {}
            }
        }
    }

    /// Somebody disputes the VIP. That proves nothing (P5): look at etcd again, and tell the segment again.
    fn conflict(&mut self, now: Instant, what: &str, out: &mut Vec<Output>) {
        self.look_again = true;
        if self.announced.is_none_or(|last| now.since(last) >= ANNOUNCE_REPLY) {
            self.tell(Level::Alarm, format!("conflict: {what}; etcd decides, announcing again"), out);
            if let Phase::Active { announce, .. } = &mut self.phase {
                *announce = now;
            }
        }
    }

    // ---- Changes ------------------------------------------------------------------------------------------------

    fn bound(&mut self, at: Instant, out: &mut Vec<Output>) {
        let Phase::Active { confirmed, announce, .. } = &mut self.phase else { return };
        if !*confirmed {
            *confirmed = true;
            *announce = at + ANNOUNCE_BURST[0];
            self.adopt_until = None;
            let phases = self.record.gained(at, self.reason.to_string());
            self.tell(Level::Info, format!("{} is bound here ({phases})", self.settings.address), out);
        }
    }

    /// A bind came too late and was undone.
    fn unconfirmed(&mut self, now: Instant) {
        if let Phase::Active { confirmed: false, .. } = self.phase {
            let _ = self.router.handle(now, Event::Shutdown);
            self.enter(now, Phase::Closed);
        }
    }

    fn unbound(&mut self, now: Instant, at: Instant, removed: usize, out: &mut Vec<Output>) {
        let Phase::Releasing { stray, .. } = self.phase else { return };
        let address = self.settings.address;
        self.enter(now, Phase::Closed);
        if stray {
            if removed > 0 {
                self.record.counters.expelled += removed as u64;
                self.tell(Level::Warning, format!("{address} was bound here without the right to it: removed"), out);
            }
            return;
        }
        self.released = now;
        let phases = self.record.lost(at, self.reason.to_string());
        self.tell(Level::Info, format!("{address} has left this node ({phases}): {}", self.reason), out);
        if let Some(held) = self.lock.held() {
            let lease = held.lease;
            self.lock.revoke(now, lease);
        }
    }

    fn enter(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        self.phase_since = now;
        self.slow_promotion_told = false;
    }

    /// Notes why the gate is as it is; tells it when that is another reason than before.
    fn explain(&mut self, reason: Reason, out: &mut Vec<Output>) {
        let passing = matches!(reason, Reason::Acquiring | Reason::Unlocking | Reason::EtcdUnasked | Reason::PostgresUnasked);
        if reason.label() != self.reason.label() && !passing {
            self.tell(Level::Info, reason.to_string(), out);
        }
        self.reason = reason;
    }

    fn tell_slow_promotion(&mut self, now: Instant, reason: &Reason, out: &mut Vec<Output>) {
        let since = self.lock.held().map(|held| held.acquired);
        if matches!(reason, Reason::InRecovery)
            && !self.slow_promotion_told
            && since.is_some_and(|since| now.since(since) >= SLOW_PROMOTION)
        {
            self.slow_promotion_told = true;
            let text = "this node holds the leader key, but its PostgreSQL has been in recovery for more than 5 s";
            self.tell(Level::Warning, text.to_owned(), out);
        }
    }

    fn watch_for_split_brain(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let evidence = &around.evidence;
        let leader = evidence.etcd.and_then(|etcd| etcd.leader.as_ref());
        let other = leader.filter(|leader| leader.member != evidence.member);
        // Only answers of the same time contradict each other: a primary that was asked before the other took K may
        // have stepped down since.
        let primary = evidence.postgres.is_some_and(|report| {
            report.role == Role::Primary && evidence.etcd.is_some_and(|etcd| report.asked >= etcd.asked)
        });
        if other.is_none() || evidence.postgres.is_some_and(|report| report.role != Role::Primary) {
            self.split_brain = false;
        }
        if let (Some(other), true, false) = (other, primary, self.split_brain) {
            self.split_brain = true;
            self.record.counters.split_brains += 1;
            let text = format!("split brain: PostgreSQL here accepts writes while {} holds the leader key", other.member);
            self.tell(Level::Alarm, text, out);
        }
    }

    fn tell(&self, level: Level, text: String, out: &mut Vec<Output>) {
        out.push(Output::Tell(Notice { level, vip: Some(self.id), text }));
    }

    // ---- What others may know -----------------------------------------------------------------------------------

    /// Whether the address is bound by our will, as far as we have decided.
    pub(super) fn is_bound(&self) -> bool {
        matches!(self.phase, Phase::Active { .. } | Phase::Draining { .. })
    }

    /// Whether the kernel has confirmed the bind.
    pub(super) fn is_confirmed(&self) -> bool {
        matches!(self.phase, Phase::Active { confirmed: true, .. } | Phase::Draining { .. })
    }

    pub(super) fn phase_label(&self, around: &Surroundings<'_>) -> PhaseLabel {
        match (&self.phase, &self.lock) {
            (Phase::Closed, _) if around.kernel.is_present(self.settings.address) => PhaseLabel::Adopting,
            (Phase::Closed, Lock::Acquiring { .. } | Lock::Held { .. }) => PhaseLabel::Armed,
            (Phase::Closed, _) => PhaseLabel::Closed,
            (Phase::Displacing { .. }, _) => PhaseLabel::Displacing,
            (Phase::Active { .. }, _) => PhaseLabel::Active,
            (Phase::Draining { .. }, _) => PhaseLabel::Draining,
            (Phase::Releasing { .. }, _) => PhaseLabel::Releasing,
        }
    }

    /// Nothing of this VIP is left, here or in etcd.
    pub(super) fn is_gone(&self, kernel: &KernelView) -> bool {
        matches!((&self.phase, &self.lock), (Phase::Closed, Lock::None)) && !kernel.is_present(self.settings.address)
    }

    /// The address is gone from this host, whatever is left in etcd.
    pub(super) fn is_unbound(&self, kernel: &KernelView) -> bool {
        matches!(self.phase, Phase::Closed) && !kernel.is_present(self.settings.address)
    }

    /// The lease to keep alive in the next round. This is the gate's permit: without it no keepalive is sent.
    pub(super) fn permit(&self) -> Option<(VipId, LeaseId)> {
        let held = self.lock.held().filter(|held| held.lost.is_none())?;
        let wanted = matches!(self.phase, Phase::Closed | Phase::Displacing { .. } | Phase::Active { .. });
        wanted.then_some((self.id, held.lease))
    }

    /// Since when only PostgreSQL's role has been waited for.
    pub(super) fn armed_since(&self) -> Option<Instant> {
        match &self.lock {
            Lock::Acquiring { .. } => Some(self.phase_since),
            Lock::Held { held, .. } if matches!(self.phase, Phase::Closed) => Some(held.acquired),
            _ => None,
        }
    }

    /// When to advance next, whatever comes in.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Closed => self.adopt_until.into_iter().chain(self.refused.as_ref().map(|(until, _)| *until)).min(),
            Phase::Displacing { until } => Some(*until),
            Phase::Active { renew, announce, .. } => Some((*renew).min(*announce)),
            Phase::Draining { until, probe, .. } => Some((*until).min(*probe)),
            Phase::Releasing { again, .. } => *again,
        };
        let leave = self.lock.held().filter(|_| !matches!(self.phase, Phase::Releasing { .. }));
        let leave = leave.map(|held| deadline::leave_by(held.deadline));
        [phase, leave, self.lock.deadline(), self.router.deadline()].into_iter().flatten().min()
    }
}

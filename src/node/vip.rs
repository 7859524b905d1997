//! One VIP on this node: from closed, by way of its lock in etcd, to bound, and back.
//!
//! ```text
//!            eligible            put             primary                 down
//!   Closed ----------> (Acquiring) --> (Held: armed) ----> Active ---------------> Draining
//!     ^  \                                  |   \            |  ^ renew, repair       |
//!     |   `--> expel a stray address        |    Displacing--'  |                     | nobody connected,
//!     |                                     | give up           | lost, D, standby    | or 100 ms
//!     |                                     v                   v                     v
//!     `--------- address absent ------ (Revoking) <--------- Releasing <--------------'
//! ```
//!
//! The words in brackets are states of [`Lock`], the others of [`Phase`]. Every pass computes the same decision anew
//! from the evidence and brings the address in line with it; no event is needed for the address to leave.

mod advance;
mod claim;
mod newcomers;
mod outputs;
mod tell;
mod tickling;

use std::time::Duration;

use vrrp::router::{self, Event, Preempt, Router};
use vrrp::time::Instant;
use vrrp::types::Priority;
use vrrp::wire::advert::Advert;

use super::announcing::Announcing;
use super::io::{self, Level, Outcome, Output};
use super::kernel_view::KernelView;
use super::lock::{Identity, Lock};
use super::peers::Peers;
use super::record::Record;
use super::settings::VipSettings;
use super::status::PhaseLabel;
use crate::gate::deadline;
use crate::gate::evidence::{Acquisition, Expect, Kept, LeaseId, Observation, VipId};
use crate::gate::guard::{Guard, stands};
use crate::gate::reason::Reason;
use crate::gate::verdict::{Evidence, Held};
use newcomers::Newcomers;
use tickling::Tickling;

/// The address's lifetime is renewed, and V's lease is proved, this often.
pub(super) const RENEW: Duration = Duration::from_secs(1);

/// How often the connections are counted while draining.
const DRAIN_PROBE: Duration = Duration::from_millis(5);

/// The most that resetting connections may delay the removal of the address, and what is left for those that raced.
const RESET_BEFORE: Duration = Duration::from_millis(30);
const RESET_AFTER: Duration = Duration::from_millis(10);

/// Pause before an address that would not go is removed again.
pub(super) const UNBIND_AGAIN: Duration = Duration::from_millis(50);

/// Pause after the kernel refused to bind.
pub(super) const BIND_AGAIN: Duration = Duration::from_secs(5);

/// Pause after V could not be acquired. Once, if it was only that something had changed at the same moment, the next read of
/// etcd is enough.
const ACQUIRE_AGAIN: Duration = Duration::from_secs(1);

/// How long a foreign Active has to yield.
const DISPLACE: Duration = Duration::from_millis(100);

/// An address found at start waits this long for the evidence that it may stay; the lifetime that our predecessor gave
/// it ends by then too.
pub(super) const ADOPT: Duration = Duration::from_secs(4);

/// While evidence is awaited, nothing is due earlier than this; the evidence itself is an input.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A promotion that takes longer than this is told.
const SLOW_PROMOTION: Duration = Duration::from_secs(5);

/// Everything around a VIP that its decisions need.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) me: &'a Identity,
    pub(super) evidence: Evidence<'a>,
    pub(super) kernel: &'a KernelView,
    pub(super) stopping: bool,
    pub(super) handing_over: bool,
    /// Until then no lock is given up: what it fences may be here without being configured any more.
    pub(super) leftover_until: Option<Instant>,
}

/// Where the address is in its life.
#[derive(Debug)]
enum Phase {
    /// Not bound by our will.
    Closed,
    /// Advertising already, to be bound at `until`.
    Displacing { until: Instant },
    /// Bound. `confirmed`: the kernel has said so.
    Active { confirmed: bool, renew: Instant, announcing: Announcing, tickling: Tickling },
    /// Still bound.
    Draining { until: Instant, probe: Instant, reason: Reason },
    /// Being removed; `again` is set when that failed.
    Releasing { again: Option<Instant>, what: Leaving },
}

/// What is being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// The VIP that was held here.
    Held,
    /// A VIP that was about to be held, and that the kernel refused to bind.
    Refused,
    /// A VIP that somebody else had put here.
    Stray,
}

/// What this node could do about V now.
enum Claim {
    /// Put V.
    Take(i64, Expect),
    /// Hold by K itself.
    Hold,
    /// V is ours: the address may be bound.
    Open(Reason),
    /// An answer is awaited.
    Wait(Reason),
    /// V is ours and not deserved.
    GiveUp(Reason),
    /// Not now.
    No(Reason),
}

/// V could not be acquired.
#[derive(Debug)]
struct AcquireFailure {
    reason: String,
    at: Instant,
    /// Not tried again before.
    again: Instant,
    /// etcd was read since.
    read: bool,
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
    /// The label of the reason that was last told.
    told: &'static str,
    /// When the address was last released: evidence asked before is of another life.
    released: Instant,
    /// When the last revocation ended: a read asked before may still show the V that is gone.
    unlocked: Instant,
    adopt_until: Option<Instant>,
    /// Bound, or renewed, since a handover was asked for.
    renewed: bool,
    /// The kernel refused to bind; what it said, and when to try again.
    refused: Option<(Instant, String)>,
    /// A bind came too late; when to try again.
    late: Option<Instant>,
    acquire_failure: Option<AcquireFailure>,
    /// When V could last not be acquired.
    failed_at: Option<Instant>,
    announced: Option<Instant>,
    newcomers: Newcomers,
    /// Somebody has connected since the address was bound.
    pub(super) met_clients: bool,
    /// When etcd was last asked again because of a rival.
    disputed: Option<Instant>,
    slow_promotion_told: bool,
    split_brain: bool,
    /// Put on hold by hand.
    pub(super) drained: bool,
    /// Something was seen that asks for a new look at etcd.
    pub(super) look_again: bool,
    pub(super) peers: Peers,
    pub(super) record: Record,
}

impl Vip {
    pub(super) fn new(id: VipId, settings: VipSettings, now: Instant) -> Self {
        Self {
            id,
            drained: settings.drained,
            router: Router::new(router_settings(&settings)),
            settings,
            phase: Phase::Closed,
            phase_since: now,
            lock: Lock::None,
            reason: Reason::EtcdUnasked,
            told: "",
            released: now,
            unlocked: now,
            adopt_until: Some(now + ADOPT),
            renewed: false,
            refused: None,
            late: None,
            acquire_failure: None,
            failed_at: None,
            announced: None,
            newcomers: Newcomers::default(),
            met_clients: false,
            disputed: None,
            slow_promotion_told: false,
            split_brain: false,
            look_again: false,
            peers: Peers::default(),
            record: Record::default(),
        }
    }

    /// The operator says something else of this VIP: which one it is, where it is, and by which lock, stays. Addresses that it
    /// has from now on are bound with its next renewal, which is due at once; those that it has no more are strays of it.
    pub(super) fn reconfigure(&mut self, now: Instant, settings: VipSettings) {
        let same_list = settings.addresses == self.settings.addresses;
        self.router.reconfigure(now, router_settings(&settings));
        self.settings = settings;
        if let Phase::Active { renew, .. } = &mut self.phase
            && !same_list
        {
            *renew = now;
            // What is missing now was removed by nobody: it is put there without a word.
            self.late = Some(now);
            self.announce_again(now);
        }
    }

    pub(super) fn take_advert(&mut self, around: &Surroundings<'_>, advert: &Advert, out: &mut Vec<Output>) {
        if let Some(text) = self.peers.advert(around.evidence.now, advert, &self.settings, &mut self.record.counters) {
            self.tell(Level::Warning, text, out);
        }
        let actions = self.router.handle(around.evidence.now, Event::Advert(advert));
        self.carry_out(around, actions, out);
    }

    pub(super) fn take_claim(&mut self, now: Instant, who: &str, out: &mut Vec<Output>) {
        // While another node holds the VIP, this is that node speaking of what is its own.
        if self.is_bound() {
            self.record.counters.arp_conflicts += 1;
            self.conflict(now, &format!("{who} claims the address"), out);
        }
    }

    /// A round has ended. `read` is `None` if it is no evidence.
    pub(super) fn take_round(&mut self, me: &Identity, kept: &[Kept], read: Option<&Observation>) {
        let kept = kept.iter().find(|kept| kept.vip == self.id);
        let was_lost = self.lock.is_lost();
        self.lock.prove(me, kept, read, self.id);
        self.record.counters.locks_lost += u64::from(self.lock.is_lost() && !was_lost);
        if let (Some(read), Some(failure)) = (read, &mut self.acquire_failure) {
            failure.read |= read.asked >= failure.at;
        }
    }

    pub(super) fn take_acquisition(&mut self, now: Instant, outcome: Acquisition, out: &mut Vec<Output>) {
        let refreshing = self.lock.held().is_some();
        let leaving = matches!(self.lock, Lock::Leaving { .. });
        let refused = matches!(outcome, Acquisition::Refused { .. });
        match self.lock.acquired(now, outcome) {
            Ok(()) if refreshing => {
                self.tell(Level::Info, "the lock has a fresh lease with the new TTL".to_owned(), out);
            }
            Ok(()) if leaving => {}
            Ok(()) => self.record.locked(now),
            Err(reason) if refreshing => {
                // Once, not once a second.
                if self.failed_at.replace(now).is_none_or(|last| now.since(last) > 2 * ACQUIRE_AGAIN) {
                    let text =
                        format!("the lock could not be moved to a lease with the new TTL, trying again: {reason}");
                    self.tell(Level::Warning, text, out);
                }
                self.look_again = true;
            }
            Err(reason) => {
                let repeated = self.failed_at.replace(now).is_some_and(|last| now.since(last) < ACQUIRE_AGAIN);
                let again = if refused && !repeated { now } else { now + ACQUIRE_AGAIN };
                self.acquire_failure = Some(AcquireFailure { reason, at: now, again, read: false });
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
        match &mut self.lock {
            Lock::Held { held, .. } if stands(Guard::RebuiltLoses) => {
                held.lost = Some("etcd is another cluster or an older copy than before".to_owned());
            }
            Lock::Acquiring { void, .. } => *void = stands(Guard::Void),
            Lock::None | Lock::Held { .. } | Lock::Leaving { .. } | Lock::Revoking { .. } => {}
        }
    }

    pub(super) fn take_outcome(&mut self, around: &Surroundings<'_>, outcome: &Outcome, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        let counters = &mut self.record.counters;
        match outcome {
            Outcome::Bound { at, .. } => {
                self.renewed = true;
                self.bound(*at, out);
            }
            Outcome::Late { removed, .. } => {
                counters.late += 1;
                self.came_late(now, *removed, out);
            }
            Outcome::BindRefused { error, .. } => {
                counters.bind_refused += 1;
                self.tell(Level::Alarm, format!("the kernel refused to bind {}: {error}", self.settings.shown()), out);
                self.refused = Some((now + BIND_AGAIN, error.clone()));
                // Without the address V only keeps others from serving; the release proves the address absent first.
                self.release(around, Reason::BindRefused(error.clone()), out);
            }
            Outcome::Unbound { removed, at, .. } => self.unbound(now, *at, *removed, out),
            Outcome::UnbindFailed { error, .. } => {
                if let Phase::Releasing { again, .. } = &mut self.phase {
                    *again = Some(now + UNBIND_AGAIN);
                    self.tell(Level::Alarm, format!("{} cannot be removed: {error}", self.settings.shown()), out);
                }
            }
            Outcome::StraysRemoved { removed, .. } => counters.expelled += *removed as u64,
            Outcome::Reset { destroyed, .. } => counters.connections_reset += *destroyed as u64,
            Outcome::SynsDropped { works, .. } => {
                counters.syn_drops += u64::from(*works);
                self.newcomers.dropped(*works);
                if let Phase::Draining { until, .. } = &mut self.phase {
                    *until = (*until).min(self.phase_since + self.newcomers.drain());
                }
            }
            Outcome::Tickled { sent, failed, total, .. } => {
                counters.clients_told += *sent as u64;
                counters.send_errors += *failed as u64;
                if let Phase::Active { tickling, .. } = &mut self.phase {
                    tickling.sent(now, *total);
                }
            }
            Outcome::Connections { count, .. } => {
                // Everybody was told: nothing is left to wait for.
                if let (Phase::Draining { until, .. }, Some(0)) = (&mut self.phase, count) {
                    *until = now;
                }
            }
            Outcome::Advertised { .. } => counters.adverts_sent += 1,
            Outcome::Announced { .. } => {
                counters.announcements += 1;
                if let Phase::Active { announcing, tickling, .. } = &mut self.phase {
                    announcing.sent(now, &self.settings, self.met_clients);
                    tickling.announced(now);
                }
            }
            Outcome::SendFailed { .. } => counters.send_errors += 1,
        }
    }

    fn bound(&mut self, at: Instant, out: &mut Vec<Output>) {
        let Phase::Active { confirmed, announcing, .. } = &mut self.phase else { return };
        self.late = None;
        if !*confirmed {
            *confirmed = true;
            announcing.bound(at);
            self.adopt_until = None;
            let phases = self.record.gained(at, self.reason.to_string());
            self.tell_event(
                io::Event::Gained,
                Level::Info,
                format!("{} is bound here ({phases})", self.settings.shown()),
                out,
            );
        }
    }

    /// A bind, or a renewal, came too late. One that the kernel had not done yet leaves an address that was there with
    /// the rest of its lifetime; one that was undone took the address along.
    fn came_late(&mut self, now: Instant, removed: bool, out: &mut Vec<Output>) {
        let Phase::Active { confirmed, renew, announcing, .. } = &mut self.phase else { return };
        let confirmed = *confirmed;
        if confirmed && !removed {
            *renew = now + LOOK_AGAIN;
            announcing.wait(now + LOOK_AGAIN);
            // One that was to put back what is missing would be tried again at once.
            self.late = Some(now + LOOK_AGAIN);
            return;
        }
        if confirmed {
            let text =
                format!("{} was renewed too late and had to be removed: binding it again", self.settings.shown());
            self.tell(Level::Warning, text, out);
            let _ = self.record.lost(now, "the kernel, or this process, is too slow".to_owned());
        }
        let _ = self.router.handle(now, Event::Shutdown);
        self.enter(now, Phase::Closed);
        self.late = Some(now + LOOK_AGAIN);
    }

    fn unbound(&mut self, now: Instant, at: Instant, removed: usize, out: &mut Vec<Output>) {
        let Phase::Releasing { what, .. } = self.phase else { return };
        let address = self.settings.shown();
        self.enter(now, Phase::Closed);
        match what {
            Leaving::Stray => {
                if removed > 0 {
                    self.record.counters.expelled += removed as u64;
                    self.tell(
                        Level::Warning,
                        format!("{address} was bound here without the right to it: removed"),
                        out,
                    );
                }
                return;
            }
            Leaving::Refused => self.record.abandoned(),
            Leaving::Held => {
                let phases = self.record.lost(at, self.reason.to_string());
                let text = format!("{address} has left this node ({phases}): {}", self.reason);
                self.tell_event(io::Event::Lost, Level::Info, text, out);
            }
        }
        self.released = now;
        self.lock.let_go(now);
    }

    fn no_interface(&self, around: &Surroundings<'_>) -> Reason {
        let missing = around.kernel.missing(&self.settings).unwrap_or(self.settings.interface);
        Reason::NoInterface(around.kernel.name(missing).to_owned())
    }

    fn enter(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        self.phase_since = now;
        self.slow_promotion_told = false;
    }

    /// Whether the address is bound by our will, as far as we have decided.
    pub(super) fn is_bound(&self) -> bool {
        matches!(self.phase, Phase::Active { .. } | Phase::Draining { .. })
    }

    /// Whether the kernel has confirmed the bind.
    pub(super) fn is_confirmed(&self) -> bool {
        matches!(self.phase, Phase::Active { confirmed: true, .. } | Phase::Draining { .. })
    }

    pub(super) fn phase_label(&self, kernel: &KernelView) -> PhaseLabel {
        match (&self.phase, &self.lock) {
            (Phase::Closed, _) if kernel.is_present(&self.settings) => PhaseLabel::Adopting,
            (Phase::Closed, Lock::Acquiring { .. } | Lock::Held { .. }) => PhaseLabel::Armed,
            (Phase::Closed, _) => PhaseLabel::Closed,
            (Phase::Displacing { .. }, _) => PhaseLabel::Displacing,
            (Phase::Active { .. }, _) => PhaseLabel::Active,
            (Phase::Draining { .. }, _) => PhaseLabel::Draining,
            (Phase::Releasing { .. }, _) => PhaseLabel::Releasing,
        }
    }

    /// Nothing of this VIP, which is not configured any more, is left.
    pub(super) fn has_retired(&self, kernel: &KernelView) -> bool {
        self.settings.retired && self.is_gone(kernel)
    }

    /// Nothing of this VIP is left, here or in etcd.
    pub(super) fn is_gone(&self, kernel: &KernelView) -> bool {
        matches!((&self.phase, &self.lock), (Phase::Closed, Lock::None)) && !kernel.is_present(&self.settings)
    }

    /// The address is gone from this host, whatever is left in etcd.
    pub(super) fn is_unbound(&self, kernel: &KernelView) -> bool {
        matches!(self.phase, Phase::Closed) && !kernel.is_present(&self.settings)
    }

    /// The process is to be replaced: an address that is bound gets its full lifetime once more, for the time in which
    /// nobody renews it. That is an ordinary renewal, with the evidence, and up to the deadline, of any other.
    pub(super) fn hand_over(&mut self, now: Instant) {
        self.renewed = false;
        if let Phase::Active { renew, .. } = &mut self.phase {
            *renew = now;
        }
    }

    /// Whether the process may end now and leave the rest to the next one.
    pub(super) fn is_handed_over(&self) -> bool {
        match self.phase {
            Phase::Closed | Phase::Displacing { .. } => true,
            Phase::Active { .. } => self.renewed,
            // What has begun to go goes.
            Phase::Draining { .. } | Phase::Releasing { .. } => false,
        }
    }

    /// The lease to keep alive in the next round. This is the gate's permit: without it no keepalive is sent.
    pub(super) fn permit(&self) -> Option<(VipId, LeaseId)> {
        let held = self.lock.held().filter(|held| held.lost.is_none())?;
        let wanted = matches!(self.phase, Phase::Closed | Phase::Displacing { .. } | Phase::Active { .. });
        held.lease.filter(|_| wanted).map(|lease| (self.id, lease))
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
    pub(super) fn deadline(&self, around: &Surroundings<'_>) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Closed => {
                let refused = self.refused.as_ref().map(|(until, _)| *until);
                let failed = self.acquire_failure.as_ref().filter(|failure| failure.read).map(|failure| failure.again);
                [self.adopt_until, refused, self.late, failed].into_iter().flatten().min()
            }
            Phase::Displacing { until } => Some(*until),
            Phase::Active { renew, announcing, tickling, .. } => {
                Some(tickling.due().into_iter().fold((*renew).min(announcing.due()), Instant::min))
            }
            Phase::Draining { until, probe, .. } => Some((*until).min(*probe)),
            Phase::Releasing { again, .. } => *again,
        };
        // During a handover V is left to the next process, as long as it lasts.
        let waits = matches!(self.phase, Phase::Closed) && around.handing_over;
        let leave = self.lock.held().filter(|_| !waits && !matches!(self.phase, Phase::Releasing { .. }));
        let leave = leave.filter(|_| stands(Guard::Deadline));
        let until = |held: &Held| {
            if self.is_bound() { held.stays_until(&around.evidence) } else { held.deadline }
        };
        let leave = leave.map(|held| deadline::leave_by(until(held)));
        // Nothing is revoked while the address is here.
        let absent = !around.kernel.is_present(&self.settings) || !stands(Guard::RevokeAbsent);
        let revoke = self.lock.deadline().filter(|_| absent);
        let revoke = revoke.map(|at| around.leftover_until.map_or(at, |until| at.max(until)));
        [phase, leave, revoke, self.router.deadline(), self.newcomers.deadline()].into_iter().flatten().min()
    }
}

/// The gate's owner: whoever may hold the VIP is to be Active at once, and yields to nobody.
fn router_settings(vip: &VipSettings) -> router::Settings {
    router::Settings {
        vrid: vip.virtual_router_id,
        priority: Priority::OWNER,
        interval: vip.interval,
        preempt: Preempt::AT_ONCE,
        checksum: vip.checksum,
    }
}

//! One node, pure: [`Input`]s in, [`Output`]s out, time as a value. The daemon's loop and the simulator drive the same
//! code.
//!
//! The contract: call [`Node::handle`] for everything that happens and whenever [`Node::deadline`] has come; carry out
//! the returned outputs in order; hand what came of them back as [`Input::Done`]. Begin with [`Input::Link`] and then
//! [`Input::Addresses`]. A spurious [`Input::Timer`] is harmless.

mod discards;
mod etcd_view;
pub mod io;
mod kernel_view;
mod lock;
mod peers;
mod picture;
mod record;
pub mod status;
#[cfg(test)]
pub(crate) mod tests;
mod vip;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vrrp::time::Instant;

use crate::gate::deadline::STALL;
use crate::gate::evidence::{EtcdReport, EtcdRequest, LeaseId, PatroniReport, RoleReport};
use crate::gate::failsafe;
use crate::gate::guard::{Guard, stands};
use crate::gate::policy::{Fence, Policy};
use crate::gate::reason::Reason;
use crate::gate::verdict::Evidence;
use discards::Discards;
use etcd_view::{EtcdView, Read};
use io::{Discarded, Input, Level, Notice, Output};
use kernel_view::KernelView;
pub use lock::Identity;
use status::PhaseLabel;
pub use vip::VipSettings;
use vip::{RENEW, Surroundings, Vip};

/// How often PostgreSQL is asked: when nothing is waited for, while armed, and while armed for long.
const CALM: Duration = Duration::from_secs(1);
const FAST: Duration = Duration::from_millis(2);
const PATIENT: Duration = Duration::from_millis(100);

/// A handover that is not possible by then, for want of fresh evidence, is given up.
const HAND_OVER: Duration = Duration::from_secs(1);

/// How long a node that is armed asks [`FAST`].
const FAST_FOR: Duration = Duration::from_secs(5);

/// What the operator says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Who this daemon is.
    pub me: Identity,
    /// Name of the interface that carries the VIPs.
    pub interface: String,
    /// `[policy]`.
    pub policy: Policy,
    /// The VIPs.
    pub vips: Vec<VipSettings>,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    me: Identity,
    policy: Policy,
    started: Instant,
    last_pass: Instant,
    /// Answers asked before this are from before a stall.
    fresh_after: Instant,
    stalls: u64,
    etcd: EtcdView,
    postgres: Option<RoleReport>,
    /// While Patroni is being asked.
    patroni: Option<PatroniReport>,
    asking_patroni: Option<String>,
    kernel: KernelView,
    vips: Vec<Vip>,
    round: Round,
    cadence: Duration,
    discards: Discards,
    stopping: bool,
    /// The process is to end, and the next one to find everything in its place; given up then.
    handing_over: Option<Instant>,
}

/// The rounds of questions to etcd. At most one is under way: an answer says by its order what it is an answer to.
#[derive(Debug)]
struct Round {
    under_way: bool,
    next: Instant,
    /// Something changed while one was under way, which may have read too early.
    again: bool,
    /// The lease of K's that the last one asked about.
    leader_lease: Option<LeaseId>,
}

impl Node {
    /// A node at the start of its daemon. It holds nothing and believes nothing.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let addresses = settings.vips.iter().map(|vip| vip.address).collect();
        let vips = settings.vips.into_iter().enumerate();
        Self {
            me: settings.me,
            policy: settings.policy,
            started: now,
            last_pass: now,
            fresh_after: now,
            stalls: 0,
            etcd: EtcdView::default(),
            postgres: None,
            patroni: None,
            asking_patroni: None,
            kernel: KernelView::new(settings.interface, addresses),
            vips: vips.map(|(id, vip)| Vip::new(crate::gate::evidence::VipId(id), vip, now)).collect(),
            round: Round { under_way: false, next: now, again: false, leader_lease: None },
            cadence: Duration::ZERO,
            discards: Discards::default(),
            stopping: false,
            handing_over: None,
        }
    }

    /// Takes one input and says what is to be done.
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.notice_stall(now, &mut out);
        self.take(now, input, &mut out);
        self.give_up_handover(now, &mut out);
        self.each_vip(now, &mut out, Vip::advance);
        self.start_round(now, &mut out);
        self.ask_postgres(now, &mut out);
        self.ask_patroni(&mut out);
        out
    }

    /// The moment at which [`Node::handle`] has to be called even if nothing happens.
    pub fn deadline(&self) -> Instant {
        // A round that is under way ends by an input; its absence shows in D, which is a VIP's deadline.
        let round = if self.round.under_way { self.last_pass + CALM } else { self.round.next };
        let cadence = self.vips.iter().filter_map(Vip::armed_since).map(|since| since + FAST_FOR);
        let cadence = cadence.filter(|at| *at > self.last_pass);
        let around = self.surroundings(self.last_pass);
        let vips = self.vips.iter().filter_map(|vip| vip.deadline(&around));
        vips.chain(cadence).chain(self.handing_over).fold(round, Instant::min)
    }

    /// After [`Input::Stop`]: every address is gone, and every lock is revoked.
    pub fn is_gone(&self) -> bool {
        self.stopping && self.vips.iter().all(|vip| vip.is_gone(&self.kernel))
    }

    /// After [`Input::Stop`]: every address is gone. What is left in etcd expires by itself.
    pub fn is_unbound(&self) -> bool {
        self.stopping && self.vips.iter().all(|vip| vip.is_unbound(&self.kernel))
    }

    /// After [`Input::HandOver`]: each address that was bound has been renewed since, and nothing is being released. The
    /// process may end now, as if it were killed; until the next one has proved its right, the lifetime guards.
    pub fn is_handed_over(&self) -> bool {
        self.handing_over.is_some() && self.vips.iter().all(Vip::is_handed_over)
    }

    /// For each VIP where it is in its life, and why. What [`Node::status`] says at length.
    pub fn gates(&self) -> impl Iterator<Item = (PhaseLabel, &Reason)> {
        self.vips.iter().map(|vip| (vip.phase_label(&self.kernel), &vip.reason))
    }

    fn give_up_handover(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.handing_over.is_some_and(|until| now >= until || self.stopping) {
            self.handing_over = None;
            if !self.stopping {
                let text = "the handover is given up: nothing could be renewed for the next process".to_owned();
                out.push(Output::Tell(Notice { level: Level::Warning, vip: None, text }));
            }
        }
    }

    fn notice_stall(&mut self, now: Instant, out: &mut Vec<Output>) {
        let pause = now.since(self.last_pass);
        self.last_pass = now;
        if pause > STALL {
            self.stalls += 1;
            self.fresh_after = now;
            self.round.again = true;
            self.cadence = Duration::ZERO;
            let text = format!("the daemon did not run for {pause:.1?}: nothing is bound before fresh evidence");
            out.push(Output::Tell(Notice { level: Level::Warning, vip: None, text }));
        }
    }

    fn take(&mut self, now: Instant, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Timer => {}
            Input::Link(link) => self.kernel.link = link,
            Input::Addresses(addresses) => self.kernel.take_dump(addresses),
            Input::AddressAdded(address) => self.kernel.added(address),
            Input::AddressRemoved(address) => self.kernel.removed(&address),
            Input::Advert(advert) => {
                // Our own frames may come back through a bridge; they are nobody's claim.
                if self.kernel.primary_address() == Some(advert.source) && stands(Guard::OwnAddress) {
                    return self.discards.count("own_address");
                }
                let vrid = advert.vrid;
                let mut known = false;
                self.each_vip(now, out, |vip, around, out| {
                    if vip.settings.virtual_router_id == vrid || !stands(Guard::VirtualRouter) {
                        known = true;
                        vip.take_advert(around, &advert, out);
                    }
                });
                if !known {
                    self.discards.count("other_virtual_router");
                }
            }
            Input::Discarded(Discarded { reason, version2 }) => {
                out.extend(self.discards.take(now, reason).map(Output::Tell));
                if let Some(advert) = version2 {
                    let vips = self.vips.iter_mut();
                    vips.filter(|vip| vip.settings.virtual_router_id.get() == advert.virtual_router_id)
                        .for_each(|vip| vip.take_version2(now, advert));
                }
            }
            Input::ArpClaim { address, mac } => {
                let vips = self.vips.iter_mut().filter(|vip| vip.settings.address == address);
                vips.for_each(|vip| vip.take_arp_claim(now, mac, out));
            }
            Input::Etcd(report) => self.take_etcd(now, report, out),
            Input::Postgres(report) => {
                let newer = self.postgres.as_ref().is_none_or(|known| known.asked <= report.asked);
                if newer || !stands(Guard::RoleOrder) {
                    self.postgres = Some(report);
                }
            }
            Input::Patroni(report) => self.patroni = Some(report).filter(|_| self.asking_patroni.is_some()),
            Input::Done(outcomes) => {
                for outcome in &outcomes {
                    self.learn(outcome);
                    self.each_vip(now, out, |vip, around, out| {
                        if vip.id == outcome.vip() {
                            vip.take_outcome(around, outcome, out);
                        }
                    });
                }
            }
            Input::Stop => self.stopping = true,
            Input::HandOver => {
                self.handing_over = Some(now + HAND_OVER);
                self.vips.iter_mut().for_each(|vip| vip.hand_over(now));
            }
        }
    }

    fn take_etcd(&mut self, now: Instant, report: EtcdReport, out: &mut Vec<Output>) {
        match report {
            EtcdReport::Hint => self.look_again(now),
            EtcdReport::Round { kept, observation } => {
                self.round.under_way = false;
                let before = self.etcd.error.is_some();
                let read = self.etcd.take(now, observation);
                self.tell_etcd(before, read, out);
                let me = &self.me;
                let evidence = self.etcd.latest().filter(|_| read == Read::Good);
                for vip in &mut self.vips {
                    if read == Read::Rebuilt {
                        vip.etcd_rebuilt();
                    }
                    vip.take_round(me, &kept, evidence);
                }
                // K has another lease than the one that was asked about: ask about this one.
                if read == Read::Good && self.leader_lease() != self.round.leader_lease {
                    self.look_again(now);
                }
            }
            EtcdReport::Acquire { vip, outcome } => {
                if let Some(vip) = self.vips.get_mut(vip.0) {
                    vip.take_acquisition(now, outcome, out);
                }
            }
            EtcdReport::Revoke { vip, lease, outcome } => {
                if let Some(vip) = self.vips.get_mut(vip.0) {
                    vip.take_revocation(now, lease, &outcome);
                }
            }
        }
    }

    /// An outcome is known before the kernel's notification of it arrives.
    fn learn(&mut self, outcome: &io::Outcome) {
        let Some(vip) = self.vips.get(outcome.vip().0) else { return };
        let settings = &vip.settings;
        match outcome {
            io::Outcome::Unbound { .. } | io::Outcome::Late { removed: true, .. } => {
                self.kernel.absent(settings.address);
            }
            io::Outcome::StraysRemoved { .. } => self.kernel.no_strays(settings.address, settings.prefix_len),
            io::Outcome::Bound { .. } => {
                if let Some(link) = self.kernel.link {
                    self.kernel.added(io::Address {
                        link: link.index,
                        address: settings.address.into(),
                        prefix_len: settings.prefix_len,
                        lifetime: Some(1),
                    });
                }
            }
            _ => {}
        }
    }

    fn look_again(&mut self, now: Instant) {
        self.round.again = true;
        self.round.next = self.round.next.min(now);
    }

    fn start_round(&mut self, now: Instant, out: &mut Vec<Output>) {
        let again =
            self.vips.iter_mut().fold(self.round.again, |again, vip| again | std::mem::take(&mut vip.look_again));
        self.round.again = again;
        if self.round.under_way || !(again || self.round.next <= now) {
            return;
        }
        let leader_lease = self.leader_lease();
        self.round = Round { under_way: true, next: now + RENEW, again: false, leader_lease };
        let keep_alive = self.vips.iter().filter_map(Vip::permit).collect();
        out.push(Output::Etcd(EtcdRequest::Round { keep_alive, leader_lease }));
    }

    /// K's lease, where K is the fence and this member's.
    fn leader_lease(&self) -> Option<LeaseId> {
        let leader = self.etcd.latest()?.leader.as_ref()?;
        (self.policy.fence == Fence::LeaderKey && leader.member == self.me.member).then_some(leader.lease)
    }

    fn ask_postgres(&mut self, now: Instant, out: &mut Vec<Output>) {
        let armed = self.vips.iter().filter_map(Vip::armed_since).max();
        let every = match armed {
            Some(since) if now.since(since) < FAST_FOR => FAST,
            Some(_) => PATIENT,
            None => CALM,
        };
        if every != self.cadence {
            self.cadence = every;
            out.push(Output::AskPostgres { every });
        }
    }

    /// Patroni is asked while a VIP is bound and the failsafe mode is on.
    fn ask_patroni(&mut self, out: &mut Vec<Output>) {
        let due = self.vips.iter().any(Vip::is_bound) && failsafe::is_due(self.policy, self.etcd.latest());
        let url = self.etcd.api_url.as_ref().filter(|_| due);
        if url != self.asking_patroni.as_ref() {
            self.patroni = None;
            self.asking_patroni = url.cloned();
            out.push(Output::AskPatroni { url: self.asking_patroni.clone() });
        }
    }

    fn tell_etcd(&self, failed_before: bool, read: Read, out: &mut Vec<Output>) {
        let (level, text) = match (&self.etcd.error, read) {
            (_, Read::Rebuilt) => {
                (Level::Alarm, "etcd is another cluster or an older copy than before: starting anew".to_owned())
            }
            (Some(error), _) if !failed_before => (Level::Warning, format!("etcd does not answer: {error}")),
            (None, _) if failed_before => (Level::Info, "etcd answers again".to_owned()),
            _ => return,
        };
        out.push(Output::Tell(Notice { level, vip: None, text }));
    }

    /// Runs `step` for each VIP with everything it may look at.
    fn each_vip(
        &mut self,
        now: Instant,
        out: &mut Vec<Output>,
        mut step: impl FnMut(&mut Vip, &Surroundings<'_>, &mut Vec<Output>),
    ) {
        let mut vips = std::mem::take(&mut self.vips);
        let around = self.surroundings(now);
        for vip in &mut vips {
            step(vip, &around, out);
        }
        self.vips = vips;
    }

    fn surroundings(&self, now: Instant) -> Surroundings<'_> {
        let evidence = Evidence {
            now,
            member: &self.me.member,
            etcd: self.etcd.latest(),
            member_known: self.etcd.member_known,
            system_identifier: self.etcd.system_identifier(),
            quarantine: self.etcd.quarantine(),
            postgres: self.postgres.as_ref(),
            vouched: failsafe::vouched(now, self.patroni.as_ref()),
            fresh_after: self.fresh_after,
            policy: self.policy,
        };
        Surroundings {
            me: &self.me,
            evidence,
            kernel: &self.kernel,
            stopping: self.stopping,
            handing_over: self.handing_over.is_some(),
        }
    }
}

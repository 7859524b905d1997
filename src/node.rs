//! One node, pure: [`Input`]s in, [`Output`]s out, time as a value. The daemon's loop and the simulator drive the same
//! code.
//!
//! The contract: call [`Node::handle`] for everything that happens and whenever [`Node::deadline`] has come; carry out
//! the returned outputs in order; hand what came of them back as [`Input::Done`]. Begin with an [`Input::Link`] for each
//! interface and then [`Input::Addresses`]. A spurious [`Input::Timer`] is harmless.

mod adverts;
mod announcing;
mod discards;
mod election;
mod etcd_view;
pub mod io;
mod kernel_view;
mod lock;
mod peers;
mod picture;
mod record;
mod reload;
mod settings;
pub mod status;
#[cfg(test)]
pub(crate) mod tests;
mod vip;

use std::time::Duration;

use vrrp::time::Instant;
use vrrp::wire::advert::Advert;

use crate::gate::deadline::STALL;
use crate::gate::evidence::{EtcdReport, EtcdRequest, LeaseId, PatroniReport, RoleReport, VipId};
use crate::gate::failsafe;
use crate::gate::guard::{Guard, stands};
use crate::gate::policy::{Fence, Policy};
use crate::gate::reason::Reason;
use crate::gate::verdict::Evidence;
use discards::Discards;
use election::Election;
use etcd_view::{EtcdView, Read};
use io::{ClientsReport, Discarded, Input, Level, Notice, Output};
use kernel_view::KernelView;
pub use kernel_view::is_link_local;
pub use lock::Identity;
use reload::Reloads;
pub use settings::{Family, Follows, InterfaceId, Rules, Settings, VipSettings, lock_address};
use status::PhaseLabel;
use vip::{ADOPT, RENEW, Surroundings, Vip};

/// How often PostgreSQL is asked: when nothing is waited for, while armed, and while armed for long.
const CALM: Duration = Duration::from_secs(1);
const FAST: Duration = Duration::from_millis(2);
const PATIENT: Duration = Duration::from_millis(100);

/// A handover that is not possible by then, for want of fresh evidence, is given up.
const HAND_OVER: Duration = Duration::from_secs(1);

/// How long a node that is armed asks [`FAST`].
const FAST_FOR: Duration = Duration::from_secs(5);

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
    clients: ClientsReport,
    /// Those that follow the primary.
    vips: Vec<Vip>,
    /// Those that follow nobody.
    elections: Vec<Election>,
    round: Round,
    cadence: Duration,
    discards: Discards,
    reloads: Reloads,
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
        let addresses = settings.vips.iter().flat_map(|vip| vip.addresses.iter().map(ipnet::IpNet::addr));
        let kernel = KernelView::new(settings.interfaces, addresses);
        let mut node = Self {
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
            kernel,
            clients: ClientsReport::default(),
            vips: Vec::new(),
            elections: Vec::new(),
            round: Round { under_way: false, next: now, again: false, leader_lease: None },
            cadence: Duration::ZERO,
            discards: Discards::default(),
            reloads: Reloads::new(now),
            stopping: false,
            handing_over: None,
        };
        settings.vips.into_iter().enumerate().for_each(|(id, vip)| node.begin(now, VipId(id), vip));
        node
    }

    fn begin(&mut self, now: Instant, id: VipId, vip: VipSettings) {
        match vip.follows.clone() {
            Follows::Primary => self.vips.push(Vip::new(id, vip, now)),
            Follows::None(rules) => self.elections.push(Election::new(id, vip, rules, now)),
        }
    }

    /// Takes one input and says what is to be done.
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.notice_stall(now, &mut out);
        // What the segment says is read message by message. Who is overdue for lack of an advert may be the next to be heard.
        let heard = matches!(input, Input::Advert { .. } | Input::Discarded(_) | Input::Claim { .. });
        self.take(now, input, &mut out);
        self.give_up_handover(now, &mut out);
        self.retire_and_begin(now);
        self.each_vip(now, &mut out, Vip::advance);
        self.each_election(now, &mut out, |election, around, out| {
            if election.touched || (election.is_due(now) && !heard) {
                election.advance(around, out);
            }
        });
        if !self.vips.is_empty() {
            self.start_round(now, &mut out);
            self.ask_postgres(now, &mut out);
            self.ask_patroni(&mut out);
        }
        out.sort_by_cached_key(|output| self.turn(output));
        out
    }

    /// What goes first of one list. Hundreds of announcements delay no advert. And what an elected router says goes before
    /// what it binds, as in RFC 9568 section 6.4.2: those that are next in priority wait for a fraction of a millisecond
    /// more, and the binds of many addresses take longer.
    fn turn(&self, output: &Output) -> u8 {
        match output {
            Output::Advertise { vip, priority: 1.., .. } if self.speaks_first(*vip) => 0,
            Output::Announce { .. } | Output::Tickle { .. } => 2,
            _ => 1,
        }
    }

    /// Not one that could not bind when it last was to: the word of a router that cannot serve would only disturb one that
    /// does. It goes with the bind, or not at all.
    fn speaks_first(&self, vip: VipId) -> bool {
        self.elections.iter().any(|election| election.id == vip && !election.was_refused)
    }

    /// Whether an Active is overdue, so that what has arrived already has to be looked at before the time is up.
    pub fn misses_an_active(&self, now: Instant) -> bool {
        self.elections.iter().any(|election| election.misses_the_active(now))
    }

    /// The moment at which [`Node::handle`] has to be called even if nothing happens.
    pub fn deadline(&self) -> Instant {
        // A round that is under way ends by an input; its absence shows in D, which is a VIP's deadline.
        let round = if self.round.under_way || self.vips.is_empty() { self.last_pass + CALM } else { self.round.next };
        let cadence = self.vips.iter().filter_map(Vip::armed_since).map(|since| since + FAST_FOR);
        let cadence = cadence.filter(|at| *at > self.last_pass);
        let around = self.surroundings(self.last_pass);
        let vips = self.vips.iter().filter_map(|vip| vip.deadline(&around));
        let elections = self.elections.iter().filter_map(Election::deadline);
        vips.chain(elections).chain(cadence).chain(self.handing_over).fold(round, Instant::min)
    }

    /// After [`Input::Stop`]: every address is gone, and every lock is revoked.
    pub fn is_gone(&self) -> bool {
        let gone = self.vips.iter().all(|vip| vip.is_gone(&self.kernel));
        self.stopping && gone && self.elections.iter().all(|election| election.is_unbound(&self.kernel))
    }

    /// After [`Input::Stop`]: every address is gone. What is left in etcd expires by itself.
    pub fn is_unbound(&self) -> bool {
        let unbound = self.vips.iter().all(|vip| vip.is_unbound(&self.kernel));
        self.stopping && unbound && self.elections.iter().all(|election| election.is_unbound(&self.kernel))
    }

    /// After [`Input::HandOver`]: each address that was bound has been renewed since, nothing is being released, and what VRRP
    /// elects has left. The process may end now, as if it were killed; until the next one has proved its right, the
    /// lifetime guards.
    pub fn is_handed_over(&self) -> bool {
        let handed_over = self.vips.iter().all(Vip::is_handed_over);
        let unbound = self.elections.iter().all(|election| election.is_unbound(&self.kernel));
        self.handing_over.is_some() && handed_over && unbound
    }

    /// For each VIP where it is in its life, and why. What [`Node::status`] says at length.
    pub fn gates(&self) -> impl Iterator<Item = (VipId, PhaseLabel, &Reason)> {
        self.vips.iter().map(|vip| (vip.id, vip.phase_label(&self.kernel), &vip.reason))
    }

    fn give_up_handover(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.handing_over.is_some_and(|until| now >= until || self.stopping) {
            self.handing_over = None;
            self.touch_elections();
            if !self.stopping {
                let text = "the handover is given up: nothing could be renewed for the next process".to_owned();
                out.push(Output::Tell(Notice { level: Level::Warning, vip: None, text, mark: None }));
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
            out.push(Output::Tell(Notice { level: Level::Warning, vip: None, text, mark: None }));
            self.each_election(now, out, |election, around, out| election.stalled(around, pause, out));
        }
    }

    fn take(&mut self, now: Instant, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Timer => {}
            Input::Link { interface, link } => {
                if self.kernel.set_link(interface, link) {
                    let vips = self.vips.iter_mut().filter(|vip| vip.settings.carrier() == interface);
                    vips.for_each(|vip| vip.announce_again(now));
                    let elections = self.elections.iter_mut();
                    let elections = elections.filter(|election| election.settings.carrier() == interface);
                    elections.for_each(|election| election.announce_again(now, now));
                }
                self.touch_elections();
            }
            Input::Addresses(addresses) => {
                self.kernel.take_dump(addresses);
                self.touch_elections();
            }
            Input::AddressAdded(address) => {
                self.kernel.added(address);
                self.touch_elections();
            }
            Input::AddressRemoved(address) => {
                self.kernel.removed(&address);
                self.touch_elections();
            }
            Input::Advert { interface, advert } => self.take_advert(now, interface, &advert, out),
            Input::Discarded(discarded) => self.take_discarded(now, discarded, out),
            Input::Claim { interface, address, mac: [a, b, c, d, e, f] } => {
                let who = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
                let is = |vip: &VipSettings| vip.interface == interface && vip.has(address);
                let vips = self.vips.iter_mut().filter(|vip| is(&vip.settings));
                vips.for_each(|vip| vip.take_claim(now, &who, out));
                let elections = self.elections.iter_mut().filter(|election| is(&election.settings));
                elections.for_each(|election| election.take_claim(now, &who, out));
            }
            Input::Drain { vip: id, drained } => {
                let vips = self.vips.iter_mut().filter(|vip| vip.id == id);
                vips.for_each(|vip| vip.drained = drained);
                for election in self.elections.iter_mut().filter(|election| election.id == id) {
                    (election.drained, election.touched) = (drained, true);
                }
            }
            Input::Etcd(report) => self.take_etcd(now, report, out),
            Input::Postgres(report) => {
                let newer = self.postgres.as_ref().is_none_or(|known| known.asked <= report.asked);
                if newer || !stands(Guard::RoleOrder) {
                    self.postgres = Some(report);
                }
            }
            Input::PostgresParted => self.each_vip(now, out, Vip::postgres_parted),
            Input::Clients(report) => {
                for vip in &mut self.vips {
                    let clients = report.vips.get(vip.id.0);
                    vip.met_clients |= clients.and_then(|clients| clients.connected).is_some_and(|count| count > 0);
                }
                self.clients = report;
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
                    self.each_election(now, out, |election, around, out| {
                        if election.id == outcome.vip() {
                            election.take_outcome(around, outcome, out);
                        }
                    });
                }
            }
            Input::Reload(settings) => self.reload(now, *settings),
            Input::ReloadRefused(why) => self.refuse_reload(now, why, out),
            Input::Stop => {
                self.stopping = true;
                self.touch_elections();
            }
            Input::HandOver => {
                self.touch_elections();
                self.handing_over = Some(now + HAND_OVER);
                self.vips.iter_mut().for_each(|vip| vip.hand_over(now));
            }
        }
    }

    fn take_etcd(&mut self, now: Instant, report: EtcdReport, out: &mut Vec<Output>) {
        match report {
            EtcdReport::Hint => self.look_again(now),
            EtcdReport::Switchover { leader, revision } => {
                let leader = leader.as_deref();
                self.each_vip(now, out, |vip, around, out| vip.switchover_asked(around, leader, revision, out));
            }
            EtcdReport::SwitchoverWithdrawn => self.each_vip(now, out, |vip, _, out| vip.switchover_withdrawn(out)),
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
                let of_another = self.etcd.is_of_another(&outcome);
                if let Some(vip) = self.vips.iter_mut().find(|known| known.id == vip) {
                    // It compared K and V as they are in an etcd of which nothing is known; who trusts the former one is waited
                    // for.
                    if of_another {
                        vip.etcd_rebuilt();
                    }
                    vip.take_acquisition(now, outcome, out);
                }
            }
            EtcdReport::Revoke { vip, lease, outcome } => {
                if let Some(vip) = self.vips.iter_mut().find(|known| known.id == vip) {
                    vip.take_revocation(now, lease, &outcome);
                }
            }
        }
    }

    fn take_advert(&mut self, now: Instant, interface: InterfaceId, advert: &Advert, out: &mut Vec<Output>) {
        // Our own frames may come back through a bridge; they are nobody's claim.
        if self.kernel.is_local(&advert.source) && stands(Guard::OwnAddress) {
            return self.discards.count("own_address");
        }
        let family = Family::of(advert.source);
        let is = |vip: &VipSettings| {
            let router = vip.virtual_router_id == advert.vrid && vip.of_family(family).next().is_some();
            vip.interface == interface && (router || !stands(Guard::VirtualRouter))
        };
        // With unicast the sender has to be a configured peer: the TTL alone does not keep others out.
        let is_peer = |vip: &VipSettings| vip.unicast_peers.is_empty() || vip.unicast_peers.contains(&advert.source);
        let (mut known, mut stranger) = (false, false);
        self.each_vip(now, out, |vip, around, out| {
            if is(&vip.settings) {
                known = true;
                match is_peer(&vip.settings) {
                    true => vip.take_advert(around, advert, out),
                    false => stranger = true,
                }
            }
        });
        self.each_election(now, out, |election, around, out| {
            if is(&election.settings) {
                known = true;
                match is_peer(&election.settings) {
                    true => election.take_advert(around, advert, out),
                    false => stranger = true,
                }
            }
        });
        if stranger {
            out.extend(self.discards.take(now, "not_a_peer".into(), 1).map(Output::Tell));
        }
        if !known {
            self.discards.count("other_virtual_router");
        }
    }

    fn take_discarded(&mut self, now: Instant, discarded: Discarded, out: &mut Vec<Output>) {
        let Discarded { interface, reason, count, virtual_router_id, version2 } = discarded;
        let is = |vip: &VipSettings| {
            // Version 2 is IPv4's alone; what else is wrong may be so in either family.
            let family = version2.is_none() || vip.of_family(Family::V4).next().is_some();
            vip.interface == interface && virtual_router_id == Some(vip.virtual_router_id.get()) && family
        };
        let vips = self.vips.iter_mut().map(|vip| (&vip.settings, &mut vip.record, &mut vip.peers));
        let elections = self.elections.iter_mut();
        let elections = elections.map(|election| (&election.settings, &mut election.record, &mut election.peers));
        for (_, record, peers) in vips.chain(elections).filter(|(settings, ..)| is(settings)) {
            record.discarded(&reason, count);
            if let Some(version2) = version2 {
                peers.version2(now, version2, count);
            }
        }
        out.extend(self.discards.take(now, reason, count).map(Output::Tell));
    }

    fn touch_elections(&mut self) {
        self.elections.iter_mut().for_each(|election| election.touched = true);
    }

    /// An outcome is known before the kernel's notification of it arrives.
    fn learn(&mut self, outcome: &io::Outcome) {
        let id = outcome.vip();
        let vips = self.vips.iter().map(|vip| (vip.id, &vip.settings));
        let mut all = vips.chain(self.elections.iter().map(|election| (election.id, &election.settings)));
        let Some((_, settings)) = all.find(|(known, _)| *known == id) else { return };
        match outcome {
            io::Outcome::Unbound { .. } | io::Outcome::Late { removed: true, .. } => self.kernel.absent(settings),
            io::Outcome::StraysRemoved { .. } => self.kernel.no_strays(settings),
            io::Outcome::Bound { .. } => self.kernel.bound(settings),
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
        out.push(Output::Tell(Notice { level, vip: None, text, mark: None }));
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

    /// The same for each election.
    fn each_election(
        &mut self,
        now: Instant,
        out: &mut Vec<Output>,
        mut step: impl FnMut(&mut Election, &Surroundings<'_>, &mut Vec<Output>),
    ) {
        let mut elections = std::mem::take(&mut self.elections);
        let around = self.surroundings(now);
        for election in &mut elections {
            step(election, &around, out);
        }
        self.elections = elections;
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
            leftover_until: self.leftover_until(now),
        }
    }

    /// Until then an address may be here that a predecessor bound by right of a lock, and that the configuration does not name
    /// any more. Nobody removes it; its lifetime ends it.
    fn leftover_until(&self, now: Instant) -> Option<Instant> {
        // While a machine sleeps its kernel's lifetimes stand still, and so they may have during any stall.
        let until = self.fresh_after + ADOPT;
        let here = self.kernel.has_leftover() || self.waits_for_leftover();
        (now < until && here && stands(Guard::Leftover)).then_some(until)
    }
}

//! A VIP that follows nobody: VRRP's own election decides where it is (RFC 9568 section 6.4), among routers that hear each
//! other. What keeps two of them from answering is that they do; nothing here proves it, as for a VIP that follows the
//! primary.
//!
//! The kernel takes the address away from a daemon that is dead or stopped all the same: it is bound for 3 s at a time.

mod flapping;
mod standing;

use std::net::IpAddr;
use std::time::Duration;

use vrrp::router::{self, Action, Event, Router, State};
use vrrp::time::Instant;
use vrrp::wire::advert::Advert;

use super::Surroundings;
use super::adverts;
use super::announcing::{Announcing, REPLY};
use super::io::{self, Level, Mark, Notice, Outcome, Output};
use super::kernel_view::KernelView;
use super::peers::Peers;
use super::record::Record;
use super::settings::{Family, Rules, VipSettings};
use super::status::PhaseLabel;
use super::vip::{BIND_AGAIN, LOOK_AGAIN, Leaving, RENEW, UNBIND_AGAIN};
use crate::gate::deadline;
use crate::gate::evidence::VipId;
use flapping::Flapping;
use standing::Standing;

/// The most that resetting connections may delay the removal of the address: the next Active may have it already.
const RESET_BEFORE: Duration = Duration::from_millis(10);

/// One VIP in VRRP's election.
#[derive(Debug)]
pub(super) struct Election {
    pub(super) id: VipId,
    pub(super) settings: VipSettings,
    rules: Rules,
    pub(super) router: Router,
    hold: Hold,
    standing: Standing,
    /// The label of the standing that was last told.
    told: &'static str,
    /// Whom the router last heard as the Active, and with which priority.
    active: Option<(IpAddr, u8)>,
    /// Since when the router has been in its state.
    since: Instant,
    /// Put on hold by hand.
    pub(super) drained: bool,
    /// The kernel refused to bind; what it said, and when to try again.
    refused: Option<(Instant, String)>,
    /// The last bind was.
    pub(super) was_refused: bool,
    /// A bind came too late; when to try again.
    late: Option<Instant>,
    flapping: Flapping,
    announced: Option<Instant>,
    /// Something has happened since the last [`advance`](Self::advance).
    pub(super) touched: bool,
    pub(super) peers: Peers,
    pub(super) record: Record,
}

/// Where the address is in its life.
#[derive(Debug)]
enum Hold {
    Absent,
    /// `confirmed`: the kernel has said so.
    Bound {
        confirmed: bool,
        renew: Instant,
        announcing: Announcing,
    },
    /// Being removed; `again` is set when that failed.
    Removing {
        again: Option<Instant>,
        what: Leaving,
    },
}

impl Election {
    pub(super) fn new(id: VipId, settings: VipSettings, rules: Rules, now: Instant) -> Self {
        Self {
            id,
            drained: settings.drained,
            router: Router::new(router_settings(&settings, &rules)),
            settings,
            rules,
            hold: Hold::Absent,
            standing: Standing::KernelUnasked,
            told: "",
            active: None,
            since: now,
            refused: None,
            was_refused: false,
            late: None,
            flapping: Flapping::default(),
            announced: None,
            touched: true,
            peers: Peers::default(),
            record: Record::default(),
        }
    }

    /// The operator says something else of this VIP: which one it is, and where it is, stays, and with it the router's state
    /// and timers.
    pub(super) fn reconfigure(&mut self, now: Instant, settings: VipSettings, rules: Rules) {
        self.touched = true;
        let same_list = settings.addresses == self.settings.addresses;
        self.router.reconfigure(now, router_settings(&settings, &rules));
        (self.settings, self.rules) = (settings, rules);
        if let Hold::Bound { renew, .. } = &mut self.hold
            && !same_list
        {
            *renew = now;
            // What is missing now was removed by nobody: it is put there without a word.
            self.late = Some(now);
            self.announce_again(now, now);
        }
    }

    /// Nothing of this VIP, which is not configured any more, is left.
    pub(super) fn has_retired(&self, kernel: &KernelView) -> bool {
        self.settings.retired && self.is_unbound(kernel)
    }

    /// Whether a deadline has come.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Whether the Active is overdue: an advert that has arrived already would change that.
    pub(super) fn misses_the_active(&self, now: Instant) -> bool {
        self.router.state() == State::Backup && self.router.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Brings the router and the address in line with what is known.
    pub(super) fn advance(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        self.touched = false;
        // Before the addresses are read, none is known to be absent.
        if !around.kernel.is_known() {
            return;
        }
        let now = around.evidence.now;
        let family = self.settings.families().next();
        self.router.set_primary_address(family.and_then(|family| around.kernel.source(&self.settings, family)));
        self.refused = self.refused.take().filter(|(until, _)| now < *until);
        match self.hindrance(around) {
            Some(hindrance) => {
                if self.router.state() != State::Initialize {
                    self.turn(now, hindrance.clone());
                    let actions = self.router.handle(now, Event::Shutdown);
                    self.carry_out(around, actions, out);
                }
                self.standing = hindrance;
            }
            None if self.router.state() == State::Initialize => {
                self.turn(now, Standing::Backup("just started".to_owned()));
                let actions = self.router.handle(now, Event::Startup);
                self.carry_out(around, actions, out);
            }
            None => {}
        }
        self.expel(around, out);
        if self.router.deadline().is_some_and(|deadline| deadline <= now) {
            self.time_is_up(around, out);
        }
        self.keep(around, out);
        if let Hold::Removing { again: Some(again), .. } = self.hold
            && again <= now
        {
            self.remove(out);
        }
        self.explain(out);
    }

    /// What keeps this router in Initialize.
    fn hindrance(&self, around: &Surroundings<'_>) -> Option<Standing> {
        let kernel = around.kernel;
        let interface = self.settings.interface;
        let name = |interface| kernel.name(interface).to_owned();
        if around.stopping {
            return Some(Standing::Stopping);
        }
        // Its election is not handed over: the next process begins in Backup, as the RFC says.
        if around.handing_over {
            return Some(Standing::Stopping);
        }
        if self.settings.retired {
            return Some(Standing::Removed);
        }
        if self.drained {
            return Some(Standing::Drained);
        }
        if let Some(missing) = kernel.missing(&self.settings) {
            return Some(Standing::NoInterface(name(missing)));
        }
        if let Some(down) = kernel.down(&self.settings) {
            return Some(Standing::InterfaceDown(name(down)));
        }
        let is_up = |interface| kernel.link(interface).is_some_and(|link| link.up);
        if let Some(tracked) = self.rules.track.iter().find(|tracked| !is_up(**tracked)) {
            return Some(Standing::TrackedDown(name(*tracked)));
        }
        let family = self.settings.families().next();
        if family.and_then(|family| kernel.source(&self.settings, family)).is_none() {
            return Some(Standing::NoSource(name(interface)));
        }
        self.refused.as_ref().map(|(_, error)| Standing::BindRefused(error.clone()))
    }

    /// An address that is here without being ours: left by a predecessor, or put here by somebody else.
    fn expel(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        if matches!(self.hold, Hold::Absent) && around.kernel.is_present(&self.settings) {
            self.hold = Hold::Removing { again: None, what: Leaving::Stray };
            self.remove(out);
        }
    }

    fn time_is_up(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        if self.router.state() == State::Backup {
            let why = match (&self.standing, self.active) {
                (Standing::Leaving(who), _) => format!("{who} said goodbye"),
                (_, Some((who, priority @ 1..))) if priority < self.rules.priority.get() => {
                    format!("{who} has the lower priority {priority}")
                }
                _ => format!("no Active was heard for {:.1?}", self.router.active_down_interval()),
            };
            self.turn(now, Standing::Active(why));
        }
        let actions = self.router.handle(now, Event::Timer);
        self.carry_out(around, actions, out);
    }

    /// Keeps the address where it belongs while the router is Active, and nowhere else.
    fn keep(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        let Some(link) = around.kernel.place(&self.settings) else { return };
        let Hold::Bound { confirmed, renew, announcing } = &mut self.hold else { return };
        if around.kernel.has_strays(&self.settings) {
            out.push(Output::UnbindStrays { vip: self.id, keep: link.index });
        }
        // Put back at once; if that came late, after a while, and without a word.
        let missing = *confirmed && !around.kernel.is_in_place(&self.settings);
        let deleted = missing && self.late.is_none_or(|until| until <= now);
        let is_news = deleted && self.late.is_none();
        let announce = *confirmed && (deleted || announcing.due() <= now);
        // What is announced is here.
        let bind = deleted || *renew <= now || (missing && announce);
        if bind {
            *renew = now + RENEW;
            out.push(binding(self.id, link.index, now));
        }
        if announce {
            announcing.making(now);
            self.announced = Some(now);
            out.push(announcing.output(now, self.id, link.index));
        }
        if is_news {
            self.record.counters.repaired += 1;
            let text = format!("{} was removed by somebody else: putting it back", self.settings.shown());
            self.tell(Level::Warning, text, out);
        }
    }

    pub(super) fn take_advert(&mut self, around: &Surroundings<'_>, advert: &Advert, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        self.touched = true;
        if let Some(text) = self.peers.advert(now, advert, &self.settings, &mut self.record.counters) {
            self.tell(Level::Warning, text, out);
        }
        let before = self.router.state();
        let actions = self.router.handle(now, Event::Advert(advert));
        let Advert { source, priority, .. } = advert;
        // Who speaks in both families is named by the first one's address.
        let again = self.active.is_some_and(|(known, as_high)| {
            as_high == *priority && (known == *source || Some(Family::of(*source)) != self.settings.families().next())
        });
        match (before, self.router.state()) {
            (State::Active, State::Backup) => {
                self.turn(now, Standing::Backup(format!("{source} has priority {priority}")));
            }
            // Whoever believes itself Active has told the segment so: tell it otherwise.
            (State::Active, State::Active) if *priority > 0 => self.reply(now),
            (State::Backup, State::Backup) if !again => {
                self.standing = match priority {
                    0 => Standing::Leaving(source.to_string()),
                    _ => Standing::Backup(format!("{source} is Active with priority {priority}")),
                };
            }
            _ => {}
        }
        if !again || self.active.is_none() {
            self.active = Some((*source, *priority));
        }
        self.carry_out(around, actions, out);
    }

    /// Somebody else claims the address by ARP or by a neighbour advertisement.
    pub(super) fn take_claim(&mut self, now: Instant, who: &str, out: &mut Vec<Output>) {
        // While another is Active, this is that one speaking of what is its own.
        if !self.is_bound() {
            return;
        }
        self.touched = true;
        self.record.counters.arp_conflicts += 1;
        if self.announced.is_none_or(|last| now.since(last) >= REPLY) {
            let text = format!("{who} claims {}: announcing again", self.settings.shown());
            self.tell_event(io::Event::Conflict, Level::Warning, text, out);
        }
        self.reply(now);
    }

    /// Somebody who heard a rival is to hear this one again.
    fn reply(&mut self, now: Instant) {
        self.announce_again(now, self.announced.map_or(now, |last| now.max(last + REPLY)));
    }

    pub(super) fn announce_again(&mut self, now: Instant, due: Instant) {
        if let Hold::Bound { announcing, .. } = &mut self.hold {
            announcing.again(due, due == now);
        }
    }

    /// The process did not run for so long. Others have taken over by now if there are any: whoever is Active is heard, or
    /// is not, before this one serves again. Nor has a Backup that slept through its Active_Down_Timer missed anybody.
    pub(super) fn stalled(&mut self, around: &Surroundings<'_>, pause: Duration, out: &mut Vec<Output>) {
        self.touched = true;
        let now = around.evidence.now;
        let outlasted = match self.router.state() {
            State::Initialize => false,
            State::Backup => self.misses_the_active(now),
            State::Active => pause > self.router.active_down_interval(),
        };
        if outlasted {
            self.turn(now, Standing::Backup(format!("the daemon did not run for {pause:.1?}")));
            let actions = self.router.handle(now, Event::Shutdown);
            // Without a goodbye: another's would not be cut short by it.
            let silent = actions.into_iter().filter(|action| matches!(action, Action::UnbindAddresses)).collect();
            self.carry_out(around, silent, out);
            let _ = self.router.handle(now, Event::Startup);
        }
    }

    pub(super) fn take_outcome(&mut self, around: &Surroundings<'_>, outcome: &Outcome, out: &mut Vec<Output>) {
        self.touched = true;
        let now = around.evidence.now;
        let counters = &mut self.record.counters;
        match outcome {
            Outcome::Bound { at, .. } => self.bound(*at, out),
            Outcome::Late { removed, .. } => {
                counters.late += 1;
                if let Hold::Bound { confirmed, renew, announcing } = &mut self.hold {
                    *renew = now + LOOK_AGAIN;
                    announcing.wait(now + LOOK_AGAIN);
                    // One that was to put back what is missing would be tried again at once.
                    self.late = Some(now + LOOK_AGAIN);
                    if *removed && std::mem::take(confirmed) {
                        let _ = self.record.lost(now, "the kernel, or this process, is too slow".to_owned());
                    }
                }
            }
            Outcome::BindRefused { error, .. } => {
                counters.bind_refused += 1;
                self.tell(Level::Alarm, format!("the kernel refused to bind {}: {error}", self.settings.shown()), out);
                // Announced as Active and unable to serve: let another.
                self.refused = Some((now + BIND_AGAIN, error.clone()));
                self.was_refused = true;
            }
            Outcome::Unbound { removed, at, .. } => self.unbound(*removed, *at, out),
            Outcome::UnbindFailed { error, .. } => {
                if let Hold::Removing { again, .. } = &mut self.hold {
                    *again = Some(now + UNBIND_AGAIN);
                    self.tell(Level::Alarm, format!("{} cannot be removed: {error}", self.settings.shown()), out);
                }
            }
            Outcome::StraysRemoved { removed, .. } => counters.expelled += *removed as u64,
            Outcome::SynsDropped { .. } | Outcome::Tickled { .. } => {}
            Outcome::Reset { destroyed, .. } => counters.connections_reset += *destroyed as u64,
            Outcome::Connections { .. } => {}
            Outcome::Advertised { .. } => counters.adverts_sent += 1,
            Outcome::Announced { .. } => {
                counters.announcements += 1;
                if let Hold::Bound { announcing, .. } = &mut self.hold {
                    announcing.sent(now, &self.settings, true);
                }
            }
            Outcome::SendFailed { .. } => counters.send_errors += 1,
        }
    }

    fn bound(&mut self, at: Instant, out: &mut Vec<Output>) {
        let Hold::Bound { confirmed, announcing, .. } = &mut self.hold else { return };
        (self.late, self.was_refused) = (None, false);
        if !*confirmed {
            *confirmed = true;
            announcing.bound(at);
            let phases = self.record.gained(at, self.standing.to_string());
            let text = format!("{} is bound here ({phases})", self.settings.shown());
            self.tell_event(io::Event::Gained, Level::Info, text, out);
        }
    }

    fn unbound(&mut self, removed: usize, at: Instant, out: &mut Vec<Output>) {
        let Hold::Removing { what, .. } = self.hold else { return };
        self.hold = Hold::Absent;
        let shown = self.settings.shown();
        match what {
            Leaving::Stray if removed > 0 => {
                self.record.counters.expelled += removed as u64;
                let text = format!("{shown} was bound here without being Active: removed");
                self.tell(Level::Warning, text, out);
            }
            Leaving::Stray => {}
            Leaving::Refused => self.record.abandoned(),
            Leaving::Held => {
                let phases = self.record.lost(at, self.standing.to_string());
                let text = format!("{shown} has left this node ({phases}): {}", self.standing);
                self.tell_event(io::Event::Lost, Level::Info, text, out);
            }
        }
    }

    fn carry_out(&mut self, around: &Surroundings<'_>, actions: Vec<Action>, out: &mut Vec<Output>) {
        let now = around.evidence.now;
        for action in actions {
            match action {
                Action::BindAddresses => {
                    self.record.counters.became_active += 1;
                    self.record.opened(now);
                    self.tell_flapping(now, out);
                    self.hold =
                        Hold::Bound { confirmed: false, renew: now + RENEW, announcing: Announcing::begin(now) };
                    out.extend(around.kernel.place(&self.settings).map(|link| binding(self.id, link.index, now)));
                }
                Action::UnbindAddresses => {
                    self.record.release_began(now);
                    let what = if self.is_confirmed() { Leaving::Held } else { Leaving::Refused };
                    self.hold = Hold::Removing { again: None, what };
                    self.remove(out);
                }
                Action::SendAdvert { priority, checksums } => {
                    self.record.counters.priority_zero_sent += u64::from(priority == 0);
                    adverts::send(around.kernel, self.id, &self.settings, priority, checksums, now, out);
                }
                Action::Announce => {
                    if let (Hold::Bound { announcing, .. }, Some(link)) =
                        (&self.hold, around.kernel.place(&self.settings))
                    {
                        self.announced = Some(now);
                        out.push(announcing.output(now, self.id, link.index));
                    }
                }
                // Only owners have conflicts, and an election has none.
                Action::Conflict { .. } => {}
            }
        }
    }

    fn tell_flapping(&mut self, now: Instant, out: &mut Vec<Output>) {
        let interval = self.settings.interval;
        if let Some((times, span)) = self.flapping.became_active(now, self.router.active_down_interval()) {
            let text = format!(
                "Active {times} times within {span:.1?}: adverts that come every {interval} are late or lost; a longer \
                 advertisement_interval, on every node, may end that"
            );
            self.tell(Level::Warning, text, out);
        }
    }

    fn remove(&mut self, out: &mut Vec<Output>) {
        if let Hold::Removing { again, .. } = &mut self.hold {
            *again = None;
            out.push(Output::Reset { vip: self.id, budget: RESET_BEFORE });
            out.push(Output::Unbind { vip: self.id });
        }
    }

    /// The router is about to be in another state. Whoever is heard from now on is told of anew.
    fn turn(&mut self, now: Instant, standing: Standing) {
        self.since = now;
        self.active = None;
        self.standing = standing;
    }

    /// Tells how things stand when that is something else than before.
    fn explain(&mut self, out: &mut Vec<Output>) {
        if self.told != self.standing.label() {
            self.told = self.standing.label();
            self.tell_event(io::Event::Reason, Level::Info, self.standing.to_string(), out);
        }
    }

    fn tell(&self, level: Level, text: String, out: &mut Vec<Output>) {
        out.push(Output::Tell(Notice { level, vip: Some(self.id), text, mark: None }));
    }

    fn tell_event(&self, event: io::Event, level: Level, text: String, out: &mut Vec<Output>) {
        let mark = Some(Mark { event, reason: self.standing.label() });
        out.push(Output::Tell(Notice { level, vip: Some(self.id), text, mark }));
    }

    pub(super) fn label(&self) -> &'static str {
        self.standing.label()
    }

    pub(super) fn why(&self) -> String {
        self.standing.to_string()
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Whether the address is bound by our will, as far as we have decided.
    pub(super) fn is_bound(&self) -> bool {
        matches!(self.hold, Hold::Bound { .. })
    }

    /// Whether the kernel has confirmed that.
    pub(super) fn is_confirmed(&self) -> bool {
        matches!(self.hold, Hold::Bound { confirmed: true, .. })
    }

    pub(super) fn phase_label(&self) -> PhaseLabel {
        match self.hold {
            Hold::Absent => PhaseLabel::Closed,
            Hold::Bound { .. } => PhaseLabel::Active,
            Hold::Removing { .. } => PhaseLabel::Releasing,
        }
    }

    /// The address is gone from this host.
    pub(super) fn is_unbound(&self, kernel: &KernelView) -> bool {
        matches!(self.hold, Hold::Absent) && !kernel.is_present(&self.settings)
    }

    /// When to advance next, whatever comes in.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let hold = match &self.hold {
            Hold::Absent => None,
            Hold::Bound { confirmed: true, renew, announcing } => Some((*renew).min(announcing.due())),
            Hold::Bound { renew, .. } => Some(*renew),
            Hold::Removing { again, .. } => *again,
        };
        let refused = self.refused.as_ref().map(|(until, _)| *until);
        [hold, refused, self.router.deadline()].into_iter().flatten().min()
    }
}

/// Binds or renews for as long as a bound address ever may stay without us.
fn binding(vip: VipId, link: u32, now: Instant) -> Output {
    Output::Bind { vip, link, lifetime: deadline::LIFETIME, not_after: deadline::not_after(now) }
}

fn router_settings(vip: &VipSettings, rules: &Rules) -> router::Settings {
    router::Settings {
        vrid: vip.virtual_router_id,
        priority: rules.priority,
        interval: vip.interval,
        preempt: rules.preempt,
        checksum: vip.checksum,
    }
}

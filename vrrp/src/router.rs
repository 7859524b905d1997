//! The virtual router's state machine (RFC 9568 section 6.4), as a pure value: an event and the time in, actions out.
//!
//! ```text
//!                      Startup, priority 255
//!              +--------------------------------------+
//!              |                                      v
//!        +------------+        Shutdown         +----------+
//!   ---> | Initialize | <---------------------- |  Active  |
//!        +------------+                         +----------+
//!            |    ^                               |     ^
//!    Startup |    | Shutdown    greater priority, |     | Active_Down_Timer
//!            v    |             or equal and      |     |
//!        +------------+         greater address   |     |
//!        |   Backup   | <-------------------------+     |
//!        |            | --------------------------------+
//!        +------------+
//! ```
//!
//! Deviations, on purpose: an owner (priority 255) never yields to an advertisement. Whoever drives an owner has proof
//! that the addresses are its own; a packet is no proof of the contrary. It does not answer another owner, and no router
//! answers its own echo: either would go on for ever. Accept_Mode is always true. Preempt_Mode may become true some time
//! after there is somebody to preempt ([`Preempt::After`]).
//!
//! To the RFC, the addresses of a virtual router are of one family (section 1). Here they may be of both, and move as one:
//! then one router decides, and its advertisements go out and are heard over both families. Either family's count alike,
//! except that a tie in Active is broken by the address only within the family of the own primary address. Over both, the
//! comparisons could contradict each other: each router would yield to the other, and nobody stay Active. An advertisement
//! of equal priority over the other family decides nothing; the one over the same family, sent with it, does.

mod checksums;
mod settings;

use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::net::IpAddr;
use core::time::Duration;

pub use self::checksums::{ChecksumPolicy, Checksums};
pub use self::settings::{Preempt, Settings};
use crate::time::Instant;
use crate::types::Interval;
use crate::wire::advert::Advert;

/// The states of RFC 9568 section 6.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for a Startup event.
    Initialize,
    /// Watches the Active.
    Backup,
    /// Answers for the addresses.
    Active,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The RFC's Startup.
    Startup,
    /// The RFC's Shutdown.
    Shutdown,
    /// An advertisement that passed all checks.
    Advert(&'a Advert),
    /// The moment that [`Router::deadline`] named has come; harmless at any other.
    Timer,
}

/// What is to be done, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an advertisement.
    SendAdvert {
        /// The router's own, or 0 to say goodbye.
        priority: u8,
        /// The forms of its checksum, over IPv4: one packet for each.
        checksums: Checksums,
    },
    /// Send gratuitous ARP or unsolicited neighbour advertisements for the addresses.
    Announce,
    /// Another router claims what this owner owns.
    Conflict {
        /// The other.
        source: IpAddr,
        /// The priority it claims with.
        priority: u8,
    },
    /// Bind the addresses.
    BindAddresses,
    /// Remove the addresses.
    UnbindAddresses,
}

/// One virtual router. Equal ones behave alike from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    settings: Settings,
    primary_address: Option<IpAddr>,
    /// The forms in which other routers of this VRID were heard over IPv4. Kept for [`ChecksumPolicy::Auto`] only.
    heard_forms: Option<Checksums>,
    phase: Phase,
}

/// A state with the timers that run in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Initialize,
    /// `interval` is Active_Adver_Interval, learned from the Active. `lower_since` is when an Active of lower priority was
    /// first heard, as long as it is obeyed because [`Preempt::After`] is not over.
    Backup {
        down: Instant,
        interval: Interval,
        lower_since: Option<Instant>,
    },
    Active {
        advert: Instant,
    },
}

impl Router {
    /// A router in Initialize.
    pub const fn new(settings: Settings) -> Self {
        Self { settings, primary_address: None, heard_forms: None, phase: Phase::Initialize }
    }

    /// What the operator says of it.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The operator says something else, of the same virtual router. No timer is started anew: what changes shows from the next
    /// event on, and a shorter Advertisement_Interval of an Active from now on.
    pub fn reconfigure(&mut self, now: Instant, settings: Settings) {
        self.settings = settings;
        if let Phase::Active { advert } = &mut self.phase {
            *advert = (*advert).min(now + settings.interval.duration());
        }
    }

    /// The address that this router's advertisements come from, of IPv4 or IPv6: breaks the tie between equal priorities in
    /// its family. Without one, an equal priority is yielded to. A virtual router whose addresses are of both families has
    /// the primary address of the same family on each of its hosts.
    pub fn set_primary_address(&mut self, address: Option<IpAddr>) {
        self.primary_address = address;
    }

    /// The state.
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Initialize => State::Initialize,
            Phase::Backup { .. } => State::Backup,
            Phase::Active { .. } => State::Active,
        }
    }

    /// When the next [`Event::Timer`] is due: Adver_Timer in Active, Active_Down_Timer in Backup, none in Initialize.
    /// Only [`handle`](Self::handle) changes it.
    pub const fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Initialize => None,
            Phase::Backup { down, .. } => Some(down),
            Phase::Active { advert } => Some(advert),
        }
    }

    /// Active_Adver_Interval: what the Active was heard to use, or this router's own.
    pub const fn active_adver_interval(&self) -> Interval {
        match self.phase {
            Phase::Backup { interval, .. } => interval,
            Phase::Initialize | Phase::Active { .. } => self.settings.interval,
        }
    }

    /// Skew_Time: `((256 - priority) * Active_Adver_Interval) / 256`, to the nanosecond.
    pub fn skew_time(&self) -> Duration {
        self.skew(self.active_adver_interval())
    }

    /// Active_Down_Interval: `3 * Active_Adver_Interval + Skew_Time`.
    pub fn active_down_interval(&self) -> Duration {
        self.down_interval(self.active_adver_interval())
    }

    /// Takes one event and says what is to be done, three actions at most. `now` does not go back from call to call.
    /// A [`Event::Timer`] that comes early does nothing; one that comes late does what it would have done in time.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) -> Vec<Action> {
        match event {
            Event::Startup => self.startup(now),
            Event::Shutdown => self.shutdown(),
            Event::Timer => self.timer(now),
            Event::Advert(advert) if advert.vrid == self.settings.vrid => self.advert(now, advert),
            Event::Advert(_) => Vec::new(),
        }
    }

    /// Section 6.4.1. A router that is started already stays as it is.
    fn startup(&mut self, now: Instant) -> Vec<Action> {
        match self.phase {
            Phase::Initialize if self.settings.priority.is_owner() => self.become_active(now),
            Phase::Initialize => {
                self.become_backup(now, self.settings.interval, None);
                Vec::new()
            }
            Phase::Backup { .. } | Phase::Active { .. } => Vec::new(),
        }
    }

    /// Sections 6.4.2 and 6.4.3. The addresses go before the goodbye that invites the next to take them.
    fn shutdown(&mut self) -> Vec<Action> {
        match core::mem::replace(&mut self.phase, Phase::Initialize) {
            Phase::Active { .. } => vec![Action::UnbindAddresses, self.send(0)],
            Phase::Initialize | Phase::Backup { .. } => Vec::new(),
        }
    }

    fn timer(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.phase {
            Phase::Backup { down, .. } if *down <= now => self.become_active(now),
            Phase::Active { advert } if *advert <= now => {
                let interval = self.settings.interval.duration();
                // From the moment it was due, so that the beat does not drift; but what was missed is not made up for.
                let next = *advert + interval;
                *advert = if next > now { next } else { now + interval };
                vec![self.send(self.settings.priority.get())]
            }
            Phase::Initialize | Phase::Backup { .. } | Phase::Active { .. } => Vec::new(),
        }
    }

    fn advert(&mut self, now: Instant, heard: &Advert) -> Vec<Action> {
        self.learn(heard);
        match self.phase {
            Phase::Initialize => Vec::new(),
            Phase::Backup { interval, lower_since, .. } => {
                self.advert_in_backup(now, heard, interval, lower_since);
                Vec::new()
            }
            Phase::Active { .. } => self.advert_in_active(now, heard),
        }
    }

    /// Who sends in a form is taken to understand that form, whether it is obeyed or not. Over IPv6 there is one form, which
    /// says nothing about IPv4; and one's own echo says nothing about others.
    fn learn(&mut self, heard: &Advert) {
        let is_own = self.primary_address == Some(heard.source);
        if self.settings.checksum == ChecksumPolicy::Auto && heard.source.is_ipv4() && !is_own {
            let form = heard.checksum;
            self.heard_forms = Some(self.heard_forms.map_or_else(|| form.into(), |known| known.and(form)));
        }
    }

    /// Section 6.4.2. Only priorities are compared here; the address breaks ties in Active alone.
    fn advert_in_backup(&mut self, now: Instant, heard: &Advert, interval: Interval, lower_since: Option<Instant>) {
        if heard.priority == 0 {
            // The interval in a goodbye is not adopted.
            self.phase = Phase::Backup { down: now + self.skew(interval), interval, lower_since: None };
        } else if heard.priority >= self.settings.priority.get() {
            self.become_backup(now, heard.interval, None);
        } else {
            // Discarded in Preempt_Mode, so that the Active_Down_Timer runs out; otherwise obeyed like any other.
            let lower_since = lower_since.unwrap_or(now);
            match self.settings.preempt {
                Preempt::Never => self.become_backup(now, heard.interval, None),
                Preempt::After(delay) if now.since(lower_since) < delay => {
                    self.become_backup(now, heard.interval, Some(lower_since));
                }
                Preempt::After(_) => {}
            }
        }
    }

    /// Section 6.4.3.
    fn advert_in_active(&mut self, now: Instant, heard: &Advert) -> Vec<Action> {
        let own = self.settings.priority;
        if heard.priority == 0 {
            self.phase = Phase::Active { advert: now + self.settings.interval.duration() };
            return vec![self.send(own.get())];
        }
        if own.is_owner() {
            let conflict = Action::Conflict { source: heard.source, priority: heard.priority };
            // Two owners that answered each other would never stop.
            return if heard.priority == own.get() { vec![conflict] } else { vec![conflict, self.send(own.get())] };
        }
        let rank = match heard.priority.cmp(&own.get()) {
            // Without an address of its own this router cannot advertise: any other is in the better place.
            Ordering::Equal => self.primary_address.map_or(Ordering::Greater, |address| tie(heard.source, address)),
            unequal => unequal,
        };
        match rank {
            Ordering::Greater => {
                self.become_backup(now, heard.interval, None);
                vec![Action::UnbindAddresses]
            }
            // New in RFC 9568: tell the other at once. The Adver_Timer is not touched.
            Ordering::Less => vec![self.send(own.get())],
            // Its own advertisement, come back by a loop in the network: an answer would come back as well. Or one over
            // the other family, which decides no tie.
            Ordering::Equal => Vec::new(),
        }
    }

    fn become_active(&mut self, now: Instant) -> Vec<Action> {
        self.phase = Phase::Active { advert: now + self.settings.interval.duration() };
        vec![Action::BindAddresses, self.send(self.settings.priority.get()), Action::Announce]
    }

    fn become_backup(&mut self, now: Instant, interval: Interval, lower_since: Option<Instant>) {
        self.phase = Phase::Backup { down: now + self.down_interval(interval), interval, lower_since };
    }

    fn skew(&self, interval: Interval) -> Duration {
        interval.duration() * (256 - u32::from(self.settings.priority.get())) / 256
    }

    fn down_interval(&self, interval: Interval) -> Duration {
        interval.duration() * 3 + self.skew(interval)
    }

    fn send(&self, priority: u8) -> Action {
        let checksums = match self.settings.checksum {
            ChecksumPolicy::Auto => self.heard_forms.unwrap_or(Checksums::Both),
            ChecksumPolicy::Rfc9568 => Checksums::Rfc9568,
            ChecksumPolicy::Rfc5798 => Checksums::Rfc5798,
        };
        Action::SendAdvert { priority, checksums }
    }
}

/// Whose address is the greater one, unsigned and in network order (section 6.4.3); neither's if they are of two families.
fn tie(heard: IpAddr, own: IpAddr) -> Ordering {
    match (heard, own) {
        (IpAddr::V4(heard), IpAddr::V4(own)) => heard.cmp(&own),
        (IpAddr::V6(heard), IpAddr::V6(own)) => heard.cmp(&own),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Ordering::Equal,
    }
}

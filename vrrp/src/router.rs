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
//! answers its own echo: either would go on for ever. Accept_Mode is always true.

use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::net::Ipv4Addr;
use core::time::Duration;

use crate::time::Instant;
use crate::types::{Interval, Priority, Vrid};
use crate::wire::advert::{Advert, ChecksumForm};

/// What the operator says of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its identifier.
    pub vrid: Vrid,
    /// This router's priority.
    pub priority: Priority,
    /// Advertisement_Interval.
    pub interval: Interval,
    /// Preempt_Mode: a Backup takes over from an Active of lower priority.
    pub preempt: bool,
    /// Which checksum form to send.
    pub checksum: ChecksumPolicy,
}

/// Which checksum form to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ChecksumPolicy {
    /// RFC 9568's, until a router of this VRID is heard to use the other one: Keepalived 2.2 rejects what differs.
    #[default]
    Auto,
    /// Always RFC 9568's.
    Rfc9568,
    /// Always with the pseudo-header.
    Rfc5798,
}

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
        /// The form of its checksum.
        checksum: ChecksumForm,
    },
    /// Send gratuitous ARP for the addresses.
    Announce,
    /// Another router claims what this owner owns.
    Conflict {
        /// The other.
        source: Ipv4Addr,
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
    primary_address: Option<Ipv4Addr>,
    /// A router of this VRID was heard to send the pseudo-header form.
    pseudo_header_heard: bool,
    phase: Phase,
}

/// A state with the timers that run in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Initialize,
    /// `interval` is Active_Adver_Interval, learned from the Active.
    Backup {
        down: Instant,
        interval: Interval,
    },
    Active {
        advert: Instant,
    },
}

impl Router {
    /// A router in Initialize.
    pub const fn new(settings: Settings) -> Self {
        Self { settings, primary_address: None, pseudo_header_heard: false, phase: Phase::Initialize }
    }

    /// The address that this router's advertisements come from: breaks the tie between equal priorities. Without one,
    /// an equal priority is yielded to.
    pub fn set_primary_address(&mut self, address: Option<Ipv4Addr>) {
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
                self.become_backup(now, self.settings.interval);
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
        self.pseudo_header_heard |= heard.checksum == ChecksumForm::Rfc5798;
        match self.phase {
            Phase::Initialize => Vec::new(),
            Phase::Backup { interval, .. } => self.advert_in_backup(now, heard, interval),
            Phase::Active { .. } => self.advert_in_active(now, heard),
        }
    }

    /// Section 6.4.2. Only priorities are compared here; the address breaks ties in Active alone.
    fn advert_in_backup(&mut self, now: Instant, heard: &Advert, interval: Interval) -> Vec<Action> {
        if heard.priority == 0 {
            // The interval in a goodbye is not adopted.
            self.phase = Phase::Backup { down: now + self.skew(interval), interval };
        } else if !self.settings.preempt || heard.priority >= self.settings.priority.get() {
            self.become_backup(now, heard.interval);
        }
        Vec::new()
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
            Ordering::Equal => self.primary_address.map_or(Ordering::Greater, |address| heard.source.cmp(&address)),
            unequal => unequal,
        };
        match rank {
            Ordering::Greater => {
                self.become_backup(now, heard.interval);
                vec![Action::UnbindAddresses]
            }
            // New in RFC 9568: tell the other at once. The Adver_Timer is not touched.
            Ordering::Less => vec![self.send(own.get())],
            // Its own advertisement, come back by a loop in the network. An answer would come back as well.
            Ordering::Equal => Vec::new(),
        }
    }

    fn become_active(&mut self, now: Instant) -> Vec<Action> {
        self.phase = Phase::Active { advert: now + self.settings.interval.duration() };
        vec![Action::BindAddresses, self.send(self.settings.priority.get()), Action::Announce]
    }

    fn become_backup(&mut self, now: Instant, interval: Interval) {
        self.phase = Phase::Backup { down: now + self.down_interval(interval), interval };
    }

    fn skew(&self, interval: Interval) -> Duration {
        interval.duration() * (256 - u32::from(self.settings.priority.get())) / 256
    }

    fn down_interval(&self, interval: Interval) -> Duration {
        interval.duration() * 3 + self.skew(interval)
    }

    fn send(&self, priority: u8) -> Action {
        let checksum = match self.settings.checksum {
            ChecksumPolicy::Rfc9568 => ChecksumForm::Rfc9568,
            ChecksumPolicy::Auto if !self.pseudo_header_heard => ChecksumForm::Rfc9568,
            ChecksumPolicy::Auto | ChecksumPolicy::Rfc5798 => ChecksumForm::Rfc5798,
        };
        Action::SendAdvert { priority, checksum }
    }
}

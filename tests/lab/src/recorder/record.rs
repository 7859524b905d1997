//! What was seen on a segment, and what follows from it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::advert::Advert;
use crate::clock::Time;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Time,
    /// At which router: its place on the segment.
    pub place: usize,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The router has sent an advertisement.
    Advert {
        /// By which of its interfaces.
        interface: &'static str,
        /// The advertisement.
        advert: Advert,
    },
    /// It has told the neighbours who has an address: a gratuitous ARP message or a neighbour advertisement.
    Announcement {
        /// The hardware address that it names, or is sent from.
        mac: [u8; 6],
        /// The address.
        address: IpAddr,
    },
    /// An address came to be held by the router, or ceased to be: bound to an interface that works.
    Held {
        /// The address.
        address: IpAddr,
        /// Whether it is held now.
        held: bool,
    },
    /// The recorder missed something of this router.
    Blind,
    /// The machine stood still for so long until this moment: a processor, whose number is in place of the router's, ran
    /// nobody, whatever the priority.
    Stall {
        /// For how long.
        length: Duration,
    },
}

/// A span of time in which a router held an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The router.
    pub place: usize,
    /// From when.
    pub from: Time,
    /// Until when; it still does if there is no end.
    pub to: Option<Time>,
}

/// All that a recorder has seen.
#[derive(Clone, Debug, Default)]
pub struct Record {
    events: Vec<Event>,
}

impl Record {
    /// Frames come by the kernel's stamps, the rest by the recorder's.
    pub(super) fn extend(&mut self, events: impl Iterator<Item = Event>) {
        self.events.extend(events);
        self.events.sort_by_key(|event| event.at);
    }

    /// Who holds what is kept, as of when it began.
    pub(super) fn forget(&mut self) {
        let mut held: BTreeMap<(usize, IpAddr), Event> = BTreeMap::new();
        for event in self.events.drain(..) {
            match &event.what {
                What::Held { address, held: true } => {
                    held.insert((event.place, *address), event);
                }
                What::Held { address, held: false } => {
                    held.remove(&(event.place, *address));
                }
                _ => {}
            }
        }
        self.extend(held.into_values());
    }

    /// Everything, in the order of time.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The advertisements of a virtual router, of all senders and both families.
    pub fn adverts(&self, id: u8) -> impl DoubleEndedIterator<Item = (Time, usize, &Advert)> {
        self.events.iter().filter_map(move |event| match &event.what {
            What::Advert { advert, .. } if advert.id == id => Some((event.at, event.place, advert)),
            _ => None,
        })
    }

    /// When an address was announced to the neighbours, and by which router.
    pub fn announcements(&self, wanted: IpAddr) -> impl Iterator<Item = (Time, usize)> {
        self.events.iter().filter_map(move |event| match event.what {
            What::Announcement { address, .. } if address == wanted => Some((event.at, event.place)),
            _ => None,
        })
    }

    /// Who held an address, and when, in the order of the beginnings.
    #[must_use]
    pub fn holdings(&self, wanted: IpAddr) -> Vec<Holding> {
        let mut holdings: Vec<Holding> = Vec::new();
        for event in &self.events {
            match event.what {
                What::Held { address, held: true } if address == wanted => {
                    holdings.push(Holding { place: event.place, from: event.at, to: None });
                }
                What::Held { address, held: false } if address == wanted => {
                    let open = holdings.iter_mut().rfind(|one| one.place == event.place && one.to.is_none());
                    if let Some(open) = open {
                        open.to = Some(event.at);
                    }
                }
                _ => {}
            }
        }
        holdings
    }

    /// Who holds an address now.
    #[must_use]
    pub fn holders(&self, address: IpAddr) -> Vec<usize> {
        self.holdings(address).iter().filter(|holding| holding.to.is_none()).map(|holding| holding.place).collect()
    }

    /// For how long, at most, two of these routers held an address at the same time since then.
    #[must_use]
    pub fn longest_overlap(&self, address: IpAddr, places: &[usize], since: Time) -> Duration {
        let mut holdings = self.holdings(address);
        holdings.retain(|holding| places.contains(&holding.place));
        let end = |holding: &Holding| holding.to.unwrap_or_else(Time::now);
        let mut longest = Duration::ZERO;
        for (index, one) in holdings.iter().enumerate() {
            for other in holdings[index + 1..].iter().filter(|other| other.place != one.place) {
                let begins = one.from.max(other.from).max(since);
                longest = longest.max(end(one).min(end(other)).since(begins));
            }
        }
        longest
    }

    /// For how long, at most, a processor of the machine stood still that did so at any time between these moments.
    #[must_use]
    pub fn longest_stall(&self, from: Time, to: Time) -> Duration {
        let lengths = self.events.iter().filter_map(|event| match event.what {
            // It began so long before.
            What::Stall { length } if event.at > from && event.at < to.plus(length) => Some(length),
            _ => None,
        });
        lengths.max().unwrap_or_default()
    }

    /// Whether the recorder missed something.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.events.iter().any(|event| event.what == What::Blind)
    }

    /// What happened, in at most so many last lines, for a failure's message. Advertisements and announcements that only
    /// repeat the last one are left out.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let (mut last, mut announced) = (BTreeMap::new(), BTreeMap::new());
        let is_news = |event: &&Event| match &event.what {
            What::Advert { advert, .. } => {
                let said = (event.place, advert.priority, advert.interval);
                last.insert((advert.id, advert.is_v6(), advert.checksum), said) != Some(said)
            }
            What::Announcement { address, .. } => announced.insert(*address, event.place) != Some(event.place),
            _ => true,
        };
        let lines: Vec<String> = self.events.iter().filter(is_news).map(Event::to_string).collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} place {}: ", self.at, self.place)?;
        match &self.what {
            What::Advert { interface, advert } => {
                let Advert { source, destination, version, id, priority, interval, addresses, .. } = advert;
                write!(
                    f,
                    "VRRPv{version} {id} on {interface} from {source} to {destination}: priority {priority}, \
                     every {interval:?}, checksum {:?}, TTL {}, {addresses:?}",
                    advert.checksum, advert.ttl
                )
            }
            What::Announcement { address, .. } => write!(f, "announces {address}"),
            What::Held { address, held } => write!(f, "{} {address}", if *held { "has" } else { "gives up" }),
            What::Blind => write!(f, "the recorder missed something"),
            What::Stall { length } => write!(f, "(a processor) stood still for {length:.1?}"),
        }
    }
}

/// Nobody is left to hear it once the recorder is gone.
pub(super) fn send(events: &Sender<Event>, at: Time, place: usize, what: What) {
    let _ = events.send(Event { at, place, what });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_between_two_routers_only() {
        let address = IpAddr::from([10, 0, 20, 155]);
        let mut record = Record::default();
        let held = |held| What::Held { address, held };
        let events = [(1, 0, true), (5, 1, true), (8, 0, false), (9, 0, true), (10, 0, false)];
        record.extend(events.into_iter().map(|(at, place, is)| Event {
            at: Time::from_nanos(at),
            place,
            what: held(is),
        }));
        let overlap =
            |places: &[usize], since| record.longest_overlap(address, places, Time::from_nanos(since)).as_nanos();
        assert_eq!(overlap(&[0, 1], 0), 3);
        assert_eq!(overlap(&[0, 1], 7), 1);
        assert_eq!(overlap(&[1, 2], 0), 0);
        assert_eq!(record.holders(address), [1]);
        record.forget();
        assert_eq!(record.events().len(), 1);
        assert_eq!(record.holders(address), [1]);
    }
}

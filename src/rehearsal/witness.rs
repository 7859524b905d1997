//! What would have become of a VIP on this host, and what became of it: when the one followed the other, and by how much.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use vrrp::time::Instant;

use crate::node::status::{DifferenceStatus, ObservedStatus};
use crate::words::span;

/// Differences that are kept.
const MOST: usize = 16;

/// Whoever advertised longer ago than this is not heard any more: three intervals of the longest that is usual, and some.
const HEARD: Duration = Duration::from_secs(4);

/// Where an address is: interface, address, prefix length.
pub(super) type Place = (u32, IpAddr, u8);

/// One VIP.
#[derive(Debug)]
pub(super) struct Witness {
    would: Side,
    is: Side,
    /// Where any of its addresses is.
    places: BTreeSet<Place>,
    /// Who moved first, while one is here and the other is not.
    apart: Option<(Mover, Instant)>,
    /// Who was last heard to advertise it.
    holder: Option<(IpAddr, u8, Instant)>,
    differences: VecDeque<(Instant, Difference)>,
}

/// Here or not, and since when.
#[derive(Clone, Copy, Debug)]
struct Side {
    here: bool,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mover {
    Pgvrrp,
    Present,
}

/// How the two differed, when they agree again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    /// What is followed what would have been, so much later.
    Later { here: bool, by: Duration },
    /// What is was there so much earlier.
    Earlier { here: bool, by: Duration },
    /// It would have been so for a while, and never was.
    Never { here: bool, span: Duration },
    /// It was so for a while, and never would have been.
    Alone { here: bool, span: Duration },
}

impl Witness {
    pub(super) fn new(now: Instant) -> Self {
        let absent = Side { here: false, since: now };
        Self {
            would: absent,
            is: absent,
            places: BTreeSet::new(),
            apart: None,
            holder: None,
            differences: VecDeque::new(),
        }
    }

    /// pgvrrp would have bound it now, or renewed; or removed it.
    pub(super) fn would(&mut self, here: bool, now: Instant) -> Option<String> {
        if self.would.here == here {
            return None;
        }
        self.would = Side { here, since: now };
        self.moved(Mover::Pgvrrp, now)
    }

    /// One of its addresses has come or gone.
    pub(super) fn sees(&mut self, place: Place, here: bool, now: Instant) -> Option<String> {
        let mut places = self.places.clone();
        if here {
            places.insert(place)
        } else {
            places.remove(&place)
        };
        self.sees_all(places, now)
    }

    /// Its addresses are there.
    pub(super) fn sees_all(&mut self, places: BTreeSet<Place>, now: Instant) -> Option<String> {
        self.places = places;
        let here = !self.places.is_empty();
        if self.is.here == here {
            return None;
        }
        self.is = Side { here, since: now };
        self.moved(Mover::Present, now)
    }

    /// Somebody advertises it.
    pub(super) fn hears(&mut self, who: IpAddr, priority: u8, now: Instant) {
        self.holder = (priority > 0).then_some((who, priority, now));
    }

    fn moved(&mut self, mover: Mover, now: Instant) -> Option<String> {
        if self.would.here != self.is.here {
            self.apart = Some((mover, now));
            // A line when they are apart, one when they agree again.
            let what = match (mover, self.would.here, self.is.here) {
                (Mover::Pgvrrp, true, _) => "would be bound here now",
                (Mover::Pgvrrp, false, _) => "would be removed here now",
                (Mover::Present, _, true) => "is bound here now, by somebody else",
                (Mover::Present, _, false) => "is gone from here now",
            };
            return Some(what.to_owned());
        }
        let (first, since) = self.apart.take()?;
        let (here, by) = (self.is.here, now.since(since));
        let difference = match (first, mover) {
            (Mover::Pgvrrp, Mover::Present) => Difference::Later { here, by },
            (Mover::Present, Mover::Pgvrrp) => Difference::Earlier { here, by },
            // Back where it was: what was different was the contrary.
            (Mover::Pgvrrp, Mover::Pgvrrp) => Difference::Never { here: !here, span: by },
            (Mover::Present, Mover::Present) => Difference::Alone { here: !here, span: by },
        };
        self.differences.truncate(MOST - 1);
        self.differences.push_front((now, difference));
        Some(difference.words())
    }

    pub(super) fn status(&self, now: Instant) -> ObservedStatus {
        let holder = self.holder.filter(|(.., at)| now.since(*at) < HEARD);
        let differences = self.differences.iter().map(|(at, difference)| DifferenceStatus {
            age: now.since(*at),
            kind: difference.kind(),
            here: difference.here(),
            by: difference.by(),
            text: difference.words(),
        });
        ObservedStatus {
            would_hold: self.would.here,
            would_age: now.since(self.would.since),
            present: self.is.here,
            present_age: now.since(self.is.since),
            heard: holder.map(|(who, ..)| who),
            differences: differences.collect(),
        }
    }
}

impl Difference {
    const fn kind(self) -> &'static str {
        match self {
            Self::Later { .. } => "later",
            Self::Earlier { .. } => "earlier",
            Self::Never { .. } => "never",
            Self::Alone { .. } => "alone",
        }
    }

    const fn here(self) -> bool {
        match self {
            Self::Later { here, .. }
            | Self::Earlier { here, .. }
            | Self::Never { here, .. }
            | Self::Alone { here, .. } => here,
        }
    }

    const fn by(self) -> Duration {
        match self {
            Self::Later { by, .. } | Self::Earlier { by, .. } => by,
            Self::Never { span, .. } | Self::Alone { span, .. } => span,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Later { here: true, by } => format!("came here {} after pgvrrp would have bound it", span(by)),
            Self::Later { here: false, by } => format!("left {} after pgvrrp would have removed it", span(by)),
            Self::Earlier { here: true, by } => format!("was here {} before pgvrrp would have bound it", span(by)),
            Self::Earlier { here: false, by } => format!("left {} before pgvrrp would have removed it", span(by)),
            Self::Never { here: true, span: by } => format!("would have been here for {}, and did not come", span(by)),
            Self::Never { here: false, span: by } => format!("would have been away for {}, and stayed", span(by)),
            Self::Alone { here: true, span: by } => {
                format!("was here for {}, where pgvrrp would not have had it", span(by))
            }
            Self::Alone { here: false, span: by } => {
                format!("was away for {}, where pgvrrp would have kept it", span(by))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = (2, IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 20, 155)), 32);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn last(witness: &Witness) -> Difference {
        witness.differences[0].1
    }

    #[test]
    fn what_follows_later_is_said_to_be_later() {
        let mut witness = Witness::new(at(0));
        assert_eq!(witness.would(true, at(1000)).as_deref(), Some("would be bound here now"));
        assert_eq!(witness.would(true, at(2000)), None, "renewed");
        let line = witness.sees(PLACE, true, at(4600)).unwrap();
        assert_eq!(line, "came here 3.6 s after pgvrrp would have bound it");
        assert_eq!(witness.would(false, at(9000)).as_deref(), Some("would be removed here now"));
        witness.sees(PLACE, false, at(11_000));
        assert_eq!(last(&witness), Difference::Later { here: false, by: Duration::from_secs(2) });
        let status = witness.status(at(12_000));
        assert_eq!((status.would_hold, status.present, status.differences.len()), (false, false, 2));
    }

    #[test]
    fn what_was_there_before_is_said_to_be_earlier() {
        let mut witness = Witness::new(at(0));
        assert_eq!(witness.sees(PLACE, true, at(10)).as_deref(), Some("is bound here now, by somebody else"));
        witness.would(true, at(50));
        assert_eq!(last(&witness), Difference::Earlier { here: true, by: Duration::from_millis(40) });
    }

    #[test]
    fn what_one_side_did_alone_is_said_to_be_so() {
        let mut witness = Witness::new(at(0));
        witness.would(true, at(1000));
        witness.would(false, at(1500));
        assert_eq!(last(&witness), Difference::Never { here: true, span: Duration::from_millis(500) });
        witness.sees(PLACE, true, at(2000));
        witness.sees(PLACE, false, at(3000));
        assert_eq!(last(&witness), Difference::Alone { here: true, span: Duration::from_secs(1) });
    }

    #[test]
    fn one_of_several_addresses_is_presence_and_no_move() {
        let mut witness = Witness::new(at(0));
        witness.would(true, at(0));
        witness.sees(PLACE, true, at(10));
        assert_eq!(witness.sees((3, PLACE.1, 24), true, at(20)), None);
        assert_eq!(witness.sees(PLACE, false, at(30)), None);
        assert!(witness.sees_all(BTreeSet::new(), at(40)).is_some());
    }

    #[test]
    fn who_falls_silent_is_not_heard_any_more() {
        let mut witness = Witness::new(at(0));
        let who = IpAddr::from([10, 0, 20, 12]);
        witness.hears(who, 150, at(1000));
        assert_eq!(witness.status(at(2000)).heard, Some(who));
        assert_eq!(witness.status(at(6000)).heard, None);
        witness.hears(who, 150, at(7000));
        witness.hears(who, 0, at(7100));
        assert_eq!(witness.status(at(7200)).heard, None, "it said goodbye");
    }

    #[test]
    fn so_many_differences_are_kept_and_no_more() {
        let mut witness = Witness::new(at(0));
        for turn in 0..100 {
            witness.would(true, at(turn * 10));
            witness.would(false, at(turn * 10 + 5));
        }
        assert_eq!(witness.differences.len(), MOST);
    }
}

//! Two routers on a segment. Whatever happened before, once messages are delivered one of them is Active: the one of
//! greater priority, or at equal priorities any one of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use vrrp::router::{Action, ChecksumPolicy, Event, Router, Settings, State};
use vrrp::time::Instant;
use vrrp::types::{Interval, Priority};
use vrrp::wire::advert::Advert;

use super::{START, advert, centis, host, settings};

#[derive(Clone, Debug)]
enum What {
    Startup(usize),
    Shutdown(usize),
    Deliver { to: usize, advert: Advert },
}

/// More than any run below takes, so that routers which answer or fire without end fail the test instead of hanging it.
const MOST_STEPS: u32 = 200_000;

/// Two routers, and between them a segment that takes a fixed time or, while it is cut, delivers nothing.
struct Segment {
    now: Instant,
    routers: [Router; 2],
    intervals: [Interval; 2],
    queue: BTreeMap<(Instant, u64), What>,
    delay: Duration,
    cut: bool,
    sent: u64,
}

impl Segment {
    fn new(of: [Settings; 2], delay: Duration) -> Self {
        let mut segment = Self {
            now: START,
            routers: of.map(Router::new),
            intervals: of.map(|settings| settings.interval),
            queue: BTreeMap::new(),
            delay,
            cut: false,
            sent: 0,
        };
        for (index, router) in segment.routers.iter_mut().enumerate() {
            router.set_primary_address(Some(address(index)));
        }
        segment
    }

    fn at(&mut self, at: Instant, what: What) {
        let number = self.sent + self.queue.len() as u64;
        self.queue.insert((at, number), what);
    }

    /// Goes on until `end`, one event after the other: first the earliest message, then the earliest timer.
    fn run(&mut self, end: Instant) {
        for step in 0.. {
            assert!(step < MOST_STEPS, "time stands still at {}", self.now);
            let timer = (0..2).filter_map(|index| Some((self.routers[index].deadline()?, index))).min();
            let message = self.queue.first_key_value().map(|((at, _), _)| *at);
            let next = timer.map(|(at, _)| at).into_iter().chain(message).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if message == Some(next) {
                match self.queue.pop_first().unwrap().1 {
                    What::Startup(index) => self.handle(index, Event::Startup),
                    What::Shutdown(index) => self.handle(index, Event::Shutdown),
                    What::Deliver { to, advert } => self.handle(to, Event::Advert(&advert)),
                }
            } else if let Some((_, index)) = timer {
                self.handle(index, Event::Timer);
            }
        }
        self.now = end;
    }

    fn handle(&mut self, index: usize, event: Event<'_>) {
        for action in self.routers[index].handle(self.now, event) {
            let Action::SendAdvert { priority, checksums } = action else { continue };
            self.sent += 1;
            if self.cut {
                continue;
            }
            for checksum in checksums.forms() {
                let of = advert(address(index), priority, self.intervals[index].centis());
                let advert = Advert { checksum, ..of };
                self.at(self.now + self.delay, What::Deliver { to: 1 - index, advert });
            }
        }
    }

    fn active(&self) -> Vec<usize> {
        (0..2).filter(|index| self.routers[*index].state() == State::Active).collect()
    }
}

fn address(index: usize) -> IpAddr {
    host(11 + index as u8)
}

fn ordinary(priority: u8, interval: u16, preempt: bool) -> Settings {
    let (priority, interval) = (Priority::new(priority).unwrap(), centis(interval));
    // What two packets for each advertisement do to an election belongs to it.
    Settings { priority, interval, checksum: ChecksumPolicy::Auto, ..settings(1, preempt) }
}

/// Four of the longer interval: no timer runs longer.
fn settled(a: Settings, b: Settings) -> Duration {
    a.interval.max(b.interval).duration() * 4
}

/// Both beat for `time`; what the other said adds a few answers.
fn most_adverts(intervals: [Interval; 2], time: Duration) -> u64 {
    intervals.iter().map(|interval| (time.as_nanos() / interval.duration().as_nanos()) as u64 + 4).sum()
}

fn any_two() -> impl Strategy<Value = [Settings; 2]> {
    // Within a factor of eight, so that a run is not millions of beats of the faster one.
    let intervals = (2..=500u16).prop_flat_map(|a| (Just(a), (a / 2).max(1)..=(a * 8).min(4095)));
    let priorities = prop_oneof![(1..=254u8, 1..=254u8), (1..=254u8).prop_map(|both| (both, both))];
    (intervals, priorities, any::<bool>()).prop_map(|((a, b), (p, q), swap)| {
        let two = [ordinary(p, a, true), ordinary(q, b, true)];
        if swap { [two[1], two[0]] } else { two }
    })
}

/// A delay of less than half the shorter interval: with more, an Active is out of date whenever it is heard.
fn delay(of: [Settings; 2], part: u32) -> Duration {
    of[0].interval.min(of[1].interval).duration() * part / 100
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn one_is_elected(of in any_two(), part in 0..50u32, late in 0..10_000u64) {
        let mut segment = Segment::new(of, delay(of, part));
        let both_up = START + Duration::from_millis(late);
        segment.at(START, What::Startup(0));
        segment.at(both_up, What::Startup(1));
        let time = settled(of[0], of[1]) * 2;
        segment.run(both_up + time);
        let active = segment.active();
        prop_assert_eq!(active.len(), 1, "{:?}", active);
        if of[0].priority != of[1].priority {
            prop_assert_eq!(active[0], usize::from(of[1].priority > of[0].priority));
        }
        // It stays with that, and nothing is said beyond the beat of the one.
        let sent = segment.sent;
        segment.run(segment.now + time);
        prop_assert_eq!(segment.active(), active.clone());
        let beats = time.as_nanos() / of[active[0]].interval.duration().as_nanos();
        prop_assert!(u128::from(segment.sent - sent) <= beats + 1);
    }

    /// A cut lets both become Active; when it heals the lesser one yields to the first beat of the other.
    #[test]
    fn a_healed_segment_has_one_active(of in any_two(), part in 0..50u32) {
        let mut segment = Segment::new(of, delay(of, part));
        segment.cut = true;
        segment.at(START, What::Startup(0));
        segment.at(START, What::Startup(1));
        let time = settled(of[0], of[1]);
        segment.run(START + time);
        prop_assert_eq!(segment.active(), [0, 1]);
        segment.cut = false;
        let sent = segment.sent;
        let healed = of[0].interval.min(of[1].interval).duration() + segment.delay * 3;
        segment.run(segment.now + healed);
        // The tie goes to the greater address, which is the second one's.
        let winner = usize::from(of[1].priority >= of[0].priority);
        prop_assert_eq!(segment.active(), [winner]);
        prop_assert!(segment.sent - sent <= most_adverts(segment.intervals, healed), "no storm: {}", segment.sent - sent);
    }

    /// Without Preempt_Mode it is the first that stays. Equal intervals: one who expects more beats than there are takes
    /// over before it has heard any, as section 5.2.7 warns.
    #[test]
    fn the_first_stays_if_nobody_preempts(p in 1..=254u8, q in 1..=254u8, interval in 1..=4095u16, part in 0..50u32) {
        let of = [ordinary(p, interval, false), ordinary(q, interval, false)];
        let mut segment = Segment::new(of, delay(of, part));
        segment.at(START, What::Startup(0));
        let up = START + settled(of[0], of[1]);
        segment.at(up, What::Startup(1));
        segment.run(up + settled(of[0], of[1]) * 2);
        prop_assert_eq!(segment.active(), [0]);
    }

    /// Section 6.4.2: after a goodbye the other waits for its skew, and not for its whole down interval.
    #[test]
    fn a_goodbye_hands_over_within_the_skew(of in any_two(), part in 0..50u32) {
        let mut segment = Segment::new(of, delay(of, part));
        segment.at(START, What::Startup(0));
        segment.at(START, What::Startup(1));
        segment.run(START + settled(of[0], of[1]) * 2);
        let leaver = segment.active()[0];
        let left = segment.now;
        segment.at(left, What::Shutdown(leaver));
        let heir = &segment.routers[1 - leaver];
        let taken = left + segment.delay + heir.skew_time();
        segment.run(taken - Duration::from_nanos(1));
        prop_assert_eq!(segment.active(), []);
        segment.run(taken);
        prop_assert_eq!(segment.active(), [1 - leaver]);
    }

    /// An owner is Active from its start on, and whoever was before has left after one message.
    #[test]
    fn an_owner_displaces_at_once(priority in 1..=254u8, preempt: bool, interval in 1..=4095u16) {
        let of = [ordinary(priority, interval, preempt), ordinary(255, 100, true)];
        let mut segment = Segment::new(of, Duration::from_micros(200));
        segment.at(START, What::Startup(0));
        let up = START + of[0].interval.duration() * 4;
        segment.at(up, What::Startup(1));
        segment.run(up);
        prop_assert_eq!(segment.active(), [0, 1]);
        segment.run(up + segment.delay);
        prop_assert_eq!(segment.active(), [1]);
        segment.run(up + Duration::from_secs(10));
        prop_assert_eq!(segment.active(), [1]);
    }
}

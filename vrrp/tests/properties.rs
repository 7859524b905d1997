//! What holds after any sequence of events, and what two routers make of each other.

use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;
use vrrp::router::{Action, ChecksumPolicy, Event, Router, Settings, State};
use vrrp::time::Instant;
use vrrp::types::{Interval, Priority, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

#[derive(Clone, Debug)]
enum Op {
    Startup,
    Shutdown,
    Advert {
        vrid: u8,
        source: u8,
        priority: u8,
        centis: u16,
        pseudo: bool,
    },
    Timer,
    /// Exactly when the timer is due.
    Due,
}

fn any_op() -> impl Strategy<Value = (u64, Op)> {
    let advert = (prop_oneof![Just(7), 1..=255u8], 1..=254u8, any::<u8>(), 1..=4095u16, any::<bool>())
        .prop_map(|(vrid, source, priority, centis, pseudo)| Op::Advert { vrid, source, priority, centis, pseudo });
    let op = prop_oneof![1 => Just(Op::Startup), 1 => Just(Op::Shutdown), 4 => advert, 1 => Just(Op::Timer), 2 => Just(Op::Due)];
    (0..5_000_000_000u64, op)
}

fn settings(priority: u8, preempt: bool, centis: u16) -> Settings {
    Settings {
        vrid: Vrid::new(7).unwrap(),
        priority: Priority::new(priority).unwrap(),
        interval: Interval::from_centis(centis).unwrap(),
        preempt,
        checksum: ChecksumPolicy::Auto,
    }
}

fn heard(vrid: u8, source: u8, priority: u8, centis: u16, pseudo: bool) -> Advert {
    Advert {
        source: Ipv4Addr::new(10, 0, 20, source),
        destination: Ipv4Addr::new(224, 0, 0, 18),
        vrid: Vrid::new(vrid).unwrap(),
        priority,
        interval: Interval::from_centis(centis).unwrap(),
        addresses: vec![Ipv4Addr::new(10, 0, 20, 155)],
        checksum: if pseudo { ChecksumForm::Rfc5798 } else { ChecksumForm::Rfc9568 },
    }
}

proptest! {
    #[test]
    fn any_sequence(
        priority in 1..=255u8, preempt: bool, centis in 1..=4095u16,
        ops in proptest::collection::vec(any_op(), 1..60),
    ) {
        let mut router = Router::new(settings(priority, preempt, centis));
        router.set_primary_address(Some(Ipv4Addr::new(10, 0, 20, 100)));
        let mut now = Instant::from_millis(1_000_000);
        let mut bound = false;
        for (pause, op) in ops {
            now += Duration::from_nanos(pause);
            let before = (router.state(), router.deadline());
            let packet;
            let event = match op {
                Op::Startup => Event::Startup,
                Op::Shutdown => Event::Shutdown,
                Op::Timer => Event::Timer,
                Op::Due => {
                    now = router.deadline().map_or(now, |due| due.max(now));
                    Event::Timer
                }
                Op::Advert { vrid, source, priority, centis, pseudo } => {
                    packet = heard(vrid, source, priority, centis, pseudo);
                    Event::Advert(&packet)
                }
            };
            let actions = router.handle(now, event);
            prop_assert!(actions.len() <= 3, "bounded: {:?}", actions);
            for action in &actions {
                match action {
                    Action::BindAddresses => { prop_assert!(!bound); bound = true; }
                    Action::UnbindAddresses => { prop_assert!(bound); bound = false; }
                    // A goodbye comes after the addresses are gone; anything else only while they are there.
                    Action::SendAdvert { priority: 0, .. } => prop_assert!(!bound),
                    Action::SendAdvert { .. } | Action::Announce => prop_assert!(bound),
                    Action::Conflict { .. } => prop_assert!(priority == 255 && bound),
                }
            }
            prop_assert_eq!(bound, router.state() == State::Active);
            prop_assert_eq!(router.deadline().is_some(), router.state() != State::Initialize);
            if before.0 == State::Active && priority == 255 && !matches!(event, Event::Shutdown) {
                prop_assert_eq!(router.state(), State::Active, "no packet makes an owner leave");
            }
            if let Event::Advert(packet) = event && packet.vrid.get() != 7 {
                prop_assert_eq!((router.state(), router.deadline()), before);
            }
        }
    }

    /// Two routers on a segment that delivers: after a few intervals one is Active, and it is the right one.
    #[test]
    fn an_election_has_one_winner(a in 1..=254u8, b in 1..=254u8, centis in 1..=4095u16, late in 0..10_000_000_000u64) {
        let mut routers = [Router::new(settings(a, true, centis)), Router::new(settings(b, true, centis))];
        let start = Instant::from_millis(1_000_000);
        let mut starts = [Some(start), Some(start + Duration::from_nanos(late))];
        for (index, router) in routers.iter_mut().enumerate() {
            router.set_primary_address(Some(Ipv4Addr::new(10, 0, 20, 11 + index as u8)));
        }
        let end = start + Duration::from_nanos(late) + Interval::from_centis(centis).unwrap().duration() * 12;
        let mut now = start;
        while now < end {
            for index in 0..2 {
                let event = match starts[index] {
                    Some(at) if at <= now => {
                        starts[index] = None;
                        Event::Startup
                    }
                    Some(_) => continue,
                    None => Event::Timer,
                };
                let mut mail: Vec<(usize, Action)> =
                    routers[index].handle(now, event).into_iter().map(|action| (index, action)).collect();
                while let Some((from, action)) = mail.pop() {
                    if let Action::SendAdvert { priority, .. } = action {
                        let packet = heard(7, 11 + from as u8, priority, centis, false);
                        let to = 1 - from;
                        mail.extend(routers[to].handle(now, Event::Advert(&packet)).into_iter().map(|action| (to, action)));
                    }
                }
            }
            let next = routers.iter().filter_map(Router::deadline).chain(starts.into_iter().flatten()).min();
            now = next.map_or(end, |next| next.max(now + Duration::from_nanos(1)));
        }
        // Equal priorities: whoever was first stays, as nobody preempts an equal.
        let states = [routers[0].state(), routers[1].state()];
        prop_assert_eq!(states.iter().filter(|state| **state == State::Active).count(), 1);
        if a != b {
            prop_assert_eq!(states[usize::from(b > a)], State::Active);
        }
    }
}

//! What holds after any event of any sequence.

use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;
use vrrp::router::{Action, Event, Router, Settings, State};
use vrrp::types::Priority;
use vrrp::wire::advert::{Advert, ChecksumForm};

use super::{ME, START, advert, centis, settings, vrid};

#[derive(Clone, Debug)]
enum Op {
    Startup,
    Shutdown,
    Advert(Advert),
    Timer,
    /// The timer, exactly when it is due.
    Due,
    Address(Option<Ipv4Addr>),
}

fn any_advert(own: u8) -> impl Strategy<Value = Advert> {
    let vrids = prop_oneof![7 => Just(7), 1 => 1..=255u8];
    let priorities = prop_oneof![1 => Just(0), 2 => Just(own), 1 => Just(255), 4 => any::<u8>()];
    // ME is among them.
    let sources = 98..=102u8;
    (vrids, priorities, sources, 1..=4095u16, any::<bool>()).prop_map(|(id, priority, source, interval, pseudo)| {
        Advert {
            vrid: vrid(id),
            checksum: if pseudo { ChecksumForm::Rfc5798 } else { ChecksumForm::Rfc9568 },
            ..advert(Ipv4Addr::new(10, 0, 20, source), priority, interval)
        }
    })
}

fn any_op(own: u8) -> impl Strategy<Value = (u64, Op)> {
    let op = prop_oneof![
        2 => Just(Op::Startup),
        1 => Just(Op::Shutdown),
        8 => any_advert(own).prop_map(Op::Advert),
        2 => Just(Op::Timer),
        4 => Just(Op::Due),
        1 => prop_oneof![Just(None), Just(Some(ME))].prop_map(Op::Address),
    ];
    (prop_oneof![1 => Just(0), 4 => 0..5_000_000_000u64], op)
}

fn any_run() -> impl Strategy<Value = (Settings, Vec<(u64, Op)>)> {
    (prop_oneof![2 => 1..=254u8, 1 => Just(255)], any::<bool>(), 1..=4095u16).prop_flat_map(
        |(own, preempt, interval)| {
            let priority = Priority::new(own).unwrap();
            let settings = Settings { priority, interval: centis(interval), ..settings(1, preempt) };
            (Just(settings), proptest::collection::vec(any_op(own), 1..60))
        },
    )
}

/// Whether section 6.4 has a router in this state pass over the advertisement: no timer is touched by it.
fn is_rejected(settings: &Settings, state: State, address: Option<Ipv4Addr>, heard: &Advert) -> bool {
    let own = settings.priority.get();
    if heard.vrid != settings.vrid || state == State::Initialize {
        return true;
    }
    match (state, heard.priority) {
        (_, 0) => false,
        (State::Backup, priority) => settings.preempt && priority < own,
        (_, priority) => own == 255 || (priority, Some(heard.source)) <= (own, address),
    }
}

proptest! {
    #[test]
    fn holds_after_any_event((settings, ops) in any_run()) {
        let own = settings.priority.get();
        let mut router = Router::new(settings);
        let mut address = Some(ME);
        router.set_primary_address(address);
        let mut now = START;
        let mut bound = false;
        for (pause, op) in ops {
            now += Duration::from_nanos(pause);
            let before = router.clone();
            let event = match &op {
                Op::Startup => Event::Startup,
                Op::Shutdown => Event::Shutdown,
                Op::Advert(heard) => Event::Advert(heard),
                Op::Timer => Event::Timer,
                Op::Due => {
                    now = router.deadline().map_or(now, |due| due.max(now));
                    Event::Timer
                }
                Op::Address(new) => {
                    address = *new;
                    router.set_primary_address(address);
                    prop_assert_eq!((router.state(), router.deadline()), (before.state(), before.deadline()));
                    continue;
                }
            };

            let actions = router.handle(now, event);

            prop_assert!(actions.len() <= 3, "bounded: {:?}", actions);
            let adverts = actions.iter().filter(|action| matches!(action, Action::SendAdvert { .. })).count();
            prop_assert!(adverts <= 1, "one event, one advertisement: {:?}", actions);
            for action in &actions {
                match action {
                    Action::BindAddresses => {
                        prop_assert!(!bound);
                        bound = true;
                    }
                    Action::UnbindAddresses => {
                        prop_assert!(bound);
                        bound = false;
                    }
                    // Goodbye is said after the addresses are gone, everything else only while they are there.
                    Action::SendAdvert { priority: 0, .. } => prop_assert!(!bound),
                    Action::SendAdvert { priority, .. } => prop_assert!(bound && *priority == own),
                    Action::Announce => prop_assert!(bound),
                    Action::Conflict { .. } => prop_assert!(bound && own == 255),
                }
            }
            prop_assert_eq!(bound, router.state() == State::Active);
            prop_assert_eq!(router.deadline().is_some(), router.state() != State::Initialize);
            // No timer is longer than the longest down interval there is, and none that was handled stays due.
            if let Some(deadline) = router.deadline() {
                prop_assert!(deadline.since(now) <= Duration::from_millis(4 * 40_950));
                prop_assert!(event != Event::Timer || deadline > now);
            }
            if own == 255 {
                prop_assert_ne!(router.state(), State::Backup);
                let leaves = before.state() == State::Active && router.state() != State::Active;
                prop_assert!(!leaves || event == Event::Shutdown, "only a Shutdown makes an owner leave");
            }
            if let Op::Advert(heard) = &op && is_rejected(&settings, before.state(), address, heard) {
                prop_assert_eq!((router.state(), router.deadline()), (before.state(), before.deadline()));
                prop_assert_eq!(router.active_adver_interval(), before.active_adver_interval());
            }
        }
    }
}

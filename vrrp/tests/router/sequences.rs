//! What holds after any event of any sequence.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use vrrp::router::{Action, ChecksumPolicy, Event, Preempt, Router, Settings, State};
use vrrp::time::Instant;
use vrrp::types::Priority;
use vrrp::wire::advert::{Advert, ChecksumForm};

use super::{ME, START, advert, centis, host, host6, settings, vrid};

#[derive(Clone, Debug)]
enum Op {
    Startup,
    Shutdown,
    Advert(Advert),
    Timer,
    /// The timer, exactly when it is due.
    Due,
    Address(Option<IpAddr>),
}

fn any_advert(own: u8) -> impl Strategy<Value = Advert> {
    let vrids = prop_oneof![7 => Just(7), 1 => 1..=255u8];
    let priorities = prop_oneof![1 => Just(0), 2 => Just(own), 1 => Just(255), 4 => any::<u8>()];
    // ME is among them.
    let sources = prop_oneof![3 => (98..=102u8).prop_map(host), 1 => (98..=102u16).prop_map(host6)];
    (vrids, priorities, sources, 1..=4095u16, any::<bool>()).prop_map(|(id, priority, source, interval, pseudo)| {
        Advert {
            vrid: vrid(id),
            checksum: if pseudo && source.is_ipv4() { ChecksumForm::Rfc5798 } else { ChecksumForm::Rfc9568 },
            ..advert(source, priority, interval)
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
        1 => prop_oneof![Just(None), Just(Some(ME)), Just(Some(host6(100)))].prop_map(Op::Address),
    ];
    (prop_oneof![1 => Just(0), 4 => 0..5_000_000_000u64], op)
}

fn any_run() -> impl Strategy<Value = (Settings, Vec<(u64, Op)>)> {
    let preempt = prop_oneof![
        1 => Just(Preempt::Never),
        2 => Just(Preempt::AT_ONCE),
        2 => (1..20_000u64).prop_map(|millis| Preempt::After(Duration::from_millis(millis))),
    ];
    let checksum = prop_oneof![Just(ChecksumPolicy::Auto), Just(ChecksumPolicy::Rfc5798)];
    (prop_oneof![2 => 1..=254u8, 1 => Just(255)], preempt, checksum, 1..=4095u16).prop_flat_map(
        |(own, preempt, checksum, interval)| {
            let (priority, interval) = (Priority::new(own).unwrap(), centis(interval));
            let settings = Settings { priority, interval, preempt, checksum, ..settings(1, true) };
            (Just(settings), proptest::collection::vec(any_op(own), 1..60))
        },
    )
}

/// Since when advertisements of lower priority were heard, and nothing else, in this stay in Backup.
#[derive(Default)]
struct Lower(Option<Instant>);

impl Lower {
    /// Whether Preempt_Mode is true when this advertisement comes.
    fn preempts(&mut self, now: Instant, settings: &Settings, heard: &Advert) -> bool {
        if heard.vrid == settings.vrid {
            let is_lower = (1..settings.priority.get()).contains(&heard.priority);
            self.0 = self.0.or(Some(now)).filter(|_| is_lower);
        }
        match settings.preempt {
            Preempt::Never => false,
            Preempt::After(delay) => self.0.is_some_and(|since| now >= since + delay),
        }
    }
}

/// Whether section 6.4 has a router in this state pass over the advertisement: no timer is touched by it.
fn is_rejected(settings: &Settings, preempts: bool, state: State, address: Option<IpAddr>, heard: &Advert) -> bool {
    let own = settings.priority.get();
    if heard.vrid != settings.vrid || state == State::Initialize {
        return true;
    }
    match (state, heard.priority) {
        (_, 0) => false,
        (State::Backup, priority) => preempts && priority < own,
        (_, priority) if own == 255 || priority != own => own == 255 || priority < own,
        _ => address.is_some_and(|address| address.is_ipv4() != heard.source.is_ipv4() || heard.source <= address),
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
        let mut lower = Lower::default();
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
            if let Op::Advert(heard) = &op {
                let preempts = before.state() == State::Backup && lower.preempts(now, &settings, heard);
                if is_rejected(&settings, preempts, before.state(), address, heard) {
                    prop_assert_eq!((router.state(), router.deadline()), (before.state(), before.deadline()));
                    prop_assert_eq!(router.active_adver_interval(), before.active_adver_interval());
                } else if router.state() == State::Backup && heard.priority > 0 {
                    prop_assert_eq!(router.active_adver_interval(), heard.interval);
                    prop_assert_eq!(router.deadline(), Some(now + router.active_down_interval()));
                }
            }
            if router.state() != State::Backup {
                lower = Lower::default();
            }
        }
    }
}

//! The state machine, transition by transition, against RFC 9568 section 6.4.

use std::net::Ipv4Addr;
use std::time::Duration;

use vrrp::router::{Action, ChecksumPolicy, Event, Router, Settings, State};
use vrrp::time::Instant;
use vrrp::types::{Interval, Priority, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

const START: Instant = Instant::from_millis(1_000_000);
const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 11);
const LOWER: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 10);
const GREATER: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 12);

fn after(millis: u64) -> Instant {
    START + Duration::from_millis(millis)
}

fn router(priority: u8, preempt: bool) -> Router {
    let mut router = Router::new(Settings {
        vrid: Vrid::new(7).unwrap(),
        priority: Priority::new(priority).unwrap(),
        interval: Interval::DEFAULT,
        preempt,
        checksum: ChecksumPolicy::Auto,
    });
    router.set_primary_address(Some(ME));
    router
}

fn backup(priority: u8, preempt: bool) -> Router {
    let mut router = router(priority, preempt);
    assert_eq!(router.handle(START, Event::Startup), []);
    assert_eq!(router.state(), State::Backup);
    router
}

/// An elected Active, elected at `START`.
fn active(priority: u8) -> Router {
    let mut router = router(priority, true);
    let before = START - router.active_down_interval();
    router.handle(before, Event::Startup);
    assert_eq!(router.handle(START, Event::Timer), became_active(priority));
    router
}

fn owner() -> Router {
    let mut router = router(255, true);
    assert_eq!(router.handle(START, Event::Startup), became_active(255));
    router
}

fn send(priority: u8) -> Action {
    Action::SendAdvert { priority, checksum: ChecksumForm::Rfc9568 }
}

fn became_active(priority: u8) -> [Action; 3] {
    [Action::BindAddresses, send(priority), Action::Announce]
}

fn advert(source: Ipv4Addr, priority: u8, centis: u16) -> Advert {
    Advert {
        source,
        destination: Ipv4Addr::new(224, 0, 0, 18),
        vrid: Vrid::new(7).unwrap(),
        priority,
        interval: Interval::from_centis(centis).unwrap(),
        addresses: vec![Ipv4Addr::new(10, 0, 20, 155)],
        checksum: ChecksumForm::Rfc9568,
    }
}

#[test]
fn timers_are_those_of_section_6_1() {
    let router = router(100, true);
    assert_eq!(router.skew_time(), Duration::from_nanos(156 * 1_000_000_000 / 256));
    assert_eq!(router.active_down_interval(), Duration::from_nanos(3_609_375_000));
    // The finest step there is: 10 ms and priority 254, 78.125 microseconds.
    let fine = Router::new(Settings {
        vrid: Vrid::new(1).unwrap(),
        priority: Priority::new(254).unwrap(),
        interval: Interval::from_centis(1).unwrap(),
        preempt: true,
        checksum: ChecksumPolicy::Auto,
    });
    assert_eq!(fine.skew_time(), Duration::from_nanos(78_125));
}

#[test]
fn initialize_does_nothing_but_start() {
    let mut router = router(100, true);
    let heard = advert(GREATER, 200, 100);
    for event in [Event::Timer, Event::Shutdown, Event::Advert(&heard)] {
        assert_eq!(router.handle(START, event), []);
        assert_eq!((router.state(), router.deadline()), (State::Initialize, None));
    }
}

#[test]
fn an_owner_starts_as_active_and_others_as_backup() {
    assert_eq!(owner().deadline(), Some(after(1000)));
    let router = backup(100, true);
    assert_eq!(router.deadline(), Some(START + router.active_down_interval()));
}

#[test]
fn a_second_startup_changes_nothing() {
    for mut router in [backup(100, true), active(100), owner()] {
        let (state, deadline) = (router.state(), router.deadline());
        assert_eq!(router.handle(after(10), Event::Startup), []);
        assert_eq!((router.state(), router.deadline()), (state, deadline));
    }
}

#[test]
fn backup_takes_over_when_the_active_is_silent() {
    let mut router = backup(100, true);
    let down = router.deadline().unwrap();
    assert_eq!(router.handle(down - Duration::from_nanos(1), Event::Timer), [], "early by a nanosecond");
    assert_eq!(router.handle(down, Event::Timer), became_active(100));
    assert_eq!(router.deadline(), Some(down + Duration::from_secs(1)));
}

#[test]
fn backup_waits_only_the_skew_after_a_goodbye_and_does_not_learn_from_it() {
    let mut router = backup(100, true);
    assert_eq!(router.handle(after(500), Event::Advert(&advert(GREATER, 0, 4000))), []);
    assert_eq!(router.active_adver_interval(), Interval::DEFAULT);
    assert_eq!(router.deadline(), Some(after(500) + router.skew_time()));
}

#[test]
fn backup_learns_the_interval_of_an_active_it_accepts() {
    for priority in [100, 101, 255] {
        let mut router = backup(100, true);
        assert_eq!(router.handle(after(500), Event::Advert(&advert(LOWER, priority, 20))), []);
        assert_eq!(router.active_adver_interval().centis(), 20);
        assert_eq!(router.active_down_interval(), Duration::from_nanos(600_000_000 + 200_000_000 * 156 / 256));
        assert_eq!(router.deadline(), Some(after(500) + router.active_down_interval()));
    }
}

#[test]
fn backup_preempts_a_lower_priority_only_if_it_may() {
    let mut preempting = backup(100, true);
    let deadline = preempting.deadline();
    assert_eq!(preempting.handle(after(500), Event::Advert(&advert(GREATER, 99, 20))), []);
    assert_eq!(preempting.deadline(), deadline, "a rejected packet never touches a timer");
    let mut patient = backup(100, false);
    patient.handle(after(500), Event::Advert(&advert(GREATER, 99, 20)));
    assert_eq!(patient.deadline(), Some(after(500) + patient.active_down_interval()));
}

#[test]
fn backup_leaves_silently() {
    let mut router = backup(100, true);
    assert_eq!(router.handle(after(500), Event::Shutdown), []);
    assert_eq!((router.state(), router.deadline()), (State::Initialize, None));
}

#[test]
fn active_says_goodbye_after_the_addresses_are_gone() {
    for mut router in [active(100), owner()] {
        assert_eq!(router.handle(after(10), Event::Shutdown), [Action::UnbindAddresses, send(0)]);
        assert_eq!((router.state(), router.deadline()), (State::Initialize, None));
    }
}

#[test]
fn active_beats_without_drift_and_never_in_bursts() {
    let mut router = active(100);
    assert_eq!(router.handle(after(999), Event::Timer), [], "early");
    assert_eq!(router.handle(after(1003), Event::Timer), [send(100)]);
    assert_eq!(router.deadline(), Some(after(2000)));
    assert_eq!(router.handle(after(7500), Event::Timer), [send(100)], "five beats late: one advert");
    assert_eq!(router.deadline(), Some(after(8500)));
}

#[test]
fn active_answers_a_goodbye_and_restarts_its_beat() {
    for (mut router, priority) in [(active(100), 100), (owner(), 255)] {
        assert_eq!(router.handle(after(400), Event::Advert(&advert(GREATER, 0, 20))), [send(priority)]);
        assert_eq!(router.deadline(), Some(after(1400)));
        assert_eq!(router.state(), State::Active);
    }
}

#[test]
fn active_yields_to_greater_priority_or_equal_with_greater_address() {
    for (source, priority) in [(LOWER, 101), (LOWER, 255), (GREATER, 100)] {
        let mut router = active(100);
        assert_eq!(router.handle(after(400), Event::Advert(&advert(source, priority, 50))), [Action::UnbindAddresses]);
        assert_eq!((router.state(), router.active_adver_interval().centis()), (State::Backup, 50));
        assert_eq!(router.deadline(), Some(after(400) + router.active_down_interval()));
    }
}

#[test]
fn active_answers_lower_claims_at_once_and_keeps_its_beat() {
    for (source, priority) in [(GREATER, 99), (LOWER, 100)] {
        let mut router = active(100);
        assert_eq!(router.handle(after(400), Event::Advert(&advert(source, priority, 50))), [send(100)]);
        assert_eq!((router.state(), router.deadline()), (State::Active, Some(after(1000))));
    }
}

#[test]
fn addresses_are_compared_as_unsigned_numbers() {
    let mut router = active(100);
    router.set_primary_address(Some(Ipv4Addr::new(10, 0, 0, 1)));
    let high = advert(Ipv4Addr::new(192, 168, 0, 1), 100, 100);
    assert_eq!(router.handle(after(1), Event::Advert(&high)), [Action::UnbindAddresses]);
}

#[test]
fn an_owner_never_yields_and_never_answers_another_owner() {
    let conflict = |priority| Action::Conflict { source: GREATER, priority };
    let mut router = owner();
    assert_eq!(router.handle(after(400), Event::Advert(&advert(GREATER, 255, 50))), [conflict(255)]);
    assert_eq!(router.handle(after(400), Event::Advert(&advert(GREATER, 254, 50))), [conflict(254), send(255)]);
    assert_eq!((router.state(), router.deadline()), (State::Active, Some(after(1000))));
}

#[test]
fn other_virtual_routers_do_not_exist() {
    let mut other = advert(GREATER, 255, 20);
    other.vrid = Vrid::new(8).unwrap();
    other.checksum = ChecksumForm::Rfc5798;
    for mut router in [backup(100, true), active(100), owner()] {
        let before = (router.state(), router.deadline());
        assert_eq!(router.handle(after(1), Event::Advert(&other)), []);
        assert_eq!((router.state(), router.deadline()), before);
    }
    let mut router = active(100);
    router.handle(after(1), Event::Advert(&other));
    assert_eq!(router.handle(after(1000), Event::Timer), [send(100)], "nor does their checksum form");
}

#[test]
fn the_checksum_form_is_learned_in_every_state_if_it_may_be() {
    let old = |policy| {
        let mut router = Router::new(Settings {
            vrid: Vrid::new(7).unwrap(),
            priority: Priority::OWNER,
            interval: Interval::DEFAULT,
            preempt: true,
            checksum: policy,
        });
        let mut heard = advert(GREATER, 100, 100);
        heard.checksum = ChecksumForm::Rfc5798;
        router.handle(START, Event::Advert(&heard));
        router.handle(START, Event::Startup)[1]
    };
    let send = |checksum| Action::SendAdvert { priority: 255, checksum };
    assert_eq!(old(ChecksumPolicy::Auto), send(ChecksumForm::Rfc5798));
    assert_eq!(old(ChecksumPolicy::Rfc9568), send(ChecksumForm::Rfc9568));
    assert_eq!(old(ChecksumPolicy::Rfc5798), send(ChecksumForm::Rfc5798));
    assert_eq!(owner().handle(after(1000), Event::Timer), [send(ChecksumForm::Rfc9568)]);
}

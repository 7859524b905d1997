//! The timers of RFC 9568 section 6.1 and 6.2: what they are computed from, to the nanosecond, and what moves them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use vrrp::router::{Action, Event, Router, Settings, State};
use vrrp::types::{Interval, Priority};

use super::{
    GREATER, LOWER, START, advert, after, became_active, centis, elected, host6, router, send, settings, started,
};

/// Section 6.1: Skew_Time is `((256 - priority) * Active_Adver_Interval) / 256`, and Active_Down_Interval three
/// intervals more. Every priority with every interval, in integers of 128 bits.
#[test]
fn skew_and_down_are_exact_for_every_priority_and_interval() {
    for priority in 1..=255u8 {
        for interval in 1..=4095u16 {
            let router = Router::new(Settings {
                priority: Priority::new(priority).unwrap(),
                interval: centis(interval),
                ..settings(1, true)
            });
            let nanos = u128::from(interval) * 10_000_000;
            let skew = (256 - u128::from(priority)) * nanos / 256;
            assert_eq!(router.skew_time().as_nanos(), skew);
            assert_eq!(router.active_down_interval().as_nanos(), 3 * nanos + skew);
            assert_eq!(router.active_adver_interval(), centis(interval));
        }
    }
}

/// Numbers worked out by hand.
#[test]
fn skew_and_down_of_some_routers() {
    let of = |priority, interval| {
        let priority = Priority::new(priority).unwrap();
        let router = Router::new(Settings { priority, interval: centis(interval), ..settings(1, true) });
        (router.skew_time().as_nanos(), router.active_down_interval().as_nanos())
    };
    // The RFC's defaults.
    assert_eq!(of(100, 100), (609_375_000, 3_609_375_000));
    // The finest step there is: 78.125 microseconds. In centiseconds or milliseconds it would be 0, and all Backups
    // would take over together.
    assert_eq!(of(254, 1), (78_125, 30_078_125));
    assert_eq!(of(200, 10), (21_875_000, 321_875_000));
    // The longest.
    assert_eq!(of(1, 4095), (40_790_039_062, 163_640_039_062));
}

/// Section 6.4.2: a goodbye means the skew of the interval that is in use; the one in the goodbye is not adopted.
// RFC9568: 6.4.2-8-
#[test]
fn a_goodbye_is_measured_with_the_interval_in_use() {
    let mut router = started(100, true);
    router.handle(after(100), Event::Advert(&advert(LOWER, 200, 20)));
    router.handle(after(200), Event::Advert(&advert(LOWER, 0, 4000)));
    assert_eq!(router.active_adver_interval(), centis(20));
    assert_eq!(router.deadline(), Some(after(200) + Duration::from_nanos(200_000_000 * 156 / 256)));
}

/// Section 6.4.2: what was adopted from one Active is replaced by what the next one says.
// RFC9568: 6.4.2-9+ 6.4.2-10-
#[test]
fn the_interval_is_the_last_accepted_one() {
    let mut router = started(100, true);
    for (millis, interval) in [(100, 20), (200, 300), (300, 1)] {
        router.handle(after(millis), Event::Advert(&advert(LOWER, 200, interval)));
        assert_eq!(router.active_adver_interval(), centis(interval));
        assert_eq!(router.deadline(), Some(after(millis) + router.active_down_interval()));
    }
}

/// Section 6.4.3: an Active beats with its own Advertisement_Interval, whatever it had adopted as a Backup.
#[test]
fn an_active_beats_with_its_own_interval() {
    let mut router = started(100, true);
    router.handle(START, Event::Advert(&advert(LOWER, 200, 20)));
    let due = router.deadline().unwrap();
    assert_eq!(due, START + Duration::from_nanos(600_000_000 + 200_000_000 * 156 / 256));
    assert_eq!(router.handle(due, Event::Timer), became_active(100));
    assert_eq!(router.active_adver_interval(), Interval::DEFAULT);
    assert_eq!(router.deadline(), Some(due + Duration::from_secs(1)));
}

/// Section 6.4.1: a new start begins with the own interval.
#[test]
fn nothing_adopted_survives_a_shutdown() {
    let mut router = started(100, true);
    router.handle(START, Event::Advert(&advert(LOWER, 200, 20)));
    router.handle(after(1), Event::Shutdown);
    assert_eq!(router.active_adver_interval(), Interval::DEFAULT);
    router.handle(after(2), Event::Startup);
    assert_eq!(router.deadline(), Some(after(2) + Duration::from_nanos(3_609_375_000)));
}

/// A loop that is a little late each time would otherwise lose a beat now and then.
#[test]
fn the_beat_does_not_drift() {
    let mut router = elected(100, true);
    for beat in 1..=1000u64 {
        let late = Duration::from_millis(beat * 37 % 990);
        assert_eq!(router.handle(after(1000 * beat) + late, Event::Timer), [send(100)]);
        assert_eq!(router.deadline(), Some(after(1000 * (beat + 1))));
    }
}

/// A host that slept says one thing when it wakes up, not everything it missed.
#[test]
fn missed_beats_are_not_made_up_for() {
    for late in [1000, 1001, 7500, 86_400_000] {
        let mut router = elected(100, true);
        let now = after(1000 + late);
        assert_eq!(router.handle(now, Event::Timer), [send(100)]);
        assert_eq!(router.deadline(), Some(now + Duration::from_secs(1)), "{late} ms late");
        assert_eq!(router.handle(now, Event::Timer), []);
    }
}

/// Packets that were in the socket's buffer are taken before the timer: what they say still counts.
#[test]
fn an_advertisement_counts_as_long_as_the_timer_was_not_handled() {
    let mut router = started(100, true);
    let late = router.deadline().unwrap() + Duration::from_millis(5);
    assert_eq!(router.handle(late, Event::Advert(&advert(LOWER, 200, 100))), []);
    assert_eq!(router.handle(late, Event::Timer), []);
    assert_eq!(router.state(), State::Backup);
}

/// Section 6.4.3 compares primary addresses as unsigned numbers in network order.
// RFC9568: 6.4.3-11+ 6.4.3-12+
#[test]
fn a_tie_is_broken_by_the_unsigned_address() {
    for (own, other, yields) in [
        ("10.0.0.1", "192.168.0.1", true),
        ("192.168.0.1", "10.0.0.1", false),
        ("10.0.1.0", "10.0.0.255", false),
        ("10.0.0.255", "10.0.1.0", true),
        ("127.255.255.255", "128.0.0.0", true),
        ("fe80::1", "fe80::2", true),
        ("fe80::1:0:0", "fe80::ffff", false),
        ("fe80::7fff", "fe80::8000", true),
        ("fe80::8000:0:0:0", "fe80::7fff:0:0:0", false),
    ] {
        let [own, other]: [IpAddr; 2] = [own, other].map(|address| address.parse().unwrap());
        let mut router = elected(100, true);
        router.set_primary_address(Some(own));
        let actions = router.handle(after(1), Event::Advert(&advert(other, 100, 100)));
        let expected = if yields { Action::UnbindAddresses } else { send(100) };
        assert_eq!(actions, [expected], "{own} {other}");
    }
}

/// A router without an address cannot advertise.
#[test]
fn a_router_without_an_address_loses_every_tie() {
    let unspecified: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    for source in [LOWER, GREATER, host6(1)].into_iter().chain(unspecified) {
        let mut router = elected(100, true);
        router.set_primary_address(None);
        assert_eq!(router.handle(after(1), Event::Advert(&advert(source, 99, 100))), [send(100)]);
        assert_eq!(router.handle(after(2), Event::Advert(&advert(source, 100, 100))), [Action::UnbindAddresses]);
    }
}

/// Setting the address is no event.
#[test]
fn the_address_alone_changes_nothing() {
    let mut router = router(settings(100, true));
    router.handle(START, Event::Startup);
    let before = (router.state(), router.deadline());
    router.set_primary_address(Some(GREATER));
    assert_eq!((router.state(), router.deadline()), before);
}

//! Time and the protocol's small numbers: their ranges, their arithmetic at the ends, and how they are shown.

use std::time::Duration;

use vrrp::time::Instant;
use vrrp::types::{Interval, Priority, Vrid};

#[test]
fn a_vrid_is_1_to_255() {
    assert_eq!(Vrid::new(0), None);
    for id in 1..=255 {
        assert_eq!(Vrid::new(id).unwrap().get(), id);
    }
    assert_eq!(Vrid::new(155).unwrap().to_string(), "155");
}

// RFC9568: 5.2.4-1+ 5.2.4-1-
#[test]
fn a_priority_is_1_to_255_and_the_last_is_the_owners() {
    assert_eq!(Priority::new(0), None);
    for priority in 1..=255 {
        let value = Priority::new(priority).unwrap();
        assert_eq!(value.get(), priority);
        assert_eq!(value.is_owner(), priority == 255);
    }
    assert_eq!(Priority::new(255), Some(Priority::OWNER));
    assert_eq!(Priority::OWNER.to_string(), "255");
}

/// RFC 9568 section 6.1 with erratum 8301.
// RFC9568: 6.1-2+
#[test]
fn an_interval_is_1_to_4095_centiseconds() {
    for centis in [0, 4096, u16::MAX] {
        assert_eq!(Interval::from_centis(centis), None);
    }
    for centis in [1, 100, 4095] {
        let interval = Interval::from_centis(centis).unwrap();
        assert_eq!(interval.centis(), centis);
        assert_eq!(interval.duration(), Duration::from_millis(u64::from(centis) * 10));
    }
    assert_eq!(Interval::DEFAULT.duration(), Duration::from_secs(1));
    assert_eq!(Interval::from_centis(4095).unwrap().to_string(), "40.95s");
    assert_eq!(Interval::from_centis(1).unwrap().to_string(), "10ms");
}

#[test]
fn moments_and_durations() {
    let now = Instant::from_millis(5_000);
    assert_eq!(now.as_nanos(), 5_000_000_000);
    assert_eq!(now, Instant::from_nanos(5_000_000_000));
    assert_eq!(now + Duration::from_nanos(1), Instant::from_nanos(5_000_000_001));
    assert_eq!(now - Duration::from_secs(5), Instant::ZERO);
    assert_eq!((now + Duration::from_secs(2)).since(now), Duration::from_secs(2));
    let mut later = now;
    later += Duration::from_secs(1);
    assert!(later > now);
    assert_eq!(now.checked_sub(Duration::from_secs(4)), Some(Instant::from_millis(1_000)));
    assert_eq!(now.checked_sub(Duration::from_secs(5)), Some(Instant::ZERO));
}

/// Nothing wraps around and nothing panics.
#[test]
fn the_ends_of_time() {
    let now = Instant::from_millis(5_000);
    let end = Instant::from_nanos(u64::MAX);
    assert_eq!(now + Duration::MAX, end);
    assert_eq!(end + Duration::from_nanos(1), end);
    assert_eq!(Instant::from_millis(u64::MAX), end);
    assert_eq!(now - Duration::from_millis(5_001), Instant::ZERO);
    assert_eq!(now - Duration::MAX, Instant::ZERO);
    assert_eq!(now.checked_sub(Duration::from_nanos(5_000_000_001)), None);
    assert_eq!(now.checked_sub(Duration::MAX), None);
    assert_eq!(now.since(now + Duration::from_secs(1)), Duration::ZERO, "what is later is no time ago");
}

#[test]
fn a_moment_is_shown_in_seconds_and_microseconds() {
    assert_eq!(Instant::from_nanos(1_000_002_999).to_string(), "1.000002s");
    assert_eq!(Instant::ZERO.to_string(), "0.000000s");
}

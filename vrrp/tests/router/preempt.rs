//! Preemption with a delay: a Backup obeys an Active of lower priority for a while, and takes over then.

use std::time::Duration;

use vrrp::router::{Event, Preempt, Router, Settings, State};
use vrrp::time::Instant;

use super::{LOWER, START, advert, after, became_active, router, settings};

/// A Backup of priority 100 since [`START`] that preempts after ten seconds.
fn patient() -> Router {
    let mut router = router(Settings { preempt: Preempt::After(Duration::from_secs(10)), ..settings(100, true) });
    router.handle(START, Event::Startup);
    router
}

fn hear(router: &mut Router, millis: u64, priority: u8) {
    assert_eq!(router.handle(after(millis), Event::Advert(&advert(LOWER, priority, 100))), []);
}

/// When the Active_Down_Timer runs out if it was last started at this moment.
fn down(millis: u64) -> Option<Instant> {
    Some(after(millis) + Duration::from_nanos(3_609_375_000))
}

/// The delay counts from the first advertisement of lower priority; those that come until its end are obeyed.
// RFC9568: 6.4.2-9+ 6.4.2-10+ 6.4.2-10-
#[test]
fn a_lower_priority_is_obeyed_until_the_delay_is_over() {
    let mut router = patient();
    for beat in 1..=10 {
        hear(&mut router, beat * 1000, 99);
        assert_eq!(router.deadline(), down(beat * 1000), "obeyed");
    }
    hear(&mut router, 10_999, 99);
    assert_eq!(router.deadline(), down(10_999), "just not over");
    for beat in 11..=14 {
        hear(&mut router, beat * 1000, 99);
        assert_eq!(router.deadline(), down(10_999), "discarded");
    }
    assert_eq!(router.handle(down(10_999).unwrap(), Event::Timer), became_active(100));
}

/// Until then its interval is adopted, as section 6.4.2 has it without Preempt_Mode; afterwards it is not.
#[test]
fn the_interval_is_adopted_while_it_is_obeyed() {
    let mut router = patient();
    router.handle(after(1), Event::Advert(&advert(LOWER, 99, 400)));
    assert_eq!(router.active_adver_interval().centis(), 400);
    router.handle(after(10_001), Event::Advert(&advert(LOWER, 99, 50)));
    assert_eq!(router.active_adver_interval().centis(), 400);
}

/// What takes its place was not there to be preempted before: the delay counts from its own first advertisement.
#[test]
fn an_equal_or_greater_priority_or_a_goodbye_begins_the_delay_anew() {
    for other in [0, 100, 101, 255] {
        let mut router = patient();
        hear(&mut router, 1000, 99);
        hear(&mut router, 10_900, other);
        hear(&mut router, 11_000, 99);
        assert_eq!(router.deadline(), down(11_000), "{other}");
        hear(&mut router, 20_999, 99);
        assert_eq!(router.deadline(), down(20_999), "{other}");
        hear(&mut router, 21_000, 99);
        assert_eq!(router.deadline(), down(20_999), "{other}");
    }
}

/// Section 6.4.2: somebody has to take over, and there is no Active to be kind to.
// RFC9568: 6.4.2-8+
#[test]
fn a_goodbye_and_silence_are_waited_for_no_longer_than_ever() {
    let mut router = patient();
    hear(&mut router, 1000, 99);
    hear(&mut router, 2000, 0);
    assert_eq!(router.deadline(), Some(after(2000) + router.skew_time()));
    let mut router = patient();
    hear(&mut router, 1000, 99);
    assert_eq!(router.handle(down(1000).unwrap(), Event::Timer), became_active(100));
}

/// A stay in Backup that ends takes its delay with it.
#[test]
fn another_stay_in_backup_has_a_delay_of_its_own() {
    let mut router = patient();
    hear(&mut router, 1000, 99);
    router.handle(after(2000), Event::Shutdown);
    router.handle(after(3000), Event::Startup);
    hear(&mut router, 12_000, 99);
    assert_eq!(router.deadline(), down(12_000), "after a new start");

    router.handle(down(12_000).unwrap(), Event::Timer);
    let now = after(20_000);
    router.handle(now, Event::Advert(&advert(LOWER, 101, 100)));
    assert_eq!(router.state(), State::Backup);
    hear(&mut router, 23_000, 99);
    assert_eq!(router.deadline(), down(23_000), "after an Active of greater priority");
}

/// The ends of the range are the RFC's two modes, event for event.
#[test]
fn zero_is_preempt_mode_and_without_end_is_none() {
    for (limit, mode) in [(Duration::ZERO, true), (Duration::MAX, false)] {
        let with = |preempt| {
            let mut router = router(Settings { preempt, ..settings(100, true) });
            router.handle(START, Event::Startup);
            router
        };
        let mut limited = with(Preempt::After(limit));
        let mut rfc = with(if mode { Preempt::AT_ONCE } else { Preempt::Never });
        for (second, priority) in [99, 1, 100, 99, 0, 99, 99, 150, 99, 99].into_iter().enumerate() {
            let advert = advert(LOWER, priority, 100 + 10 * second as u16);
            let now = after(1000 * second as u64);
            assert_eq!(limited.handle(now, Event::Advert(&advert)), rfc.handle(now, Event::Advert(&advert)));
            assert_eq!((limited.state(), limited.deadline()), (rfc.state(), rfc.deadline()));
            assert_eq!(limited.active_adver_interval(), rfc.active_adver_interval());
        }
    }
    assert_eq!(Preempt::default(), Preempt::After(Duration::ZERO));
}

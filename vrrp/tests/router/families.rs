//! Addresses of both families that move as one: advertisements over either family reach the one router that decides.

use std::time::Duration;

use vrrp::router::{Action, Event, Router, State};

use super::{GREATER, LOWER, ME, START, advert, after, elected, host, host6, router, send, settings, started};

/// Over each family the router that has the greater address there would win. With one router favoured by either family,
/// neither must yield to the wrong one.
#[test]
fn a_tie_is_broken_within_the_family_of_the_own_address_only() {
    for (own, other) in [(ME, [host6(0), host6(u16::MAX)]), (host6(100), [host(0), host(255)])] {
        for source in other {
            let mut router = elected(100, true);
            router.set_primary_address(Some(own));
            let before = router.clone();
            assert_eq!(router.handle(after(1), Event::Advert(&advert(source, 100, 50))), [], "{own} {source}");
            assert_eq!(router, before, "nothing is decided, no timer touched");
        }
    }
    let mut router = elected(100, true);
    router.set_primary_address(Some(host6(100)));
    assert_eq!(router.handle(after(1), Event::Advert(&advert(host6(99), 100, 50))), [send(100)]);
    assert_eq!(router.handle(after(1), Event::Advert(&advert(host6(101), 100, 50))), [Action::UnbindAddresses]);
}

/// Everything but a tie in Active is the same for both.
#[test]
fn either_family_counts_alike() {
    let states: [fn() -> Router; 5] = [
        || router(settings(100, true)),
        || started(100, true),
        || started(100, false),
        || elected(100, true),
        || started(255, true),
    ];
    for state in states {
        for priority in 0..=255u8 {
            let is_tie = state().state() == State::Active && priority == 100;
            if is_tie && !state().settings().priority.is_owner() {
                continue;
            }
            let [mut over4, mut over6] = [state(), state()];
            let actions = over4.handle(after(1), Event::Advert(&advert(GREATER, priority, 50)));
            let actions6 = over6.handle(after(1), Event::Advert(&advert(host6(1), priority, 50)));
            let of6 = |action: &Action| match *action {
                Action::Conflict { priority, .. } => Action::Conflict { source: host6(1), priority },
                other => other,
            };
            assert_eq!(actions.iter().map(of6).collect::<Vec<_>>(), actions6, "{priority}");
            assert_eq!(over4, over6, "{priority}");
        }
    }
}

/// Two of equal priority after a cut, one with the greater address over IPv4, the other with the greater one over IPv6.
/// Each advertisement goes over both families, and in whatever order they arrive one stays Active.
#[test]
fn addresses_that_contradict_each_other_leave_one_active() {
    for order in 0..8u8 {
        let addresses = [[LOWER, host6(2)], [GREATER, host6(1)]];
        let mut routers = [elected(100, true), elected(100, true)];
        for (router, [primary, _]) in routers.iter_mut().zip(addresses) {
            router.set_primary_address(Some(primary));
        }
        for beat in 1..=3u64 {
            let now = START + Duration::from_secs(beat);
            // Both beat at once: what is said was said before anything is heard.
            let mut mail = Vec::new();
            for (from, router) in routers.iter_mut().enumerate() {
                if router.state() == State::Active {
                    router.handle(now, Event::Timer);
                    let swap = order >> (2 * from) & 1 == 1;
                    let [first, second] = if swap { [1, 0] } else { [0, 1] };
                    mail.extend([(1 - from, addresses[from][first]), (1 - from, addresses[from][second])]);
                }
            }
            if order & 2 == 2 {
                mail.reverse();
            }
            for (to, source) in mail {
                routers[to].handle(now, Event::Advert(&advert(source, 100, 100)));
            }
            assert_eq!(routers[1].state(), State::Active, "greater in the family of the primary addresses");
        }
        assert_eq!(routers[0].state(), State::Backup, "order {order}");
    }
}

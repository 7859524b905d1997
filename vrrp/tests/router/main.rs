//! The virtual router's state machine against RFC 9568 section 6.4: every transition, the timers, what any sequence of
//! events leaves true, and what two routers make of each other.

#![allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]

mod checksum_policy;
mod election;
mod owner;
mod sequences;
mod table;
mod timers;

use std::net::Ipv4Addr;
use std::time::Duration;

use vrrp::router::{Action, ChecksumPolicy, Event, Router, Settings};
use vrrp::time::Instant;
use vrrp::types::{Interval, Priority, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

/// The moment at which the routers below entered the state that they are in.
const START: Instant = Instant::from_millis(1_000_000);

const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 100);
const LOWER: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 99);
const GREATER: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 101);
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

fn vrid(id: u8) -> Vrid {
    Vrid::new(id).unwrap()
}

fn centis(centis: u16) -> Interval {
    Interval::from_centis(centis).unwrap()
}

fn after(millis: u64) -> Instant {
    START + Duration::from_millis(millis)
}

/// Virtual router 7, one advertisement a second.
fn settings(priority: u8, preempt: bool) -> Settings {
    Settings {
        vrid: vrid(7),
        priority: Priority::new(priority).unwrap(),
        interval: Interval::DEFAULT,
        preempt,
        checksum: ChecksumPolicy::Auto,
    }
}

fn router(settings: Settings) -> Router {
    let mut router = Router::new(settings);
    router.set_primary_address(Some(ME));
    router
}

/// A router in Backup, or an owner in Active, since [`START`].
fn started(priority: u8, preempt: bool) -> Router {
    let mut router = router(settings(priority, preempt));
    router.handle(START, Event::Startup);
    router
}

/// A router in Active since [`START`] because nobody was heard.
fn elected(priority: u8, preempt: bool) -> Router {
    let mut router = router(settings(priority, preempt));
    router.handle(START - router.active_down_interval(), Event::Startup);
    assert_eq!(router.handle(START, Event::Timer), became_active(priority));
    router
}

fn send(priority: u8) -> Action {
    Action::SendAdvert { priority, checksum: ChecksumForm::Rfc9568 }
}

fn became_active(priority: u8) -> [Action; 3] {
    [Action::BindAddresses, send(priority), Action::Announce]
}

/// An advertisement of virtual router 7.
fn advert(source: Ipv4Addr, priority: u8, interval: u16) -> Advert {
    Advert {
        source,
        destination: GROUP,
        vrid: vrid(7),
        priority,
        interval: centis(interval),
        addresses: vec![Ipv4Addr::new(10, 0, 20, 155)],
        checksum: ChecksumForm::Rfc9568,
    }
}

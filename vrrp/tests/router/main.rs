//! The virtual router's state machine against RFC 9568 section 6.4: every transition, the timers, what any sequence of
//! events leaves true, and what two routers make of each other.

#![allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]

mod checksum_policy;
mod election;
mod families;
mod owner;
mod preempt;
mod sequences;
mod table;
mod timers;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use vrrp::router::{Action, ChecksumPolicy, Checksums, Event, Preempt, Router, Settings};
use vrrp::time::Instant;
use vrrp::types::{Interval, Priority, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

/// The moment at which the routers below entered the state that they are in.
const START: Instant = Instant::from_millis(1_000_000);

const ME: IpAddr = host(100);
const LOWER: IpAddr = host(99);
const GREATER: IpAddr = host(101);

/// A host's IPv4 address.
const fn host(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 20, number))
}

/// A host's link-local IPv6 address.
const fn host6(number: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number))
}

fn vrid(id: u8) -> Vrid {
    Vrid::new(id).unwrap()
}

fn centis(centis: u16) -> Interval {
    Interval::from_centis(centis).unwrap()
}

fn after(millis: u64) -> Instant {
    START + Duration::from_millis(millis)
}

/// Virtual router 7, one advertisement a second, and nothing to learn about checksums.
fn settings(priority: u8, preempt: bool) -> Settings {
    Settings {
        vrid: vrid(7),
        priority: Priority::new(priority).unwrap(),
        interval: Interval::DEFAULT,
        preempt: if preempt { Preempt::AT_ONCE } else { Preempt::Never },
        checksum: ChecksumPolicy::Rfc9568,
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
    Action::SendAdvert { priority, checksums: Checksums::Rfc9568 }
}

fn became_active(priority: u8) -> [Action; 3] {
    [Action::BindAddresses, send(priority), Action::Announce]
}

/// An advertisement of virtual router 7, over the family of its source.
fn advert(source: IpAddr, priority: u8, interval: u16) -> Advert {
    let (group, addresses): (IpAddr, &[IpAddr]) = match source {
        IpAddr::V4(_) => (Ipv4Addr::new(224, 0, 0, 18).into(), &[host(155)]),
        IpAddr::V6(_) => (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into(), &[host6(155)]),
    };
    Advert {
        source,
        destination: group,
        vrid: vrid(7),
        priority,
        interval: centis(interval),
        addresses: addresses.to_vec(),
        checksum: ChecksumForm::Rfc9568,
    }
}

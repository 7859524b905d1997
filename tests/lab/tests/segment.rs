//! The light stage itself, with the routers of other makes.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use lab::analysis::Distribution;
use lab::recorder::{self, Form, Record, What};
use lab::router::{Make, Router, VirtualRouter};
use lab::segment::Cut;
use lab::speaker::{Speaker, Speech};
use lab::{Direction, Recorder, Segment, Time};

const SHORT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(100);

fn v4() -> IpAddr {
    IpAddr::from([10, 0, 20, 155])
}

fn v6() -> [IpAddr; 2] {
    ["fe80::200:5eff:fe00:233", "fd00::155"].map(|address| address.parse().unwrap())
}

fn start(make: Make, segment: &Segment, place: usize, routers: &[VirtualRouter]) -> Router {
    let router = Router::start(make, segment, place, routers, Path::new("/nonexistent")).unwrap();
    router.explain().unwrap();
    router
}

/// How late the recorder is, of which a system call knows: when it was begun, and when the address was bound.
#[test]
fn an_address_is_stamped_within_a_fraction_of_a_millisecond() {
    let segment = Segment::start(1).unwrap();
    let recorder = Recorder::start(&segment).unwrap();
    let (mut since_begun, mut since_bound) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let bind = || recorder::bind_for_calibration("eth0", [10, 0, 20, 155]).unwrap();
        let (begun, bound) = segment.namespace(0).run(bind).unwrap();
        let ended = |record: &Record| record.holdings(v4()).into_iter().rfind(|holding| holding.to.is_some());
        let from = recorder.wait("the address to come and go", SHORT, ended).unwrap().from;
        recorder.forget();
        assert!(from >= begun, "stamped before it was bound");
        since_begun.push(from.millis_after(begun) * 1000.0);
        since_bound.push(from.millis_after(bound) * 1000.0);
    }
    let [since_begun, since_bound] = [since_begun, since_bound].map(|all| Distribution::of(all).unwrap());
    println!("microseconds to the stamp, from the begin of the call that binds: {since_begun}");
    println!("from the end of that call, which it may come before: {since_bound}");
    assert!(since_begun.median() < 500.0);
}

fn takes_over(make: Make) {
    let segment = Segment::start(2).unwrap();
    let recorder = Recorder::start(&segment).unwrap();
    let addresses = [vec![v4()], v6().to_vec()].concat();
    let router = |priority| [VirtualRouter::new(51, priority, INTERVAL, &addresses)];
    let active = start(make, &segment, 0, &router(200));
    let backup = start(make, &segment, 1, &router(100));
    let holds = |place: usize, others: &[usize]| {
        let held = recorder.wait("the addresses to be held", SHORT, |record| {
            let by = |address: &IpAddr| {
                let mut holders = record.holders(*address);
                holders.retain(|holder| !others.contains(holder));
                holders == [place]
            };
            addresses.iter().all(by).then_some(())
        });
        held.unwrap_or_else(|e| panic!("{e}\n{}\n{}", backup.log(), recorder.ask(|record| record.tail(60))));
    };
    holds(0, &[]);
    thread::sleep(5 * INTERVAL);
    recorder.ask(|record| {
        for is_v6 in [false, true] {
            let (_, place, advert) = record.adverts(51).rfind(|(.., advert)| advert.is_v6() == is_v6).unwrap();
            println!("{advert:?}");
            assert_eq!((place, advert.priority, advert.ttl, advert.version), (0, 200, 255, 3));
            assert_eq!((advert.interval, advert.checksum), (INTERVAL, Form::PseudoHeader));
            assert_eq!(advert.addresses, if is_v6 { v6().to_vec() } else { vec![v4()] });
        }
    });
    active.kill();
    holds(1, &[0]);
    let (last, took) = recorder.ask(|record| {
        let last = record.adverts(51).rfind(|(_, place, advert)| *place == 0 && !advert.is_v6()).unwrap().0;
        (last, record.holdings(v4()).iter().rfind(|holding| holding.place == 1).unwrap().from)
    });
    println!("{}: held {:.3} ms after the last advertisement", make.name(), took.millis_after(last));
    drop(active);
    segment.take_away(0, &addresses);
    // Drops what the other sends, and hears nothing of it.
    segment.cut(1, Cut::Vrrp, Direction::Both).unwrap();
    let active = start(make, &segment, 0, &router(200));
    recorder.wait("both to hold it", SHORT, |record| (record.holders(v4()).len() == 2).then_some(())).unwrap();
    segment.heal(1).unwrap();
    holds(0, &[]);
    active.stop().unwrap();
    holds(1, &[]);
    recorder.ask(|record| {
        let goodbyes = record.adverts(51).filter(|(_, place, advert)| *place == 0 && advert.priority == 0);
        assert!(goodbyes.count() >= 2, "{}", record.tail(30));
        assert!(!record.is_blind());
    });
    backup.stop().unwrap();
    recorder.wait("nobody to hold it", SHORT, |record| record.holders(v4()).is_empty().then_some(())).unwrap();
    assert_eq!(backup.complaints().unwrap(), [""; 0]);
}

#[test]
fn keepalived_takes_over() {
    takes_over(Make::Keepalived);
}

#[test]
fn frr_takes_over() {
    takes_over(Make::Frr);
}

fn speech(priority: u8, checksum: Form) -> Speech {
    let IpAddr::V4(address) = v4() else { unreachable!() };
    Speech { id: 51, priority, interval: INTERVAL, addresses: vec![address], checksum }
}

/// Both of these makes know the pseudo-header only. What they do not understand they say.
fn knows_one_form_only(make: Make) {
    let segment = Segment::start(2).unwrap();
    let recorder = Recorder::start(&segment).unwrap();
    let router = start(make, &segment, 0, &[VirtualRouter::new(51, 100, INTERVAL, &[v4()])]);
    let holds = |wanted: bool| {
        let result = recorder.wait("it", SHORT, |record| (record.holders(v4()).is_empty() != wanted).then_some(()));
        result.unwrap_or_else(|e| panic!("{e}\n{}\n{}", router.log(), recorder.ask(|record| record.tail(30))));
    };
    holds(true);
    let speaker = Speaker::start(&segment, 1, &speech(200, Form::PseudoHeader), INTERVAL).unwrap();
    holds(false);
    drop(speaker);
    holds(true);
    assert_eq!(router.complaints().unwrap(), [""; 0]);

    // Of a lower priority and not understood, at twice its pace: it has no reason to stop.
    let since = Time::now();
    let speaker = Speaker::start(&segment, 1, &speech(50, Form::Message), INTERVAL / 2).unwrap();
    thread::sleep(20 * INTERVAL);
    let (own, others) = recorder.ask(|record| {
        let count = |place| record.adverts(51).filter(|(at, from, _)| *at > since && *from == place).count();
        (count(0), count(1))
    });
    println!("{}: {own} advertisements in 20 intervals while it heard {others} that it does not take", make.name());
    drop(speaker);
    holds(true);
    let complaints = router.complaints().unwrap();
    assert!(complaints.iter().all(|line| line.contains("hecksum")) && !complaints.is_empty(), "{complaints:?}");
}

#[test]
fn keepalived_knows_one_form_of_the_checksum() {
    knows_one_form_only(Make::Keepalived);
}

#[test]
fn frr_knows_one_form_of_the_checksum() {
    knows_one_form_only(Make::Frr);
}

#[test]
fn two_segments_and_two_wires_at_once() {
    let segments = [Segment::start_with_two_wires(2).unwrap(), Segment::start_with_two_wires(2).unwrap()];
    for segment in &segments {
        let ping = |to: &str| {
            let mut ping: Command = segment.namespace(0).command("ping");
            ping.args(["-c", "1", "-W", "1", to]).output().is_ok_and(|output| output.status.success())
        };
        if Path::new("/usr/bin/ping").exists() {
            assert!(ping("10.0.20.12") && ping("10.0.21.12") && ping("fe80::c%eth1"));
            segment.pull_cable(1).unwrap();
            assert!(!ping("10.0.20.12") && ping("10.0.21.12"));
            segment.plug_cable(1).unwrap();
        }
        let listing = segment.namespace(1).ip(&["-oneline", "address"]).unwrap();
        assert!(listing.contains("10.0.20.12/24") && listing.contains("10.0.21.12/24"), "{listing}");
    }
    let recorder = Recorder::start(&segments[0]).unwrap();
    let held = |address: &str| recorder.ask(|record| record.holders(address.parse().unwrap()));
    assert_eq!((held("10.0.20.12"), held("10.0.21.11"), held("fe80::b")), (vec![1], vec![0], vec![0]));
    recorder.ask(|record| assert!(record.events().iter().all(|event| matches!(event.what, What::Held { .. }))));
}

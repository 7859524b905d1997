//! Events: none missed, none invented, losses reported.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pgvrrp_netlink::{Event, Kernel, Monitor};
use tokio::time::{sleep, timeout};

use crate::namespace::{in_namespace, ip, link};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 20, 155));
const VIP6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x155));
const LIMIT: Duration = Duration::from_secs(10);

fn seconds(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// As `in_namespace`, in a runtime like that of the protocol thread.
fn in_runtime<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { test().await });
    });
}

/// Reads events until one is as wanted; those before it are dropped.
async fn until(monitor: &mut Monitor, what: &str, mut wanted: impl FnMut(&Event) -> bool) -> Event {
    let search = async {
        loop {
            if let Some(event) = monitor.next().await.unwrap().into_iter().find(&mut wanted) {
                return event;
            }
        }
    };
    timeout(LIMIT, search).await.unwrap_or_else(|_| panic!("no event: {what}"))
}

/// All events that come until there is silence.
async fn rest(monitor: &mut Monitor) -> Vec<Event> {
    let mut all = Vec::new();
    while let Ok(events) = timeout(Duration::from_millis(300), monitor.next()).await {
        all.extend(events.unwrap());
    }
    all
}

fn add_many(kernel: &mut Kernel, link: u32, addresses: std::ops::Range<u32>) {
    for i in addresses {
        kernel.bind(link, IpAddr::V4(Ipv4Addr::from_bits(0x0a64_0000 + i)), 32, seconds(600)).unwrap();
    }
}

#[test]
fn addresses_that_come_change_expire_and_go_are_reported() {
    in_runtime(|| async {
        let mut monitor = Monitor::open().unwrap();
        let mut kernel = Kernel::open().unwrap();
        let eth0 = link(&mut kernel, "eth0").index;
        for (address, prefix_len) in [(VIP, 32), (VIP6, 128)] {
            let about = |event: &Event| match event {
                Event::AddressAdded(row) | Event::AddressRemoved(row) => row.address == address,
                _ => false,
            };
            kernel.bind(eth0, address, prefix_len, seconds(30)).unwrap();
            let Event::AddressAdded(row) = until(&mut monitor, "added", about).await else { panic!("not added") };
            assert_eq!((row.link, row.prefix_len, row.ours), (eth0, prefix_len, true));
            kernel.bind(eth0, address, prefix_len, seconds(1)).unwrap();
            let Event::AddressAdded(row) = until(&mut monitor, "renewed", about).await else { panic!("not renewed") };
            assert!(row.lifetime.is_some_and(|left| left <= 1), "{row:?}");
            let gone = until(&mut monitor, "expired", about).await;
            assert!(matches!(gone, Event::AddressRemoved(row) if row.link == eth0 && row.prefix_len == prefix_len));

            ip(&format!("address add {address}/{prefix_len} dev eth1 nodad"));
            let Event::AddressAdded(row) = until(&mut monitor, "added by ip", about).await else { panic!("not added") };
            assert_eq!((row.lifetime, row.ours), (None, false));
            ip(&format!("address del {address}/{prefix_len} dev eth1"));
            assert!(matches!(until(&mut monitor, "removed by ip", about).await, Event::AddressRemoved(_)));
        }
    });
}

#[test]
fn links_that_change_and_go_are_reported() {
    in_runtime(|| async {
        let mut monitor = Monitor::open().unwrap();
        let eth0 = link(&mut Kernel::open().unwrap(), "eth0").index;
        rest(&mut monitor).await;
        ip("link set eth1 down");
        until(&mut monitor, "no carrier", |e| matches!(e, Event::LinkChanged(l) if l.index == eth0 && !l.up)).await;
        ip("link set eth1 up");
        until(&mut monitor, "carrier", |e| matches!(e, Event::LinkChanged(l) if l.index == eth0 && l.up)).await;
        ip("link set eth0 mtu 1300");
        until(&mut monitor, "mtu", |e| matches!(e, Event::LinkChanged(l) if l.index == eth0 && l.mtu == 1300)).await;
        ip("link del eth0");
        until(&mut monitor, "gone", |e| *e == Event::LinkRemoved(eth0)).await;
    });
}

#[test]
fn a_port_that_leaves_its_bridge_is_not_gone() {
    in_runtime(|| async {
        ip("link add br0 type bridge");
        let eth0 = link(&mut Kernel::open().unwrap(), "eth0").index;
        let mut monitor = Monitor::open().unwrap();
        ip("link set eth0 master br0");
        ip("link set eth0 nomaster");
        let events = rest(&mut monitor).await;
        assert!(events.iter().any(|e| matches!(e, Event::LinkChanged(l) if l.index == eth0)), "{events:?}");
        assert!(!events.contains(&Event::LinkRemoved(eth0)), "{events:?}");
    });
}

#[test]
fn a_storm_is_delivered_whole_and_in_portions() {
    in_runtime(|| async {
        let mut monitor = Monitor::open().unwrap();
        let mut kernel = Kernel::open().unwrap();
        let eth0 = link(&mut kernel, "eth0").index;
        rest(&mut monitor).await;
        add_many(&mut kernel, eth0, 0..500);
        let mut seen = Vec::new();
        while seen.len() < 500 {
            let events = timeout(LIMIT, monitor.next()).await.expect("an event").unwrap();
            assert!((1..=100).contains(&events.len()), "{} at once", events.len());
            seen.extend(events.into_iter().map(|event| match event {
                Event::AddressAdded(row) => row.address,
                event => panic!("{event:?}"),
            }));
        }
        let expected: Vec<IpAddr> = (0..500).map(|i| IpAddr::V4(Ipv4Addr::from_bits(0x0a64_0000 + i))).collect();
        assert_eq!(seen, expected, "in order, each once");
    });
}

#[test]
fn an_overrun_is_reported_once_and_what_follows_is_seen() {
    in_runtime(|| async {
        let mut monitor = Monitor::with_buffer(8 * 1024).unwrap();
        let mut kernel = Kernel::open().unwrap();
        let eth0 = link(&mut kernel, "eth0").index;
        rest(&mut monitor).await;
        for round in 0..3 {
            add_many(&mut kernel, eth0, round * 300..(round + 1) * 300);
            assert_eq!(timeout(LIMIT, monitor.next()).await.expect("the loss").unwrap(), [Event::Lost]);
            // The kernel stays silent after an overrun until the queue was empty: had next() left anything in it, this
            // event would be lost without a word.
            let vip = IpAddr::V4(Ipv4Addr::from_bits(0x0a14_0000 + round));
            kernel.bind(eth0, vip, 32, seconds(60)).unwrap();
            let events = timeout(LIMIT, monitor.next()).await.expect("the next event").unwrap();
            assert!(matches!(&events[..], [Event::AddressAdded(row)] if row.address == vip), "{events:?}");
        }
    });
}

#[test]
fn a_cancelled_wait_loses_nothing() {
    in_runtime(|| async {
        let mut monitor = Monitor::open().unwrap();
        let mut kernel = Kernel::open().unwrap();
        let eth0 = link(&mut kernel, "eth0").index;
        rest(&mut monitor).await;
        // A thread made here is in this thread's namespace.
        let writer = std::thread::spawn(move || {
            for i in 0..200 {
                add_many(&mut kernel, eth0, i..i + 1);
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        let (mut seen, mut cancelled) = (0, 0);
        let watch = async {
            while seen < 200 {
                tokio::select! {
                    biased;
                    () = sleep(Duration::ZERO) => cancelled += 1,
                    events = monitor.next() => seen += events.unwrap().len(),
                }
                // And one that is dropped after a single poll.
                let waited = pin!(monitor.next()).poll(&mut Context::from_waker(Waker::noop()));
                match waited {
                    Poll::Ready(events) => seen += events.unwrap().len(),
                    Poll::Pending => cancelled += 1,
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, watch).await.expect("all events");
        writer.join().unwrap();
        assert_eq!(seen, 200);
        assert!(cancelled > 10, "only {cancelled} waits were cancelled: the test shows nothing");
        assert_eq!(rest(&mut monitor).await, []);
    });
}

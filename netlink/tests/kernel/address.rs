//! Binding, renewing, expiring, unbinding.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use pgvrrp_netlink::Kernel;

use crate::namespace::{bound, in_namespace, ip, link, listed, now, wait_until};

const VIP: &str = "10.0.20.155";
const VIP6: &str = "fd00:20::155";

fn vip() -> IpAddr {
    VIP.parse().unwrap()
}

fn vip6() -> IpAddr {
    VIP6.parse().unwrap()
}

fn seconds(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

#[test]
fn an_address_is_bound_with_a_lifetime_and_our_mark() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let a = link(&mut kernel, "eth0").index;
        kernel.bind(a, vip(), 32, seconds(20)).unwrap();
        kernel.bind(a, vip6(), 128, seconds(20)).unwrap();
        assert_eq!(bound("eth0"), [format!("{VIP}/32"), format!("{VIP6}/128")]);
        for (address, prefix_len) in [(vip(), 32), (vip6(), 128)] {
            let rows = listed(&mut kernel, address);
            assert_eq!(rows.len(), 1);
            assert_eq!((rows[0].link, rows[0].prefix_len, rows[0].peer), (a, prefix_len, None));
            assert!((15..=20).contains(&rows[0].lifetime.unwrap()), "{:?}", rows[0]);
            assert!(rows[0].ours && !rows[0].secondary && !rows[0].tentative, "{:?}", rows[0]);
        }
        ip("address add 10.0.20.11/24 dev eth0");
        assert!(!listed(&mut kernel, "10.0.20.11".parse().unwrap())[0].ours);
    });
}

#[test]
fn an_address_expires_by_itself() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let a = link(&mut kernel, "eth0").index;
        let start = now();
        kernel.bind(a, vip(), 32, seconds(1)).unwrap();
        kernel.bind(a, vip6(), 128, seconds(2)).unwrap();
        wait_until(Duration::from_secs(4), "IPv4 expires", || listed(&mut kernel, vip()).is_empty());
        assert!(start.elapsed() >= Duration::from_millis(950), "too early: {:?}", start.elapsed());
        wait_until(Duration::from_secs(4), "IPv6 expires", || listed(&mut kernel, vip6()).is_empty());
        assert!(start.elapsed() >= Duration::from_millis(1950), "too early: {:?}", start.elapsed());
        assert_eq!(bound("eth0"), [""; 0]);
    });
}

#[test]
fn renewing_keeps_it_beyond_its_first_lifetime_and_alone() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let a = link(&mut kernel, "eth0").index;
        let start = now();
        while start.elapsed() < Duration::from_millis(3500) {
            kernel.bind(a, vip(), 32, seconds(2)).unwrap();
            kernel.bind(a, vip6(), 128, seconds(2)).unwrap();
            assert_eq!(bound("eth0"), [format!("{VIP}/32"), format!("{VIP6}/128")]);
            std::thread::sleep(Duration::from_millis(400));
        }
    });
}

#[test]
fn binding_what_was_there_for_ever_gives_it_a_lifetime() {
    in_namespace(|| {
        ip(&format!("address add {VIP}/32 dev eth0"));
        ip(&format!("address add {VIP6}/128 dev eth0 nodad"));
        let mut kernel = Kernel::open().unwrap();
        let a = link(&mut kernel, "eth0").index;
        assert_eq!(listed(&mut kernel, vip())[0].lifetime, None);
        for (address, prefix_len) in [(vip(), 32), (vip6(), 128)] {
            kernel.bind(a, address, prefix_len, seconds(9)).unwrap();
            let rows = listed(&mut kernel, address);
            assert_eq!(rows.len(), 1);
            assert!(rows[0].lifetime.is_some_and(|left| left <= 9), "{rows:?}");
        }
    });
}

#[test]
fn unbinding_is_idempotent() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let a = link(&mut kernel, "eth0").index;
        for (address, prefix_len) in [(vip(), 32), (vip6(), 128)] {
            kernel.bind(a, address, prefix_len, seconds(9)).unwrap();
            assert_eq!(kernel.unbind(address, None).unwrap(), 1);
            assert_eq!(kernel.unbind(address, None).unwrap(), 0);
        }
        assert_eq!(bound("eth0"), [""; 0]);
    });
}

#[test]
fn two_who_unbind_at_once_both_succeed() {
    const ROUNDS: usize = 300;
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let eth0 = link(&mut kernel, "eth0").index;
        let (start, end) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let gates = (Arc::clone(&start), Arc::clone(&end));
        let other = std::thread::spawn(move || {
            let mut kernel = Kernel::open().unwrap();
            let mut removed = 0;
            for _ in 0..ROUNDS {
                gates.0.wait();
                removed += kernel.unbind(vip(), None).unwrap();
                gates.1.wait();
            }
            removed
        });
        let mut removed = 0;
        for _ in 0..ROUNDS {
            kernel.bind(eth0, vip(), 32, seconds(60)).unwrap();
            start.wait();
            removed += kernel.unbind(vip(), None).unwrap();
            end.wait();
        }
        assert_eq!(removed + other.join().unwrap(), ROUNDS, "each address was removed by one of them");
    });
}

#[test]
fn unbinding_finds_it_everywhere_and_touches_nothing_else() {
    in_namespace(|| {
        ip(&format!("address add {VIP}/32 dev eth0"));
        ip(&format!("address add {VIP}/24 dev eth0"));
        ip(&format!("address add {VIP}/16 dev eth1"));
        ip(&format!("address add {VIP}/32 dev lo"));
        ip(&format!("address add {VIP} peer 10.9.9.9/32 dev eth1"));
        ip(&format!("address add {VIP6}/64 dev eth1 nodad"));
        ip("address add 10.0.20.11/24 dev eth0 label eth0:own");
        ip("address add 10.0.20.15/32 dev eth1");
        let mut kernel = Kernel::open().unwrap();
        assert_eq!(kernel.unbind(vip(), None).unwrap(), 5);
        assert_eq!(bound("eth0"), ["10.0.20.11/24"]);
        assert_eq!(bound("eth1"), ["10.0.20.15/32", &format!("{VIP6}/64")]);
        assert_eq!(bound("lo"), ["127.0.0.1/8", "::1/128"]);
        assert_eq!(kernel.unbind(vip6(), None).unwrap(), 1);
        assert_eq!(bound("eth1"), ["10.0.20.15/32"]);
    });
}

#[test]
fn unbinding_spares_the_one_to_keep() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let (a, b) = (link(&mut kernel, "eth0").index, link(&mut kernel, "eth1").index);
        ip(&format!("address add {VIP}/24 dev eth0"));
        ip(&format!("address add {VIP}/32 dev eth1"));
        kernel.bind(a, vip(), 32, seconds(9)).unwrap();
        assert_eq!(kernel.unbind(vip(), Some((a, 32))).unwrap(), 2);
        assert_eq!(bound("eth0"), [format!("{VIP}/32")]);
        assert_eq!(bound("eth1"), [""; 0]);
        assert_eq!(kernel.unbind(vip(), Some((a, 32))).unwrap(), 0);
        assert_eq!(kernel.unbind(vip(), Some((b, 32))).unwrap(), 1);
    });
}

#[test]
fn a_long_table_is_read_completely() {
    in_namespace(|| {
        let batch: String = (0..3000).fold(String::new(), |batch, i| {
            batch + &format!("address add 10.{}.{}.1/32 dev eth0 label eth0:{i}\n", 100 + i / 250, i % 250)
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), batch).unwrap();
        ip(&format!("-batch {}", file.path().display()));
        let mut kernel = Kernel::open().unwrap();
        let a = link(&mut kernel, "eth0").index;
        kernel.bind(a, vip(), 32, seconds(60)).unwrap();
        assert_eq!(
            kernel.addresses().unwrap().iter().filter(|row| row.link == a && row.address.is_ipv4()).count(),
            3001
        );
        assert_eq!(kernel.unbind(vip(), None).unwrap(), 1);
        assert_eq!(listed(&mut kernel, vip()), []);
    });
}

#[test]
fn links_are_described_as_ip_does() {
    in_namespace(|| {
        ip("link set eth0 address 02:00:5e:10:20:30 mtu 1400");
        ip("link property add dev eth0 altname a-long-alternative");
        ip("link property add dev eth0 altname short");
        let mut kernel = Kernel::open().unwrap();
        let a = link(&mut kernel, "eth0");
        assert_eq!((a.name.as_str(), a.up, a.mtu), ("eth0", true, 1400));
        assert_eq!(a.mac, Some([2, 0, 0x5e, 0x10, 0x20, 0x30]));
        assert_eq!(kernel.link("short").unwrap(), Some(a.clone()), "by alternative name");
        assert_eq!(kernel.link("nowhere").unwrap(), None);
        assert_eq!(kernel.link("").unwrap(), None);
        assert_eq!(kernel.link("a-name-beyond-fifteen-bytes").unwrap(), None);
        let links = kernel.links().unwrap();
        assert!(links.contains(&a));
        assert!(["lo", "eth0", "eth1"].iter().all(|name| links.iter().any(|link| link.name == *name)), "{links:?}");

        ip("link set eth1 down");
        assert!(!link(&mut kernel, "eth0").up, "no carrier without its peer");
        assert!(!link(&mut kernel, "eth1").up);
    });
}

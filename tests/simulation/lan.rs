//! The segment: directed links that lose, delay, reorder and double what they carry, or carry nothing.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use vrrp::types::{Interval, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

use super::clock::{Nanos, US};
use super::kernel::VIP;
use super::world::World;

/// What is cut.
#[derive(Debug, Default)]
pub(crate) struct Lan {
    /// From, to.
    pub(crate) down: BTreeSet<(usize, usize)>,
}

impl Lan {
    pub(crate) fn cut(&self, from: usize, to: usize) -> bool {
        self.down.contains(&(from, to))
    }
}

impl World {
    pub(crate) fn send_advert(&mut self, from: usize, priority: u8, source: Ipv4Addr, checksum: ChecksumForm) {
        let advert = Advert {
            source,
            destination: Ipv4Addr::new(224, 0, 0, 18),
            vrid: Vrid::new(155).expect("not 0"),
            priority,
            interval: Interval::DEFAULT,
            addresses: vec![VIP],
            checksum,
        };
        self.who(from, || format!("~ advert, priority {priority}"));
        self.broadcast(from, move |w, to| {
            w.hosts[to].inbox.adverts.push_back(advert.clone());
        });
    }

    /// Gratuitous ARP.
    pub(crate) fn send_claim(&mut self, from: usize) {
        self.who(from, || "~ announcement".to_owned());
        let mac = [2, 0, 0, 0, 0, from as u8];
        self.broadcast(from, move |w, to| w.hosts[to].inbox.claims.push_back(mac));
    }

    /// A router that is not of our kind.
    pub(crate) fn foreign_router(&mut self, left: u32) {
        let source = Ipv4Addr::new(10, 0, 20, 99);
        let outsider = self.hosts.len();
        self.send_advert_from_outside(outsider, source);
        if left > 0 {
            self.after(1_000 * super::clock::MS, move |w| w.foreign_router(left - 1));
        }
    }

    fn send_advert_from_outside(&mut self, from: usize, source: Ipv4Addr) {
        let advert = Advert {
            source,
            destination: Ipv4Addr::new(224, 0, 0, 18),
            vrid: Vrid::new(155).expect("not 0"),
            priority: 100,
            interval: Interval::DEFAULT,
            addresses: vec![VIP],
            checksum: ChecksumForm::Rfc5798,
        };
        self.broadcast(from, move |w, to| w.hosts[to].inbox.adverts.push_back(advert.clone()));
    }

    fn broadcast(&mut self, from: usize, deliver: impl Fn(&mut Self, usize) + Clone + 'static) {
        for to in 0..self.hosts.len() {
            if to == from || self.lan.cut(from, to) || self.dice.chance(self.plan.lan_loss) {
                continue;
            }
            let copies = if self.dice.chance(self.plan.lan_twice) { 2 } else { 1 };
            for _ in 0..copies {
                let way: Nanos = 50 * US + self.dice.below(self.plan.lan_delay);
                let deliver = deliver.clone();
                self.after(way, move |w| {
                    let host = &w.hosts[to];
                    // A socket that nobody reads drops what comes when it is full.
                    if host.up && host.kernel.link && host.life_is_running() && host.inbox.adverts.len() < 100 {
                        deliver(w, to);
                        w.wake(to);
                    }
                });
            }
        }
    }
}

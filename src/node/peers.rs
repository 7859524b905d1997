//! The VRRP routers heard on one virtual router. They are shown, counted and made to yield; none decides anything.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use vrrp::time::Instant;
use vrrp::types::Interval;
use vrrp::wire::advert::Advert;

use super::io::Version2;
use super::status::PeerStatus;

/// Bound on what strangers can make us remember.
const MOST: usize = 16;

#[derive(Debug)]
struct Peer {
    version: u8,
    priority: u8,
    interval: Duration,
    heard: Instant,
    adverts: u64,
    address_mismatch: bool,
}

/// The routers heard.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<Ipv4Addr, Peer>);

impl Peers {
    pub(super) fn advert(&mut self, now: Instant, advert: &Advert, vip: Ipv4Addr) {
        let mismatch = advert.addresses.as_slice() != [vip];
        self.heard(now, advert.source, 3, advert.priority, advert.interval.duration(), mismatch);
    }

    pub(super) fn version2(&mut self, now: Instant, advert: Version2) {
        self.heard(now, advert.source, 2, advert.priority, Interval::DEFAULT.duration(), false);
    }

    fn heard(&mut self, now: Instant, source: Ipv4Addr, version: u8, priority: u8, interval: Duration, mismatch: bool) {
        if !self.0.contains_key(&source) && self.0.len() >= MOST {
            let oldest = self.0.iter().min_by_key(|(_, peer)| peer.heard).map(|(source, _)| *source);
            if let Some(oldest) = oldest {
                self.0.remove(&oldest);
            }
        }
        let adverts = self.0.get(&source).map_or(0, |peer| peer.adverts) + 1;
        self.0.insert(source, Peer { version, priority, interval, heard: now, adverts, address_mismatch: mismatch });
    }

    /// Whether a router that is not of our kind is Active now. Ours advertise priority 255; one that is heard with less
    /// has been elected, and yields to 255. Version 2 routers do not hear us, so they cannot be made to yield.
    pub(super) fn foreign_active(&self, now: Instant) -> bool {
        self.0.values().any(|peer| {
            peer.version == 3 && (1..255).contains(&peer.priority) && now.since(peer.heard) < peer.interval * 3
        })
    }

    pub(super) fn status(&self, now: Instant) -> Vec<PeerStatus> {
        let mut peers: Vec<_> = self
            .0
            .iter()
            .map(|(address, peer)| PeerStatus {
                address: *address,
                version: peer.version,
                priority: peer.priority,
                age: now.since(peer.heard),
                adverts: peer.adverts,
                address_mismatch: peer.address_mismatch,
            })
            .collect();
        peers.sort_by_key(|peer| peer.age);
        peers
    }
}

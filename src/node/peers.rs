//! The VRRP routers heard on one virtual router: shown, counted, and told of when they are configured otherwise. Whether one
//! of them decides anything is the router's business.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use vrrp::time::Instant;
use vrrp::types::Interval;
use vrrp::wire::advert::Advert;

use super::io::Version2;
use super::settings::{Family, VipSettings};
use super::status::{PeerStatus, VipCounters};

/// Bound on what strangers can make us remember.
const MOST: usize = 16;

/// Between two lines about one mismatch. RFC 9568 section 7.1 wants them logged, at a limited rate.
const QUIET: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Peer {
    version: u8,
    priority: u8,
    interval: Duration,
    heard: Instant,
    adverts: u64,
    address_mismatch: bool,
    interval_mismatch: bool,
}

/// The routers heard.
#[derive(Debug, Default)]
pub(super) struct Peers {
    heard: BTreeMap<IpAddr, Peer>,
    /// When a mismatch was last told of.
    told: BTreeMap<&'static str, Instant>,
}

impl Peers {
    /// Counts an advert of this virtual router. Returns what the operator has to know of it: its sender is configured
    /// otherwise. It is obeyed all the same (RFC 9568 section 7.1): two Actives would be the worse answer.
    pub(super) fn advert(
        &mut self,
        now: Instant,
        advert: &Advert,
        settings: &VipSettings,
        counters: &mut VipCounters,
    ) -> Option<String> {
        let Advert { source, priority, interval, .. } = advert;
        // A goodbye's interval means nothing, and some send it with an empty or shortened list.
        let goodbye = *priority == 0;
        let own: BTreeSet<IpAddr> = settings.of_family(Family::of(*source)).collect();
        let address_mismatch = !goodbye && advert.addresses.iter().copied().collect::<BTreeSet<_>>() != own;
        let interval_mismatch = !goodbye && *interval != settings.interval;
        counters.adverts_received += 1;
        counters.priority_zero_received += u64::from(goodbye);
        counters.address_list_errors += u64::from(address_mismatch);
        counters.interval_errors += u64::from(interval_mismatch);
        let adverts = self.heard.get(source).map_or(0, |peer| peer.adverts) + 1;
        self.note(
            *source,
            Peer {
                version: 3,
                priority: *priority,
                interval: interval.duration(),
                heard: now,
                adverts,
                address_mismatch,
                interval_mismatch,
            },
        );
        if address_mismatch && self.is_news(now, "addresses") {
            let list: Vec<_> = advert.addresses.iter().map(IpAddr::to_string).collect();
            return Some(format!("{source} lists other addresses for this virtual router: {}", list.join(", ")));
        }
        if interval_mismatch && self.is_news(now, "interval") {
            return Some(format!(
                "{source} advertises every {interval}, this node is configured for {}",
                settings.interval
            ));
        }
        None
    }

    pub(super) fn version2(&mut self, now: Instant, advert: Version2, count: u64) {
        let source = IpAddr::V4(advert.source);
        let adverts = self.heard.get(&source).map_or(0, |peer| peer.adverts).saturating_add(count);
        let interval = Interval::DEFAULT.duration();
        let Version2 { priority, .. } = advert;
        let (address_mismatch, interval_mismatch) = (false, false);
        self.note(
            source,
            Peer { version: 2, priority, interval, heard: now, adverts, address_mismatch, interval_mismatch },
        );
    }

    fn note(&mut self, source: IpAddr, peer: Peer) {
        if !self.heard.contains_key(&source) && self.heard.len() >= MOST {
            let oldest = self.heard.iter().min_by_key(|(_, peer)| peer.heard).map(|(source, _)| *source);
            if let Some(oldest) = oldest {
                self.heard.remove(&oldest);
            }
        }
        self.heard.insert(source, peer);
    }

    fn is_news(&mut self, now: Instant, what: &'static str) -> bool {
        let news = self.told.get(what).is_none_or(|told| now.since(*told) >= QUIET);
        if news {
            self.told.insert(what, now);
        }
        news
    }

    /// Whether a router that is not of our kind is Active now. Ours advertise priority 255; one that is heard with less
    /// has been elected, and yields to 255. Version 2 routers do not hear us, so they cannot be made to yield.
    pub(super) fn foreign_active(&self, now: Instant) -> bool {
        self.heard.values().any(|peer| {
            peer.version == 3 && (1..255).contains(&peer.priority) && now.since(peer.heard) < peer.interval * 3
        })
    }

    /// Those heard, newest first, and then the unicast peers that were not.
    pub(super) fn status(&self, now: Instant, settings: &VipSettings) -> Vec<PeerStatus> {
        let heard = self.heard.iter().map(|(address, peer)| PeerStatus {
            address: *address,
            version: peer.version,
            priority: peer.priority,
            interval: peer.interval,
            age: Some(now.since(peer.heard)),
            adverts: peer.adverts,
            address_mismatch: peer.address_mismatch,
            interval_mismatch: peer.interval_mismatch,
        });
        let mut peers: Vec<_> = heard.collect();
        peers.sort_by_key(|peer| peer.age);
        let silent = settings.unicast_peers.iter().filter(|peer| !self.heard.contains_key(peer));
        peers.extend(silent.map(|address| PeerStatus::never_heard(*address)));
        peers
    }
}

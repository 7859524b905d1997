//! `pgvrrp run --observe`: everything is asked, heard and decided as it would be, and nothing is done.
//!
//! What the node decides meets this instead of the kernel and the segment, and is told that it was done; what really happens to
//! the VIP on this host meets a `witness` instead of the node. Both are compared there. With the leader key as the fence
//! there is nothing to write in etcd either: whatever the configuration says, an observing node has no lock.

mod witness;

use std::net::IpAddr;

use pgvrrp_config::{Config, Fence, Hooks, Mac};
use tracing::{error, info};
use vrrp::time::Instant;
use vrrp::wire::advert::Advert;

use crate::actuator::Actuator;
use crate::clock;
use crate::gate::evidence::{EtcdRequest, VipId};
use crate::node::io::{Address, Outcome, Output};
use crate::node::status::Status;
use crate::node::{Follows, InterfaceId, Settings, VipSettings};
use witness::Witness;

/// What the configuration is for a daemon that observes: without what would be written, made or run.
pub(crate) fn config(mut config: Config) -> Config {
    if let Some(cluster) = &mut config.cluster {
        cluster.fence = Fence::LeaderKey;
        cluster.clients.port = None;
    }
    for vip in &mut config.vips {
        (vip.mac, vip.hooks) = (Mac::Interface, Hooks::default());
    }
    config
}

/// A node that observes.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    /// By [`VipId`].
    vips: Vec<(VipSettings, Witness)>,
}

impl Rehearsal {
    pub(crate) fn new(settings: &Settings, now: Instant) -> Self {
        Self { vips: settings.vips.iter().map(|vip| (vip.clone(), Witness::new(now))).collect() }
    }

    /// Carries out what only asks, and says of the rest that it was done.
    pub(crate) fn carry_out(&mut self, actuator: &mut Actuator, outputs: Vec<Output>) -> Vec<Outcome> {
        let now = clock::now();
        let (mut asked, mut outcomes) = (Vec::new(), Vec::new());
        for output in outputs {
            match output {
                // There is no lease of ours to be kept, and no lock to be put; should there ever be, it is not for us.
                Output::Etcd(EtcdRequest::Round { keep_alive, leader_lease }) if keep_alive.is_empty() => {
                    asked.push(Output::Etcd(EtcdRequest::Round { keep_alive, leader_lease }));
                }
                Output::Etcd(request) => error!(?request, "an observing node writes nothing: please report this"),
                Output::AskPostgres { .. } | Output::AskPatroni { .. } | Output::Tell(_) => asked.push(output),
                Output::Bind { .. }
                | Output::Unbind { .. }
                | Output::UnbindStrays { .. }
                | Output::Reset { .. }
                | Output::CountConnections { .. }
                | Output::DropSyns { .. }
                | Output::AcceptSyns { .. }
                | Output::Tickle { .. }
                | Output::Advertise { .. }
                | Output::Announce { .. } => outcomes.extend(self.pretend(&output, now)),
            }
        }
        outcomes.extend(actuator.carry_out(asked));
        outcomes
    }

    /// What would have come of it, on a host that does what it is told.
    fn pretend(&mut self, output: &Output, now: Instant) -> Option<Outcome> {
        Some(match *output {
            Output::Bind { vip, .. } => {
                self.would(vip, true, now);
                Outcome::Bound { vip, at: now }
            }
            Output::Unbind { vip } => {
                self.would(vip, false, now);
                Outcome::Unbound { vip, removed: 1, at: now }
            }
            Output::UnbindStrays { vip, .. } => Outcome::StraysRemoved { vip, removed: 0 },
            Output::CountConnections { vip } => Outcome::Connections { vip, count: Some(0) },
            Output::DropSyns { vip, .. } => Outcome::SynsDropped { vip, works: true },
            Output::Announce { vip, .. } => Outcome::Announced { vip },
            Output::Tickle { vip, .. } => Outcome::Tickled { vip, sent: 0, failed: 0, total: 0 },
            // Nothing is counted that was not sent.
            _ => return None,
        })
    }

    fn would(&mut self, VipId(vip): VipId, here: bool, now: Instant) {
        if let Some((settings, witness)) = self.vips.get_mut(vip) {
            say(settings, witness.would(here, now));
        }
    }

    /// An address of this host has come or gone. Returns whether it is a VIP's, and so not for the node, which has its own idea of
    /// where that is.
    pub(crate) fn sees(&mut self, address: &Address, here: bool) -> bool {
        let now = clock::now();
        let mut is_vips = false;
        for (settings, witness) in self.vips.iter_mut().filter(|(vip, _)| vip.has(address.address)) {
            is_vips = true;
            say(settings, witness.sees((address.link, address.address, address.prefix_len), here, now));
        }
        is_vips
    }

    /// All addresses of this host: returns those that are the node's business.
    pub(crate) fn sees_all(&mut self, addresses: Vec<Address>) -> Vec<Address> {
        let now = clock::now();
        for (settings, witness) in &mut self.vips {
            let here = addresses.iter().filter(|address| settings.has(address.address));
            let places = here.map(|address| (address.link, address.address, address.prefix_len)).collect();
            say(settings, witness.sees_all(places, now));
        }
        let vips = &self.vips;
        addresses.into_iter().filter(|address| !vips.iter().any(|(vip, _)| vip.has(address.address))).collect()
    }

    /// Whoever advertises a VIP that follows the primary is its present holder, and no rival of a node that would only hold it.
    pub(crate) fn hears(&mut self, interface: InterfaceId, advert: &Advert) -> bool {
        let now = clock::now();
        let is = |vip: &VipSettings| {
            vip.follows == Follows::Primary && vip.interface == interface && vip.virtual_router_id == advert.vrid
        };
        let mut is_ours = false;
        for (_, witness) in self.vips.iter_mut().filter(|(vip, _)| is(vip)) {
            is_ours = true;
            witness.hears(advert.source, advert.priority, now);
        }
        is_ours
    }

    /// The same of whoever claims its address.
    pub(crate) fn is_claimed(&self, interface: InterfaceId, address: IpAddr) -> bool {
        let is = |vip: &VipSettings| vip.follows == Follows::Primary && vip.interface == interface && vip.has(address);
        self.vips.iter().any(|(vip, _)| is(vip))
    }

    /// Says in a picture what is real and what is not.
    pub(crate) fn correct(&self, picture: &mut Status, now: Instant) {
        picture.observing = true;
        for vip in &mut picture.vips {
            // It neither is nor was here by our doing.
            vip.held = false;
            vip.moves.clear();
            (vip.counters.gained, vip.counters.lost) = (0, 0);
            vip.observed = self.vips.get(vip.id.0).map(|(_, witness)| witness.status(now));
        }
    }
}

fn say(vip: &VipSettings, line: Option<String>) {
    if let Some(line) = line {
        info!(vip = vip.name, event = "difference", "{} {line}", vip.name);
    }
}

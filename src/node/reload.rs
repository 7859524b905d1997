//! Another configuration at run time: what is not mentioned in it differently goes on as it is, with its timers, its state and
//! its address.
//!
//! A VIP keeps its [`VipId`] as long as it is the same one in the same place: its list of addresses, its router's settings and
//! the policy change under way. One that comes to be another (another interface, say) is retired, and begins anew under
//! another number when nothing of the retired one is left: an address is never bound by one right while it is still here by
//! another, and the way from one to the next goes through the lock in etcd as any other.

use vrrp::time::Instant;

use super::io::{Level, Notice, Output};
use super::kernel_view::is_short_lived;
use super::settings::{Follows, Settings, VipSettings};
use super::status::ConfigStatus;
use super::{Node, VipId};
use crate::gate::guard::{Guard, stands};

/// What became of the configurations.
#[derive(Debug)]
pub(super) struct Reloads {
    /// When the one in force came to be so.
    taken: Instant,
    reloads: u64,
    refused: u64,
    /// Why the last one was refused, if none was taken since, and when.
    why: Option<(Instant, String)>,
    /// VIPs that are to begin when what has their addresses, or their place, has gone.
    waiting: Vec<(VipId, VipSettings)>,
}

impl Reloads {
    pub(super) fn new(now: Instant) -> Self {
        Self { taken: now, reloads: 0, refused: 0, why: None, waiting: Vec::new() }
    }

    pub(super) fn status(&self, now: Instant) -> ConfigStatus {
        ConfigStatus {
            age: now.since(self.taken),
            reloads: self.reloads,
            refused: self.refused,
            refusal: self.why.as_ref().map(|(_, why)| why.clone()),
            refusal_age: self.why.as_ref().map(|(at, _)| now.since(*at)),
        }
    }
}

impl Node {
    /// Takes another configuration, of the same node in the same cluster.
    pub(super) fn reload(&mut self, now: Instant, settings: Settings) {
        self.policy = settings.policy;
        let all = settings.vips.iter().flat_map(|vip| vip.present_and_former().map(ipnet::IpNet::addr));
        self.kernel.reconfigure(&settings.interfaces, all);
        self.reloads.waiting.clear();
        for (id, vip) in settings.vips.into_iter().enumerate() {
            let id = VipId(id);
            if let Some(known) = self.vips.iter_mut().find(|known| known.id == id) {
                known.reconfigure(now, vip);
            } else if let Some(known) = self.elections.iter_mut().find(|known| known.id == id) {
                if let Follows::None(rules) = vip.follows.clone() {
                    known.reconfigure(now, vip, rules);
                }
            } else if !vip.retired {
                // What was kept away by hand stays away, wherever it is to be from now on.
                let drained = vip.drained || self.is_drained(&vip.name);
                self.reloads.waiting.push((id, VipSettings { drained, ..vip }));
            }
        }
        self.touch_elections();
        // Whoever is new wants to know what is in etcd now.
        self.round.again = true;
        (self.reloads.taken, self.reloads.why) = (now, None);
        self.reloads.reloads += 1;
    }

    /// The configuration stays as it is.
    pub(super) fn refuse_reload(&mut self, now: Instant, why: String, out: &mut Vec<Output>) {
        let text = format!("the configuration stays as it was: {why}");
        out.push(Output::Tell(Notice { level: Level::Warning, vip: None, text, mark: None }));
        self.reloads.refused += 1;
        self.reloads.why = Some((now, why));
    }

    /// Forgets what has retired, and begins what has waited for that.
    pub(super) fn retire_and_begin(&mut self, now: Instant) {
        self.vips.retain(|vip| !vip.has_retired(&self.kernel));
        self.elections.retain(|election| !election.has_retired(&self.kernel));
        for (id, vip) in std::mem::take(&mut self.reloads.waiting) {
            if self.is_in_the_way(&vip) {
                self.reloads.waiting.push((id, vip));
            } else {
                self.begin(now, id, vip);
            }
        }
    }

    /// Whether a VIP that has not gone yet has an address of this one, or is its virtual router.
    fn is_in_the_way(&self, vip: &VipSettings) -> bool {
        let vips = self.vips.iter().map(|known| &known.settings);
        let elections = self.elections.iter().map(|known| &known.settings);
        vips.chain(elections).filter(|_| stands(Guard::Anew)).any(|known| {
            let router = (known.interface, known.virtual_router_id) == (vip.interface, vip.virtual_router_id);
            let shares = known.present_and_former().any(|net| vip.has(net.addr()));
            shares || (router && known.retired)
        })
    }

    /// Whether an address that a predecessor left is one of a VIP's that has not begun, so that nobody looks after it yet.
    pub(super) fn waits_for_leftover(&self) -> bool {
        let places = |vip| self.kernel.places(vip).map(|(place, _)| place);
        self.reloads.waiting.iter().any(|(_, vip)| places(vip).any(is_short_lived))
    }

    fn is_drained(&self, name: &str) -> bool {
        let vips = self.vips.iter().map(|vip| (&vip.settings.name, vip.drained));
        let elections = self.elections.iter().map(|election| (&election.settings.name, election.drained));
        vips.chain(elections).any(|(known, drained)| drained && known == name)
    }

    /// Whether something of the former configuration is still on its way out.
    pub fn is_retiring(&self) -> bool {
        let vips = self.vips.iter().map(|vip| vip.settings.retired);
        vips.chain(self.elections.iter().map(|election| election.settings.retired)).any(|retired| retired)
    }
}

//! The operator changes the configuration while the daemons run: node by node, in any order, now and then not everywhere or
//! without telling the daemon, and sometimes back again.
//!
//! What P1 is promised for he keeps to (README, "Another configuration"): an address that is to be fenced by another lock is
//! taken out first, and put in again when it is nowhere any more.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use ipnet::IpNet;
use pgvrrp::gate::policy::{Failsafe, Fence, ForeignActive, Paused, Policy, PostgresDown};
use pgvrrp::node::io::{Input, Output};
use pgvrrp::node::{Follows, Identity, InterfaceId, Settings, VipSettings, lock_address};
use vrrp::router::ChecksumPolicy;
use vrrp::types::{Interval, Vrid};

use super::checks::DRAIN;
use super::clock::{MS, Nanos, S};
use super::kernel::VIP;
use super::plan::{Fault, Plan};
use super::world::World;

/// How long it may take until an address that a node does not have any more is gone: a daemon that does not run, or a kernel
/// that does not obey, leaves it to its lifetime.
const FORMER_GOES: Nanos = 5_600 * MS;

/// A VIP that may be configured: its name, the addresses that it may have, smallest first, and its usual virtual router.
type Choice = (&'static str, &'static [u8], u8);

const CHOICES: [Choice; 3] =
    [("first", &[155, 156, 157], 155), ("second", &[160, 161, 162], 60), ("third", &[165], 65)];

/// What is in a node's configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) vips: Vec<VipSettings>,
    pub(crate) policy: Policy,
}

impl File {
    /// One VIP, and where the operator has more in mind, perhaps another.
    pub(crate) fn first(plan: &Plan) -> Self {
        let mut vips = vec![vip(CHOICES[0], &[VIP.octets()[3]])];
        if plan.two_vips {
            vips.push(vip(CHOICES[1], &[160, 161]));
        }
        Self { vips, policy: plan.policy }
    }

    /// What a daemon that starts by it is told.
    pub(crate) fn settings(&self, me: Identity, plan: &Plan) -> Settings {
        let all = ["eth0".to_owned(), "eth1".to_owned()];
        let interfaces = if plan.reloads.is_empty() { all[..1].to_vec() } else { all.to_vec() };
        Settings { me, interfaces, policy: self.policy, vips: self.vips.clone() }
    }

    /// Each of its addresses, and what fences it.
    fn fences(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        self.vips.iter().flat_map(fences)
    }
}

fn address(last: u8) -> Ipv4Addr {
    let [a, b, c, _] = VIP.octets();
    Ipv4Addr::new(a, b, c, last)
}

fn net(last: u8) -> IpNet {
    IpNet::from(IpAddr::V4(address(last)))
}

fn vip((name, _, router): Choice, addresses: &[u8]) -> VipSettings {
    VipSettings {
        name: name.to_owned(),
        addresses: addresses.iter().map(|last| net(*last)).collect(),
        virtual_router_id: Vrid::new(router).expect("not 0"),
        interface: InterfaceId(0),
        virtual_mac: None,
        interval: Interval::DEFAULT,
        checksum: ChecksumPolicy::Auto,
        unicast_peers: Vec::new(),
        follows: Follows::Primary,
        drained: false,
        former: Vec::new(),
        retired: false,
    }
}

/// The addresses of a VIP, and what fences them.
fn fences(vip: &VipSettings) -> impl Iterator<Item = (IpAddr, IpAddr)> {
    let lock = lock_address(&vip.addresses);
    vip.addresses.iter().filter_map(move |net| lock.map(|lock| (net.addr(), lock)))
}

impl World {
    /// One change after the other until the trouble is over.
    pub(crate) fn operate(&mut self) {
        if self.plan.reloads.is_empty() {
            return;
        }
        let wait = self.dice.below(2 * self.plan.reload_gap);
        self.after(wait, |w| {
            if w.now < w.plan.trouble {
                let kind = *w.dice.pick(&w.plan.reloads.clone());
                w.change(kind);
                w.operate();
            }
        });
    }

    /// Decides on another configuration, if this kind of change makes one.
    fn decide(&mut self, kind: Fault) -> Option<File> {
        let mut next = self.wanted.clone();
        match kind {
            Fault::RolledBack => next = self.wanted_before.clone(),
            Fault::PolicyChanged => self.change_policy(&mut next.policy),
            Fault::VipAdded => self.add_vip(&mut next.vips),
            _ => self.change_vip(kind, &mut next.vips),
        }
        if next == self.wanted {
            return None;
        }
        self.say("FAULT", || format!("{kind:?}: {}", shown(&next)));
        self.wanted_before = std::mem::replace(&mut self.wanted, next.clone());
        Some(next)
    }

    /// Another configuration, on every node at once.
    pub(crate) fn change_everywhere(&mut self, kind: Fault) {
        let Some(next) = self.decide(kind) else { return };
        for h in 0..self.hosts.len() {
            self.hosts[h].edition += 1;
            let edition = self.hosts[h].edition;
            self.write(h, kind, next.clone(), true, edition);
        }
    }

    /// Decides on another configuration and carries it from node to node.
    pub(crate) fn change(&mut self, kind: Fault) {
        let Some(next) = self.decide(kind) else { return };
        // Now and then everywhere at once, while the VIPs are on their way from one node to another.
        let meanwhile = self.dice.chance(200_000);
        if meanwhile {
            self.befall(Fault::Switchover, 0, 0);
        }
        for h in 0..self.hosts.len() {
            if self.dice.chance(100_000) {
                // Forgotten, until something else is changed.
                continue;
            }
            let delay = self.dice.stretch(MS, if meanwhile { 300 * MS } else { 40 * S }).min(self.left());
            let told = self.dice.chance(900_000);
            let next = next.clone();
            self.hosts[h].edition += 1;
            let edition = self.hosts[h].edition;
            self.after(delay, move |w| w.write(h, kind, next, told, edition));
        }
    }

    fn change_policy(&mut self, policy: &mut Policy) {
        match self.dice.below(4) {
            // With K as the fence the configuration refuses anything else.
            0 if policy.fence == Fence::Lock => {
                policy.postgres_down = match policy.postgres_down {
                    PostgresDown::Hold => PostgresDown::Release,
                    PostgresDown::Release => PostgresDown::Hold,
                }
            }
            1 => {
                policy.paused = match policy.paused {
                    Paused::Hold => Paused::Release,
                    Paused::Release => Paused::Hold,
                }
            }
            2 => {
                policy.failsafe = match policy.failsafe {
                    Failsafe::Auto => Failsafe::Drop,
                    Failsafe::Drop => Failsafe::Auto,
                }
            }
            _ => {
                policy.foreign_active = match policy.foreign_active {
                    ForeignActive::AdvertiseFirst => ForeignActive::BindAtOnce,
                    ForeignActive::BindAtOnce => ForeignActive::AdvertiseFirst,
                }
            }
        }
    }

    fn add_vip(&mut self, vips: &mut Vec<VipSettings>) {
        let missing: Vec<_> = CHOICES.iter().filter(|choice| vips.iter().all(|vip| vip.name != choice.0)).collect();
        if missing.is_empty() {
            return;
        }
        let choice = **self.dice.pick(&missing);
        let count = 1 + self.dice.below(2).min(choice.1.len() as u64 - 1) as usize;
        vips.push(vip(choice, &choice.1[..count]));
    }

    fn change_vip(&mut self, kind: Fault, vips: &mut Vec<VipSettings>) {
        let at = self.dice.below(vips.len() as u64) as usize;
        let alone = vips.len() == 1;
        let Some(vip) = vips.get_mut(at) else { return };
        let Some(choice) = CHOICES.iter().find(|choice| choice.0 == vip.name) else { return };
        let lock = lock_address(&vip.addresses);
        match kind {
            Fault::AddressAdded => {
                let larger = choice.1.iter().filter(|last| Some(IpAddr::V4(address(**last))) > lock);
                let new: Vec<_> = larger.filter(|last| !vip.has(address(**last).into())).collect();
                if !new.is_empty() {
                    let new = net(**self.dice.pick(&new));
                    vip.addresses.push(new);
                }
            }
            Fault::AddressTakenOut if vip.addresses.len() > 1 => {
                let others: Vec<_> = vip.addresses.iter().copied().filter(|net| Some(net.addr()) != lock).collect();
                let gone = *self.dice.pick(&others);
                vip.addresses.retain(|net| *net != gone);
            }
            // The smallest goes, or a smaller one comes back.
            Fault::LockRenamed => {
                let smaller = choice.1.iter().find(|last| Some(IpAddr::V4(address(**last))) < lock);
                match smaller {
                    Some(last) => vip.addresses.push(net(*last)),
                    None if vip.addresses.len() > 1 => vip.addresses.retain(|net| Some(net.addr()) != lock),
                    None => {}
                }
            }
            Fault::VipTakenOut if !alone => {
                vips.remove(at);
            }
            Fault::RouterChanged => {
                let other = if vip.virtual_router_id.get() == choice.2 { choice.2 + 10 } else { choice.2 };
                vip.virtual_router_id = Vrid::new(other).expect("not 0");
            }
            Fault::PlaceChanged => vip.interface = InterfaceId(1 - vip.interface.0),
            _ => {}
        }
    }

    /// Puts a configuration on a node, as far as it may be there by now, and the rest when it may.
    fn write(&mut self, h: usize, kind: Fault, next: File, told: bool, edition: u64) {
        if self.hosts[h].edition != edition {
            return;
        }
        let mut now = next.clone();
        now.vips.retain(|vip| !self.is_fenced_otherwise(h, vip));
        let whole = now == next;
        if !whole {
            self.count("an address is taken out first: it is to have another lock");
        }
        if self.now >= self.plan.trouble && self.hosts[h].file != now {
            self.healed = self.now;
        }
        self.who(h, || format!("its file is now {}", shown(&now)));
        self.hosts[h].file = now;
        if told {
            self.reload(h, kind);
        }
        if !whole {
            self.after(S, move |w| w.write(h, kind, next, told, edition));
        }
    }

    /// Whether another node has one of these addresses, or may still bind it, by another lock.
    fn is_fenced_otherwise(&self, h: usize, vip: &VipSettings) -> bool {
        let fences: Vec<_> = fences(vip).collect();
        let differs = |(address, lock): (IpAddr, IpAddr)| fences.iter().any(|(a, l)| *a == address && *l != lock);
        let others = self.hosts.iter().enumerate().filter(|(o, _)| *o != h);
        others.map(|(_, host)| host).any(|host| {
            let bound = host.kernel.vips().filter_map(|bound| bound.right.map(|right| (bound.address, right)));
            let runs = host.process.iter().flat_map(|_| host.in_force.vips.iter().chain(&host.settings.vips));
            let known = runs.filter(|vip| !vip.retired).flat_map(self::fences);
            host.file.fences().chain(known).chain(bound).any(differs)
        })
    }

    /// `pgvrrp reload`: a thread of its own reads the file, tells the askers, and then the node.
    fn reload(&mut self, h: usize, kind: Fault) {
        let host = &mut self.hosts[h];
        if host.process.is_none() {
            return;
        }
        if host.stopped_until > self.now && host.stopped_whole {
            let (life, until) = (host.life, host.stopped_until);
            return self.at(until, move |w| {
                if w.hosts[h].life == life {
                    w.reload(h, kind);
                }
            });
        }
        let File { vips, policy } = host.file.clone();
        let next = host.settings.reloaded(host.settings.interfaces.clone(), policy, vips);
        if next == *host.settings {
            return;
        }
        host.adopt(next);
        let settings = host.settings.clone();
        host.inbox.reloads.push_back(settings);
        self.wake(h);
        self.befallen(kind);
        self.disturb(h);
    }

    /// Now and then the daemon does not get far with it.
    fn disturb(&mut self, h: usize) {
        // With K as the only fence a daemon that does not run is promised nothing.
        if self.plan.policy.fence != Fence::Lock || self.now >= self.plan.trouble {
            return;
        }
        let soon = self.dice.stretch(1000, 3 * S).min(self.left());
        match self.dice.below(10) {
            0 => self.after(soon, move |w| w.befall(Fault::Killed, h, 2 * S)),
            1 => {
                let span = self.dice.stretch(100 * MS, 30 * S).min(self.left());
                self.hosts[h].pause_in = Some((self.dice.below(20) as u32, span));
            }
            2 => self.after(soon, move |w| w.befall(Fault::HandedOver, h, 0)),
            3 => self.after(soon, |w| w.befall(Fault::Switchover, 0, 0)),
            _ => {}
        }
    }

    /// All nodes have the newest configuration in the end.
    pub(crate) fn settle_configuration(&mut self) {
        if self.plan.reloads.is_empty() {
            return;
        }
        for h in 0..self.hosts.len() {
            self.hosts[h].edition += 1;
            let (next, edition) = (self.wanted.clone(), self.hosts[h].edition);
            self.write(h, Fault::RolledBack, next, true, edition);
        }
    }

    /// A node takes another configuration: what of it is as before does not notice.
    pub(crate) fn check_reload(&mut self, h: usize, before: &Settings, after: &Settings, outputs: &[Output]) {
        let stalled = |output: &Output| matches!(output, Output::Tell(notice) if notice.text.starts_with("the daemon did not run"));
        if before.policy != after.policy || outputs.iter().any(stalled) {
            return;
        }
        // What is to go since an earlier one, and did not, is tried again.
        let same = |output: &&Output| {
            let id = output.vip().map(|vip| vip.0);
            let vip = id.and_then(|id| before.vips.get(id).filter(|vip| after.vips.get(id) == Some(vip)));
            vip.is_some_and(|vip| !vip.retired && vip.former.is_empty())
        };
        let touches = |output: &&Output| {
            matches!(
                output,
                Output::Bind { .. }
                    | Output::Unbind { .. }
                    | Output::UnbindStrays { .. }
                    | Output::Reset { .. }
                    | Output::DropSyns { .. }
                    | Output::Announce { .. }
                    | Output::Advertise { .. }
            )
        };
        // What somebody else put beside it goes in every pass.
        let looks_after = |output: &&Output| {
            let Output::UnbindStrays { vip, .. } = output else { return false };
            let strays = || self.hosts[h].kernel.vips().filter(|bound| bound.foreign);
            after.vips.get(vip.0).is_some_and(|vip| strays().any(|bound| vip.has(bound.address)))
        };
        let by_it = |output: &&Output| touches(output) && !looks_after(output);
        if let Some(output) = outputs.iter().filter(same).find(by_it) {
            let how = format!("{output:?} by a reload in which nothing of that VIP has changed");
            self.fail(h, "R", &how);
        }
    }

    /// Notes in which state a node takes one.
    pub(crate) fn note_reload(&mut self, h: usize, input: &Input, phase: &str) {
        let Input::Reload(settings) = input else { return };
        self.count(match phase {
            "active" => "reloads while active",
            "draining" => "reloads while draining",
            "releasing" => "reloads while releasing",
            "armed" => "reloads while armed",
            "adopting" => "reloads while adopting",
            "displacing" => "reloads while displacing",
            _ => "reloads while closed",
        });
        let idle = self.idle(h);
        let host = &mut self.hosts[h];
        let known = |net: &IpNet| host.in_force.vips.iter().any(|vip| vip.has(net.addr()));
        let knew = |vip: &VipSettings| vip.addresses.iter().all(known);
        if host.in_force.policy != settings.policy || !settings.vips.iter().all(knew) {
            host.told_since = (self.now, idle);
        }
        host.in_force = Rc::new(Settings::clone(settings));
    }

    /// What a node's configuration does not have any more goes.
    pub(crate) fn audit_former(&mut self, h: usize) {
        let (now, idle) = (self.now, self.idle(h));
        let host = &mut self.hosts[h];
        let configured = |address: IpAddr| host.in_force.vips.iter().any(|vip| !vip.retired && vip.has(address));
        let former: Vec<_> =
            host.kernel.held(now).map(|bound| bound.address).filter(|address| !configured(*address)).collect();
        // By a daemon that knows of it and runs, at once.
        let known: Vec<_> = host.known_held(now).map(|bound| bound.address).collect();
        host.former_since.retain(|address, _| former.contains(address));
        for address in former {
            let (since, idle_then) = *host.former_since.entry(address).or_insert((now, idle));
            let ran = (now - since) - (idle - idle_then).min(now - since);
            let refused = host.unbind_refused.is_some_and(|at| at >= since);
            let stays = known.contains(&address) && host.process.is_some() && !refused && ran > DRAIN;
            if stays || (now > since + FORMER_GOES && now > host.suspended_until + FORMER_GOES) {
                let how = format!("{address} has not been configured for {} ms, and is still here", (now - since) / MS);
                return self.fail(h, "R", &how);
            }
        }
    }
}

fn shown(file: &File) -> String {
    let vip = |vip: &VipSettings| {
        let addresses: Vec<_> = vip.addresses.iter().map(|net| net.addr().to_string()).collect();
        format!("{} {addresses:?} router {} on {}", vip.name, vip.virtual_router_id.get(), vip.interface.0)
    };
    let vips: Vec<_> = file.vips.iter().map(vip).collect();
    format!("{vips:?}, {:?}", file.policy)
}

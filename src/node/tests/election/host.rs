//! A host for one node with elections: links, addresses that end with their lifetime, and outcomes that are as wished.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use vrrp::router::{ChecksumPolicy, Preempt};
use vrrp::time::Instant;
use vrrp::types::{Interval, Priority, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

use crate::gate::evidence::VipId;
use crate::gate::policy::Policy;
use crate::node::io::{Address, Input, Link, Outcome, Output};
use crate::node::status::{MoveKind, VipStatus};
use crate::node::tests::world::{deed, me};
use crate::node::{Family, Follows, InterfaceId, Node, Rules, Settings, VipSettings};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const START: Instant = Instant::from_millis(1_000_000);
pub(super) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 200);
pub(super) const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 11);
pub(super) const ETH0: InterfaceId = InterfaceId(0);
pub(super) const ETH1: InterfaceId = InterfaceId(1);

/// Active_Down_Interval of priority 100: 3 s and 156/256 s.
pub(super) const DOWN: Duration = Duration::from_nanos(3_609_375_000);
/// Skew_Time of priority 100.
pub(super) const SKEW: Duration = Duration::from_nanos(609_375_000);

/// A router on the segment.
pub(super) fn router(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 20, number).into()
}

/// The same over IPv6.
pub(super) fn router6(number: u16) -> IpAddr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number).into()
}

pub(in crate::node::tests) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// What another says of the VIP.
pub(super) fn advert(source: IpAddr, priority: u8) -> Advert {
    Advert {
        source,
        destination: Ipv4Addr::new(224, 0, 0, 18).into(),
        vrid: Vrid::new(20).unwrap(),
        priority,
        interval: Interval::DEFAULT,
        addresses: vec![VIP.into()],
        checksum: ChecksumForm::Rfc9568,
    }
}

/// An election of priority 100 for [`VIP`].
pub(in crate::node::tests) fn vip() -> VipSettings {
    VipSettings {
        name: "odoo".to_owned(),
        addresses: vec![net("10.0.20.200/32")],
        virtual_router_id: Vrid::new(20).unwrap(),
        interface: ETH0,
        interval: Interval::DEFAULT,
        checksum: ChecksumPolicy::Rfc9568,
        unicast_peers: Vec::new(),
        follows: Follows::None(Rules {
            priority: Priority::new(100).unwrap(),
            preempt: Preempt::AT_ONCE,
            track: Vec::new(),
        }),
        virtual_mac: None,
        drained: false,
        former: Vec::new(),
        retired: false,
    }
}

/// The rules of such a VIP, to be changed.
pub(in crate::node::tests) fn rules(vip: &mut VipSettings) -> &mut Rules {
    match &mut vip.follows {
        Follows::None(rules) => rules,
        Follows::Primary => panic!("it follows the primary"),
    }
}

/// What the host's kernel answers to a bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node::tests) enum Binding {
    Done,
    Refused,
    /// Too late to have been asked.
    Skipped,
    /// Done, found to be too late, and undone.
    Undone,
}

/// One host.
#[derive(Debug)]
pub(in crate::node::tests) struct Host {
    pub(in crate::node::tests) node: Node,
    pub(in crate::node::tests) settings: Settings,
    pub(in crate::node::tests) now: Instant,
    /// What the node wanted, and when.
    pub(in crate::node::tests) log: Vec<(Instant, Output)>,
    pub(in crate::node::tests) links: Vec<Option<Link>>,
    /// Each with the time at which it was last given its lifetime.
    pub(in crate::node::tests) addresses: Vec<(Address, Instant)>,
    /// What the kernel has to say of what was done: read when that is over.
    notices: Vec<Input>,
    pub(in crate::node::tests) binding: Binding,
    pub(in crate::node::tests) unbind_fails: bool,
    pub(in crate::node::tests) announce_fails: bool,
}

impl Host {
    /// A node with one election.
    pub(in crate::node::tests) fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same with another VIP.
    pub(in crate::node::tests) fn with(change: impl FnOnce(&mut VipSettings)) -> Self {
        let mut vip = vip();
        change(&mut vip);
        Self::of(vec![vip])
    }

    pub(in crate::node::tests) fn of(vips: Vec<VipSettings>) -> Self {
        let mut host = Self::before(vips, START);
        host.begin();
        host
    }

    /// A host whose daemon has not begun.
    pub(in crate::node::tests) fn before(vips: Vec<VipSettings>, now: Instant) -> Self {
        Self::at((ME, router6(11)), vips, now)
    }

    /// One that has these addresses on `eth0`.
    pub(in crate::node::tests) fn at((v4, v6): (Ipv4Addr, IpAddr), vips: Vec<VipSettings>, now: Instant) -> Self {
        let interfaces = vec!["eth0".to_owned(), "eth1".to_owned()];
        let settings = Settings { me: me(), interfaces, policy: Policy::default(), vips };
        let own = [own(2, v4.into()), own(2, v6), own(3, Ipv4Addr::new(10, 0, 30, 11).into())];
        Self {
            node: Node::new(settings.clone(), now),
            settings,
            now,
            log: Vec::new(),
            links: vec![Some(up(2)), Some(up(3))],
            notices: Vec::new(),
            addresses: own.map(|own| (own, now)).to_vec(),
            binding: Binding::Done,
            unbind_fails: false,
            announce_fails: false,
        }
    }

    /// The daemon reads what the host has.
    pub(in crate::node::tests) fn begin(&mut self) {
        for interface in 0..self.links.len() {
            self.give(Input::Link { interface: InterfaceId(interface), link: self.links[interface] });
        }
        self.give(Input::Addresses(self.addresses.iter().map(|(address, _)| *address).collect()));
    }

    /// A node that has become Active, calmly and between two beats.
    pub(in crate::node::tests) fn active() -> Self {
        Self::active_with(|_| {})
    }

    pub(in crate::node::tests) fn active_with(change: impl FnOnce(&mut VipSettings)) -> Self {
        let mut host = Self::with(change);
        host.run(45 * SECOND);
        assert!(host.is_bound(), "{}", host.why());
        host.run(SECOND / 10);
        host.log.clear();
        host
    }

    // ---- What a test does ---------------------------------------------------------------------------------------

    /// Lets time pass, by the node's own deadlines.
    pub(in crate::node::tests) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        let mut steps = 0;
        while self.node.deadline() <= end {
            steps += 1;
            assert!(steps < 100_000, "the node's deadline does not move: {}", self.why());
            self.now = self.now.max(self.node.deadline());
            self.give(Input::Timer);
        }
        self.now = end;
    }

    /// The process is stopped: time passes for the kernel alone, and its notifications wait.
    pub(in crate::node::tests) fn freeze(&mut self, span: Duration) {
        self.now += span;
        let gone = self.expire();
        gone.into_iter().for_each(|gone| self.give(Input::AddressRemoved(gone)));
    }

    /// The kernel removes what has reached the end of its lifetime.
    pub(in crate::node::tests) fn expire(&mut self) -> Vec<Address> {
        let now = self.now;
        let lives = |(address, since): &(Address, Instant)| {
            address.lifetime.is_none_or(|lifetime| now < *since + Duration::from_secs(lifetime.into()))
        };
        let (left, gone): (Vec<_>, Vec<_>) = self.addresses.iter().copied().partition(lives);
        self.addresses = left;
        gone.into_iter().map(|(address, _)| address).collect()
    }

    pub(in crate::node::tests) fn hear(&mut self, advert: Advert) {
        self.give(Input::Advert { interface: ETH0, advert });
    }

    /// An interface changes.
    pub(in crate::node::tests) fn link(&mut self, interface: InterfaceId, link: Option<Link>) {
        self.links[interface.0] = link;
        self.give(Input::Link { interface, link });
    }

    /// Somebody else adds or replaces an address.
    pub(in crate::node::tests) fn add(&mut self, address: Address) {
        self.addresses.retain(|(known, _)| (known.link, known.address) != (address.link, address.address));
        self.addresses.push((address, self.now));
        self.give(Input::AddressAdded(address));
    }

    /// Somebody else removes one, from wherever it is.
    pub(in crate::node::tests) fn delete(&mut self, address: IpAddr) {
        let is = |(known, _): &(Address, Instant)| known.address == address;
        let (gone, left): (Vec<_>, Vec<_>) = self.addresses.iter().copied().partition(is);
        self.addresses = left;
        gone.into_iter().for_each(|(gone, _)| self.give(Input::AddressRemoved(gone)));
    }

    pub(in crate::node::tests) fn drain(&mut self, drained: bool) {
        self.give(Input::Drain { vip: VipId(0), drained });
    }

    /// Gives one input, the outcomes of what comes of it, and the kernel's notifications of that.
    pub(in crate::node::tests) fn give(&mut self, input: Input) {
        self.pass(input);
        let mut passes = 0;
        while !self.notices.is_empty() {
            passes += 1;
            assert!(passes < 2000, "no end of what the kernel has to say: {}", self.why());
            let notice = self.notices.remove(0);
            self.pass(notice);
        }
    }

    fn pass(&mut self, input: Input) {
        let mut next = Some(input);
        let mut steps = 0;
        while let Some(input) = next.take() {
            steps += 1;
            assert!(steps < 20, "no end of what one input leads to: {}", self.why());
            let outputs = self.node.handle(self.now, input);
            let is_announcement = |output: &Output| matches!(output, Output::Announce { .. });
            assert!(outputs.is_sorted_by_key(is_announcement), "an advert waits for announcements: {outputs:?}");
            let mut outcomes = Vec::new();
            let mut failed = Vec::new();
            for output in outputs {
                if output.vip().is_some_and(|vip| failed.contains(&vip)) {
                    continue;
                }
                self.log.push((self.now, output.clone()));
                let Some(outcome) = self.carry_out(output) else { continue };
                if matches!(outcome, Outcome::BindRefused { .. } | Outcome::UnbindFailed { .. } | Outcome::Late { .. })
                {
                    failed.push(outcome.vip());
                }
                outcomes.push(outcome);
            }
            next = Some(outcomes).filter(|outcomes| !outcomes.is_empty()).map(Input::Done);
        }
    }

    fn carry_out(&mut self, output: Output) -> Option<Outcome> {
        let at = self.now;
        Some(match output {
            Output::Bind { vip, .. } if self.binding == Binding::Refused => {
                Outcome::BindRefused { vip, error: "no".to_owned() }
            }
            Output::Bind { vip, .. } if self.binding == Binding::Skipped => Outcome::Late { vip, removed: false },
            Output::Bind { vip, .. } if self.binding == Binding::Undone => {
                self.remove(vip, None);
                Outcome::Late { vip, removed: true }
            }
            Output::Bind { vip, link, lifetime, .. } => {
                for net in self.settings.vips[vip.0].addresses.clone() {
                    let lifetime = Some(lifetime.get());
                    let address =
                        Address { link, address: net.addr(), prefix_len: net.prefix_len(), lifetime, tentative: false };
                    self.addresses.retain(|(known, _)| (known.link, known.address) != (link, net.addr()));
                    self.addresses.push((address, at));
                    self.notices.push(Input::AddressAdded(address));
                }
                Outcome::Bound { vip, at }
            }
            Output::Unbind { vip } if self.unbind_fails => Outcome::UnbindFailed { vip, error: "no".to_owned() },
            Output::Unbind { vip } => Outcome::Unbound { vip, removed: self.remove(vip, None), at },
            Output::UnbindStrays { vip, keep } => Outcome::StraysRemoved { vip, removed: self.remove(vip, Some(keep)) },
            Output::Reset { vip, .. } => Outcome::Reset { vip, destroyed: 0 },
            Output::Advertise { vip, .. } => Outcome::Advertised { vip },
            Output::Announce { vip, .. } if self.announce_fails => Outcome::SendFailed { vip, error: "no".to_owned() },
            Output::Announce { vip, .. } => Outcome::Announced { vip },
            Output::Tell(_) => return None,
            Output::CountConnections { .. }
            | Output::DropSyns { .. }
            | Output::AcceptSyns { .. }
            | Output::Tickle { .. }
            | Output::Etcd(_)
            | Output::AskPostgres { .. }
            | Output::AskPatroni { .. } => panic!("an election wants {output:?}"),
        })
    }

    /// Removes a VIP's addresses, but where they belong on the interface `keep`.
    fn remove(&mut self, vip: VipId, keep: Option<u32>) -> usize {
        let nets = &self.settings.vips[vip.0].addresses;
        let stays = |(known, _): &(Address, Instant)| {
            let net = nets.iter().find(|net| net.addr() == known.address);
            net.is_none_or(|net| keep == Some(known.link) && net.prefix_len() == known.prefix_len)
        };
        let (stay, gone): (Vec<_>, Vec<_>) = self.addresses.iter().copied().partition(stays);
        self.addresses = stay;
        self.notices.extend(gone.iter().map(|(gone, _)| Input::AddressRemoved(*gone)));
        gone.len()
    }

    // ---- What a test looks at -----------------------------------------------------------------------------------

    /// Whether all addresses of the first VIP are somewhere.
    pub(in crate::node::tests) fn is_bound(&self) -> bool {
        self.has(0)
    }

    pub(in crate::node::tests) fn has(&self, vip: usize) -> bool {
        self.settings.vips[vip].addresses.iter().all(|net| self.has_address(net.addr()))
    }

    pub(in crate::node::tests) fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(known, _)| known.address == address)
    }

    pub(in crate::node::tests) fn status(&self) -> VipStatus {
        self.status_of(0)
    }

    pub(in crate::node::tests) fn status_of(&self, vip: usize) -> VipStatus {
        self.node.status(self.now).vips.remove(vip)
    }

    pub(in crate::node::tests) fn discards(&self, reason: &str) -> u64 {
        self.node.status(self.now).counters.discards.get(reason).copied().unwrap_or(0)
    }

    pub(in crate::node::tests) fn why(&self) -> String {
        format!("{} ({:?})", self.status().why, self.status().phase)
    }

    /// What was wanted since the log was last cleared, in words.
    pub(in crate::node::tests) fn deeds(&self) -> Vec<&'static str> {
        self.log.iter().map(|(_, output)| deed(output)).filter(|deed| !deed.is_empty()).collect()
    }

    pub(in crate::node::tests) fn count(&self, what: &str) -> usize {
        self.deeds().iter().filter(|deed| **deed == what).count()
    }

    /// When something was wanted.
    pub(in crate::node::tests) fn times(&self, what: &str) -> Vec<Instant> {
        self.log.iter().filter(|(_, output)| deed(output) == what).map(|(at, _)| *at).collect()
    }

    /// The lines for the operator that contain this.
    pub(in crate::node::tests) fn told(&self, words: &str) -> usize {
        let is = |output: &Output| matches!(output, Output::Tell(notice) if notice.text.contains(words));
        self.log.iter().filter(|(_, output)| is(output)).count()
    }

    /// The adverts that were sent: from where, in which form, with which priority.
    pub(in crate::node::tests) fn sent(&self) -> Vec<(IpAddr, ChecksumForm, u8)> {
        let sent = self.log.iter().filter_map(|(_, output)| match output {
            Output::Advertise { source, checksum, priority, .. } => Some((*source, *checksum, *priority)),
            _ => None,
        });
        sent.collect()
    }

    /// How often the VIP came and went.
    pub(in crate::node::tests) fn moves(&self) -> (usize, usize) {
        let moves = self.status().moves;
        let count = |kind| moves.iter().filter(|done| done.kind == kind).count();
        (count(MoveKind::Gained), count(MoveKind::Lost))
    }
}

/// An address of the host's own.
pub(super) fn own(link: u32, address: IpAddr) -> Address {
    let prefix_len = if Family::of(address) == Family::V4 { 24 } else { 64 };
    Address { link, address, prefix_len, lifetime: None, tentative: false }
}

/// A VIP as somebody else puts it, for ever.
pub(super) fn foreign(link: u32, address: IpAddr) -> Address {
    let prefix_len = if Family::of(address) == Family::V4 { 32 } else { 128 };
    Address { link, address, prefix_len, lifetime: None, tentative: false }
}

pub(super) fn up(index: u32) -> Link {
    Link { index, up: true, mtu: 1500, mac: None }
}

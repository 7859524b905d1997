//! A VIP on an interface of its own, above the one on which its peers are heard.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;
use vrrp::router::Preempt;
use vrrp::time::Instant;
use vrrp::types::Priority;

use super::world::{ETH0, ME, VIP, settings};
use crate::gate::evidence::VipId;
use crate::gate::policy::Policy;
use crate::node::io::{Address, Input, Link, Outcome, Output};
use crate::node::kernel_view::KernelView;
use crate::node::{Follows, InterfaceId, Node, Rules, Settings};

const BELOW: InterfaceId = InterfaceId(0);
const OWN: InterfaceId = InterfaceId(1);
const OWN_INDEX: u32 = 7;

fn above() -> Settings {
    let mut settings = settings(Policy::default());
    settings.interfaces.push("vrrp4-155-eth0".to_owned());
    settings.vips[0].virtual_mac = Some(OWN);
    settings
}

fn link(index: u32, up: bool) -> Link {
    Link { index, up, mtu: 1500, mac: None }
}

fn address(link: u32, address: impl Into<IpAddr>, prefix_len: u8, lifetime: Option<u32>) -> Address {
    Address { link, address: address.into(), prefix_len, lifetime, tentative: false }
}

/// A router in an election, when it would take over.
struct Router {
    node: Node,
    now: Instant,
}

impl Router {
    fn new() -> Self {
        let mut settings = above();
        let priority = Priority::new(100).unwrap();
        settings.vips[0].follows = Follows::None(Rules { priority, preempt: Preempt::AT_ONCE, track: Vec::new() });
        let now = Instant::from_millis(1_000_000);
        Self { node: Node::new(settings, now), now }
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        self.node.handle(self.now, input)
    }

    fn link(&mut self, interface: InterfaceId, link: Option<Link>) -> Vec<Output> {
        self.give(Input::Link { interface, link })
    }

    /// Four seconds pass, in which the process runs.
    fn later(&mut self) -> Vec<Output> {
        let steps = (0..8).map(|_| {
            self.now += Duration::from_millis(500);
            self.give(Input::Timer)
        });
        steps.flatten().collect()
    }

    fn why(&self) -> String {
        self.node.status(self.now).vips[0].why.clone()
    }
}

fn bound_at(outputs: &[Output]) -> Option<u32> {
    outputs.iter().find_map(|output| match output {
        Output::Bind { link, .. } => Some(*link),
        _ => None,
    })
}

#[test]
fn it_is_bound_above_and_advertised_from_the_address_below() {
    let mut router = Router::new();
    router.link(BELOW, Some(link(ETH0, true)));
    router.link(OWN, Some(link(OWN_INDEX, true)));
    router.give(Input::Addresses(vec![address(ETH0, ME, 24, None)]));
    let outputs = router.later();
    assert_eq!(bound_at(&outputs), Some(OWN_INDEX), "{outputs:?}");
    assert!(outputs.iter().any(|output| matches!(output, Output::Advertise { source, .. } if *source == ME)));
    let outputs = router.give(Input::Done(vec![Outcome::Bound { vip: VipId(0), at: router.now }]));
    assert!(outputs.iter().all(|output| !matches!(output, Output::Announce { link, .. } if *link != OWN_INDEX)));
    // The same address below is a stray: the kernel would answer for it with the MAC of that interface.
    let outputs = router.give(Input::AddressAdded(address(ETH0, VIP, 32, None)));
    assert!(outputs.iter().any(|output| matches!(output, Output::UnbindStrays { keep: OWN_INDEX, .. })), "{outputs:?}");
}

#[test]
fn it_needs_both_interfaces() {
    let mut router = Router::new();
    router.link(BELOW, Some(link(ETH0, true)));
    router.give(Input::Addresses(vec![address(ETH0, ME, 24, None)]));
    assert_eq!(bound_at(&router.later()), None);
    assert_eq!(router.why(), "there is no interface vrrp4-155-eth0");
    router.link(OWN, Some(link(OWN_INDEX, false)));
    assert_eq!(bound_at(&router.later()), None);
    assert_eq!(router.why(), "interface vrrp4-155-eth0 is down, has no carrier, or cannot be listened on");
    router.link(OWN, Some(link(OWN_INDEX, true)));
    router.link(BELOW, Some(link(ETH0, false)));
    assert_eq!(bound_at(&router.later()), None);
    assert_eq!(router.why(), "interface eth0 is down, has no carrier, or cannot be listened on");
    router.link(BELOW, None);
    assert_eq!(router.why(), "there is no interface eth0");
    router.link(BELOW, Some(link(ETH0, true)));
    assert_eq!(bound_at(&router.later()), Some(OWN_INDEX));
    // It is deleted by somebody: the address went with it, and so does the election.
    let outputs = router.link(OWN, None);
    assert!(outputs.iter().any(|output| matches!(output, Output::Unbind { .. })), "{outputs:?}");
}

/// The same for one that follows the primary: both ask here.
#[test]
fn its_place_is_above() {
    let settings = above();
    let vip = &settings.vips[0];
    let mut kernel = KernelView::new(settings.interfaces.clone(), vip.addresses.iter().map(IpNet::addr));
    kernel.set_link(BELOW, Some(link(ETH0, true)));
    assert_eq!((kernel.place(vip), kernel.missing(vip)), (None, Some(OWN)));
    kernel.set_link(OWN, Some(link(OWN_INDEX, true)));
    assert_eq!(kernel.place(vip).unwrap().index, OWN_INDEX);
    let lifetime = Some(NonZeroU32::MIN.get());
    kernel.take_dump(vec![address(ETH0, ME, 24, None), address(ETH0, VIP, 32, lifetime)]);
    assert!(!kernel.is_in_place(vip) && kernel.has_strays(vip));
    kernel.bound(vip);
    assert!(kernel.is_in_place(vip) && kernel.has_strays(vip));
    kernel.no_strays(vip);
    assert!(kernel.is_in_place(vip) && !kernel.has_strays(vip));
    kernel.set_link(BELOW, None);
    assert_eq!((kernel.place(vip), kernel.missing(vip)), (None, Some(BELOW)));
}

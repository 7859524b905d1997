//! The segment: directed links that lose, delay, reorder and double what they carry, or carry nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use pgvrrp::node::{InterfaceId, VipSettings};
use vrrp::types::{Interval, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

use super::clock::{MS, Nanos, S, US};
use super::kernel::VIP;
use super::world::World;
#[cfg(test)]
use super::{
    dice::Dice,
    plan::{Fault, Plan},
};

/// The virtual router of the VIP.
const VRID: u8 = 155;

/// The interface that it is on.
const FIRST: InterfaceId = InterfaceId(0);

/// Not one of the hosts.
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 99);

/// What goes over the segment.
#[derive(Clone, Debug)]
enum Frame {
    Advert(InterfaceId, Advert),
    /// An ARP claim of an address by this MAC.
    Claim(InterfaceId, IpAddr, [u8; 6]),
}

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
    pub(crate) fn send_advert(
        &mut self,
        from: usize,
        vip: &VipSettings,
        priority: u8,
        source: IpAddr,
        checksum: ChecksumForm,
    ) {
        self.who(from, || format!("~ advert, priority {priority}"));
        let addresses = vip.addresses.iter().map(ipnet::IpNet::addr).collect();
        let advert = Advert { addresses, ..advert(vip.virtual_router_id.get(), priority, source, checksum) };
        if self.dice.chance(self.plan.lan_echo) {
            self.echo(from, Frame::Advert(vip.interface, advert.clone()));
        }
        self.broadcast(from, Frame::Advert(vip.interface, advert));
    }

    /// Gratuitous ARP.
    pub(crate) fn send_claim(&mut self, from: usize, vip: &VipSettings) {
        self.who(from, || "~ announcement".to_owned());
        let claim = Frame::Claim(vip.interface, vip.address(), mac(from));
        if self.dice.chance(self.plan.lan_echo) {
            self.echo(from, claim.clone());
        }
        self.broadcast(from, claim);
    }

    /// A router that is not of our kind.
    pub(crate) fn foreign_router(&mut self, left: u32) {
        let frame = Frame::Advert(FIRST, advert(VRID, 100, STRANGER, ChecksumForm::Rfc5798));
        self.broadcast(self.hosts.len(), frame);
        if left > 0 {
            self.after(1_000 * MS, move |w| w.foreign_router(left - 1));
        }
    }

    /// For a while frames come that nobody of the cluster sent, or that look as if this host had sent them.
    pub(crate) fn strangers(&mut self, h: usize, left: Nanos) {
        let frame = if self.dice.chance(300_000) {
            // The VIP's, by a machine that was given it by mistake.
            Frame::Claim(FIRST, VIP.into(), mac(99))
        } else {
            let source = if self.dice.chance(500_000) { STRANGER } else { self.hosts[h].address };
            let vrid = if self.dice.chance(750_000) { VRID } else { VRID + 1 };
            let checksum = *self.dice.pick(&[ChecksumForm::Rfc5798, ChecksumForm::Rfc9568]);
            Frame::Advert(FIRST, advert(vrid, *self.dice.pick(&[255, 0, 100]), source, checksum))
        };
        self.say("LAN", || format!("~ from a stranger: {frame:?}"));
        self.broadcast(self.hosts.len(), frame);
        let pause = self.dice.stretch(10 * MS, 10 * S);
        if pause < left {
            self.after(pause, move |w| w.strangers(h, left - pause));
        }
    }

    /// A bridge sends back what it was given.
    fn echo(&mut self, h: usize, frame: Frame) {
        self.count("own frames that came back");
        self.deliver(h, frame);
    }

    fn broadcast(&mut self, from: usize, frame: Frame) {
        for to in 0..self.hosts.len() {
            if to == from || self.lan.cut(from, to) || self.dice.chance(self.plan.lan_loss) {
                continue;
            }
            let copies = if self.dice.chance(self.plan.lan_twice) { 2 } else { 1 };
            for _ in 0..copies {
                self.deliver(to, frame.clone());
            }
        }
    }

    fn deliver(&mut self, to: usize, frame: Frame) {
        let way: Nanos = 50 * US + self.dice.below(self.plan.lan_delay);
        self.after(way, move |w| {
            let host = &mut w.hosts[to];
            // A socket that nobody reads drops what comes when it is full.
            let (Frame::Advert(interface, _) | Frame::Claim(interface, ..)) = &frame;
            let link = host.kernel.link || *interface != FIRST;
            if !host.up || !link || !host.life_is_running() || host.inbox.adverts.len() >= 100 {
                return;
            }
            match frame {
                Frame::Advert(interface, advert) => host.inbox.adverts.push_back((interface, advert)),
                // The loop drops what has its own MAC.
                Frame::Claim(_, _, claimant) if claimant == mac(to) => {}
                Frame::Claim(interface, address, claimant) => {
                    host.inbox.claims.push_back((interface, address, claimant));
                }
            }
            w.wake(to);
        });
    }
}

fn mac(of: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, of as u8]
}

fn advert(vrid: u8, priority: u8, source: impl Into<IpAddr>, checksum: ChecksumForm) -> Advert {
    Advert {
        source: source.into(),
        destination: Ipv4Addr::new(224, 0, 0, 18).into(),
        vrid: Vrid::new(vrid).expect("not 0"),
        priority,
        interval: Interval::DEFAULT,
        addresses: vec![VIP.into()],
        checksum,
    }
}

/// P5: who holds the VIP is not up to them.
#[test]
fn strangers_do_not_move_the_vip() {
    for seed in 1..=20 {
        let mut plan = Plan::calm(2);
        plan.lan_echo = 500_000;
        let mut world = World::new(plan, Dice::new(seed), false);
        world.run_until(20 * S);
        world.befall(Fault::Stranger, 0, 600 * S);
        world.strangers(0, 300 * S);
        world.strangers(1, 300 * S);
        world.run_until(600 * S);
        assert_eq!(world.broken, None, "seed {seed}");
        for h in 0..2 {
            let process = world.hosts[h].process.as_ref().expect("it runs");
            let status = process.node.status(world.local(h)).vips.remove(0);
            let moves = (status.counters.gained, status.counters.lost, status.counters.repaired);
            assert_eq!(moves, (u64::from(h == 0), 0, 0), "seed {seed}: {status:?}");
        }
    }
}

//! One host's kernel: addresses with lifetimes that end late.

use std::net::{IpAddr, Ipv4Addr};

use pgvrrp::node::io::Address;
use pgvrrp::node::{VipSettings, lock_address};

use super::clock::{Clock, Nanos, S};

/// The address of the VIP that every world begins with, and what its lock is called after.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 155);
pub(crate) const LO: u32 = 1;
pub(crate) const ETH0: u32 = 2;
pub(crate) const ETH1: u32 = 3;

/// An address on an interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) link: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix_len: u8,
    /// When its lifetime ends.
    pub(crate) ends: Option<Nanos>,
    /// Who put it here is not a pgvrrp.
    pub(crate) foreign: bool,
    /// By right of which lock a pgvrrp put it here.
    pub(crate) right: Option<IpAddr>,
    /// When, and in which life, a daemon last bound it.
    pub(crate) bound_at: Nanos,
    pub(crate) bound_in: u64,
    /// Beyond this it is what design section 5 calls "what remains": bound by a call that began long after the clock
    /// was read. Such an address is never announced; it goes by the process's next instruction, or by its lifetime.
    pub(crate) sound_until: Nanos,
}

/// One kernel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) addresses: Vec<Bound>,
    /// eth0 is there.
    pub(crate) link: bool,
    /// When somebody else last removed the VIP.
    pub(crate) removed_by_others: Option<Nanos>,
}

impl Bound {
    /// One that no daemon bound.
    pub(crate) fn foreign(link: u32, address: Ipv4Addr, prefix_len: u8) -> Self {
        Self {
            link,
            address: address.into(),
            prefix_len,
            ends: None,
            foreign: true,
            right: None,
            bound_at: 0,
            bound_in: 0,
            sound_until: 0,
        }
    }

    /// Bound by a pgvrrp, by a call that counts.
    pub(crate) fn is_held(&self, now: Nanos) -> bool {
        !self.foreign && now <= self.sound_until
    }
}

impl Kernel {
    pub(crate) fn boot(own: Ipv4Addr) -> Self {
        let [a, b, c, d] = own.octets();
        let other = Ipv4Addr::new(a, b, c + 1, d);
        let own = [(ETH0, own), (ETH1, other)].map(|(link, address)| Bound::foreign(link, address, 24));
        Self { addresses: own.into(), link: true, removed_by_others: None }
    }

    /// As a dump shows it.
    pub(crate) fn dump(&self, now: Nanos, clock: &Clock) -> Vec<Address> {
        self.addresses.iter().map(|bound| shown(bound, now, clock)).collect()
    }

    pub(crate) fn place(&mut self, link: u32, address: IpAddr, prefix_len: u8) -> Option<&mut Bound> {
        self.addresses
            .iter_mut()
            .find(|known| known.link == link && known.address == address && known.prefix_len == prefix_len)
    }

    /// Binds a VIP or renews its lifetime. `life`: whose daemon's. `timely`: the clock had been read shortly before. Returns
    /// each address, with whether it is new.
    pub(crate) fn bind(
        &mut self,
        (now, clock, life): (Nanos, &Clock, u64),
        (vip, link): (&VipSettings, u32),
        lifetime: Option<u32>,
        timely: bool,
    ) -> Vec<(Bound, bool)> {
        let ends = lifetime.map(|seconds| now + clock.span(u64::from(seconds) * S));
        let sound = ends.map_or(Nanos::MAX, |ends| ends + clock.span(S));
        let right = lock_address(&vip.addresses);
        let mut bound = Vec::new();
        for net in &vip.addresses {
            if let Some(known) = self.place(link, net.addr(), net.prefix_len()) {
                (known.ends, known.bound_at, known.bound_in) = (ends, now, life);
                if timely {
                    (known.sound_until, known.foreign, known.right) = (sound, false, right);
                }
                bound.push((*known, false));
                continue;
            }
            let sound_until = if timely { sound } else { now.saturating_sub(1) };
            let (address, prefix_len) = (net.addr(), net.prefix_len());
            let (bound_at, bound_in) = (now, life);
            let new = Bound { link, address, prefix_len, ends, foreign: false, right, bound_at, bound_in, sound_until };
            self.addresses.push(new);
            bound.push((new, true));
        }
        bound
    }

    /// Removes a VIP everywhere, or everywhere besides where it belongs: on the interface `keep`.
    pub(crate) fn unbind(&mut self, vip: &VipSettings, keep: Option<u32>) -> Vec<Bound> {
        let belongs = |bound: &Bound| {
            let is = |net: &ipnet::IpNet| net.addr() == bound.address && net.prefix_len() == bound.prefix_len;
            keep == Some(bound.link) && vip.addresses.iter().any(is)
        };
        self.remove(|bound| vip.present_and_former().any(|net| net.addr() == bound.address) && !belongs(bound))
    }

    pub(crate) fn remove(&mut self, goes: impl Fn(&Bound) -> bool) -> Vec<Bound> {
        let gone = self.addresses.iter().filter(|bound| goes(bound)).copied().collect();
        self.addresses.retain(|bound| !goes(bound));
        gone
    }

    /// The addresses of all VIPs.
    pub(crate) fn vips(&self) -> impl Iterator<Item = &Bound> {
        self.addresses.iter().filter(|bound| is_vip(bound.address))
    }

    /// Those that were bound by a pgvrrp, by calls that count.
    pub(crate) fn held(&self, now: Nanos) -> impl Iterator<Item = &Bound> {
        self.vips().filter(move |bound| bound.is_held(now))
    }

    /// Whether there is any of them.
    pub(crate) fn holds(&self, now: Nanos) -> bool {
        self.held(now).next().is_some()
    }

    /// Whether there is any of those that this lock fences.
    pub(crate) fn holds_by(&self, now: Nanos, lock: IpAddr) -> bool {
        self.held(now).any(|bound| bound.right == Some(lock))
    }
}

/// Whether it is one of those that the operator gives to VIPs.
pub(crate) fn is_vip(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if matches!(address.octets(), [10, 0, 20, 150..=169]))
}

pub(crate) fn shown(bound: &Bound, now: Nanos, clock: &Clock) -> Address {
    let left = bound.ends.map(|ends| clock.read(ends).since(clock.read(now)).as_secs() as u32);
    Address { link: bound.link, address: bound.address, prefix_len: bound.prefix_len, lifetime: left, tentative: false }
}

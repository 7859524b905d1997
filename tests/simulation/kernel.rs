//! One host's kernel: addresses with lifetimes that end late.

use std::net::{IpAddr, Ipv4Addr};

use pgvrrp::node::io::Address;

use super::clock::{Clock, Nanos, S};

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 155);
pub(crate) const ETH0: u32 = 2;
pub(crate) const LO: u32 = 1;

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
    /// Beyond this it is what design section 5 calls "what remains": bound by a call that began long after the clock
    /// was read. Such an address is never announced; it goes by the process's next instruction, or by its lifetime.
    pub(crate) sound_until: Nanos,
}

/// One kernel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) addresses: Vec<Bound>,
    /// The interface is there.
    pub(crate) link: bool,
    /// When somebody else last removed the VIP.
    pub(crate) removed_by_others: Option<Nanos>,
}

impl Kernel {
    pub(crate) fn boot(own: Ipv4Addr) -> Self {
        let own = Bound {
            link: ETH0,
            address: own.into(),
            prefix_len: 24,
            ends: None,
            foreign: true,
            sound_until: Nanos::MAX,
        };
        Self { addresses: vec![own], link: true, removed_by_others: None }
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

    /// Binds the VIP or renews its lifetime. `timely`: the clock had been read shortly before.
    pub(crate) fn bind(&mut self, now: Nanos, clock: &Clock, lifetime: Option<u32>, timely: bool) -> Bound {
        let ends = lifetime.map(|seconds| now + clock.span(u64::from(seconds) * S));
        let sound = ends.map_or(Nanos::MAX, |ends| ends + clock.span(S));
        if let Some(known) = self.place(ETH0, VIP.into(), 32) {
            known.ends = ends;
            if timely {
                (known.sound_until, known.foreign) = (sound, false);
            }
            return *known;
        }
        let sound_until = if timely { sound } else { now.saturating_sub(1) };
        let bound = Bound { link: ETH0, address: VIP.into(), prefix_len: 32, ends, foreign: false, sound_until };
        self.addresses.push(bound);
        bound
    }

    /// Removes the VIP everywhere, or everywhere besides where it belongs.
    pub(crate) fn unbind(&mut self, keep: bool) -> Vec<Bound> {
        let stays =
            |bound: &Bound| bound.address != IpAddr::V4(VIP) || (keep && bound.link == ETH0 && bound.prefix_len == 32);
        let gone = self.addresses.iter().filter(|bound| !stays(bound)).copied().collect();
        self.addresses.retain(stays);
        gone
    }

    pub(crate) fn vips(&self) -> impl Iterator<Item = &Bound> {
        self.addresses.iter().filter(|bound| bound.address == IpAddr::V4(VIP))
    }

    /// Bound by a pgvrrp, by a call that counts.
    pub(crate) fn holds(&self, now: Nanos) -> bool {
        self.vips().any(|bound| !bound.foreign && now <= bound.sound_until)
    }
}

pub(crate) fn shown(bound: &Bound, now: Nanos, clock: &Clock) -> Address {
    let left = bound.ends.map(|ends| clock.read(ends).since(clock.read(now)).as_secs() as u32);
    Address { link: bound.link, address: bound.address, prefix_len: bound.prefix_len, lifetime: left, tentative: false }
}

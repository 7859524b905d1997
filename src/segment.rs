//! One interface: how it is, and the sockets that hear what its segment says.

use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::Poll;

use pgvrrp_netlink::Kernel;
use tracing::{info, warn};
use vrrp::wire::advert::Advert;
use vrrp::wire::claim::Claim;

use crate::node::io::Link;
use crate::node::{Family, InterfaceId, Settings};
use crate::transport::{ClaimReceiver, Rejected, v4, v6};
use crate::virtual_mac::VirtualMac;

/// An interface that carries VIPs, or is tracked.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    /// The addresses of the VIPs on it, which are listened for; none on one that is only tracked, or is a virtual MAC's.
    vips: Vec<IpAddr>,
    /// Of those of the VIPs on it that have one: what they say is not somebody else's.
    virtual_macs: Vec<[u8; 6]>,
    /// If it is the daemon's own.
    own: Option<Own>,
    pub(crate) link: Option<Link>,
    ears: Option<Ears>,
    /// The state that was last logged.
    told: Option<Option<Link>>,
    /// Why listening failed, as last logged.
    deaf_told: Option<String>,
}

/// What is needed to make an interface.
#[derive(Debug)]
struct Own {
    virtual_mac: VirtualMac,
    /// The index that it had when it was last set up.
    known: Option<u32>,
    /// Why it could not be, as last logged.
    told: Option<String>,
}

/// The sockets that hear. In a family without VIPs there is nothing to be heard.
#[derive(Debug)]
struct Ears {
    index: u32,
    v4: Option<v4::AdvertReceiver>,
    v6: Option<v6::AdvertReceiver>,
    claims: Option<ClaimReceiver>,
}

/// The sockets that speak.
#[derive(Debug)]
pub(crate) struct Voices {
    pub(crate) v4: Option<v4::AdvertSender>,
    pub(crate) v6: Option<v6::AdvertSender>,
}

/// Why an interface of the daemon's own cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Obstacle {
    /// The host is not as it has to be.
    #[error("{0}")]
    Host(String),
    /// The kernel refused.
    #[error("{0}")]
    Kernel(pgvrrp_netlink::Error),
}

/// What was heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Advertisements, and what was none.
    Packets(Vec<Result<Advert, Rejected>>),
    /// Claims of the VIPs' addresses.
    Claims(Vec<Claim>),
}

impl Segment {
    /// One for each interface of the settings, in their order. `owner` is the mark on those that are made.
    pub(crate) fn all(settings: &Settings, owner: &str) -> Vec<Self> {
        let of = |interface| {
            let vips = settings.vips.iter().filter(move |vip| vip.interface == interface && !vip.retired);
            vips.flat_map(|vip| vip.addresses.iter().map(ipnet::IpNet::addr)).collect()
        };
        let interfaces = settings.interfaces.iter().enumerate();
        let mut all: Vec<_> = interfaces.map(|(index, name)| Self::new(name.clone(), of(InterfaceId(index)))).collect();
        for (InterfaceId(own), virtual_mac) in VirtualMac::all(settings, owner) {
            if let Some(below) = all.get_mut(virtual_mac.below.0) {
                below.virtual_macs.push(virtual_mac.mac());
            }
            if let Some(own) = all.get_mut(own) {
                own.own = Some(Own { virtual_mac, known: None, told: None });
            }
        }
        all
    }

    fn new(name: String, vips: Vec<IpAddr>) -> Self {
        let (virtual_macs, own) = (Vec::new(), None);
        Self { name, vips, virtual_macs, own, link: None, ears: None, told: None, deaf_told: None }
    }

    /// The operator says something else: the same interface as it is to be now. Only the sockets that have to be others are opened
    /// anew.
    pub(crate) fn reconfigure(&mut self, wanted: Self) {
        let families =
            |vips: &[IpAddr]| [Family::V4, Family::V6].map(|of| vips.iter().any(|vip| Family::of(*vip) == of));
        let same_families =
            families(&self.vips) == families(&wanted.vips) && self.own.is_some() == wanted.own.is_some();
        if !same_families {
            self.ears = None;
        } else if self.vips != wanted.vips
            && let Some(ears) = &mut self.ears
        {
            ears.claims = None;
        }
        let known = self.own.take();
        self.own = wanted.own.map(|own| Own { known: known.and_then(|known| known.known), ..own });
        (self.vips, self.virtual_macs) = (wanted.vips, wanted.virtual_macs);
    }

    /// Whether an event about this interface is about that one.
    pub(crate) fn is(&self, index: u32, name: Option<&str>) -> bool {
        self.link.is_some_and(|link| link.index == index) || name == Some(&self.name)
    }

    /// The interface below, if this is one that the daemon makes.
    pub(crate) fn below(&self) -> Option<InterfaceId> {
        self.own.as_ref().map(|own| own.virtual_mac.below)
    }

    /// Makes sure that an interface of the daemon's own is there, on top of `below`: its name, and its index while it exists.
    ///
    /// # Errors
    /// Why there is none. To be tried again after a while.
    fn make(&mut self, kernel: &mut Kernel, below: (&str, Option<u32>)) -> Result<(), Obstacle> {
        let Some(own) = &mut self.own else { return Ok(()) };
        let (name, Some(parent)) = below else {
            own.known = None;
            return Ok(());
        };
        let obstacle = if own.known.is_none() { own.virtual_mac.obstacle(name) } else { None };
        let made = match obstacle {
            Some(obstacle) => Err(Obstacle::Host(obstacle)),
            None => kernel.keep_macvlan(&own.virtual_mac.macvlan(parent), own.known).map_err(Obstacle::Kernel),
        };
        match made {
            Ok(index) => {
                (own.known, own.told) = (Some(index), None);
                Ok(())
            }
            // The one below has gone; the kernel is about to say so.
            Err(Obstacle::Kernel(pgvrrp_netlink::Error::NoSuchInterface { .. })) => {
                own.known = None;
                Ok(())
            }
            Err(obstacle) => {
                let (reason, interface) = (obstacle.to_string(), &self.name);
                if own.told.as_ref() != Some(&reason) {
                    warn!(interface, reason, "the virtual MAC's interface cannot be set up, trying again");
                    own.told = Some(reason);
                }
                Err(obstacle)
            }
        }
    }

    /// Looks the interface up by its name: whatever events said, this is how it is now.
    ///
    /// # Errors
    /// If the kernel does not say; what was known stays.
    pub(crate) fn look_up(&mut self, kernel: &mut Kernel) -> Result<(), pgvrrp_netlink::Error> {
        let found = kernel.link(&self.name)?;
        // Of the daemon's own it is this one or none: what has its name need not be ours.
        let found = found.filter(|found| self.own.as_ref().is_none_or(|own| own.known == Some(found.index)));
        self.link = found.map(|found| Link { index: found.index, up: found.up, mtu: found.mtu, mac: found.mac });
        let interface = &self.name;
        if self.told != Some(self.link) {
            self.told = Some(self.link);
            match self.link {
                Some(Link { index, up, mtu, .. }) => info!(interface, index, up, mtu, "interface"),
                None => warn!(interface, "there is no such interface"),
            }
        }
        Ok(())
    }

    /// Opens the sockets if the interface is another one than before. Returns those that speak if they have changed: `None`
    /// in them while there is no interface.
    ///
    /// # Errors
    /// If some could not be opened; told of here. To be tried again after a while.
    pub(crate) fn open(&mut self) -> Result<Option<Option<Voices>>, ()> {
        let Some(link) = self.link else {
            self.ears = None;
            return Ok(Some(None));
        };
        if self.vips.is_empty() && self.own.is_none() {
            self.ears = None;
            return Ok(None);
        }
        let known = self.ears.take().filter(|ears| ears.index == link.index);
        let opened = match known {
            Some(ears) if ears.claims.is_some() || self.own.is_some() => Ok((ears, None)),
            Some(ears) => {
                ClaimReceiver::open(link.index, &self.vips).map(|claims| (Ears { claims: Some(claims), ..ears }, None))
            }
            None => self.open_sockets(link.index).map(|(ears, voices)| (ears, Some(voices))),
        };
        match opened {
            Ok((ears, voices)) => {
                self.deaf_told = None;
                self.ears = Some(ears);
                Ok(voices.map(Some))
            }
            Err(error) => {
                let (reason, interface) = (error.to_string(), &self.name);
                if self.deaf_told.as_ref() != Some(&reason) {
                    warn!(interface, reason, "cannot listen for VRRP, ARP and neighbour discovery, trying again");
                    self.deaf_told = Some(reason);
                }
                Err(())
            }
        }
    }

    fn open_sockets(&self, index: u32) -> io::Result<(Ears, Voices)> {
        if let Some(own) = &self.own {
            return self.open_voices(index, own.virtual_mac.family());
        }
        let needs = |family| self.vips.iter().any(|vip| Family::of(*vip) == family);
        let (needs_v4, needs_v6) = (needs(Family::V4), needs(Family::V6));
        let claims = Some(ClaimReceiver::open(index, &self.vips)?);
        let v4 = needs_v4.then(|| {
            Ok::<_, io::Error>((v4::AdvertReceiver::open(&self.name, index)?, v4::AdvertSender::open(&self.name)?))
        });
        let (v4, speaks_v4) = v4.transpose()?.unzip();
        let v6 = needs_v6.then(|| {
            Ok::<_, io::Error>((
                v6::AdvertReceiver::open(&self.name, index)?,
                v6::AdvertSender::open(&self.name, index)?,
            ))
        });
        let (v6, speaks_v6) = v6.transpose()?.unzip();
        Ok((Ears { index, v4, v6, claims }, Voices { v4: speaks_v4, v6: speaks_v6 }))
    }

    /// Peers are heard on the interface below; what is said here comes from its address.
    fn open_voices(&self, index: u32, family: Family) -> io::Result<(Ears, Voices)> {
        let voices = match family {
            Family::V4 => Voices { v4: Some(v4::AdvertSender::open(&self.name)?), v6: None },
            Family::V6 => Voices { v4: None, v6: Some(v6::AdvertSender::open(&self.name, index)?.from_elsewhere()?) },
        };
        Ok((Ears { index, v4: None, v6: None, claims: None }, voices))
    }

    /// An error on a listening socket: "network is down" comes once when the interface goes down, and is over when it is
    /// up again. Anything else is answered by new sockets. Returns whether they have to be opened.
    pub(crate) fn deafened(&mut self, error: &io::Error) -> bool {
        let broken = error.raw_os_error() != Some(libc::ENETDOWN);
        if broken {
            warn!(interface = self.name, %error, "listening failed, opening the sockets anew");
            self.ears = None;
        }
        broken
    }

    /// Whether a claim is of this host itself: the kernel hands packet sockets what it sends, our announcements included. A
    /// virtual MAC is whoever's that has the VIP; who that is, adverts tell.
    pub(crate) fn is_own(&self, claim: &Claim) -> bool {
        self.link.and_then(|link| link.mac) == Some(claim.mac) || self.virtual_macs.contains(&claim.mac)
    }
}

/// Makes sure that an interface is there, if it is one of the daemon's own and the one below it is known.
///
/// # Errors
/// Why there is none; told of here. To be tried again after a while.
pub(crate) fn make(segments: &mut [Segment], interface: InterfaceId, kernel: &mut Kernel) -> Result<(), Obstacle> {
    let below = segments.get(interface.0).and_then(Segment::below).and_then(|below| segments.get(below.0));
    let Some(below) = below else { return Ok(()) };
    let (name, index) = (below.name.clone(), below.link.map(|link| link.index));
    segments.get_mut(interface.0).map_or(Ok(()), |segment| segment.make(kernel, (&name, index)))
}

type Hearing<'a> = Pin<Box<dyn Future<Output = io::Result<Heard>> + 'a>>;

/// Waits until something is heard anywhere. Dropped while it waits, it has heard nothing.
pub(crate) async fn hear(segments: &[Segment]) -> (InterfaceId, io::Result<Heard>) {
    let mut hearings = Vec::new();
    for (index, ears) in
        segments.iter().enumerate().filter_map(|(index, segment)| Some((index, segment.ears.as_ref()?)))
    {
        let interface = InterfaceId(index);
        hearings.extend(ears.v4.as_ref().map(|v4| (interface, Box::pin(hear_v4(v4)) as Hearing<'_>)));
        hearings.extend(ears.v6.as_ref().map(|v6| (interface, Box::pin(hear_v6(v6)) as Hearing<'_>)));
        hearings.extend(ears.claims.as_ref().map(|claims| (interface, Box::pin(hear_claims(claims)) as Hearing<'_>)));
    }
    poll_fn(|cx| {
        for (interface, hearing) in &mut hearings {
            if let Poll::Ready(heard) = hearing.as_mut().poll(cx) {
                return Poll::Ready((*interface, heard));
            }
        }
        Poll::Pending
    })
    .await
}

async fn hear_v4(receiver: &v4::AdvertReceiver) -> io::Result<Heard> {
    let packets = receiver.receive().await?;
    Ok(Heard::Packets(packets.into_iter().map(|packet| packet.map(Into::into)).collect()))
}

async fn hear_v6(receiver: &v6::AdvertReceiver) -> io::Result<Heard> {
    let packets = receiver.receive().await?;
    Ok(Heard::Packets(packets.into_iter().map(|packet| packet.map(Into::into)).collect()))
}

async fn hear_claims(receiver: &ClaimReceiver) -> io::Result<Heard> {
    Ok(Heard::Claims(receiver.receive().await?))
}

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

/// An interface that carries VIPs, or is tracked.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    /// The addresses of the VIPs on it; none on one that is only tracked.
    vips: Vec<IpAddr>,
    pub(crate) link: Option<Link>,
    mac: Option<[u8; 6]>,
    ears: Option<Ears>,
    /// The state that was last logged.
    told: Option<Option<Link>>,
    /// Why listening failed, as last logged.
    deaf_told: Option<String>,
}

/// The sockets that hear. In a family without VIPs there is nothing to be heard.
#[derive(Debug)]
struct Ears {
    index: u32,
    v4: Option<v4::AdvertReceiver>,
    v6: Option<v6::AdvertReceiver>,
    claims: ClaimReceiver,
}

/// The sockets that speak.
#[derive(Debug)]
pub(crate) struct Voices {
    pub(crate) v4: Option<v4::AdvertSender>,
    pub(crate) v6: Option<v6::AdvertSender>,
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
    /// One for each interface of the settings, in their order.
    pub(crate) fn all(settings: &Settings) -> Vec<Self> {
        let of = |interface| {
            let vips = settings.vips.iter().filter(move |vip| vip.interface == interface);
            vips.flat_map(|vip| vip.addresses.iter().map(ipnet::IpNet::addr)).collect()
        };
        let interfaces = settings.interfaces.iter().enumerate();
        interfaces.map(|(index, name)| Self::new(name.clone(), of(InterfaceId(index)))).collect()
    }

    fn new(name: String, vips: Vec<IpAddr>) -> Self {
        Self { name, vips, link: None, mac: None, ears: None, told: None, deaf_told: None }
    }

    /// Whether an event about this interface is about that one.
    pub(crate) fn is(&self, index: u32, name: Option<&str>) -> bool {
        self.link.is_some_and(|link| link.index == index) || name == Some(&self.name)
    }

    /// Looks the interface up by its name: whatever events said, this is how it is now.
    ///
    /// # Errors
    /// If the kernel does not say; what was known stays.
    pub(crate) fn look_up(&mut self, kernel: &mut Kernel) -> Result<(), pgvrrp_netlink::Error> {
        let found = kernel.link(&self.name)?;
        self.mac = found.as_ref().and_then(|found| found.mac);
        self.link = found.map(|found| Link { index: found.index, up: found.up, mtu: found.mtu });
        let interface = &self.name;
        if self.told != Some(self.link) {
            self.told = Some(self.link);
            match self.link {
                Some(Link { index, up, mtu }) => info!(interface, index, up, mtu, "interface"),
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
        if self.vips.is_empty() || self.ears.as_ref().is_some_and(|ears| ears.index == link.index) {
            return Ok(None);
        }
        match self.open_sockets(link.index) {
            Ok((ears, voices)) => {
                self.deaf_told = None;
                self.ears = Some(ears);
                Ok(Some(Some(voices)))
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
        let needs = |family| self.vips.iter().any(|vip| Family::of(*vip) == family);
        let (needs_v4, needs_v6) = (needs(Family::V4), needs(Family::V6));
        let claims = ClaimReceiver::open(index, &self.vips)?;
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

    /// Whether a claim is of this host itself: the kernel hands packet sockets what it sends, our announcements included.
    pub(crate) fn is_own(&self, claim: &Claim) -> bool {
        self.mac == Some(claim.mac)
    }
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
        hearings.push((interface, Box::pin(hear_claims(&ears.claims))));
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

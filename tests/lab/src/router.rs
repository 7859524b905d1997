//! Routers of several makes that are told the same things.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::frr::Frr;
use crate::keepalived::{self, Keepalived};
use crate::network::INTERFACE;
use crate::plain::Plain;
use crate::segment::Segment;

/// What a router is to do for one VRID, whoever made it.
#[derive(Clone, Debug)]
pub struct VirtualRouter {
    /// The virtual router's number.
    pub id: u8,
    /// Ours in it, 1 to 254.
    pub priority: u8,
    /// Between two advertisements; a multiple of 10 ms.
    pub interval: Duration,
    /// The virtual addresses, of one family or of both; the first one of IPv6 is link-local.
    pub addresses: Vec<IpAddr>,
    /// Whether it takes over from an Active of lower priority.
    pub preempt: bool,
    /// Which form of the IPv4 checksum it sends. Keepalived 2.2 and FRR 8.4 have no choice.
    pub checksum: Checksum,
    /// Whom it sends to; nobody means multicast. FRR can only do that.
    pub unicast_peers: Vec<IpAddr>,
    /// Where.
    pub interface: &'static str,
    /// Which other interfaces have to be up. Only this project's daemon is told of them.
    pub track: Vec<&'static str>,
}

impl VirtualRouter {
    /// One that preempts and sends by multicast on eth0.
    #[must_use]
    pub fn new(id: u8, priority: u8, interval: Duration, addresses: &[IpAddr]) -> Self {
        Self {
            id,
            priority,
            interval,
            addresses: addresses.to_vec(),
            preempt: true,
            checksum: Checksum::Auto,
            unicast_peers: Vec::new(),
            interface: INTERFACE,
            track: Vec::new(),
        }
    }

    /// The addresses by family, IPv4 first; what has none is left out.
    #[must_use]
    pub fn families(&self) -> Vec<Vec<IpAddr>> {
        let (v4, v6): (Vec<_>, Vec<_>) = self.addresses.iter().partition(|address| address.is_ipv4());
        [v4, v6].into_iter().filter(|family| !family.is_empty()).collect()
    }

    /// How much later than another of the highest priority it acts: RFC 9568's `Skew_Time`.
    #[must_use]
    pub fn skew(&self) -> Duration {
        self.interval * (256 - u32::from(self.priority)) / 256
    }

    /// How long it waits for an Active that is silent: RFC 9568's `Active_Down_Interval`.
    #[must_use]
    pub fn down_interval(&self) -> Duration {
        3 * self.interval + self.skew()
    }
}

/// The form of the checksum of IPv4 advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The one that the others on the segment use.
    Auto,
    /// Of the message alone.
    Rfc9568,
    /// With a pseudo-header, as for IPv6.
    Rfc5798,
}

/// Who made a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Make {
    /// This project.
    Pgvrrp,
    /// Keepalived, in what the lab has of it.
    Keepalived,
    /// FRR's vrrpd.
    Frr,
}

impl Make {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pgvrrp, Self::Keepalived, Self::Frr];

    /// Its name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pgvrrp => "pgvrrp",
            Self::Keepalived => "keepalived",
            Self::Frr => "frr",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|make| make.name() == name)
    }
}

/// A router that runs. Killed when dropped.
#[derive(Debug)]
pub enum Router {
    /// Of this project.
    Pgvrrp(Plain),
    /// Keepalived.
    Keepalived(Keepalived),
    /// FRR.
    Frr(Frr),
}

impl Router {
    /// Starts one in a place of the segment. `binary` is the daemon of this project.
    ///
    /// # Errors
    /// When it cannot be started, or that make cannot do what is asked.
    pub fn start(
        make: Make,
        segment: &Segment,
        place: usize,
        routers: &[VirtualRouter],
        binary: &Path,
    ) -> Result<Self> {
        let (namespace, dir) = (segment.namespace(place), segment.dir(place));
        let checks = |router: &VirtualRouter| make != Make::Pgvrrp && router.checksum == Checksum::Rfc9568;
        if routers.iter().any(checks) {
            bail!("{} cannot send the checksum of RFC 9568", make.name());
        }
        let started = match make {
            Make::Pgvrrp => Plain::start(segment, place, routers, binary).map(Self::Pgvrrp),
            Make::Keepalived => {
                let config = keepalived::config_of(routers);
                Keepalived::start_in(namespace, &dir, &segment.rivals().keepalived, &config).map(Self::Keepalived)
            }
            Make::Frr => Frr::start(namespace, &dir, &segment.rivals().frr, routers).map(Self::Frr),
        };
        started.with_context(|| format!("{} in place {place}", make.name()))
    }

    /// Lets it say why it does not take an advertisement, if it does not do that anyway.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn explain(&self) -> Result<()> {
        match self {
            Self::Pgvrrp(_) | Self::Keepalived(_) => Ok(()),
            Self::Frr(router) => router.explain(),
        }
    }

    /// SIGKILL to all its processes. What was bound stays bound.
    pub fn kill(&self) {
        match self {
            Self::Pgvrrp(router) => router.kill(),
            Self::Keepalived(router) => router.kill(),
            Self::Frr(router) => router.kill(),
        }
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// When it does not end well within 5 s.
    pub fn stop(&self) -> Result<()> {
        match self {
            Self::Pgvrrp(router) => router.stop(),
            Self::Keepalived(router) => router.stop(),
            Self::Frr(router) => router.stop(),
        }
    }

    /// All that it has written.
    #[must_use]
    pub fn log(&self) -> String {
        match self {
            Self::Pgvrrp(router) => router.log(),
            Self::Keepalived(router) => router.log(),
            Self::Frr(router) => router.log(),
        }
    }

    /// What it says of advertisements that it did not take.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn complaints(&self) -> Result<Vec<String>> {
        match self {
            Self::Pgvrrp(router) => router.complaints(),
            Self::Keepalived(router) => Ok(router.complaints()),
            Self::Frr(router) => Ok(router.complaints()),
        }
    }
}

//! The light stage: routers on a bridge, each in a network namespace, and nothing else.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::faults::{self, Direction};
use crate::netns::Namespace;
use crate::network::{BRIDGE, INTERFACE, make_bridge, plug_in};
use crate::prerequisites::{self, Rivals};
use crate::site::Site;

/// The second interface of each router, if there is one.
pub const SECOND_INTERFACE: &str = "eth1";

/// The wire between the second interfaces.
const SECOND_BRIDGE: &str = "br1";

/// What is dropped at a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// VRRP of either family: IP protocol 112.
    Vrrp,
    /// All of IPv4 and IPv6; the link stays up, and ARP passes.
    Everything,
}

/// Routers on a wire. Everything is gone when it is dropped.
#[derive(Debug)]
pub struct Segment {
    routers: Vec<Namespace>,
    lan: Namespace,
    rivals: Rivals,
    interfaces: usize,
    cuts: Vec<Mutex<BTreeSet<(Cut, Direction)>>>,
    site: Arc<Site>,
}

impl Segment {
    /// With so many places for routers, 1 to 80.
    ///
    /// # Errors
    /// Without root, or when another make of router is missing (see [`prerequisites`]).
    pub fn start(places: usize) -> Result<Self> {
        Self::build(places, 1)
    }

    /// The same where each has a second interface, eth1, on another wire.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_two_wires(places: usize) -> Result<Self> {
        Self::build(places, 2)
    }

    fn build(places: usize, interfaces: usize) -> Result<Self> {
        prerequisites::require_root()?;
        let rivals = Rivals::find()?;
        let site = Site::new()?;
        let lan = site.make_namespace("lan")?;
        for bridge in [BRIDGE, SECOND_BRIDGE].into_iter().take(interfaces) {
            make_bridge(&lan, bridge)?;
        }
        let mut routers = Vec::new();
        for place in 0..places {
            let namespace = site.make_namespace(&name(place))?;
            site.make_dir(&name(place), None)?;
            settle_kernel(&namespace)?;
            for interface in 0..interfaces {
                add_interface(&lan, &namespace, place, interface)?;
            }
            routers.push(namespace);
        }
        let cuts = (0..places).map(|_| Mutex::default()).collect();
        Ok(Self { routers, lan, rivals, interfaces, cuts, site })
    }

    /// How many places it has.
    #[must_use]
    pub fn places(&self) -> usize {
        self.routers.len()
    }

    /// A router's network; places count from 0.
    ///
    /// # Panics
    /// Where there is no such place.
    #[must_use]
    pub fn namespace(&self, place: usize) -> &Namespace {
        &self.routers[place]
    }

    /// A router's directory.
    #[must_use]
    pub fn dir(&self, place: usize) -> PathBuf {
        self.site.dir().join(name(place))
    }

    /// The namespace that has the bridges, and nothing else.
    #[must_use]
    pub const fn lan(&self) -> &Namespace {
        &self.lan
    }

    /// The routers of other makes.
    #[must_use]
    pub const fn rivals(&self) -> &Rivals {
        &self.rivals
    }

    /// The interfaces of each router.
    #[must_use]
    pub fn interfaces(&self) -> &'static [&'static str] {
        &[INTERFACE, SECOND_INTERFACE][..self.interfaces]
    }

    /// The bridge's port that a router's interface is connected to.
    pub(crate) fn port(place: usize, interface: usize) -> String {
        format!("{}-{interface}", name(place))
    }

    /// A router's own address on the first wire; the prefix length is 24. A later place has a greater address.
    #[must_use]
    pub fn ip(place: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 20, host(place))
    }

    /// Its link-local address, which is all of IPv6 that it has.
    #[must_use]
    pub fn link_local(place: usize) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::from(host(place)))
    }

    /// Drops at a router what is sent to it and by it, in addition to what is dropped already.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn cut(&self, place: usize, what: Cut, way: Direction) -> Result<()> {
        self.change_cuts(place, |cuts| {
            cuts.insert((what, way));
        })
    }

    /// Ends every cut at a router.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn heal(&self, place: usize) -> Result<()> {
        self.change_cuts(place, BTreeSet::clear)
    }

    /// Pulls the cable out of a router's first interface: the link goes down.
    ///
    /// # Errors
    /// With the complaint of `ip`.
    pub fn pull_cable(&self, place: usize) -> Result<()> {
        self.lan.ip(&["link", "set", &Self::port(place, 0), "down"]).map(drop)
    }

    /// Puts it in again.
    ///
    /// # Errors
    /// With the complaint of `ip`.
    pub fn plug_cable(&self, place: usize) -> Result<()> {
        self.lan.ip(&["link", "set", &Self::port(place, 0), "up"]).map(drop)
    }

    /// Takes addresses away that a router which was killed has left bound.
    pub fn take_away(&self, place: usize, addresses: &[IpAddr]) {
        for address in addresses {
            let length = if address.is_ipv6() { 128 } else { 32 };
            for interface in self.interfaces() {
                // That it is not there, or no longer, is as well.
                let _ =
                    self.routers[place].ip(&["address", "delete", &format!("{address}/{length}"), "dev", interface]);
            }
        }
    }

    fn change_cuts(&self, place: usize, change: impl FnOnce(&mut BTreeSet<(Cut, Direction)>)) -> Result<()> {
        let mut cuts = self.cuts[place].lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut cuts);
        let rules = |way: Direction| {
            cuts.iter().filter(|(_, d)| *d == way || *d == Direction::Both).fold(
                String::new(),
                |mut rules, (cut, _)| {
                    let matches = match cut {
                        Cut::Vrrp => "meta l4proto 112 ",
                        Cut::Everything => "",
                    };
                    let _ = writeln!(rules, "    {matches}counter drop");
                    rules
                },
            )
        };
        self.routers[place].nft(&faults::table(&rules(Direction::In), &rules(Direction::Out)))
    }
}

fn name(place: usize) -> String {
    format!("r{}", place + 1)
}

fn host(place: usize) -> u8 {
    place as u8 + 11
}

/// Nothing is learned from whoever advertises a route, FRR for one, and no address has to be waited for.
fn settle_kernel(namespace: &Namespace) -> Result<()> {
    let settings = [("accept_ra", "0"), ("accept_dad", "0"), ("dad_transmits", "0")];
    namespace.run(|| {
        for (name, value) in settings {
            for scope in ["all", "default"] {
                let path = format!("/proc/sys/net/ipv6/conf/{scope}/{name}");
                fs::write(&path, value).with_context(|| format!("cannot write {path}"))?;
            }
        }
        Ok(())
    })?
}

fn add_interface(lan: &Namespace, namespace: &Namespace, place: usize, interface: usize) -> Result<()> {
    let (bridge, name) = [(BRIDGE, INTERFACE), (SECOND_BRIDGE, SECOND_INTERFACE)][interface];
    let host = host(place);
    let network = 20 + interface as u8;
    plug_in(lan, bridge, &Segment::port(place, interface), namespace, name, [0x02, 0, 10, 0, network, host])?;
    let link_local = Segment::link_local(place);
    namespace.ip_batch(&format!(
        "link set {name} addrgenmode none\nlink set {name} up\naddr add 10.0.{network}.{host}/24 dev {name}\n\
         addr add {link_local}/64 dev {name} nodad\n"
    ))
}

//! The table: each family with each interval. Many cells run in one pair of routers at once, a virtual router each.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lab::router::{Checksum, VirtualRouter};

/// What most use, and what a fast failover takes.
const USUAL: [Duration; 2] = [Duration::from_secs(1), Duration::from_millis(100)];

/// The least that can be had. Whoever is not let run for 30 ms has lost the election, so that these have a stage of their own.
const LEAST: Duration = Duration::from_millis(10);

/// IP version of the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// A virtual router that several routers share.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) id: u8,
    pub(crate) family: Family,
    pub(crate) interval: Duration,
    pub(crate) addresses: Vec<IpAddr>,
}

impl Cell {
    pub(crate) fn new(id: u8, family: Family, interval: Duration) -> Self {
        let addresses = match family {
            Family::V4 => vec![IpAddr::from([10, 0, 20, id])],
            Family::V6 => {
                let last = u16::from(id);
                vec![
                    // The one that is the virtual router's by its MAC, in EUI-64.
                    IpAddr::from([0xfe80, 0, 0, 0, 0x200, 0x5eff, 0xfe00, 0x200 + last]),
                    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]),
                ]
            }
        };
        Self { id, family, interval, addresses }
    }

    /// A router's part in it, with the form of the checksum that every make understands.
    pub(crate) fn with_priority(&self, priority: u8) -> VirtualRouter {
        let mut router = VirtualRouter::new(self.id, priority, self.interval, &self.addresses);
        router.checksum = Checksum::Rfc5798;
        router
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virtual router {} ({:?}, {:?})", self.id, self.family, self.interval)
    }
}

/// The table but for the shortest interval.
pub(crate) fn usual() -> Vec<Cell> {
    let families = [Family::V4, Family::V6];
    let pairs = families.iter().flat_map(|family| USUAL.iter().map(move |interval| (*family, *interval)));
    (151..).zip(pairs).map(|(id, (family, interval))| Cell::new(id, family, interval)).collect()
}

/// The rest of it.
pub(crate) fn fastest() -> Vec<Cell> {
    vec![Cell::new(161, Family::V4, LEAST), Cell::new(162, Family::V6, LEAST)]
}

/// One of each family with a tenth of a second.
pub(crate) fn both_families() -> Vec<Cell> {
    vec![Cell::new(151, Family::V4, USUAL[1]), Cell::new(152, Family::V6, USUAL[1])]
}

/// A router's part in all of these.
pub(crate) fn with_priority(cells: &[Cell], priority: u8) -> Vec<VirtualRouter> {
    cells.iter().map(|cell| cell.with_priority(priority)).collect()
}

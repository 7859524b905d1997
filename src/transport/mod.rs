//! The daemon's own packets: VRRP advertisements on a raw socket, ARP on packet sockets. All belong to one interface,
//! and are opened anew when that comes back under another index.

mod arp;
mod v4;

pub(crate) use arp::link_address;
pub use arp::{ArpReceiver, ArpSender};
pub use v4::{AdvertReceiver, AdvertSender};

/// Most packets taken per wake-up: a flood delays neither timers nor evidence.
pub const BUDGET: usize = 32;

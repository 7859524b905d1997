//! pgvrrp: a virtual IP that is where the writable PostgreSQL primary is, and nowhere else.
//!
//! `docs/ARCHITECTURE.md` is the map of the house.

pub mod gate;
pub mod node;
pub mod recording;

#[cfg(feature = "daemon")]
pub mod actuator;
#[cfg(feature = "daemon")]
mod async_fd;
#[cfg(feature = "daemon")]
mod capabilities;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod clients;
#[cfg(feature = "daemon")]
pub mod clock;
#[cfg(feature = "daemon")]
mod cluster;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod doctor;
#[cfg(feature = "daemon")]
mod drain;
#[cfg(feature = "daemon")]
mod drained;
#[cfg(feature = "daemon")]
pub mod evidence;
#[cfg(feature = "daemon")]
pub mod failure;
#[cfg(all(test, feature = "daemon"))]
mod fields;
#[cfg(feature = "daemon")]
pub mod handover;
#[cfg(feature = "daemon")]
pub mod history;
#[cfg(feature = "daemon")]
pub mod hooks;
#[cfg(feature = "daemon")]
mod import;
#[cfg(feature = "daemon")]
mod listen;
#[cfg(feature = "daemon")]
pub mod observe;
#[cfg(feature = "daemon")]
pub mod process;
#[cfg(feature = "daemon")]
pub mod reactor;
#[cfg(feature = "daemon")]
mod realtime;
#[cfg(feature = "daemon")]
mod rehearsal;
#[cfg(feature = "daemon")]
mod reload;
#[cfg(feature = "daemon")]
mod replay;
#[cfg(feature = "daemon")]
mod requirements;
#[cfg(feature = "daemon")]
pub mod runtime_dir;
#[cfg(feature = "daemon")]
mod segment;
#[cfg(feature = "daemon")]
mod settings;
#[cfg(feature = "daemon")]
mod terminal;
#[cfg(feature = "daemon")]
mod timer;
#[cfg(feature = "daemon")]
pub mod transport;
#[cfg(feature = "daemon")]
mod vip_lock;
#[cfg(feature = "daemon")]
mod virtual_mac;
#[cfg(feature = "daemon")]
mod watch;
#[cfg(feature = "daemon")]
mod words;

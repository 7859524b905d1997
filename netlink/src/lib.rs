//! The kernel's words: addresses, links and TCP sockets, by netlink.
//!
//! Everything that pgvrrp asks of the kernel about addresses goes through this crate, so that no other part has to know
//! about netlink messages, sequence numbers, errno or overruns.
//!
//! * [`Kernel`] binds and unbinds addresses, keeps a [`Macvlan`] and reads the tables: synchronous, one or a few requests
//!   per call, made for the protocol thread.
//! * [`Monitor`] tells what changes, asynchronously. Open it first, then read the tables: then nothing is missed.
//! * [`SockDiag`] counts, lists and resets the TCP connections of an address.
//! * [`SynDrop`] keeps new ones away from an address that is about to leave.
//!
//! A netlink socket belongs to the network namespace of the thread that opened it. Each type here must be used only by
//! threads of the namespace in which it was opened, since it opens a new socket after a failure.

#![warn(missing_docs)]

mod address;
mod channel;
mod deadline;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod kernel;
mod link;
mod macvlan;
mod monitor;
mod nftables;
mod sock_diag;
mod sock_filter;
mod syn_drop;
mod sysctl;

pub use address::{Address, dependents};
pub use error::Error;
pub use kernel::Kernel;
pub use link::Link;
pub use macvlan::Macvlan;
pub use monitor::{Event, Monitor};
pub use sock_diag::{Client, Reset, SockDiag};
pub use syn_drop::SynDrop;
pub use sysctl::{arp_announce, arp_filter, arp_ignore, promote_secondaries, rp_filter};

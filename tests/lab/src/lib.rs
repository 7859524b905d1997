//! A Patroni cluster in network namespaces on one machine, faults to put it through, and probes that watch it.
//!
//! Everything is real: PostgreSQL with streaming replication, Patroni, etcd, the kernel's network. Root is needed.
#![allow(clippy::disallowed_methods, reason = "a test bench reads the environment and any clock")]

pub mod clock;
pub mod etcd;
pub mod http;
pub mod lab;
pub mod netns;
pub mod network;
pub mod patroni;
pub mod prerequisites;
pub mod process;
mod reaper;
mod site;

pub use clock::Time;
pub use lab::{Lab, Options, Switchover};
pub use network::{Node, VIP};
pub use site::{clean_up_all, sweep};

//! A Patroni cluster in network namespaces on one machine, faults to put it through, and probes that watch it.
//!
//! Everything is real: PostgreSQL with streaming replication, Patroni, etcd, the kernel's network. Root is needed.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lab::daemon::{Daemon, Launch};
//! use lab::{Analysis, Lab, Node, Options, Probes};
//!
//! fn main() -> anyhow::Result<()> {
//!     let lab = Lab::start(Options::default())?;
//!     let start = |node| Daemon::start(&lab, node, "target/release/pgvrrp".as_ref(), &Launch::reference(&lab, node));
//!     let daemons = [start(Node::Db1)?, start(Node::Db2)?];
//!     let mut probes = Probes::watch(&lab)?;
//!     probes.add_hasty_client()?;
//!
//!     let begun = probes.history().mark("switchover to db2");
//!     lab.switchover(Node::Db2)?;
//!     lab.wait_settled(Node::Db2, Duration::from_secs(60))?;
//!
//!     let analysis = Analysis::of(&probes.stop());
//!     assert!(analysis.violations().is_empty(), "{}", analysis.violations().join("\n"));
//!     for moved in analysis.moves() {
//!         println!("{}", moved.timeline(begun));
//!     }
//!     println!("{}", daemons[1].status()?["vips"][0]["why"]);
//!     Ok(())
//! }
//! ```
//!
//! A [`Segment`] is the small one: routers on a bridge, without databases, for VRRP between daemons of several makes.
//!
//! Time is [`Time`] everywhere: `CLOCK_BOOTTIME`, as in the daemon's own status.
#![warn(missing_docs)]

pub mod analysis;
pub mod application;
pub mod browser;
pub mod certificates;
pub mod clock;
pub mod cluster;
pub mod daemon;
pub mod doctor;
pub mod etcd;
pub mod faults;
mod frame_filter;
pub mod frr;
pub mod history;
pub mod host;
pub mod http;
pub mod keepalived;
pub mod machine;
mod netlink;
pub mod netns;
pub mod network;
pub mod patroni;
pub mod plain;
mod power;
pub mod prerequisites;
pub mod probe;
pub mod process;
pub mod prometheus;
pub mod proxy;
mod reaper;
pub mod recorder;
pub mod router;
pub mod segment;
mod site;
pub mod speaker;
pub mod vip_manager;

pub use analysis::Analysis;
pub use application::Application;
pub use browser::Browser;
pub use clock::Time;
pub use cluster::{Lab, Options, Switchover};
pub use daemon::Daemon;
pub use faults::{Direction, Traffic};
pub use history::History;
pub use host::Host;
pub use machine::Machine;
pub use network::{Node, VIP};
pub use probe::Probes;
pub use recorder::Recorder;
pub use segment::Segment;
pub use site::{clean_up_all, sweep};

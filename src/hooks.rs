//! Hooks: commands of the operator's that are run when a VIP has come to this node or left it.
//!
//! They are on nobody's way: a thread of their own reads the pictures that the protocol thread publishes, as everybody does
//! who looks. What moved between two pictures is in the record of moves that each of them has.
//!
//! | part | what it does |
//! |---|---|
//! | `state` | from pictures to transitions: active, backup, fault, stop |
//! | `queue` | one hook at a time for each VIP, and the newest transition after it |
//! | `child` | one run: a process group without rights, descriptors and terminal, for so long and no longer |
//! | `output` | what it says, bounded, to the log |
//! | `privileges` | the thread's, and so its children's: none |
//! | `memory` | what was announced last, for the next daemon |
//! | `board` | what came of it, for status and metrics |

mod board;
mod child;
mod memory;
mod output;
mod privileges;
mod queue;
mod state;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use pgvrrp_config::{Config, Follows, Hooks};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;
use vrrp::types::Priority;

use crate::node::status::Status;
pub use board::Board;
use memory::Memory;
use queue::Queue;
use state::Tracker;

/// What is left for hooks when the daemon ends: the unit's `TimeoutStopSec` is 5 s.
const AT_THE_END: Duration = Duration::from_secs(3);

/// What hooks need to know.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    runtime_dir: PathBuf,
    member: String,
    /// How long one may take.
    timeout: Duration,
    /// Those VIPs that have hooks.
    vips: Vec<VipHooks>,
}

/// The hooks of a VIP, and what they are told of it.
#[derive(Clone, Debug)]
struct VipHooks {
    name: String,
    addresses: Vec<String>,
    interface: String,
    virtual_router_id: u8,
    priority: u8,
    hooks: Hooks,
}

impl Settings {
    /// `None` where there are no hooks.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let vips = config.vips.iter().filter(|vip| !vip.hooks.is_empty()).map(|vip| VipHooks {
            name: vip.name.clone(),
            addresses: vip.addresses.iter().map(IpNet::addr).map(|address| address.to_string()).collect(),
            interface: vip.interface.clone(),
            virtual_router_id: vip.virtual_router_id.get(),
            priority: match &vip.follows {
                Follows::Primary => Priority::OWNER.get(),
                Follows::None(election) => election.priority.get(),
            },
            hooks: vip.hooks.clone(),
        });
        let vips: Vec<_> = vips.collect();
        let (runtime_dir, member) = (config.runtime_dir.clone(), config.node.clone());
        (!vips.is_empty()).then_some(Self { runtime_dir, member, timeout: config.hook_timeout, vips })
    }
}

/// Runs hooks until the protocol thread has ended: after it has released everything, those for that; after a handover, none.
/// To be called within a `LocalSet`, on a thread that does nothing else, since that gives up its capabilities.
pub(crate) async fn run(settings: Settings, mut status: watch::Receiver<Arc<Status>>, board: Board) {
    if let Err(error) = privileges::give_up() {
        return warn!(%error, "no hooks are run: they would inherit the daemon's capabilities");
    }
    let memory = Rc::new(Memory::open(&settings.runtime_dir));
    let mut watched = Vec::new();
    let mut workers = JoinSet::new();
    for vip in settings.vips {
        let queue = Rc::new(Queue::new(vip.name.clone(), board.clone()));
        watched.push((vip.name.clone(), Tracker::new(memory.state(&vip.name)), queue.clone()));
        let work = queue::work(queue, vip, settings.member.clone(), settings.timeout, memory.clone(), board.clone());
        workers.spawn_local(work);
    }
    while status.changed().await.is_ok() {
        let picture = status.borrow_and_update().clone();
        for (name, tracker, queue) in &mut watched {
            let Some(vip) = picture.vips.iter().find(|vip| vip.name == *name) else { continue };
            let seen = tracker.see(vip, picture.stopping);
            queue.missed(seen.missed);
            seen.transitions.into_iter().for_each(|transition| queue.put(transition));
        }
    }
    if status.borrow().stopping {
        watched.iter_mut().for_each(|(_, tracker, queue)| queue.end_with(tracker.stop()));
        // What is still running then is killed, since its worker is dropped.
        let _ = timeout(AT_THE_END, workers.join_all()).await;
    }
}

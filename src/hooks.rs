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

use std::cell::RefCell;
use std::collections::BTreeMap;
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

/// What hooks need to know. It may change while the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    runtime_dir: PathBuf,
    vips: Vec<VipHooks>,
}

/// The hooks of a VIP, and what they are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct VipHooks {
    name: String,
    addresses: Vec<String>,
    interface: String,
    virtual_router_id: u8,
    priority: u8,
    member: String,
    /// How long one may take.
    timeout: Duration,
    hooks: Hooks,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Self {
        let (member, timeout) = (config.node.clone(), config.hook_timeout);
        let vips = config.vips.iter().map(|vip| VipHooks {
            name: vip.name.clone(),
            addresses: vip.addresses.iter().map(IpNet::addr).map(|address| address.to_string()).collect(),
            interface: vip.interface.clone(),
            virtual_router_id: vip.virtual_router_id.get(),
            priority: match &vip.follows {
                Follows::Primary => Priority::OWNER.get(),
                Follows::None(election) => election.priority.get(),
            },
            member: member.clone(),
            timeout,
            hooks: vip.hooks.clone(),
        });
        Self { runtime_dir: config.runtime_dir.clone(), vips: vips.collect() }
    }
}

/// A VIP that is watched, whether it has hooks now or not.
struct Watched {
    tracker: Tracker,
    queue: Rc<Queue>,
    vip: Rc<RefCell<VipHooks>>,
}

/// Runs hooks until the protocol thread has ended: after it has released everything, those for that; after a handover, none.
/// To be called within a `LocalSet`, on a thread that does nothing else, since that gives up its capabilities.
pub(crate) async fn run(
    mut settings: watch::Receiver<Settings>,
    mut status: watch::Receiver<Arc<Status>>,
    board: Board,
) {
    if let Err(error) = privileges::give_up() {
        return warn!(%error, "no hooks are run: they would inherit the daemon's capabilities");
    }
    let memory = Rc::new(Memory::open(&settings.borrow().runtime_dir));
    let mut watched: BTreeMap<String, Watched> = BTreeMap::new();
    let mut workers = JoinSet::new();
    settings.mark_changed();
    loop {
        tokio::select! {
            biased;
            Ok(()) = settings.changed() => {
                // Of those that are gone the hooks stay as they were: their leaving is to come.
                for vip in settings.borrow_and_update().vips.iter().cloned() {
                    if let Some(known) = watched.get(&vip.name) {
                        known.vip.replace(vip);
                        continue;
                    }
                    let (name, state) = (vip.name.clone(), memory.state(&vip.name));
                    let queue = Rc::new(Queue::new(name.clone(), board.clone()));
                    let vip = Rc::new(RefCell::new(vip));
                    workers.spawn_local(queue::work(queue.clone(), vip.clone(), memory.clone(), board.clone()));
                    watched.insert(name, Watched { tracker: Tracker::new(state), queue, vip });
                }
            }
            changed = status.changed() => {
                if changed.is_err() {
                    break;
                }
                let picture = status.borrow_and_update().clone();
                watched.iter_mut().for_each(|(name, watched)| watched.look(name, &picture));
            }
        }
    }
    if status.borrow().stopping {
        watched.values_mut().for_each(Watched::stop);
        // What is still running then is killed, since its worker is dropped.
        let _ = timeout(AT_THE_END, workers.join_all()).await;
    }
}

impl Watched {
    fn look(&mut self, name: &str, picture: &Status) {
        // One that begins anew elsewhere has the name of one that is leaving.
        let newest = picture.vips.iter().filter(|vip| vip.name == name).max_by_key(|vip| vip.id);
        let Some(vip) = newest else { return };
        let seen = self.tracker.see(vip, picture.stopping);
        if self.vip.borrow().hooks.is_empty() {
            return;
        }
        self.queue.missed(seen.missed);
        seen.transitions.into_iter().for_each(|transition| self.queue.put(transition));
    }

    fn stop(&mut self) {
        let transition = Some(self.tracker.stop()).filter(|_| !self.vip.borrow().hooks.is_empty());
        self.queue.end_with(transition);
    }
}

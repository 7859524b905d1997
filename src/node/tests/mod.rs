//! The node against a small world: an etcd, a PostgreSQL and a kernel that are as obedient as can be, and each of them
//! can be told not to be. `world` has them; the other files say what has to come of it.

mod clients;
mod drained;
mod election;
mod evidence;
mod failsafe;
mod handover;
mod leader_key;
mod lists;
mod moves;
mod refresh;
mod refusals;
mod reload;
mod restart;
mod virtual_mac;
pub(crate) mod world;

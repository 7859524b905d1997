//! The gate: may this node hold a VIP, until when, and because of what. Pure: it is given evidence and the time, it
//! asks nothing and touches nothing.

pub mod deadline;
pub mod evidence;
pub mod failsafe;
pub mod guard;
pub mod policy;
pub mod reason;
pub mod verdict;

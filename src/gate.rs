//! The gate: may this node hold a VIP, until when, and because of what. Pure: it is given evidence and the time, it
//! asks nothing and touches nothing.

pub mod evidence;

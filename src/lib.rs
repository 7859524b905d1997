//! pgvrrp: a virtual IP that is where the writable PostgreSQL primary is, and nowhere else.
//!
//! `docs/ARCHITECTURE.md` is the map of the house.

pub mod gate;
pub mod node;

#[cfg(feature = "daemon")]
pub mod clock;
#[cfg(feature = "daemon")]
pub mod evidence;
#[cfg(feature = "daemon")]
pub mod observe;

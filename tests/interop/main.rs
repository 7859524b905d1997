//! Plain VRRP between this daemon, Keepalived and FRR, on segments of routers without any database. What is asserted is
//! seen from outside: advertisements on the wire, and the addresses that kernels report.
//!
//! Root is needed. `PGVRRP_BINARY` names another daemon than the one built with the tests. `PGVRRP_INTEROP_AS` names
//! another make, `keepalived` or `frr`, to take this daemon's part where it can: what fails then is not this daemon's
//! fault.
#![allow(clippy::disallowed_methods, reason = "a test bench reads the environment and any clock")]

mod cells;
mod checksums;
mod differences;
mod doctor;
mod hostile;
mod interfaces;
mod makes;
mod many;
mod migration;
mod order;
mod scripts;
mod stage;
mod takeovers;
mod unicast;

//! The daemon on real clusters: each scenario has PostgreSQL, Patroni and etcd of its own in network namespaces, probes
//! that watch from outside, and ends with the same question: was the VIP ever in two places, or on a replica?
//!
//! Root is needed. `PGVRRP_FULL=1` repeats what can be repeated as often as the requirements say, `PGVRRP_BINARY` names
//! another daemon than the one built with the tests.
#![allow(clippy::disallowed_methods, reason = "a test bench reads the environment and any clock")]

mod address;
mod conflicts;
mod daemon;
mod etcd;
mod footprint;
mod moves;
mod policies;
mod refusals;
mod rights;
mod stage;
mod systemd;

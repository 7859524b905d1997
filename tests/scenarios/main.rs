//! The daemon on real clusters: each scenario has PostgreSQL, Patroni and etcd of its own in network namespaces, probes
//! that watch from outside, and ends with the same question: was the VIP ever in two places, or on a replica?
//!
//! Every daemon records what its node is told and decides, and at the end its recording is replayed.
//!
//! Root is needed. `PGVRRP_FULL=1` repeats what can be repeated as often as the requirements say, `PGVRRP_BINARY` names
//! another daemon than the one built with the tests, `PGVRRP_KEEP_RECORDINGS` a directory that keeps the recordings.
//! `cargo xtask package-test` names the packages that some of them install.
#![allow(clippy::disallowed_methods, reason = "a test bench reads the environment and any clock")]

mod address;
mod clients;
mod clients_cost;
mod clients_forged;
mod clients_paths;
mod conflicts;
mod container;
mod daemon;
mod doctor;
mod doctor_peer;
mod documented;
mod etcd;
mod failsafe;
mod footprint;
mod handover;
mod hooks;
mod host;
mod keepalived;
mod leader;
mod leader_key;
mod listen;
mod lists;
mod migration;
mod moves;
mod observe;
mod package;
mod policies;
mod prometheus;
mod promotion;
mod recordings;
mod refusals;
mod rehearsal;
mod reload;
mod rights;
mod servers;
mod stage;
mod systemd;
mod tls;
mod tokens;
mod view;
mod vip_manager;

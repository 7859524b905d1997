//! The crate against the kernel it runs on: each test in a network namespace of its own. They need root.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

mod address;
mod errors;
mod ipv6;
mod macvlan;
mod monitor;
mod namespace;
mod others;
mod sock_diag;
mod syn_drop;

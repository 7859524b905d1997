//! What people see of a running daemon: the page in a real browser, and `status`, `watch` and `history` on the command line.
//! The daemon runs in a network namespace, with a VIP that VRRP elects and one that would follow a primary.
//!
//! Root is needed, and Chromium. `PGVRRP_PICTURES` names a directory that keeps pictures of the page.
#![allow(clippy::disallowed_methods, reason = "a test bench reads the environment and any clock")]

mod commands;
mod headers;
mod page;
mod stage;

//! What operators have of a running daemon: its log, and hooks. A router of plain VRRP and a stranger on a wire; needs root.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

mod hooks;
mod logs;
mod stage;

//! VRRPv3 (RFC 9568) as pure values: the wire formats, and the virtual router's state machine.
//!
//! There is no clock and no socket in here. Time comes in as [`time::Instant`], packets come in as bytes, and what is
//! to be done comes out as a list of actions.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod router;
pub mod time;
pub mod types;
pub mod wire;

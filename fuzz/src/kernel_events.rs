//! A datagram of the kernel's notifications.

use pgvrrp_netlink::fuzzing::events;

pub fn run(bytes: &[u8]) {
    match events(bytes) {
        // A message has a header of 16 bytes, and makes one event at most.
        Ok(events) => assert!(events.len() <= bytes.len() / 16),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

//! Wire formats: bytes in, values out, and back. Whatever the bytes are, parsing ends in a value or in the reason why
//! they are discarded.

pub mod address;
pub mod advert;
pub mod arp;
mod checksum;
mod discard;
pub mod heard;
pub mod ipv4;
pub mod ipv6;

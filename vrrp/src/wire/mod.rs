//! Wire formats: bytes in, values out, and back. Whatever the bytes are, parsing ends in a value or in the reason why
//! they are discarded.

pub mod advert;
pub mod arp;
mod checksum;
mod discard;
pub mod ipv4;

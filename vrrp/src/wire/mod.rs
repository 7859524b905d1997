//! Wire formats: bytes in, values out, and back. Whatever the bytes are, parsing ends in a value or in the reason why
//! they are discarded.

pub mod address;
pub mod advert;
pub mod arp;
mod checksum;
pub mod claim;
mod discard;
pub mod heard;
pub mod ipv4;
pub mod ipv6;
pub mod ndisc;
pub mod probe;
pub mod tickle;

/// The virtual router that a message names, whatever else is wrong with it; `None` if its eight fixed bytes are not all
/// there. With [`ipv4::message`], a discarded packet counts for the virtual router that it was meant for (RFC 8347's
/// `invalid-type-pkts-rcvd` and `packet-length-errors`).
pub fn vrid_of(message: &[u8]) -> Option<u8> {
    message.first_chunk::<{ advert::HEADER }>().map(|&[_, vrid, ..]| vrid)
}

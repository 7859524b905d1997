//! A packet of protocol 112 that tests the way and moves nothing: every router, of whatever make, has four reasons of
//! RFC 9568 section 7.1 to discard it, and would have to overlook all of them to do anything because of it.
//!
//! It is of version 15 and of type 0, names virtual router 0, which there is none of, and counts no addresses. Keepalived looks
//! up the virtual router before anything else, FRR checks the version first. Should a router overlook even that, the priority
//! of 1 makes no Active yield. (0 would say that an Active stops, and a wrong checksum or TTL might be dropped on the way,
//! where an advertisement is not.)

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use pnet_packet::ipv4::Ipv4Packet;

use super::address::Address;
use super::advert::{ChecksumForm, HEADER};
use super::{checksum, ipv4};

/// The bytes before the checksum: version and type, virtual router, priority, count of addresses, an interval of 1 s.
const BEGIN: [u8; 6] = [0xf0, 0, 1, 0, 0, 100];

/// The message around this payload, with the checksum of RFC 9568.
pub fn message<A: Address>(source: A, destination: A, payload: &[u8]) -> Vec<u8> {
    let mut message = [&BEGIN[..], &[0, 0], payload].concat();
    let checksum = checksum::of(ChecksumForm::Rfc9568, source, destination, &message);
    message[6..HEADER].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// The payload, if it is such a message and arrived as it was sent.
pub fn payload<A: Address>(source: A, destination: A, message: &[u8]) -> Option<&[u8]> {
    let (header, payload) = message.split_first_chunk::<HEADER>()?;
    let whole = checksum::of(ChecksumForm::Rfc9568, source, destination, message) == 0;
    (header.starts_with(&BEGIN) && whole).then_some(payload)
}

/// The same of a packet as a raw socket of IPv4 hands it over: source, destination, TTL and payload.
pub fn of_packet(packet: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr, u8, &[u8])> {
    let header = Ipv4Packet::new(packet)?;
    let (source, destination) = (header.get_source().octets().into(), header.get_destination().octets().into());
    let payload = payload(source, destination, ipv4::message(packet))?;
    Some((source, destination, header.get_ttl(), payload))
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::super::advert::Advert;
    use super::super::discard::Discard;
    use super::*;

    const V4: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 0, 20, 11), Ipv4Addr::new(224, 0, 0, 18));
    const V6: (Ipv6Addr, Ipv6Addr) =
        (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 11), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));

    #[test]
    fn there_and_back() {
        for bytes in [&b"hello"[..], b"", b"odd"] {
            assert_eq!(payload(V4.0, V4.1, &message(V4.0, V4.1, bytes)), Some(bytes));
            assert_eq!(payload(V6.0, V6.1, &message(V6.0, V6.1, bytes)), Some(bytes));
            let packet = ipv4::packet_of(V4.0, V4.1, &message(V4.0, V4.1, bytes));
            assert_eq!(of_packet(&packet), Some((V4.0, V4.1, 255, bytes)));
        }
    }

    #[test]
    fn whatever_else_comes_is_none() {
        let whole = message(V4.0, V4.1, b"hello");
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 0x10;
            assert_eq!(payload(V4.0, V4.1, &bent), None, "byte {at}");
            assert_eq!(payload(V4.0, V4.1, &whole[..at]), None, "{at} bytes");
            assert_eq!(of_packet(&ipv4::packet_of(V4.0, V4.1, &whole[..at])), None, "{at} bytes in a packet");
            assert_eq!(of_packet(&whole[..at]), None, "{at} bytes for a packet");
        }
    }

    /// Each reason alone is enough, whichever of them a router looks at.
    #[test]
    fn nobody_may_act_on_it() {
        let message = message(V4.0, V4.1, &[0; 33]);
        assert_eq!(Advert::parse(V4.0, V4.1, &message), Err(Discard::Version(15)));
        let mended = |bend: &[(usize, u8)]| {
            let mut message = message.clone();
            message[6..8].fill(0);
            bend.iter().for_each(|(at, value)| message[*at] = *value);
            let sum = checksum::of_message(&message);
            message[6..8].copy_from_slice(&sum.to_be_bytes());
            Advert::parse(V4.0, V4.1, &message).unwrap_err()
        };
        assert_eq!(mended(&[(0, 0x30)]), Discard::Type(0));
        assert_eq!(mended(&[(0, 0x31)]), Discard::NoAddresses);
        assert_eq!(mended(&[(0, 0x31), (3, 8)]), Discard::Length { count: 8, bytes: 33, of: 4 });
        let mut one = message[..12].to_vec();
        (one[0], one[3]) = (0x31, 1);
        one[6..8].fill(0);
        let sum = checksum::of_message(&one);
        one[6..8].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(Advert::parse(V4.0, V4.1, &one), Err(Discard::VridZero));
    }
}

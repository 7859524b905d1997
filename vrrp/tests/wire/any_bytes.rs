//! Whatever the bytes are, parsing ends in a value or in a reason, and in the value only if an independent reading
//! agrees.

use std::net::{IpAddr, Ipv4Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use vrrp::types::{Interval, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};
use vrrp::wire::arp::{self, Form};
use vrrp::wire::ipv4::{Discard, packet, parse};

use super::{FORMS, advert, naive};

fn any_advert() -> impl Strategy<Value = Advert<Ipv4Addr>> {
    // Short lists mostly: then a mutation hits the header as often as the list.
    let addresses = prop_oneof![3 => vec(any::<Ipv4Addr>(), 1..4), 1 => vec(any::<Ipv4Addr>(), 1..=255)];
    (any::<[Ipv4Addr; 2]>(), 1..=255u8, any::<u8>(), 1..=4095u16, addresses, any::<bool>()).prop_map(
        |([source, destination], vrid, priority, centis, addresses, message_only)| Advert {
            source,
            destination,
            vrid: Vrid::new(vrid).unwrap(),
            priority,
            interval: Interval::from_centis(centis).unwrap(),
            addresses,
            checksum: if message_only { ChecksumForm::Rfc9568 } else { ChecksumForm::Rfc5798 },
        },
    )
}

#[derive(Clone, Debug)]
enum Mutation {
    /// One of the first 28 bytes: the fields of both headers.
    Field(usize, u8),
    Set(Index, u8),
    Flip(Index, u8),
    Truncate(Index),
    Extend(Vec<u8>),
    /// The IP header says so many bytes more.
    Longer(u8),
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (0..28usize, any::<u8>()).prop_map(|(at, byte)| Mutation::Field(at, byte)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        2 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        1 => any::<Index>().prop_map(Mutation::Truncate),
        1 => vec(any::<u8>(), 1..48).prop_map(Mutation::Extend),
        1 => any::<u8>().prop_map(Mutation::Longer),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: Mutation) {
    if bytes.len() < 4 {
        return;
    }
    match mutation {
        Mutation::Field(at, byte) => {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        Mutation::Set(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        Mutation::Flip(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Mutation::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        Mutation::Extend(more) => bytes.extend(more),
        Mutation::Longer(by) => bytes[3] = bytes[3].wrapping_add(by),
    }
}

/// The crate and the naive reading agree on whether the packet passes; what passes is what was in it.
fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let read = parse(bytes);
    prop_assert_eq!(read.is_ok(), naive::is_acceptable(bytes), "{:?}", &read);
    if let Ok(read) = read {
        let start = usize::from(bytes[0] % 16) * 4;
        let message = &bytes[start..start + 8 + 4 * read.addresses.len()];
        let mut again = read.emit();
        prop_assert_eq!(&again[..4], &message[..4]);
        prop_assert_eq!(&again[8..], &message[8..]);
        // But for the reserved nibble, and what it does to the checksum.
        prop_assert_eq!((again[4], again[5]), (message[4] % 16, message[5]));
        again[4] = message[4];
        again[6..8].fill(0);
        let summed = naive::summed(read.checksum, read.source, read.destination, &again);
        let stored = u16::from_be_bytes([message[6], message[7]]);
        // 0 and 0xffff are the same number in one's complement.
        prop_assert_eq!(naive::checksum(&summed) % 0xffff, stored % 0xffff);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_is_sent_is_what_is_read(sent in any_advert()) {
        let bytes = packet(&sent);
        check(&bytes)?;
        let read = parse(&bytes).unwrap();
        // Right in both forms counts as RFC 9568's.
        let both = naive::checksum(&naive::summed(ChecksumForm::Rfc9568, sent.source, sent.destination, &bytes[20..])) == 0;
        let checksum = if both { ChecksumForm::Rfc9568 } else { sent.checksum };
        prop_assert_eq!(read, Advert { checksum, ..sent });
    }

    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..200)) {
        check(&bytes)?;
        let _ = arp::parse_claim(&bytes);
        let _ = Advert::parse(Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST, &bytes);
    }

    #[test]
    fn mutated_packets(sent in any_advert(), mutations in vec(any_mutation(), 1..5), fixed in 0..3usize) {
        let mut bytes = packet(&sent);
        for mutation in mutations {
            mutate(&mut bytes, mutation);
        }
        // Two times in three with a right checksum: otherwise little else is ever looked at.
        if let Some(form) = FORMS.get(fixed) {
            naive::fix(*form, &mut bytes);
        }
        check(&bytes)?;
    }

    #[test]
    fn mutated_announcements(mac: [u8; 6], address: Ipv4Addr, mutations in vec(any_mutation(), 1..5)) {
        let mut bytes = arp::announcement(mac, address, Form::Reply).to_vec();
        for mutation in mutations {
            mutate(&mut bytes, mutation);
        }
        if let Some(claim) = arp::parse_claim(&bytes) {
            prop_assert_eq!(&bytes[12..20], &[8, 6, 0, 1, 8, 0, 6, 4]);
            prop_assert_eq!((&claim.mac[..], claim.address), (&bytes[22..28], IpAddr::from(*bytes[28..].first_chunk::<4>().unwrap())));
        }
    }

    /// One bit changes the sum, always. What is wrong in the form that was sent may by chance be right in the other.
    #[test]
    fn a_flipped_bit_never_passes(sent in any_advert(), at: Index, bit in 0..8) {
        let mut bytes = packet(&sent);
        let at = 20 + at.index(bytes.len() - 20);
        bytes[at] ^= 1u8 << bit;
        if let Ok(read) = parse(&bytes) {
            prop_assert_ne!(read.checksum, sent.checksum);
        }
    }
}

/// The longest that IPv4 can carry, every byte 0xff: sums do not overflow, and it ends.
#[test]
fn as_much_as_ipv4_can_carry() {
    let mut bytes = packet(&advert(ChecksumForm::Rfc9568));
    bytes.resize(65_535, 0xff);
    bytes[2..4].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(parse(&bytes), Err(Discard::Length { count: 1, bytes: 65_535 - 28, of: 4 }));
    assert_eq!(parse(&vec![0xff; 1 << 20]), Err(Discard::NotIpv4));
    assert_eq!(arp::parse_claim(&vec![0xff; 1 << 20]), None);
}

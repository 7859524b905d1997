//! Each reason to discard a packet: what has it, and what is just not that.
//!
//! Unless a test is about the checksum, it is right in what the test sends: nothing else can have been the reason.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use vrrp::wire::advert::{Advert, ChecksumForm};
use vrrp::wire::ipv4::{self, Discard, packet, parse};
use vrrp::wire::vrid_of;

use super::{FORMS, SOURCE, VIP, advert, naive};

/// Changes a right packet, makes the message's checksum right again, and reads it.
fn altered(alter: impl FnOnce(&mut Vec<u8>)) -> Result<Advert<Ipv4Addr>, Discard> {
    let mut bytes = packet(&advert(ChecksumForm::Rfc9568));
    alter(&mut bytes);
    naive::fix(ChecksumForm::Rfc9568, &mut bytes);
    parse(&bytes)
}

/// Sets one byte.
fn with(at: usize, byte: u8) -> Result<Advert<Ipv4Addr>, Discard> {
    altered(|bytes| bytes[at] = byte)
}

fn label(outcome: Result<Advert<Ipv4Addr>, Discard>) -> &'static str {
    outcome.as_ref().map_or_else(Discard::label, |_| "accepted")
}

// RFC9568: 7.1-4-
#[test]
fn truncated() {
    let whole = packet(&advert(ChecksumForm::Rfc9568));
    for length in 0..whole.len() {
        assert_eq!(parse(&whole[..length]), Err(Discard::Truncated), "{length} bytes");
    }
    assert!(parse(&whole).is_ok());
    // The header's total length is what counts: less than the header, and less than the fixed part of a message.
    for total in 0..28 {
        assert_eq!(with(3, total), Err(Discard::Truncated), "total length {total}");
    }
    assert_eq!(with(3, 33), Err(Discard::Truncated), "one byte more than there is");
    // A header that is longer than the packet.
    assert_eq!(with(0, 0x4f), Err(Discard::Truncated));
    assert!(with(3, 32).is_ok());
}

#[test]
fn not_ipv4() {
    for version in (0..16).filter(|version| *version != 4) {
        assert_eq!(with(0, version << 4 | 5), Err(Discard::NotIpv4), "version {version}");
    }
    for words in 0..5 {
        assert_eq!(with(0, 0x40 | words), Err(Discard::NotIpv4), "{words} words");
    }
    assert!(with(0, 0x45).is_ok());
}

#[test]
fn protocol() {
    for protocol in (0..=255).filter(|protocol| *protocol != 112) {
        assert_eq!(with(9, protocol), Err(Discard::Protocol(protocol)));
    }
    assert!(with(9, 112).is_ok());
}

// RFC9568: 5.1.1.3-2- 7.1-1-
#[test]
fn ttl() {
    for ttl in 0..255 {
        assert_eq!(with(8, ttl), Err(Discard::Ttl(ttl)));
    }
    assert!(with(8, 255).is_ok());
}

#[test]
fn fragment() {
    assert_eq!(with(6, 0x20), Err(Discard::Fragment), "more fragments");
    assert_eq!(with(7, 1), Err(Discard::Fragment), "not the first");
    assert_eq!(with(6, 0x1f), Err(Discard::Fragment), "not the first");
    assert!(with(6, 0x40).is_ok(), "must not be fragmented");
}

#[test]
fn version2() {
    let version2 = |vrid, priority| Err(Discard::Version2 { source: SOURCE, vrid, priority });
    assert_eq!(with(20, 0x21), version2(155, 255));
    // Whatever else is in it.
    let other = altered(|bytes| bytes[20..28].copy_from_slice(&[0x21, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(other, version2(0, 0));
    assert!(with(20, 0x31).is_ok());
}

// RFC9568: 7.1-2-
#[test]
fn version() {
    for version in (0..16).filter(|version| !matches!(version, 2 | 3)) {
        assert_eq!(with(20, version << 4 | 1), Err(Discard::Version(version)));
    }
    assert!(with(20, 0x31).is_ok());
}

// RFC9568: 5.2.2-1- 7.1-3-
#[test]
fn kind() {
    for kind in (0..16).filter(|kind| *kind != 1) {
        assert_eq!(with(20, 0x30 | kind), Err(Discard::Type(kind)));
    }
    assert!(with(20, 0x31).is_ok());
}

// RFC9568: 5.2.5-1- 7.1-7-
#[test]
fn no_addresses() {
    assert_eq!(with(23, 0), Err(Discard::NoAddresses), "although one follows");
    let without = altered(|bytes| {
        bytes.truncate(28);
        bytes[3] = 28;
        bytes[23] = 0;
    });
    assert_eq!(without, Err(Discard::NoAddresses));
    assert!(with(23, 1).is_ok());
}

// RFC9568: 7.1-4-
#[test]
fn length() {
    for count in 2..=255 {
        assert_eq!(with(23, count), Err(Discard::Length { count, bytes: 4, of: 4 }));
    }
    // Keepalived's HMAC trailer and whatever else may stand behind the addresses, under the IP header's total length.
    for trailer in 1..=40u8 {
        let longer = |form| {
            let mut bytes = packet(&advert(form));
            bytes.extend(vec![0xa5; usize::from(trailer)]);
            bytes[3] += trailer;
            (bytes.clone(), {
                naive::fix(form, &mut bytes);
                bytes
            })
        };
        for form in FORMS {
            // Whether the checksum covers the trailer or not.
            let (uncovered, covered) = longer(form);
            let length = Err(Discard::Length { count: 1, bytes: 4 + usize::from(trailer), of: 4 });
            assert_eq!(parse(&uncovered), length);
            assert_eq!(parse(&covered), length);
        }
    }
    let two = Advert { addresses: vec![VIP, SOURCE], ..advert(ChecksumForm::Rfc9568) };
    assert_eq!(parse(&packet(&two)), Ok(two));
}

// RFC9568: 7.1-5-
#[test]
fn checksum() {
    for form in FORMS {
        let right = packet(&advert(form));
        let checksum = u16::from_be_bytes([right[26], right[27]]);
        let accepted: Vec<u16> = (0..=u16::MAX)
            .filter(|other| {
                let mut bytes = right.clone();
                bytes[26..28].copy_from_slice(&other.to_be_bytes());
                parse(&bytes) != Err(Discard::Checksum)
            })
            .collect();
        // One value for each form, and no other of the 65,536.
        assert_eq!(accepted, [0xb063, 0xb1c9]);
        assert!(accepted.contains(&checksum));
    }
}

// RFC9568: 5.2.3-1-
#[test]
fn vrid_zero() {
    assert_eq!(with(21, 0), Err(Discard::VridZero));
    for vrid in 1..=255 {
        assert_eq!(with(21, vrid).unwrap().vrid.get(), vrid);
    }
}

// RFC9568: 5.2.6-1- 6.1-2- 7.1-8-
#[test]
fn interval_zero() {
    let interval = |centis: u16| altered(|bytes| bytes[24..26].copy_from_slice(&centis.to_be_bytes()));
    for reserved in 0..16 {
        assert_eq!(interval(reserved << 12), Err(Discard::IntervalZero), "the reserved nibble is no interval");
        for centis in [1, 100, 0xff, 0x100, 4095] {
            // Section 5.2.6: the reserved nibble is ignored.
            assert_eq!(interval(reserved << 12 | centis).unwrap().interval.centis(), centis);
        }
    }
}

/// Every priority is fine on the wire, 0 and 255 included.
#[test]
fn no_priority_is_a_reason() {
    for priority in 0..=255 {
        assert_eq!(with(22, priority).unwrap().priority, priority);
    }
}

/// Of two reasons the one is told that says more: where it came from before what is in it, the version before all that
/// depends on the version, the length before the checksum over it.
#[test]
fn the_first_reason_is_told() {
    let both = |changes: &[(usize, u8)]| {
        let mut bytes = packet(&advert(ChecksumForm::Rfc9568));
        for (at, byte) in changes {
            bytes[*at] = *byte;
        }
        label(parse(&bytes))
    };
    assert_eq!(both(&[(9, 17), (8, 1)]), "protocol");
    assert_eq!(both(&[(8, 1), (20, 0x21)]), "ttl");
    assert_eq!(both(&[(8, 1), (3, 200)]), "ttl");
    assert_eq!(both(&[(20, 0x21), (23, 9)]), "version2");
    assert_eq!(both(&[(20, 0x42), (23, 9)]), "version");
    assert_eq!(both(&[(20, 0x32), (23, 9)]), "type");
    assert_eq!(both(&[(23, 9), (26, 0)]), "length");
    assert_eq!(both(&[(21, 0), (26, 0)]), "checksum");
    assert_eq!(both(&[]), "accepted");
}

#[test]
fn each_reason_has_a_label_and_a_sentence_of_its_own() {
    let all = [
        Discard::Truncated,
        Discard::NotIpv4,
        Discard::Protocol(17),
        Discard::Ttl(1),
        Discard::Fragment,
        Discard::Version2 { source: SOURCE, vrid: 51, priority: 100 },
        Discard::Version(1),
        Discard::Type(2),
        Discard::NoAddresses,
        Discard::Length { count: 1, bytes: 20, of: 4 },
        Discard::Checksum,
        Discard::VridZero,
        Discard::IntervalZero,
        Discard::NotIpv6,
        Discard::FirstAddress,
    ];
    let labels: BTreeSet<_> = all.iter().map(Discard::label).collect();
    assert_eq!(labels.len(), all.len());
    assert!(labels.iter().all(|label| label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))));
    let sentences: BTreeSet<_> = all.iter().map(Discard::to_string).collect();
    assert_eq!(sentences.len(), all.len());
    assert!(sentences.iter().all(|sentence| !sentence.is_empty()));
    // What varies is told.
    assert!(all[3].to_string().contains("TTL 1 "));
    assert!(all[5].to_string().contains("10.0.20.11, virtual router 51, priority 100"));
    assert!(all[9].to_string().contains("20 bytes for 1 "));
}

/// RFC 8347 counts some reasons by virtual router.
#[test]
fn a_discarded_message_names_its_virtual_router() {
    let right = packet(&advert(ChecksumForm::Rfc9568));
    let vrid = |bytes: &[u8]| vrid_of(ipv4::message(bytes));
    assert_eq!(vrid(&right), Some(155));
    for (at, byte) in [(20, 0x21), (20, 0x32), (21, 0), (23, 0), (23, 9), (24, 0xff), (8, 1)] {
        let mut bytes = right.clone();
        bytes[at] = byte;
        assert!(parse(&bytes).is_err());
        assert_eq!(vrid(&bytes), Some(bytes[21]), "byte {at} is {byte}");
    }
    // Its eight fixed bytes are there or not, in the packet and by its header's word.
    for length in 0..right.len() {
        assert_eq!(vrid(&right[..length]), (length >= 28).then_some(155), "{length} bytes");
        let mut bytes = right.clone();
        bytes[3] = length as u8;
        assert_eq!(vrid(&bytes), (length >= 28).then_some(155), "total length {length}");
    }
    // Behind options, and not in what follows a fragment's beginning.
    let mut bytes = right.clone();
    (bytes[0], bytes[3]) = (0x46, 36);
    bytes.splice(20..20, [1; 4]);
    assert_eq!(vrid(&bytes), Some(155));
    bytes[7] = 1;
    assert_eq!(vrid(&bytes), None);
    assert_eq!((vrid_of(&[0x31; 7]), vrid_of(&[0x31; 8])), (None, Some(0x31)));
}

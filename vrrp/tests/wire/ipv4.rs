//! The packet around the message, as etherparse reads it.

use std::net::Ipv4Addr;

use etherparse::{IpFragOffset, Ipv4Slice};
use vrrp::wire::advert::{Advert, ChecksumForm};
use vrrp::wire::ipv4::{packet, parse};

use super::{FORMS, GROUP, SOURCE, advert, naive};

/// RFC 9568 section 5.1.1: primary address, group, TTL 255, protocol 112.
// RFC9568: 5.1.1.3-1+ 7.2-4+
#[test]
fn the_header_is_one_that_others_read() {
    let bytes = packet(&advert(ChecksumForm::Rfc9568));
    let slice = Ipv4Slice::from_slice(&bytes).unwrap();
    let header = slice.header();
    assert_eq!((header.source_addr(), header.destination_addr()), (SOURCE, GROUP));
    assert_eq!((header.ttl(), header.protocol().0), (255, 112));
    assert_eq!(bytes[1], 0xc0, "TOS: internetwork control");
    assert_eq!((header.identification(), header.fragments_offset()), (0, IpFragOffset::ZERO));
    assert!(!header.more_fragments());
    assert_eq!(usize::from(header.total_len()), bytes.len());
    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
    assert_eq!(slice.payload().payload, advert(ChecksumForm::Rfc9568).emit());
}

#[test]
fn unicast_goes_where_it_is_sent() {
    let peer = Ipv4Addr::new(10, 0, 20, 12);
    for form in FORMS {
        let sent = Advert { destination: peer, ..advert(form) };
        let bytes = packet(&sent);
        assert_eq!(Ipv4Slice::from_slice(&bytes).unwrap().header().destination_addr(), peer);
        assert_eq!(parse(&bytes), Ok(sent));
    }
}

/// Up to ten words of options, which the message comes behind; and padding behind the packet, since a frame has 60
/// bytes at least.
#[test]
fn options_and_padding_are_passed_over() {
    for words in 0..=10u8 {
        for padding in [0, 1, 22] {
            for form in FORMS {
                let mut bytes = packet(&advert(form));
                bytes[0] += words;
                bytes[3] += words * 4;
                // "No operation", which looks like no part of a message.
                bytes.splice(20..20, vec![1; usize::from(words) * 4]);
                bytes.extend(vec![0x31; padding]);
                assert_eq!(parse(&bytes), Ok(advert(form)), "{words} words, {padding} bytes");
            }
        }
    }
}

/// With 255 addresses: 1,048 bytes, well within one Ethernet frame.
#[test]
fn the_longest_packet() {
    let sent = Advert { addresses: vec![SOURCE; 255], ..advert(ChecksumForm::Rfc5798) };
    let bytes = packet(&sent);
    assert_eq!(bytes.len(), 1048);
    assert!(naive::is_acceptable(&bytes));
    assert_eq!(parse(&bytes), Ok(sent));
}

//! Packets that Keepalived sent on a veth pair on 2026-11-24, from the IP header on: 2.2.7 of Debian 12 and 2.3.3 of
//! Debian 13, from 10.0.20.12.

use std::net::Ipv4Addr;

use vrrp::types::{Interval, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};
use vrrp::wire::arp::parse_claim;
use vrrp::wire::claim::Claim;
use vrrp::wire::ipv4::{Discard, parse};

use super::{GROUP, VIP};

const KEEPALIVED: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 12);

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Reads the packet, and sends the same message byte by byte.
fn check(hex: &str, expected: &Advert<Ipv4Addr>) {
    let packet = bytes(hex);
    assert_eq!(parse(&packet).as_ref(), Ok(expected));
    assert_eq!(expected.emit(), packet[20..]);
}

/// 2.2.7 with two addresses and half a second, as it comes: with the pseudo-header in the checksum.
// RFC9568: 5.1.1.3-2+ 5.2.2-1+ 5.2.3-1+ 5.2.5-1+ 7.1-1+ 7.1-2+ 7.1-3+ 7.1-4+ 7.1-5+ 7.1-7+ 7.1-8+ 7.2-1+
#[test]
fn keepalived_2_2_default() {
    let expected = Advert {
        source: KEEPALIVED,
        destination: GROUP,
        vrid: Vrid::new(51).unwrap(),
        priority: 100,
        interval: Interval::from_centis(50).unwrap(),
        addresses: vec![VIP, Ipv4Addr::new(10, 0, 20, 156)],
        checksum: ChecksumForm::Rfc5798,
    };
    check("45c0002400010000ff70bc8a0a00140ce00000123133640200322ec20a00149b0a00149c", &expected);
    // And its goodbye when it was stopped.
    let goodbye = Advert { priority: 0, ..expected };
    check("45c0002400100000ff70bc7b0a00140ce000001231330002003292c20a00149b0a00149c", &goodbye);
}

/// 2.3.3 with `v3_checksum_as_v2`: RFC 9568's checksum. The same router of 2.2.7, which ignores that word.
#[test]
fn keepalived_2_3_in_both_forms() {
    let expected = Advert {
        source: KEEPALIVED,
        destination: GROUP,
        vrid: Vrid::new(53).unwrap(),
        priority: 150,
        interval: Interval::DEFAULT,
        addresses: vec![Ipv4Addr::new(10, 0, 20, 158)],
        checksum: ChecksumForm::Rfc9568,
    };
    check("45c0002000010000ff70bc8e0a00140ce000001231359601006419c70a00149e", &expected);
    let without = Advert { checksum: ChecksumForm::Rfc5798, ..expected };
    check("45c0002000010000ff70bc8e0a00140ce00000123135960100641b2c0a00149e", &without);
}

/// 2.3.3 to a unicast peer: the peer is in the pseudo-header.
#[test]
fn keepalived_2_3_unicast() {
    let expected = Advert {
        source: KEEPALIVED,
        destination: Ipv4Addr::new(10, 0, 20, 11),
        vrid: Vrid::new(54).unwrap(),
        priority: 120,
        interval: Interval::DEFAULT,
        addresses: vec![Ipv4Addr::new(10, 0, 20, 159)],
        checksum: ChecksumForm::Rfc5798,
    };
    check("45c0002000010000ff707e960a00140c0a00140b313678010064fb310a00149f", &expected);
    check("45c0002000050000ff707e920a00140c0a00140b31360001006473320a00149f", &Advert { priority: 0, ..expected });
}

/// 2.2.7 in version 2 with a password, and its goodbye: recognised, not obeyed.
#[test]
fn keepalived_2_2_version_2() {
    let version2 = |priority| Err(Discard::Version2 { source: KEEPALIVED, vrid: 52, priority });
    let packet = "45c0002800010000ff70bc860a00140ce0000012213464010101edad0a00149d7365637265743132";
    assert_eq!(parse(&bytes(packet)), version2(100));
    let goodbye = "45c0002800070000ff70bc800a00140ce000001221340001010151ae0a00149d7365637265743132";
    assert_eq!(parse(&bytes(goodbye)), version2(0));
}

/// 2.2.7's announcement: a request whose target hardware address is all ones. And the Linux kernel's question for a
/// neighbour, which names its sender as well.
#[test]
fn arp_of_others() {
    let mac = [0x2e, 0x58, 0x51, 0x2e, 0xe0, 0x3f];
    let announcement = "ffffffffffff2e58512ee03f080600010800060400012e58512ee03f0a00149bffffffffffff0a00149b";
    assert_eq!(parse_claim(&bytes(announcement)), Some(Claim { address: VIP.into(), mac }));
    let question = "ffffffffffff2e58512ee03f080600010800060400012e58512ee03f0a00140c0000000000000a00140b";
    assert_eq!(parse_claim(&bytes(question)), Some(Claim { address: KEEPALIVED.into(), mac }));
}

//! Frames for people: those that Keepalived 2.2.7 sent on a veth pair on 2026-11-26, and what is wrong with others.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use vrrp::types::{Interval, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};
use vrrp::wire::heard::{Heard, Message};
use vrrp::wire::ipv4::{self, Discard};
use vrrp::wire::ipv6;

use super::captures::bytes;
use super::naive;

const V3: &str = "01005e0000125e91f6fe1125080045c0002000010000ff70d0900a090001e000001231336401003275930a090064";
const V3_GOODBYE: &str = "01005e0000125e91f6fe1125080045c00020000e0000ff70d0830a090001e0000012313300010032d9930a090064";
const V2: &str = "01005e0000125e91f6fe1125080045c0002c00010000ff70d0840a090001e0000012213566020101269e0a0900650a0900667365637265740000";
const V6: &str = "3333000000125e91f6fe112586dd6c0367be002870fffe800000000000005c91f6fffefe1125ff0200000000000000000000000000123134650200320a20fe800000000000000000000000090100fd000009000000000000000000000100";

fn heard(frame: &[u8]) -> Heard {
    Heard::read(frame).unwrap()
}

fn addresses(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|address| address.parse().unwrap()).collect()
}

#[test]
fn keepalived_version_3_over_ipv4() {
    let expected = Heard {
        mac: [0x5e, 0x91, 0xf6, 0xfe, 0x11, 0x25],
        source: [10, 9, 0, 1].into(),
        destination: [224, 0, 0, 18].into(),
        ttl: 255,
        message: Some(Message {
            version: 3,
            kind: 1,
            vrid: 51,
            priority: 100,
            interval: Duration::from_millis(500),
            addresses: addresses(&["10.9.0.100"]),
            checksum: Some(ChecksumForm::Rfc5798),
            authentication: None,
        }),
        fault: None,
        probe: None,
    };
    assert_eq!(heard(&bytes(V3)), expected);
    assert_eq!(heard(&bytes(V3_GOODBYE)).message.unwrap().priority, 0);
}

// RFC9568: 5.1.2.3-2+ 5.2.9-1+ 5.2.9-2+ 7.1-9+
#[test]
fn keepalived_version_3_over_ipv6() {
    let frame = bytes(V6);
    let Heard { source, destination, ttl, message, fault, .. } = heard(&frame);
    assert_eq!([source, destination], *addresses(&["fe80::5c91:f6ff:fefe:1125", "ff02::12"]));
    let message = message.unwrap();
    assert_eq!((ttl, message.vrid, message.priority), (255, 52, 101));
    assert_eq!(message.addresses, addresses(&["fe80::9:100", "fd00:9::100"]));
    assert_eq!((message.checksum, fault), (Some(ChecksumForm::Rfc9568), None));
    // The router reads the same, and would send the same.
    let advert = ipv6::parse(&frame[14..]).unwrap();
    assert_eq!((advert.vrid, advert.interval), (Vrid::new(52).unwrap(), Interval::from_centis(50).unwrap()));
    assert_eq!(advert.emit(), frame[54..]);
    assert_eq!(ipv6::parse_message(advert.source, advert.destination, 255, &frame[54..]).as_ref(), Ok(&advert));
}

#[test]
fn keepalived_version_2_with_a_password() {
    let frame = bytes(V2);
    let message = heard(&frame).message.unwrap();
    assert_eq!((message.version, message.vrid, message.priority), (2, 53, 102));
    assert_eq!((message.interval, message.authentication), (Duration::from_secs(1), Some(1)));
    assert_eq!(message.addresses, addresses(&["10.9.0.101", "10.9.0.102"]));
    assert_eq!((message.checksum, heard(&frame).fault), (None, None));
    // The addresses, then a byte of the password, which its checksum covers too.
    for at in [42, 52] {
        let mut other = frame.clone();
        other[at] ^= 1;
        assert_eq!(heard(&other).fault, Some(Discard::Checksum));
    }
}

/// Each is told, and what could be read is shown all the same.
// RFC9568: 5.1.2.3-2- 5.2.8-1- 7.1-1-
#[test]
fn what_is_wrong() {
    // Where in the frame, what it becomes, and why that is wrong.
    let cases: [(&str, usize, u8, Discard); 11] = [
        (V3, 22, 64, Discard::Ttl(64)),
        (V3, 34, 0x41, Discard::Version(4)),
        (V3, 34, 0x32, Discard::Type(2)),
        (V3, 37, 0, Discard::NoAddresses),
        (V3, 37, 2, Discard::Length { count: 2, bytes: 4, of: 4 }),
        (V3, 36, 101, Discard::Checksum),
        (V2, 22, 1, Discard::Ttl(1)),
        (V2, 34, 0x22, Discard::Type(2)),
        (V2, 37, 0, Discard::NoAddresses),
        (V6, 21, 254, Discard::Ttl(254)),
        (V6, 58, 0x10, Discard::Checksum),
    ];
    for (hex, at, to, fault) in cases {
        let mut frame = bytes(hex);
        frame[at] = to;
        let heard = heard(&frame);
        assert_eq!(heard.fault, Some(fault));
        assert!(heard.message.is_some());
    }
    let cut = heard(&bytes(V3)[..40]);
    assert_eq!((cut.message, cut.fault), (None, Some(Discard::Truncated)));
}

/// Erratum 8300: the first address of an IPv6 virtual router is link-local.
// RFC9568: 5.2.9-1- 7.1-9-
#[test]
fn a_first_address_that_is_not_link_local() {
    let advert = ipv6::parse(&bytes(V6)[14..]).unwrap();
    let other = Advert { addresses: vec![advert.addresses[1], advert.addresses[0]], ..advert.clone() };
    let read = ipv6::parse_message(advert.source, advert.destination, 255, &other.emit());
    assert_eq!(read, Err(Discard::FirstAddress));
}

/// RFC 9568 section 5.2.8: the pseudo-header of RFC 8200 section 8.1, written out.
// RFC9568: 5.2.8-1+
#[test]
fn the_checksum_over_ipv6() {
    let frame = bytes(V6);
    let (header, message) = frame[14..].split_at(40);
    let mut summed = header[8..40].to_vec();
    summed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    summed.extend([0, 0, 0, 112]);
    summed.extend(message);
    assert_eq!(naive::checksum(&summed), 0);
}

#[test]
fn everything_else_is_nothing() {
    let mut udp = bytes(V3);
    udp[23] = 17;
    assert_eq!(Heard::read(&udp), None);
    let mut arp = bytes(V3);
    arp[12..14].copy_from_slice(&[8, 6]);
    assert_eq!(Heard::read(&arp), None);
    assert_eq!(Heard::read(&bytes(V6)[..40]), None);
    assert_eq!(Heard::read(&[]), None);
}

proptest! {
    /// Whatever is changed or cut off: no panic, and whoever is told nothing wrong is believed by the router too.
    #[test]
    fn any_frame(of in 0..3usize, changes in prop::collection::vec((0..90usize, any::<u8>()), 0..4), cut in 0..100usize) {
        let mut frame = bytes([V3, V2, V6][of]);
        for (at, to) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = to;
            }
        }
        frame.truncate(cut);
        let Some(Heard { fault, message, source, .. }) = Heard::read(&frame) else { return Ok(()) };
        if fault.is_none() {
            let is_version2 = message.is_some_and(|message| message.version == 2);
            let is_read = if source.is_ipv4() { ipv4::parse(&frame[14..]).is_ok() } else { ipv6::parse(&frame[14..]).is_ok() };
            prop_assert!(is_version2 || is_read);
        }
    }
}

//! Announcements as etherparse reads them, and what counts as a claim.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{ArpHardwareId, ArpOperation, ArpPacketSlice, EtherType, Ethernet2Slice};
use vrrp::wire::arp::{Form, LENGTH, announcement, parse_claim};
use vrrp::wire::claim::Claim;

use super::{MAC, VIP};

const CLAIM: Claim = Claim { address: IpAddr::V4(VIP), mac: MAC };

/// RFC 9568 sections 6.4.1 and 6.4.2 with errata 7947 and 7949: to everybody; the address is sender and target, and so
/// is the MAC.
#[test]
fn announcements_are_arp_that_others_read() {
    for (form, operation) in [(Form::Request, ArpOperation::REQUEST), (Form::Reply, ArpOperation::REPLY)] {
        let frame = announcement(MAC, VIP, form);
        let ethernet = Ethernet2Slice::from_slice_without_fcs(&frame).unwrap();
        assert_eq!((ethernet.destination(), ethernet.source()), ([0xff; 6], MAC));
        assert_eq!(ethernet.ether_type(), EtherType::ARP);
        let arp = ArpPacketSlice::from_slice(ethernet.payload_slice()).unwrap();
        assert_eq!((arp.hw_addr_type(), arp.proto_addr_type()), (ArpHardwareId::ETHERNET, EtherType::IPV4));
        assert_eq!((arp.hw_addr_size(), arp.proto_addr_size()), (6, 4));
        assert_eq!(arp.operation(), operation);
        assert_eq!((arp.sender_hw_addr(), arp.sender_protocol_addr()), (&MAC[..], &VIP.octets()[..]));
        assert_eq!((arp.target_hw_addr(), arp.target_protocol_addr()), (&MAC[..], &VIP.octets()[..]));
    }
}

/// RFC 826's fields in their places.
// RFC9568: 6.4.1-1+ 6.4.2-7+
#[test]
fn an_announcement_byte_by_byte() {
    #[rustfmt::skip]
    let expected = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0x06,
        0, 1, 0x08, 0x00, 6, 4, 0, 1,
        2, 0, 0, 0, 0, 1, 10, 0, 20, 155,
        2, 0, 0, 0, 0, 1, 10, 0, 20, 155,
    ];
    assert_eq!(announcement(MAC, VIP, Form::Request), expected);
}

#[test]
fn an_announcement_is_a_claim_with_and_without_padding() {
    for form in [Form::Request, Form::Reply] {
        let mut frame = announcement(MAC, VIP, form).to_vec();
        assert_eq!(parse_claim(&frame), Some(CLAIM));
        frame.resize(60, 0);
        assert_eq!(parse_claim(&frame), Some(CLAIM));
    }
}

#[test]
fn a_part_of_a_frame_is_no_claim() {
    let frame = announcement(MAC, VIP, Form::Reply);
    for length in 0..LENGTH {
        assert_eq!(parse_claim(&frame[..length]), None, "{length} bytes");
    }
}

/// RFC 5227 section 1.1: who asks before taking an address does so with sender 0.0.0.0.
#[test]
fn a_probe_is_no_claim() {
    let mut probe = announcement(MAC, Ipv4Addr::UNSPECIFIED, Form::Request);
    probe[38..42].copy_from_slice(&VIP.octets());
    assert_eq!(parse_claim(&probe), None);
}

/// Ordinary questions and answers name their sender too: caches learn from them all the same.
#[test]
fn whoever_speaks_with_the_address_claims_it() {
    for form in [Form::Request, Form::Reply] {
        let mut frame = announcement(MAC, VIP, form);
        frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        frame[32..38].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        frame[38..42].copy_from_slice(&[10, 0, 20, 1]);
        assert_eq!(parse_claim(&frame), Some(CLAIM));
        // The target is claimed by nobody.
        let mut question = announcement(MAC, Ipv4Addr::new(10, 0, 20, 1), form);
        question[38..42].copy_from_slice(&VIP.octets());
        assert_eq!(parse_claim(&question).unwrap().address, Ipv4Addr::new(10, 0, 20, 1));
    }
}

/// Caches take the MAC in the ARP message, not the one that the frame came from.
#[test]
fn the_claimed_mac_is_the_one_in_the_message() {
    let mut frame = announcement(MAC, VIP, Form::Reply);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    assert_eq!(parse_claim(&frame), Some(CLAIM));
}

/// Every value of every byte that says what kind of frame this is: EtherType, types, lengths, operation.
#[test]
fn another_kind_of_frame_is_no_claim() {
    let right = announcement(MAC, VIP, Form::Reply);
    for at in 12..22 {
        for byte in 0..=255 {
            let mut frame = right;
            frame[at] = byte;
            let is_right = byte == right[at] || (at == 21 && byte == 1);
            assert_eq!(parse_claim(&frame), is_right.then_some(CLAIM), "byte {at} is {byte}");
        }
    }
}

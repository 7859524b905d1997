//! A frame as the packet socket hands it over: a claim that is announced again is read as the same.

use std::net::IpAddr;

use vrrp::wire::arp::{Form, announcement, parse_claim};

pub fn run(bytes: &[u8]) {
    let Some(claim) = parse_claim(bytes) else { return };
    let IpAddr::V4(address) = claim.address else { panic!("ARP is IPv4's") };
    assert!(!address.is_unspecified());
    for form in [Form::Request, Form::Reply] {
        assert_eq!(parse_claim(&announcement(claim.mac, address, form)), Some(claim));
    }
}

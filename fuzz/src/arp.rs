//! A frame as the packet socket hands it over: a claim that is announced again is read as the same.

use vrrp::wire::arp::{Form, announcement, parse_claim};

pub fn run(bytes: &[u8]) {
    let Some(claim) = parse_claim(bytes) else { return };
    assert!(!claim.address.is_unspecified());
    for form in [Form::Request, Form::Reply] {
        assert_eq!(parse_claim(&announcement(claim.mac, claim.address, form)), Some(claim));
    }
}

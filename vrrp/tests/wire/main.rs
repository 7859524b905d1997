//! The wire formats against independent readings of the same bytes: packets captured from Keepalived, etherparse, and a
//! checksum that is summed here in the most naive way.

#![allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]

mod advert;
mod any_bytes;
mod arp;
mod captures;
mod discard;
mod heard;
mod ipv4;
mod naive;
mod ndisc;
mod tickle;

use std::net::Ipv4Addr;

use vrrp::types::{Interval, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 11);
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 155);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

const FORMS: [ChecksumForm; 2] = [ChecksumForm::Rfc9568, ChecksumForm::Rfc5798];

/// What the owner of virtual router 155 sends each second.
fn advert(checksum: ChecksumForm) -> Advert<Ipv4Addr> {
    Advert {
        source: SOURCE,
        destination: GROUP,
        vrid: Vrid::new(155).unwrap(),
        priority: 255,
        interval: Interval::DEFAULT,
        addresses: vec![VIP],
        checksum,
    }
}

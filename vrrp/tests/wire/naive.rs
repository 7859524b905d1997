//! What the crate does, done again in the plainest way.

use std::net::Ipv4Addr;

use etherparse::Ipv4HeaderSlice;
use vrrp::wire::advert::ChecksumForm;

/// RFC 1071 word by word, in 64 bits, folded at the end.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) * 256 + pair.get(1).map_or(0, |low| u64::from(*low));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// What the checksum of `message` is summed over (RFC 9568 section 5.2.8, RFC 793 section 3.1 for the pseudo-header).
pub(crate) fn summed(form: ChecksumForm, source: Ipv4Addr, destination: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if form == ChecksumForm::Rfc5798 {
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
        bytes.extend([0, 112]);
        bytes.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    }
    bytes.extend(message);
    bytes
}

/// Makes the checksum right of a message that follows an IP header of 20 bytes, if there is a message.
pub(crate) fn fix(form: ChecksumForm, packet: &mut [u8]) {
    if packet.len() < 28 {
        return;
    }
    let (header, message) = packet.split_at_mut(20);
    let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    message[6..8].fill(0);
    let checksum = checksum(&summed(form, address(12), address(16), message));
    message[6..8].copy_from_slice(&checksum.to_be_bytes());
}

/// Whether RFC 9568 section 7.1 with its errata lets the packet pass: every condition, in no order.
pub(crate) fn is_acceptable(packet: &[u8]) -> bool {
    let Ok(header) = Ipv4HeaderSlice::from_slice(packet) else { return false };
    let Some(message) = packet.get(header.slice().len()..usize::from(header.total_len())) else { return false };
    let right = |form| checksum(&summed(form, header.source_addr(), header.destination_addr(), message)) == 0;
    header.protocol().0 == 112
        && header.ttl() == 255
        && !header.is_fragmenting_payload()
        && message.len() >= 8
        && message[0] == 0x31
        && message[1] != 0
        && message[3] != 0
        && message.len() == 8 + 4 * usize::from(message[3])
        && (message[4] % 16, message[5]) != (0, 0)
        && (right(ChecksumForm::Rfc9568) || right(ChecksumForm::Rfc5798))
}

/// The naive checksum is checked too, against etherparse and the example of RFC 1071 section 3.
#[test]
fn the_naive_checksum_is_right() {
    assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    for length in 0..64u8 {
        let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(89).wrapping_add(200)).collect();
        let other = etherparse::checksum::Sum16BitWords::new().add_slice(&bytes).ones_complement().to_be();
        assert_eq!(checksum(&bytes), other, "{length}");
    }
}

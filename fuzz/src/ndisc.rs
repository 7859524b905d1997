//! A frame as the packet socket hands it over: a claim that is announced again is read as the same.

use std::net::IpAddr;

use vrrp::wire::ndisc::{announcement, parse_claim};

/// Bytes before the ICMPv6 message.
const HEADERS: usize = 14 + 40;

pub fn run(bytes: &[u8]) {
    check(bytes);
    // With a right length and checksum as well: hardly any bytes have them, and the options are looked at after that.
    let mut mended = bytes.to_vec();
    if mend(&mut mended).is_some() {
        check(&mended);
    }
}

fn check(bytes: &[u8]) {
    let Some(claim) = parse_claim(bytes) else { return };
    let IpAddr::V6(address) = claim.address else { panic!("neighbour discovery is IPv6's") };
    assert!(!address.is_unspecified() && !address.is_multicast());
    assert_eq!(parse_claim(&announcement(claim.mac, address)), Some(claim));
}

/// Puts the right length into the IPv6 header, and the right checksum into the message behind it.
fn mend(bytes: &mut [u8]) -> Option<()> {
    let (header, message) = bytes.split_at_mut_checked(HEADERS)?;
    let length = u16::try_from(message.len()).ok().filter(|length| *length >= 4)?.to_be_bytes();
    header[18..20].copy_from_slice(&length);
    message[2..4].fill(0);
    let summed = [&header[22..], &[0, 0, length[0], length[1], 0, 0, 0, 58], message].concat();
    let words = summed.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0)));
    let sum = words.sum::<u64>();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    message[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    Some(())
}

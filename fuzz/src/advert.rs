//! A packet as the raw socket hands it over: what passes and is sent again is read as the same.

use vrrp::wire::advert::ChecksumForm;
use vrrp::wire::ipv4::{packet, parse};

pub fn run(bytes: &[u8]) {
    check(bytes);
    // With a right checksum as well: hardly any bytes have one, and all else is looked at after it.
    let mut mended = bytes.to_vec();
    if mend(&mut mended).is_some() {
        check(&mended);
    }
}

fn check(bytes: &[u8]) {
    let first = match parse(bytes) {
        Ok(advert) => advert,
        Err(discard) => return assert!(!discard.to_string().is_empty() && !discard.label().is_empty()),
    };
    let again = parse(&packet(&first)).expect("what was accepted is accepted again");
    // What was right with the pseudo-header may be right without it once the reserved nibble is zero.
    let checksum = if again.checksum == ChecksumForm::Rfc9568 { again.checksum } else { first.checksum };
    assert_eq!((&again.checksum, again.emit()), (&checksum, first.emit()));
    assert_eq!((again.source, again.destination), (first.source, first.destination));
}

/// Puts the right checksum into the message behind the IP header, in RFC 9568's form.
fn mend(bytes: &mut [u8]) -> Option<()> {
    let start = usize::from(bytes.first()? & 15) * 4;
    let end = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
    let message = bytes.get_mut(start..end).filter(|message| message.len() >= 8)?;
    message[6..8].fill(0);
    let words = message.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0)));
    let sum = words.sum::<u64>();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    message[6..8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    Some(())
}

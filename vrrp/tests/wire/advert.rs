//! The message, as RFC 9568 section 5.2 lays it out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp::types::{Interval, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

use super::{FORMS, GROUP, SOURCE, VIP, advert, naive};

/// Takes the checksum out of a message, leaving zero.
fn take_checksum(message: &mut [u8]) -> u16 {
    let checksum = u16::from_be_bytes([message[6], message[7]]);
    message[6..8].fill(0);
    checksum
}

// RFC9568: 5.2.6-1+ 7.2-1+
#[test]
fn the_message_is_laid_out_as_in_section_5_2() {
    let mut message = Advert {
        vrid: Vrid::new(7).unwrap(),
        priority: 100,
        interval: Interval::from_centis(0xabc).unwrap(),
        addresses: vec![VIP, Ipv4Addr::new(192, 0, 2, 1)],
        ..advert(ChecksumForm::Rfc9568)
    }
    .emit();
    take_checksum(&mut message);
    // Version 3 and type 1, virtual router, priority, count; the reserved nibble is zero.
    assert_eq!(message, [0x31, 7, 100, 2, 0x0a, 0xbc, 0, 0, 10, 0, 20, 155, 192, 0, 2, 1]);
}

// RFC9568: 5.2.8-2+
#[test]
fn each_form_is_summed_over_what_it_says() {
    for form in FORMS {
        let mut message = advert(form).emit();
        let checksum = take_checksum(&mut message);
        assert_eq!(checksum, naive::checksum(&naive::summed(form, SOURCE, GROUP, &message)), "{form:?}");
    }
    // 0x319b + 0xff01 + 0x0064 + 0x0a00 + 0x149b = 0x14f9b, 0x4f9c, inverted. With 0x0a00 + 0x140b + 0xe000 + 0x0012 +
    // 0x0070 + 0x000c = 0xfe99 in addition 0x14e35, 0x4e36, inverted.
    assert_eq!(advert(ChecksumForm::Rfc9568).emit()[6..8], [0xb0, 0x63]);
    assert_eq!(advert(ChecksumForm::Rfc5798).emit()[6..8], [0xb1, 0xc9]);
}

#[test]
fn both_forms_are_read_and_told_apart() {
    for form in FORMS {
        assert_eq!(Advert::parse(SOURCE, GROUP, &advert(form).emit()), Ok(advert(form)));
    }
}

/// A pseudo-header that sums up to nothing makes both forms the same. Such a message is in RFC 9568's form.
#[test]
fn a_message_that_is_right_in_both_forms_is_rfc_9568s() {
    // 0xe000 + 0x0012 + 0x0070 + 0x000c = 0xe08e; 0x1f71 is missing to 0xffff.
    let source = Ipv4Addr::new(0x0a, 0x00, 0x15, 0x71);
    for form in FORMS {
        let sent = Advert { source, ..advert(form) };
        let message = sent.emit();
        for form in FORMS {
            assert_eq!(naive::checksum(&naive::summed(form, source, GROUP, &message)), 0);
        }
        let read = Advert::parse(source, GROUP, &message).unwrap();
        assert_eq!(read, Advert { checksum: ChecksumForm::Rfc9568, ..sent });
    }
}

/// The pseudo-header is that of the packet which the message came in.
#[test]
fn the_pseudo_header_belongs_to_the_checksum() {
    let message = advert(ChecksumForm::Rfc5798).emit();
    let elsewhere = Ipv4Addr::new(10, 0, 20, 12);
    assert!(Advert::parse(elsewhere, GROUP, &message).is_err());
    assert!(Advert::parse(SOURCE, elsewhere, &message).is_err());
    let message = advert(ChecksumForm::Rfc9568).emit();
    assert!(Advert::parse(elsewhere, GROUP, &message).is_ok());
}

/// The count is one byte (section 5.2.5).
#[test]
fn as_many_addresses_as_can_be_counted() {
    let addresses: Vec<_> = (0..300).map(|host| Ipv4Addr::from(0x0a00_0000 + host)).collect();
    for form in FORMS {
        let all = Advert { addresses: addresses[..255].to_vec(), ..advert(form) };
        assert_eq!(all.emit().len(), 8 + 255 * 4);
        assert_eq!(Advert::parse(SOURCE, GROUP, &all.emit()), Ok(all.clone()));
        let too_many = Advert { addresses: addresses.clone(), ..advert(form) };
        assert_eq!(too_many.emit(), all.emit());
    }
}

/// What decides goes by what an advertisement says, over whichever family it came.
#[test]
fn an_advert_of_either_family_is_an_advert() {
    for form in FORMS {
        let any: Advert = advert(form).into();
        assert_eq!((any.source, any.destination), (SOURCE.into(), GROUP.into()));
        assert_eq!(any.addresses, [IpAddr::from(VIP)]);
        assert_eq!((any.vrid.get(), any.priority, any.interval, any.checksum), (155, 255, Interval::DEFAULT, form));
    }
    let [source, destination, link_local, global]: [Ipv6Addr; 4] =
        ["fe80::11", "ff02::12", "fe80::155", "fd00::155"].map(|address| address.parse().unwrap());
    let over6 = Advert {
        source,
        destination,
        vrid: Vrid::new(155).unwrap(),
        priority: 100,
        interval: Interval::DEFAULT,
        addresses: vec![link_local, global],
        checksum: ChecksumForm::Rfc9568,
    };
    assert_eq!(Advert::parse(source, destination, &over6.emit()), Ok(over6.clone()));
    let any: Advert = over6.into();
    assert_eq!((any.source, any.destination), (source.into(), destination.into()));
    assert_eq!(any.addresses, [IpAddr::from(link_local), IpAddr::from(global)]);
}

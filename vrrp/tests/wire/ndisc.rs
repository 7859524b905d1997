//! Neighbour advertisements as etherparse reads them, and what counts as a claim.

use std::net::{IpAddr, Ipv6Addr};

use etherparse::icmpv6::{Icmpv6PayloadSlice, NdpOptionSlice};
use etherparse::{EtherType, Ethernet2Slice, Icmpv6Slice, Icmpv6Type, Ipv6HeaderSlice};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use vrrp::wire::claim::Claim;
use vrrp::wire::ndisc::{LENGTH, announcement, parse_claim};

use super::captures::bytes;
use super::{MAC, naive};

const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x155);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const CLAIM: Claim = Claim { address: IpAddr::V6(VIP6), mac: MAC };

/// Where the ICMPv6 message begins, and its options.
const MESSAGE: usize = 14 + 40;
const OPTIONS: usize = MESSAGE + 24;

/// Makes the checksum right, and the payload's length as well.
fn fix(frame: &mut [u8]) {
    let (header, message) = frame.split_at_mut(MESSAGE);
    header[18..20].copy_from_slice(&u16::try_from(message.len()).unwrap().to_be_bytes());
    message[2..4].fill(0);
    let checksum = naive::checksum(&summed(&header[22..54], message));
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
}

/// RFC 8200 section 8.1.
fn summed(addresses: &[u8], message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [addresses, &length, &[0, 0, 0, 58], message].concat()
}

/// An announcement that was altered, and made right again apart from that.
fn altered(alter: impl FnOnce(&mut Vec<u8>)) -> Option<Claim> {
    let mut frame = announcement(MAC, VIP6).to_vec();
    alter(&mut frame);
    fix(&mut frame);
    parse_claim(&frame)
}

/// RFC 4861 section 7.1.2 as etherparse and the naive checksum read it.
fn expected(frame: &[u8]) -> Option<Claim> {
    let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).ok()?;
    let header = Ipv6HeaderSlice::from_slice(ethernet.payload_slice()).ok()?;
    let message = ethernet.payload_slice()[40..].get(..usize::from(header.payload_length()))?;
    let icmp = Icmpv6Slice::from_slice(message).ok()?;
    let Icmpv6Type::NeighborAdvertisement(flags) = icmp.icmp_type() else { return None };
    let Ok(Icmpv6PayloadSlice::NeighborAdvertisement(payload)) = icmp.payload_slice() else { return None };
    let target = payload.target_address();
    let to_group = header.destination_addr().is_multicast();
    let is_right = ethernet.ether_type() == EtherType::IPV6
        && header.next_header().0 == 58
        && header.hop_limit() == 255
        && naive::checksum(&summed(&header.slice()[8..40], message)) == 0
        && !(to_group && flags.solicited)
        && !target.is_multicast()
        && !target.is_unspecified();
    let options = options(payload.options())?;
    let mac =
        options.iter().find(|option| (option[0], option.len()) == (2, 8)).map(|option| option[2..].try_into().unwrap());
    is_right.then(|| Claim { address: target.into(), mac: mac.unwrap_or_else(|| ethernet.source()) })
}

/// Options one by one, whatever is in them: those that an advertisement has no use for are ignored (section 7.1.2), where
/// etherparse wants them to be right too.
fn options(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut options = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = 8 * usize::from(*bytes.get(at + 1)?);
        options.push(bytes.get(at..at + length).filter(|option| !option.is_empty())?);
        at += length;
    }
    Some(options)
}

/// RFC 9568 sections 6.4.1 and 6.4.2: to everybody, R = 1, S = 0, O = 1, target and its link-layer address.
// RFC9568: 6.4.1-1+ 6.4.2-7+
#[test]
fn an_announcement_is_an_advertisement_that_others_read() {
    for address in [VIP6, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x155)] {
        let frame = announcement(MAC, address);
        let ethernet = Ethernet2Slice::from_slice_without_fcs(&frame).unwrap();
        assert_eq!((ethernet.destination(), ethernet.source()), ([0x33, 0x33, 0, 0, 0, 1], MAC));
        assert_eq!(ethernet.ether_type(), EtherType::IPV6);
        let header = Ipv6HeaderSlice::from_slice(ethernet.payload_slice()).unwrap();
        assert_eq!((header.source_addr(), header.destination_addr()), (address, ALL_NODES));
        assert_eq!((header.hop_limit(), header.next_header().0), (255, 58));
        let message = &ethernet.payload_slice()[40..];
        assert_eq!(usize::from(header.payload_length()), message.len());
        let icmp = Icmpv6Slice::from_slice(message).unwrap();
        assert!(icmp.is_checksum_valid(address.octets(), ALL_NODES.octets()));
        let Icmpv6Type::NeighborAdvertisement(flags) = icmp.icmp_type() else { panic!("{:?}", icmp.icmp_type()) };
        assert_eq!((flags.router, flags.solicited, flags.r#override), (true, false, true));
        let Icmpv6PayloadSlice::NeighborAdvertisement(payload) = icmp.payload_slice().unwrap() else { panic!() };
        assert_eq!(payload.target_address(), address);
        let options: Vec<_> = payload.options_iterator().map(Result::unwrap).collect();
        let [NdpOptionSlice::TargetLinkLayerAddress(mac)] = &options[..] else { panic!("{options:?}") };
        assert_eq!(mac.link_layer_address(), MAC);
        assert_eq!(parse_claim(&frame), Some(Claim { address: address.into(), mac: MAC }));
    }
}

/// RFC 4861 section 4.4's fields in their places; the checksum was summed by hand.
#[test]
fn an_announcement_byte_by_byte() {
    #[rustfmt::skip]
    let mut expected = vec![
        0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd,
        0x60, 0, 0, 0, 0, 32, 58, 255,
    ];
    expected.extend(VIP6.octets());
    expected.extend(ALL_NODES.octets());
    // Source and target 2 * 0xfe75, group 0xff03, length and protocol 0x5a, type 0x8800, flags 0xa000, option 0x0201 and
    // MAC 0x0201: 0x42849, 0x284d folded, inverted.
    expected.extend([136, 0, 0xd7, 0xb2, 0xa0, 0, 0, 0]);
    expected.extend(VIP6.octets());
    expected.extend([2, 1, 2, 0, 0, 0, 0, 1]);
    assert_eq!(announcement(MAC, VIP6)[..], expected);
}

/// What the Linux kernel says of an address that was asked for: solicited, to the one who asked.
#[test]
fn an_answer_of_the_kernels_is_a_claim() {
    let mut frame = announcement(MAC, VIP6);
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    frame[38..54].copy_from_slice(&Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 9).octets());
    frame[MESSAGE + 4] = 0x60;
    fix(&mut frame);
    assert_eq!(parse_claim(&frame), Some(CLAIM));
    // To everybody nobody answers (section 7.1.2).
    assert_eq!(altered(|frame| frame[MESSAGE + 4] = 0x60), None);
}

#[test]
fn a_part_of_a_frame_is_no_claim_and_padding_is_none_either() {
    let frame = announcement(MAC, VIP6);
    for length in 0..LENGTH {
        assert_eq!(parse_claim(&frame[..length]), None, "{length} bytes");
    }
    let padded = [&frame[..], &[0; 18]].concat();
    assert_eq!(parse_claim(&padded), Some(CLAIM));
}

#[test]
fn what_a_router_passed_on_is_no_claim() {
    for hop_limit in 0..255 {
        assert_eq!(altered(|frame| frame[21] = hop_limit), None);
    }
    assert_eq!(altered(|_| {}), Some(CLAIM));
}

#[test]
fn another_kind_of_message_is_no_claim() {
    for byte in 0..=255 {
        let is = |right: u8| (byte == right).then_some(CLAIM);
        assert_eq!(altered(|frame| frame[12] = byte), is(0x86), "EtherType");
        assert_eq!(altered(|frame| frame[13] = byte), is(0xdd), "EtherType");
        assert_eq!(altered(|frame| frame[14] = byte), Some(CLAIM).filter(|_| byte >> 4 == 6), "version");
        assert_eq!(altered(|frame| frame[20] = byte), is(58), "next header");
        assert_eq!(altered(|frame| frame[MESSAGE] = byte), is(136), "type");
        assert_eq!(altered(|frame| frame[MESSAGE + 1] = byte), is(0), "code");
    }
}

#[test]
fn nobody_claims_a_group_or_nothing() {
    for target in [ALL_NODES, Ipv6Addr::UNSPECIFIED] {
        assert_eq!(altered(|frame| frame[MESSAGE + 8..OPTIONS].copy_from_slice(&target.octets())), None, "{target}");
    }
}

#[test]
fn the_checksum_is_right() {
    for at in 22..LENGTH {
        let mut frame = announcement(MAC, VIP6);
        frame[at] ^= 0x10;
        assert_eq!(parse_claim(&frame), None, "byte {at}");
    }
}

/// Section 4.4: it may be left out of an answer to a single host, whose cache has it already.
#[test]
fn without_the_option_the_frame_says_whose_it_is() {
    let from = [2, 0, 0, 0, 0, 9];
    let other = Some(Claim { mac: from, ..CLAIM });
    let with_options = |options: &[u8]| {
        altered(|frame| {
            frame[6..12].copy_from_slice(&from);
            frame.splice(OPTIONS.., options.iter().copied());
        })
    };
    assert_eq!(with_options(&[]), other);
    assert_eq!(with_options(&[1, 1, 2, 0, 0, 0, 0, 1]), other, "the source's is another option");
    assert_eq!(with_options(&[2, 2, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), other, "no MAC has 14 bytes");
    assert_eq!(with_options(&[2, 1, 2, 0, 0, 0, 0, 1]), Some(CLAIM));
    assert_eq!(with_options(&[14, 1, 0, 0, 0, 0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 1]), Some(CLAIM), "behind another");
    assert_eq!(with_options(&[2, 1, 2, 0, 0, 0, 0, 1, 2, 1, 9, 9, 9, 9, 9, 9]), Some(CLAIM), "the first of two");
    // Section 7.1.2: what belongs to other messages is ignored, be it as it should be or not.
    for kind in [1, 3, 4, 5, 255] {
        assert_eq!(with_options(&[kind, 1, 2, 2, 2, 2, 2, 2, 2, 1, 2, 0, 0, 0, 0, 1]), Some(CLAIM), "{kind}");
        assert_eq!(with_options(&[kind, 2, 2, 2, 2, 2, 2, 2, 2, 1, 2, 0, 0, 0, 0, 1]), other, "{kind}");
    }
    // No option has the length zero.
    for broken in [&[2, 0, 2, 0, 0, 0, 0, 1][..], &[2, 2, 2, 0, 0, 0, 0, 1], &[14], &[2, 1, 2, 0, 0, 0, 0, 1, 14]] {
        assert_eq!(with_options(broken), None, "{broken:?}");
    }
}

/// Keepalived 2.2.7's advertisement, and other frames of its segment.
#[test]
fn other_frames_are_no_claims() {
    for frame in [
        "3333000000125e91f6fe112586dd6c0367be002870fffe800000000000005c91f6fffefe1125ff0200000000000000000000000000123134650200320a20fe800000000000000000000000090100fd000009000000000000000000000100",
        "ffffffffffff2e58512ee03f080600010800060400012e58512ee03f0a00149bffffffffffff0a00149b",
    ] {
        assert_eq!(parse_claim(&bytes(frame)), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_is_announced_is_claimed(mac: [u8; 6], address: Ipv6Addr) {
        let frame = announcement(mac, address);
        let is_host = !address.is_multicast() && !address.is_unspecified();
        prop_assert_eq!(parse_claim(&frame), is_host.then_some(Claim { address: address.into(), mac }));
        prop_assert_eq!(parse_claim(&frame), expected(&frame));
    }

    #[test]
    fn any_frame(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(parse_claim(&bytes), expected(&bytes));
    }

    #[test]
    fn mutated_announcements(
        address: Ipv6Addr,
        options in vec(prop_oneof![Just(2u8), Just(1), Just(0), any::<u8>()], 0..40),
        changes in vec((any::<Index>(), any::<u8>()), 0..4),
        cut: Index,
        fixed: bool,
    ) {
        let mut frame = announcement(MAC, address).to_vec();
        frame.splice(OPTIONS.., options);
        if fixed {
            fix(&mut frame);
        }
        for (at, byte) in changes {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        if fixed {
            frame[MESSAGE + 2..MESSAGE + 4].fill(0);
            let checksum = naive::checksum(&summed(&frame[22..54], &frame[MESSAGE..]));
            frame[MESSAGE + 2..MESSAGE + 4].copy_from_slice(&checksum.to_be_bytes());
        }
        prop_assert_eq!(parse_claim(&frame), expected(&frame));
        let cut = &frame[..cut.index(frame.len())];
        prop_assert_eq!(parse_claim(cut), expected(cut));
    }
}

#[test]
fn as_much_as_there_may_be() {
    assert_eq!(parse_claim(&vec![0xff; 1 << 20]), None);
    let claim = altered(|frame| frame.extend([14, 255].into_iter().chain([0; 2038]).cycle().take(2040 * 30)));
    assert_eq!(claim, Some(CLAIM));
}

//! VRRP on the wire, decoded independently of the product: IP by etherparse, and the few bytes of VRRP here.

use std::net::IpAddr;
use std::time::Duration;

use etherparse::{ArpOperation, IpNumber, LinkSlice, NetSlice, SlicedPacket};

/// IP protocol number of VRRP.
const VRRP: IpNumber = IpNumber(112);

/// ICMPv6's type of a neighbour advertisement: RFC 4861, section 4.4.
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// A VRRP advertisement: RFC 9568, section 5.2, or RFC 3768, section 5.3, if the version is 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Sender's hardware address.
    pub mac: [u8; 6],
    /// Sender.
    pub source: IpAddr,
    /// The group or a peer.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Version.
    pub version: u8,
    /// Which virtual router.
    pub id: u8,
    /// Sender's priority in it; 0 is a goodbye.
    pub priority: u8,
    /// Between two advertisements of the sender.
    pub interval: Duration,
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// What its checksum covers.
    pub checksum: Form,
}

impl Advert {
    /// Whether it is of IPv6.
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        self.source.is_ipv6()
    }
}

/// What a checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// The message alone: RFC 9568 for IPv4, and version 2.
    Message,
    /// The message and a pseudo-header: IPv6, and RFC 5798 for IPv4 as most have read it.
    PseudoHeader,
    /// Neither: it is wrong.
    Wrong,
}

/// What the recorder makes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Advert(Advert),
    /// Whoever has `mac` has `address`.
    Announcement {
        mac: [u8; 6],
        address: IpAddr,
    },
}

/// `None` for what is neither, or is too short.
pub(super) fn decode(bytes: &[u8]) -> Option<Frame> {
    let packet = SlicedPacket::from_ethernet(bytes).ok()?;
    let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link else { return None };
    let mac = ethernet.source();
    match &packet.net {
        Some(NetSlice::Arp(arp)) => {
            let arp = arp.to_packet().try_eth_ipv4().ok()?;
            let gratuitous = arp.sender_ipv4 == arp.target_ipv4 || arp.operation == ArpOperation::REPLY;
            let address = IpAddr::from(arp.sender_ipv4);
            gratuitous.then_some(Frame::Announcement { mac: arp.sender_mac, address })
        }
        Some(NetSlice::Ipv4(ip)) if ip.payload().ip_number == VRRP => {
            let header = ip.header();
            let ends = [IpAddr::from(header.source_addr()), header.destination_addr().into()];
            message(ip.payload().payload, ends, header.ttl(), mac)
        }
        Some(NetSlice::Ipv6(ip)) if ip.payload().ip_number == VRRP => {
            let header = ip.header();
            let ends = [IpAddr::from(header.source_addr()), header.destination_addr().into()];
            message(ip.payload().payload, ends, header.hop_limit(), mac)
        }
        Some(NetSlice::Ipv6(ip)) if ip.payload().ip_number == IpNumber::IPV6_ICMP => {
            let payload = ip.payload().payload;
            let target: [u8; 16] = payload.get(8..24)?.try_into().ok()?;
            (payload[0] == NEIGHBOUR_ADVERTISEMENT).then(|| Frame::Announcement { mac, address: target.into() })
        }
        _ => None,
    }
}

fn message(bytes: &[u8], [source, destination]: [IpAddr; 2], ttl: u8, mac: [u8; 6]) -> Option<Frame> {
    let [first, id, priority, count, fifth, sixth, _, _] = *bytes.first_chunk::<8>()?;
    let version = first >> 4;
    // Twelve bits of hundredths of a second; in version 2, seconds behind the kind of authentication.
    let interval = match version {
        2 => Duration::from_secs(sixth.into()),
        _ => Duration::from_millis(10 * u64::from(u16::from_be_bytes([fifth & 0x0f, sixth]))),
    };
    let size = if source.is_ipv6() { 16 } else { 4 };
    let listed = bytes[8..].chunks_exact(size).take(count.into());
    let addresses = listed.map(|address| match <[u8; 16]>::try_from(address) {
        Ok(v6) => IpAddr::from(v6),
        Err(_) => IpAddr::from([address[0], address[1], address[2], address[3]]),
    });
    Some(Frame::Advert(Advert {
        mac,
        source,
        destination,
        ttl,
        version,
        id,
        priority,
        interval,
        addresses: addresses.collect(),
        checksum: form(bytes, source, destination),
    }))
}

/// A message with its checksum in it sums up to nothing: RFC 1071.
fn form(message: &[u8], source: IpAddr, destination: IpAddr) -> Form {
    if source.is_ipv4() && sum(message, 0) == 0xffff {
        return Form::Message;
    }
    // RFC 8200, section 8.1; for IPv4 that of RFC 793. The fields have other sizes and places, and the same sum.
    let ends = [source, destination].into_iter().fold(0, |total, end| match end {
        IpAddr::V4(address) => sum(&address.octets(), total),
        IpAddr::V6(address) => sum(&address.octets(), total),
    });
    let pseudo_header = ends + u32::from(VRRP.0) + message.len() as u32;
    if sum(message, pseudo_header) == 0xffff { Form::PseudoHeader } else { Form::Wrong }
}

/// The one's complement sum of 16-bit words.
fn sum(bytes: &[u8], start: u32) -> u32 {
    let mut total = start;
    for word in bytes.chunks(2) {
        total += u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An advertisement for 10.0.20.200 from 10.0.20.12, written by hand; its checksum is left out.
    const FRAME: [u8; 46] = [
        0x01, 0x00, 0x5e, 0x00, 0x00, 0x12, 0x02, 0x00, 0x0a, 0x00, 0x14, 0x0c, 0x08, 0x00, 0x45, 0xc0, 0x00, 0x20,
        0x00, 0x01, 0x00, 0x00, 0xff, 0x70, 0xbb, 0xab, 0x0a, 0x00, 0x14, 0x0c, 0xe0, 0x00, 0x00, 0x12, 0x31, 0x33,
        0x64, 0x01, 0x00, 0x32, 0x00, 0x00, 0x0a, 0x00, 0x14, 0xc8,
    ];

    fn advert(bytes: &[u8]) -> Advert {
        match decode(bytes) {
            Some(Frame::Advert(advert)) => advert,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_form_of_the_checksum_is_told_apart() {
        let mut bytes = FRAME;
        assert_eq!(advert(&bytes).checksum, Form::Wrong);
        // By hand: 0x3133 + 0x6401 + 0x0032 + 0x0a00 + 0x14c8 = 0xb42e.
        bytes[40..42].copy_from_slice(&(!0xb42e_u16).to_be_bytes());
        assert_eq!(advert(&bytes).checksum, Form::Message);
        // And 0x0a00 + 0x140c + 0xe000 + 0x0012 + 112 + 12 = 0xfe9a more, with the carry 0xb2c9.
        bytes[40..42].copy_from_slice(&(!0xb2c9_u16).to_be_bytes());
        let advert = advert(&bytes);
        assert_eq!(advert.checksum, Form::PseudoHeader);
        assert_eq!((advert.id, advert.priority, advert.ttl, advert.version), (51, 100, 255, 3));
        assert_eq!(advert.interval, Duration::from_millis(500));
        assert_eq!(advert.addresses, [IpAddr::from([10, 0, 20, 200])]);
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        for length in 0..FRAME.len() - 4 {
            assert_eq!(decode(&FRAME[..length]), None);
        }
    }
}

//! A frame as the packet socket of `pgvrrp listen` hands it over: what is shown without a fault is what a router accepts.

use vrrp::wire::heard::Heard;
use vrrp::wire::{ipv4, ipv6};

pub fn run(bytes: &[u8]) {
    let Some(heard) = Heard::read(bytes) else { return };
    if let Some(fault) = heard.fault {
        return assert!(!fault.to_string().is_empty() && !fault.label().is_empty());
    }
    let message = heard.message.expect("a message that nothing is wrong with is there");
    if message.version == 2 {
        return assert!(heard.source.is_ipv4() && !message.addresses.is_empty());
    }
    let packet = &bytes[14..];
    let (vrid, addresses) = if heard.source.is_ipv4() {
        let advert = ipv4::parse(packet).expect("a router accepts it");
        (advert.vrid, advert.addresses.into_iter().map(Into::into).collect::<Vec<std::net::IpAddr>>())
    } else {
        let advert = ipv6::parse(packet).expect("a router accepts it");
        (advert.vrid, advert.addresses.into_iter().map(Into::into).collect())
    };
    assert_eq!((message.vrid, message.addresses), (vrid.get(), addresses));
}

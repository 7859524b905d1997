//! `address` and `addresses`.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use toml::Spanned;
use vrrp::types::Vrid;

use super::{Family, Taken};
use crate::diagnose::{Report, Reported};
use crate::raw::Section;

pub(super) const EXAMPLE: &str = "\"10.0.20.155\"";
const EXAMPLES: &str = "[\"10.0.20.155\", \"10.0.20.156\"]";

/// The count in an advertisement has one byte (RFC 9568 section 5.2.5).
const MOST: usize = 255;

/// The addresses of one VIP.
pub(super) struct Addresses {
    /// Those that are understood, in the order of the file.
    pub(super) list: Vec<Spanned<IpNet>>,
    /// Whether these are all.
    pub(super) is_complete: bool,
    /// Whether they are right.
    pub(super) result: Result<(), Reported>,
}

impl Addresses {
    pub(super) fn has(&self, family: Family) -> bool {
        self.of(family).next().is_some()
    }

    pub(super) fn families(&self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(|family| self.has(*family))
    }

    fn of(&self, family: Family) -> impl Iterator<Item = &Spanned<IpNet>> {
        self.list.iter().filter(move |net| Family::of(net.get_ref().addr()) == family)
    }
}

pub(super) fn read(section: &Section<'_>, taken: &mut Taken, report: &mut Report) -> Addresses {
    let texts = match texts(section, report) {
        Ok(texts) => texts,
        Err(reported) => return Addresses { list: Vec::new(), is_complete: false, result: Err(reported) },
    };
    let mut addresses = Addresses { list: Vec::new(), is_complete: true, result: Ok(()) };
    for text in texts {
        match parse(text.get_ref()) {
            Ok(net) => add(Spanned::new(text.span(), net), &mut addresses, taken, report),
            Err((message, help)) => {
                addresses.is_complete = false;
                addresses.result = Err(report.add(text.span(), message, help));
            }
        }
    }
    for family in Family::ALL {
        let excess = addresses.of(family).nth(MOST).map(Spanned::span);
        if let Some(span) = excess {
            let message = format!("more than {MOST} {family} addresses in one [[vip]]");
            let help = "an advertisement holds no more: put the others into a [[vip]] of their own";
            addresses.result = Err(report.add(span, message, help));
        }
    }
    addresses
}

fn texts<'a>(section: &Section<'a>, report: &mut Report) -> Result<Vec<Spanned<&'a str>>, Reported> {
    match (section.key_span("address"), section.key_span("addresses")) {
        (Some(one), Some(list)) => {
            let (first, second) = if one.start < list.start { (one, list) } else { (list, one) };
            let note = ("the other one is", first);
            let help = "write them all in `addresses`: they move together";
            Err(report.add_with_note(second, "both `address` and `addresses`", note, help))
        }
        (None, None) => {
            section.told_of("addresses")?;
            Err(section.missing("address", EXAMPLE, report))
        }
        (Some(_), None) => {
            let example = format!("{EXAMPLE}, or addresses = {EXAMPLES}");
            section.required_text("address", &example, report).map(|text| vec![text])
        }
        (None, Some(_)) => {
            let list = section.required_texts("addresses", EXAMPLES, report)?;
            if list.get_ref().is_empty() {
                let help = format!("write addresses = {EXAMPLES}");
                return Err(report.add(list.span(), "addresses must not be empty", help));
            }
            Ok(list.into_inner())
        }
    }
}

/// Adds an address that nobody has yet. One that another VIP has still says of which family this VIP is.
fn add(net: Spanned<IpNet>, addresses: &mut Addresses, taken: &mut Taken, report: &mut Report) {
    let address = net.get_ref().addr();
    let help = "one address is one VIP";
    if let Some(first) = addresses.list.iter().find(|other| other.get_ref().addr() == address) {
        let note = ("the first one is", first.span());
        let message = format!("address {address} stands here twice");
        addresses.result = Err(report.add_with_note(net.span(), message, note, "remove one of them"));
        return;
    }
    if let Some(first) = taken.addresses.get(&address) {
        let note = ("the first one is", first.clone());
        let message = format!("address {address} is that of another [[vip]]");
        addresses.result = Err(report.add_with_note(net.span(), message, note, help));
    } else {
        taken.addresses.insert(address, net.span());
    }
    addresses.list.push(net);
}

/// An address that can be a VIP, or what is wrong with it and what to do.
fn parse(text: &str) -> Result<IpNet, (String, String)> {
    let (address, prefix_len) = text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
    let Ok(address) = address.parse::<IpAddr>() else {
        let help = without_zone(address).unwrap_or_else(|| {
            "write an IPv4 or IPv6 address, such as \"10.0.20.155\", or with a prefix length \"10.0.20.155/24\""
                .to_owned()
        });
        return Err(("address is not an IP address".to_owned(), help));
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    // IpNet takes 0 too; a VIP on the link to everywhere is a slip.
    let prefix_len = prefix_len.map_or(Some(longest), |len| len.parse().ok().filter(|len| (1..=longest).contains(len)));
    let Some(net) = prefix_len.and_then(|len| IpNet::new(address, len).ok()) else {
        let message = format!("the prefix length must be 1 to {longest}");
        return Err((message, format!("without one it is {longest}")));
    };
    if let Some((kind, help)) = not_unicast(address) {
        let help = help.unwrap_or_else(|| "a VIP is an address that clients can connect to".to_owned());
        return Err((format!("{address} is {kind}"), help));
    }
    let kind = match net {
        // A prefix of 31 or 32 has neither, and IPv6 has no broadcast.
        IpNet::V4(net) if net.prefix_len() >= 31 => return Ok(net.into()),
        IpNet::V4(net) if net.addr() == net.network() => "the network address of its prefix",
        IpNet::V4(net) if net.addr() == net.broadcast() => "the broadcast address of its prefix",
        net => return Ok(net),
    };
    Err((format!("{address} is {kind}"), "a VIP is an address that clients can connect to".to_owned()))
}

/// What an address is that no single host has; and what to do, where that is not plain.
pub(super) fn not_unicast(address: IpAddr) -> Option<(&'static str, Option<String>)> {
    let kind = match address {
        IpAddr::V4(address) => match address.octets() {
            [0, ..] => "in 0.0.0.0/8, which no host has",
            [127, ..] => "a loopback address",
            [224..=239, ..] => "a multicast address",
            [255, 255, 255, 255] => "the broadcast address",
            [240..=255, ..] => "in 240.0.0.0/4, which no host has",
            _ => return None,
        },
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(inner) => return Some(("an IPv4 address in IPv6's clothes", Some(format!("write \"{inner}\"")))),
            None if address.is_unspecified() => "the unspecified address",
            None if address.is_loopback() => "a loopback address",
            None if address.is_multicast() => "a multicast address",
            None => return None,
        },
    };
    Some((kind, None))
}

/// What to do about a link-local address that is written with its interface.
pub(super) fn without_zone(text: &str) -> Option<String> {
    let (address, zone) = text.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    Some(format!("write \"{address}\" without %{zone}: which interface that is on, `interface` says"))
}

/// The first IPv6 address has to be the virtual router's link-local one: RFC 9568 section 5.2.9 and erratum 8300.
pub(super) fn begin_link_local(
    section: &Section<'_>,
    addresses: &Addresses,
    id: Result<Vrid, Reported>,
    report: &mut Report,
) -> Result<(), Reported> {
    let is_link_local =
        |net: &&Spanned<IpNet>| matches!(net.get_ref().addr(), IpAddr::V6(address) if address.is_unicast_link_local());
    // Where one is not understood, it may be that one.
    let Some(first) = addresses.of(Family::V6).next().filter(|net| addresses.is_complete && !is_link_local(net)) else {
        return Ok(());
    };
    let help = match (addresses.of(Family::V6).find(is_link_local), id) {
        (Some(other), _) => format!("put \"{}\" in front of it", other.get_ref().addr()),
        (None, Ok(id)) if section.key_span("address").is_some() => {
            let (router, net) = (link_local_of(id), first.get_ref());
            format!("write addresses = [\"{router}\", \"{}\"], on every node", short(net))
        }
        (None, Ok(id)) => format!("put \"{}\" in front of it, on every node", link_local_of(id)),
        (None, Err(_)) => "put a link-local one in front of it, the same on every node".to_owned(),
    };
    Err(report.add(first.span(), "the first IPv6 address of a VIP must be link-local", help))
}

/// The address that has the virtual router's own MAC address, 00-00-5E-00-02-{VRID}, in it as an EUI-64: it is the same on
/// every node, and on a link no other's.
pub(crate) fn link_local_of(id: Vrid) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0200, 0x5eff, 0xfe00, 0x0200 | u16::from(id.get()))
}

/// As it would stand in the file.
fn short(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_local_address_of_a_virtual_router() {
        for (id, expected) in
            [(1, "fe80::200:5eff:fe00:201"), (155, "fe80::200:5eff:fe00:29b"), (255, "fe80::200:5eff:fe00:2ff")]
        {
            assert_eq!(link_local_of(Vrid::new(id).unwrap()).to_string(), expected);
        }
    }
}

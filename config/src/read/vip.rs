//! `[[vip]]`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::Ipv4Net;
use toml::Spanned;
use vrrp::types::{Interval, Vrid};

use crate::diagnose::{Report, Reported, Span};
use crate::model::{Checksum, Vip};
use crate::raw::Meaning::{Is, NotYet};
use crate::raw::Section;
use crate::schema;

const ADDRESS: &str = "\"10.0.20.155\"";
const VRID_HELP: &str = "choose a number that no other VRRP router on this segment uses";

/// What the VIPs before this one have taken, and where.
#[derive(Default)]
struct Taken {
    addresses: BTreeMap<Ipv4Addr, Span>,
    ids: BTreeMap<u32, Span>,
    names: BTreeMap<String, Span>,
}

pub(super) fn read_all(top: &Section<'_>, report: &mut Report) -> Result<Vec<Vip>, Reported> {
    let sections = top.sections("vip", &schema::VIP, report)?;
    if sections.is_empty() {
        let help = format!("add [[vip]] with address = {ADDRESS} and virtual_router_id = 155");
        return Err(report.add_without_place("there is no [[vip]]", help));
    }
    let mut taken = Taken::default();
    let vips: Vec<_> = sections.iter().map(|section| read(section, &mut taken, report)).collect();
    vips.into_iter().collect()
}

fn read(section: &Section<'_>, taken: &mut Taken, report: &mut Report) -> Result<Vip, Reported> {
    let address = address(section, taken, report);
    let name = name(section, address.as_ref().ok(), taken, report);
    let virtual_router_id = virtual_router_id(section, taken, report);
    let interval = interval(section, report);
    let checksum = section.choice(
        "checksum",
        Checksum::default(),
        [("auto", Is(Checksum::Auto)), ("rfc9568", Is(Checksum::Rfc9568)), ("rfc5798", Is(Checksum::Rfc5798))],
        report,
    );
    let follows = follows(section, report);
    let mac = mac(section, report);
    follows?;
    mac?;
    let address = address?.into_inner();
    Ok(Vip {
        name: name?,
        address: address.addr(),
        prefix_len: address.prefix_len(),
        virtual_router_id: virtual_router_id?,
        interval: interval?,
        checksum: checksum?,
    })
}

fn address(section: &Section<'_>, taken: &mut Taken, report: &mut Report) -> Result<Spanned<Ipv4Net>, Reported> {
    let text = section.required_text("address", ADDRESS, report)?;
    let address = parse_address(text.get_ref()).map_err(|(message, help)| report.add(text.span(), message, help))?;
    if let Some(first) = taken.addresses.get(&address.addr()) {
        let note = ("the first one is", first.clone());
        let message = format!("address {} is that of another [[vip]]", address.addr());
        return Err(report.add_with_note(text.span(), message, note, "one address is one VIP"));
    }
    taken.addresses.insert(address.addr(), text.span());
    Ok(Spanned::new(text.span(), address))
}

/// An address that can be a VIP, or what is wrong with it and what to do.
fn parse_address(text: &str) -> Result<Ipv4Net, (String, String)> {
    let refuse = |message: String, help: &str| Err((message, help.to_owned()));
    let example = "write address = \"10.0.20.155\", or \"10.0.20.155/24\"";
    let (address, prefix_len) = text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
    let address = match address.parse() {
        Ok(IpAddr::V4(address)) => address,
        Ok(IpAddr::V6(_)) => return refuse("IPv6 is not available in this version".to_owned(), example),
        Err(_) => return refuse("address is not an IPv4 address".to_owned(), example),
    };
    // Ipv4Net takes 0 too; a VIP on the link to everywhere is a slip.
    let prefix_len = prefix_len.map_or(Some(32), |len| len.parse().ok().filter(|len| (1..=32).contains(len)));
    let Some(net) = prefix_len.and_then(|len| Ipv4Net::new(address, len).ok()) else {
        return refuse("the prefix length must be 1 to 32".to_owned(), "without one it is 32");
    };
    let kind = match address.octets() {
        [0, ..] => "in 0.0.0.0/8, which no host has",
        [127, ..] => "a loopback address",
        [224..=239, ..] => "a multicast address",
        [255, 255, 255, 255] => "the broadcast address",
        [240..=255, ..] => "in 240.0.0.0/4, which no host has",
        // A prefix of 31 or 32 has neither.
        _ if net.prefix_len() >= 31 => return Ok(net),
        _ if address == net.network() => "the network address of its prefix",
        _ if address == net.broadcast() => "the broadcast address of its prefix",
        _ => return Ok(net),
    };
    refuse(format!("{address} is {kind}"), "a VIP is an address that clients can connect to")
}

fn name(
    section: &Section<'_>,
    address: Option<&Spanned<Ipv4Net>>,
    taken: &mut Taken,
    report: &mut Report,
) -> Result<String, Reported> {
    let text = section.text("name", "\"primary\"", report)?;
    let (name, span) = match (text, address) {
        (Some(text), _) => (text.get_ref().to_string(), text.span()),
        (None, Some(address)) => (address.get_ref().addr().to_string(), address.span()),
        // Without an address there is no name to fall back on, and nothing to compare.
        (None, None) => return Ok(String::new()),
    };
    let help = "a name tells this VIP from the others in status and metrics";
    if name.is_empty() || name.contains(char::is_control) {
        return Err(report.add(span, "name must not be empty or hold control characters", help));
    }
    if let Some(first) = taken.names.get(&name) {
        let note = ("the first one is", first.clone());
        return Err(report.add_with_note(span, "name is that of another [[vip]]", note, help));
    }
    taken.names.insert(name.clone(), span);
    Ok(name)
}

fn virtual_router_id(section: &Section<'_>, taken: &mut Taken, report: &mut Report) -> Result<Vrid, Reported> {
    const KEY: &str = "virtual_router_id";
    let Some(number) = section.integer(KEY, 1..=255, VRID_HELP, report)? else {
        return Err(section.missing(KEY, "155", report));
    };
    let id = *number.get_ref();
    if let Some(first) = taken.ids.get(&id) {
        let note = ("the first one is", first.clone());
        let message = format!("virtual_router_id {id} is that of another [[vip]]");
        let help = "each VIP is a virtual router of its own and needs its own number";
        return Err(report.add_with_note(number.span(), message, note, help));
    }
    taken.ids.insert(id, number.span());
    let id = u8::try_from(id).ok().and_then(Vrid::new);
    id.ok_or_else(|| report.add(number.span(), format!("{KEY} must be 1 to 255"), VRID_HELP))
}

/// 1 to 4095 centiseconds: RFC 9568 section 5.2.7 and erratum 8301.
fn interval(section: &Section<'_>, report: &mut Report) -> Result<Interval, Reported> {
    const KEY: &str = "advertisement_interval";
    let range = Duration::from_millis(10)..=Duration::from_millis(40_950);
    let interval = section.duration(KEY, Interval::DEFAULT.duration(), &range, report)?;
    let centis = u16::try_from(interval.as_millis() / 10).ok().and_then(Interval::from_centis);
    match centis.filter(|centis| centis.duration() == interval) {
        Some(centis) => Ok(centis),
        None => {
            let help = "the packet holds it in hundredths of a second";
            Err(report.add(
                section.value_span(KEY).unwrap_or_default(),
                format!("{KEY} must be a multiple of 10ms"),
                help,
            ))
        }
    }
}

fn follows(section: &Section<'_>, report: &mut Report) -> Result<(), Reported> {
    let help = "write \"primary\", or leave this [[vip]] to another program";
    let choices = [
        ("primary", Is(())),
        ("standby-leader", NotYet(help)),
        ("replica", NotYet(help)),
        ("sync-standby", NotYet(help)),
        ("none", NotYet(help)),
    ];
    section.choice("follows", (), choices, report)
}

fn mac(section: &Section<'_>, report: &mut Report) -> Result<(), Reported> {
    let help = "write \"interface\": clients learn of a move by gratuitous ARP";
    section.choice("mac", (), [("interface", Is(())), ("virtual", NotYet(help))], report)
}

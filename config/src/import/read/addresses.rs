//! `virtual_ipaddress`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::import::note::{At, Notes};
use crate::import::tree::Statement;

/// What may stand behind an address with a value of its own.
const WITH_VALUE: [&str; 8] = ["brd", "broadcast", "dev", "scope", "label", "peer", "preferred_lft", "track_group"];

/// The addresses on this interface, or on any if it is not known. What is wrong with one is said, and it is left out.
pub(super) fn read(block: &Statement, interface: Option<&str>, notes: &mut Notes) -> Vec<At<IpNet>> {
    notes.converted(block.place, block.keyword(), "addresses");
    let mut list: Vec<At<IpNet>> = Vec::new();
    let mut seen = BTreeSet::new();
    for line in block.children() {
        if line.keyword() == crate::import::lines::SEQUENCE {
            continue;
        }
        let Some((net, text)) = address(line, interface, notes) else { continue };
        if !seen.insert(net.addr()) {
            notes.not_needed(line.place, line.keyword(), "stands there before");
        } else {
            notes.converted(line.place, line.keyword(), text);
            list.push(At { place: line.place, value: net });
        }
    }
    list
}

/// The address, and what is to be said of it.
fn address(line: &Statement, interface: Option<&str>, notes: &mut Notes) -> Option<(IpNet, String)> {
    let (place, text) = (line.place, line.keyword());
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<IpAddr>() else {
        notes.by_hand(place, text, "is no IP address, and is left out: correct it");
        return None;
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(longest), |length| length.parse().ok());
    let net = length.and_then(|length| IpNet::new(address, length).ok());
    let Some(mut net) = net else {
        notes.by_hand(place, text, "its prefix length is wrong, and it is left out: correct it");
        return None;
    };
    let mut words = line.arguments().iter().map(String::as_str);
    let mut dropped = Vec::new();
    while let Some(word) = words.next() {
        let value = if WITH_VALUE.contains(&word) { words.next().unwrap_or_default() } else { "" };
        match word {
            "dev" if interface == Some(value) => dropped.push(word),
            "dev" if interface.is_none() => {
                let message = format!("is on {value}: write interface = \"{value}\" into its [[vip]]");
                notes.by_hand(place, text, message);
            }
            "dev" => {
                let message = format!(
                    "is on {value}, another interface than the instance, and is left out: add a [[vip]] with \
                     interface = \"{value}\", and a virtual_router_id of its own there"
                );
                notes.by_hand(place, text, message);
                return None;
            }
            "peer" => {
                notes.by_hand(place, text, "an address with a peer is not available, and is left out");
                return None;
            }
            "scope" if value != "global" => {
                notes.by_hand(place, text, format!("is bound with scope global, not {value}: is that right?"));
            }
            "noprefixroute" => net = IpNet::from(address),
            _ => dropped.push(word),
        }
    }
    let shown = if net.prefix_len() == longest { address.to_string() } else { net.to_string() };
    let rest = match dropped.as_slice() {
        [] => String::new(),
        words => format!("; not needed: {}", words.join(", ")),
    };
    Some((net, format!("addresses: \"{shown}\"{rest}")))
}

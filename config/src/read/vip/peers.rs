//! `unicast_peers`.

use std::net::IpAddr;

use toml::Spanned;

use super::addresses::{Addresses, not_unicast, without_zone};
use super::{Family, Taken};
use crate::diagnose::{Report, Reported};
use crate::raw::Section;

const KEY: &str = "unicast_peers";
const EXAMPLE: &str = "[\"10.0.20.12\"]";
const PEER_HELP: &str = "a peer is the address that another node has on this network at all times";

pub(super) fn read(
    section: &Section<'_>,
    addresses: &Addresses,
    taken: &mut Taken,
    report: &mut Report,
) -> Result<Vec<IpAddr>, Reported> {
    section.told_of(KEY)?;
    let Some(list) = section.texts(KEY, EXAMPLE, report)? else { return Ok(Vec::new()) };
    let mut peers: Vec<Spanned<IpAddr>> = Vec::new();
    let mut result = Ok(());
    for text in list.get_ref() {
        let peer = parse(text.get_ref()).map_err(|(message, help)| report.add(text.span(), message, help));
        let Ok(peer) = peer else {
            result = peer.map(|_| ());
            continue;
        };
        if let Some(first) = peers.iter().find(|other| *other.get_ref() == peer) {
            let note = ("the first one is", first.span());
            result = Err(report.add_with_note(text.span(), "the same peer twice", note, "name each peer once"));
            continue;
        }
        peers.push(Spanned::new(text.span(), peer));
    }
    taken.peers.extend(peers.iter().cloned());
    result?;
    if addresses.is_complete && !peers.is_empty() {
        fit(&Spanned::new(list.span(), peers.as_slice()), addresses, report)?;
    }
    Ok(peers.into_iter().map(Spanned::into_inner).collect())
}

fn parse(text: &str) -> Result<IpAddr, (String, String)> {
    let refuse = |message: &str, help: String| Err((message.to_owned(), help));
    if let Some((address, _)) = text.split_once('/') {
        let help = address.parse::<IpAddr>().map_or_else(|_| PEER_HELP.to_owned(), |peer| format!("write \"{peer}\""));
        return refuse("a peer has no prefix length", help);
    }
    let Ok(peer) = text.parse::<IpAddr>() else {
        return refuse("a peer must be an IP address", without_zone(text).unwrap_or_else(|| PEER_HELP.to_owned()));
    };
    match not_unicast(peer) {
        Some((kind, help)) => Err((format!("{peer} is {kind}"), help.unwrap_or_else(|| PEER_HELP.to_owned()))),
        None => Ok(peer),
    }
}

/// Each family is a virtual router of its own: one that has no peer is heard by nobody, and one that has no address has
/// nothing to say.
fn fit(peers: &Spanned<&[Spanned<IpAddr>]>, addresses: &Addresses, report: &mut Report) -> Result<(), Reported> {
    let mut result = Ok(());
    for peer in *peers.get_ref() {
        let family = Family::of(*peer.get_ref());
        if !addresses.has(family) {
            let message = format!("an {family} peer, and this [[vip]] has no {family} address");
            let help = "remove it: what it would be sent is about addresses of its own family";
            result = Err(report.add(peer.span(), message, help));
        }
    }
    for family in addresses.families() {
        if !peers.get_ref().iter().any(|peer| Family::of(*peer.get_ref()) == family) {
            let message = format!("{KEY} has no {family} peer, and this [[vip]] has {family} addresses");
            let help = format!(
                "add the {family} address of each other node, or remove {KEY}: advertisements are multicast without it"
            );
            result = Err(report.add(peers.span(), message, help));
        }
    }
    result
}

/// What is sent to a VIP reaches its holder, be it this node. Looked at when all VIPs are known.
pub(super) fn are_no_vips(taken: &Taken, report: &mut Report) {
    for peer in &taken.peers {
        if let Some(vip) = taken.addresses.get(peer.get_ref()) {
            let message = format!("peer {} is the address of a [[vip]]", peer.get_ref());
            report.add_with_note(peer.span(), message, ("that one is", vip.clone()), PEER_HELP);
        }
    }
}

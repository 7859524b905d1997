//! `mac`.

use ipnet::IpNet;
use toml::Spanned;

use super::addresses::Addresses;
use crate::diagnose::{Report, Reported};
use crate::model::Mac;
use crate::raw::Meaning::Is;
use crate::raw::Section;

const KEY: &str = "mac";

/// The virtual router's own MAC address takes an interface of its own, which not every VIP can be on.
pub(super) fn read(section: &Section<'_>, addresses: &Addresses, report: &mut Report) -> Result<Mac, Reported> {
    let choices = [("interface", Is(Mac::Interface)), ("virtual", Is(Mac::Virtual))];
    let mac = section.choice(KEY, Mac::default(), choices, report)?;
    if mac == Mac::Interface {
        return Ok(mac);
    }
    let span = section.value_span(KEY).unwrap_or_default();
    // 00-00-5E-00-01-{VRID} and 00-00-5E-00-02-{VRID}: RFC 9568 section 7.3.
    if addresses.families().count() > 1 {
        let message = "mac = \"virtual\" with both IPv4 and IPv6 addresses";
        return Err(report.add(span, message, "make one [[vip]] for each family: their virtual MAC addresses differ"));
    }
    if let Some(peers) = section.key_span("unicast_peers") {
        let note = ("`unicast_peers` is", peers);
        let help = "remove one of them: a network without multicast does not let a second MAC address through either";
        return Err(report.add_with_note(span, "mac = \"virtual\" with `unicast_peers`", note, help));
    }
    match addresses.list.iter().find(|net| makes_a_route(net.get_ref())) {
        None => Ok(mac),
        Some(net) => {
            let message = format!("a prefix length with mac = \"virtual\": {}", net.get_ref());
            let help = format!(
                "write \"{}\": the VIP would bring a second route to its subnet, by which this node's own connections \
                 could come to use it",
                net.get_ref().addr()
            );
            Err(report.add(Spanned::span(net), message, help))
        }
    }
}

/// The route to the link-local addresses is one for each interface, and goes nowhere else.
fn makes_a_route(net: &IpNet) -> bool {
    let whole = net.prefix_len() == net.max_prefix_len();
    let link_local = matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local());
    !whole && !link_local
}

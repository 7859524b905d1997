//! `[[vip]]`.

mod addresses;
mod election;
mod mac;
mod peers;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use toml::Spanned;
use vrrp::types::{Interval, Vrid};

pub(crate) use self::addresses::link_local_of;

use self::addresses::Addresses;
use self::election::Decides;
use super::cluster::Need;
use super::{hooks, link_name};
use crate::diagnose::{Report, Reported, Span};
use crate::model::{Checksum, Hooks, Vip};
use crate::raw::Meaning::Is;
use crate::raw::Section;
use crate::schema;

const VRID_HELP: &str = "choose a number that no other VRRP router on this segment uses";

/// All VIPs.
pub(super) struct Vips {
    pub(super) list: Result<Vec<Vip>, Reported>,
    pub(super) need: Need,
}

/// An address family. A virtual router of both is one for each (RFC 9568 section 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

impl Family {
    const ALL: [Self; 2] = [Self::V4, Self::V6];

    const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// What the VIPs before this one have taken, and where.
#[derive(Default)]
struct Taken {
    addresses: BTreeMap<IpAddr, Span>,
    ids: BTreeMap<(String, Family, u32), Span>,
    names: BTreeMap<String, Span>,
    /// Of all VIPs: an address that stands further down must not be one of them either.
    peers: Vec<Spanned<IpAddr>>,
}

/// Reads all of them. `interface` is that at the top of the file, or `None` if it is wrong; `hooks` are those of `[hooks]`.
pub(super) fn read_all(top: &Section<'_>, interface: Option<&str>, hooks: &Hooks, report: &mut Report) -> Vips {
    let sections = match top.sections("vip", &schema::VIP, report) {
        Ok(sections) => sections,
        Err(reported) => return Vips { list: Err(reported), need: Need::Unknown },
    };
    if sections.is_empty() {
        let help = format!("add [[vip]] with address = {} and virtual_router_id = 155", addresses::EXAMPLE);
        // The one that the help proposes follows the primary.
        return Vips { list: Err(report.add_without_place("there is no [[vip]]", help)), need: Need::Yes };
    }
    // A wrong one is the same wrong one for each VIP that has no other.
    let interface = interface.unwrap_or_default();
    let mut taken = Taken::default();
    let mut need = Need::No;
    let vips: Vec<_> = sections
        .iter()
        .map(|section| {
            let decides = election::decides(section, report);
            need = match (need, decides) {
                (Need::Yes, _) | (_, Ok(Decides::Etcd)) => Need::Yes,
                (_, Err(_)) => Need::Unknown,
                (need, Ok(Decides::Routers)) => need,
            };
            read(section, decides, interface, hooks, &mut taken, report)
        })
        .collect();
    peers::are_no_vips(&taken, report);
    Vips { list: vips.into_iter().collect(), need }
}

fn read(
    section: &Section<'_>,
    decides: Result<Decides, Reported>,
    interface: &str,
    hooks: &Hooks,
    taken: &mut Taken,
    report: &mut Report,
) -> Result<Vip, Reported> {
    let interface = self::interface(section, interface, report);
    let addresses = addresses::read(section, taken, report);
    let name = name(section, &addresses, taken, report);
    let virtual_router_id = virtual_router_id(section, interface.as_deref(), &addresses, taken, report);
    let link_local = addresses::begin_link_local(section, &addresses, virtual_router_id, report);
    let unicast_peers = peers::read(section, &addresses, taken, report);
    let interval = interval(section, report);
    let checksum = section.choice(
        "checksum",
        Checksum::default(),
        [("auto", Is(Checksum::Auto)), ("rfc9568", Is(Checksum::Rfc9568)), ("rfc5798", Is(Checksum::Rfc5798))],
        report,
    );
    let follows = election::read(section, decides, interface.as_deref().ok(), report);
    let mac = mac::read(section, &addresses, report);
    let hooks = hooks::read(section, hooks, report);
    addresses.result.and(link_local)?;
    Ok(Vip {
        name: name?,
        addresses: addresses.list.into_iter().map(Spanned::into_inner).collect(),
        virtual_router_id: virtual_router_id?,
        interface: interface?,
        interval: interval?,
        checksum: checksum?,
        unicast_peers: unicast_peers?,
        mac: mac?,
        follows: follows?,
        hooks: hooks?,
    })
}

/// Its own, or that at the top of the file.
fn interface(section: &Section<'_>, top: &str, report: &mut Report) -> Result<String, Reported> {
    section.told_of("interface")?;
    match section.text("interface", "\"eth0\"", report)? {
        Some(text) => link_name("interface", &text, report),
        None => Ok(top.to_owned()),
    }
}

fn name(
    section: &Section<'_>,
    addresses: &Addresses,
    taken: &mut Taken,
    report: &mut Report,
) -> Result<String, Reported> {
    let text = section.text("name", "\"primary\"", report)?;
    let (name, span) = match (text, addresses.list.first()) {
        (Some(text), _) => (text.get_ref().to_string(), text.span()),
        (None, Some(address)) if addresses.result.is_ok() => (address.get_ref().addr().to_string(), address.span()),
        // Without an address there is no name to fall back on, and nothing to compare.
        (None, _) => return Ok(String::new()),
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

/// One for each interface and family: that is all by which routers on a link tell virtual routers apart.
fn virtual_router_id(
    section: &Section<'_>,
    interface: Result<&str, &Reported>,
    addresses: &Addresses,
    taken: &mut Taken,
    report: &mut Report,
) -> Result<Vrid, Reported> {
    const KEY: &str = "virtual_router_id";
    let Some(number) = section.integer(KEY, 1..=255, VRID_HELP, report)? else {
        return Err(section.missing(KEY, "155", report));
    };
    let id = *number.get_ref();
    if let Ok(interface) = interface {
        let keys = addresses.families().map(|family| (interface.to_owned(), family, id));
        let keys: Vec<_> = keys.collect();
        if let Some(first) = keys.iter().find_map(|key| taken.ids.get(key)) {
            let note = ("the first one is", first.clone());
            let message = format!("virtual_router_id {id} is that of another [[vip]]");
            let help = "each VIP is a virtual router of its own and needs its own number on its interface";
            return Err(report.add_with_note(number.span(), message, note, help));
        }
        taken.ids.extend(keys.into_iter().map(|key| (key, number.span())));
    }
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

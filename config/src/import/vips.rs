//! From instances to VIPs: what each follows, and what becomes of the settings that depend on that.

mod hooks;
mod scripts;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

pub(super) use self::hooks::Hook;
use self::scripts::Follow;
use super::files::Files;
use super::note::{At, Notes, Place};
use super::read::{Family, Group, Instance, Source, Tracked, VERSION_2};
use crate::read::link_local_of;

/// A `[[vip]]`.
#[derive(Debug)]
pub(super) struct Vip {
    /// Of the instance.
    pub(super) place: Place,
    /// Those of all instances that are in it.
    pub(super) names: Vec<String>,
    /// `None` if Keepalived's default is meant.
    pub(super) interface: Option<String>,
    pub(super) addresses: Vec<IpNet>,
    pub(super) virtual_router_id: Option<u8>,
    pub(super) follows_primary: bool,
    pub(super) priority: Option<u8>,
    pub(super) preempt: bool,
    pub(super) preempt_delay: Option<Duration>,
    pub(super) track_interfaces: Vec<String>,
    pub(super) interval: Option<Duration>,
    pub(super) checksum: Option<&'static str>,
    pub(super) peers: Vec<IpAddr>,
    pub(super) virtual_mac: bool,
    pub(super) hooks: Vec<Hook>,
    /// Why it must not stand in the configuration.
    pub(super) left_out: Option<String>,
}

/// All of them, in the order of their instances, with those that cannot be had.
pub(super) fn all(source: &Source, files: &dyn Files, notes: &mut Notes) -> Vec<Vip> {
    let scripts = scripts::settle(source, files, notes);
    let mut vips: Vec<Vip> = Vec::new();
    let mut taken = Taken::default();
    for instance in &source.instances {
        let follow = scripts.follow(instance, source, notes);
        let vip = vip(instance, follow, source, &mut taken, notes);
        let partner = vips.iter_mut().find(|other| belong_together(other, &vip, &source.groups));
        match (&vip.left_out, partner) {
            (None, Some(partner)) => {
                let text = format!(
                    "its addresses are in the [[vip]] of {}, since both follow the primary together",
                    partner.names.join(", ")
                );
                notes.converted(instance.place, "vrrp_instance", text);
                join(partner, vip);
            }
            (None, None) => {
                let follows = if vip.follows_primary { "primary" } else { "none" };
                notes.converted(
                    instance.place,
                    "vrrp_instance",
                    format!("[[vip]] {}, follows = \"{follows}\"", instance.name),
                );
                vips.push(vip);
            }
            (Some(reason), _) => {
                notes.by_hand(instance.place, "vrrp_instance", format!("{} is left out: {reason}", instance.name));
                vips.push(vip);
            }
        }
    }
    for vip in vips.iter_mut().filter(|vip| vip.left_out.is_none()) {
        begin_link_local(vip, notes);
    }
    for group in &source.groups {
        together(group, &vips, notes);
    }
    hooks::settle(source, &scripts, &mut vips, notes);
    vips
}

/// What is someone's already, and what has been said.
#[derive(Default)]
struct Taken {
    addresses: BTreeSet<IpAddr>,
    ids: BTreeSet<(Option<String>, bool, u8)>,
    names: BTreeSet<String>,
    told_of_version: bool,
}

fn vip(instance: &Instance, follow: Follow, source: &Source, taken: &mut Taken, notes: &mut Notes) -> Vip {
    let interface = instance.interface.as_ref().or(source.default_interface.as_ref()).map(|at| at.value.clone());
    let follows_primary = follow == Follow::Primary;
    if version(instance, source) == 2 && instance.version.as_ref().or(source.version.as_ref()).is_none() {
        let why = if std::mem::replace(&mut taken.told_of_version, true) { "see above" } else { VERSION_2 };
        notes.by_hand(instance.place, "vrrp_version", format!("is 2, the default: {why}"));
    }
    let mut vip = Vip {
        place: instance.place,
        names: vec![instance.name.clone()],
        interface,
        addresses: Vec::new(),
        virtual_router_id: instance.virtual_router_id.as_ref().map(|id| id.value),
        follows_primary,
        priority: None,
        preempt: true,
        preempt_delay: None,
        track_interfaces: Vec::new(),
        interval: instance.interval,
        checksum: None,
        peers: Vec::new(),
        virtual_mac: false,
        hooks: Vec::new(),
        left_out: None,
    };
    addresses(instance, &mut vip, taken, notes);
    peers(instance, &mut vip, notes);
    vip.left_out = why_left_out(instance, follow, &vip, taken);
    if vip.left_out.is_none() {
        take_id(&vip, taken);
    }
    if !taken.names.insert(instance.name.clone()) {
        notes.by_hand(
            instance.place,
            "vrrp_instance",
            "another instance has this name: it gets that of its first address",
        );
        vip.names = vec![String::new()];
    }
    if vip.addresses.iter().any(|net| net.addr().is_ipv4()) {
        let rfc9568 = instance.checksum_of_rfc9568.unwrap_or(source.checksum_of_rfc9568);
        vip.checksum = Some(if rfc9568 { "rfc9568" } else { "rfc5798" });
    }
    virtual_mac(instance, &mut vip, notes);
    election(instance, &mut vip, notes);
    let groups = source.groups.iter().filter(|group| group.members.iter().any(|member| member.value == instance.name));
    let tracked = instance.interfaces.iter().chain(groups.flat_map(|group| &group.interfaces));
    for interface in tracked {
        track(interface, &mut vip, notes);
    }
    vip
}

/// IPv6 is always version 3.
fn version(instance: &Instance, source: &Source) -> u8 {
    if instance.family() == Some(Family::V6) {
        return 3;
    }
    instance.version.as_ref().or(source.version.as_ref()).map_or(2, |version| version.value)
}

fn addresses(instance: &Instance, vip: &mut Vip, taken: &mut Taken, notes: &mut Notes) {
    for At { place, value } in &instance.addresses {
        if taken.addresses.insert(value.addr()) {
            vip.addresses.push(*value);
        } else if !vip.addresses.iter().any(|net| net.addr() == value.addr()) {
            notes.by_hand(*place, &value.addr().to_string(), "is that of another instance too, and is left out here");
        }
    }
    if let Some(place) = instance.excluded {
        let text = "pgvrrp advertises these like the others, and a Keepalived on this virtual router discards a list \
                    that is not its own: before the first pgvrrp is started, stop Keepalived on every node";
        notes.by_hand(place, "virtual_ipaddress_excluded", text);
    }
}

fn peers(instance: &Instance, vip: &mut Vip, notes: &mut Notes) {
    for At { place, value } in &instance.peers {
        let has_family = vip.addresses.iter().any(|net| Family::of(net.addr()) == Family::of(*value));
        if vip.peers.contains(value) {
            notes.not_needed(*place, &value.to_string(), "stands there before");
        } else if has_family {
            vip.peers.push(*value);
        } else {
            notes.by_hand(*place, &value.to_string(), "is left out: the instance has no address of its family");
        }
    }
}

fn why_left_out(instance: &Instance, follow: Follow, vip: &Vip, taken: &Taken) -> Option<String> {
    if follow == Follow::Replica {
        return Some(
            "VIPs of replicas are not in this version: leave this instance to Keepalived, or to a proxy".to_owned(),
        );
    }
    let Some(id) = vip.virtual_router_id else {
        return Some("it has no virtual_router_id, without which Keepalived would not run it either".to_owned());
    };
    if vip.addresses.is_empty() {
        return Some("it has no address that can be a VIP".to_owned());
    }
    let is_taken = families(vip).any(|is_v4| taken.ids.contains(&(vip.interface.clone(), is_v4, id)));
    is_taken.then(|| {
        let interface = instance.interface.as_ref().map_or("its interface", |interface| interface.value.as_str());
        format!("virtual_router_id {id} is that of another instance on {interface}: choose another one, on every node")
    })
}

fn take_id(vip: &Vip, taken: &mut Taken) {
    let Some(id) = vip.virtual_router_id else { return };
    taken.ids.extend(families(vip).map(|is_v4| (vip.interface.clone(), is_v4, id)));
}

/// Whether there are IPv4 addresses, and whether there are IPv6 ones.
fn families(vip: &Vip) -> impl Iterator<Item = bool> {
    [true, false].into_iter().filter(|is_v4| vip.addresses.iter().any(|net| net.addr().is_ipv4() == *is_v4))
}

fn virtual_mac(instance: &Instance, vip: &mut Vip, notes: &mut Notes) {
    let Some(place) = instance.use_vmac else { return };
    if families(vip).count() > 1 || !vip.peers.is_empty() {
        let text =
            "mac = \"virtual\" is for addresses of one family, by multicast: the VIP has the MAC of the interface";
        notes.by_hand(place, "use_vmac", text);
        return;
    }
    vip.virtual_mac = true;
    let mut without_prefix = "";
    for net in &mut vip.addresses {
        let is_link_local = matches!(net.addr(), IpAddr::V6(address) if address.is_unicast_link_local());
        if net.prefix_len() != net.max_prefix_len() && !is_link_local {
            *net = IpNet::from(net.addr());
            without_prefix = "; addresses without a prefix length, so that there is no second route to their subnet";
        }
    }
    let text = format!("mac = \"virtual\"{without_prefix}; docs/VIRTUAL-MAC.md says what that needs of the host");
    notes.converted(place, "use_vmac", text);
}

/// What has a meaning without etcd only.
fn election(instance: &Instance, vip: &mut Vip, notes: &mut Notes) {
    if vip.follows_primary {
        let text = "etcd decides who holds the VIP, and the holder has the address owner's priority 255";
        let places = [
            ("priority", instance.priority.as_ref().map(|at| at.place)),
            ("nopreempt", instance.nopreempt),
            ("preempt_delay", instance.preempt_delay.as_ref().map(|at| at.place)),
        ];
        for (keyword, place) in places {
            if let Some(place) = place {
                notes.not_needed(place, keyword, text);
            }
        }
        return;
    }
    priority(instance, vip, notes);
    match instance.nopreempt {
        Some(place) if instance.starts_as_master => {
            notes.not_needed(place, "nopreempt", "Keepalived takes no notice of it with state MASTER");
        }
        Some(place) => {
            vip.preempt = false;
            notes.converted(place, "nopreempt", "preempt = false");
        }
        None => {}
    }
    if let Some(At { place, value }) = &instance.preempt_delay {
        if vip.preempt {
            vip.preempt_delay = Some(*value);
            let shown = humantime::format_duration(*value);
            notes.converted(*place, "preempt_delay", format!("preempt_delay = \"{shown}\""));
        } else {
            notes.not_needed(*place, "preempt_delay", "without preemption there is nothing to delay");
        }
    }
}

fn priority(instance: &Instance, vip: &mut Vip, notes: &mut Notes) {
    const OWNER: &str = "priority = 254: 255 is the address owner's, which only a VIP that follows the primary has";
    match &instance.priority {
        Some(At { place, value: 255 }) => {
            vip.priority = Some(254);
            notes.by_hand(*place, "priority", OWNER);
        }
        Some(At { place, value }) => {
            vip.priority = Some(*value);
            notes.converted(*place, "priority", format!("priority = {value}"));
        }
        None if instance.starts_as_master => {
            vip.priority = Some(254);
            notes.by_hand(instance.place, "priority", format!("is 255 with state MASTER and no other; {OWNER}"));
        }
        None => {}
    }
}

fn track(tracked: &Tracked, vip: &mut Vip, notes: &mut Notes) {
    let Tracked { place, name, is_weighted } = tracked;
    if vip.interface.as_ref() == Some(name) {
        notes.not_needed(*place, name, "the interface of the VIP is always tracked");
    } else if vip.follows_primary {
        let text = "not tracked: a VIP that follows the primary is where the primary is; moving that is Patroni's";
        notes.by_hand(*place, name, text);
    } else if *is_weighted {
        let text =
            "not tracked: there are no weights. In track_interfaces, a node where it is down leaves the VIP to others";
        notes.by_hand(*place, name, text);
    } else if vip.track_interfaces.contains(name) {
        notes.not_needed(*place, name, "stands there before");
    } else {
        vip.track_interfaces.push(name.clone());
        notes.converted(*place, name, "track_interfaces");
    }
}

/// The two families of one virtual router, in one sync group, where etcd moves both.
fn belong_together(one: &Vip, other: &Vip, groups: &[Group]) -> bool {
    let both_in = |group: &Group| {
        let has = |vip: &Vip| group.members.iter().any(|member| vip.names.contains(&member.value));
        has(one) && has(other)
    };
    let follow = one.follows_primary && other.follows_primary;
    let stay = one.left_out.is_none() && other.left_out.is_none();
    let same = one.interface == other.interface && one.virtual_router_id == other.virtual_router_id;
    follow
        && stay
        && same
        && families(one).all(|family| !families(other).any(|is| is == family))
        && groups.iter().any(both_in)
}

fn join(one: &mut Vip, other: Vip) {
    one.names.extend(other.names);
    one.addresses.extend(other.addresses);
    one.peers.extend(other.peers);
    one.checksum = one.checksum.or(other.checksum);
    one.interval = one.interval.or(other.interval);
    // That is for one family.
    one.virtual_mac = false;
}

/// RFC 9568 section 5.2.9.
fn begin_link_local(vip: &mut Vip, notes: &mut Notes) {
    let is_link_local = |net: &IpNet| matches!(net.addr(), IpAddr::V6(address) if address.is_unicast_link_local());
    let Some(first) = vip.addresses.iter().position(|net| net.addr().is_ipv6()) else { return };
    let Some(id) = vip.virtual_router_id.and_then(vrrp::types::Vrid::new) else { return };
    let link_local = vip.addresses.iter().position(is_link_local);
    if link_local == Some(first) {
        return;
    }
    let net = match link_local {
        Some(at) => vip.addresses.remove(at),
        None => IpNet::from(IpAddr::from(link_local_of(id))),
    };
    vip.addresses.insert(first, net);
    let text = format!(
        "{} is the first IPv6 address, since RFC 9568 wants a link-local one there, the same on every node. A \
         Keepalived on this virtual router discards a list that is not its own: put this address into each of them \
         first, or stop them all before the first pgvrrp is started",
        net.addr()
    );
    notes.by_hand(vip.place, "virtual_ipaddress", text);
}

/// Says what becomes of a sync group.
fn together(group: &Group, vips: &[Vip], notes: &mut Notes) {
    let of = |name: &String| vips.iter().position(|vip| vip.names.contains(name));
    for member in group.members.iter().filter(|member| of(&member.value).is_none()) {
        notes.by_hand(member.place, &member.value, "there is no vrrp_instance of this name");
    }
    let mut members: Vec<_> = group.members.iter().filter_map(|member| of(&member.value)).collect();
    members.dedup();
    if members.is_empty() {
        for tracked in group.scripts.iter().chain(&group.interfaces) {
            notes.not_needed(tracked.place, &tracked.name, "the group has no instance");
        }
        notes.not_needed(group.place, "vrrp_sync_group", "it has no instance");
        return;
    }
    let mut list = members.iter().filter_map(|at| vips.get(*at)).filter(|vip| vip.left_out.is_none());
    if members.len() == 1 {
        notes.converted(group.place, "vrrp_sync_group", format!("{}: one [[vip]]", group.name));
    } else if list.all(|vip| vip.follows_primary) {
        let text = format!("{}: its VIPs follow the primary, so they are on one node", group.name);
        notes.converted(group.place, "vrrp_sync_group", text);
    } else {
        let text = format!(
            "{}: not available, each [[vip]] is elected by itself. To move as one, put their addresses into one \
             [[vip]] once no Keepalived is left",
            group.name
        );
        notes.by_hand(group.place, "vrrp_sync_group", text);
    }
}

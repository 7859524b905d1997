//! `vrrp_instance`.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::notify::{self, Notify};
use super::{addresses, is_on, number, smtp_alert, text, version};
use crate::import::keywords;
use crate::import::note::{At, Notes, Place};
use crate::import::tree::Statement;

/// An address family. Each has virtual routers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::import) enum Family {
    V4,
    V6,
}

impl Family {
    pub(in crate::import) const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// One line of `track_script` or `track_interface`.
#[derive(Clone, Debug)]
pub(in crate::import) struct Tracked {
    pub(in crate::import) place: Place,
    pub(in crate::import) name: String,
    /// Whether it changes the priority instead of taking the node out.
    pub(in crate::import) is_weighted: bool,
}

/// Everything of an instance that something else decides about.
#[derive(Debug)]
pub(in crate::import) struct Instance {
    pub(in crate::import) place: Place,
    pub(in crate::import) name: String,
    pub(in crate::import) interface: Option<At<String>>,
    pub(in crate::import) virtual_router_id: Option<At<u8>>,
    pub(in crate::import) priority: Option<At<u8>>,
    /// `state MASTER`.
    pub(in crate::import) starts_as_master: bool,
    /// Within what an advertisement holds.
    pub(in crate::import) interval: Option<Duration>,
    pub(in crate::import) version: Option<At<u8>>,
    pub(in crate::import) nopreempt: Option<Place>,
    pub(in crate::import) preempt_delay: Option<At<Duration>>,
    pub(in crate::import) use_vmac: Option<Place>,
    pub(in crate::import) checksum_of_rfc9568: Option<bool>,
    /// As they are listed, those that are excluded from advertisements last.
    pub(in crate::import) addresses: Vec<At<IpNet>>,
    /// Where `virtual_ipaddress_excluded` is.
    pub(in crate::import) excluded: Option<Place>,
    pub(in crate::import) peers: Vec<At<IpAddr>>,
    pub(in crate::import) interfaces: Vec<Tracked>,
    pub(in crate::import) scripts: Vec<Tracked>,
    /// Processes and files.
    pub(in crate::import) others: Vec<Tracked>,
    pub(in crate::import) notifies: Vec<Notify>,
}

impl Instance {
    /// The family that it advertises for: that of the first address.
    pub(in crate::import) fn family(&self) -> Option<Family> {
        self.addresses.first().map(|net| Family::of(net.value.addr()))
    }
}

pub(super) fn read(block: &Statement, notes: &mut Notes) -> Instance {
    let mut instance = Instance {
        place: block.place,
        name: block.argument().unwrap_or_default().to_owned(),
        interface: None,
        virtual_router_id: None,
        priority: None,
        starts_as_master: false,
        interval: None,
        version: None,
        nopreempt: None,
        preempt_delay: None,
        use_vmac: None,
        checksum_of_rfc9568: None,
        addresses: Vec::new(),
        excluded: None,
        peers: Vec::new(),
        interfaces: Vec::new(),
        scripts: Vec::new(),
        others: Vec::new(),
        notifies: Vec::new(),
    };
    let mut excluded = Vec::new();
    // The interface of an address is compared with that of the instance, which may stand further down.
    let interface = block.children().iter().rfind(|child| child.keyword() == "interface").and_then(Statement::argument);
    for statement in block.children() {
        match statement.keyword() {
            "virtual_ipaddress" => instance.addresses.extend(addresses::read(statement, interface, notes)),
            "virtual_ipaddress_excluded" => {
                instance.excluded = Some(statement.place);
                excluded.extend(addresses::read(statement, interface, notes));
            }
            "unicast_peer" => instance.peers.extend(peers(statement, notes)),
            "track_interface" => instance.interfaces.extend(tracked(statement, notes)),
            "track_script" => instance.scripts.extend(tracked(statement, notes)),
            "track_process" | "track_file" => instance.others.extend(tracked(statement, notes)),
            _ => setting(statement, &mut instance, notes),
        }
    }
    instance.addresses.extend(excluded);
    instance
}

/// A keyword on a line of its own.
fn setting(statement: &Statement, instance: &mut Instance, notes: &mut Notes) {
    let (place, keyword) = (statement.place, statement.keyword());
    match keyword {
        "interface" => {
            instance.interface = text(statement, notes);
            if let Some(At { value, .. }) = &instance.interface {
                notes.converted(place, keyword, format!("interface = \"{value}\""));
            }
        }
        "virtual_router_id" => {
            instance.virtual_router_id = number(statement, 1..=255, notes);
            if let Some(At { value, .. }) = instance.virtual_router_id {
                notes.converted(place, keyword, format!("virtual_router_id = {value}"));
            }
        }
        "priority" => instance.priority = number(statement, 1..=255, notes),
        "state" => {
            instance.starts_as_master = statement.argument() == Some("MASTER");
            let text = "every router begins as Backup; who is Active is decided by the priority, or by etcd";
            notes.not_needed(place, keyword, text);
        }
        "advert_int" => instance.interval = interval(statement, notes),
        "version" => instance.version = version(statement, notes),
        "nopreempt" => instance.nopreempt = Some(place),
        "preempt_delay" => instance.preempt_delay = seconds(statement, 1000.0, notes),
        "use_vmac" => instance.use_vmac = Some(place),
        "v3_checksum_as_v2" => {
            instance.checksum_of_rfc9568 = Some(is_on(statement));
            notes.converted(place, keyword, "checksum");
        }
        "unicast_src_ip" | "mcast_src_ip" => {
            let text = "advertisements come from the first address that the interface has itself: that is the one \
                        that others have to name as their peer";
            notes.not_needed(place, keyword, text);
        }
        // Its password is nothing to be shown.
        "authentication" => {
            let text = "VRRPv3 has no authentication";
            notes.add_block(crate::import::Verdict::NotNeeded, place, statement.last, keyword, text);
        }
        "smtp_alert" => smtp_alert(statement, notes),
        keyword if notify::is_notify(keyword) => {
            let read = notify::read(statement, &instance.notifies, notes);
            instance.notifies.extend(read);
        }
        _ => keywords::settle(statement, keywords::INSTANCE, notes),
    }
}

/// Seconds with a fraction.
fn seconds(statement: &Statement, most: f64, notes: &mut Notes) -> Option<At<Duration>> {
    let argument = statement.argument().unwrap_or_default();
    let seconds = argument.parse::<f64>().ok().filter(|seconds| (0.0..=most).contains(seconds));
    match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(value) => Some(At { place: statement.place, value }),
        None => {
            let text = format!("`{argument}` is no number of seconds from 0 to {most}: correct it");
            notes.by_hand(statement.place, statement.keyword(), text);
            None
        }
    }
}

/// In steps of 10 ms, as an advertisement holds it.
fn interval(statement: &Statement, notes: &mut Notes) -> Option<Duration> {
    const LONGEST: f64 = 40.95;
    let At { place, value } = seconds(statement, 255.0, notes)?;
    let centis = (value.as_millis() + 5) / 10;
    let right = u64::try_from(centis.clamp(1, 4095)).unwrap_or(4095);
    let interval = Duration::from_millis(right * 10);
    let shown = humantime::format_duration(interval);
    if value.as_secs_f64() > LONGEST || centis == 0 {
        let text =
            format!("advertisement_interval = \"{shown}\", since it is 10ms to 40.95s: set the same on every router");
        notes.by_hand(place, statement.keyword(), text);
    } else {
        notes.converted(place, statement.keyword(), format!("advertisement_interval = \"{shown}\""));
    }
    Some(interval)
}

fn peers(block: &Statement, notes: &mut Notes) -> Vec<At<IpAddr>> {
    notes.converted(block.place, "unicast_peer", "unicast_peers");
    let mut peers = Vec::new();
    for line in block.children() {
        let place = line.place;
        let mut words = line.words().iter();
        while let Some(word) = words.next() {
            match (word.as_str(), word.parse()) {
                (_, Ok(value)) => {
                    notes.converted(place, word, "unicast_peers");
                    peers.push(At { place, value });
                }
                ("min_ttl" | "max_ttl", _) => {
                    words.next();
                    notes.not_needed(place, word, "advertisements with a TTL or hop limit other than 255 are refused");
                }
                _ => notes.by_hand(place, word, "is no IP address: correct it"),
            }
        }
    }
    peers
}

/// Names with a weight, one on each line.
pub(super) fn tracked(block: &Statement, notes: &mut Notes) -> Vec<Tracked> {
    notes.converted(block.place, block.keyword(), "see each line of it");
    let lines = block.children().iter().map(|line| {
        let weight = line.words().iter().skip_while(|word| *word != "weight").nth(1);
        let is_weighted = weight.is_some_and(|weight| weight.parse() != Ok(0));
        Tracked { place: line.place, name: line.keyword().to_owned(), is_weighted }
    });
    lines.collect()
}

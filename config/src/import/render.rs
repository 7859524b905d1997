//! Writes the configuration. Whatever [`Config::parse`](crate::Config::parse) would refuse stands in it as a comment, with the reason.

use std::net::IpAddr;
use std::time::Duration;

use super::Request;
use super::accept::{is_accepted, list, probe, quoted, refusal};
use super::note::{Notes, printable};
use super::patroni::Patroni;
use super::read::Source;
use super::vips::{Hook, Vip};

/// Stands where a value is missing. No host has a name below `.invalid` (RFC 2606).
const FILL_IN: &str = "FILL-IN";
const FILL_IN_ENDPOINT: &str = "http://fill-in.invalid:2379";

/// What came of it.
pub(super) struct Rendered {
    pub(super) toml: Option<String>,
    pub(super) to_fill_in: Vec<String>,
}

/// Writes all of it.
pub(super) fn render(
    request: &Request<'_>,
    source: &Source,
    patroni: Option<&Patroni>,
    mut vips: Vec<Vip>,
    notes: &mut Notes,
) -> Rendered {
    let follows_primary = vips.iter().any(|vip| vip.left_out.is_none() && vip.follows_primary);
    let mut to_fill_in = Vec::new();
    let mut head = format!(
        "# Made by `pgvrrp import` of {}. packaging/pgvrrp.toml has every setting.\n\n",
        printable(&request.path.display().to_string())
    );
    head += &node(request, source, patroni, follows_primary, &mut to_fill_in, notes);
    let interface = top_interface(&vips, &mut to_fill_in);
    head += &format!("interface = {}\n", quoted(&interface));
    if follows_primary {
        head += &cluster(patroni, &mut to_fill_in);
    }
    let texts =
        |vips: &[Vip], notes: &Notes| vips.iter().map(|vip| vip_text(vip, &interface, notes)).collect::<String>();
    if !is_accepted(&format!("{head}{}", texts(&vips, notes))) {
        one_by_one(&head, &interface, &mut vips, notes);
    }
    let toml = format!("{head}{}", texts(&vips, notes));
    let is_right = is_accepted(&toml);
    if !is_right {
        to_fill_in.clear();
    }
    Rendered { toml: is_right.then_some(toml), to_fill_in }
}

/// Leaves out what is refused beside those before it. More than anybody has are left out as a whole, since each takes
/// longer than the one before.
fn one_by_one(head: &str, interface: &str, vips: &mut [Vip], notes: &mut Notes) {
    const MOST: usize = 500;
    let mut accepted = head.to_owned();
    for (count, vip) in vips.iter_mut().filter(|vip| vip.left_out.is_none()).enumerate() {
        let text = format!("{accepted}{}", vip_text(vip, interface, notes));
        let refused = if count < MOST { refusal(&text) } else { Some("there are too many of them".to_owned()) };
        match refused {
            None => accepted = text,
            Some(reason) => {
                let text = format!("{} is left out, since pgvrrp would refuse it: {reason}", vip.names.join(", "));
                notes.take_back(vip.place, "vrrp_instance");
                notes.by_hand(vip.place, "vrrp_instance", text);
                vip.left_out = Some(reason);
            }
        }
    }
}

fn node(
    request: &Request<'_>,
    source: &Source,
    patroni: Option<&Patroni>,
    follows_primary: bool,
    to_fill_in: &mut Vec<String>,
    notes: &mut Notes,
) -> String {
    let known = if follows_primary {
        patroni.and_then(|patroni| patroni.name.clone())
    } else {
        source.router_id.as_ref().map(|at| at.value.clone()).or_else(|| Some(request.host.to_owned()))
    };
    // A name with a blank in it is Keepalived's alone.
    let known = known.filter(|name| is_accepted(&probe(name, "eth0", "")));
    if let Some(router_id) = &source.router_id {
        if known.as_ref() == Some(&router_id.value) {
            notes.converted(router_id.place, "router_id", "node");
        } else {
            notes.not_needed(
                router_id.place,
                "router_id",
                "node is this member's name in Patroni, or a name without blanks",
            );
        }
    }
    match known {
        Some(name) => format!("node = {}\n", quoted(&name)),
        None => {
            let text = "this node's name in Patroni (`name` in its configuration)";
            to_fill_in.push(format!("node: {text}"));
            format!("# FILL IN: {text}.\nnode = \"{FILL_IN}\"\n")
        }
    }
}

/// That of the first VIP that has a usable one.
fn top_interface(vips: &[Vip], to_fill_in: &mut Vec<String>) -> String {
    let here = vips.iter().filter(|vip| vip.left_out.is_none());
    let usable = here.filter_map(|vip| vip.interface.as_ref()).find(|name| is_accepted(&probe("node", name, "")));
    if let Some(name) = usable {
        return name.clone();
    }
    to_fill_in.push(
        "interface: that of the VIPs, which keepalived.conf does not name (eth0 is Keepalived's default)".to_owned(),
    );
    "eth0".to_owned()
}

/// `[patroni]` and `[etcd]`.
fn cluster(patroni: Option<&Patroni>, to_fill_in: &mut Vec<String>) -> String {
    let empty = Patroni::default();
    let patroni = patroni.unwrap_or(&empty);
    let mut text = scope(patroni, to_fill_in);
    let endpoints = etcd(patroni);
    // Files that cannot be read here, or not by pgvrrp's rules, would make the whole of it wrong.
    let right = (!patroni.endpoints.is_empty())
        .then(|| refusal(&probe("node", "eth0", &format!("[patroni]\nscope = \"a\"\n{endpoints}"))));
    match right {
        Some(None) => text += &endpoints,
        Some(Some(reason)) => {
            let what = format!("endpoints and its TLS files, as in the comment there: {reason}");
            to_fill_in.push(format!("[etcd] {what}"));
            let lines = endpoints.lines().filter(|line| line.contains(" = ")).map(|line| format!("#{line}\n"));
            let lines: String = lines.collect();
            text +=
                &format!("\n[etcd]\n# FILL IN: {}.\n{lines}endpoints = [\"{FILL_IN_ENDPOINT}\"]\n", printable(&what));
        }
        None => {
            let what = "endpoints: every member of etcd, as in `etcd3` in Patroni's configuration";
            to_fill_in.push(format!("[etcd] {what}"));
            text += &format!("\n[etcd]\n# FILL IN: {what}.\nendpoints = [\"{FILL_IN_ENDPOINT}\"]\n");
        }
    }
    if let Some(user) = &patroni.username {
        let what = format!(
            "username and password_file: Patroni logs in to etcd as {}; pgvrrp needs a user and a file with its \
             password too (README)",
            printable(user)
        );
        text +=
            &format!("# FILL IN: {what}.\n#username = \"pgvrrp\"\n#password_file = \"/etc/pgvrrp/etcd.password\"\n");
        to_fill_in.push(format!("[etcd] {what}"));
    }
    text
}

fn scope(patroni: &Patroni, to_fill_in: &mut Vec<String>) -> String {
    let with = |scope: &str, rest: &str| {
        let text = format!("\n[patroni]\nscope = {}\n{rest}", quoted(scope));
        let etcd = format!("[etcd]\nendpoints = [\"{FILL_IN_ENDPOINT}\"]\n");
        is_accepted(&probe("node", "eth0", &format!("{text}{etcd}"))).then_some(text)
    };
    let mut rest = String::new();
    if let Some(namespace) = &patroni.namespace {
        rest += &format!("namespace = {}\n", quoted(namespace));
    }
    if let Some(group) = patroni.group {
        rest += &format!("group = {group}\n");
    }
    patroni.scope.as_ref().and_then(|scope| with(scope, &rest)).unwrap_or_else(|| {
        let what = "scope: the cluster's name, `scope` in Patroni's configuration, and namespace, if there is one";
        to_fill_in.push(format!("[patroni] {what}"));
        format!("\n[patroni]\n# FILL IN: {what}.\nscope = \"{FILL_IN}\"\n")
    })
}

fn etcd(patroni: &Patroni) -> String {
    let mut text = format!("\n[etcd]\nendpoints = [{}]\n", list(&patroni.endpoints));
    let files = [("ca_file", &patroni.ca_file), ("cert_file", &patroni.cert_file), ("key_file", &patroni.key_file)];
    for (key, file) in files {
        if let Some(file) = file {
            text += &format!("{key} = {}\n", quoted(file));
        }
    }
    text
}

fn vip_text(vip: &Vip, interface: &str, notes: &Notes) -> String {
    let mut lines = vec![format!("# {}", notes.shown(vip.place))];
    lines.push("[[vip]]".to_owned());
    if let Some(name) = vip.names.first().filter(|name| !name.is_empty()) {
        lines.push(format!("name = {}", quoted(name)));
    }
    if let Some(own) = vip.interface.as_deref().filter(|own| *own != interface) {
        lines.push(format!("interface = {}", quoted(own)));
    }
    let addresses: Vec<String> = vip
        .addresses
        .iter()
        .map(|net| if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() })
        .collect();
    match addresses.as_slice() {
        [address] => lines.push(format!("address = {}", quoted(address))),
        addresses => lines.push(format!("addresses = [{}]", list(addresses))),
    }
    if let Some(id) = vip.virtual_router_id {
        lines.push(format!("virtual_router_id = {id}"));
    }
    lines.push(format!("follows = \"{}\"", if vip.follows_primary { "primary" } else { "none" }));
    if !vip.follows_primary {
        lines.extend(vip.priority.map(|priority| format!("priority = {priority}")));
        if !vip.preempt {
            lines.push("preempt = false".to_owned());
        }
        lines.extend(vip.preempt_delay.map(|delay| format!("preempt_delay = \"{}\"", duration(delay))));
        if !vip.track_interfaces.is_empty() {
            lines.push(format!("track_interfaces = [{}]", list(&vip.track_interfaces)));
        }
    }
    lines.extend(vip.interval.map(|interval| format!("advertisement_interval = \"{}\"", duration(interval))));
    if !vip.peers.is_empty() {
        let peers: Vec<String> = vip.peers.iter().map(IpAddr::to_string).collect();
        lines.push(format!("unicast_peers = [{}]", list(&peers)));
    }
    if vip.virtual_mac {
        lines.push("mac = \"virtual\"".to_owned());
    }
    lines.extend(vip.checksum.map(|checksum| {
        match checksum {
            "rfc5798" => {
                "checksum = \"rfc5798\"    # for Keepalived: take it out when none is left on this virtual router"
                    .to_owned()
            }
            other => format!("checksum = \"{other}\""),
        }
    }));
    lines.extend(vip.hooks.iter().map(hook_line));
    if let Some(reason) = &vip.left_out {
        let reason = format!("# LEFT OUT: {}", printable(reason));
        let comment = |line: String| if line.starts_with('#') { line } else { format!("#{line}") };
        let all = std::iter::once(reason).chain(lines.into_iter().map(comment));
        lines = all.collect();
    }
    format!("\n{}\n", lines.join("\n"))
}

fn hook_line(hook: &Hook) -> String {
    let line = hook.line();
    match &hook.left_out {
        Some(reason) => format!("#{line}    # LEFT OUT: {}", printable(reason)),
        None => line,
    }
}

/// In milliseconds or seconds, which the configuration understands and people do.
fn duration(span: Duration) -> String {
    if span.subsec_nanos() == 0 { format!("{}s", span.as_secs()) } else { humantime::format_duration(span).to_string() }
}

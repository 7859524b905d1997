//! The picture for people: where the VIP is, and why.

use std::fmt::Write;
use std::time::Duration;

use super::{STUCK, harmless};
use crate::gate::evidence::Role;
use crate::node::status::{
    ClientsStatus, ConfigStatus, EtcdStatus, FailsafeStatus, FollowsLabel, InterfaceStatus, LockStatus, MoveKind,
    PeerStatus, PostgresStatus, RouterLabel, Status, VipStatus,
};

/// How many of the last moves are shown.
const MOVES: usize = 5;

/// How many addresses of a VIP are shown.
const ADDRESSES: usize = 8;

/// Renders the picture.
pub fn render(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = draw(&mut out, status);
    out
}

fn draw(out: &mut String, status: &Status) -> std::fmt::Result {
    writeln!(out, "pgvrrp {} on {}, up {}", status.version, status.node, span(status.uptime))?;
    if status.age >= STUCK {
        writeln!(
            out,
            "\nSTUCK: the protocol thread has not run for {}; what it bound ends with its lifetime of 3 s",
            span(status.age)
        )?;
        writeln!(out, "what follows is what was true then")?;
    }
    for vip in &status.vips {
        draw_vip(out, vip)?;
    }
    writeln!(out, "\nevidence")?;
    if let Some(etcd) = &status.etcd {
        draw_etcd(out, etcd)?;
    }
    if let Some(postgres) = &status.postgres {
        draw_postgres(out, postgres)?;
    }
    if let Some(failsafe) = &status.failsafe {
        draw_failsafe(out, failsafe)?;
    }
    status.interfaces.iter().try_for_each(|interface| draw_interface(out, interface))?;
    draw_config(out, &status.config)?;
    if let Some(trouble) = &status.clients_trouble {
        writeln!(out, "  clients      not known to other nodes: {}", harmless(trouble))?;
    }
    let refused = &status.counters.client_lists_refused;
    if !refused.is_empty() {
        let list: Vec<_> = refused.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        writeln!(out, "  refused      lists of clients: {}", list.join(", "))?;
    }
    let discards = &status.counters.discards;
    if !discards.is_empty() {
        let list: Vec<_> = discards.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        writeln!(out, "  discarded    {}", list.join(", "))?;
    }
    if status.counters.stalls > 0 {
        writeln!(out, "  stalls       {}", status.counters.stalls)?;
    }
    Ok(())
}

/// Only where it is not the one from the start.
fn draw_config(out: &mut String, config: &ConfigStatus) -> std::fmt::Result {
    if let (Some(why), Some(age)) = (&config.refusal, config.refusal_age) {
        return writeln!(out, "  config       a new one was refused {} ago: {}", span(age), harmless(why));
    }
    match config.reloads {
        0 => Ok(()),
        _ => writeln!(out, "  config       read again {} ago", span(config.age)),
    }
}

fn draw_vip(out: &mut String, vip: &VipStatus) -> std::fmt::Result {
    let place = if vip.held { "HERE" } else { "not here" };
    let name = if vip.name == vip.address.to_string() { String::new() } else { format!(" ({})", vip.name) };
    let addresses: Vec<_> = vip.addresses.iter().take(ADDRESSES).map(ToString::to_string).collect();
    let more = vip.addresses.len() - addresses.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    writeln!(out, "\n{}{more}{name}: {place}", addresses.join(", "))?;
    writeln!(out, "  why          {}", harmless(&vip.why))?;
    writeln!(out, "  phase        {} for {}", vip.phase.as_str(), span(vip.since))?;
    if let Some(lock) = &vip.lock {
        draw_lock(out, lock)?;
    }
    draw_vrrp(out, vip)?;
    vip.peers.iter().try_for_each(|peer| draw_peer(out, peer))?;
    if let Some(clients) = &vip.clients {
        draw_clients(out, clients)?;
    }
    let counters = &vip.counters;
    let counted: Vec<_> = [
        ("advert conflicts", counters.advert_conflicts),
        ("ARP conflicts", counters.arp_conflicts),
        ("other addresses heard", counters.address_list_errors),
        ("other intervals heard", counters.interval_errors),
        ("no advertisements", counters.invalid_type_received),
        ("wrong lengths", counters.length_errors),
        ("repaired", counters.repaired),
        ("expelled", counters.expelled),
        ("connections reset", counters.connections_reset),
        ("times new ones kept waiting", counters.syn_drops),
        ("clients of others told", counters.clients_told),
        ("binds refused", counters.bind_refused),
        ("late", counters.late),
        ("locks lost", counters.locks_lost),
        ("split brains", counters.split_brains),
        ("foreign routers displaced", counters.displaced),
        ("send errors", counters.send_errors),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(name, count)| format!("{name} {count}"))
    .collect();
    if !counted.is_empty() {
        writeln!(out, "  counted      {}", counted.join(", "))?;
    }
    for done in vip.moves.iter().take(MOVES) {
        let kind = match done.kind {
            MoveKind::Gained => "came",
            MoveKind::Lost => "left",
        };
        let phases: Vec<_> = done.phases.iter().map(|phase| format!("{} {}", phase.name, span(phase.took))).collect();
        writeln!(out, "  {kind:<12} {} ago ({}): {}", span(done.age), phases.join(", "), harmless(&done.reason))?;
    }
    Ok(())
}

fn draw_lock(out: &mut String, lock: &LockStatus) -> std::fmt::Result {
    let holder = match (&lock.holder, lock.mine) {
        (_, true) if lock.fence == "leader_key" => "none: the leader key is the fence".to_owned(),
        (_, true) => "mine".to_owned(),
        (None, false) if lock.fence == "leader_key" => "none: the leader key is to be the fence".to_owned(),
        (Some(holder), false) => format!("held by {}", harmless(holder)),
        (None, false) => "free".to_owned(),
    };
    let proof = match (lock.proof_age, lock.deadline_in, lock.ttl) {
        (Some(age), Some(left), Some(ttl)) => {
            format!(
                ", proved {} ago, would leave within {} without a new proof (TTL {})",
                span(age),
                span(left),
                span(ttl)
            )
        }
        _ => String::new(),
    };
    let waiting = lock.waiting.map(|waited| format!(", waited for since {}", span(waited))).unwrap_or_default();
    writeln!(out, "  lock         {holder}{proof}{waiting}")
}

fn draw_vrrp(out: &mut String, vip: &VipStatus) -> std::fmt::Result {
    let vrrp = &vip.vrrp;
    let (router, id) = (vip.router.as_str(), vip.virtual_router_id);
    write!(out, "  VRRP         {router}, virtual router {id} on {}", vip.interface)?;
    if vip.follows == FollowsLabel::None {
        write!(out, ", priority {}, every {}", vrrp.priority, span(vrrp.advertisement_interval))?;
        if vip.router == RouterLabel::Backup {
            let learned = if vrrp.active_adver_interval == vrrp.advertisement_interval {
                String::new()
            } else {
                format!(" (the Active advertises every {})", span(vrrp.active_adver_interval))
            };
            write!(out, ", Active within {} of silence{learned}", span(vrrp.active_down_interval))?;
        }
    }
    writeln!(out)
}

fn draw_peer(out: &mut String, peer: &PeerStatus) -> std::fmt::Result {
    let Some(age) = peer.age else { return writeln!(out, "  peer         {} has not been heard", peer.address) };
    let addresses = if peer.address_mismatch { ", with other addresses" } else { "" };
    let interval = if peer.interval_mismatch { format!(", every {}", span(peer.interval)) } else { String::new() };
    let version = if peer.version == 2 { ", version 2: not obeyed" } else { "" };
    let (address, priority, age) = (peer.address, peer.priority, span(age));
    writeln!(out, "  heard        {address} priority {priority}, {age} ago{interval}{addresses}{version}")
}

fn draw_clients(out: &mut String, clients: &ClientsStatus) -> std::fmt::Result {
    let connected = clients.connected.map(|connected| format!("{connected} connected"));
    let list = clients.list.as_ref().map(|list| {
        format!("{} known from {} ({} ago), to be told if it dies", list.clients, harmless(&list.from), span(list.age))
    });
    let known: Vec<_> = [connected, list].into_iter().flatten().collect();
    if known.is_empty() { Ok(()) } else { writeln!(out, "  clients      {}", known.join("; ")) }
}

fn draw_interface(out: &mut String, interface: &InterfaceStatus) -> std::fmt::Result {
    let state = match (interface.index, interface.up) {
        (None, _) => "does not exist",
        (_, true) => "up",
        (_, false) => "down",
    };
    let sources: Vec<_> = interface.sources.iter().map(|address| format!(", {address}")).collect();
    writeln!(out, "  interface    {} {state}{}", interface.name, sources.concat())
}

fn draw_etcd(out: &mut String, etcd: &EtcdStatus) -> std::fmt::Result {
    match (&etcd.endpoint, etcd.age) {
        (Some(endpoint), Some(age)) => {
            let leader = match (&etcd.leader, etcd.leader_is_me) {
                (_, true) => "the leader key is mine".to_owned(),
                (Some(leader), false) => format!("{} holds the leader key", harmless(leader)),
                (None, false) => "nobody holds the leader key".to_owned(),
            };
            writeln!(out, "  etcd         {leader} ({endpoint}, asked {} ago)", span(age))?;
        }
        _ => writeln!(out, "  etcd         has not answered yet")?,
    }
    if let Some(error) = &etcd.error {
        writeln!(out, "  etcd error   {}", harmless(error))?;
    }
    if let Some(patroni) = &etcd.patroni {
        let paused = if patroni.paused { ", paused" } else { "" };
        let failsafe = if patroni.failsafe_mode { ", failsafe mode" } else { "" };
        let standby = if patroni.standby_cluster { ", standby cluster" } else { "" };
        let times =
            [patroni.ttl, patroni.loop_wait, patroni.retry_timeout].map(|time| time.as_secs().to_string()).join("/");
        writeln!(out, "  patroni      ttl/loop_wait/retry_timeout {times}{paused}{failsafe}{standby}")?;
    }
    Ok(())
}

fn draw_postgres(out: &mut String, postgres: &PostgresStatus) -> std::fmt::Result {
    let Some(role) = postgres.role.map(Role::as_str) else {
        return writeln!(out, "  postgresql   has not been asked yet");
    };
    let age = postgres.age.map(span).unwrap_or_default();
    writeln!(out, "  postgresql   {role}: {} (asked {age} ago)", harmless(&postgres.detail))
}

fn draw_failsafe(out: &mut String, failsafe: &FailsafeStatus) -> std::fmt::Result {
    let FailsafeStatus { url, age, primary, active, error } = failsafe;
    let age = age.map(|age| format!(", asked {} ago", span(age))).unwrap_or_default();
    let said = match (error, age.is_empty()) {
        (Some(error), _) => harmless(error),
        (None, true) => "has not answered yet".to_owned(),
        (None, false) => format!(
            "{}, {}",
            if *active { "active" } else { "not active" },
            if *primary { "this node is the primary" } else { "this node is not the primary" }
        ),
    };
    writeln!(out, "  failsafe     {said} ({}{age})", harmless(url))
}

/// A duration in the unit that suits it.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{:.1} ms", duration.as_secs_f64() * 1000.0),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

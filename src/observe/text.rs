//! The picture for people: where the VIP is, and why.

use std::fmt::Write;
use std::time::Duration;

use super::{STUCK, harmless};
use crate::gate::evidence::Role;
use crate::node::status::{EtcdStatus, FailsafeStatus, MoveKind, PostgresStatus, Status, VipStatus};

/// How many of the last moves are shown.
const MOVES: usize = 5;

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
    draw_etcd(out, &status.etcd)?;
    draw_postgres(out, &status.postgres)?;
    if let Some(failsafe) = &status.failsafe {
        draw_failsafe(out, failsafe)?;
    }
    let interface = &status.interface;
    let state = match (interface.index, interface.up) {
        (None, _) => "does not exist",
        (_, true) => "up",
        (_, false) => "down",
    };
    let source = interface.primary_address.map(|address| format!(", {address}")).unwrap_or_default();
    writeln!(out, "  interface    {} {state}{source}", interface.name)?;
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

fn draw_vip(out: &mut String, vip: &VipStatus) -> std::fmt::Result {
    let place = if vip.held { "HERE" } else { "not here" };
    let name = if vip.name == vip.address.to_string() { String::new() } else { format!(" ({})", vip.name) };
    writeln!(out, "\n{}/{}{name}: {place}", vip.address, vip.prefix_len)?;
    writeln!(out, "  why          {}", harmless(&vip.why))?;
    writeln!(out, "  phase        {} for {}", vip.phase.as_str(), span(vip.since))?;
    let lock = &vip.lock;
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
    writeln!(out, "  lock         {holder}{proof}{waiting}")?;
    writeln!(
        out,
        "  VRRP         virtual router {}, {}",
        vip.virtual_router_id,
        format!("{:?}", vip.router).to_lowercase()
    )?;
    for peer in &vip.peers {
        let mismatch = if peer.address_mismatch { ", with other addresses" } else { "" };
        let version = if peer.version == 2 { ", version 2: not obeyed" } else { "" };
        writeln!(
            out,
            "  heard        {} priority {}, {} ago{mismatch}{version}",
            peer.address,
            peer.priority,
            span(peer.age)
        )?;
    }
    let counters = &vip.counters;
    let counted: Vec<_> = [
        ("advert conflicts", counters.advert_conflicts),
        ("ARP conflicts", counters.arp_conflicts),
        ("repaired", counters.repaired),
        ("expelled", counters.expelled),
        ("connections reset", counters.connections_reset),
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

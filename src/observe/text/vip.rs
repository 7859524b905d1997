//! One VIP.

use std::fmt::{Result, Write};

use super::{Canvas, harmless, span};
use crate::node::status::{
    ClientsStatus, FollowsLabel, HookRun, HooksStatus, LockStatus, MoveKind, ObservedStatus, PeerStatus, RouterLabel,
    Status, VipCounters, VipStatus,
};

/// How many of the last moves are shown; `pgvrrp history` has more.
const MOVES: usize = 5;

/// How many addresses of a VIP are shown.
const ADDRESSES: usize = 8;

impl Canvas {
    pub(super) fn vip(&mut self, status: &Status, vip: &VipStatus) -> Result {
        let name = if vip.name == vip.address.to_string() { String::new() } else { format!(" ({})", vip.name) };
        let addresses: Vec<_> = vip.addresses.iter().take(ADDRESSES).map(ToString::to_string).collect();
        let more = vip.addresses.len() - addresses.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let place = match &vip.observed {
            Some(observed) if observed.would_hold => self.paint.strong("would be HERE"),
            Some(_) => self.paint.strong("would not be here"),
            None if vip.held => self.paint.good("HERE"),
            None => self.paint.strong("not here"),
        };
        let since = self.since(vip);
        writeln!(self.out, "\n{}{more}{name}: {place}{since}", addresses.join(", "))?;
        vip.observed.iter().try_for_each(|observed| self.observed(observed))?;
        self.line("why", &harmless(&vip.why))?;
        if !vip.held && vip.observed.is_none() {
            self.line("where", &whereabouts(status, vip))?;
        }
        self.line("phase", &format!("{} for {}", vip.phase.as_str(), span(vip.since)))?;
        vip.lock.iter().try_for_each(|lock| self.lock(status, lock))?;
        self.vrrp(vip)?;
        vip.peers.iter().try_for_each(|peer| self.peer(peer))?;
        vip.clients.iter().try_for_each(|clients| self.clients(clients))?;
        vip.hooks.iter().try_for_each(|hooks| self.hooks(hooks))?;
        self.counters(&vip.counters)?;
        vip.moves.iter().take(MOVES).try_for_each(|done| {
            let kind = match done.kind {
                MoveKind::Gained => "came",
                MoveKind::Lost => "left",
            };
            let phases: Vec<_> =
                done.phases.iter().map(|phase| format!("{} {}", phase.name, span(phase.took))).collect();
            let (time, age, reason) = (self.time(done.age), span(done.age), harmless(&done.reason));
            self.line(kind, &format!("{time}, {age} ago ({}): {reason}", phases.join(", ")))
        })
    }

    /// Since when it is where it is, if this daemon has seen it come or go.
    fn since(&self, vip: &VipStatus) -> String {
        match vip.moves.first() {
            Some(last) if (last.kind == MoveKind::Gained) == vip.held => {
                format!(", since {} ({})", self.time(last.age), span(last.age))
            }
            _ => String::new(),
        }
    }

    /// What is, and how it differed.
    fn observed(&mut self, observed: &ObservedStatus) -> Result {
        let place = if observed.present { "bound here by somebody else" } else { "not here" };
        let heard = observed.heard.map(|who| format!(", {who} advertises it")).unwrap_or_default();
        let text = format!("{place} for {}{heard}", span(observed.present_age));
        let agrees = observed.present == observed.would_hold;
        let said = if agrees { self.line("in fact", &text) } else { self.warn("in fact", &text) };
        said?;
        observed.differences.iter().take(MOVES).try_for_each(|difference| {
            let text = format!("{}, {} ago: {}", self.time(difference.age), span(difference.age), difference.text);
            self.line("differed", &text)
        })
    }

    fn hooks(&mut self, hooks: &HooksStatus) -> Result {
        if let Some(last) = &hooks.last {
            let HookRun { hook, state, command, result, exit_code, took, age } = last;
            let code =
                exit_code.filter(|code| *code != 0).map(|code| format!(" (exit code {code})")).unwrap_or_default();
            let (took, age, command) = (span(*took), span(*age), harmless(command));
            self.line("hook", &format!("{hook}, {state}: {result}{code} in {took}, {age} ago: {command}"))?;
        }
        if let Some(running) = &hooks.running {
            let waits = if hooks.queued > 0 { ", and another one waits" } else { "" };
            self.line("hook", &format!("{} has been running for {}{waits}", running.hook, span(running.age)))?;
        }
        Ok(())
    }

    fn lock(&mut self, status: &Status, lock: &LockStatus) -> Result {
        let holder = match (&lock.holder, lock.mine) {
            (_, true) if lock.fence == "leader_key" => "none: the leader key is the fence".to_owned(),
            (_, true) => "mine".to_owned(),
            (None, false) if lock.fence == "leader_key" => "none: the leader key is to be the fence".to_owned(),
            (Some(holder), false) => format!("held by {}", harmless(holder)),
            (None, false) if !has_answered(status) => "not known".to_owned(),
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
        self.line("lock", &format!("{holder}{proof}{waiting}"))
    }

    fn vrrp(&mut self, vip: &VipStatus) -> Result {
        let vrrp = &vip.vrrp;
        let mut text =
            format!("{}, virtual router {} on {}", vip.router.as_str(), vip.virtual_router_id, vip.interface);
        if vip.follows == FollowsLabel::None {
            write!(text, ", priority {}, every {}", vrrp.priority, span(vrrp.advertisement_interval))?;
            if vip.router == RouterLabel::Backup {
                let learned = if vrrp.active_adver_interval == vrrp.advertisement_interval {
                    String::new()
                } else {
                    format!(" (the Active advertises every {})", span(vrrp.active_adver_interval))
                };
                write!(text, ", Active within {} of silence{learned}", span(vrrp.active_down_interval))?;
            }
        }
        self.line("VRRP", &text)
    }

    fn peer(&mut self, peer: &PeerStatus) -> Result {
        let Some(age) = peer.age else { return self.line("peer", &format!("{} has not been heard", peer.address)) };
        let addresses = if peer.address_mismatch { ", with other addresses" } else { "" };
        let interval = if peer.interval_mismatch { format!(", every {}", span(peer.interval)) } else { String::new() };
        let version = if peer.version == 2 { ", version 2: not obeyed" } else { "" };
        let (address, priority, age) = (peer.address, peer.priority, span(age));
        self.line("heard", &format!("{address} priority {priority}, {age} ago{interval}{addresses}{version}"))
    }

    fn clients(&mut self, clients: &ClientsStatus) -> Result {
        let connected = clients.connected.map(|connected| format!("{connected} connected"));
        let list = clients.list.as_ref().map(|list| {
            let (from, age) = (harmless(&list.from), span(list.age));
            format!("{} known from {from} ({age} ago), to be told if it dies", list.clients)
        });
        let known: Vec<_> = [connected, list].into_iter().flatten().collect();
        if known.is_empty() { Ok(()) } else { self.line("clients", &known.join("; ")) }
    }

    fn counters(&mut self, counters: &VipCounters) -> Result {
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
        if counted.is_empty() { Ok(()) } else { self.line("counted", &counted.join(", ")) }
    }
}

/// Where a VIP is that is not here, as far as that can be known from here: whose the lock is, and who was heard.
fn whereabouts(status: &Status, vip: &VipStatus) -> String {
    let is_heard = |peer: &&PeerStatus| {
        peer.version == 3 && peer.priority > 0 && peer.age.is_some_and(|age| age < vip.vrrp.active_down_interval)
    };
    let heard = vip.peers.iter().filter(is_heard).max_by_key(|peer| peer.priority);
    let heard = match heard {
        Some(peer) => format!("{} advertises it with priority {}", peer.address, peer.priority),
        None => "nobody is heard to advertise it".to_owned(),
    };
    let Some(lock) = &vip.lock else { return heard };
    let leader = status.etcd.as_ref().and_then(|etcd| etcd.leader.as_ref());
    let holder = match (lock.fence, &lock.holder, leader) {
        ("leader_key", _, Some(leader)) => format!("{} has the leader key", harmless(leader)),
        (_, None, None) if !has_answered(status) => "etcd has not said yet".to_owned(),
        ("leader_key", _, None) => "nobody has the leader key".to_owned(),
        (_, _, _) if lock.mine => "its lock is mine".to_owned(),
        (_, Some(holder), _) => format!("{} has its lock", harmless(holder)),
        (_, None, _) => "nobody has its lock".to_owned(),
    };
    format!("{holder}; {heard}")
}

/// Before that, what etcd has is not known: not that there is nothing.
fn has_answered(status: &Status) -> bool {
    status.etcd.as_ref().is_some_and(|etcd| etcd.age.is_some())
}

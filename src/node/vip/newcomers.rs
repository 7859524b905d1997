//! New connections while the VIP leaves, or may be about to: they are kept waiting instead of refused.
//!
//! A PostgreSQL that is shutting down refuses whoever comes, and its listening socket is there until its end. A SYN that is
//! dropped instead is sent again by the client's kernel, a second later, and meets the next primary. What drops them ends
//! by itself after [`LIFETIME`], in the kernel.
//!
//! When it begins: as soon as Patroni is asked for a switchover (it then takes tens of milliseconds at least until it stops
//! PostgreSQL, in which connections that are being made get through), when PostgreSQL ends the session with this daemon,
//! and at the latest when the VIP drains or is released.

use std::time::Duration;

use vrrp::time::Instant;

use super::{Phase, Surroundings, Vip};
use crate::gate::evidence::Role;
use crate::gate::policy::PostgresDown;
use crate::node::io::Output;

/// The longest that new connections wait for something that does not come, or for a daemon that is stopped meanwhile: one step
/// of a client's SYN.
const LIFETIME: Duration = Duration::from_secs(1);

/// What is needed for longer is renewed when half of that is over.
const RENEW: Duration = LIFETIME.checked_div(2).unwrap();

/// The longest that they wait for a switchover. Patroni asks the other members first, and makes a checkpoint; a request that it
/// refuses, it takes back.
const SWITCHOVER: Duration = Duration::from_secs(3);

/// With the 100 ms that it may take to see that PostgreSQL is down, and the 50 ms for resets, within the 300 ms that P2 allows,
/// on a clock that is 10 % slow too. Whoever is still connected then is reset, and learns of the move by that.
const DRAIN: Duration = Duration::from_millis(100);
const SHORT_DRAIN: Duration = Duration::from_millis(60);

/// What keeps new connections of one VIP waiting.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// They are dropped until then.
    until: Option<Instant>,
    /// And are to be until then, since a switchover was asked for.
    wanted: Option<Instant>,
    /// Since when because PostgreSQL has ended its session; its next word ends it.
    parted: Option<Instant>,
    /// The revision of the last switchover that was taken notice of.
    switchover: i64,
    /// The kernel cannot drop them.
    refused: bool,
}

impl Newcomers {
    pub(super) fn deadline(&self) -> Option<Instant> {
        let until = self.until?;
        Some(if self.is_wanted_after(until) { until - RENEW } else { until })
    }

    fn is_wanted_after(&self, at: Instant) -> bool {
        self.wanted.is_some_and(|wanted| wanted > at)
    }

    /// What came of dropping them.
    pub(super) fn dropped(&mut self, works: bool) {
        self.refused = !works;
    }

    /// How long PostgreSQL may say goodbye to its clients while the address is still there. Where the kernel cannot drop new
    /// connections, PostgreSQL's listening socket refuses them for that long, and they had better meet the next primary.
    pub(super) fn drain(&self) -> Duration {
        if self.refused { SHORT_DRAIN } else { DRAIN }
    }
}

impl Vip {
    /// PostgreSQL has ended the session with this daemon, and with others perhaps.
    pub(in crate::node) fn postgres_parted(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let leaves = around.evidence.policy.postgres_down == PostgresDown::Release;
        if leaves && matches!(self.phase, Phase::Active { confirmed: true, .. }) {
            self.newcomers.parted = Some(around.evidence.now);
            self.keep_newcomers_waiting(around.evidence.now, out);
        }
    }

    /// Patroni has been asked for a switchover. Each is taken notice of once: what comes of it may take longer.
    pub(in crate::node) fn switchover_asked(
        &mut self,
        around: &Surroundings<'_>,
        leader: Option<&str>,
        revision: i64,
        out: &mut Vec<Output>,
    ) {
        let here = leader.is_none_or(|leader| leader == around.me.member);
        let leaves = around.evidence.policy.postgres_down == PostgresDown::Release;
        let bound = matches!(self.phase, Phase::Active { confirmed: true, .. });
        if here && leaves && bound && revision != self.newcomers.switchover {
            self.newcomers.switchover = revision;
            self.newcomers.parted = None;
            self.newcomers.wanted = Some(around.evidence.now + SWITCHOVER);
            self.keep_newcomers_waiting(around.evidence.now, out);
        }
    }

    /// The request is gone. That a switchover has come about shows otherwise, and earlier.
    pub(in crate::node) fn switchover_withdrawn(&mut self, out: &mut Vec<Output>) {
        if self.newcomers.wanted.is_some() && matches!(self.phase, Phase::Active { .. }) {
            self.let_newcomers_in(out);
        }
    }

    /// Drops new connections from now on.
    pub(super) fn keep_newcomers_waiting(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.newcomers.until.is_some_and(|until| until > now + RENEW) {
            return;
        }
        self.newcomers.until = Some(now + LIFETIME);
        out.push(Output::DropSyns { vip: self.id, lifetime: LIFETIME });
    }

    /// Lets them in, if they were kept waiting.
    pub(super) fn let_newcomers_in(&mut self, out: &mut Vec<Output>) {
        (self.newcomers.parted, self.newcomers.wanted) = (None, None);
        if self.newcomers.until.take().is_some() {
            out.push(Output::AcceptSyns { vip: self.id });
        }
    }

    /// Lets them in if there is nothing left to wait for: PostgreSQL goes on, the address is gone, or nothing came of it in
    /// time.
    pub(super) fn look_after_newcomers(&mut self, around: &Surroundings<'_>, out: &mut Vec<Output>) {
        let goes_on = self.newcomers.parted.is_some_and(|parted| {
            around.evidence.postgres.is_some_and(|report| report.role == Role::Primary && report.asked > parted)
        });
        // Once it leaves, or has left, nothing is renewed for a switchover.
        self.newcomers.wanted = self.newcomers.wanted.filter(|_| matches!(self.phase, Phase::Active { .. }));
        let now = around.evidence.now;
        let over = self.newcomers.until.is_some_and(|until| until <= now);
        if let Some(until) = self.newcomers.until
            && self.newcomers.is_wanted_after(until)
            && !goes_on
        {
            return self.keep_newcomers_waiting(now, out);
        }
        let is_done = match self.phase {
            Phase::Active { .. } => over || goes_on,
            Phase::Closed | Phase::Displacing { .. } => true,
            Phase::Draining { .. } | Phase::Releasing { .. } => over,
        };
        if is_done {
            self.let_newcomers_in(out);
        }
    }
}

//! Patroni's failsafe mode on one host, and pgvrrp's questions about it.

use pgvrrp::gate::evidence::{PatroniReport, PatroniState};

use super::clock::{MS, Nanos, S};
use super::world::World;

/// When an answer is given up.
const LIMIT: Nanos = S;

/// Pause between the beginnings of two questions.
const EVERY: Nanos = 500 * MS;

/// How long the VIP may stay after an answer, on a clock that is 10 % slow.
pub(crate) const VOUCHED: Nanos = 5_600 * MS;

/// What a Patroni knows of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failsafe {
    /// Every member has accepted it as the primary; it asks them again then.
    next: Option<Nanos>,
    /// It has accepted another as the primary, and does not run for the leadership before that.
    pub(crate) accepted_until: Nanos,
    /// Questions of a former turn are void.
    turn: u64,
    /// When pgvrrp last asked and was told "primary, failsafe active".
    vouched: Option<Nanos>,
}

impl Failsafe {
    /// A Patroni that starts remembers nothing; whoever asked the former one asks this one.
    pub(crate) fn restarted(self) -> Self {
        Self { next: None, accepted_until: 0, ..self }
    }
}

impl World {
    /// etcd does not answer, and the retries are over: may the primary stay?
    pub(crate) fn failsafe_allows(&mut self, h: usize) -> bool {
        let config = self.etcd.state.config;
        if !config.failsafe_mode {
            return false;
        }
        if self.hosts[h].patroni.failsafe.next.is_some_and(|next| self.now < next) {
            return true;
        }
        let others: Vec<_> = (0..self.hosts.len()).filter(|o| *o != h).collect();
        let accepted = others.iter().all(|&o| {
            let other = &self.hosts[o];
            let runs = other.up && other.patroni.alive && self.now >= other.suspended_until;
            runs && !other.pg.is_primary() && !self.lan.cut(h, o) && !self.lan.cut(o, h)
        });
        if !accepted {
            self.hosts[h].patroni.failsafe.next = None;
            return false;
        }
        // A member that holds K accepts as well, until its PostgreSQL is primary (Patroni's `update_failsafe` looks at the
        // role, which is "promoted" by then): two primaries, and nothing that a VIP could do about it.
        if others.iter().any(|&o| self.etcd.leads(&self.hosts[o].member)) {
            self.count("failsafe mode accepted by the holder of K");
            self.two_primaries = true;
        }
        for o in others {
            self.hosts[o].patroni.failsafe.accepted_until = self.now + config.ttl.as_nanos() as Nanos;
        }
        // The rest of a cycle, the retries, and members that answer late.
        let cycle = (config.loop_wait + config.retry_timeout).as_nanos() as Nanos;
        let next = self.now + cycle + self.dice.below(4 * S);
        self.hosts[h].patroni.failsafe.next = Some(next);
        self.count("failsafe mode active");
        self.who(h, || "Patroni: every member accepts this primary".to_owned());
        true
    }

    /// Patroni stays primary by its members' consent, or somebody believes so.
    pub(crate) fn is_in_failsafe(&self, h: usize) -> bool {
        self.hosts[h].patroni.failsafe.next.is_some() || self.is_vouched(h)
    }

    /// etcd is back, or PostgreSQL is primary no more.
    pub(crate) fn leave_failsafe(&mut self, h: usize) {
        self.hosts[h].patroni.failsafe.next = None;
    }

    /// The daemon wants to know, or not any more.
    pub(crate) fn ask_patroni(&mut self, h: usize, wanted: bool) {
        let (turn, life) = (self.next_id(), self.hosts[h].life);
        self.hosts[h].patroni.failsafe.turn = turn;
        if wanted {
            self.question(h, life, turn);
        }
    }

    fn question(&mut self, h: usize, life: u64, turn: u64) {
        let host = &self.hosts[h];
        if host.life != life || host.patroni.failsafe.turn != turn {
            return;
        }
        if host.stopped_until > self.now && host.stopped_whole {
            let until = host.stopped_until;
            return self.at(until, move |w| w.question(h, life, turn));
        }
        let (asked, sent) = (self.local(h), self.now);
        let slow = self.dice.chance(self.plan.slow_role);
        let serve = if slow { self.dice.stretch(MS, 3 * S) } else { self.dice.between(MS, 30 * MS) };
        // Patroni asks its PostgreSQL before it answers.
        let hangs = self.now < self.hosts[h].pg.hangs_until;
        self.after(serve.min(LIMIT), move |w| {
            let host = &w.hosts[h];
            let answer = if serve >= LIMIT || hangs || !host.patroni.alive {
                Err("no answer".to_owned())
            } else {
                let failsafe_active = host.patroni.failsafe.next.is_some();
                Ok(PatroniState { primary: host.pg.is_primary(), failsafe_active })
            };
            w.answer_patroni(h, life, turn, sent, PatroniReport { asked, answer });
        });
    }

    fn answer_patroni(&mut self, h: usize, life: u64, turn: u64, sent: Nanos, report: PatroniReport) {
        let host = &mut self.hosts[h];
        if host.life != life || host.patroni.failsafe.turn != turn {
            return;
        }
        if host.stopped_until > self.now && host.stopped_whole {
            let until = host.stopped_until;
            return self.at(until, move |w| w.answer_patroni(h, life, turn, sent, report));
        }
        if matches!(report.answer, Ok(PatroniState { primary: true, failsafe_active: true })) {
            host.patroni.failsafe.vouched = Some(sent);
            self.count("vouched for by the failsafe mode");
        }
        self.hosts[h].inbox.patroni.push_back(report);
        self.wake(h);
        self.at(sent + EVERY, move |w| w.question(h, life, turn));
    }

    /// Whether the failsafe mode, and nothing in etcd, may be why the VIP is here.
    pub(crate) fn is_vouched(&self, h: usize) -> bool {
        self.hosts[h].patroni.failsafe.vouched.is_some_and(|at| self.now < at + VOUCHED)
    }
}

//! PostgreSQL on one host, and pgvrrp's asker of it (`src/evidence/postgres`).

use std::time::Duration;

use pgvrrp::gate::evidence::{Role, RoleReport};
use pgvrrp::gate::policy::PostgresDown;

use super::clock::{MS, Nanos, S, US};
use super::kernel::VIP;
use super::world::World;

/// The server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No server, or one that is starting or stopping: 57P03.
    Down,
    Standby,
    /// `pg_promote` was called; still in recovery.
    Promoting,
    Primary,
}

/// One server and the asker's view of it.
#[derive(Debug)]
pub(crate) struct Postgres {
    pub(crate) state: State,
    /// When it last became, or ceased to be, primary.
    pub(crate) since: Nanos,
    /// A change that is under way is void when this moves on.
    pub(crate) epoch: u64,
    pub(crate) postmaster: u64,
    /// It answers nothing until then.
    pub(crate) hangs_until: Nanos,
    /// Until then a question waited, or waits, for an answer that is slow.
    pub(crate) slow_until: Nanos,
    /// New sessions are refused until then: 53300.
    pub(crate) full_until: Nanos,
    /// A smart shutdown is under way: sessions go on, new ones are refused with 57P03.
    pub(crate) closing: bool,
    /// Until then somebody else's server answers in its place, which is a primary.
    pub(crate) other_server_until: Nanos,
    // The asker.
    pub(crate) every: Duration,
    turn: u64,
    /// The postmaster of the last session, and whether that session lives.
    session: Option<u64>,
    connected: bool,
}

impl Postgres {
    pub(crate) fn new(state: State) -> Self {
        Self {
            state,
            since: 0,
            epoch: 0,
            postmaster: 1,
            hangs_until: 0,
            slow_until: 0,
            full_until: 0,
            closing: false,
            other_server_until: 0,
            every: Duration::from_secs(1),
            turn: 0,
            session: None,
            connected: false,
        }
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.state == State::Primary
    }
}

impl World {
    pub(crate) fn set_postgres(&mut self, h: usize, state: State) -> bool {
        let policy = self.hosts[h].in_force.policy;
        let pg = &mut self.hosts[h].pg;
        let before = pg.state;
        if before == state {
            return false;
        }
        pg.state = state;
        pg.epoch += 1;
        pg.closing &= state != State::Down;
        // With `postgres_down = "hold"` what counts is the end of being down.
        let held = before == State::Down && policy.postgres_down == PostgresDown::Hold;
        // And a server that goes down says so, whatever it kept silent about before.
        if (before == State::Primary) != (state == State::Primary) || held || state == State::Down {
            pg.since = self.now;
            self.postgres_changed(h);
        }
        if before == State::Down {
            self.hosts[h].pg.postmaster += 1;
        }
        if state == State::Down && self.hosts[h].pg.session.is_some() && self.hosts[h].process.is_some() {
            self.hosts[h].inbox.parted = true;
            self.wake(h);
        }
        self.say(&format!("db{}", h + 1), || format!("PostgreSQL {before:?} -> {state:?}"));
        if state == State::Primary && before == State::Promoting && !self.lock_is_of(h, VIP.into()) {
            self.count("primary before V was acquired");
        }
        if state == State::Down {
            self.dismiss_clients(h);
            self.end_session(h);
        }
        true
    }

    /// Whoever was connected hears of the end, and closes the connection when it gets to it.
    fn dismiss_clients(&mut self, h: usize) {
        let now = self.now;
        if self.hosts[h].kernel.holds(now) && self.dice.chance(self.plan.clients) {
            let count = self.dice.between(1, 5);
            let clients = (0..count).map(|_| now + self.dice.below(300 * MS)).collect();
            self.hosts[h].clients = clients;
        }
    }

    /// Clients that are connected to the VIP now.
    pub(crate) fn connected(&self, h: usize) -> usize {
        self.hosts[h].clients.iter().filter(|leaves| **leaves > self.now).count()
    }

    /// The server lets nobody in any more, and after this time an impatient operator stops it for good.
    pub(crate) fn shut_down_smartly(&mut self, h: usize, span: Nanos) -> bool {
        let pg = &mut self.hosts[h].pg;
        if pg.state == State::Down {
            return false;
        }
        if !pg.connected && pg.state != State::Primary {
            // It had no session but ours, and waits for nobody.
            return self.set_postgres(h, State::Down);
        }
        pg.closing = true;
        let postmaster = pg.postmaster;
        self.after(span, move |w| {
            if w.hosts[h].pg.postmaster == postmaster {
                w.set_postgres(h, State::Down);
            }
        });
        true
    }

    /// The server ends pgvrrp's session, or ends itself.
    pub(crate) fn end_session(&mut self, h: usize) -> bool {
        let pg = &mut self.hosts[h].pg;
        pg.turn += 1;
        let was = std::mem::take(&mut pg.connected);
        let (turn, life) = (pg.turn, self.hosts[h].life);
        // Refused within milliseconds, or nothing decided within 100 ms.
        let notice = if self.dice.chance(900_000) { self.dice.between(100 * US, 10 * MS) } else { 105 * MS };
        self.after(notice, move |w| w.ask_role(h, life, turn));
        was
    }

    pub(crate) fn set_cadence(&mut self, h: usize, every: Duration) {
        self.hosts[h].pg.every = every;
        self.ask_role_now(h);
    }

    pub(crate) fn ask_role_now(&mut self, h: usize) {
        let pg = &mut self.hosts[h].pg;
        pg.turn += 1;
        let (turn, life) = (pg.turn, self.hosts[h].life);
        self.after(50 * US, move |w| w.ask_role(h, life, turn));
    }

    fn ask_role(&mut self, h: usize, life: u64, turn: u64) {
        let host = &self.hosts[h];
        if host.life != life || host.pg.turn != turn {
            return;
        }
        if host.stopped_until > self.now && host.stopped_whole {
            let until = host.stopped_until;
            return self.at(until, move |w| w.ask_role(h, life, turn));
        }
        // The channel has four places; a full one stops the asker.
        if host.inbox.postgres.len() >= 4 {
            return self.after(10 * MS, move |w| w.ask_role(h, life, turn));
        }
        let asked = self.local(h);
        let pg = &self.hosts[h].pg;
        let report = move |role: Role, detail: &str| RoleReport {
            asked,
            role,
            system_identifier: matches!(role, Role::Primary | Role::Standby).then(|| "42".to_owned()),
            detail: detail.to_owned(),
        };
        let again = Duration::from_millis(100);
        if self.now < pg.other_server_until {
            let other = RoleReport {
                asked,
                role: Role::Primary,
                system_identifier: Some("43".to_owned()),
                detail: "accepts writes".to_owned(),
            };
            let every = pg.every;
            return self.answer(h, life, turn, 120 * US, other, every);
        }
        if pg.state == State::Down {
            self.hosts[h].pg.session = None;
            return self.answer(h, life, turn, 200 * US, report(Role::Down, "57P03"), again);
        }
        if !pg.connected && pg.closing {
            self.hosts[h].pg.session = None;
            return self.answer(h, life, turn, 200 * US, report(Role::Down, "57P03"), again);
        }
        if self.now < pg.hangs_until {
            self.hosts[h].pg.session = None;
            return self.answer(h, life, turn, 500 * MS, report(Role::Unknown, "no answer"), again);
        }
        if !pg.connected && self.now < pg.full_until {
            // Another postmaster than the last session's: that one went down, be it for a moment.
            if pg.session.is_some_and(|of| of != pg.postmaster) {
                self.hosts[h].pg.session = None;
                return self.answer(h, life, turn, 100 * MS, report(Role::Down, "53300"), again);
            }
            return self.answer(h, life, turn, MS, report(Role::Unknown, "53300"), again);
        }
        if pg.session.is_some_and(|of| of != pg.postmaster) {
            self.deliver_role(h, life, report(Role::Down, "it was restarted"));
        }
        let pg = &mut self.hosts[h].pg;
        (pg.session, pg.connected) = (Some(pg.postmaster), true);
        let every = pg.every;
        let slow = self.dice.chance(self.plan.slow_role);
        let serve = if slow { self.dice.stretch(MS, 400 * MS) } else { 60 * US };
        if slow {
            self.hosts[h].pg.slow_until = self.now + 2 * serve;
        }
        self.after(serve, move |w| {
            let pg = &w.hosts[h].pg;
            if w.hosts[h].life != life || pg.turn != turn {
                return;
            }
            let role = match pg.state {
                State::Primary => report(Role::Primary, "accepts writes"),
                State::Standby | State::Promoting => report(Role::Standby, "in recovery"),
                State::Down => return,
            };
            w.answer(h, life, turn, serve, role, every);
        });
    }

    fn answer(&mut self, h: usize, life: u64, turn: u64, way: Nanos, report: RoleReport, again: Duration) {
        self.after(way, move |w| {
            if w.hosts[h].pg.turn != turn {
                return;
            }
            w.deliver_role(h, life, report);
            // On the host's own clock, but what that is in master time does not matter here. Milliseconds of a busy host do:
            // an armed node's every question would be most of the history's work.
            let again = u64::try_from(again.as_nanos()).unwrap_or(S).max(MS);
            let again = if again < 10 * MS && !w.plan.swift { w.dice.stretch(again, 30 * MS) } else { again };
            w.after(again, move |w| w.ask_role(h, life, turn));
        });
    }

    fn deliver_role(&mut self, h: usize, life: u64, report: RoleReport) {
        if self.hosts[h].life == life && self.hosts[h].process.is_some() {
            self.hosts[h].inbox.postgres.push_back(report);
            self.wake(h);
        }
    }
}

//! Patroni on one host: the order of its events, as far as the leader key and PostgreSQL's role go.

use pgvrrp::gate::evidence::{LeaseId, PatroniConfig};

use super::clock::{MS, Nanos, S};
use super::failsafe::Failsafe;
use super::postgres::State;
use super::world::World;

/// One Patroni.
#[derive(Debug)]
pub(crate) struct Patroni {
    pub(crate) alive: bool,
    /// What a former life had under way is void.
    life: u64,
    /// Cycles of a former turn are void.
    turn: u64,
    pub(crate) lease: Option<LeaseId>,
    /// It has read etcd since its start; until then it waits for that, and does nothing.
    started: bool,
    /// Since when etcd has not answered.
    failing: Option<Nanos>,
    /// A switchover, a stop or a start is under way: it does not restart PostgreSQL.
    pub(crate) busy: bool,
    /// Which one: the next ends the one before.
    task: u64,
    /// It does not run for the leadership before that.
    hold_off: Nanos,
    pub(crate) failsafe: Failsafe,
}

impl Patroni {
    pub(crate) fn new() -> Self {
        Self {
            alive: false,
            life: 0,
            turn: 0,
            lease: None,
            started: false,
            failing: None,
            busy: false,
            task: 0,
            hold_off: 0,
            failsafe: Failsafe::default(),
        }
    }
}

impl World {
    fn loop_wait(&self) -> Nanos {
        self.etcd.state.config.loop_wait.as_nanos() as Nanos
    }

    fn patroni_ttl(&self) -> i64 {
        self.etcd.state.config.ttl.as_secs() as i64
    }

    pub(crate) fn start_patroni(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        if host.up && !host.patroni.alive {
            let failsafe = host.patroni.failsafe.restarted();
            let (life, turn) = (host.patroni.life, host.patroni.turn + 1);
            host.patroni = Patroni { alive: true, life, turn, failsafe, ..Patroni::new() };
            self.who(h, || "Patroni starts".to_owned());
            self.cycle_in(h, 100 * MS);
        }
    }

    pub(crate) fn kill_patroni(&mut self, h: usize) -> bool {
        self.leave_failsafe(h);
        let patroni = &mut self.hosts[h].patroni;
        let was = std::mem::take(&mut patroni.alive);
        patroni.life += 1;
        patroni.turn += 1;
        // Its member key has a lease as well.
        let (life, ttl) = (patroni.life, self.etcd.state.config.ttl.as_nanos() as Nanos);
        let (member, address) = (self.hosts[h].member.clone(), self.hosts[h].address);
        self.after(ttl, move |w| {
            let patroni = &w.hosts[h].patroni;
            let gone = patroni.life == life && (!patroni.alive || w.hosts[h].address != address);
            if gone && w.etcd.state.registered.get(&member) == Some(&address) {
                w.etcd.state.registered.remove(&member);
            }
        });
        was
    }

    /// The watch wakes every Patroni that it reaches.
    pub(crate) fn wake_patronis(&mut self) {
        for h in 0..self.hosts.len() {
            if self.hosts[h].patroni.alive && self.patroni_reaches(h) {
                let delay = self.dice.between(MS, 40 * MS);
                self.cycle_in(h, delay);
            }
        }
    }

    fn cycle_in(&mut self, h: usize, delay: Nanos) {
        self.hosts[h].patroni.turn += 1;
        let turn = self.hosts[h].patroni.turn;
        self.after(delay, move |w| {
            if w.hosts[h].patroni.turn == turn && w.hosts[h].patroni.alive {
                w.cycle(h);
            }
        });
    }

    fn patroni_reaches(&self, h: usize) -> bool {
        let host = &self.hosts[h];
        host.up
            && !host.cut_requests
            && !host.cut_answers
            && self.now >= host.suspended_until
            && self.now >= self.etcd.leaderless_until
            && self.etcd.parts.iter().any(|part| !part.cut)
    }

    fn cycle(&mut self, h: usize) {
        if self.now < self.hosts[h].suspended_until {
            let left = self.hosts[h].suspended_until - self.now;
            return self.cycle_in(h, left);
        }
        if !self.patroni_reaches(h) {
            let since = *self.hosts[h].patroni.failing.get_or_insert(self.now);
            let retry = self.etcd.state.config.retry_timeout.as_nanos() as Nanos;
            let host = &self.hosts[h];
            let in_doubt = host.patroni.started && self.now - since >= retry && host.pg.is_primary();
            if in_doubt && !self.etcd.state.config.paused && !self.failsafe_allows(h) {
                self.who(h, || "Patroni: etcd does not answer, demoting".to_owned());
                self.demote(h);
            }
            return self.cycle_in(h, S);
        }
        (self.hosts[h].patroni.started, self.hosts[h].patroni.failing) = (true, None);
        self.leave_failsafe(h);
        let wait = self.loop_wait();
        self.cycle_in(h, wait);
        let host = &self.hosts[h];
        let (name, address, state, busy) = (host.member.clone(), host.address, host.pg.state, host.patroni.busy);
        self.etcd.state.registered.insert(name.clone(), address);
        let PatroniConfig { paused, standby_cluster, .. } = self.etcd.state.config;
        match self.etcd.state.leader.clone() {
            Some((leader, lease)) if leader.member == name => {
                self.renew(h, lease);
                match state {
                    _ if busy => {}
                    State::Standby if paused => {
                        self.who(h, || "Patroni: in recovery during a pause, K is given up".to_owned());
                        self.delete_leader(h);
                    }
                    State::Standby if standby_cluster => {}
                    State::Primary | State::Promoting if standby_cluster && !paused => self.demote(h),
                    State::Standby => {
                        // A copied machine takes the name for its own, while the original's failsafe mode keeps it primary:
                        // two primaries again.
                        let twin = |o: &usize| *o != h && self.hosts[*o].member == name && self.is_vouched(*o);
                        if (0..self.hosts.len()).any(|o| twin(&o)) {
                            self.count("a copy promoted beside a failsafe mode");
                            self.two_primaries = true;
                        }
                        self.promote(h);
                    }
                    State::Down if !paused && standby_cluster => self.start_postgres(h, State::Standby),
                    State::Down if !paused => self.start_postgres(h, State::Primary),
                    _ => {}
                }
            }
            Some(_) => match state {
                _ if paused || busy => {}
                State::Primary | State::Promoting => self.demote(h),
                State::Down => self.start_postgres(h, State::Standby),
                State::Standby => {}
            },
            None => {
                if self.hosts[h].patroni.hold_off <= self.now && !busy && (!paused || state == State::Primary) {
                    let delay = self.dice.between(5 * MS, 2 * S);
                    self.after(delay, move |w| w.race(h));
                } else if state == State::Down && !busy && !paused {
                    self.start_postgres(h, State::Standby);
                }
            }
        }
    }

    /// K is written once; renewing is the lease's business. A lost lease is replaced, and K put anew by name.
    fn renew(&mut self, h: usize, lease: LeaseId) {
        let mine = self.hosts[h].patroni.lease;
        if mine == Some(lease) && self.etcd.keep(self.now, lease).is_some() {
            return self.await_expiry(lease);
        }
        let lease = match mine {
            Some(lease) if self.etcd.keep(self.now, lease).is_some() => lease,
            _ => self.etcd.grant(self.now, self.patroni_ttl()),
        };
        self.hosts[h].patroni.lease = Some(lease);
        if let Some((_, of)) = &mut self.etcd.state.leader {
            *of = lease;
            self.etcd.state.revision += 1;
        }
        self.await_expiry(lease);
    }

    fn race(&mut self, h: usize) {
        let host = &self.hosts[h];
        let absent = self.etcd.state.leader.is_none();
        if !host.patroni.alive || !self.patroni_reaches(h) || !absent || host.patroni.busy {
            return;
        }
        let paused = self.etcd.state.config.paused;
        if (paused || self.now < host.patroni.failsafe.accepted_until) && !host.pg.is_primary() {
            return;
        }
        // "Primary is still alive": seen by REST if its Patroni answers.
        let others = (0..self.hosts.len()).filter(|o| *o != h);
        let rival = others.into_iter().any(|o| {
            let other = &self.hosts[o];
            other.up && other.patroni.alive && other.pg.is_primary() && !self.lan.cut(h, o) && !self.lan.cut(o, h)
        });
        if rival && !self.hosts[h].pg.is_primary() && self.dice.chance(950_000) {
            return;
        }
        // Nobody reached the primary that its failsafe mode keeps, and this member has forgotten, by a restart, that it
        // accepted that one. Two primaries, and again nothing that a VIP could do about it.
        let others = (0..self.hosts.len()).filter(|o| *o != h);
        if others.into_iter().any(|o| self.is_in_failsafe(o)) {
            self.count("K taken over a failsafe mode");
            self.two_primaries = true;
        }
        let before = self.etcd.state.revision;
        self.give_leader(h);
        self.count("K acquired");
        self.etcd_changed(before);
        match self.hosts[h].pg.state {
            // The next cycle starts it as what it is to be.
            _ if self.etcd.state.config.standby_cluster => {}
            State::Standby => {
                // At once: primary before pgvrrp can have read K, and so before V is acquired.
                let at_once = self.dice.chance(self.plan.at_once);
                let delay = if at_once { 0 } else { self.dice.between(5 * MS, 150 * MS) };
                let epoch = self.hosts[h].pg.epoch;
                self.after(delay, move |w| {
                    // What it gave up meanwhile, in a pause, it does not promote for.
                    if w.hosts[h].pg.epoch == epoch && w.etcd.leads(&w.hosts[h].member) {
                        if at_once { w.promote_in(h, 0) } else { w.promote(h) }
                    }
                });
            }
            State::Down => self.start_postgres(h, State::Primary),
            _ => {}
        }
    }

    /// K becomes this host's, under a lease of its Patroni's.
    pub(crate) fn give_leader(&mut self, h: usize) {
        let lease = self.etcd.grant(self.now, self.patroni_ttl());
        self.hosts[h].patroni.lease = Some(lease);
        let name = self.hosts[h].member.clone();
        self.etcd.set_leader(Some((&name, lease)));
        self.who(h, || "Patroni: K is mine".to_owned());
        self.await_expiry(lease);
    }

    pub(crate) fn delete_leader(&mut self, h: usize) {
        if self.patroni_reaches(h) && self.etcd.leads(&self.hosts[h].member) {
            let before = self.etcd.state.revision;
            self.etcd.set_leader(None);
            self.hosts[h].patroni.hold_off = self.now + 10 * S;
            self.etcd_changed(before);
        }
    }

    fn promote(&mut self, h: usize) {
        let at_once = self.dice.chance(self.plan.at_once);
        let takes = if at_once { 0 } else { self.dice.stretch(MS, self.plan.promotion) };
        self.promote_in(h, takes);
    }

    fn promote_in(&mut self, h: usize, takes: Nanos) {
        if self.hosts[h].pg.state == State::Standby {
            self.set_postgres(h, State::Promoting);
            self.become_in(h, takes, State::Primary);
        }
    }

    /// After this time, unless something else happens to the server.
    fn become_in(&mut self, h: usize, delay: Nanos, state: State) {
        self.hosts[h].pg.epoch += 1;
        let epoch = self.hosts[h].pg.epoch;
        self.after(delay, move |w| {
            if w.hosts[h].pg.epoch == epoch && w.hosts[h].up {
                w.set_postgres(h, state);
            }
        });
    }

    fn start_postgres(&mut self, h: usize, state: State) {
        let task = self.begin_task(h);
        let takes = if state == State::Primary {
            self.dice.stretch(500 * MS, 30 * S)
        } else {
            self.dice.between(500 * MS, 4 * S)
        };
        self.become_in(h, takes, state);
        self.after(takes, move |w| w.end_task(h, task));
    }

    /// By somebody's hand, behind Patroni's back.
    pub(crate) fn restart_as_standby(&mut self, h: usize) -> bool {
        let was = self.hosts[h].pg.is_primary();
        if was {
            self.set_postgres(h, State::Down);
            let takes = self.dice.stretch(20 * MS, 4 * S);
            self.become_in(h, takes, State::Standby);
        }
        was
    }

    fn begin_task(&mut self, h: usize) -> u64 {
        let patroni = &mut self.hosts[h].patroni;
        patroni.busy = true;
        patroni.task += 1;
        patroni.task
    }

    fn end_task(&mut self, h: usize, task: u64) {
        let patroni = &mut self.hosts[h].patroni;
        patroni.busy &= patroni.task != task;
    }

    /// Fast stop, then a start as standby.
    fn demote(&mut self, h: usize) {
        self.set_postgres(h, State::Down);
        self.start_postgres(h, State::Standby);
    }

    /// `patronictl switchover`, or `systemctl stop patroni` if Patroni ends by it: PostgreSQL stops first, then K goes.
    pub(crate) fn switch_over(&mut self, h: usize, ends: bool) -> bool {
        let host = &self.hosts[h];
        if !host.patroni.alive || !self.patroni_reaches(h) || !self.etcd.leads(&host.member) || !host.pg.is_primary() {
            return false;
        }
        if !ends {
            self.tell_switchover(h);
        }
        let task = self.begin_task(h);
        let stop = self.dice.between(20 * MS, S);
        let delete = stop + self.dice.between(1200 * MS, 3 * S);
        let back = delete + self.dice.between(500 * MS, 3 * S);
        let life = self.hosts[h].patroni.life;
        let lives = move |w: &Self| w.hosts[h].patroni.life == life && w.hosts[h].patroni.task == task;
        self.after(stop, move |w| {
            if lives(w) {
                w.set_postgres(h, State::Down);
            }
        });
        self.after(delete, move |w| {
            if lives(w) {
                w.delete_leader(h);
            }
        });
        self.after(back, move |w| {
            if !lives(w) {
                return;
            }
            w.end_task(h, task);
            if ends {
                w.kill_patroni(h);
            } else if w.hosts[h].up && w.hosts[h].pg.state == State::Down {
                w.start_postgres(h, State::Standby);
            }
        });
        true
    }
}

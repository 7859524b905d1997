//! What befalls the world, and how it is healed.

use super::clock::{Clock, MS, Nanos, S};
use super::kernel::{Bound, ETH0, Kernel, LO, VIP};
use super::plan::Fault;
use super::postgres::State;
use super::process::Told;
use super::world::World;

impl World {
    /// One event after the other until the trouble is over.
    pub(crate) fn trouble(&mut self) {
        if self.plan.faults.is_empty() {
            return;
        }
        let wait = self.dice.below(2 * self.plan.gap);
        self.after(wait, |w| {
            if w.now < w.plan.trouble {
                if w.plan.faults.contains(&Fault::Restore) && w.dice.chance(300_000) {
                    w.etcd.backup = Some(Box::new(w.etcd.state.clone()));
                }
                let fault = *w.dice.pick(&w.plan.faults.clone());
                let h = w.dice.below(w.hosts.len() as u64) as usize;
                // Those that hold have more to lose; then those that are about to.
                let hosts = 0..w.hosts.len();
                let holder = hosts.clone().find(|&h| w.hosts[h].kernel.holds(w.now));
                let holder = holder.or_else(|| hosts.clone().find(|&h| w.etcd.leads(&w.hosts[h].member)));
                let h = if w.dice.chance(600_000) { holder.unwrap_or(h) } else { h };
                let span = w.dice.stretch(50 * MS, 90 * S);
                w.befall(fault, h, span);
                w.trouble();
            }
        });
    }

    /// A fault of this length.
    pub(crate) fn befall(&mut self, fault: Fault, h: usize, span: Nanos) {
        let span = span.min(self.left());
        *self.faults.entry(fault).or_default() += 1;
        self.say("FAULT", || format!("{fault:?} db{} {} ms", h + 1, span / MS));
        let hosts = self.hosts.len();
        match fault {
            Fault::CutEtcd | Fault::CutRequests | Fault::CutAnswers => {
                let (out, back) = (fault != Fault::CutAnswers, fault != Fault::CutRequests);
                self.hosts[h].cut_requests |= out;
                self.hosts[h].cut_answers |= back;
                self.after(span, move |w| {
                    w.hosts[h].cut_requests &= !out;
                    w.hosts[h].cut_answers &= !back;
                });
            }
            Fault::CutMember | Fault::SlowMember | Fault::LaggingMember => {
                let part = self.dice.below(self.plan.members as u64) as usize;
                let slow = self.dice.stretch(10 * MS, 3 * S);
                let state = Box::new(self.etcd.state.clone());
                if fault == Fault::LaggingMember {
                    self.note_lag(span);
                }
                let it = &mut self.etcd.parts[part];
                match fault {
                    Fault::CutMember => it.cut = true,
                    Fault::SlowMember => it.slow = slow,
                    _ => it.lagging = Some(state),
                }
                self.after(span, move |w| w.etcd.parts[part] = super::etcd::Part::default());
            }
            Fault::CutSegment | Fault::CutOneWay => {
                let others: Vec<_> = (0..hosts).filter(|o| *o != h).collect();
                for o in others {
                    self.lan.down.insert((h, o));
                    if fault == Fault::CutSegment {
                        self.lan.down.insert((o, h));
                    }
                }
                self.after(span, move |w| w.lan.down.retain(|(a, b)| *a != h && *b != h));
            }
            Fault::LeaderChange => {
                let outage = self.dice.stretch(50 * MS, 4 * S);
                self.elect(outage);
            }
            Fault::EtcdOutage => self.elect(span),
            Fault::SilentWatch => {
                self.hosts[h].silent_watch = true;
                self.after(span, move |w| w.hosts[h].silent_watch = false);
            }
            Fault::Compaction => {
                self.hosts[h].silent_watch = true;
                self.after(500 * MS, move |w| {
                    w.hosts[h].silent_watch = false;
                    w.hint(h);
                });
            }
            Fault::Restore => {
                let new_id = self.dice.chance(700_000);
                self.elect(2 * S);
                self.after(S, move |w| {
                    let before = w.etcd.state.revision;
                    w.etcd.restore(w.now, new_id);
                    w.etcd_changed(before);
                });
            }
            Fault::Switchover => {
                let leader =
                    (0..hosts).find(|&o| self.etcd.leads(&self.hosts[o].member) && self.hosts[o].pg.is_primary());
                self.switch_over(leader.unwrap_or(h), false);
            }
            Fault::PatroniStopped => {
                self.switch_over(h, true);
                self.after(span + 5 * S, move |w| w.start_patroni(h));
            }
            Fault::PatroniKilled => {
                self.kill_patroni(h);
                self.after(span, move |w| w.start_patroni(h));
            }
            Fault::PostgresCrash => self.set_postgres(h, State::Down),
            Fault::PostgresHang => self.hosts[h].pg.hangs_until = self.now + span,
            Fault::SessionKilled => self.end_session(h),
            Fault::PostgresFull => {
                self.hosts[h].pg.full_until = self.now + span;
                self.end_session(h);
            }
            Fault::SmartShutdown => {
                // New sessions are refused, ours goes on; then an impatient operator stops it for good.
                self.hosts[h].pg.full_until = self.now + span;
                let epoch = self.hosts[h].pg.epoch;
                self.after(span, move |w| {
                    if w.hosts[h].pg.epoch == epoch {
                        w.set_postgres(h, State::Down);
                    }
                });
            }
            Fault::Demoted => self.restart_as_standby(h),
            Fault::HostDeath => {
                self.power_off(h);
                self.after(span, move |w| w.power_on(h));
            }
            Fault::Suspend => self.suspend(h, span),
            Fault::Paused => {
                // Often to stop Patroni on the primary for maintenance, until its leader key is gone.
                let span = if self.dice.chance(500_000) { (span + 45 * S).min(self.left()) } else { span };
                if span > 45 * S {
                    self.after(S, move |w| w.kill_patroni(h));
                    self.after(span - S, move |w| w.start_patroni(h));
                }
                let before = self.etcd.state.revision;
                self.etcd.state.config.paused = true;
                self.etcd.state.revision += 1;
                self.etcd_changed(before);
                self.after(span, |w| {
                    let before = w.etcd.state.revision;
                    w.etcd.state.config.paused = false;
                    w.etcd.state.revision += 1;
                    w.etcd_changed(before);
                });
            }
            Fault::LeaderKeyDeleted => {
                let before = self.etcd.state.revision;
                let other = (0..hosts).find(|o| *o != h && self.hosts[*o].patroni.alive);
                // Over Patroni's failsafe mode that would be two primaries, and nobody's fence.
                let failsafe = self.hosts.iter().any(|host| self.now < host.patroni.failsafe.accepted_until);
                match other.filter(|_| !failsafe && self.dice.chance(500_000)) {
                    // Somebody puts it by hand, for another.
                    Some(other) => self.give_leader(other),
                    None => self.etcd.set_leader(None),
                }
                self.etcd_changed(before);
            }
            Fault::LockDeleted => {
                if let Some(lock) = self.etcd.state.lock.take() {
                    let ttl = self.etcd.leases.get(&lock.lease).map_or(0, |lease| lease.ttl as u64 * S);
                    (self.etcd.tampered, self.etcd.tampered_ttl) = (Some(self.now), ttl);
                    self.etcd.state.revision += 1;
                    let before = self.etcd.state.revision - 1;
                    self.etcd_changed(before);
                }
            }
            Fault::TtlChanged => {
                let (former, before) = (self.etcd.state.config, self.etcd.state.revision);
                self.etcd.state.config = *self.dice.pick(&[
                    super::plan::config(20, 1, 3),
                    super::plan::config(30, 10, 10),
                    super::plan::config(25, 5, 8),
                ]);
                self.etcd.state.config.paused = former.paused;
                self.etcd.state.config.failsafe_mode = former.failsafe_mode;
                self.etcd.state.revision += 1;
                self.etcd_changed(before);
            }
            Fault::Stopped => self.stop_for(h, span, true),
            Fault::ThreadStuck => self.stop_for(h, span, false),
            Fault::Killed => {
                self.kill(h);
                let back = self.dice.stretch(100 * MS, span.max(200 * MS));
                self.after(back, move |w| w.start(h));
            }
            Fault::Restarted => {
                self.hosts[h].inbox.stop = true;
                self.wake(h);
                self.after(6 * S, move |w| w.start(h));
            }
            Fault::HandedOver => {
                self.hosts[h].inbox.hand_over = true;
                self.wake(h);
                let next = self.dice.stretch(100 * MS, 8 * S);
                self.after(next, move |w| w.start(h));
            }
            // In the world from the beginning.
            Fault::Cloned | Fault::Misnamed => {}
            Fault::Unresolved => {
                self.hosts[h].unresolved = true;
                self.after(span, move |w| w.hosts[h].unresolved = false);
            }
            Fault::Uninitialized => {
                self.etcd.state.initialized = false;
                self.after(span, |w| w.etcd.state.initialized = true);
            }
            Fault::WrongServer => {
                self.hosts[h].pg.other_server_until = self.now + span;
                self.end_session(h);
            }
            Fault::ForeignDelete => {
                if self.hosts[h].kernel.vips().next().is_some() {
                    self.hosts[h].kernel.removed_by_others = Some(self.now);
                    self.remove_vip(h, false);
                }
            }
            Fault::ForeignAdd => self.foreign_add(h),
            Fault::ForeignRouter => self.foreign_router((span / S) as u32),
            Fault::LinkFlap => {
                self.lose_link(h);
                self.after(span.min(20 * S), move |w| w.find_link(h));
            }
        }
    }

    fn foreign_add(&mut self, h: usize) {
        if !self.hosts[h].up {
            return;
        }
        let link = *self.dice.pick(&[ETH0, ETH0, LO]);
        let prefix_len = *self.dice.pick(&[32, 24]);
        let ends = self.dice.chance(500_000).then_some(self.now + 2 * S);
        let bound = Bound { link, address: VIP.into(), prefix_len, ends, foreign: true, sound_until: 0 };
        match self.hosts[h].kernel.place(link, VIP.into(), prefix_len) {
            Some(_) => {}
            None => {
                self.hosts[h].kernel.addresses.push(bound);
                self.address_added(h, bound);
            }
        }
    }

    fn lose_link(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        host.kernel.link = false;
        host.kernel.removed_by_others = Some(self.now);
        host.kernel.addresses.retain(|bound| bound.link != ETH0 || bound.ends.is_none());
        host.kernel.addresses.retain(|bound| bound.address != VIP);
        self.tell_process(h, Told::Link);
        self.tell_process(h, Told::Lost);
    }

    fn find_link(&mut self, h: usize) {
        if self.hosts[h].up && !self.hosts[h].kernel.link {
            self.hosts[h].kernel.link = true;
            self.tell_process(h, Told::Link);
        }
    }

    fn power_off(&mut self, h: usize) {
        self.kill(h);
        self.kill_patroni(h);
        self.hosts[h].up = false;
        self.hosts[h].boot += 1;
        self.hosts[h].kernel = Kernel::default();
        self.set_postgres(h, State::Down);
    }

    pub(crate) fn power_on(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        if host.up {
            return;
        }
        host.up = true;
        // The runtime directory does not survive a boot.
        host.incarnation += 1;
        host.kernel = Kernel::boot(host.address);
        host.clock = Clock::new(self.plan.rates[h], self.now, 20 * S);
        host.patroni.busy = false;
        self.start(h);
        self.start_patroni(h);
    }

    /// The machine sleeps: nothing runs on it, lifetimes stand still, and CLOCK_BOOTTIME goes on.
    fn suspend(&mut self, h: usize, span: Nanos) {
        let now = self.now;
        let host = &mut self.hosts[h];
        if !host.up {
            return;
        }
        host.suspended_until = host.suspended_until.max(now + span);
        host.slept = Some((host.life, false));
        host.pg.hangs_until = host.pg.hangs_until.max(now + span);
        let mut later = Vec::new();
        for bound in &mut host.kernel.addresses {
            if let Some(ends) = &mut bound.ends {
                *ends += span;
                // Out of reach of any software, as is said in the README.
                bound.sound_until = bound.sound_until.min(now);
                later.push(*bound);
            }
        }
        later.into_iter().for_each(|bound| self.await_end(h, bound));
        self.stop_for(h, span, true);
    }

    /// Until then all faults are over.
    pub(crate) fn left(&self) -> Nanos {
        self.plan.trouble.saturating_sub(self.now).max(MS)
    }

    /// Everything is well from now on.
    pub(crate) fn heal(&mut self) {
        self.say("FAULT", || "healed".to_owned());
        let calm = super::plan::Plan::calm(self.plan.nodes);
        self.plan = super::plan::Plan {
            rates: self.plan.rates.clone(),
            members: self.plan.members,
            config: self.plan.config,
            policy: self.plan.policy,
            faults: self.plan.faults.clone(),
            trouble: self.plan.trouble,
            calm: self.plan.calm,
            promotion: self.plan.promotion.min(5 * S),
            ..calm
        };
        self.lan.down.clear();
        self.etcd.parts.iter_mut().for_each(|part| *part = super::etcd::Part::default());
        self.etcd.state.config.paused = false;
        self.etcd.state.initialized = true;
        self.etcd.state.revision += 1;
        let before = self.etcd.state.revision - 1;
        for h in 0..self.hosts.len() {
            let host = &mut self.hosts[h];
            (host.cut_requests, host.cut_answers, host.silent_watch) = (false, false, false);
            host.unresolved = false;
            host.pg.other_server_until = self.now;
            (host.pg.hangs_until, host.pg.full_until) = (host.pg.hangs_until.min(self.now), self.now);
            host.stopped_until = host.stopped_until.min(self.now);
            host.suspended_until = host.suspended_until.min(self.now);
            self.power_on(h);
            self.find_link(h);
            if self.hosts[h].process.is_some() {
                self.running(h, true);
            }
            self.start(h);
            self.start_patroni(h);
            self.wake(h);
            // One that was told to stop is started again by its supervisor.
            self.after(6 * S, move |w| w.start(h));
        }
        if self.etcd.leaderless_until > self.now {
            self.etcd.leaderless_until = 0;
            self.elect(MS);
        }
        self.etcd_changed(before);
    }
}

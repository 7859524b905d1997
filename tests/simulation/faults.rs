//! What befalls the world, and how it is healed.

use std::net::{IpAddr, Ipv4Addr};

use pgvrrp::gate::evidence::PatroniConfig;
use pgvrrp::gate::policy::Fence;

use super::clock::{Clock, MS, Nanos, S};
use super::kernel::{Bound, ETH0, ETH1, Kernel, LO, VIP, is_vip};
use super::plan::{self, Fault};
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

    /// A fault of this length. It counts if it changed anything.
    pub(crate) fn befall(&mut self, fault: Fault, h: usize, span: Nanos) {
        let span = span.min(self.left());
        self.say("FAULT", || format!("{fault:?} db{} {} ms", h + 1, span / MS));
        if self.strike(fault, h, span) {
            self.befallen(fault);
        }
    }

    pub(crate) fn befallen(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// Whether it changed anything.
    fn strike(&mut self, fault: Fault, h: usize, span: Nanos) -> bool {
        match fault {
            Fault::CutEtcd | Fault::CutRequests | Fault::CutAnswers => self.cut_etcd(fault, h, span),
            Fault::CutMember | Fault::SlowMember | Fault::LaggingMember | Fault::StaleReads => {
                self.hinder_member(fault, span)
            }
            Fault::CutSegment | Fault::CutOneWay => self.cut_segment(fault, h, span),
            Fault::LeaderChange => {
                let outage = self.dice.stretch(50 * MS, 4 * S);
                self.elect(outage)
            }
            Fault::EtcdOutage => self.elect(span),
            Fault::SilentWatch => self.silence_watch(h, span),
            Fault::Compaction => self.compact(h, span),
            Fault::Restore => self.restore(),
            Fault::Switchover => self.switch_leader(h),
            Fault::PatroniStopped => {
                self.after(span + 5 * S, move |w| w.start_patroni(h));
                self.switch_over(h, true)
            }
            Fault::PatroniKilled => {
                self.after(span, move |w| w.start_patroni(h));
                self.kill_patroni(h)
            }
            Fault::PostgresCrash => self.set_postgres(h, State::Down),
            Fault::PostgresHang => self.hang_postgres(h, span),
            Fault::SessionKilled => self.end_session(h),
            Fault::PostgresFull => {
                self.hosts[h].pg.full_until = self.now + span;
                self.end_session(h)
            }
            Fault::SmartShutdown => self.shut_down_smartly(h, span),
            Fault::Demoted => self.restart_as_standby(h),
            Fault::HostDeath => {
                self.after(span, move |w| w.power_on(h));
                self.power_off(h)
            }
            Fault::Suspend => self.suspend(h, span),
            Fault::ClockJump => self.jump_clock(h),
            Fault::RateChanged => self.change_rate(h),
            Fault::Paused => self.pause_cluster(h, span),
            Fault::StandbyCluster => {
                let was = self.etcd.state.config.standby_cluster;
                self.change_config(|config| config.standby_cluster = true);
                self.after(span, |w| w.change_config(|config| config.standby_cluster = false));
                !was
            }
            Fault::LeaderKeyDeleted => self.delete_leader_by_hand(h),
            Fault::LockDeleted => self.delete_lock_by_hand(),
            Fault::TtlChanged => self.change_ttl(),
            Fault::LockForged => self.forge_lock(span),
            Fault::Unconfigured => {
                self.etcd.state.configured = false;
                self.after(span, |w| w.etcd.state.configured = true);
                true
            }
            Fault::Stopped => self.stop_for(h, span, true),
            Fault::ThreadStuck => self.stop_for(h, span, false),
            Fault::Killed => {
                let back = self.dice.stretch(100 * MS, span.max(200 * MS));
                // In a host that is suspended nobody can.
                if self.now < self.hosts[h].suspended_until {
                    return false;
                }
                self.after(back, move |w| w.start(h));
                self.kill(h)
            }
            Fault::Restarted => self.restart(h),
            Fault::HandedOver => self.hand_over(h),
            // In the world from the beginning.
            Fault::Cloned | Fault::Misnamed => false,
            Fault::Unresolved => {
                self.hosts[h].unresolved = true;
                self.after(span, move |w| w.hosts[h].unresolved = false);
                true
            }
            Fault::Uninitialized => {
                self.etcd.state.initialized = false;
                self.after(span, |w| w.etcd.state.initialized = true);
                true
            }
            Fault::WrongServer => {
                self.hosts[h].pg.other_server_until = self.now + span;
                self.end_session(h)
            }
            Fault::ForeignDelete => self.foreign_delete(h),
            Fault::ForeignAdd => self.foreign_add(h),
            Fault::ForeignRouter => {
                self.foreign_router((span / S) as u32);
                true
            }
            Fault::Stranger => {
                self.strangers(h, span);
                true
            }
            Fault::LinkFlap => {
                self.after(span.min(20 * S), move |w| w.find_link(h));
                self.lose_link(h)
            }
            // The operator's, who goes from node to node.
            Fault::AddressAdded
            | Fault::AddressTakenOut
            | Fault::LockRenamed
            | Fault::VipAdded
            | Fault::VipTakenOut
            | Fault::RouterChanged
            | Fault::PlaceChanged
            | Fault::PolicyChanged
            | Fault::RolledBack => {
                self.change(fault);
                false
            }
        }
    }

    fn cut_etcd(&mut self, fault: Fault, h: usize, span: Nanos) -> bool {
        let (out, back) = (fault != Fault::CutAnswers, fault != Fault::CutRequests);
        self.hosts[h].cut_requests |= out;
        self.hosts[h].cut_answers |= back;
        self.after(span, move |w| {
            w.hosts[h].cut_requests &= !out;
            w.hosts[h].cut_answers &= !back;
        });
        true
    }

    fn hinder_member(&mut self, fault: Fault, span: Nanos) -> bool {
        let part = self.dice.below(self.plan.members as u64) as usize;
        let slow = self.dice.stretch(10 * MS, 3 * S);
        let state = Box::new(self.etcd.state.clone());
        if matches!(fault, Fault::LaggingMember | Fault::StaleReads) {
            self.note_lag(span);
        }
        let it = &mut self.etcd.parts[part];
        match fault {
            Fault::CutMember => it.cut = true,
            Fault::SlowMember => it.slow = slow,
            _ => it.lagging = Some(state),
        }
        self.after(span, move |w| w.etcd.parts[part] = super::etcd::Part::default());
        true
    }

    fn cut_segment(&mut self, fault: Fault, h: usize, span: Nanos) -> bool {
        for o in (0..self.hosts.len()).filter(|o| *o != h) {
            self.lan.down.insert((h, o));
            if fault == Fault::CutSegment {
                self.lan.down.insert((o, h));
            }
        }
        self.after(span, move |w| w.lan.down.retain(|(a, b)| *a != h && *b != h));
        true
    }

    fn silence_watch(&mut self, h: usize, span: Nanos) -> bool {
        self.hosts[h].silent_watch = true;
        self.after(span, move |w| w.hosts[h].silent_watch = false);
        self.hosts[h].life_is_running()
    }

    /// A watch that has fallen behind is ended by a compaction, with an error.
    fn compact(&mut self, h: usize, behind: Nanos) -> bool {
        let host = &mut self.hosts[h];
        host.silent_watch = true;
        let (life, runs) = (host.life, host.life_is_running());
        self.after(behind, move |w| w.watch_ended(h, life));
        runs
    }

    fn restore(&mut self) -> bool {
        let new_id = self.dice.chance(700_000);
        if self.dice.chance(300_000) {
            // Set up anew, with nothing in it but what Patroni puts back.
            self.etcd.backup = Some(Box::new(self.etcd.state.emptied()));
        }
        self.elect(2 * S);
        self.after(S, move |w| {
            let before = w.etcd.state.revision;
            w.etcd.restore(w.now, new_id);
            w.etcd_changed(before);
            // The backup may hold what somebody put by hand and has removed since: he does so again.
            w.after((10 * S).min(w.left()), Self::remove_forged_lock);
        });
        self.etcd.backup.is_some()
    }

    fn switch_leader(&mut self, h: usize) -> bool {
        let mut hosts = 0..self.hosts.len();
        let leader = hosts.find(|&o| self.etcd.leads(&self.hosts[o].member) && self.hosts[o].pg.is_primary());
        self.switch_over(leader.unwrap_or(h), false)
    }

    fn hang_postgres(&mut self, h: usize, span: Nanos) -> bool {
        self.hosts[h].pg.hangs_until = self.now + span;
        self.hosts[h].pg.state != State::Down
    }

    fn pause_cluster(&mut self, h: usize, span: Nanos) -> bool {
        // Often to stop Patroni on the primary for maintenance, until its leader key is gone.
        let span = if self.dice.chance(500_000) { (span + 45 * S).min(self.left()) } else { span };
        if span > 45 * S {
            self.after(S, move |w| {
                w.kill_patroni(h);
            });
            self.after(span - S, move |w| w.start_patroni(h));
        }
        self.change_config(|config| config.paused = true);
        self.after(span, |w| w.change_config(|config| config.paused = false));
        true
    }

    fn change_config(&mut self, change: impl FnOnce(&mut PatroniConfig)) {
        let before = self.etcd.state.revision;
        change(&mut self.etcd.state.config);
        self.etcd.state.revision += 1;
        self.etcd_changed(before);
    }

    fn delete_leader_by_hand(&mut self, h: usize) -> bool {
        let before = self.etcd.state.revision;
        let was = self.etcd.state.leader.is_some();
        let other = (0..self.hosts.len()).find(|o| *o != h && self.hosts[*o].patroni.alive);
        // Over Patroni's failsafe mode that would be two primaries, and nobody's fence.
        let accepted = self.hosts.iter().any(|host| self.now < host.patroni.failsafe.accepted_until);
        let failsafe = accepted || (0..self.hosts.len()).any(|o| self.is_vouched(o));
        let other = other.filter(|_| !failsafe && self.dice.chance(500_000));
        match other {
            // Somebody puts it by hand, for another.
            Some(other) => self.give_leader(other),
            None => self.etcd.set_leader(None),
        }
        self.etcd_changed(before);
        was || other.is_some()
    }

    fn delete_lock_by_hand(&mut self) -> bool {
        self.tamper();
        if self.etcd.state.locks.remove(&IpAddr::V4(VIP)).is_none() {
            return false;
        }
        self.etcd.state.revision += 1;
        let before = self.etcd.state.revision - 1;
        self.etcd_changed(before);
        true
    }

    /// A V that a daemon may believe in is taken away from it. One that somebody put by hand is nobody's loss.
    fn tamper(&mut self) {
        let lease = self.etcd.state.locks.get(&IpAddr::V4(VIP)).and_then(|lock| self.etcd.leases.get(&lock.lease));
        if let Some(lease) = lease {
            (self.etcd.tampered, self.etcd.tampered_ttl) = (Some(self.now), lease.ttl as u64 * S);
        }
    }

    /// By hand, over whatever is there. It lives by no lease; whoever put it removes it again.
    fn forge_lock(&mut self, span: Nanos) -> bool {
        let before = self.etcd.state.revision;
        self.tamper();
        let unreadable = self.dice.chance(500_000);
        self.etcd.forge_lock(unreadable);
        self.etcd_changed(before);
        self.after(span, Self::remove_forged_lock);
        true
    }

    fn remove_forged_lock(&mut self) {
        let before = self.etcd.state.revision;
        self.etcd.remove_forged_lock();
        self.etcd_changed(before);
    }

    fn change_ttl(&mut self) -> bool {
        let former = self.etcd.state.config;
        let times = [plan::config(20, 1, 3), plan::config(30, 10, 10), plan::config(25, 5, 8)];
        let next =
            PatroniConfig { paused: former.paused, failsafe_mode: former.failsafe_mode, ..*self.dice.pick(&times) };
        self.change_config(|config| *config = next);
        former != next
    }

    fn restart(&mut self, h: usize) -> bool {
        self.hosts[h].inbox.stop = true;
        self.wake(h);
        let (life, pause) = (self.hosts[h].life, self.dice.below(6 * S));
        self.after(pause, move |w| w.start_after(h, life));
        self.hosts[h].life_is_running()
    }

    /// The supervisor waits for the end of the former process.
    fn start_after(&mut self, h: usize, life: u64) {
        let host = &self.hosts[h];
        if host.life == life && host.life_is_running() {
            return self.after(100 * MS, move |w| w.start_after(h, life));
        }
        self.start(h);
    }

    fn hand_over(&mut self, h: usize) -> bool {
        self.hosts[h].inbox.hand_over = true;
        self.wake(h);
        let next = self.dice.stretch(100 * MS, 8 * S);
        self.after(next, move |w| w.start(h));
        self.hosts[h].life_is_running()
    }

    fn foreign_delete(&mut self, h: usize) -> bool {
        if self.hosts[h].kernel.vips().next().is_none() {
            return false;
        }
        self.hosts[h].kernel.removed_by_others = Some(self.now);
        let gone = self.hosts[h].kernel.remove(|bound| is_vip(bound.address));
        self.tell_of_removed(h, &gone) > 0
    }

    fn foreign_add(&mut self, h: usize) -> bool {
        if !self.hosts[h].up {
            return false;
        }
        let mut link = *self.dice.pick(&[ETH0, ETH0, LO]);
        let mut prefix_len = *self.dice.pick(&[32, 24]);
        let ends = self.dice.chance(500_000).then_some(self.now + 2 * S);
        // With K as the only fence a daemon that does not run is promised nothing.
        if self.plan.policy.fence == Fence::Lock && self.dice.chance(250_000) {
            // While the daemon is stopped, its address is kept by hand.
            (link, prefix_len) = (ETH0, 32);
            let span = self.dice.stretch(S, 4 * S).min(self.left());
            self.stop_for(h, span, true);
        }
        let bound = Bound { ends, ..Bound::foreign(link, VIP, prefix_len) };
        let kernel = &mut self.hosts[h].kernel;
        match kernel.place(link, VIP.into(), prefix_len) {
            None => kernel.addresses.push(bound),
            // `ip address replace`: it is the same address, and has no lifetime any more.
            Some(ours) => ours.ends = None,
        }
        self.address_added(h, bound);
        true
    }

    fn lose_link(&mut self, h: usize) -> bool {
        let host = &mut self.hosts[h];
        let was = std::mem::take(&mut host.kernel.link);
        host.kernel.removed_by_others = Some(self.now);
        host.kernel.addresses.retain(|bound| bound.link != ETH0 || bound.ends.is_none());
        host.kernel.addresses.retain(|bound| !is_vip(bound.address) || bound.link == ETH1);
        self.tell_process(h, Told::Link);
        self.tell_process(h, Told::Lost);
        was
    }

    fn find_link(&mut self, h: usize) {
        if self.hosts[h].up && !self.hosts[h].kernel.link {
            self.hosts[h].kernel.link = true;
            self.tell_process(h, Told::Link);
        }
    }

    fn power_off(&mut self, h: usize) -> bool {
        self.kill(h);
        self.kill_patroni(h);
        let was = std::mem::take(&mut self.hosts[h].up);
        self.hosts[h].boot += 1;
        self.hosts[h].kernel = Kernel::default();
        self.set_postgres(h, State::Down);
        was
    }

    pub(crate) fn power_on(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        if host.up {
            return;
        }
        host.up = true;
        // The runtime directory does not survive a boot.
        host.incarnation += 1;
        if self.dice.chance(self.plan.replaced) {
            self.replace(h);
        }
        let host = &mut self.hosts[h];
        host.kernel = Kernel::boot(host.address);
        host.clock = Clock::new(host.clock.rate(), self.now, 20 * S);
        host.patroni.busy = false;
        self.start(h);
        self.start_patroni(h);
    }

    /// Another machine is set up in its place. Only the names are the same.
    fn replace(&mut self, h: usize) {
        self.count("a new machine in a dead one's place");
        let host = &mut self.hosts[h];
        host.boot += 1000;
        host.incarnation += 1000;
        let [a, b, c, d] = host.address.octets();
        host.address = Ipv4Addr::new(a, b, c, if d < 21 { d + 10 } else { d - 10 });
        self.who(h, || "is a new machine".to_owned());
    }

    /// The machine sleeps: nothing runs on it, lifetimes stand still, and CLOCK_BOOTTIME goes on.
    fn suspend(&mut self, h: usize, span: Nanos) -> bool {
        let now = self.now;
        let host = &mut self.hosts[h];
        if !host.up {
            return false;
        }
        host.suspended_since = now;
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
        true
    }

    /// The kernel's timers, lifetimes of addresses among them, count ticks that did not happen meanwhile: they do not jump.
    fn jump_clock(&mut self, h: usize) -> bool {
        let ahead = self.dice.stretch(S, 60 * S);
        self.hosts[h].clock.jump(self.now, ahead);
        self.who(h, || format!("CLOCK_BOOTTIME jumps by {} ms", ahead / MS));
        self.arm_again(h);
        self.hosts[h].up
    }

    /// By this the kernel's ticks change as well.
    fn change_rate(&mut self, h: usize) -> bool {
        let now = self.now;
        let rate = 0.9 + self.dice.below(201) as f64 / 1000.0;
        let host = &mut self.hosts[h];
        let stretch = host.clock.rate() / rate;
        host.clock.run_at(now, rate);
        self.who(h, || format!("the clock now runs at {rate}"));
        let host = &mut self.hosts[h];
        let mut changed = Vec::new();
        for bound in &mut host.kernel.addresses {
            if let Some(ends) = &mut bound.ends {
                *ends = now + (ends.saturating_sub(now) as f64 * stretch) as u64;
                // What was sound stays so for the new lifetime, and the second for which the kernel may be late.
                if bound.sound_until > now {
                    bound.sound_until = *ends + host.clock.span(S);
                }
                changed.push(*bound);
            }
        }
        changed.into_iter().for_each(|bound| self.await_end(h, bound));
        self.arm_again(h);
        self.hosts[h].up
    }

    /// Until then all faults are over.
    pub(crate) fn left(&self) -> Nanos {
        self.plan.trouble.saturating_sub(self.now).max(MS)
    }

    /// Everything is well from now on.
    pub(crate) fn heal(&mut self) {
        self.say("FAULT", || "healed".to_owned());
        let calm = plan::Plan::calm(self.plan.nodes);
        self.plan = plan::Plan {
            rates: self.plan.rates.clone(),
            members: self.plan.members,
            config: self.plan.config,
            policy: self.plan.policy,
            faults: self.plan.faults.clone(),
            reloads: self.plan.reloads.clone(),
            trouble: self.plan.trouble,
            calm: self.plan.calm,
            promotion: self.plan.promotion.min(5 * S),
            ..calm
        };
        self.lan.down.clear();
        self.etcd.parts.iter_mut().for_each(|part| *part = super::etcd::Part::default());
        self.etcd.state.config.paused = false;
        self.etcd.state.config.standby_cluster = false;
        self.etcd.state.initialized = true;
        self.etcd.state.configured = true;
        self.etcd.remove_forged_lock();
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
                // The asker may have put its question off until the end of a stop that is over now.
                self.ask_role_now(h);
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
        self.settle_configuration();
    }
}

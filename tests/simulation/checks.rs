//! The promises, looked at in every step.

use pgvrrp::gate::evidence::EtcdRequest;
use pgvrrp::node::io::Output;

use super::clock::{MS, Nanos, S};
use super::world::World;

/// How long a bound address may outlive a PostgreSQL that is primary no more: 100 ms until the asker decides, 60 ms of
/// drain, 50 ms for resets, on a clock that is 10 % slow.
const DRAIN: Nanos = 300 * MS;

/// A daemon that does not run has lost the address by then: 3 s, 1 s of the kernel's lateness, on a slow clock.
const DEAD: Nanos = 4_500 * MS;

/// The longest that a daemon may believe in a V that somebody took away: TTL, on a slow clock.
const BELIEF: Nanos = 20 * S;

/// From the moment that nothing is wrong any more and a primary holds K, until the VIP is bound there.
pub(crate) const LIVENESS: Nanos = 40 * S;

impl World {
    fn fence_is_down(&self) -> bool {
        self.etcd.tampered.is_some_and(|at| self.now < at + BELIEF)
    }

    /// S1, and the fence behind it: V outlives the address.
    pub(crate) fn check_holders(&mut self) {
        let holders: Vec<_> = (0..self.hosts.len()).filter(|&h| self.hosts[h].kernel.holds(self.now)).collect();
        if self.fence_is_down() {
            return;
        }
        if let [first, second, ..] = holders[..] {
            let how = format!("bound here and on db{}", first + 1);
            return self.fail(second, "S1", &how);
        }
        if let [h] = holders[..]
            && !self.lock_is_of(h)
        {
            self.fail(h, "S1f", "bound, and V is not this node's: another could take it");
        }
    }

    /// S5 and S6.
    pub(crate) fn check_outputs(&mut self, h: usize, outputs: &[Output]) {
        if outputs.len() > 12 {
            self.fail(h, "S5", &format!("{} outputs for one input", outputs.len()));
        }
        let mut removed = false;
        for output in outputs {
            match output {
                Output::Unbind { .. } => removed = true,
                Output::Bind { .. } => removed = false,
                Output::Advertise { priority: 0, .. } if !removed => {
                    self.fail(h, "S6", "the goodbye comes before the address is removed");
                }
                _ => {}
            }
        }
    }

    pub(crate) fn check_request(&mut self, h: usize, request: &EtcdRequest) {
        if let EtcdRequest::Revoke { lease, .. } = request
            && self.etcd.state.lock.as_ref().is_some_and(|lock| lock.lease == *lease)
            && self.hosts[h].kernel.holds(self.now)
        {
            self.fail(h, "S6", "V's lease is revoked while the address is bound");
        }
    }

    /// S3, S6.
    pub(crate) fn check_advert(&mut self, h: usize, priority: u8, timely: bool) {
        if priority == 0 {
            if self.hosts[h].kernel.holds(self.now) {
                self.fail(h, "S6", "goodbye while the address is bound");
            }
        } else if timely {
            self.check_claim(h, "advert");
        }
    }

    pub(crate) fn check_announcement(&mut self, h: usize, timely: bool) {
        if timely {
            self.check_claim(h, "announcement");
        }
    }

    fn check_claim(&mut self, h: usize, what: &str) {
        if self.fence_is_down() {
            return;
        }
        let others = (0..self.hosts.len()).filter(|o| *o != h);
        if let Some(other) = others.into_iter().find(|&o| self.hosts[o].kernel.holds(self.now)) {
            return self.fail(h, "S3", &format!("{what} while db{} holds", other + 1));
        }
        if !self.lock_is_of(h) {
            return self.fail(h, "S3", &format!("{what} without V"));
        }
        let kernel = &self.hosts[h].kernel;
        let foreign = kernel.removed_by_others.is_some_and(|at| self.now < at + 5 * S);
        if kernel.vips().next().is_none() && !foreign && what == "announcement" {
            self.fail(h, "S3", "announcement of an address that is not bound");
        }
    }

    /// PostgreSQL became primary, or ceased to be.
    pub(crate) fn postgres_changed(&mut self, h: usize) {
        let idle = self.idle(h);
        self.hosts[h].idle_at_change = idle;
    }

    /// What time alone can break, ten times a second.
    pub(crate) fn audit(&mut self) {
        for h in 0..self.hosts.len() {
            if self.hosts[h].kernel.holds(self.now) {
                self.audit_holder(h);
            } else {
                self.hosts[h].right = 0;
            }
            self.audit_strays(h);
            self.audit_stuck(h);
            if !self.hosts[h].kernel.addresses.iter().any(|a| a.address == self.hosts[h].address) && self.hosts[h].up {
                self.fail(h, "S4", "the host's own address is gone");
            }
        }
        self.audit_liveness();
        self.check_holders();
        self.after(100 * MS, Self::audit);
    }

    fn audit_holder(&mut self, h: usize) {
        let host = &self.hosts[h];
        let refused = host.unbind_refused.is_some_and(|at| self.now < at + DEAD);
        if !host.pg.is_primary() {
            let gone = self.now - host.pg.since;
            let ran = gone - (self.idle(h) - host.idle_at_change).min(gone);
            if gone > DRAIN && (gone > DEAD + ran || (ran > DRAIN && !refused)) {
                let how = format!(
                    "PostgreSQL has been {:?} for {} ms, of which the daemon ran {}",
                    host.pg.state,
                    gone / MS,
                    ran / MS
                );
                return self.fail(h, "S2", &how);
            }
        }
        let paused = self.etcd.state.config.paused && self.etcd.state.leader.is_none();
        if self.etcd.leads(&host.member) || paused || self.hosts[h].right == 0 {
            self.hosts[h].right = self.now;
        }
        if self.now > self.hosts[h].right + BELIEF {
            self.fail(h, "S2", "K has not been this node's for longer than V lives");
        }
        let fresh = self.now > self.etcd.tampered.unwrap_or(0) + BELIEF + 4 * S;
        if !self.lock_is_of(h) && self.etcd.tampered.is_some() && fresh {
            self.fail(h, "S2", "V was taken away, and the address is still here");
        }
    }

    /// An address that somebody else put here.
    fn audit_strays(&mut self, h: usize) {
        let foreign = self.hosts[h].kernel.vips().any(|bound| bound.foreign);
        let stays = foreign && self.hosts[h].unbind_refused.is_none_or(|at| self.now > at + S);
        match (stays && self.idle_since(h).is_none(), self.hosts[h].stray_since) {
            (true, None) => self.hosts[h].stray_since = Some((self.now, self.idle(h))),
            (true, Some((since, idle))) => {
                if (self.now - since) - (self.idle(h) - idle).min(self.now - since) > 3 * S {
                    self.fail(h, "P7", "an address without the right to it stays");
                }
            }
            (false, _) => self.hosts[h].stray_since = None,
        }
    }

    /// A daemon that is stuck must not keep others waiting.
    fn audit_stuck(&mut self, h: usize) {
        let Some(since) = self.idle_since(h) else { return };
        let since = since.max(self.etcd.elected_at).max(self.etcd.leaderless_until);
        if self.lock_is_of(h) && self.now > since + 30 * S && self.etcd.tampered.is_none() {
            self.fail(h, "L", "V outlives a daemon that does not run");
        }
    }

    fn audit_liveness(&mut self) {
        let rightful = (0..self.hosts.len()).find(|&h| {
            let host = &self.hosts[h];
            host.up && host.pg.is_primary() && self.etcd.leads(&host.member) && self.now >= host.pg.hangs_until
        });
        let since = match (self.rightful, rightful) {
            (Some((h, since)), Some(now)) if h == now => since,
            _ => self.now,
        };
        self.rightful = rightful.map(|h| (h, since));
        let Some(h) = rightful else { return };
        if self.now <= self.healed || self.plan.has_clone() {
            return;
        }
        let waited = self.now - since.max(self.healed);
        if self.hosts[h].kernel.holds(self.now) {
            return;
        }
        self.longest_wait = self.longest_wait.max(waited);
        if waited > LIVENESS {
            let why = self.hosts[h].process.as_ref().map(|p| p.node.status(self.local(h)).vips.remove(0).why);
            self.fail(h, "L", &format!("primary with K for {} s, and the VIP is not here: {why:?}", waited / S));
        }
    }
}

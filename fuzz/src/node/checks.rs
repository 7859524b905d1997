//! What has to be true of every output, by what the node has been told and nothing else.

use std::time::Duration;

use pgvrrp::gate::deadline::{NEW_LEASE, deadline};
use pgvrrp::gate::evidence::{Acquisition, EtcdReport, LeaderKey, Role};
use pgvrrp::gate::failsafe::VOUCHED;
use pgvrrp::node::io::{Input, Outcome, Output};
use vrrp::time::Instant;

/// More outputs than one input can have with two VIPs.
const MANY: usize = 40;

pub struct Told {
    /// The last answer about PostgreSQL, and when it was asked.
    role: Option<(Instant, Role)>,
    /// The VIPs that were bound and are not known to be gone.
    bound: Vec<usize>,
    /// Until when any answer, whatever came after it, could have one believe in V, K or Patroni.
    until: Instant,
    stopped: bool,
}

impl Told {
    pub fn new() -> Self {
        Self { role: None, bound: Vec::new(), until: Instant::ZERO, stopped: false }
    }

    pub fn take(&mut self, input: &Input) {
        match input {
            Input::Postgres(report) if self.role.is_none_or(|(asked, _)| asked <= report.asked) => {
                self.role = Some((report.asked, report.role));
            }
            Input::Patroni(report) => self.believe(report.asked + VOUCHED),
            Input::Etcd(EtcdReport::Acquire { outcome: Acquisition::Acquired { asked, ttl, .. }, .. }) => {
                self.lives(*asked, *ttl);
            }
            Input::Etcd(EtcdReport::Round { kept, observation }) => {
                kept.iter().for_each(|kept| self.lives(kept.asked, kept.ttl));
                let Ok(observation) = observation else { return };
                if let Some(LeaderKey { remaining, .. }) = &observation.leader {
                    self.believe(observation.asked + NEW_LEASE);
                    remaining.iter().for_each(|left| self.believe(deadline(left.asked, left.ttl)));
                }
            }
            Input::Done(outcomes) => outcomes.iter().for_each(|outcome| match outcome {
                Outcome::Bound { vip, .. } => self.bound.push(vip.0),
                Outcome::Unbound { vip, .. } => self.bound.retain(|bound| *bound != vip.0),
                _ => {}
            }),
            Input::Stop => self.stopped = true,
            _ => {}
        }
    }

    fn lives(&mut self, asked: Instant, ttl: i64) {
        self.believe(deadline(asked, u64::try_from(ttl).unwrap_or(0)));
    }

    fn believe(&mut self, until: Instant) {
        self.until = self.until.max(until);
    }

    pub fn check(&self, now: Instant, outputs: &[Output]) {
        assert!(outputs.len() < MANY, "{} outputs: {outputs:#?}", outputs.len());
        let mut binds = Vec::new();
        for output in outputs {
            match output {
                Output::Bind { vip, lifetime, not_after, .. } => {
                    assert!(!self.stopped, "bound while it stops");
                    assert!(*not_after >= now && lifetime.get() <= 3, "{output:?}");
                    // The kernel may be a second late.
                    let gone = *not_after + Duration::from_secs(u64::from(lifetime.get()) + 1);
                    assert!(gone <= self.until, "bound beyond what was proved, {}: {output:?}", self.until);
                    let role = self.role.map(|(_, role)| role);
                    assert_ne!(role, Some(Role::Standby), "bound on a standby");
                    if !self.bound.contains(&vip.0) {
                        assert_eq!(role, Some(Role::Primary), "bound first");
                    }
                    binds.push(vip.0);
                }
                Output::Announce { vip, not_after, .. } => {
                    assert!(*not_after >= now, "{output:?}");
                    assert!(self.bound.contains(&vip.0) || binds.contains(&vip.0), "announced and not bound");
                }
                _ => {}
            }
        }
    }
}

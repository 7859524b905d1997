//! An etcd that has one answer to each question, the right one or another.

use std::collections::VecDeque;
use std::time::Duration;

use pgvrrp::evidence::etcd::parse::{lock_holder, patroni_config};
use pgvrrp::gate::evidence::{
    Acquisition, EtcdReport, EtcdRequest, Expect, Kept, LeaderKey, LockHolder, LockKey, LockValue, Member, Observation,
    Remaining,
};
use vrrp::time::Instant;

use super::ME;
use super::bytes::Bytes;

const CONFIGS: [&str; 5] = [
    r#"{"ttl":20,"loop_wait":1,"retry_timeout":3}"#,
    r#"{"pause":true}"#,
    r#"{"failsafe_mode":true}"#,
    r#"{"ttl":86400,"retry_timeout":30000,"standby_cluster":{"host":"a"}}"#,
    "nonsense",
];

pub struct Etcd {
    /// What was asked and not yet answered.
    pub asked: VecDeque<EtcdRequest>,
    /// What it has.
    now: Observation,
    lease: i64,
}

impl Etcd {
    pub fn new(vips: usize) -> Self {
        let now = Observation {
            asked: Instant::ZERO,
            endpoint: "http://10.0.20.13:2379".to_owned(),
            cluster_id: 1,
            revision: 100,
            leader: Some(leader("db1", 60)),
            locks: vec![None; vips],
            config: patroni_config(CONFIGS[0].as_bytes()),
            system_identifier: Some("42".to_owned()),
            member: Some(member(&ME.to_string())),
            member_key: "/service/odoo/members/db1".to_owned(),
        };
        Self { asked: VecDeque::new(), now, lease: 1000 }
    }

    /// Something in it is put, or deleted.
    pub fn change(&mut self, bytes: &mut Bytes<'_>) {
        self.now.revision += 1;
        let revision = self.now.revision;
        match bytes.byte() % 6 {
            0 => {
                let member = bytes.pick(&[Some("db1"), Some("db2"), None, Some("\u{1b}[2J\n")]);
                self.now.leader = member.map(|member| leader(member, revision));
            }
            1 => self.now.config = patroni_config(bytes.pick(&CONFIGS).as_bytes()),
            2 => {
                let (lease, holder) = (bytes.number() as i64, holder(bytes));
                let lock = bytes.pick(&[None, Some(LockKey { mod_revision: revision, lease, holder })]);
                self.now.locks.fill(lock);
            }
            3 => {
                let host = bytes.pick(&[Some("10.0.20.11"), None, Some("10.0.20.12"), Some("db1.lan")]);
                self.now.member = host.map(member);
            }
            4 => self.now.system_identifier = bytes.pick(&[Some("42"), None, Some("43")]).map(str::to_owned),
            _ => (self.now.cluster_id, self.now.revision) = (u64::from(bytes.byte()), bytes.number() as i64),
        }
    }

    /// The right answer to the oldest question.
    pub fn answer(&mut self, now: Instant) -> Option<EtcdReport> {
        Some(match self.asked.pop_front()? {
            EtcdRequest::Round { keep_alive, leader_lease } => {
                let kept = keep_alive.into_iter().map(|(vip, lease)| Kept { vip, lease, asked: now, ttl: 17 });
                let mut observation = Observation { asked: now, ..self.now.clone() };
                if let Some(leader) = observation.leader.as_mut().filter(|leader| Some(leader.lease) == leader_lease) {
                    leader.remaining = Some(Remaining { asked: now, ttl: 20 });
                }
                EtcdReport::Round { kept: kept.collect(), observation: Ok(Box::new(observation)) }
            }
            EtcdRequest::Acquire { vip, value, ttl, expect } => {
                self.lease += 1;
                let lease = self.lease;
                let expected = match (expect, &self.now.locks[vip.0]) {
                    (Expect::Absent, None) => true,
                    (Expect::Mine(revision), Some(lock)) => lock.mod_revision == revision,
                    _ => false,
                };
                let outcome = if expected {
                    self.now.revision = self.now.revision.saturating_add(1);
                    let mod_revision = self.now.revision;
                    let holder = LockHolder::Known(value);
                    self.now.locks[vip.0] = Some(LockKey { mod_revision, lease, holder });
                    Acquisition::Acquired {
                        asked: now,
                        lease,
                        ttl: ttl as i64,
                        mod_revision,
                        cluster_id: Some(self.now.cluster_id),
                    }
                } else {
                    Acquisition::Refused { lease }
                };
                EtcdReport::Acquire { vip, outcome }
            }
            EtcdRequest::Revoke { vip, lease } => {
                self.now.locks.iter_mut().for_each(|lock| drop(lock.take_if(|lock| lock.lease == lease)));
                EtcdReport::Revoke { vip, lease, outcome: Ok(()) }
            }
        })
    }

    /// Another answer to the oldest question.
    pub fn answer_otherwise(&mut self, now: Instant, bytes: &mut Bytes<'_>) -> Option<EtcdReport> {
        let failed = || "no answer".to_owned();
        let right = self.answer(now)?;
        let kind = bytes.byte();
        Some(match right {
            EtcdReport::Round { .. } if kind.is_multiple_of(3) => {
                EtcdReport::Round { kept: Vec::new(), observation: Err(failed()) }
            }
            EtcdReport::Round { mut kept, mut observation } => {
                for kept in &mut kept {
                    kept.ttl = bytes.number() as i64;
                    kept.asked = now - Duration::from_millis(bytes.number());
                }
                if let Ok(Observation { leader: Some(LeaderKey { remaining, .. }), .. }) = observation.as_deref_mut() {
                    *remaining = Some(Remaining { asked: now, ttl: bytes.number() });
                }
                EtcdReport::Round { kept, observation }
            }
            EtcdReport::Acquire { vip, outcome } => {
                let outcome = match (kind % 4, outcome) {
                    (0, Acquisition::Acquired { asked, lease, mod_revision, cluster_id, .. }) => {
                        Acquisition::Acquired { asked, lease, ttl: bytes.number() as i64, mod_revision, cluster_id }
                    }
                    (1, _) => Acquisition::Failed { reason: failed() },
                    (2, _) => Acquisition::Unknown { lease: self.lease, reason: failed() },
                    (_, _) => Acquisition::Refused { lease: self.lease },
                };
                EtcdReport::Acquire { vip, outcome }
            }
            EtcdReport::Revoke { vip, lease, .. } => EtcdReport::Revoke { vip, lease, outcome: Err(failed()) },
            hint @ (EtcdReport::Hint | EtcdReport::Switchover { .. } | EtcdReport::SwitchoverWithdrawn) => hint,
        })
    }
}

fn leader(member: &str, create_revision: i64) -> LeaderKey {
    LeaderKey { member: member.to_owned(), create_revision, lease: 500, remaining: None }
}

fn member(host: &str) -> Member {
    let addresses = host.parse().into_iter().collect();
    Member { host: host.to_owned(), addresses, api_url: Some("http://10.0.20.11:8008/patroni".to_owned()) }
}

fn holder(bytes: &mut Bytes<'_>) -> LockHolder {
    let known = |member: &str, incarnation: &str, epoch| {
        let (member, boot_id, incarnation) = (member.to_owned(), "boot".to_owned(), incarnation.to_owned());
        LockHolder::Known(LockValue { format: 1, member, boot_id, incarnation, epoch })
    };
    let epoch = bytes.number() as i64;
    bytes.pick(&[
        known("db2", "two", epoch),
        known("db1", "one", epoch),
        known("db1", "two", epoch),
        lock_holder(b"\0?"),
    ])
}

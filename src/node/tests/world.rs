//! A world for one node, in which nothing takes time unless a test says so.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;
use vrrp::router::ChecksumPolicy;
use vrrp::time::Instant;
use vrrp::types::{Interval, Vrid};

use crate::gate::evidence::{
    Acquisition, EtcdReport, EtcdRequest, Expect, Kept, LeaderKey, LeaseId, LockHolder, LockKey, LockValue, Member,
    Observation, PatroniConfig, PatroniReport, PatroniState, Remaining, Role, RoleReport, VipId,
};
use crate::gate::policy::Policy;
use crate::node::io::{Address, Input, Link, Outcome, Output};
use crate::node::status::{Status, VipStatus};
use crate::node::{Follows, Identity, InterfaceId, Node, Settings, VipSettings};

pub(super) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 155);
pub(super) const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 11);
pub(super) const ETH0: u32 = 2;
pub(super) const API_URL: &str = "http://10.0.20.11:8008/patroni";
const START: Instant = Instant::from_millis(1_000_000);

pub(super) fn me() -> Identity {
    Identity { member: "db1".to_owned(), boot_id: "boot".to_owned(), incarnation: "one".to_owned() }
}

/// How the interface is.
pub(super) fn link(link: Option<Link>) -> Input {
    Input::Link { interface: InterfaceId(0), link }
}

/// What the operator says in this world.
pub(crate) fn settings(policy: Policy) -> Settings {
    let vip = VipSettings {
        name: VIP.to_string(),
        addresses: vec![IpNet::from(IpAddr::V4(VIP))],
        virtual_router_id: Vrid::new(155).unwrap(),
        interface: InterfaceId(0),
        virtual_mac: None,
        interval: Interval::DEFAULT,
        // One packet each time, which is easier to count.
        checksum: ChecksumPolicy::Rfc9568,
        unicast_peers: Vec::new(),
        follows: Follows::Primary,
        drained: false,
        former: Vec::new(),
        retired: false,
    };
    Settings { me: me(), interfaces: vec!["eth0".to_owned()], policy, vips: vec![vip] }
}

/// What this world says to an output.
enum Answer {
    Done(Outcome),
    Later(Input),
}

/// One node and all it can see.
pub(super) struct World {
    pub(super) node: Node,
    /// The VIP's addresses, and those that it had before.
    pub(super) nets: Vec<IpNet>,
    pub(super) former: Vec<IpNet>,
    pub(super) now: Instant,
    /// What the node wanted, with the time, requests to etcd and PostgreSQL left out.
    pub(super) log: Vec<(Instant, Output)>,
    // etcd
    pub(super) etcd_up: bool,
    pub(super) cluster_id: u64,
    pub(super) revision: i64,
    pub(super) leader: Option<LeaderKey>,
    pub(super) lock: Option<LockKey>,
    pub(super) leases: BTreeMap<LeaseId, u64>,
    pub(super) next_lease: LeaseId,
    pub(super) config: PatroniConfig,
    pub(super) config_unreadable: bool,
    pub(super) member: Option<Member>,
    /// What is left of K's lease.
    pub(super) leader_ttl: Option<u64>,
    pub(super) acquire_outcome: Option<fn(LeaseId) -> Acquisition>,
    /// Acquisitions are not answered, and not carried out either.
    pub(super) withhold_acquisitions: bool,
    // Patroni's REST API, which is asked twice a second while somebody wants it.
    pub(super) patroni: Result<PatroniState, String>,
    pub(super) patroni_url: Option<String>,
    patroni_next: Instant,
    // PostgreSQL
    pub(super) role: Role,
    pub(super) server: &'static str,
    asked_every: Duration,
    ask_next: Instant,
    // kernel
    pub(super) addresses: Vec<Address>,
    /// Clients of the last holder, to be told.
    pub(super) heirloom: usize,
    pub(super) drops_syns: bool,
    pub(super) cannot_drop_syns: bool,
    pub(super) connections: usize,
    pub(super) bind_refused: bool,
    /// etcd reads, and writes nothing.
    pub(super) no_space: bool,
    pub(super) unbind_fails: bool,
    /// The next binds come so late that the kernel is not asked.
    pub(super) skip_binds: bool,
    /// The next binds are reported as late.
    pub(super) late: bool,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Policy::default(), ("db2", Role::Standby), Vec::new(), None)
    }

    /// What there is when the daemon starts: who holds K, what PostgreSQL is,
    /// what is bound besides the node's own address, what V is.
    pub(super) fn with(policy: Policy, what: (&str, Role), addresses: Vec<Address>, lock: Option<LockKey>) -> Self {
        let mut world = Self::before(policy, what, addresses, lock);
        world.begin();
        world
    }

    /// The daemon reads what the host has; the rest follows from that.
    pub(super) fn begin(&mut self) {
        let addresses = self.addresses.clone();
        self.give(link(Some(Link { index: ETH0, up: true, mtu: 1500, mac: None })));
        self.give(Input::Addresses(addresses));
    }

    /// A world in which the daemon has not begun.
    pub(super) fn before(policy: Policy, what: (&str, Role), addresses: Vec<Address>, lock: Option<LockKey>) -> Self {
        Self::of(settings(policy), what, addresses, lock)
    }

    /// The same for other settings.
    pub(super) fn of(
        settings: Settings,
        (leader, role): (&str, Role),
        addresses: Vec<Address>,
        lock: Option<LockKey>,
    ) -> Self {
        let own = Address { link: ETH0, address: ME.into(), prefix_len: 24, lifetime: None, tentative: false };
        let leases = lock.iter().map(|lock| (lock.lease, 17)).collect();
        Self {
            nets: settings.vips[0].addresses.clone(),
            former: Vec::new(),
            node: Node::new(settings, START),
            now: START,
            log: Vec::new(),
            etcd_up: true,
            cluster_id: 1,
            revision: 100,
            leader: Some(leader_key(leader, 60)),
            lock,
            leases,
            next_lease: 1000,
            config: PatroniConfig {
                ttl: Duration::from_secs(20),
                loop_wait: Duration::from_secs(1),
                retry_timeout: Duration::from_secs(3),
                ..PatroniConfig::DEFAULT
            },
            member: Some(Member {
                host: ME.to_string(),
                addresses: vec![ME.into()],
                api_url: Some(API_URL.to_owned()),
            }),
            config_unreadable: false,
            leader_ttl: Some(20),
            acquire_outcome: None,
            withhold_acquisitions: false,
            patroni: Ok(PatroniState { primary: true, failsafe_active: false }),
            patroni_url: None,
            patroni_next: START,
            role,
            server: "42",
            asked_every: Duration::from_secs(1),
            ask_next: START,
            addresses: [vec![own], addresses].concat(),
            heirloom: 0,
            drops_syns: false,
            cannot_drop_syns: false,
            connections: 0,
            bind_refused: false,
            no_space: false,
            unbind_fails: false,
            skip_binds: false,
            late: false,
        }
    }

    /// A node that holds the VIP, calmly.
    pub(super) fn holding() -> Self {
        let mut world = Self::new();
        world.promote();
        // Between two beats.
        world.run(Duration::from_millis(3300));
        assert!(world.is_bound(), "{}", world.why());
        world.log.clear();
        world
    }

    // ---- What a test does ---------------------------------------------------------------------------------------

    /// K and PostgreSQL become this node's.
    pub(super) fn promote(&mut self) {
        self.lead(Some("db1"));
        self.role = Role::Primary;
        // An armed node asks every 2 ms.
        self.run(Duration::from_millis(3));
    }

    /// K changes hands; the watch says so.
    pub(super) fn lead(&mut self, member: Option<&str>) {
        self.revision += 1;
        let create_revision = self.revision;
        self.leader = member.map(|member| leader_key(member, create_revision));
        self.hint();
    }

    pub(super) fn hint(&mut self) {
        if self.etcd_up {
            self.give(Input::Etcd(EtcdReport::Hint));
        }
    }

    /// PostgreSQL changes, and the asker notices at once.
    pub(super) fn postgres(&mut self, role: Role) {
        self.role = role;
        self.answer_role();
    }

    /// Lets time pass, by the node's own deadlines and PostgreSQL's cadence.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 100_000, "the node's deadline does not move: {}", self.why());
            let patroni = self.patroni_url.is_some().then_some(self.patroni_next);
            let next = self.node.deadline().min(self.ask_next);
            let next = patroni.into_iter().fold(next, Instant::min);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if self.ask_next <= self.now {
                self.answer_role();
            } else if patroni.is_some_and(|at| at <= self.now) {
                self.patroni_next = self.now + Duration::from_millis(500);
                self.now += Duration::from_nanos(1);
                self.give(Input::Patroni(PatroniReport { asked: self.now, answer: self.patroni.clone() }));
            } else {
                self.give(Input::Timer);
            }
        }
        self.now = self.now.max(end);
    }

    /// The process is stopped: time passes for everybody else, the kernel's lifetimes included.
    pub(super) fn freeze(&mut self, span: Duration) {
        self.now += span;
        let outlives = |address: &Address| address.lifetime.is_none_or(|left| Duration::from_secs(left.into()) > span);
        let (left, gone): (Vec<_>, Vec<_>) = self.addresses.iter().partition(|address| outlives(address));
        self.addresses = left;
        gone.into_iter().for_each(|gone| self.give(Input::AddressRemoved(gone)));
    }

    /// Gives one input and lets the world answer what comes of it.
    pub(super) fn give(&mut self, input: Input) {
        let mut inputs = vec![input];
        let mut steps = 0;
        while !inputs.is_empty() {
            steps += 1;
            assert!(steps < 100, "no end of what one input leads to: {}", self.why());
            let input = inputs.remove(0);
            // No two things happen in the same nanosecond.
            self.now += Duration::from_nanos(1);
            let outputs = self.node.handle(self.now, input);
            let mut outcomes = Vec::new();
            let mut failed = false;
            for output in outputs {
                if failed && output.vip().is_some() {
                    continue;
                }
                match self.carry_out(output) {
                    Some(Answer::Done(outcome)) => {
                        failed |= matches!(
                            outcome,
                            Outcome::BindRefused { .. } | Outcome::UnbindFailed { .. } | Outcome::Late { .. }
                        );
                        outcomes.push(outcome);
                    }
                    Some(Answer::Later(input)) => inputs.push(input),
                    None => {}
                }
            }
            if !outcomes.is_empty() {
                inputs.insert(0, Input::Done(outcomes));
            }
        }
    }

    // ---- What a test looks at -----------------------------------------------------------------------------------

    /// Whether anything of the VIP is here.
    pub(super) fn is_bound(&self) -> bool {
        self.nets.iter().any(|net| self.has(net.addr()))
    }

    /// Whether all of it is.
    pub(super) fn is_whole(&self) -> bool {
        self.nets.iter().all(|net| self.has(net.addr()))
    }

    fn has(&self, vip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.address == vip)
    }

    pub(super) fn status(&self) -> Status {
        self.node.status(self.now)
    }

    pub(super) fn vip(&self) -> VipStatus {
        self.status().vips.remove(0)
    }

    pub(super) fn why(&self) -> String {
        format!("{}: {:?}, lock {:?}", self.vip().why, self.vip().phase, self.lock)
    }

    /// What was wanted of the VIP since the log was last cleared, in words.
    pub(super) fn deeds(&self) -> Vec<&'static str> {
        self.log.iter().map(|(_, output)| deed(output)).filter(|deed| !deed.is_empty()).collect()
    }

    pub(super) fn count(&self, what: &str) -> usize {
        self.deeds().iter().filter(|deed| **deed == what).count()
    }

    // ---- The world's own doing ----------------------------------------------------------------------------------

    fn answer_role(&mut self) {
        self.ask_next = self.now + self.asked_every;
        self.now += Duration::from_nanos(1);
        let server = matches!(self.role, Role::Primary | Role::Standby).then(|| self.server.to_owned());
        let detail = format!("{:?}", self.role);
        self.give(Input::Postgres(RoleReport { asked: self.now, role: self.role, system_identifier: server, detail }));
    }

    fn carry_out(&mut self, output: Output) -> Option<Answer> {
        self.log.push((self.now, output.clone()));
        let vip = output.vip().unwrap_or(VipId(0));
        let outcome = match output {
            Output::Etcd(request) => return self.etcd(request).map(|report| Answer::Later(Input::Etcd(report))),
            Output::AskPostgres { every } => {
                self.asked_every = every;
                self.ask_next = self.now;
                return None;
            }
            Output::AskPatroni { url } => {
                (self.patroni_url, self.patroni_next) = (url, self.now);
                return None;
            }
            Output::Tell(_) => return None,
            Output::Bind { .. } if self.skip_binds => Outcome::Late { vip, removed: false },
            Output::Bind { .. } if self.late => {
                // The kernel did it, the clock was read, and it was undone; its notification is read later.
                self.unbind(|_, _| false);
                Outcome::Late { vip, removed: true }
            }
            Output::Bind { .. } if self.bind_refused => Outcome::BindRefused { vip, error: "no".to_owned() },
            Output::Bind { link, lifetime, .. } => {
                self.unbind(|address, _| address.link != link);
                let lifetime = Some(lifetime.get());
                let place = |net: &IpNet| (net.addr(), net.prefix_len());
                self.addresses.extend(self.nets.iter().map(place).map(|(address, prefix_len)| Address {
                    link,
                    address,
                    prefix_len,
                    lifetime,
                    tentative: false,
                }));
                Outcome::Bound { vip, at: self.now }
            }
            Output::Unbind { .. } if self.unbind_fails => Outcome::UnbindFailed { vip, error: "no".to_owned() },
            Output::Unbind { .. } => Outcome::Unbound { vip, removed: self.unbind(|_, _| false), at: self.now },
            Output::UnbindStrays { keep, .. } => {
                // The kernel's notification of it is read later than this outcome.
                let removed =
                    self.unbind(|address, net| address.link == keep && address.prefix_len == net.prefix_len());
                Outcome::StraysRemoved { vip, removed }
            }
            Output::Reset { .. } => Outcome::Reset { vip, destroyed: std::mem::take(&mut self.connections) },
            Output::CountConnections { .. } => Outcome::Connections { vip, count: Some(self.connections) },
            Output::DropSyns { .. } => {
                self.drops_syns = !self.cannot_drop_syns;
                Outcome::SynsDropped { vip, works: self.drops_syns }
            }
            Output::AcceptSyns { .. } => {
                self.drops_syns = false;
                return None;
            }
            Output::Tickle { first, count, last, .. } => {
                let total = self.heirloom;
                if last && first + count >= total {
                    self.heirloom = 0;
                }
                Outcome::Tickled { vip, sent: total.saturating_sub(first).min(count), failed: 0, total }
            }
            Output::Advertise { .. } => Outcome::Advertised { vip },
            Output::Announce { .. } => Outcome::Announced { vip },
        };
        Some(Answer::Done(outcome))
    }

    /// Removes the VIP's addresses, but for those that stay; says how many.
    fn unbind(&mut self, stays: impl Fn(&Address, &IpNet) -> bool) -> usize {
        let before = self.addresses.len();
        let (nets, former) = (&self.nets, &self.former);
        self.addresses.retain(|address| {
            let is = |net: &&IpNet| net.addr() == address.address;
            nets.iter().find(is).is_none_or(|net| stays(address, net)) && !former.iter().any(|net| is(&net))
        });
        before - self.addresses.len()
    }

    fn etcd(&mut self, request: EtcdRequest) -> Option<EtcdReport> {
        let failed = || "no answer".to_owned();
        match request {
            EtcdRequest::Round { keep_alive, leader_lease } if self.etcd_up => {
                let kept = keep_alive.into_iter().map(|(vip, lease)| {
                    let ttl = self.leases.get(&lease).map_or(0, |ttl| i64::try_from(*ttl).unwrap());
                    Kept { vip, lease, asked: self.now, ttl }
                });
                let kept = kept.collect();
                let mut observation = self.observation();
                if let Some(leader) = observation.leader.as_mut().filter(|leader| Some(leader.lease) == leader_lease) {
                    leader.remaining = self.leader_ttl.map(|ttl| Remaining { asked: self.now, ttl });
                }
                Some(EtcdReport::Round { kept, observation: Ok(Box::new(observation)) })
            }
            EtcdRequest::Round { .. } => Some(EtcdReport::Round { kept: Vec::new(), observation: Err(failed()) }),
            EtcdRequest::Acquire { vip, .. } if !self.etcd_up => {
                Some(EtcdReport::Acquire { vip, outcome: Acquisition::Failed { reason: failed() } })
            }
            EtcdRequest::Acquire { vip, .. } if self.no_space => {
                let reason = "etcdserver: mvcc: database space exceeded".to_owned();
                Some(EtcdReport::Acquire { vip, outcome: Acquisition::Failed { reason } })
            }
            EtcdRequest::Acquire { vip, value, ttl, expect } => {
                self.next_lease += 1;
                let lease = self.next_lease;
                self.leases.insert(lease, ttl);
                if self.withhold_acquisitions {
                    return None;
                }
                let outcome = match self.acquire_outcome.take() {
                    Some(outcome) => outcome(lease),
                    None => self.put(lease, value, ttl, expect),
                };
                Some(EtcdReport::Acquire { vip, outcome })
            }
            EtcdRequest::Revoke { vip, lease } if self.etcd_up => {
                self.revoke(lease);
                Some(EtcdReport::Revoke { vip, lease, outcome: Ok(()) })
            }
            EtcdRequest::Revoke { vip, lease } => Some(EtcdReport::Revoke { vip, lease, outcome: Err(failed()) }),
        }
    }

    pub(super) fn revoke(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        if self.lock.as_ref().is_some_and(|lock| lock.lease == lease) {
            self.lock = None;
            self.revision += 1;
        }
    }

    /// A put that nobody expects any more, of the V that is there, under another lease.
    pub(super) fn move_lock(&mut self, lease: LeaseId) {
        self.revision += 1;
        let lock = self.lock.as_mut().expect("V is there");
        (lock.lease, lock.mod_revision) = (lease, self.revision);
    }

    /// Somebody else puts V.
    pub(super) fn put_foreign_lock(&mut self, holder: LockHolder) {
        self.revision += 1;
        self.lock = Some(LockKey { mod_revision: self.revision, lease: 700, holder });
    }

    fn put(&mut self, lease: LeaseId, value: LockValue, ttl: u64, expect: Expect) -> Acquisition {
        let leads = self.leader.as_ref().is_some_and(|k| k.member == value.member && k.create_revision == value.epoch);
        let as_expected = match expect {
            Expect::Absent => self.lock.is_none(),
            Expect::Mine(revision) => self.lock.as_ref().is_some_and(|lock| lock.mod_revision == revision),
        };
        if !(leads && as_expected) {
            return Acquisition::Refused { lease };
        }
        self.revision += 1;
        let mod_revision = self.revision;
        self.lock = Some(LockKey { mod_revision, lease, holder: LockHolder::Known(value) });
        Acquisition::Acquired {
            asked: self.now,
            lease,
            ttl: i64::try_from(ttl).unwrap(),
            mod_revision,
            cluster_id: Some(self.cluster_id),
        }
    }

    pub(super) fn observation(&self) -> Observation {
        Observation {
            asked: self.now,
            endpoint: "http://10.0.20.13:2379".to_owned(),
            cluster_id: self.cluster_id,
            revision: self.revision,
            leader: self.leader.clone(),
            // Of whatever number the VIP is: its lock is the same key.
            locks: vec![self.lock.clone(); 2],
            config: Some(self.config).filter(|_| !self.config_unreadable),
            system_identifier: Some("42".to_owned()),
            member: self.member.clone(),
            member_key: "/service/odoo/members/db1".to_owned(),
        }
    }
}

fn leader_key(member: &str, create_revision: i64) -> LeaderKey {
    LeaderKey { member: member.to_owned(), create_revision, lease: 500, remaining: None }
}

/// V as somebody put it.
pub(super) fn lock_of(who: &Identity, lease: LeaseId) -> LockKey {
    let Identity { member, boot_id, incarnation } = who.clone();
    let holder = LockHolder::Known(LockValue { format: 1, member, boot_id, incarnation, epoch: 60 });
    LockKey { mod_revision: 70, lease, holder }
}

pub(super) fn deed(output: &Output) -> &'static str {
    match output {
        Output::Bind { .. } => "bind",
        Output::Unbind { .. } => "unbind",
        Output::UnbindStrays { .. } => "unbind strays",
        Output::Reset { .. } => "reset",
        Output::Advertise { priority: 0, .. } => "goodbye",
        Output::Advertise { .. } => "advertise",
        Output::Announce { .. } => "announce",
        Output::DropSyns { .. } => "drop SYNs",
        Output::AcceptSyns { .. } => "accept SYNs",
        Output::Tickle { .. } => "tickle",
        Output::Etcd(EtcdRequest::Acquire { .. }) => "acquire",
        Output::Etcd(EtcdRequest::Revoke { .. }) => "revoke",
        Output::CountConnections { .. }
        | Output::Etcd(_)
        | Output::AskPostgres { .. }
        | Output::AskPatroni { .. }
        | Output::Tell(_) => "",
    }
}

//! One picture of the node for everybody who looks: status, metrics, logs. None of them computes a second truth.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Serialize, Serializer};
use vrrp::router::{Router, State};

use crate::gate::evidence::{PatroniConfig, Role};

/// The node as it was at `taken` nanoseconds after boot. `--json` and `/status` print exactly this; durations and ages
/// are in seconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// pgvrrp's version.
    pub version: &'static str,
    /// The Patroni member name of this node.
    pub node: String,
    /// When this picture was taken, in seconds on `CLOCK_BOOTTIME`.
    #[serde(serialize_with = "seconds")]
    pub taken: Duration,
    /// How long ago that was. More than a second or two: the protocol thread does not run.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// How long the daemon has been running.
    #[serde(serialize_with = "seconds")]
    pub uptime: Duration,
    /// What etcd says; `None` where no VIP follows the primary.
    pub etcd: Option<EtcdStatus>,
    /// What the local PostgreSQL says; `None` where no VIP follows the primary.
    pub postgres: Option<PostgresStatus>,
    /// What the local Patroni says; `None` while it is not asked: the VIP is not held, or the failsafe mode is off.
    pub failsafe: Option<FailsafeStatus>,
    /// The network interfaces that carry VIPs or are tracked.
    pub interfaces: Vec<InterfaceStatus>,
    /// Each VIP, those that follow the primary first.
    pub vips: Vec<VipStatus>,
    /// Why lists of clients cannot be given away or taken, if that is so.
    pub clients_trouble: Option<String>,
    /// Counters that belong to no single VIP.
    pub counters: NodeCounters,
}

impl Status {
    /// The same picture, looked at a while after it was taken: everything in it is older by then, and what is to come nearer.
    #[must_use]
    pub fn after(&self, passed: Duration) -> Self {
        let mut picture = self.clone();
        let older = |age: &mut Option<Duration>| *age = age.map(|age| age + passed);
        picture.age += passed;
        picture.uptime += passed;
        picture.etcd.iter_mut().for_each(|etcd| older(&mut etcd.age));
        picture.postgres.iter_mut().for_each(|postgres| older(&mut postgres.age));
        if let Some(failsafe) = &mut picture.failsafe {
            older(&mut failsafe.age);
        }
        for vip in &mut picture.vips {
            vip.since += passed;
            if let Some(lock) = &mut vip.lock {
                older(&mut lock.waiting);
                older(&mut lock.proof_age);
                lock.deadline_in = lock.deadline_in.map(|left| left.saturating_sub(passed));
            }
            if let Some(list) = vip.clients.as_mut().and_then(|clients| clients.list.as_mut()) {
                list.age += passed;
            }
            vip.peers.iter_mut().for_each(|peer| older(&mut peer.age));
            vip.moves.iter_mut().for_each(|done| done.age += passed);
        }
        picture
    }

    /// Whether the next process could go on where this one ends.
    ///
    /// # Errors
    /// Why it could not: what it would have to find out at once is not to be found out now, and the VIP would leave this node
    /// with its lifetime.
    pub fn is_fit_for_handover(&self) -> Result<(), String> {
        self.vips.iter().filter(|vip| vip.held).try_for_each(|vip| self.is_fit_with(vip))
    }

    fn is_fit_with(&self, vip: &VipStatus) -> Result<(), String> {
        let (etcd, postgres) = match (&self.etcd, &self.postgres) {
            (Some(etcd), Some(postgres)) if vip.follows == FollowsLabel::Primary => (etcd, postgres),
            _ => return Err(format!("{} would leave this node: VRRP's election begins in Backup", vip.address)),
        };
        let hindrance = if vip.phase != PhaseLabel::Active {
            format!("it is {}: {}", vip.phase.as_str(), vip.why)
        } else if let Some(error) = &etcd.error {
            format!("etcd does not answer ({error}), so the next process could not prove that the VIP may stay")
        } else if !is_fresh(etcd.age) {
            format!("etcd has not answered for {:.1?}", etcd.age.unwrap_or_default())
        } else if vip.reason == "holding_paused" {
            "there is no leader key while Patroni is paused, and without it no process binds the VIP anew".to_owned()
        } else if postgres.role != Some(Role::Primary) {
            "PostgreSQL does not say now that it is primary, so the next process would not renew the VIP".to_owned()
        } else if !is_fresh(postgres.age) {
            format!("PostgreSQL has not answered for {:.1?}", postgres.age.unwrap_or_default())
        } else {
            return Ok(());
        };
        Err(format!("{} would leave this node: {hindrance}", vip.address))
    }
}

/// Both are asked once a second, and the picture itself may be a second old: a healthy age is below 2.1 s or so. What has been
/// silent for longer may not answer the next process either.
fn is_fresh(age: Option<Duration>) -> bool {
    age.is_some_and(|age| age < Duration::from_secs(3))
}

/// What etcd says, and how old that is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EtcdStatus {
    /// Age of the last answered read, counted from when it was asked; `None` before the first.
    #[serde(serialize_with = "opt_seconds")]
    pub age: Option<Duration>,
    /// The endpoint that gave it.
    pub endpoint: Option<String>,
    /// Why the latest round failed; `None` if it succeeded.
    pub error: Option<String>,
    /// The revision of the last answered read.
    pub revision: i64,
    /// The member that holds K, Patroni's leader key.
    pub leader: Option<String>,
    /// Whether that is this node.
    pub leader_is_me: bool,
    /// K's `create_revision`, the ownership epoch.
    pub epoch: Option<i64>,
    /// Patroni's dynamic configuration.
    pub patroni: Option<PatroniStatus>,
    /// PostgreSQL's system identifier according to Patroni.
    pub system_identifier: Option<String>,
}

/// Patroni's dynamic configuration.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PatroniStatus {
    /// Seconds.
    #[serde(serialize_with = "seconds")]
    pub ttl: Duration,
    /// Seconds.
    #[serde(serialize_with = "seconds")]
    pub loop_wait: Duration,
    /// Seconds.
    #[serde(serialize_with = "seconds")]
    pub retry_timeout: Duration,
    /// `patronictl pause` is in force.
    pub paused: bool,
    /// `failsafe_mode: true`.
    pub failsafe_mode: bool,
    /// There is a `standby_cluster`.
    pub standby_cluster: bool,
}

impl From<PatroniConfig> for PatroniStatus {
    fn from(config: PatroniConfig) -> Self {
        let PatroniConfig { ttl, loop_wait, retry_timeout, paused, failsafe_mode, standby_cluster } = config;
        Self { ttl, loop_wait, retry_timeout, paused, failsafe_mode, standby_cluster }
    }
}

/// Patroni's word on its failsafe mode, asked while the VIP is held and the mode is on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FailsafeStatus {
    /// Where it is asked.
    pub url: String,
    /// Age of the last answer, or of the failure to get one, from when it was asked.
    #[serde(serialize_with = "opt_seconds")]
    pub age: Option<Duration>,
    /// Patroni says that it runs the primary.
    pub primary: bool,
    /// Patroni says that its failsafe mode is active.
    pub active: bool,
    /// Why the last question was not answered.
    pub error: Option<String>,
}

/// What the local PostgreSQL says, and how old that is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PostgresStatus {
    /// Age of the last answer, counted from when it was asked; `None` before the first.
    #[serde(serialize_with = "opt_seconds")]
    pub age: Option<Duration>,
    /// The answer.
    pub role: Option<Role>,
    /// What exactly was seen.
    pub detail: String,
    /// The system identifier of the server that answers.
    pub system_identifier: Option<String>,
}

/// An interface.
#[derive(Clone, Debug, Default, Serialize)]
pub struct InterfaceStatus {
    /// Its configured name.
    pub name: String,
    /// The kernel's index; `None` while it does not exist.
    pub index: Option<u32>,
    /// Administratively up, with carrier.
    pub up: bool,
    /// The addresses that adverts are sent from, one of each family that it has.
    pub sources: Vec<IpAddr>,
}

/// One VIP.
#[derive(Clone, Debug, Serialize)]
pub struct VipStatus {
    /// Its name, the address unless configured.
    pub name: String,
    /// Who decides where it is.
    pub follows: FollowsLabel,
    /// The first address.
    pub address: IpAddr,
    /// All addresses, each with the prefix length with which it is bound.
    pub addresses: Vec<IpNet>,
    /// The interface that carries it.
    pub interface: String,
    /// The VRRP virtual router.
    pub virtual_router_id: u8,
    /// Whether the addresses are bound on this node now, by this daemon's will.
    pub held: bool,
    /// Whether the gate is open: this node may hold the VIP. Of one that VRRP elects: whether it is Active.
    pub gate_open: bool,
    /// Put on hold by `pgvrrp drain`.
    pub drained: bool,
    /// Where in its life the VIP is on this node.
    pub phase: PhaseLabel,
    /// Machine-readable reason for the gate being open or not; a metric label.
    pub reason: &'static str,
    /// The same for people.
    pub why: String,
    /// The VRRP state.
    pub router: RouterLabel,
    /// The numbers of the VRRP state machine.
    pub vrrp: VrrpStatus,
    /// Whether this node is armed: V is held and only PostgreSQL's role is waited for.
    pub armed: bool,
    /// How long it has been in `phase`.
    #[serde(serialize_with = "seconds")]
    pub since: Duration,
    /// V, pgvrrp's own key; `None` for a VIP that follows nobody.
    pub lock: Option<LockStatus>,
    /// VRRP routers heard on this virtual router, newest first.
    pub peers: Vec<PeerStatus>,
    /// Its clients; `None` where VRRP elects.
    pub clients: Option<ClientsStatus>,
    /// The last moves of this VIP on this node, newest first, bounded.
    pub moves: Vec<Move>,
    /// What was counted.
    pub counters: VipCounters,
}

/// The fence as this node knows it: V, or K itself.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LockStatus {
    /// `lock` or `leader_key`, as configured by `fence`.
    pub fence: &'static str,
    /// The member that holds V; `None` if it does not exist, is not known, or is not used.
    pub holder: Option<String>,
    /// Whether this daemon holds V, or by K.
    pub mine: bool,
    /// How long this node has been waiting for another's V while K was its own.
    #[serde(serialize_with = "opt_seconds")]
    pub waiting: Option<Duration>,
    /// The granted TTL of V's lease; what was left of K's at the last proof.
    #[serde(serialize_with = "opt_seconds")]
    pub ttl: Option<Duration>,
    /// Time left until D, by which the VIP will have left without a new proof; later than D while Patroni's failsafe mode
    /// vouches for this node.
    #[serde(serialize_with = "opt_seconds")]
    pub deadline_in: Option<Duration>,
    /// Age of the last proof round that moved D, from when it was asked.
    #[serde(serialize_with = "opt_seconds")]
    pub proof_age: Option<Duration>,
}

/// A VIP's clients, as this node knows them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ClientsStatus {
    /// Established connections to it; `None` while it is not here, or before they were counted.
    pub connected: Option<u64>,
    /// Lists given to peers since the daemon started: one per peer and time.
    pub lists_sent: u64,
    /// Whole lists taken from peers since the daemon started.
    pub lists_received: u64,
    /// The last one that was taken; `None` before the first.
    pub list: Option<ListStatus>,
}

/// A list of clients from a peer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ListStatus {
    /// Whose: the member that held the VIP.
    pub from: String,
    /// How many clients it has.
    pub clients: u64,
    /// How old it is.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
}

/// Where a VIP is in its life on this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseLabel {
    /// Not here, and not entitled.
    #[default]
    Closed,
    /// Found bound at start, waiting for the evidence that it may stay.
    Adopting,
    /// V is being acquired, or held while PostgreSQL is not yet primary.
    Armed,
    /// Advertising, to make a foreign Active go before the address is bound.
    Displacing,
    /// Bound.
    Active,
    /// Still bound, while PostgreSQL says goodbye to its clients.
    Draining,
    /// Being removed.
    Releasing,
}

impl PhaseLabel {
    /// As in the JSON and in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Adopting => "adopting",
            Self::Armed => "armed",
            Self::Displacing => "displacing",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Releasing => "releasing",
        }
    }
}

/// The state of RFC 9568 section 6.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouterLabel {
    /// Listening only: the gate is closed, or something is in the way.
    #[default]
    Initialize,
    /// Watching the Active. Never entered by an owner.
    Backup,
    /// Advertising.
    Active,
}

impl RouterLabel {
    /// As in the JSON and in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Active => "active",
        }
    }
}

impl From<State> for RouterLabel {
    fn from(state: State) -> Self {
        match state {
            State::Initialize => Self::Initialize,
            State::Backup => Self::Backup,
            State::Active => Self::Active,
        }
    }
}

/// Who decides where a VIP is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FollowsLabel {
    /// etcd and PostgreSQL.
    #[default]
    Primary,
    /// VRRP's election.
    None,
}

impl FollowsLabel {
    /// As in the JSON and in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::None => "none",
        }
    }
}

/// The numbers of RFC 9568 section 6.1, as they are now.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct VrrpStatus {
    /// This router's priority; 255 is the owner's.
    pub priority: u8,
    /// Advertisement_Interval, as configured.
    #[serde(serialize_with = "seconds")]
    pub advertisement_interval: Duration,
    /// Active_Adver_Interval: what the Active was heard to use.
    #[serde(serialize_with = "seconds")]
    pub active_adver_interval: Duration,
    /// Skew_Time.
    #[serde(serialize_with = "seconds")]
    pub skew_time: Duration,
    /// Active_Down_Interval.
    #[serde(serialize_with = "seconds")]
    pub active_down_interval: Duration,
}

impl VrrpStatus {
    pub(super) fn of(router: &Router) -> Self {
        let settings = router.settings();
        Self {
            priority: settings.priority.get(),
            advertisement_interval: settings.interval.duration(),
            active_adver_interval: router.active_adver_interval().duration(),
            skew_time: router.skew_time(),
            active_down_interval: router.active_down_interval(),
        }
    }
}

/// A VRRP router heard on the segment.
#[derive(Clone, Debug, Serialize)]
pub struct PeerStatus {
    /// Source of its adverts.
    pub address: IpAddr,
    /// VRRP version it speaks; 2 is counted and shown, not obeyed.
    pub version: u8,
    /// Its last priority; 0 means that it said goodbye, 255 that it owns the address.
    pub priority: u8,
    /// Its last advertisement interval.
    #[serde(serialize_with = "seconds")]
    pub interval: Duration,
    /// Age of its last advert; `None` for a unicast peer that was never heard.
    #[serde(serialize_with = "opt_seconds")]
    pub age: Option<Duration>,
    /// Adverts heard.
    pub adverts: u64,
    /// The addresses that it lists differ from this VIP.
    pub address_mismatch: bool,
    /// Its interval differs from this node's.
    pub interval_mismatch: bool,
}

impl PeerStatus {
    pub(super) fn never_heard(address: IpAddr) -> Self {
        Self {
            address,
            version: 3,
            priority: 0,
            interval: Duration::ZERO,
            age: None,
            adverts: 0,
            address_mismatch: false,
            interval_mismatch: false,
        }
    }
}

/// One completed move of the VIP to or away from this node, with the time each phase took.
#[derive(Clone, Debug, Serialize)]
pub struct Move {
    /// To this node, or away from it.
    pub kind: MoveKind,
    /// How long ago it was completed.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// Why.
    pub reason: String,
    /// Phases in order, each with its duration in seconds.
    pub phases: Vec<MovePhase>,
}

/// Direction of a [`Move`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveKind {
    /// The VIP came to this node.
    Gained,
    /// The VIP left this node.
    Lost,
}

/// A phase of a move.
#[derive(Clone, Debug, Serialize)]
pub struct MovePhase {
    /// Gained: `lock`, `promotion`, `bind`. Lost: `drain`, `unbind`, `unlock`.
    pub name: &'static str,
    /// Seconds.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
}

/// Counters of one VIP since the daemon started.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VipCounters {
    /// Times the VIP came to this node.
    pub gained: u64,
    /// Times it left this node.
    pub lost: u64,
    /// Addresses put back after somebody else had deleted them.
    pub repaired: u64,
    /// Addresses removed that somebody else had added without right.
    pub expelled: u64,
    /// Rival adverts heard while holding.
    pub advert_conflicts: u64,
    /// Claims of the VIP by another MAC, by ARP or neighbour advertisement.
    pub arp_conflicts: u64,
    /// Client connections reset.
    pub connections_reset: u64,
    /// Times that new connections were dropped for a while, so that they meet the next holder.
    pub syn_drops: u64,
    /// Clients of former holders that were told of their end, each of them four times.
    pub clients_told: u64,
    /// Adverts sent.
    pub adverts_sent: u64,
    /// Adverts heard.
    pub adverts_received: u64,
    /// Adverts of VRRP version 2 on this virtual router.
    pub version2_received: u64,
    /// Times the router became Active (`master-transitions` in RFC 8347).
    pub became_active: u64,
    /// Adverts heard with another interval than this node's (`interval-errors`).
    pub interval_errors: u64,
    /// Adverts heard that said goodbye (`priority-zero-pkts-rcvd`).
    pub priority_zero_received: u64,
    /// Goodbyes sent (`priority-zero-pkts-sent`).
    pub priority_zero_sent: u64,
    /// Messages of this virtual router that are no advertisement (`invalid-type-pkts-rcvd`).
    pub invalid_type_received: u64,
    /// Adverts heard with other addresses (`address-list-errors`).
    pub address_list_errors: u64,
    /// Messages of this virtual router that are longer or shorter than they say (`packet-length-errors`).
    pub length_errors: u64,
    /// Announcements (gratuitous ARP, neighbour advertisements) sent.
    pub announcements: u64,
    /// Sends that the kernel refused.
    pub send_errors: u64,
    /// Binds and renewals that the kernel refused.
    pub bind_refused: u64,
    /// Outputs dropped because their `not_after` had passed.
    pub late: u64,
    /// V found gone or another's while held.
    pub locks_lost: u64,
    /// PostgreSQL was primary while another node owned K.
    pub split_brains: u64,
    /// Times a foreign Active was made to yield before the address was bound.
    pub displaced: u64,
    /// Durations of the phases of all moves: name, total seconds, count, and counts per histogram bucket.
    #[serde(skip)]
    pub phases: BTreeMap<&'static str, Histogram>,
}

/// Upper bounds of the histogram's buckets, in seconds; one more bucket takes the rest.
pub const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// A histogram of durations.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Sum of all durations.
    pub sum: Duration,
    /// How many there were.
    pub count: u64,
    /// Per bucket of [`BUCKETS`], not cumulated; the last takes what is longer.
    pub buckets: [u64; BUCKETS.len() + 1],
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, took: Duration) {
        self.sum += took;
        self.count += 1;
        let bucket = BUCKETS.iter().position(|&bound| took.as_secs_f64() <= bound).unwrap_or(BUCKETS.len());
        self.buckets[bucket] += 1;
    }
}

/// Counters of the node since the daemon started.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NodeCounters {
    /// Packets discarded, by reason.
    pub discards: BTreeMap<Cow<'static, str>, u64>,
    /// Datagrams that brought no list of clients, by reason.
    pub client_lists_refused: BTreeMap<Cow<'static, str>, u64>,
    /// Passes of the loop that came more than 2 s after the one before.
    pub stalls: u64,
    /// etcd rounds that failed.
    pub etcd_errors: u64,
    /// Times etcd turned out to be another one, or an older copy.
    pub etcd_rebuilt: u64,
    /// Full dumps of the kernel's addresses after lost notifications.
    pub resyncs: u64,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[allow(clippy::ref_option, reason = "the signature that serde asks for")]
fn opt_seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&duration.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}

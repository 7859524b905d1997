//! One VIP.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use super::seconds::{opt_seconds, seconds};
use super::{
    FollowsLabel, HooksStatus, Move, ObservedStatus, PeerStatus, PhaseLabel, RouterLabel, VipCounters, VrrpStatus,
};
use crate::gate::evidence::VipId;

/// One VIP.
#[derive(Clone, Debug, Serialize)]
pub struct VipStatus {
    /// Its number within this daemon.
    #[serde(skip)]
    pub id: VipId,
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
    /// Its hooks; `None` before the first.
    pub hooks: Option<HooksStatus>,
    /// What would be and what is, of a daemon that only observes.
    pub observed: Option<ObservedStatus>,
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

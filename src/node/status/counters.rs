//! What is counted, since the daemon started.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::Histogram;

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

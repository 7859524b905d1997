//! What goes into the node and what comes out of it. There is no other way in or out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vrrp::time::Instant;
use vrrp::wire::advert::{Advert, ChecksumForm};

use super::settings::{InterfaceId, Settings};
use crate::gate::evidence::{EtcdReport, EtcdRequest, PatroniReport, RoleReport, VipId};

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The moment that [`deadline`](super::Node::deadline) named has come; harmless at any other.
    Timer,
    /// An interface's state; `None` if it does not exist.
    Link {
        /// Which one.
        interface: InterfaceId,
        /// How it is.
        link: Option<Link>,
    },
    /// Every address of the host, from a dump: at start, and again whenever notifications were lost.
    Addresses(Vec<Address>),
    /// The kernel told of an address that was added or renewed.
    AddressAdded(Address),
    /// The kernel told of an address that is gone.
    AddressRemoved(Address),
    /// A valid advertisement.
    Advert {
        /// Where it was heard.
        interface: InterfaceId,
        /// What it says.
        advert: Advert,
    },
    /// Packets were discarded.
    Discarded(Discarded),
    /// Another MAC claims an address, by ARP or by a neighbour advertisement.
    Claim {
        /// Where it was heard.
        interface: InterfaceId,
        /// The address.
        address: IpAddr,
        /// The claimant.
        mac: [u8; 6],
    },
    /// From etcd.
    Etcd(EtcdReport),
    /// From PostgreSQL.
    Postgres(RoleReport),
    /// PostgreSQL has ended the session with it: it may be about to go. No evidence; that follows.
    PostgresParted,
    /// From Patroni's REST API.
    Patroni(PatroniReport),
    /// What is known of the VIPs' clients.
    Clients(ClientsReport),
    /// What came of the [`Output`]s of one pass, all of it: a decision that knew of one outcome and not yet of the next would
    /// be about a world that is gone.
    Done(Vec<Outcome>),
    /// Somebody wants a VIP not to be here, or has changed their mind.
    Drain {
        /// Which VIP.
        vip: VipId,
        /// Not here.
        drained: bool,
    },
    /// The operator says something else than before. The first interfaces and VIPs are those that are known.
    Reload(Box<Settings>),
    /// The operator said something else, and it was not taken, for this reason.
    ReloadRefused(String),
    /// Release everything; the daemon is about to end.
    Stop,
    /// Leave everything in its place; the daemon is about to end, and the next one to go on.
    HandOver,
}

/// An interface as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The kernel's index.
    pub index: u32,
    /// Administratively up, with carrier.
    pub up: bool,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// Its address on the segment, if that is Ethernet.
    #[serde(default)]
    pub mac: Option<[u8; 6]>,
}

/// An address as the kernel has it. Compared in binary, with its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Index of the interface it is on.
    pub link: u32,
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix_len: u8,
    /// Remaining lifetime in seconds; `None`: for ever.
    pub lifetime: Option<u32>,
    /// IPv6: not known to be the only one yet. Nothing can be sent from it.
    #[serde(default)]
    pub tentative: bool,
}

/// Packets that were not used, all for the same reason and of the same virtual router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discarded {
    /// Where they were heard.
    pub interface: InterfaceId,
    /// Metric label of the reason.
    pub reason: Cow<'static, str>,
    /// How many.
    pub count: u64,
    /// The virtual router that they name, if they have that much of a message. No check vouches for it.
    pub virtual_router_id: Option<u8>,
    /// The last sender and what it sent, if the packets were advertisements of VRRP version 2.
    pub version2: Option<Version2>,
}

/// A version 2 advertisement: counted and shown, not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version2 {
    /// Sender.
    pub source: Ipv4Addr,
    /// Its priority.
    pub priority: u8,
}

/// Who is connected to the VIPs, here and by the word of those that held them before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientsReport {
    /// By VIP.
    pub vips: Vec<VipClients>,
    /// Datagrams that brought no list, by reason.
    pub refused: BTreeMap<Cow<'static, str>, u64>,
    /// Why no lists can be had or given away, if that is so.
    pub trouble: Option<String>,
}

/// The clients of one VIP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipClients {
    /// Established connections to it; `None` while it is not here.
    pub connected: Option<u64>,
    /// Lists given to peers, one per peer and time.
    pub sent: u64,
    /// Whole lists taken from peers.
    pub received: u64,
    /// The last one.
    pub list: Option<ReceivedList>,
}

/// A list of a VIP's clients, as its holder had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedList {
    /// The holder's member name.
    pub from: String,
    /// How many clients there were.
    pub clients: u64,
    /// When it was complete.
    pub at: Instant,
}

/// Something to do. The actuator carries outputs out in order. After a [`Bind`](Self::Bind) or an
/// [`Unbind`](Self::Unbind) that failed, it skips what the same list still holds for that VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Bind the addresses, or renew their lifetime.
    Bind {
        /// Which VIP.
        vip: VipId,
        /// Index of the interface.
        link: u32,
        /// Lifetime in seconds after which the kernel removes it by itself.
        lifetime: NonZeroU32,
        /// Not to be carried out later than this; found to have happened later, it is undone.
        not_after: Instant,
    },
    /// Remove the addresses from every interface and confirm that they are gone.
    Unbind {
        /// Which VIP.
        vip: VipId,
    },
    /// Remove the addresses wherever they are besides where they belong.
    UnbindStrays {
        /// Which VIP.
        vip: VipId,
        /// Index of the interface on which they stay, with their configured prefix lengths.
        keep: u32,
    },
    /// Reset the established connections to the addresses.
    Reset {
        /// Which VIP.
        vip: VipId,
        /// The most time this may take; what is left then is left.
        budget: Duration,
    },
    /// Count the established connections to the addresses.
    CountConnections {
        /// Which VIP.
        vip: VipId,
    },
    /// Drop new connections to the addresses, so that their SYNs come again and meet the next holder; after `lifetime` the
    /// kernel lets them in by itself.
    DropSyns {
        /// Which VIP.
        vip: VipId,
        /// For so long.
        lifetime: Duration,
    },
    /// Let new connections in again.
    AcceptSyns {
        /// Which VIP.
        vip: VipId,
    },
    /// Send an acknowledgement that fits no connection to each of the clients that the last holder had, so that they learn
    /// that it is gone. Not to those that are connected here.
    Tickle {
        /// Which VIP.
        vip: VipId,
        /// Position of the first client in the list.
        first: usize,
        /// How many of them, if there are so many.
        count: usize,
        /// The list is not needed any more after its end.
        last: bool,
        /// Not to be sent later than this.
        not_after: Instant,
    },
    /// Send an advertisement of the VIP's addresses of the source's family, to the group or to each unicast peer.
    Advertise {
        /// Which VIP.
        vip: VipId,
        /// 0 says goodbye.
        priority: u8,
        /// Source address.
        source: IpAddr,
        /// Checksum form.
        checksum: ChecksumForm,
        /// Not to be sent later than this.
        not_after: Instant,
    },
    /// Send gratuitous ARP, in request and in reply form, or unsolicited neighbour advertisements.
    Announce {
        /// Which VIP.
        vip: VipId,
        /// Index of the interface.
        link: u32,
        /// Position of the first address to announce.
        first: usize,
        /// How many to announce, if there are so many.
        count: usize,
        /// Not to be sent later than this.
        not_after: Instant,
    },
    /// Ask etcd.
    Etcd(EtcdRequest),
    /// Ask PostgreSQL at once, and from now on this often.
    AskPostgres {
        /// The cadence.
        every: Duration,
    },
    /// Ask Patroni's REST API now and twice a second, at this URL; `None`: not any more.
    AskPatroni {
        /// `api_url` of this node's member key.
        url: Option<String>,
    },
    /// Tell the operator. Changes, not states: one line each.
    Tell(Notice),
}

impl Output {
    /// What the operator is to be told, if it is that.
    pub fn notice(&self) -> Option<&Notice> {
        match self {
            Self::Tell(notice) => Some(notice),
            _ => None,
        }
    }

    /// The VIP that this does something to. `None` for what is never skipped: notices, and requests to others.
    pub fn vip(&self) -> Option<VipId> {
        match self {
            Self::Bind { vip, .. }
            | Self::Unbind { vip }
            | Self::UnbindStrays { vip, .. }
            | Self::Reset { vip, .. }
            | Self::CountConnections { vip }
            | Self::DropSyns { vip, .. }
            | Self::AcceptSyns { vip }
            | Self::Tickle { vip, .. }
            | Self::Advertise { vip, .. }
            | Self::Announce { vip, .. } => Some(*vip),
            Self::Etcd(_) | Self::AskPostgres { .. } | Self::AskPatroni { .. } | Self::Tell(_) => None,
        }
    }
}

/// A line for the log.
#[derive(Clone, Debug, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How bad it is.
    pub level: Level,
    /// Which VIP; `None` if it concerns the node.
    pub vip: Option<VipId>,
    /// One line.
    pub text: String,
    /// What happened to the VIP. Not recorded, and so not compared.
    #[serde(skip)]
    pub mark: Option<Mark>,
}

impl PartialEq for Notice {
    fn eq(&self, other: &Self) -> bool {
        (self.level, self.vip, &self.text) == (other.level, other.vip, &other.text)
    }
}

/// By what lines are sorted, by whoever reads many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What happened to the VIP.
    pub event: Event,
    /// The label of the reason for its being here or not.
    pub reason: &'static str,
}

/// What happened to a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is bound here.
    Gained,
    /// It is gone from here.
    Lost,
    /// The lock is held, and only PostgreSQL's role is waited for.
    Armed,
    /// The reason for its being here or not is another one.
    Reason,
    /// Somebody else says that it is theirs.
    Conflict,
}

impl Event {
    /// As in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gained => "gained",
            Self::Lost => "lost",
            Self::Armed => "armed",
            Self::Reason => "reason",
            Self::Conflict => "conflict",
        }
    }
}

/// Severity of a [`Notice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Info,
    /// Worth a look.
    Warning,
    /// Needs somebody.
    Alarm,
}

/// What came of an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The addresses are bound, or renewed.
    Bound {
        /// Which VIP.
        vip: VipId,
        /// When the kernel had acknowledged.
        at: Instant,
    },
    /// The call came, or returned, after its `not_after`; the address is not bound by it.
    Late {
        /// Which VIP.
        vip: VipId,
        /// The kernel had done it nonetheless, and the address was removed again: it is on no interface.
        removed: bool,
    },
    /// The kernel refused.
    BindRefused {
        /// Which VIP.
        vip: VipId,
        /// Its words.
        error: String,
    },
    /// The addresses are on no interface.
    Unbound {
        /// Which VIP.
        vip: VipId,
        /// From how many places they were removed.
        removed: usize,
        /// When that was certain.
        at: Instant,
    },
    /// An address is, or may be, still there.
    UnbindFailed {
        /// Which VIP.
        vip: VipId,
        /// The kernel's words.
        error: String,
    },
    /// Strays were removed.
    StraysRemoved {
        /// Which VIP.
        vip: VipId,
        /// From how many places.
        removed: usize,
    },
    /// Connections were reset.
    Reset {
        /// Which VIP.
        vip: VipId,
        /// How many.
        destroyed: usize,
    },
    /// So many established connections there are; `None` if the kernel did not say.
    Connections {
        /// Which VIP.
        vip: VipId,
        /// How many.
        count: Option<usize>,
    },
    /// New connections are dropped; or cannot be, and are refused by a PostgreSQL that goes.
    SynsDropped {
        /// Which VIP.
        vip: VipId,
        /// They are dropped.
        works: bool,
    },
    /// Clients of the last holder were told.
    Tickled {
        /// Which VIP.
        vip: VipId,
        /// How many, by this.
        sent: usize,
        /// How many could not be.
        failed: usize,
        /// How many there are in all.
        total: usize,
    },
    /// An advertisement went out.
    Advertised {
        /// Which VIP.
        vip: VipId,
    },
    /// An announcement went out.
    Announced {
        /// Which VIP.
        vip: VipId,
    },
    /// A send was refused by the kernel. Counted: etcd decides, adverts inform.
    SendFailed {
        /// Which VIP.
        vip: VipId,
        /// What was to be sent, and the kernel's words.
        error: String,
    },
}

impl Outcome {
    /// Which VIP it is about.
    pub fn vip(&self) -> VipId {
        match self {
            Self::Bound { vip, .. }
            | Self::Late { vip, .. }
            | Self::BindRefused { vip, .. }
            | Self::Unbound { vip, .. }
            | Self::UnbindFailed { vip, .. }
            | Self::StraysRemoved { vip, .. }
            | Self::Reset { vip, .. }
            | Self::Connections { vip, .. }
            | Self::SynsDropped { vip, .. }
            | Self::Tickled { vip, .. }
            | Self::Advertised { vip }
            | Self::Announced { vip }
            | Self::SendFailed { vip, .. } => *vip,
        }
    }
}

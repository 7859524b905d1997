//! What the probes saw, in one list.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::network::Node;

/// One observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it was observed. For an attempt: when it ended.
    pub at: Time,
    /// What was observed.
    #[serde(flatten)]
    pub what: Observation,
}

/// What a probe can see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Observation {
    /// A remark of whoever uses the lab: "switchover asked for".
    Mark {
        /// The remark.
        text: String,
    },
    /// An address appeared on a node, or went. Renewals are not reported.
    Address {
        /// Where.
        node: Node,
        /// Which.
        address: IpAddr,
        /// Appeared or gone.
        present: bool,
    },
    /// A PostgreSQL answers differently from before; `at` is when the answer came. The change happened after `before`
    /// and before `at`; that the new role was there is certain only of a moment between `asked` and `at`.
    Role {
        /// Whose.
        node: Node,
        /// The answer.
        role: Role,
        /// When the question was asked.
        asked: Time,
        /// When the last question that got the old answer was asked.
        before: Option<Time>,
    },
    /// The role is still what it was; recorded ten times a second and when the probe ends.
    RoleConfirmed {
        /// Whose.
        node: Node,
        /// When the last question that was answered was asked.
        asked: Time,
        /// How many questions were answered since the last record of this node's role.
        questions: u32,
    },
    /// A key in etcd was put or deleted.
    Key {
        /// Its name.
        key: String,
        /// Its value, `None` when it is gone.
        value: Option<String>,
        /// The revision of the change.
        revision: i64,
        /// The lease that it is bound to, 0 for none.
        lease: i64,
    },
    /// An attempt of the hasty client or the careful one: a new connection through the VIP, one read, one insert, with a
    /// short time limit.
    Write(Attempt),
    /// An attempt of the patient client: a new connection and one insert, without any time limit.
    Patient(Attempt),
    /// A long-lived connection through the VIP learned of its end.
    SessionEnd {
        /// The number it was opened under.
        index: usize,
        /// The node that it was connected to.
        node: Option<Node>,
        /// How it was told.
        how: String,
    },
    /// A frame that a node sent onto the wire.
    Frame {
        /// Whose cable it came from, whatever it says of itself.
        node: Node,
        /// What it is.
        frame: Frame,
    },
    /// A probe missed events: judgements about this time are not to be trusted.
    Blind {
        /// Which probe, and why.
        reason: String,
    },
}

/// What PostgreSQL answers to `pg_is_in_recovery()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// False.
    Primary,
    /// True.
    Standby,
    /// No connection: no socket, refused, shutting down, starting up.
    Down,
    /// A connection, but no answer within a second.
    Silent,
}

/// The error of an attempt that had no end when its probe was stopped.
pub const STILL_WAITING: &str = "still waiting";

/// One try of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub started: Time,
    /// Which PostgreSQL answered the read, if one did.
    pub node: Option<Node>,
    /// Whether that one was in recovery: a client of the VIP must never see this.
    pub from_replica: bool,
    /// The error that it ended with, `None` when the insert was acknowledged.
    pub error: Option<String>,
    /// What the careful client wrote, once that was acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
}

/// A frame of a kind that matters here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Frame {
    /// ARP for IPv4.
    Arp {
        /// Reply (2) rather than request (1).
        reply: bool,
        /// The hardware address that it is sent to.
        destination: [u8; 6],
        /// The hardware address that it announces.
        sender_mac: [u8; 6],
        /// The IP address that it announces.
        sender: Ipv4Addr,
        /// The IP address that it asks for or tells.
        target: Ipv4Addr,
    },
    /// IP protocol 112.
    Vrrp {
        /// Source address.
        source: Ipv4Addr,
        /// Destination: 224.0.0.18, or a unicast peer.
        destination: Ipv4Addr,
        /// Time to live; a valid one has 255.
        ttl: u8,
        /// Protocol version.
        version: u8,
        /// Virtual router.
        vrid: u8,
        /// Priority.
        priority: u8,
        /// The rest of the packet, from the count of addresses on.
        rest: Vec<u8>,
    },
}

/// A growing list of events, shared by all probes of a run.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<Vec<Event>>>);

impl History {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an observation made just now; returns its time.
    pub fn record(&self, what: Observation) -> Time {
        let at = Time::now();
        self.record_at(at, what);
        at
    }

    /// Adds an observation made at `at`.
    pub fn record_at(&self, at: Time, what: Observation) {
        self.lock().push(Event { at, what });
    }

    /// Adds a remark; returns its time.
    pub fn mark(&self, text: &str) -> Time {
        self.record(Observation::Mark { text: text.to_owned() })
    }

    /// Everything so far, in the order of time.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.between(Time::from_nanos(0), Time::from_nanos(u64::MAX))
    }

    /// Everything that was observed at `from` or later, and before `to`.
    #[must_use]
    pub fn between(&self, from: Time, to: Time) -> Vec<Event> {
        let mut events: Vec<Event> = self.lock().iter().filter(|e| e.at >= from && e.at < to).cloned().collect();
        events.sort_by_key(|e| e.at);
        events
    }

    /// The number of events so far, in the order in which they were recorded; for [`Self::since`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing was observed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was recorded after there were `count` events, in the order of recording: for following a history live.
    #[must_use]
    pub fn since(&self, count: usize) -> Vec<Event> {
        self.lock().get(count..).map(<[_]>::to_vec).unwrap_or_default()
    }

    /// One line of JSON per event.
    #[must_use]
    pub fn to_json_lines(&self) -> String {
        let line = |e: &Event| serde_json::to_string(e).unwrap_or_default() + "\n";
        self.events().iter().map(line).collect()
    }

    /// One readable line per event, with milliseconds since `origin`. Routine is left out.
    #[must_use]
    pub fn to_text(&self, origin: Time) -> String {
        let events = self.events();
        let lines = events.iter().filter(|e| !e.is_routine());
        lines.map(|e| format!("{:>12.3} ms  {}\n", e.at.millis_after(origin), e.what)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Event {
    /// A client's attempt that went well, or a role that is what it was: there are a hundred a second.
    #[must_use]
    pub const fn is_routine(&self) -> bool {
        match &self.what {
            Observation::Write(attempt) | Observation::Patient(attempt) => {
                attempt.error.is_none() && !attempt.from_replica
            }
            Observation::RoleConfirmed { .. } => true,
            _ => false,
        }
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mark { text } => write!(f, "-- {text}"),
            Self::Address { node, address, present: true } => write!(f, "{node}: {address} added"),
            Self::Address { node, address, present: false } => write!(f, "{node}: {address} removed"),
            Self::Role { node, role, .. } => write!(f, "{node}: PostgreSQL is {role}"),
            Self::RoleConfirmed { node, .. } => write!(f, "{node}: PostgreSQL's role is unchanged"),
            Self::Key { key, value: Some(value), revision, .. } => {
                write!(f, "etcd: {key} = {value} (revision {revision})")
            }
            Self::Key { key, value: None, revision, .. } => write!(f, "etcd: {key} gone (revision {revision})"),
            Self::Write(attempt) => write!(f, "client: {attempt}"),
            Self::Patient(attempt) => write!(f, "patient client: {attempt}"),
            Self::SessionEnd { index, node, how } => {
                write!(f, "long-lived connection {index} to {} told: {how}", node.map_or("?", Node::name))
            }
            Self::Frame { node, frame } => write!(f, "{node} sends {frame}"),
            Self::Blind { reason } => write!(f, "BLIND: {reason}"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::Down => "down",
            Self::Silent => "silent",
        })
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(f, "{error}")?,
            None => write!(f, "written on {}", self.node.map_or("?", Node::name))?,
        }
        if self.from_replica {
            write!(f, ", AFTER READING FROM A REPLICA ({})", self.node.map_or("?", Node::name))?;
        }
        Ok(())
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arp { reply: false, sender, target, .. } if sender == target => {
                write!(f, "gratuitous ARP request for {sender}")
            }
            Self::Arp { reply: false, sender, target, .. } => write!(f, "ARP: who has {target}, tell {sender}"),
            Self::Arp { reply: true, sender, target, .. } if sender == target => {
                write!(f, "gratuitous ARP reply for {sender}")
            }
            Self::Arp { reply: true, sender, .. } => write!(f, "ARP: {sender} is here"),
            Self::Vrrp { source, vrid, version, priority, .. } => {
                write!(f, "VRRPv{version} advertisement, VRID {vrid}, priority {priority}, from {source}")
            }
        }
    }
}

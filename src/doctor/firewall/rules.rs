//! A host's packet filter in the few words that matter here, whichever tool it was read by.

use std::net::IpAddr;

use super::packet::{Flags, Protocol, State};

/// The tool that the administrator mends a table with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Nft,
    Iptables,
    Ip6tables,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) tool: Tool,
    /// As `nft` or `iptables -t` wants it: `inet filter`, `filter`.
    pub(super) name: String,
    pub(super) ipv4: bool,
    pub(super) ipv6: bool,
    pub(super) chains: Vec<Chain>,
}

impl Table {
    pub(super) fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name == name)
    }

    pub(super) fn of_family(&self, ipv4: bool) -> bool {
        if ipv4 { self.ipv4 } else { self.ipv6 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: String,
    /// Where packets come into it by themselves; others are jumped to.
    pub(super) base: Option<Base>,
    pub(super) rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) hook: Hook,
    /// What no rule decides is dropped.
    pub(super) drops: bool,
}

/// Those that a packet from or to this host itself comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Prerouting,
    Input,
    Output,
    Postrouting,
}

impl Hook {
    /// The kernel's own names; iptables has them in capitals.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "prerouting" => Self::Prerouting,
            "input" => Self::Input,
            "output" => Self::Output,
            "postrouting" => Self::Postrouting,
            _ => return None,
        })
    }

    pub(super) fn is_inwards(self) -> bool {
        matches!(self, Self::Prerouting | Self::Input)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// As the tool prints it, for people.
    pub(super) text: String,
    /// It is for packets that pass all of them.
    pub(super) tests: Vec<Test>,
    pub(super) action: Action,
}

impl Rule {
    pub(super) fn asks_state(&self) -> bool {
        self.tests.iter().any(|test| matches!(test, Test::State { .. }))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Accept,
    /// Or rejects: to whoever sent it, both are a loss.
    Drop,
    Jump(String),
    /// A jump that does not come back.
    Goto(String),
    Return,
    /// Conntrack shall not look at the packet.
    NoTrack,
    /// Counts, logs, marks: the packet goes on.
    Nothing,
    /// What becomes of the packet is not known here.
    Unknown,
}

/// What a rule asks of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    State {
        any_of: State,
        not: bool,
    },
    Protocol {
        any_of: Vec<(Protocol, Protocol)>,
        not: bool,
    },
    Port {
        which: End,
        any_of: Vec<(u16, u16)>,
        not: bool,
    },
    Address {
        which: End,
        any_of: Vec<(IpAddr, IpAddr)>,
        not: bool,
    },
    /// By name; one that ends in a star stands for all that begin so.
    Interface {
        which: End,
        any_of: Vec<String>,
        not: bool,
    },
    /// Those bits of the TCP flags are one of these.
    Flags {
        bits: Flags,
        any_of: Vec<Flags>,
        not: bool,
    },
    /// At least one of these TCP flags is set.
    SomeFlag(Flags),
    Ipv4 {
        not: bool,
    },
    /// Something that is not understood, or is not known before the packet is there.
    Unknown,
}

/// The interface of the source is that by which a packet comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

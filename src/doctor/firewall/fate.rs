//! What a table does to a packet. No firewall is known well enough for a plain yes or no: a rule can also ask what is not
//! known here, as who the client is.

use super::packet::{Packet, UNTRACKED};
use super::rules::{Action, Chain, End, Rule, Table, Test};

/// How often a rule is looked at for one packet at most: jumps can multiply.
const PATIENCE: u32 = 100_000;

/// The kernel's own limit of jumps within jumps.
const DEPTH: u32 = 16;

/// What becomes of a packet in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing was seen that drops it for sure.
    Passes,
    /// It may be, by this rule on conntrack's state.
    MayBeDropped(String),
    /// It is, by this rule or policy.
    Dropped(String),
}

/// Whether a test, or a rule, is for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    No,
    Maybe,
    Yes,
}

impl Fit {
    fn known(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }

    fn not(self, not: bool) -> Self {
        match self {
            Self::Yes if not => Self::No,
            Self::No if not => Self::Yes,
            fit => fit,
        }
    }
}

impl Packet {
    fn passes(&self, test: &Test) -> Fit {
        let among = |ranges: &[(u16, u16)], port: u16| ranges.iter().any(|(low, high)| (*low..=*high).contains(&port));
        match test {
            Test::State { any_of, not } => {
                let inside = self.state & any_of;
                let fit = if inside == self.state { Fit::Yes } else { Fit::known(inside != 0).min(Fit::Maybe) };
                fit.not(*not)
            }
            Test::Protocol { any_of, not } => {
                Fit::known(any_of.iter().any(|(low, high)| (*low..=*high).contains(&self.protocol))).not(*not)
            }
            Test::Port { which, any_of, not } => {
                let port = if *which == End::Source { self.source_port } else { self.destination_port };
                port.map_or(Fit::Maybe, |port| Fit::known(among(any_of, port)).not(*not))
            }
            Test::Address { which, any_of, not } => {
                let address = if *which == End::Source { self.source } else { self.destination };
                let is_in = |address| any_of.iter().any(|(low, high)| (*low..=*high).contains(&address));
                address.map_or(Fit::Maybe, |address| Fit::known(is_in(address)).not(*not))
            }
            Test::Interface { which, any_of, not } => self.is_by(*which, any_of).not(*not),
            Test::Flags { bits, any_of, not } => Fit::known(any_of.contains(&(self.flags & bits))).not(*not),
            Test::SomeFlag(flags) => Fit::known(self.flags & flags != 0),
            Test::Ipv4 { not } => Fit::known(self.ipv4).not(*not),
            Test::Unknown => Fit::Maybe,
        }
    }

    fn is_by(&self, which: End, names: &[String]) -> Fit {
        // What comes in has no way out yet, and the other way round.
        if self.inwards != (which == End::Source) {
            return Fit::Maybe;
        }
        let is = |known: &str| {
            let mut names = names.iter();
            names.any(|name| name.strip_suffix('*').map_or(name == known, |begin| known.starts_with(begin)))
        };
        match &self.interface {
            Some(interface) => Fit::known(is(interface)),
            None if names.iter().all(|name| name == "lo") => Fit::No,
            None => Fit::Maybe,
        }
    }

    fn fits(&self, rule: &Rule) -> Fit {
        rule.tests.iter().map(|test| self.passes(test)).min().unwrap_or(Fit::Yes)
    }

    /// Takes it away from conntrack, if a rule does.
    pub(super) fn untrack(&mut self, tables: &[Table]) {
        for chain in tables.iter().filter(|table| table.of_family(self.ipv4)).flat_map(|table| &table.chains) {
            if chain.base.is_some_and(|base| base.hook.is_inwards() != self.inwards) {
                continue;
            }
            for rule in chain.rules.iter().filter(|rule| rule.action == Action::NoTrack) {
                match self.fits(rule) {
                    Fit::Yes if chain.base.is_some() => self.state = UNTRACKED,
                    Fit::Yes | Fit::Maybe => self.state |= UNTRACKED,
                    Fit::No => {}
                }
            }
        }
    }

    /// What a base chain does to it.
    pub(super) fn in_chain(&self, table: &Table, chain: &Chain) -> Fate {
        let mut walk = Walk { packet: self, table, unsure: false, perhaps: None, patience: PATIENCE };
        let policy = chain.base.filter(|base| base.drops).map(|_| "policy drop".to_owned());
        let by = match walk.through(chain, 0) {
            Way::Accepted => None,
            Way::Dropped(rule) => Some((rule.text.clone(), rule.asks_state())),
            Way::Passed => policy.map(|policy| (policy, false)),
        };
        match (by, walk.unsure, walk.perhaps) {
            (Some((by, _)), false, _) => Fate::Dropped(by),
            (_, _, Some(by)) | (Some((by, true)), true, _) => Fate::MayBeDropped(by),
            _ => Fate::Passes,
        }
    }
}

/// How a way through a chain ends.
enum Way<'a> {
    Accepted,
    Dropped(&'a Rule),
    /// At the chain's end.
    Passed,
}

struct Walk<'a> {
    packet: &'a Packet,
    table: &'a Table,
    /// It may have been accepted already.
    unsure: bool,
    /// The first rule on conntrack's state that may have dropped it.
    perhaps: Option<String>,
    patience: u32,
}

impl<'a> Walk<'a> {
    fn through(&mut self, chain: &'a Chain, depth: u32) -> Way<'a> {
        for rule in &chain.rules {
            if self.patience == 0 || depth > DEPTH {
                self.unsure = true;
                return Way::Passed;
            }
            self.patience -= 1;
            let fit = self.packet.fits(rule);
            if fit == Fit::No {
                continue;
            }
            let (end, leaves) = match &rule.action {
                Action::Accept => (Way::Accepted, true),
                Action::Drop => (Way::Dropped(rule), true),
                Action::Return => (Way::Passed, true),
                Action::Nothing | Action::NoTrack => continue,
                Action::Unknown => {
                    self.unsure = true;
                    continue;
                }
                Action::Jump(to) | Action::Goto(to) => match self.table.chain(to) {
                    Some(to) => (self.through(to, depth + 1), matches!(rule.action, Action::Goto(_))),
                    None => {
                        self.unsure = true;
                        continue;
                    }
                },
            };
            match end {
                Way::Passed if !leaves => {}
                end if fit == Fit::Yes => return end,
                Way::Dropped(by) => self.may_drop(rule, by),
                Way::Accepted | Way::Passed => self.unsure = true,
            }
        }
        Way::Passed
    }

    fn may_drop(&mut self, rule: &Rule, by: &Rule) {
        if rule.asks_state() || by.asks_state() {
            self.perhaps.get_or_insert_with(|| by.text.clone());
        }
    }
}

//! Three nodes on one segment, on which packets are lost and late, and on which daemons die, sleep and come back: while that
//! lasts, who hears a better one leaves; and when it is over, one of them has the address, the best that is able to.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vrrp::router::Preempt;
use vrrp::time::Instant;
use vrrp::types::{Interval, Priority};
use vrrp::wire::advert::Advert;

use super::host::{ETH0, Host, SECOND, START, net, router6, rules, up, vip};
use crate::node::io::{Input, Link, Output};
use crate::node::{Family, VipSettings};

const NODES: usize = 3;
const SEEDS: u64 = 500;

/// Reproducible chance.
struct Dice(u64);

impl Dice {
    /// Below `limit`. SplitMix64's step.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_nanos(self.below(u64::try_from(longest.as_nanos()).unwrap() + 1))
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

/// How the daemon of a host is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Daemon {
    Runs,
    /// Stopped, as by SIGSTOP: what it is sent waits.
    Sleeps,
    Dead,
}

struct Member {
    host: Host,
    daemon: Daemon,
    /// What waits while it sleeps.
    waiting: Vec<Advert>,
    drained: bool,
}

impl Member {
    fn is_able(&self) -> bool {
        self.daemon == Daemon::Runs && !self.drained && self.host.links[0].is_some_and(|link| link.up)
    }

    fn priority(&mut self) -> u8 {
        rules(&mut self.host.settings.vips[0]).priority.get()
    }

    fn interval(&self) -> Duration {
        self.host.settings.vips[0].interval.duration()
    }
}

struct Lan {
    seed: u64,
    dice: Dice,
    now: Instant,
    members: Vec<Member>,
    /// Packets under way: to whom, what.
    air: BTreeMap<(Instant, u64), (usize, Advert)>,
    packets: u64,
    cut: [[bool; NODES]; NODES],
    /// One packet in so many is lost.
    loss: Option<u64>,
    delay: Duration,
    /// Since when two that run have both had the address while nothing is lost.
    both: Option<Instant>,
    calm: bool,
}

fn addresses(node: usize) -> (Ipv4Addr, IpAddr) {
    // The greater address over IPv4 is the smaller one over IPv6.
    let number = u8::try_from(node).unwrap();
    (Ipv4Addr::new(10, 0, 20, 11 + number), router6(20 - u16::from(number)))
}

impl Lan {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let centis = dice.of(&[1, 10, 100, 200]);
        let alike = !dice.one_in(4);
        let lists: [&[&str]; 4] = [
            &["10.0.20.200/32"],
            &["fe80::200/128"],
            &["10.0.20.200/32", "fe80::200/128"],
            &["fe80::200/128", "10.0.20.200/32"],
        ];
        let list = dice.of(&lists);
        let preempt = if dice.one_in(4) { Preempt::Never } else { Preempt::AT_ONCE };
        let mut member = |node| {
            let mut vip = VipSettings { addresses: list.iter().map(|text| net(text)).collect(), ..vip() };
            let centis = if alike { centis } else { centis * dice.of(&[1, 2, 5]) };
            vip.interval = Interval::from_centis(centis).unwrap();
            let rules = rules(&mut vip);
            (rules.priority, rules.preempt) = (Priority::new(dice.of(&[1, 100, 100, 200, 254])).unwrap(), preempt);
            let host = Host::at(addresses(node), vec![vip], START);
            Member { host, daemon: Daemon::Dead, waiting: Vec::new(), drained: false }
        };
        let members: Vec<_> = (0..NODES).map(&mut member).collect();
        let shortest = members.iter().map(Member::interval).min().unwrap();
        Self {
            seed,
            now: START,
            members,
            air: BTreeMap::new(),
            packets: 0,
            cut: [[false; NODES]; NODES],
            loss: dice.of(&[None, Some(20), Some(5), Some(2)]),
            // Less than a tenth of an interval.
            delay: dice.up_to(shortest / 11),
            dice,
            both: None,
            calm: false,
        }
    }

    fn interval(&self) -> Duration {
        self.members.iter().map(Member::interval).max().unwrap()
    }

    // ---- Time ---------------------------------------------------------------------------------------------------

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let runs = |(node, member): (usize, &Member)| {
                (member.daemon == Daemon::Runs).then(|| (member.host.node.deadline(), node))
            };
            let due = self.members.iter().enumerate().filter_map(runs).min();
            let arrives = self.air.first_key_value().map(|((at, _), _)| *at);
            let next = due.map(|(at, _)| at).into_iter().chain(arrives).min().map(|at| at.max(self.now));
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.pass(next);
            if arrives.is_some_and(|at| at <= next) {
                let (_, (to, advert)) = self.air.pop_first().unwrap();
                self.deliver(to, advert);
            } else if let Some((_, node)) = due {
                self.give(node, Input::Timer);
            }
            self.look();
        }
        self.pass(end);
    }

    fn pass(&mut self, now: Instant) {
        self.now = now;
        for node in 0..NODES {
            let member = &mut self.members[node];
            member.host.now = now;
            let gone = member.host.expire();
            if member.daemon == Daemon::Runs && !gone.is_empty() {
                panic!("seed {}: node {node} let its address expire: {}", self.seed, member.host.why());
            }
        }
    }

    // ---- Packets ------------------------------------------------------------------------------------------------

    fn give(&mut self, node: usize, input: Input) {
        self.members[node].host.give(input);
        self.send(node);
    }

    /// Puts on the air what a node has sent since.
    fn send(&mut self, node: usize) {
        let member = &mut self.members[node];
        let adverts = member.host.log.drain(..).filter_map(|(_, output)| match output {
            Output::Advertise { priority, source, checksum, .. } => Some((priority, source, checksum)),
            _ => None,
        });
        let adverts: Vec<_> = adverts.collect();
        // What is sent over an interface that is down is not.
        let is_up = member.host.links[0].is_some_and(|link| link.up);
        let vip = member.host.settings.vips[0].clone();
        for (priority, source, checksum) in adverts.into_iter().filter(|_| is_up) {
            for to in (0..NODES).filter(|to| *to != node) {
                if self.cut[node][to] || self.loss.is_some_and(|many| self.dice.one_in(many)) {
                    continue;
                }
                let advert = Advert {
                    source,
                    destination: source,
                    vrid: vip.virtual_router_id,
                    priority,
                    interval: vip.interval,
                    addresses: vip.of_family(Family::of(source)).collect(),
                    checksum,
                };
                let at = self.now + self.dice.up_to(self.delay);
                self.packets += 1;
                self.air.insert((at, self.packets), (to, advert));
            }
        }
    }

    fn deliver(&mut self, to: usize, advert: Advert) {
        let member = &mut self.members[to];
        if member.daemon == Daemon::Sleeps {
            return member.waiting.push(advert);
        }
        if member.daemon == Daemon::Dead || member.host.links[0].is_none_or(|link| !link.up) {
            return;
        }
        let first = member.host.settings.vips[0].families().next().unwrap();
        let own = member.priority();
        let (v4, v6) = addresses(to);
        let own_address = if first == Family::V4 { IpAddr::V4(v4) } else { v6 };
        let is_tie = advert.priority == own && Family::of(advert.source) == first;
        let better = advert.priority > own || (is_tie && advert.source > own_address);
        let worse = (1..own).contains(&advert.priority) || (is_tie && advert.source < own_address);
        let was_active = member.host.is_bound();
        member.host.log.clear();
        member.host.give(Input::Advert { interface: ETH0, advert: advert.clone() });
        // Whoever hears a better one has left at once; whoever hears a worse one has said so at once. Together: two that
        // hear each other are both there for as long as a packet takes.
        let (seed, why) = (self.seed, self.members[to].host.why());
        let host = &self.members[to].host;
        assert!(!(better && host.is_bound()), "seed {seed}: node {to} stays in spite of {advert:?}: {why}");
        assert!(
            !(worse && was_active && host.count("advertise") == 0),
            "seed {seed}: node {to} bears {advert:?}: {why}"
        );
        self.send(to);
    }

    // ---- Faults -------------------------------------------------------------------------------------------------

    fn start(&mut self, node: usize) {
        let member = &mut self.members[node];
        let mut settings = member.host.settings.vips.clone();
        settings[0].drained = member.drained;
        let mut host = Host::at(addresses(node), settings, self.now);
        // What its predecessor left is still there.
        std::mem::swap(&mut host.addresses, &mut member.host.addresses);
        host.links.clone_from(&member.host.links);
        (member.host, member.daemon) = (host, Daemon::Runs);
        member.host.begin();
        assert!(!member.host.is_bound(), "seed {}: node {node} keeps what it finds", self.seed);
        self.send(node);
    }

    fn wake(&mut self, node: usize) {
        let member = &mut self.members[node];
        member.daemon = Daemon::Runs;
        // Nothing is overdue before what has arrived is read.
        for advert in std::mem::take(&mut member.waiting) {
            member.host.give(Input::Advert { interface: ETH0, advert });
        }
        // And the dump finds what the kernel has removed meanwhile.
        let addresses = member.host.addresses.iter().map(|(address, _)| *address).collect();
        member.host.give(Input::Addresses(addresses));
        self.send(node);
    }

    fn strike(&mut self) {
        let node = usize::try_from(self.dice.below(NODES as u64)).unwrap();
        let daemon = self.members[node].daemon;
        match (self.dice.below(9), daemon) {
            (0 | 1, Daemon::Dead) => self.start(node),
            (0, Daemon::Runs) => self.members[node].daemon = Daemon::Dead,
            (1, Daemon::Runs) => {
                self.give(node, Input::Stop);
                assert!(self.members[node].host.node.is_gone(), "seed {}", self.seed);
                self.members[node].daemon = Daemon::Dead;
            }
            (2 | 3, Daemon::Runs) => self.members[node].daemon = Daemon::Sleeps,
            (_, Daemon::Sleeps) => self.wake(node),
            (4 | 5, Daemon::Runs) => {
                self.members[node].drained ^= true;
                let drained = self.members[node].drained;
                self.members[node].host.drain(drained);
                self.send(node);
            }
            (6, Daemon::Runs) => {
                let is_up = self.members[node].host.links[0].is_some_and(|link| link.up);
                self.members[node].host.link(ETH0, Some(Link { up: !is_up, ..up(2) }));
                self.send(node);
            }
            _ => {
                let other = usize::try_from(self.dice.below(NODES as u64)).unwrap();
                self.cut[node][other] ^= true;
                if self.dice.one_in(2) {
                    self.cut[other][node] = self.cut[node][other];
                }
            }
        }
        self.look();
    }

    // ---- What has to hold ---------------------------------------------------------------------------------------

    /// Once nothing is lost, two that run are not both there for longer than until the next beat, its way, and that of the
    /// answer to it.
    fn look(&mut self) {
        let runs = |member: &&Member| member.daemon == Daemon::Runs && member.host.is_bound();
        let many = self.members.iter().filter(runs).count() > 1;
        self.both = many.then(|| self.both.unwrap_or(self.now)).filter(|_| self.calm);
        let longest = self.interval() + self.delay * 2;
        let lasts = self.both.is_some_and(|since| self.now.since(since) > longest);
        assert!(!lasts, "seed {}: two are there at {:?}: {}", self.seed, self.now, self.whys());
    }

    fn whys(&self) -> String {
        self.members.iter().map(|member| format!("\n  {} {}", member.host.is_bound(), member.host.why())).collect()
    }

    fn play(&mut self) {
        for node in 0..NODES {
            self.start(node);
            let pause = self.dice.up_to(self.interval());
            self.run(pause);
        }
        let faults = self.dice.below(20);
        for _ in 0..faults {
            let pause = self.dice.up_to(self.interval() * 5);
            self.run(pause);
            self.strike();
        }
        (0..NODES).for_each(|node| {
            if self.members[node].daemon == Daemon::Sleeps {
                self.wake(node);
            }
        });
        (self.calm, self.loss, self.cut) = (true, None, [[false; NODES]; NODES]);
        // A dead daemon's address ends with its lifetime.
        let calm = 3 * SECOND + self.interval() * 4 * 4;
        self.run(calm);
        let able: Vec<usize> = (0..NODES).filter(|node| self.members[*node].is_able()).collect();
        let bound: Vec<usize> = (0..NODES).filter(|node| self.members[*node].host.is_bound()).collect();
        assert_eq!(bound.len(), able.len().min(1), "seed {}: {bound:?} of {able:?}: {}", self.seed, self.whys());
        let best = able.iter().map(|node| self.members[*node].priority()).max();
        if let Some(holder) = bound.first() {
            let preempts = rules(&mut self.members[*holder].host.settings.vips[0]).preempt == Preempt::AT_ONCE;
            let is_best = Some(self.members[*holder].priority()) == best;
            assert!(able.contains(holder), "seed {}: {}", self.seed, self.whys());
            assert!(is_best || !preempts, "seed {}: node {holder} is not the best: {}", self.seed, self.whys());
            assert!(self.members[*holder].host.status().held, "seed {}", self.seed);
        }
    }
}

#[test]
fn the_best_that_is_able_has_it_and_nobody_else() {
    let mut packets = 0;
    for seed in 0..SEEDS {
        let mut lan = Lan::new(seed);
        lan.play();
        packets += lan.packets;
    }
    assert!(packets > 100_000, "the segment was all but silent: {packets}");
}

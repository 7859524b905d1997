//! A node in a world that goes as the bytes say: each names an event, and those behind it how that goes. Where they are
//! zero everything goes well, so that few of them lead far.

mod bytes;
mod checks;
mod etcd;

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use pgvrrp::gate::evidence::{Acquisition, EtcdReport, Kept, PatroniReport, PatroniState, Role, RoleReport, VipId};
use pgvrrp::gate::policy::{Failsafe, Fence, ForeignActive, Paused, Policy, PostgresDown};
use pgvrrp::node::io::{Address, Discarded, Input, Link, Outcome, Output, Version2};
use pgvrrp::node::{Follows, Identity, InterfaceId, Node, Settings, VipSettings};
use pgvrrp::observe::text::{Look, render};
use pgvrrp::recording::{Header, Pass, replay};
use vrrp::router::ChecksumPolicy;
use vrrp::time::Instant;
use vrrp::types::{Interval, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

use bytes::Bytes;
use checks::Told;
use etcd::Etcd;

const ETH0: u32 = 2;
const ETH0_ID: InterfaceId = InterfaceId(0);
const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 11);
const OWN: Address = Address { link: ETH0, address: IpAddr::V4(ME), prefix_len: 24, lifetime: None, tentative: false };
const VIPS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 20, 155), Ipv4Addr::new(10, 0, 20, 156)];

/// A longer history says no more than this much of it.
const LONGEST: usize = 1024;

pub fn run(bytes: &[u8]) {
    let mut world = World::new(Bytes::new(&bytes[..bytes.len().min(LONGEST)]));
    world.give(link_input(Some((ETH0, true))));
    world.give(Input::Addresses(vec![OWN]));
    while let Some(event) = world.bytes.next() {
        world.happen(event);
    }
    world.end();
}

fn link_input(link: Option<(u32, bool)>) -> Input {
    let link = link.map(|(index, up)| Link { index, up, mtu: 1500, mac: None });
    Input::Link { interface: ETH0_ID, link }
}

fn discarded(reason: &'static str, virtual_router_id: Option<u8>, version2: Option<Version2>) -> Input {
    let (interface, reason, count) = (ETH0_ID, reason.into(), 1);
    Input::Discarded(Discarded { interface, reason, count, virtual_router_id, version2 })
}

struct World<'a> {
    bytes: Bytes<'a>,
    node: Node,
    now: Instant,
    etcd: Etcd,
    told: Told,
    header: Header,
    passes: Vec<Pass>,
}

impl<'a> World<'a> {
    fn new(mut bytes: Bytes<'a>) -> Self {
        let now = Instant::from_millis(1_000_000);
        let choices = bytes.byte();
        let is = |bit: u8| choices & (1 << bit) != 0;
        let policy = Policy {
            postgres_down: if is(0) { PostgresDown::Hold } else { PostgresDown::Release },
            paused: if is(1) { Paused::Release } else { Paused::Hold },
            foreign_active: if is(2) { ForeignActive::BindAtOnce } else { ForeignActive::AdvertiseFirst },
            failsafe: if is(3) { Failsafe::Drop } else { Failsafe::Auto },
            fence: if is(4) { Fence::LeaderKey } else { Fence::Lock },
        };
        let vips = VIPS.iter().zip([155, 156]).take(if is(5) { 2 } else { 1 }).map(|(address, id)| VipSettings {
            name: address.to_string(),
            addresses: vec![IpNet::new_assert(IpAddr::V4(*address), if is(6) { 24 } else { 32 })],
            virtual_router_id: Vrid::new(id).expect("it is not 0"),
            interface: ETH0_ID,
            virtual_mac: None,
            interval: Interval::DEFAULT,
            checksum: ChecksumPolicy::Auto,
            unicast_peers: Vec::new(),
            follows: Follows::Primary,
            drained: false,
            former: Vec::new(),
            retired: false,
        });
        let me = Identity { member: "db1".to_owned(), boot_id: "boot".to_owned(), incarnation: "one".to_owned() };
        let settings = Settings { me, interfaces: vec!["eth0".to_owned()], policy, vips: vips.collect() };
        Self {
            bytes,
            node: Node::new(settings.clone(), now),
            now,
            etcd: Etcd::new(settings.vips.len()),
            told: Told::new(),
            header: Header::new(settings, now),
            passes: Vec::new(),
        }
    }

    fn happen(&mut self, event: u8) {
        match event % 16 {
            0 => self.timer(),
            1 => self.postgres(),
            2 => {
                if let Some(report) = self.etcd.answer(self.now) {
                    self.give(Input::Etcd(report));
                }
            }
            3 => {
                if let Some(report) = self.etcd.answer_otherwise(self.now, &mut self.bytes) {
                    self.give(Input::Etcd(report));
                }
            }
            4 => {
                self.etcd.change(&mut self.bytes);
                self.give(Input::Etcd(EtcdReport::Hint));
            }
            5 => self.now += Duration::from_millis(self.bytes.number() % 20_000),
            6 => {
                let address = self.address();
                self.give(Input::AddressAdded(address));
            }
            7 => {
                let address = self.address();
                self.give(Input::AddressRemoved(address));
            }
            8 => {
                let link = self.bytes.pick(&[None, Some((ETH0, false)), Some((ETH0 + 1, true)), Some((ETH0, true))]);
                self.give(link_input(link));
                let mut addresses: Vec<_> = (0..self.bytes.byte() % 4).map(|_| self.address()).collect();
                addresses.push(OWN);
                self.give(Input::Addresses(addresses));
            }
            9 => self.advert(),
            10 => self.rival(),
            11 => {
                let state = PatroniState { primary: self.bytes.is(), failsafe_active: self.bytes.is() };
                let answer = self.bytes.pick(&[Ok(state), Err("no answer".to_owned())]);
                self.give(Input::Patroni(PatroniReport { asked: self.now, answer }));
            }
            12 => self.unasked(),
            13 => {
                let outcome = self.outcome();
                self.give(Input::Done(vec![outcome]));
            }
            14 => self.give(Input::HandOver),
            _ => self.give(Input::Stop),
        }
    }

    /// The node is called when it wants to be, and does not want to be called without end.
    fn timer(&mut self) {
        self.now = self.now.max(self.node.deadline());
        for _ in 0..100 {
            self.give(Input::Timer);
            if self.node.deadline() > self.now {
                return;
            }
        }
        panic!("the deadline does not move: {:#?}", self.node.status(self.now));
    }

    fn postgres(&mut self) {
        let role = self.bytes.pick(&[Role::Primary, Role::Standby, Role::Down, Role::Unknown]);
        let answered = matches!(role, Role::Primary | Role::Standby);
        let server = self.bytes.pick(&["42", "43"]);
        let asked = self.now - Duration::from_millis(self.bytes.number());
        let system_identifier = answered.then(|| server.to_owned());
        self.give(Input::Postgres(RoleReport { asked, role, system_identifier, detail: format!("{role:?}") }));
    }

    fn advert(&mut self) {
        let advert = Advert {
            source: self.bytes.pick(&[Ipv4Addr::new(10, 0, 20, 12), ME, Ipv4Addr::UNSPECIFIED]).into(),
            destination: Ipv4Addr::new(224, 0, 0, 18).into(),
            vrid: Vrid::new(self.bytes.pick(&[155, 156, 1])).expect("it is not 0"),
            priority: self.bytes.byte(),
            interval: Interval::from_centis(self.bytes.number() as u16).unwrap_or(Interval::DEFAULT),
            addresses: VIPS.map(IpAddr::V4).to_vec(),
            checksum: self.bytes.pick(&[ChecksumForm::Rfc9568, ChecksumForm::Rfc5798]),
        };
        self.give(Input::Advert { interface: ETH0_ID, advert });
    }

    fn rival(&mut self) {
        let input = match self.bytes.byte() % 3 {
            0 => Input::Claim { interface: ETH0_ID, address: self.bytes.pick(&VIPS).into(), mac: [2, 0, 0, 0, 0, 9] },
            1 => discarded("checksum", None, None),
            _ => {
                let (virtual_router_id, priority) = (self.bytes.pick(&[155, 0]), self.bytes.byte());
                let version2 = Version2 { source: Ipv4Addr::BROADCAST, priority };
                discarded("version2", Some(virtual_router_id), Some(version2))
            }
        };
        self.give(input);
    }

    /// An answer of etcd's that nobody is waiting for, with any numbers.
    fn unasked(&mut self) {
        let vip = VipId(self.bytes.pick(&[0, 1, 7]));
        let lease = self.bytes.number() as i64;
        let ttl = self.bytes.number() as i64;
        let asked = self.now;
        let report = match self.bytes.byte() % 5 {
            0 => EtcdReport::Acquire {
                vip,
                outcome: Acquisition::Acquired {
                    asked,
                    lease,
                    ttl,
                    mod_revision: self.bytes.number() as i64,
                    cluster_id: None,
                },
            },
            1 => EtcdReport::Acquire { vip, outcome: Acquisition::Refused { lease } },
            2 => EtcdReport::Revoke { vip, lease, outcome: Ok(()) },
            3 => EtcdReport::Revoke { vip, lease, outcome: Err("no answer".to_owned()) },
            _ => EtcdReport::Round {
                kept: vec![Kept { vip, lease, asked, ttl }],
                observation: Err("no answer".to_owned()),
            },
        };
        self.give(Input::Etcd(report));
    }

    fn outcome(&mut self) -> Outcome {
        let (vip, at, error) = (VipId(self.bytes.pick(&[0, 1, 7])), self.now, "no".to_owned());
        match self.bytes.byte() % 8 {
            0 => Outcome::Late { vip, removed: self.bytes.is() },
            1 => Outcome::BindRefused { vip, error },
            2 => Outcome::UnbindFailed { vip, error },
            3 => Outcome::Unbound { vip, removed: 1, at },
            4 => Outcome::StraysRemoved { vip, removed: 1 },
            5 => Outcome::Connections { vip, count: Some(usize::from(self.bytes.byte())) },
            6 => Outcome::SendFailed { vip, error },
            _ => Outcome::Advertised { vip },
        }
    }

    fn address(&mut self) -> Address {
        let address: IpAddr = self.bytes.pick(&[VIPS[0], VIPS[1], ME, Ipv4Addr::LOCALHOST]).into();
        let link = self.bytes.pick(&[ETH0, 1]);
        let prefix_len = self.bytes.pick(&[32, 24]);
        let lifetime = self.bytes.pick(&[Some(3), None, Some(1), Some(u32::MAX - 1)]);
        Address { link, address, prefix_len, lifetime, tentative: false }
    }

    /// Gives one input, and then what came of its outputs, until there are none that anything comes of.
    fn give(&mut self, input: Input) {
        let mut input = Some(input);
        // Binds that come too late are tried again until the deadline, ten times a second.
        for _ in 0..1000 {
            let Some(given) = input.take() else { return };
            // No two things happen in the same nanosecond.
            self.now += Duration::from_nanos(1);
            let at = self.now;
            self.told.take(&given);
            let outputs = self.node.handle(at, given.clone());
            self.told.check(at, &outputs);
            let done = self.carry_out(&outputs);
            self.passes.push(Pass { at, input: given, outputs });
            input = (!done.is_empty()).then_some(Input::Done(done));
        }
        panic!("no end of what one input leads to: {:#?}", self.node.status(self.now));
    }

    fn carry_out(&mut self, outputs: &[Output]) -> Vec<Outcome> {
        let mut done: Vec<Outcome> = Vec::new();
        let mut failed = Vec::new();
        // Decided at the first output that can fail.
        let mut fate = None;
        for output in outputs {
            let Some(vip) = output.vip() else {
                if let Output::Etcd(request) = output {
                    self.etcd.asked.push_back(request.clone());
                }
                continue;
            };
            if failed.contains(&vip) {
                continue;
            }
            let fate = *fate.get_or_insert_with(|| self.bytes.byte());
            let (at, error) = (self.now, "no".to_owned());
            let outcome = match output {
                Output::Bind { .. } if fate & 3 == 1 => Outcome::BindRefused { vip, error },
                Output::Bind { not_after, .. } if fate & 3 >= 2 => {
                    self.now = self.now.max(*not_after + Duration::from_nanos(1));
                    Outcome::Late { vip, removed: fate & 3 == 3 }
                }
                Output::Bind { .. } => Outcome::Bound { vip, at },
                Output::Unbind { .. } if fate & 4 != 0 => Outcome::UnbindFailed { vip, error },
                Output::Unbind { .. } => Outcome::Unbound { vip, removed: 1, at },
                Output::UnbindStrays { .. } => Outcome::StraysRemoved { vip, removed: 1 },
                Output::Reset { .. } => Outcome::Reset { vip, destroyed: 0 },
                Output::CountConnections { .. } => Outcome::Connections { vip, count: Some(usize::from(fate >> 5)) },
                Output::DropSyns { .. } => Outcome::SynsDropped { vip, works: fate & 16 != 0 },
                Output::AcceptSyns { .. } => continue,
                Output::Tickle { count, .. } => {
                    Outcome::Tickled { vip, sent: *count, failed: 0, total: usize::from(fate >> 4) * 16 }
                }
                Output::Advertise { .. } | Output::Announce { .. } if fate & 8 != 0 => {
                    Outcome::SendFailed { vip, error }
                }
                Output::Advertise { .. } => Outcome::Advertised { vip },
                Output::Announce { .. } => Outcome::Announced { vip },
                Output::Etcd(_) | Output::AskPostgres { .. } | Output::AskPatroni { .. } | Output::Tell(_) => continue,
            };
            if let Outcome::BindRefused { .. } | Outcome::Late { .. } | Outcome::UnbindFailed { .. } = outcome {
                failed.push(vip);
            }
            done.push(outcome);
        }
        done
    }

    /// What came of it can be shown, and its recording leads to the same. The latter takes longer than all the rest, so not
    /// every history is recorded.
    fn end(self) {
        let status = self.node.status(self.now);
        assert!(serde_json::to_string(&status).is_ok());
        for passed in [Duration::ZERO, Duration::MAX / 4] {
            let text = render(&status.after(passed), Look { now: SystemTime::UNIX_EPOCH, colour: false });
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        }
        if !self.passes.len().is_multiple_of(8) {
            return;
        }
        let mut recording = serde_json::to_string(&self.header).expect("it is JSON");
        for pass in &self.passes {
            recording += "\n";
            recording += &serde_json::to_string(pass).expect("it is JSON");
        }
        let sum = replay(recording.as_bytes(), |_| ()).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!((sum.passes, sum.torn), (self.passes.len() as u64, 0));
    }
}

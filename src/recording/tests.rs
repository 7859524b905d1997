//! Recordings that are right, torn, wrong; and the writer that nobody waits for.

use std::net::Ipv4Addr;
use std::time::Duration;

use vrrp::time::Instant;
use vrrp::types::{Interval, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

use super::*;
use crate::gate::evidence::{
    Acquisition, EtcdReport, Kept, LeaderKey, LockHolder, LockKey, LockValue, Member, Observation, PatroniConfig,
    PatroniReport, PatroniState, Remaining, Role, RoleReport, VipId,
};
use crate::gate::policy::Policy;
use crate::node::io::{Address, Discarded, Link, Outcome, Version2};
use crate::node::{InterfaceId, Node};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 155);
const START: Instant = Instant::from_millis(60_000);

fn settings() -> Settings {
    crate::node::tests::world::settings(Policy::default())
}

fn own_address() -> Address {
    Address { link: 2, address: Ipv4Addr::new(10, 0, 20, 11).into(), prefix_len: 24, lifetime: None, tentative: false }
}

fn round(asked: Instant, revision: i64) -> EtcdReport {
    let value = LockValue {
        format: 1,
        member: "db2".to_owned(),
        boot_id: "other \"boot\"\n".to_owned(),
        incarnation: "two".to_owned(),
        epoch: i64::MAX,
    };
    let remaining = Some(Remaining { asked, ttl: u64::MAX });
    let observation = Observation {
        asked,
        endpoint: "http://10.0.20.13:2379".to_owned(),
        cluster_id: u64::MAX,
        revision,
        leader: Some(LeaderKey { member: "db1".to_owned(), create_revision: 60, lease: i64::MIN, remaining }),
        locks: vec![Some(LockKey { mod_revision: 70, lease: 5, holder: LockHolder::Known(value) }), None],
        config: Some(PatroniConfig::DEFAULT),
        system_identifier: Some("42".to_owned()),
        member: Some(Member {
            host: "db1".to_owned(),
            addresses: vec![Ipv4Addr::new(10, 0, 20, 11).into(), std::net::Ipv6Addr::LOCALHOST.into()],
            api_url: None,
        }),
        member_key: "/service/odoo/members/db1".to_owned(),
    };
    let kept = vec![Kept { vip: VipId(0), lease: 5, asked, ttl: -1 }];
    EtcdReport::Round { kept, observation: Ok(Box::new(observation)) }
}

fn role(asked: Instant, role: Role) -> Input {
    Input::Postgres(RoleReport { asked, role, system_identifier: Some("42".to_owned()), detail: "é".to_owned() })
}

/// Every kind of input, with numbers at the ends of their ranges.
fn inputs() -> Vec<Input> {
    let vip = VipId(0);
    let error = || "no".to_owned();
    let advert = Advert {
        source: Ipv4Addr::new(10, 0, 20, 12).into(),
        destination: Ipv4Addr::new(224, 0, 0, 18).into(),
        vrid: Vrid::new(155).unwrap(),
        priority: 255,
        interval: Interval::DEFAULT,
        addresses: vec![VIP.into()],
        checksum: ChecksumForm::Rfc5798,
    };
    let version2 = Version2 { source: VIP, priority: 0 };
    let etcd = [
        EtcdReport::Hint,
        round(START, 100),
        EtcdReport::Round { kept: Vec::new(), observation: Err(error()) },
        EtcdReport::Acquire {
            vip,
            outcome: Acquisition::Acquired { asked: START, lease: 7, ttl: 18, mod_revision: 101, cluster_id: Some(1) },
        },
        EtcdReport::Acquire { vip, outcome: Acquisition::Refused { lease: 7 } },
        EtcdReport::Acquire { vip, outcome: Acquisition::Failed { reason: error() } },
        EtcdReport::Acquire { vip, outcome: Acquisition::Unknown { lease: 7, reason: error() } },
        EtcdReport::Revoke { vip, lease: 7, outcome: Ok(()) },
        EtcdReport::Revoke { vip, lease: 7, outcome: Err(error()) },
    ];
    let outcomes = [
        Outcome::Bound { vip, at: START },
        Outcome::Late { vip, removed: true },
        Outcome::BindRefused { vip, error: error() },
        Outcome::Unbound { vip, removed: usize::MAX, at: START },
        Outcome::UnbindFailed { vip, error: error() },
        Outcome::StraysRemoved { vip, removed: 1 },
        Outcome::Reset { vip, destroyed: 2 },
        Outcome::Connections { vip, count: None },
        Outcome::Advertised { vip },
        Outcome::Announced { vip },
        Outcome::SendFailed { vip, error: error() },
    ];
    let state = PatroniState { primary: true, failsafe_active: false };
    let others = [
        Input::Link { interface: InterfaceId(0), link: Some(Link { index: 2, up: true, mtu: 1500, mac: None }) },
        Input::Addresses(vec![own_address()]),
        Input::Timer,
        Input::AddressAdded(Address { lifetime: Some(3), ..own_address() }),
        Input::AddressRemoved(Address { lifetime: Some(3), ..own_address() }),
        Input::Advert { interface: InterfaceId(0), advert },
        Input::Discarded(Discarded {
            interface: InterfaceId(0),
            reason: "checksum".into(),
            count: u64::MAX,
            virtual_router_id: None,
            version2: None,
        }),
        Input::Discarded(Discarded {
            interface: InterfaceId(0),
            reason: "of a later version".into(),
            count: 1,
            virtual_router_id: Some(155),
            version2: Some(version2),
        }),
        Input::Claim { interface: InterfaceId(0), address: VIP.into(), mac: [1, 2, 3, 4, 5, 255] },
        role(START, Role::Unknown),
        Input::Patroni(PatroniReport { asked: START, answer: Ok(state) }),
        Input::Patroni(PatroniReport { asked: START, answer: Err(error()) }),
        Input::HandOver,
        Input::Link { interface: InterfaceId(0), link: None },
        Input::Drain { vip, drained: true },
        Input::Drain { vip, drained: false },
        Input::Stop,
    ];
    let etcd = etcd.into_iter().map(Input::Etcd);
    others.into_iter().chain(etcd).chain([Input::Done(outcomes.into())]).collect()
}

/// A daemon's recording, and what it consists of.
fn recording() -> (String, Vec<Pass>) {
    let mut node = Node::new(settings(), START);
    let mut text = serde_json::to_string(&Header::new(settings(), START)).unwrap() + "\n";
    let mut passes = Vec::new();
    for (index, input) in inputs().into_iter().enumerate() {
        let at = START + Duration::from_millis(700) * u32::try_from(index).unwrap();
        let outputs = node.handle(at, input.clone());
        let pass = Pass { at, input, outputs };
        text += &(serde_json::to_string(&pass).unwrap() + "\n");
        passes.push(pass);
    }
    (text, passes)
}

fn read(text: &str) -> Result<Summary, Failure> {
    replay(text.as_bytes(), |_| {})
}

#[test]
fn every_kind_of_input_comes_back_as_it_was() {
    let (text, passes) = recording();
    let mut lines = text.lines().skip(1);
    for pass in &passes {
        let line = lines.next().unwrap();
        let back: Pass = serde_json::from_str(line).unwrap();
        assert_eq!(&back, pass);
        assert_eq!(serde_json::to_string(&back).unwrap(), line);
        assert!(!brief_input(&pass.input).is_empty());
    }
    let sum = read(&text).unwrap();
    assert_eq!((sum.passes, sum.starts, sum.torn, sum.overrun), (passes.len() as u64, 1, 0, false));
}

#[test]
fn every_prefix_is_a_recording() {
    let (text, _) = recording();
    let header = text.find('\n').unwrap();
    for end in header + 1..text.len() {
        if text.is_char_boundary(end) {
            let sum = read(&text[..end]).unwrap_or_else(|failure| panic!("{end}: {failure}"));
            let torn = !text[..end].ends_with('\n') && text.as_bytes()[end] != b'\n';
            assert_eq!(sum.torn, u64::from(torn), "{end}");
        }
    }
    // Of less than the first line nothing can be replayed.
    assert!(matches!(read(&text[..header - 1]), Err(Failure::Line { line: 1, .. })));
}

#[test]
fn the_next_daemon_goes_on_after_a_torn_line() {
    let (text, passes) = recording();
    let torn = &text[..text.len() - 5];
    let sum = read(&format!("{torn}\n{text}")).unwrap();
    assert_eq!((sum.passes, sum.starts, sum.torn), (2 * passes.len() as u64 - 1, 2, 1));
    // Nothing else goes on after one.
    let line = 1 + passes.len() as u64;
    let more = text.lines().next_back().unwrap();
    assert!(matches!(read(&format!("{torn}\n{more}\n")), Err(Failure::Line { line: at, .. }) if at == line));
}

#[test]
fn what_is_no_recording_is_refused() {
    assert!(matches!(read(""), Err(Failure::Empty)));
    let (text, _) = recording();
    for (wrong, at) in [("node = \"db1\"\n", 1), ("{}\n", 1), ("{\"at\":1}\n", 1), ("\n", 1)] {
        assert!(matches!(read(wrong), Err(Failure::Line { line, .. }) if line == at), "{wrong}");
    }
    let pass_first = text.lines().nth(1).unwrap();
    assert!(read(pass_first).unwrap_err().to_string().contains("does not begin with the start"));
    let header = text.lines().next().unwrap();
    assert!(matches!(read(&format!("{header}\nnonsense\n{text}")), Err(Failure::Line { line: 2, .. })));
    let other = read("{\"format\":2,\"version\":\"9.1\",\"more\":[]}\n").unwrap_err();
    assert!(
        matches!(other, Failure::Format { line: 1, format: 2, .. }) && other.to_string().contains("9.1"),
        "{other}"
    );
}

#[test]
fn the_first_difference_is_shown() {
    let (text, _) = recording();
    let before = read(&text).unwrap().passes;
    assert!(before > 4);
    // The first question to PostgreSQL, with another cadence than a node ever asks for.
    let changed = text.replacen("{\"every\":{\"secs\":1,\"nanos\":0}}", "{\"every\":{\"secs\":7,\"nanos\":0}}", 1);
    assert_ne!(changed, text);
    let failure = read(&changed).unwrap_err();
    let Failure::Differs(difference) = &failure else { panic!("{failure}") };
    assert_eq!(difference.line, 2);
    let said = failure.to_string();
    assert!(said.contains("recorded  AskPostgres { every: 7s }"), "{said}");
    assert!(said.contains("replayed  AskPostgres { every: 1s }"), "{said}");
    assert!(said.contains("input     interface 2 up"), "{said}");
}

#[cfg(feature = "daemon")]
mod recorder {
    use std::fs::{self, File};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::recording::recorder::Recorder;

    fn play(recorder: &mut Recorder, passes: u64) {
        recorder.begin(&settings(), START);
        let mut node = Node::new(settings(), START);
        for (index, input) in inputs().into_iter().cycle().take(passes as usize).enumerate() {
            recorder.handle(&mut node, START + Duration::from_millis(10) * index as u32, input);
        }
    }

    #[test]
    fn a_file_is_appended_to_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one.jsonl");
        for life in 1..=3 {
            let mut recorder = Recorder::open(&path).unwrap();
            play(&mut recorder, 40);
            drop(recorder);
            let text = fs::read_to_string(&path).unwrap();
            let sum = read(&text).unwrap();
            assert_eq!((sum.starts, sum.passes, sum.torn), (life, 40 * life - (life - 1), life - 1));
            // Half of the last line is lost in a kill.
            fs::write(&path, &text[..text.len() - 10]).unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn only_a_regular_file_will_do() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Recorder::open(dir.path()).unwrap_err().to_string().contains("no regular file"));
        assert!(Recorder::open(std::path::Path::new("/dev/null")).is_err());
        assert!(Recorder::open(&dir.path().join("no/where.jsonl")).is_err());
    }

    #[test]
    fn a_writer_that_falls_behind_ends_the_recording_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slow.jsonl");
        let mut recorder = Recorder::start(File::create(&path).unwrap(), 4).unwrap();
        play(&mut recorder, 10_000);
        drop(recorder);
        let sum = read(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(sum.overrun && sum.passes < 10_000, "{sum:?}");
    }

    #[test]
    fn a_file_that_cannot_be_written_ends_the_recording_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("full.jsonl");
        File::create(&path).unwrap();
        let mut recorder = Recorder::start(File::open(&path).unwrap(), 100).unwrap();
        for _ in 0..3 {
            play(&mut recorder, 40);
            std::thread::sleep(Duration::from_millis(30));
        }
        drop(recorder);
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    }

    /// What recording costs the protocol thread is printed: `cargo test --release --lib cost -- --nocapture`.
    #[test]
    fn cost_of_a_pass() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cost.jsonl");
        let now = crate::clock::now;
        let (mut plain, mut recorded, mut passes) = (Duration::ZERO, Duration::ZERO, 0_u32);
        let mut recorder = Recorder::open(&path).unwrap();
        recorder.begin(&settings(), START);
        let (mut one, mut other) = (Node::new(settings(), START), Node::new(settings(), START));
        let began = now();
        while passes < 10_000 {
            // A round and an answer of PostgreSQL's, as on a calm day; then a pause, for the writer, as there is none in it.
            for _ in 0..1000 {
                passes += 2;
                let at = START + Duration::from_millis(1) * passes;
                for input in [Input::Etcd(round(at, i64::from(passes))), role(at, Role::Standby)] {
                    let (a, b) = (input.clone(), input);
                    let t0 = now();
                    one.handle(at, a);
                    let t1 = now();
                    recorder.handle(&mut other, at, b);
                    (plain, recorded) = (plain + t1.since(t0), recorded + now().since(t1));
                }
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        drop(recorder);
        let took = now().since(began);
        let size = fs::metadata(&path).unwrap().len();
        let sum = replay(std::io::BufReader::new(File::open(&path).unwrap()), |_| {}).unwrap();
        assert_eq!((sum.passes, sum.overrun), (u64::from(passes), false));
        let pass = Pass { at: START, input: Input::Etcd(round(START, 1)), outputs: Vec::new() };
        let (began, mut text) = (now(), Vec::new());
        for _ in 0..passes {
            text.clear();
            serde_json::to_writer(&mut text, &pass).unwrap();
        }
        println!("the writer's part: {:?} for a round of etcd's", now().since(began) / passes);
        println!(
            "{passes} passes in {took:.1?}: {:?} each without, {:?} each with a recording; {} bytes a line",
            plain / passes,
            recorded / passes,
            size / u64::from(passes)
        );
    }
}

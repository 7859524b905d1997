//! What observers are shown of a daemon that has just started, and of its moves.

mod documented;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use vrrp::time::Instant;

use super::metrics::Format;
use super::text::Look;
use super::{control, health, metrics, text};
use crate::fields;
use crate::gate::evidence::Role;
use crate::gate::policy::Policy;
use crate::history::Keeper;
use crate::node::Node;
use crate::node::status::{
    ClientsStatus, DifferenceStatus, EtcdStatus, FailsafeStatus, Histogram, HookRun, HooksStatus, InterfaceStatus,
    ListStatus, LockStatus, Move, MoveKind, MovePhase, ObservedStatus, PatroniStatus, PeerStatus, PostgresStatus,
    RunningHook, Status,
};
use crate::node::tests::world::settings;

fn render(status: &Status) -> String {
    text::render(status, Look { now: SystemTime::UNIX_EPOCH + Duration::from_secs(86_400), colour: false })
}

fn picture() -> Status {
    let start = Instant::from_millis(1000);
    Node::new(settings(Policy::default()), start).status(start)
}

/// A picture of a protocol thread that is stuck must not look as if it had just been taken.
#[test]
fn a_picture_ages_until_the_next_is_published() {
    let mut status = picture();
    status.etcd.as_mut().unwrap().age = Some(Duration::from_millis(300));
    let later = status.after(Duration::from_secs(12));
    assert_eq!(
        (later.age, later.etcd.as_ref().unwrap().age),
        (Duration::from_secs(12), Some(Duration::from_millis(12_300)))
    );
    assert_eq!(later.postgres.as_ref().unwrap().age, None);
    assert!(later.vips[0].since >= Duration::from_secs(12));
    let text = render(&later);
    assert!(text.contains("STUCK: the protocol thread has not run for 12.0 s"), "{text}");
    assert!(!render(&status.after(Duration::from_millis(900))).contains("STUCK"));
}
#[test]
fn metrics_are_complete_and_each_family_is_named_once() {
    let mut status = picture();
    let mut bind = Histogram::default();
    bind.record(Duration::from_millis(2));
    bind.record(Duration::from_secs(100));
    status.vips[0].counters.phases.insert("bind", bind);
    status.counters.discards.insert("checksum".into(), 3);
    let text = metrics::render(Arc::new(status), Format::OpenMetrics).unwrap();
    let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let names: BTreeSet<_> = families.iter().filter_map(|family| family.split(' ').next()).collect();
    assert_eq!(names.len(), families.len(), "a family is named twice:\n{text}");
    assert!(names.iter().all(|name| name.starts_with("pgvrrp_") || name.starts_with("process_")));
    for line in [
        "pgvrrp_vip_held{vip=\"10.0.20.155\"} 0.0",
        "pgvrrp_gate_reason{vip=\"10.0.20.155\",reason=\"etcd_unasked\"} 1.0",
        "pgvrrp_packets_discarded_total{reason=\"checksum\"} 3.0",
        "pgvrrp_postgres_role{role=\"primary\"} 0.0",
        "pgvrrp_etcd_up 0.0",
        "pgvrrp_phase_duration_seconds_bucket{le=\"0.0025\",vip=\"10.0.20.155\",phase=\"bind\"} 1",
        "pgvrrp_phase_duration_seconds_bucket{le=\"+Inf\",vip=\"10.0.20.155\",phase=\"bind\"} 2",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("{}"), "{text}");
}

/// Prometheus asks for OpenMetrics before all others, and a person's curl for anything.
#[test]
fn openmetrics_is_for_those_who_ask_for_it() {
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.2";
    assert_eq!(Format::of(prometheus), Format::OpenMetrics);
    assert_eq!((Format::of("*/*"), Format::of("")), (Format::Classic, Format::Classic));
    let text = metrics::render(Arc::new(picture()), Format::Classic).unwrap();
    for line in
        ["# TYPE pgvrrp_etcd_errors_total counter", "# TYPE pgvrrp_vip_held gauge", "pgvrrp_etcd_errors_total 0.0"]
    {
        assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("# EOF"), "{text}");
}

#[test]
fn the_status_says_where_the_vip_is_and_why() {
    let text = render(&picture());
    for words in ["pgvrrp", "on db1", "10.0.20.155/32: not here", "has not answered yet", "eth0 does not exist"] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
}

/// What is in a key is somebody else's text.
#[test]
fn the_status_does_nothing_to_a_terminal() {
    let mut status = picture();
    let foreign = || "db1\u{1b}[2J\n10.0.20.155/32: HERE".to_owned();
    status.etcd.as_mut().unwrap().age = Some(Duration::ZERO);
    let etcd = status.etcd.as_mut().unwrap();
    (etcd.endpoint, etcd.leader, etcd.error) = (Some(String::new()), Some(foreign()), Some(foreign()));
    status.vips[0].lock.as_mut().unwrap().holder = Some(foreign());
    (status.vips[0].why, status.postgres.as_mut().unwrap().detail) = (foreign(), foreign());
    let text = render(&status);
    assert!(!text.contains('\u{1b}') && !text.contains("\n10.0.20.155/32: HERE"), "{text}");
}

#[test]
fn the_json_has_what_scripts_ask_for() {
    let json: Value = serde_json::from_str(&control::json(&picture())).unwrap();
    let vip = &json["vips"][0];
    assert_eq!(
        (&vip["held"], &vip["reason"], &vip["phase"]),
        (&false.into(), &"etcd_unasked".into(), &"closed".into())
    );
    assert_eq!(json["etcd"]["age"], Value::Null);
}

#[test]
fn a_daemon_without_evidence_is_not_ready() {
    let mut status = picture();
    status.taken = crate::clock::now().since(Instant::ZERO);
    assert!(health::not_ready(&status).is_some_and(|why| why.contains("eth0")));
    status.interfaces[0].index = Some(2);
    assert!(health::not_ready(&status).is_some_and(|why| why.contains("etcd")));
    status.etcd.as_mut().unwrap().age = Some(Duration::from_secs(1));
    assert!(health::not_ready(&status).is_some_and(|why| why.contains("PostgreSQL")));
    status.postgres.as_mut().unwrap().age = Some(Duration::from_secs(1));
    status.postgres.as_mut().unwrap().role = Some(Role::Standby);
    assert_eq!(health::not_ready(&status), None);
    status.taken -= Duration::from_secs(3);
    assert!(health::not_ready(&status).is_some_and(|why| why.contains("stuck")));
}

/// A picture in which everything is there that can be.
fn whole_picture() -> Status {
    let second = Some(Duration::from_secs(1));
    let mut status = picture();
    (status.config.refusal, status.config.refusal_age) = (Some(String::new()), second);
    status.etcd = Some(EtcdStatus {
        age: second,
        endpoint: Some(String::new()),
        error: Some(String::new()),
        leader: Some(String::new()),
        epoch: Some(1),
        patroni: Some(PatroniStatus::default()),
        system_identifier: Some(String::new()),
        ..EtcdStatus::default()
    });
    let system_identifier = Some(String::new());
    status.postgres =
        Some(PostgresStatus { age: second, role: Some(Role::Primary), system_identifier, ..Default::default() });
    status.failsafe = Some(FailsafeStatus { age: second, error: Some(String::new()), ..FailsafeStatus::default() });
    let address = IpAddr::from([10, 0, 20, 11]);
    status.interfaces = vec![InterfaceStatus { index: Some(2), sources: vec![address], ..InterfaceStatus::default() }];
    status.clients_trouble = Some(String::new());
    let vip = &mut status.vips[0];
    let holder = Some(String::new());
    vip.lock = Some(LockStatus {
        holder,
        waiting: second,
        ttl: second,
        deadline_in: second,
        proof_age: second,
        ..LockStatus::default()
    });
    vip.peers = vec![PeerStatus { age: second, ..PeerStatus::never_heard(address) }];
    let list = Some(ListStatus::default());
    vip.clients = Some(ClientsStatus { connected: Some(1), list, ..ClientsStatus::default() });
    let last = HookRun {
        hook: "on_active",
        state: "active",
        command: String::new(),
        result: "ok",
        exit_code: Some(0),
        took: Duration::ZERO,
        age: Duration::ZERO,
    };
    let running = RunningHook { hook: "on_change", age: Duration::ZERO };
    vip.hooks = Some(HooksStatus { running: Some(running), last: Some(last), ..HooksStatus::default() });
    let differences = vec![DifferenceStatus::default()];
    vip.observed = Some(ObservedStatus { heard: Some(address), differences, ..ObservedStatus::default() });
    let phases = vec![MovePhase { name: "bind", took: Duration::from_millis(1) }];
    vip.moves = vec![Move { kind: MoveKind::Gained, age: Duration::ZERO, reason: String::new(), phases }];
    status
}

#[test]
fn every_field_is_documented_and_nothing_else() {
    let maps = ["counters.discards", "counters.client_lists_refused"];
    let mut status = whole_picture();
    status.counters.discards.insert("checksum".into(), 1);
    status.counters.client_lists_refused.insert("stale".into(), 1);
    assert_eq!(fields::of(&status, &maps), fields::documented("field"));
}

#[test]
fn every_field_of_the_history_is_documented_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let history = Keeper::open(dir.path(), "", "db1", std::iter::once("10.0.20.155".to_owned()));
    let mut status = whole_picture();
    status.vips[0].counters.gained = 1;
    history.learn(&status);
    let json: Value = serde_json::from_str(&history.json()).unwrap();
    assert_eq!(fields::of(&json, &[]), fields::documented("field of the history"));
}

//! What observers are shown of a daemon that has just started, and of its moves.

mod documented;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use vrrp::time::Instant;

use super::metrics::Format;
use super::text::Look;
use super::{control, http, metrics, text};
use crate::gate::policy::Policy;
use crate::node::Node;
use crate::node::status::{Histogram, Status};
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
    let json: serde_json::Value = serde_json::from_str(&control::json(&picture())).unwrap();
    let vip = &json["vips"][0];
    assert_eq!(
        (&vip["held"], &vip["reason"], &vip["phase"]),
        (&false.into(), &"etcd_unasked".into(), &"closed".into())
    );
    assert_eq!(json["etcd"]["age"], serde_json::Value::Null);
}

#[test]
fn a_daemon_without_evidence_is_not_ready() {
    let mut status = picture();
    status.taken = crate::clock::now().since(Instant::ZERO);
    assert!(http::not_ready(&status).is_some_and(|why| why.contains("eth0")));
    status.interfaces[0].index = Some(2);
    assert!(http::not_ready(&status).is_some_and(|why| why.contains("etcd")));
    status.etcd.as_mut().unwrap().age = Some(Duration::from_secs(1));
    assert!(http::not_ready(&status).is_some_and(|why| why.contains("PostgreSQL")));
    status.postgres.as_mut().unwrap().age = Some(Duration::from_secs(1));
    status.postgres.as_mut().unwrap().role = Some(crate::gate::evidence::Role::Standby);
    assert_eq!(http::not_ready(&status), None);
    status.taken -= Duration::from_secs(3);
    assert!(http::not_ready(&status).is_some_and(|why| why.contains("stuck")));
}

//! `docs/METRICS.md` has every metric with its type and labels, and every value of a label that the program sets; and
//! nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;

use super::picture;
use crate::clients::Refusal;
use crate::gate::evidence::Role;
use crate::node::status::{
    ClientsStatus, EtcdStatus, FailsafeStatus, FollowsLabel, HooksStatus, InterfaceStatus, ListStatus, LockStatus,
    NodeCounters, ObservedStatus, PatroniStatus, PeerStatus, PhaseLabel, PostgresStatus, RouterLabel, Status,
    VipStatus,
};
use crate::observe::metrics::{self, Format};
use vrrp::wire::ipv4::Discard;

const PAGE: &str = include_str!("../../../docs/METRICS.md");

const AGE: Option<Duration> = Some(Duration::from_secs(1));

/// A node of which everything is known: no metric is absent.
fn full() -> Status {
    let base = picture();
    let lock = LockStatus {
        fence: "lock",
        holder: None,
        mine: true,
        waiting: AGE,
        ttl: AGE,
        deadline_in: AGE,
        proof_age: AGE,
    };
    let list = Some(ListStatus { from: String::new(), clients: 1, age: Duration::ZERO });
    let clients = ClientsStatus { connected: Some(1), lists_sent: 1, lists_received: 1, list };
    let never_heard = PeerStatus {
        address: [10, 0, 20, 12].into(),
        version: 3,
        priority: 0,
        interval: Duration::ZERO,
        age: AGE,
        adverts: 1,
        address_mismatch: false,
        interval_mismatch: false,
    };
    let following =
        VipStatus { lock: Some(lock), clients: Some(clients), peers: vec![never_heard], ..base.vips[0].clone() };
    let hooks = Some(HooksStatus { runs: [(("on_change", "ok"), 1)].into(), ..HooksStatus::default() });
    let observed = Some(ObservedStatus::default());
    let following = VipStatus { hooks, observed, ..following };
    let elected = VipStatus { name: "web".to_owned(), follows: FollowsLabel::None, ..base.vips[0].clone() };
    Status {
        version: base.version,
        node: base.node,
        taken: base.taken,
        age: base.age,
        uptime: base.uptime,
        observing: base.observing,
        stopping: base.stopping,
        config: base.config,
        etcd: Some(EtcdStatus { age: AGE, patroni: Some(PatroniStatus::default()), ..EtcdStatus::default() }),
        postgres: Some(PostgresStatus { age: AGE, ..PostgresStatus::default() }),
        failsafe: Some(FailsafeStatus { age: AGE, ..FailsafeStatus::default() }),
        interfaces: vec![InterfaceStatus { name: "eth0".to_owned(), ..InterfaceStatus::default() }],
        vips: vec![following, elected],
        clients_trouble: None,
        counters: NodeCounters {
            discards: [("ttl".into(), 1)].into(),
            client_lists_refused: [("old".into(), 1)].into(),
            ..NodeCounters::default()
        },
    }
}

/// Of each metric its type and its labels, in the order of their names.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

/// What is served.
fn served() -> Metrics {
    let text = metrics::render(Arc::new(full()), Format::Classic).unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let of = |(name, kind): (&str, &str)| {
        let bucket = format!("{name}_bucket");
        let series = text.lines().filter_map(|line| {
            let rest = [bucket.as_str(), name].into_iter().find_map(|name| line.strip_prefix(name))?;
            rest.starts_with(['{', ' ']).then_some(rest)
        });
        let mut labels = series.map(|rest| {
            let names = rest.split('"').step_by(2).filter_map(|part| part.trim_matches(['{', ',']).strip_suffix('='));
            names.filter(|name| *name != "le").map(ToOwned::to_owned).collect::<BTreeSet<_>>()
        });
        let first = labels.next().unwrap_or_else(|| panic!("a full picture has no series of {name}"));
        assert!(labels.all(|labels| labels == first), "the series of {name} have different labels");
        (name.to_owned(), (kind.to_owned(), first))
    };
    types.map(of).collect()
}

/// What stands between backquotes.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

/// The cells of a line of a table.
fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// What the page says of metrics: name, type, labels, meaning, absence, and what to look at.
fn documented() -> Metrics {
    let mut metrics = Metrics::new();
    for line in PAGE.lines().filter(|line| line.starts_with("| `pgvrrp_") || line.starts_with("| `process_")) {
        let [name, kind, labels, meaning, _absent, _look_at] = cells(line)[..] else { panic!("no six cells: {line}") };
        assert!(!meaning.is_empty(), "no meaning: {line}");
        let kind = kind.split(',').next().unwrap_or_default().to_owned();
        let name = name.trim_matches('`').to_owned();
        assert!(metrics.insert(name, (kind, quoted(labels))).is_none(), "it is there twice: {line}");
    }
    metrics
}

#[test]
fn every_metric_is_documented_and_every_documented_one_exists() {
    let (served, documented) = (served(), documented());
    let missing: Vec<_> = served.keys().filter(|name| !documented.contains_key(*name)).collect();
    let invented: Vec<_> = documented.keys().filter(|name| !served.contains_key(*name)).collect();
    assert!(missing.is_empty() && invented.is_empty(), "not documented: {missing:?}; not served: {invented:?}");
    for (name, is) in &served {
        assert_eq!(is, &documented[name], "{name}: what is served, and what docs/METRICS.md says");
    }
}

/// The values of a metric's label that the page has, without what is explained in parentheses.
fn values(label: &str, metric: &str) -> BTreeSet<String> {
    let begin = format!("| `{label}` | `{metric}` |");
    let line = PAGE.lines().find(|line| line.starts_with(&begin));
    let line = line.unwrap_or_else(|| panic!("docs/METRICS.md has no values of {label} for {metric}"));
    let text = cells(line)[2];
    let bare: String = text.split('(').map(|part| part.split_once(')').map_or(part, |(_, rest)| rest)).collect();
    quoted(&bare)
}

/// All of a kind, each found by the one before it: a new one does not compile without a place here.
fn all<T: Copy>(first: T, next: impl Fn(T) -> Option<T>, label: impl Fn(T) -> &'static str) -> BTreeSet<String> {
    successors(Some(first), |one| next(*one)).map(|one| label(one).to_owned()).collect()
}

fn phases() -> BTreeSet<String> {
    let next = |phase| match phase {
        PhaseLabel::Closed => Some(PhaseLabel::Adopting),
        PhaseLabel::Adopting => Some(PhaseLabel::Armed),
        PhaseLabel::Armed => Some(PhaseLabel::Displacing),
        PhaseLabel::Displacing => Some(PhaseLabel::Active),
        PhaseLabel::Active => Some(PhaseLabel::Draining),
        PhaseLabel::Draining => Some(PhaseLabel::Releasing),
        PhaseLabel::Releasing => None,
    };
    all(PhaseLabel::Closed, next, PhaseLabel::as_str)
}

fn states() -> BTreeSet<String> {
    let next = |state| match state {
        RouterLabel::Initialize => Some(RouterLabel::Backup),
        RouterLabel::Backup => Some(RouterLabel::Active),
        RouterLabel::Active => None,
    };
    all(RouterLabel::Initialize, next, RouterLabel::as_str)
}

fn roles() -> BTreeSet<String> {
    let next = |role| match role {
        Role::Primary => Some(Role::Standby),
        Role::Standby => Some(Role::Down),
        Role::Down => Some(Role::Unknown),
        Role::Unknown => None,
    };
    all(Role::Primary, next, Role::as_str)
}

fn refusals() -> BTreeSet<String> {
    let next = |refusal| match refusal {
        Refusal::Malformed => Some(Refusal::OtherLock),
        Refusal::OtherLock => Some(Refusal::Stranger),
        Refusal::Stranger => Some(Refusal::Forged),
        Refusal::Forged => Some(Refusal::OtherAddress),
        Refusal::OtherAddress => Some(Refusal::Old),
        Refusal::Old => None,
    };
    all(Refusal::Malformed, next, Refusal::label)
}

fn discards() -> BTreeSet<String> {
    let source = [10, 0, 20, 12].into();
    let next = |discard| match discard {
        Discard::Truncated => Some(Discard::NotIpv4),
        Discard::NotIpv4 => Some(Discard::NotIpv6),
        Discard::NotIpv6 => Some(Discard::Protocol(0)),
        Discard::Protocol(_) => Some(Discard::Ttl(1)),
        Discard::Ttl(_) => Some(Discard::Fragment),
        Discard::Fragment => Some(Discard::Version2 { source, vrid: 1, priority: 1 }),
        Discard::Version2 { .. } => Some(Discard::Version(1)),
        Discard::Version(_) => Some(Discard::Type(2)),
        Discard::Type(_) => Some(Discard::NoAddresses),
        Discard::NoAddresses => Some(Discard::Length { count: 1, bytes: 0, of: 4 }),
        Discard::Length { .. } => Some(Discard::Checksum),
        Discard::Checksum => Some(Discard::VridZero),
        Discard::VridZero => Some(Discard::IntervalZero),
        Discard::IntervalZero => Some(Discard::FirstAddress),
        Discard::FirstAddress => None,
    };
    let mut labels = all(Discard::Truncated, next, |discard| Discard::label(&discard));
    // Of advertisements that are as they should be, and not for this node.
    labels.extend(["own_address", "other_virtual_router", "not_a_peer"].map(ToOwned::to_owned));
    labels
}

#[test]
fn every_value_of_a_label_is_documented() {
    assert_eq!(values("phase", "pgvrrp_vip_phase"), phases());
    assert_eq!(values("state", "pgvrrp_vrrp_state"), states());
    assert_eq!(values("role", "pgvrrp_postgres_role"), roles());
    assert_eq!(values("reason", "pgvrrp_client_lists_refused_total"), refusals());
    assert_eq!(values("reason", "pgvrrp_packets_discarded_total"), discards());
    let text = metrics::render(Arc::new(full()), Format::Classic).unwrap();
    for (label, metric) in [
        ("phase", "pgvrrp_phase_duration_seconds"),
        ("direction", "pgvrrp_transitions_total"),
        ("direction", "pgvrrp_client_lists_total"),
        ("kind", "pgvrrp_conflicts_total"),
        ("kind", "pgvrrp_repairs_total"),
        ("kind", "pgvrrp_adverts_total"),
        ("follows", "pgvrrp_vip_info"),
    ] {
        let begin = format!("{label}=\"");
        let series = text.lines().filter(|line| line.starts_with(metric));
        let served = series.filter_map(|line| line.split(begin.as_str()).nth(1)?.split('"').next());
        let served: BTreeSet<_> = served.map(ToOwned::to_owned).collect();
        assert_eq!(values(label, metric), served, "{label} of {metric}");
    }
}

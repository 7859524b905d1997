//! What VIPs that follow the primary need: `fence`, `[patroni]`, `[etcd]`, `[postgres]`, `[policy]` and `[clients]`.

use std::path::Path;

use toml::Spanned;

use super::{etcd, path_part, postgres};
use crate::diagnose::{Report, Reported};
use crate::model::{Clients, Cluster, Failsafe, Fence, ForeignActive, Patroni, Paused, Policy, PostgresDown};
use crate::raw::Meaning::Is;
use crate::raw::Section;
use crate::schema;

const KEYS: [&str; 6] = ["fence", "patroni", "etcd", "postgres", "policy", "clients"];

/// Whether the VIPs need a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// One of them follows the primary.
    Yes,
    /// None does.
    No,
    /// What they follow is wrong in the file, which has been told.
    Unknown,
}

/// Without the need for one it must not be there: whoever wrote it believes that it is in effect.
pub(super) fn read(
    top: &Section<'_>,
    need: Need,
    base_dir: &Path,
    report: &mut Report,
) -> Result<Option<Cluster>, Reported> {
    // A slip in `follows` is no reason to miss or to refuse anything, but what is there is looked at.
    let is_there = |key: &&str| top.key_span(key).is_some() || top.told_of(key).is_err();
    match need {
        Need::No => refuse(top, report).map(|()| None),
        Need::Unknown if !KEYS.iter().any(is_there) => Ok(None),
        Need::Yes | Need::Unknown => cluster(top, base_dir, report).map(Some),
    }
}

fn refuse(top: &Section<'_>, report: &mut Report) -> Result<(), Reported> {
    let mut result = Ok(());
    for key in KEYS {
        let Some(span) = top.key_span(key) else { continue };
        let what = if key == "fence" { "`fence`".to_owned() } else { format!("[{key}]") };
        let help = "remove it, or write follows = \"primary\" in a [[vip]]";
        result = Err(report.add(span, format!("no [[vip]] follows the primary, so {what} means nothing"), help));
    }
    result
}

fn cluster(top: &Section<'_>, base_dir: &Path, report: &mut Report) -> Result<Cluster, Reported> {
    let fence = fence(top, report);
    let patroni = top.section("patroni", &schema::PATRONI, report).and_then(|section| patroni(&section, report));
    let etcd = top.section("etcd", &schema::ETCD, report).and_then(|section| etcd::read(&section, base_dir, report));
    let postgres = top.section("postgres", &schema::POSTGRES, report);
    let postgres = postgres.and_then(|section| postgres::read(&section, base_dir, report));
    let policy = top.section("policy", &schema::POLICY, report).and_then(|section| policy(&section, fence, report));
    let clients = top.section("clients", &schema::CLIENTS, report).and_then(|section| clients(&section, report));
    let (fence, patroni, etcd, postgres) = (fence?, patroni?, etcd?, postgres?);
    Ok(Cluster { fence, patroni, etcd, postgres, policy: policy?, clients: clients? })
}

fn fence(top: &Section<'_>, report: &mut Report) -> Result<Fence, Reported> {
    top.choice("fence", Fence::default(), [("lock", Is(Fence::Lock)), ("leader-key", Is(Fence::LeaderKey))], report)
}

fn patroni(section: &Section<'_>, report: &mut Report) -> Result<Patroni, Reported> {
    let namespace = namespace(section, report);
    let scope = section.required_text("scope", "\"odoo\"", report);
    let scope =
        scope.and_then(|scope| path_part("scope", &scope, "this is `scope` in Patroni's configuration", report));
    let group = section.integer("group", 0..=u32::MAX, "this is `citus.group` in Patroni's configuration", report);
    Ok(Patroni { namespace: namespace?, scope: scope?, group: group?.map(Spanned::into_inner) })
}

/// Patroni takes slashes off both ends and puts one in front, so "service", "/service" and "/service/" are the same.
fn namespace(section: &Section<'_>, report: &mut Report) -> Result<String, Reported> {
    const DEFAULT: &str = "/service";
    let Some(text) = section.text("namespace", "\"/service\"", report)? else { return Ok(DEFAULT.to_owned()) };
    let name = text.get_ref().trim_matches('/');
    let help = "this is `namespace` in Patroni's configuration; without it there, leave it out here too";
    if name.is_empty() {
        return Err(report.add(text.span(), "namespace must not be empty", help));
    }
    if name.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(report.add(text.span(), "namespace must not contain white space", help));
    }
    Ok(format!("/{name}"))
}

fn policy(section: &Section<'_>, fence: Result<Fence, Reported>, report: &mut Report) -> Result<Policy, Reported> {
    let Policy { postgres_down, paused, foreign_active, failsafe } = Policy::default();
    let postgres_down = section.choice(
        "postgres_down",
        postgres_down,
        [("release", Is(PostgresDown::Release)), ("hold", Is(PostgresDown::Hold))],
        report,
    );
    if let (Ok(PostgresDown::Hold), Ok(Fence::LeaderKey)) = (postgres_down, fence)
        && let Some(text) = section.text("postgres_down", "\"release\"", report)?
    {
        let message = "postgres_down = \"hold\" cannot be had with fence = \"leader-key\"";
        let help = "Patroni gives its leader key away when PostgreSQL is down, and the next primary would bind the VIP while it is \
                    still here: write \"release\", or fence = \"lock\"";
        return Err(report.add(text.span(), message, help));
    }
    let paused =
        section.choice("paused", paused, [("hold", Is(Paused::Hold)), ("release", Is(Paused::Release))], report);
    let foreign_active = section.choice(
        "foreign_active",
        foreign_active,
        [("advertise-first", Is(ForeignActive::AdvertiseFirst)), ("bind-at-once", Is(ForeignActive::BindAtOnce))],
        report,
    );
    let failsafe =
        section.choice("failsafe", failsafe, [("auto", Is(Failsafe::Auto)), ("drop", Is(Failsafe::Drop))], report);
    Ok(Policy { postgres_down: postgres_down?, paused: paused?, foreign_active: foreign_active?, failsafe: failsafe? })
}

fn clients(section: &Section<'_>, report: &mut Report) -> Result<Clients, Reported> {
    const PORT: u16 = 9155;
    let tell = section.boolean("tell", true, report);
    let help = format!("write port = {PORT}, which is the default, and the same on every node");
    let port = section.integer("port", 1..=u32::from(u16::MAX), &help, report);
    let services = section.integers("services", 1..=u32::from(u16::MAX), "[5432]", report);
    let port = port?.map_or(PORT, |port| to_port(*port.get_ref()));
    let mut ports: Vec<u16> = Vec::new();
    for service in services?.unwrap_or_default() {
        let port = to_port(*service.get_ref());
        if ports.contains(&port) {
            return Err(report.add(service.span(), format!("{port} stands twice in services"), "remove one of them"));
        }
        ports.push(port);
    }
    Ok(Clients { port: tell?.then_some(port), services: ports })
}

/// Of a number that is known to be one.
fn to_port(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

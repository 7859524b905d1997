//! From keys and values to the [`Config`]: what each value has to be, and how the values have to fit each other.
//!
//! Every part is read before any is missed, so that all mistakes are told at once: results are kept and looked into at
//! the end.

mod etcd;
mod postgres;
mod tls;
mod vip;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeTable;

use crate::diagnose::{Report, Reported};
use crate::model::{Config, Failsafe, Fence, ForeignActive, Http, LogLevel, Patroni, Paused, Policy, PostgresDown};
use crate::raw::Meaning::Is;
use crate::raw::Section;
use crate::schema;
use crate::secret::{self, Secret};

/// Reads the whole file. `Ok` is right only if nothing was reported.
pub(crate) fn config(document: &DeTable<'_>, base_dir: &Path, report: &mut Report) -> Result<Config, Reported> {
    let top = Section::top(document, report);
    let node = node(&top, report);
    let interface = interface(&top, report);
    let runtime_dir = runtime_dir(&top, report);
    let fence = fence(&top, report);
    let patroni = top.section("patroni", &schema::PATRONI, report).and_then(|section| patroni(&section, report));
    let etcd = top.section("etcd", &schema::ETCD, report).and_then(|section| etcd::read(&section, base_dir, report));
    let postgres = top.section("postgres", &schema::POSTGRES, report);
    let postgres = postgres.and_then(|section| postgres::read(&section, base_dir, report));
    let http = top.section("http", &schema::HTTP, report).and_then(|section| http(&section, report));
    let policy = top.section("policy", &schema::POLICY, report).and_then(|section| policy(&section, fence, report));
    let log_level = top.section("log", &schema::LOG, report).and_then(|section| log_level(&section, report));
    let vips = vip::read_all(&top, report);
    Ok(Config {
        node: node?,
        interface: interface?,
        runtime_dir: runtime_dir?,
        fence: fence?,
        patroni: patroni?,
        etcd: etcd?,
        postgres: postgres?,
        http: http?,
        policy: policy?,
        log_level: log_level?,
        vips: vips?,
    })
}

fn node(top: &Section<'_>, report: &mut Report) -> Result<String, Reported> {
    const EXAMPLE: &str = "\"db1\"";
    let node = top.required_text("node", EXAMPLE, report)?;
    path_part("node", &node, "this is the member name, `name` in Patroni's configuration", report)
}

/// A part of an etcd key's path. Patroni would accept more, and then look for its keys elsewhere.
fn path_part(key: &str, text: &Spanned<&str>, help: &str, report: &mut Report) -> Result<String, Reported> {
    let problem = match *text.get_ref() {
        "" => "must not be empty",
        text if text.contains('/') => "must not contain a slash",
        text if text.contains(|c: char| c.is_control() || c.is_whitespace()) => "must not contain white space",
        text => return Ok(text.to_owned()),
    };
    Err(report.add(text.span(), format!("{key} {problem}"), help))
}

fn interface(top: &Section<'_>, report: &mut Report) -> Result<String, Reported> {
    let interface = top.required_text("interface", "\"eth0\"", report)?;
    // As the kernel checks it: net/core/dev.c, dev_valid_name().
    let problem = match *interface.get_ref() {
        "" => "must not be empty",
        "." | ".." => "must be the name of a network interface",
        name if name.len() > 15 => "must have at most 15 bytes",
        name if name.contains(['/', ':']) => "must not contain a slash or a colon",
        name if name.contains(|c: char| c.is_control() || c.is_whitespace()) => "must not contain white space",
        name => return Ok(name.to_owned()),
    };
    Err(report.add(interface.span(), format!("interface {problem}"), "`ip -brief link` lists the names"))
}

fn runtime_dir(top: &Section<'_>, report: &mut Report) -> Result<PathBuf, Reported> {
    const DEFAULT: &str = "/run/pgvrrp";
    let Some(text) = top.text("runtime_dir", "\"/run/pgvrrp\"", report)? else { return Ok(PathBuf::from(DEFAULT)) };
    let path = Path::new(*text.get_ref());
    if path.is_absolute() && !text.get_ref().contains('\0') {
        return Ok(path.to_owned());
    }
    let help = format!("the default is \"{DEFAULT}\"; two daemons that share a file system need two directories");
    Err(report.add(text.span(), "runtime_dir must be an absolute path", help))
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

fn http(section: &Section<'_>, report: &mut Report) -> Result<Http, Reported> {
    const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 9155);
    let Some(text) = section.text("listen", "\"[::]:9155\"", report)? else {
        return Ok(Http { listen: Some(DEFAULT) });
    };
    if *text.get_ref() == "off" {
        return Ok(Http { listen: None });
    }
    match text.get_ref().parse() {
        Ok(address) => Ok(Http { listen: Some(address) }),
        Err(_) => {
            let help = "write \"[::]:9155\" for every address, \"127.0.0.1:9155\" for this host only, or \"off\"";
            Err(report.add(text.span(), "listen must be an IP address and a port", help))
        }
    }
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

fn log_level(section: &Section<'_>, report: &mut Report) -> Result<LogLevel, Reported> {
    let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
    section.choice("level", LogLevel::default(), levels.map(|level| (level.as_str(), Is(level))), report)
}

/// The password in the file that `password_file` names, if it is there.
fn password(section: &Section<'_>, base_dir: &Path, report: &mut Report) -> Result<Option<Secret>, Reported> {
    let Some(text) = section.text("password_file", "\"/etc/pgvrrp/password\"", report)? else { return Ok(None) };
    if text.get_ref().is_empty() {
        return Err(report.add(text.span(), "password_file must not be empty", "write a path, or remove the key"));
    }
    match secret::read(&base_dir.join(text.get_ref())) {
        Ok(secret) => Ok(Some(secret)),
        Err(unusable) => Err(report.add(text.span(), unusable.message, unusable.help)),
    }
}

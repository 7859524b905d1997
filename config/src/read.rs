//! From keys and values to the [`Config`]: what each value has to be, and how the values have to fit each other.
//!
//! Every part is read before any is missed, so that all mistakes are told at once: results are kept and looked into at
//! the end.

mod cluster;
mod etcd;
mod hooks;
mod postgres;
mod tls;
mod vip;

pub(crate) use self::vip::link_local_of;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeTable;

use crate::diagnose::{Report, Reported};
use crate::model::{Config, Http, Log, LogFormat, LogLevel};
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
    let hooks = hooks::read_all(&top, report);
    // What is wrong with them has been told; it is no VIP's mistake.
    let common = hooks.as_ref().map(|(hooks, _)| hooks.clone()).unwrap_or_default();
    let vips = vip::read_all(&top, interface.as_deref().ok(), &common, report);
    let cluster = cluster::read(&top, vips.need, base_dir, report);
    let http = top.section("http", &schema::HTTP, report).and_then(|section| http(&section, report));
    let log = top.section("log", &schema::LOG, report).and_then(|section| log(&section, report));
    Ok(Config {
        node: node?,
        interface: interface?,
        runtime_dir: runtime_dir?,
        cluster: cluster?,
        http: http?,
        log: log?,
        hook_timeout: hooks?.1,
        vips: vips.list?,
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
    link_name("interface", &interface, report)
}

/// The name of a network interface, as the kernel checks it: net/core/dev.c, dev_valid_name().
fn link_name(key: &str, text: &Spanned<&str>, report: &mut Report) -> Result<String, Reported> {
    let problem = match *text.get_ref() {
        "" => "must not be empty",
        "." | ".." => "must be the name of a network interface",
        name if name.len() > 15 => "must have at most 15 bytes",
        name if name.contains(['/', ':']) => "must not contain a slash or a colon",
        name if name.contains(|c: char| c.is_control() || c.is_whitespace()) => "must not contain white space",
        name => return Ok(name.to_owned()),
    };
    Err(report.add(text.span(), format!("{key} {problem}"), "`ip -brief link` lists the names"))
}

/// The default of `runtime_dir`.
pub(crate) const RUNTIME_DIR: &str = "/run/pgvrrp";

fn runtime_dir(top: &Section<'_>, report: &mut Report) -> Result<PathBuf, Reported> {
    let Some(text) = top.text("runtime_dir", "\"/run/pgvrrp\"", report)? else { return Ok(PathBuf::from(RUNTIME_DIR)) };
    let path = Path::new(*text.get_ref());
    if path.is_absolute() && !text.get_ref().contains('\0') {
        return Ok(path.to_owned());
    }
    let help = format!("the default is \"{RUNTIME_DIR}\"; two daemons that share a file system need two directories");
    Err(report.add(text.span(), "runtime_dir must be an absolute path", help))
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

fn log(section: &Section<'_>, report: &mut Report) -> Result<Log, Reported> {
    let levels = LogLevel::ALL.map(|level| (level.as_str(), Is(level)));
    let level = section.choice("level", LogLevel::default(), levels, report);
    let formats = LogFormat::ALL.map(|format| (format.as_str(), Is(format)));
    let format = section.choice("format", LogFormat::default(), formats, report);
    Ok(Log { level: level?, format: format? })
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

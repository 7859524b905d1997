//! `[postgres]`.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use toml::Spanned;

use super::password;
use crate::diagnose::{Report, Reported};
use crate::mask::may_hold_secret;
use crate::model::Postgres;
use crate::raw::Section;

const DEFAULT: &str = "host=/var/run/postgresql user=pgvrrp dbname=postgres";

pub(super) fn read(section: &Section<'_>, base_dir: &Path, report: &mut Report) -> Result<Postgres, Reported> {
    let connection = connection(section, report);
    let password = password(section, base_dir, report);
    let range = Duration::from_millis(50)..=Duration::from_secs(5);
    let timeout = section.duration("timeout", Duration::from_millis(500), &range, report);
    Ok(Postgres { connection: connection?, password: password?, timeout: timeout? })
}

fn connection(section: &Section<'_>, report: &mut Report) -> Result<String, Reported> {
    let example = format!("\"{DEFAULT}\"");
    let Some(text) = section.text("connection", &example, report)? else { return Ok(DEFAULT.to_owned()) };
    check(&text).map_err(|(message, help)| report.add(text.span(), message, help))?;
    Ok(text.into_inner().to_owned())
}

/// What is wrong with a connection string, and what to do. The words of tokio-postgres are repeated only for a string
/// that holds no password, since they may quote parts of it.
fn check(text: &Spanned<&str>) -> Result<(), (String, String)> {
    let refuse = |message: &str, help: &str| Err((message.to_owned(), help.to_owned()));
    let local = "ask the PostgreSQL of this host, and no other: host=/var/run/postgresql";
    let no_password = "let pg_hba.conf trust the system user (method `peer`), or put the password into a file and name \
                       that: password_file = \"postgres.password\"";
    if text.get_ref().trim().is_empty() {
        return refuse("connection must not be empty", &format!("the default is \"{DEFAULT}\""));
    }
    let config = match text.get_ref().parse::<tokio_postgres::Config>() {
        Ok(config) if config.get_password().is_none() => config,
        Ok(_) => return refuse("connection must not hold a password", no_password),
        Err(_) if may_hold_secret(text.get_ref()) => return refuse("connection must not hold a password", no_password),
        Err(error) => {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            return refuse(&format!("connection is not understood: {cause}"), &format!("the default is \"{DEFAULT}\""));
        }
    };
    if matches!(config.get_ssl_mode(), SslMode::Require) {
        return refuse("TLS to PostgreSQL is not available in this version", "remove sslmode, and use the Unix socket");
    }
    if config.get_target_session_attrs() != TargetSessionAttrs::Any {
        let help = "remove it: the question is which role the server has, whichever that is";
        return refuse("connection must not ask for a role by target_session_attrs", help);
    }
    let addresses = config.get_hostaddrs();
    match config.get_hosts() {
        [] if addresses.is_empty() => refuse("connection names no host", local),
        [_, _, ..] => refuse("connection must name one host", local),
        _ if addresses.len() > 1 => refuse("connection must name one host", local),
        // Another host's role would open the gate on this one.
        hosts if !hosts.iter().all(is_here) || !addresses.iter().all(IpAddr::is_loopback) => {
            refuse("connection must lead to a Unix socket or a loopback address", local)
        }
        _ => Ok(()),
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(path) => path.is_absolute() || path.as_os_str().as_encoded_bytes().starts_with(b"@"),
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
    }
}

//! `[postgres]`.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode as ConnectionSslMode, TargetSessionAttrs};

use super::{password, tls};
use crate::diagnose::{Report, Reported};
use crate::mask::may_hold_secret;
use crate::model::{Postgres, SslMode};
use crate::raw::Meaning::Is;
use crate::raw::Section;
use crate::tls::Tls;

const DEFAULT: &str = "host=/var/run/postgresql user=pgvrrp dbname=postgres";

pub(super) fn read(section: &Section<'_>, base_dir: &Path, report: &mut Report) -> Result<Postgres, Reported> {
    let connection = connection(section, report);
    let tls = tls(section, connection.as_ref().map(|(_, config)| config), base_dir, report);
    let password = password(section, base_dir, report);
    let range = Duration::from_millis(50)..=Duration::from_secs(5);
    let timeout = section.duration("timeout", Duration::from_millis(500), &range, report);
    let (connection, (ssl_mode, tls)) = (connection?.0, tls?);
    Ok(Postgres { connection, ssl_mode, tls, password: password?, timeout: timeout? })
}

/// The text, and what it says.
fn connection(section: &Section<'_>, report: &mut Report) -> Result<(String, Config), Reported> {
    let example = format!("\"{DEFAULT}\"");
    let text = section.text("connection", &example, report)?;
    let (text, span) = text.map_or((DEFAULT, None), |text| (*text.get_ref(), Some(text.span())));
    match check(text) {
        Ok(config) => Ok((text.to_owned(), config)),
        Err((message, help)) => Err(report.add(span.unwrap_or_default(), message, help)),
    }
}

/// How much TLS there is to be, and the files for it. `connection` is not known if it is wrong.
fn tls(
    section: &Section<'_>,
    connection: Result<&Config, &Reported>,
    base_dir: &Path,
    report: &mut Report,
) -> Result<(SslMode, Tls), Reported> {
    use SslMode::{Disable, Prefer, Require, VerifyCa, VerifyFull};
    let modes = [Disable, Prefer, Require, VerifyCa, VerifyFull];
    let of_connection = match connection.map(Config::get_ssl_mode) {
        Ok(ConnectionSslMode::Disable) => Disable,
        Ok(ConnectionSslMode::Require) => Require,
        _ => Prefer,
    };
    let mode = section.choice("sslmode", of_connection, modes.map(|mode| (mode.as_str(), Is(mode))), report);
    let tls = tls::read(section, base_dir, report);
    let (mode, tls) = (mode?, tls?);
    let Ok(connection) = connection else { return Ok((mode, tls)) };
    // Where to point at what `sslmode` says, wherever that stands.
    let place = || section.value_span("sslmode").or_else(|| section.value_span("connection")).unwrap_or_default();
    let file = tls::KEYS.iter().find_map(|key| Some((*key, section.key_span(key)?)));
    if section.key_span("sslmode").is_some() && of_connection != Prefer {
        let help = "remove the one in `connection`";
        return Err(report.add(place(), "sslmode stands in `connection` as well", help));
    }
    if by_socket(connection) {
        let help = "a Unix socket has no TLS, and needs none: remove it, or host=localhost in `connection`";
        if let Some((key, span)) = file {
            return Err(report.add(span, format!("{key}, and `connection` leads to a Unix socket"), help));
        }
        if !matches!(mode, Disable | Prefer) {
            let message = format!("sslmode = \"{}\", and `connection` leads to a Unix socket", mode.as_str());
            return Err(report.add(place(), message, help));
        }
    }
    match file {
        Some((key, span)) if mode == Disable => {
            let help = format!("remove {key}, or write sslmode = \"verify-full\"");
            Err(report.add(span, format!("{key}, and sslmode is \"disable\""), help))
        }
        _ if mode.verifies() && tls.ca_file.is_none() => {
            let help =
                "add ca_file = \"/etc/pgvrrp/postgres-ca.pem\", the authority that has signed the server's certificate";
            Err(report.add(place(), format!("sslmode = \"{}\" without ca_file", mode.as_str()), help))
        }
        _ if !mode.verifies() && tls.ca_file.is_some() => {
            let span = section.key_span("ca_file").unwrap_or_default();
            let help = "write sslmode = \"verify-full\", or \"verify-ca\" where the certificate is for another name";
            let message = format!("ca_file, and sslmode = \"{}\" looks at no certificate", mode.as_str());
            Err(report.add(span, message, help))
        }
        _ => Ok((mode, tls)),
    }
}

/// Whether the connection is by a Unix socket, as it is where an address is not given too.
fn by_socket(connection: &Config) -> bool {
    connection.get_hostaddrs().is_empty() && matches!(connection.get_hosts(), [Host::Unix(_)])
}

/// What the connection string says, or what is wrong with it, and what to do. The words of tokio-postgres are repeated only
/// for a string that holds no password, since they may quote parts of it.
fn check(text: &str) -> Result<Config, (String, String)> {
    let refuse = |message: &str, help: &str| Err((message.to_owned(), help.to_owned()));
    let local = "ask the PostgreSQL of this host, and no other: host=/var/run/postgresql";
    let no_password = "let pg_hba.conf trust the system user (method `peer`), or put the password into a file and name \
                       that: password_file = \"postgres.password\"";
    if text.trim().is_empty() {
        return refuse("connection must not be empty", &format!("the default is \"{DEFAULT}\""));
    }
    let config = match text.parse::<Config>() {
        Ok(config) if config.get_password().is_none() => config,
        Ok(_) => return refuse("connection must not hold a password", no_password),
        Err(_) if may_hold_secret(text) => return refuse("connection must not hold a password", no_password),
        Err(error) => {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            let help = if ["sslrootcert", "sslcert", "sslkey"].iter().any(|word| text.contains(word)) {
                "the files have keys of their own below `connection`: ca_file, cert_file and key_file".to_owned()
            } else if text.contains("sslmode") {
                "it has a key of its own below `connection`: sslmode = \"verify-full\"".to_owned()
            } else {
                format!("the default is \"{DEFAULT}\"")
            };
            return refuse(&format!("connection is not understood: {cause}"), &help);
        }
    };
    if config.get_target_session_attrs() != TargetSessionAttrs::Any {
        let help = "remove it: the question is which role the server has, whichever that is";
        return refuse("connection must not ask for a role by target_session_attrs", help);
    }
    let addresses = config.get_hostaddrs();
    match config.get_hosts() {
        [] if addresses.is_empty() => refuse("connection names no host", local),
        [_, _, ..] => refuse("connection must name one host", local),
        _ if addresses.len() > 1 => refuse("connection must name one host", local),
        // Another host's role would open the gate on this one. By an address the host is no more than a name: the one for
        // which the server's certificate has to be.
        hosts if addresses.is_empty() && !hosts.iter().all(is_here) || !addresses.iter().all(IpAddr::is_loopback) => {
            refuse("connection must lead to a Unix socket or a loopback address", local)
        }
        _ => Ok(config),
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(path) => path.is_absolute() || path.as_os_str().as_encoded_bytes().starts_with(b"@"),
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
    }
}

//! `[etcd]`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use super::{password, tls};
use crate::diagnose::{Report, Reported, Span};
use crate::model::Etcd;
use crate::raw::Section;
use crate::tls::Tls;

const EXAMPLE: &str = "[\"http://10.0.20.13:2379\"]";

const CA_FILE: &str = "\"/etc/pgvrrp/etcd-ca.pem\"";

/// What stands in front of the endpoints with TLS.
const TLS: &str = "https://";

pub(super) fn read(section: &Section<'_>, base_dir: &Path, report: &mut Report) -> Result<Etcd, Reported> {
    let endpoints = endpoints(section, report);
    let tls = tls(section, endpoints.as_deref(), base_dir, report);
    let username = section.text("username", "\"pgvrrp\"", report);
    let password = password(section, base_dir, report);
    let pair = pair(section, report);
    let range = Duration::from_millis(100)..=Duration::from_secs(5);
    let request_timeout = section.duration("request_timeout", Duration::from_secs(1), &range, report);
    let username = match username? {
        Some(name) if name.get_ref().is_empty() => {
            let help = "write the etcd user's name, or remove the key";
            return Err(report.add(name.span(), "username must not be empty", help));
        }
        username => username.map(|name| name.into_inner().to_owned()),
    };
    pair?;
    Ok(Etcd {
        endpoints: endpoints?.into_iter().map(|(url, _)| url).collect(),
        tls: tls?,
        username,
        password: password?,
        request_timeout: request_timeout?,
    })
}

/// What TLS needs, if the endpoints have it. There are none that are known if they are wrong.
fn tls(
    section: &Section<'_>,
    endpoints: Result<&[(String, Span)], &Reported>,
    base_dir: &Path,
    report: &mut Report,
) -> Result<Option<Tls>, Reported> {
    let tls = tls::read(section, base_dir, report);
    let Ok(endpoints) = endpoints else { return tls.map(Some) };
    let Some((_, secure)) = endpoints.iter().find(|(url, _)| url.starts_with(TLS)) else {
        let Some((key, span)) = tls::KEYS.iter().find_map(|key| Some((key, section.key_span(key)?))) else {
            return tls.map(|_| None);
        };
        let help = format!("write {TLS} in front of the endpoints, if etcd has TLS; otherwise remove {key}");
        return Err(report.add(span, format!("{key} without an {TLS} endpoint"), help));
    };
    if let Some((_, plain)) = endpoints.iter().find(|(url, _)| !url.starts_with(TLS)) {
        let note = ("one with TLS is", secure.clone());
        let help = format!("write {TLS} in front of all of them: what is not sent to one in clear text is to no other");
        return Err(report.add_with_note(plain.clone(), "some endpoints have TLS and others have not", note, help));
    }
    if section.key_span("ca_file").is_none() {
        section.told_of("ca_file")?;
        let help = format!(
            "add ca_file = {CA_FILE}, the authority that has signed etcd's certificates; for one that everybody knows that \
             is the system's collection, such as /etc/ssl/certs/ca-certificates.crt"
        );
        return Err(report.add(secure.clone(), format!("{TLS} without ca_file"), help));
    }
    tls.map(Some)
}

/// etcd knows users by both or nobody by neither.
fn pair(section: &Section<'_>, report: &mut Report) -> Result<(), Reported> {
    match (section.key_span("username"), section.key_span("password_file")) {
        (Some(span), None) => {
            let help = "add password_file = \"/etc/pgvrrp/etcd.password\", or remove the user";
            Err(report.add(span, "username without password_file", help))
        }
        (None, Some(span)) => {
            Err(report.add(span, "password_file without username", "add username = \"pgvrrp\", or remove the file"))
        }
        _ => Ok(()),
    }
}

/// With the place of each.
fn endpoints(section: &Section<'_>, report: &mut Report) -> Result<Vec<(String, Span)>, Reported> {
    let list = section.required_texts("endpoints", EXAMPLE, report)?;
    if list.get_ref().is_empty() {
        return Err(report.add(list.span(), "endpoints must not be empty", format!("write endpoints = {EXAMPLE}")));
    }
    let mut known: Vec<(String, Span)> = Vec::new();
    let mut result = Ok(());
    for text in list.get_ref() {
        match endpoint(text, report) {
            Ok(url) => {
                if let Some((_, first)) = known.iter().find(|(known, _)| *known == url) {
                    let note = ("the first one is", first.clone());
                    let help = "name each etcd member once";
                    result = Err(report.add_with_note(text.span(), "the same endpoint twice", note, help));
                } else {
                    known.push((url, text.span()));
                }
            }
            Err(reported) => result = Err(reported),
        }
    }
    result.map(|()| known)
}

/// `http://host:port` or `https://host:port`, in one spelling. No message quotes the text: it may hold a password.
fn endpoint(text: &Spanned<&str>, report: &mut Report) -> Result<String, Reported> {
    let mut refuse = |message: &str, help: &str| report.add(text.span(), message, help);
    let url = text.get_ref().trim_end_matches('/');
    let lower = url.to_ascii_lowercase();
    let with_scheme = ["http://", TLS].into_iter().find_map(|scheme| Some((scheme, lower.strip_prefix(scheme)?)));
    let Some((scheme, authority)) = with_scheme else {
        let host = lower.rsplit("://").next().unwrap_or_default();
        let help = match host {
            // What may be a user and a password is not repeated.
            host if host.is_empty() || host.contains('@') => "write http://host:2379".to_owned(),
            host if host.contains(':') => format!("write http://{host}"),
            host => format!("write http://{host}:2379"),
        };
        return Err(refuse("an endpoint must begin with http:// or https://", &help));
    };
    if authority.contains('@') {
        return Err(refuse(
            "an endpoint must not hold a user or a password",
            "they belong into `username` and `password_file`",
        ));
    }
    if authority.contains(['/', '?', '#']) {
        return Err(refuse("an endpoint has no path", &format!("write {scheme}host:port and nothing behind it")));
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            if !port.parse::<u16>().is_ok_and(|port| port != 0) {
                return Err(refuse("the port of an endpoint must be 1 to 65535", "etcd's is 2379 unless configured"));
            }
            host
        }
        _ => {
            return Err(refuse("an endpoint must name a port", &format!("write {scheme}{authority}:2379")));
        }
    };
    if !is_host(host) {
        let help = "write a name, an IPv4 address, or an IPv6 address in brackets, such as http://[fd00::13]:2379";
        return Err(refuse("the host of an endpoint must be a name or an address", help));
    }
    Ok(format!("{scheme}{authority}"))
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    // Digits and dots are meant as an address; a resolver would look for the name 10.0.20.300.
    if host.contains(|c: char| c.is_ascii_digit()) && host.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(is_label)
}

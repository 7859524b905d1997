//! What pgvrrp takes, and how its configuration is written: strings, lists, and the question whether all of it is right.

use std::path::Path;

use crate::model::Config;

pub(super) fn is_accepted(toml: &str) -> bool {
    refusal(toml).is_none()
}

/// The first thing that is wrong with it, or `None` if nothing is.
pub(super) fn refusal(toml: &str) -> Option<String> {
    let problems = Config::parse(Path::new("pgvrrp.toml"), toml, Path::new("/etc/pgvrrp")).err()?.to_string();
    let first = problems.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default();
    Some(first.to_owned())
}

/// A configuration that is right if these are. `tables` are those of a cluster, or others in front of the VIP.
pub(super) fn probe(node: &str, interface: &str, tables: &str) -> String {
    let follows = if tables.contains("[patroni]") { "primary" } else { "none" };
    format!(
        "node = {}\ninterface = {}\n{tables}\n[[vip]]\naddress = \"192.0.2.1\"\nvirtual_router_id = 1\nfollows = \"{follows}\"\n",
        quoted(node),
        quoted(interface)
    )
}

pub(super) fn list(texts: &[String]) -> String {
    texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")
}

/// A basic string of TOML's, on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            c if c.is_control() => out += &format!("\\u{:04X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}

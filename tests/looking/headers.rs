//! What goes with each answer by HTTP.

use anyhow::ensure;

use crate::stage::play;

/// The values of a header; its name in small letters.
fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

#[test]
fn nothing_is_offered_to_other_sites() {
    play(|stage| {
        stage.start()?;
        for path in ["/", "/status", "/history", "/metrics", "/healthz", "/readyz", "/nothing"] {
            let (head, _) = stage.get(path)?;
            ensure!(!head.to_lowercase().contains("access-control"), "{path}: {head}");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("cache-control", "no-store"),
                ("referrer-policy", "no-referrer"),
                ("cross-origin-resource-policy", "same-origin"),
            ] {
                ensure!(values(&head, name) == [value], "{path}: {name}: {head}");
            }
        }
        let (head, body) = stage.get("/")?;
        let policies = values(&head, "content-security-policy");
        ensure!(policies.len() == 1 && policies[0].starts_with("default-src 'none'; script-src 'sha256-"), "{head}");
        ensure!(!policies[0].contains("unsafe"), "{head}");
        ensure!(head.starts_with("HTTP/1.1 200") && body.starts_with("<!doctype html>"), "{head}");
        Ok(())
    });
}

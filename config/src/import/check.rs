//! What a check script asks, as far as its words say.

/// What an instance that tracks a script waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// PostgreSQL on this node is the primary. How that is known.
    Primary(&'static str),
    /// It is a replica.
    Replica,
    /// This program runs.
    Proxy(&'static str),
    /// Something of PostgreSQL's that is not clear.
    Database,
    /// Nothing that is known.
    Other,
}

/// Paths of Patroni's REST API that answer 200 on the primary alone.
const PRIMARY: [&str; 4] = ["/primary", "/leader", "/master", "/read-write"];

/// And those that do on a replica, of whatever kind.
const REPLICA: [&str; 9] = [
    "/replica",
    "/read-only",
    "/sync",
    "/synchronous",
    "/async",
    "/asynchronous",
    "/quorum",
    "/read-only-sync",
    "/standby-leader",
];

/// What an HTTP request is made with, or to.
const REQUESTS: [&str; 8] = ["8008", "patroni", "http", "curl", "wget", "/dev/tcp/", "nc ", "ncat"];

const PROXIES: [&str; 6] = ["haproxy", "pgbouncer", "pgcat", "odyssey", "nginx", "envoy"];

const DATABASE: [&str; 10] = ["postgres", "psql", "pgsql", "patroni", "pg_", "_pg", "pg-", "-pg", "5432", "8008"];

/// Takes the name of the vrrp_script, its command line, and the script's text where that can be read. The command line
/// knows best, then the text, then the names.
pub(super) fn meaning(name: &str, command: &str, body: Option<&str>) -> Meaning {
    let command = command.to_lowercase();
    let body = body.map(without_comments).unwrap_or_default();
    let names = format!("{} {command}", name.to_lowercase());
    by_text(&command)
        .or_else(|| by_text(&body))
        .filter(|meaning| *meaning != Meaning::Database)
        .or_else(|| by_names(&names))
        .unwrap_or_else(|| {
            let says = |word: &&str| names.contains(word) || body.contains(word);
            if DATABASE.iter().any(says) { Meaning::Database } else { Meaning::Other }
        })
}

/// In lower case, without lines that are comments.
fn without_comments(body: &str) -> String {
    let lines = body.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.collect::<Vec<_>>().join("\n").to_lowercase()
}

fn by_text(text: &str) -> Option<Meaning> {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&REQUESTS) {
        let (primary, replica) = (has_path(text, &PRIMARY), has_path(text, &REPLICA));
        match (primary, replica) {
            (true, false) => return Some(Meaning::Primary("it asks Patroni's REST API")),
            (false, true) => return Some(Meaning::Replica),
            (true, true) => return Some(Meaning::Database),
            (false, false) => {}
        }
    }
    // What Patroni says of itself: its list of members, or the JSON of GET /patroni and GET /cluster.
    if has(&["patronictl"]) || (has(&["8008", "/patroni", "/cluster"]) && has(&["role"])) {
        return Some(match (has(&["leader", "primary", "master"]), has(&["replica"])) {
            (true, false) => Meaning::Primary("it looks for the leader in what Patroni says"),
            (false, true) => Meaning::Replica,
            _ => Meaning::Database,
        });
    }
    if has(&["pg_is_in_recovery"]) {
        let says_no = has(&["not pg_is_in_recovery", "= 'f'", "= \"f\"", "='f'", "=\"f\"", "= f", "grep -q f"])
            || has(&["grep f", "grep -q '^f", "grep -q \"^f", "grep -qw f", "grep -qx f", "'f'", "\"f\"", "false"]);
        let says_yes =
            has(&["= 't'", "= \"t\"", "='t'", "=\"t\"", "= t", "grep -q t", "grep t", "'t'", "\"t\"", "true"]);
        // "t" may be what it waits for, or what it fails for.
        return Some(match (says_no, says_yes) {
            (true, false) => Meaning::Primary("it asks pg_is_in_recovery()"),
            _ => Meaning::Database,
        });
    }
    PROXIES.into_iter().find(|proxy| text.contains(proxy)).map(Meaning::Proxy)
}

/// Whether a path stands in it as a whole.
fn has_path(text: &str, paths: &[&str]) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/' | '.');
    paths.iter().any(|path| {
        text.match_indices(path).any(|(at, _)| !text.get(at + path.len()..).unwrap_or_default().starts_with(goes_on))
    })
}

fn by_names(names: &str) -> Option<Meaning> {
    let has = |words: &[&str]| words.iter().any(|word| names.contains(word));
    if has(&["replica", "standby", "slave", "read_only", "readonly", "read-only"])
        && has(&["pg", "postgres", "patroni", "psql", "db"])
    {
        return Some(Meaning::Replica);
    }
    let is_primary = has(&["primary", "leader", "master"]) && has(&["pg", "postgres", "patroni", "psql", "db"]);
    if is_primary || has(&["patroni"]) && !has(&["health", "liveness", "readiness"]) {
        return Some(Meaning::Primary("its name says so; look into the script whether it asks for the primary"));
    }
    PROXIES.into_iter().find(|proxy| names.contains(proxy)).map(Meaning::Proxy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_primary(name: &str, command: &str, body: Option<&str>) {
        assert!(matches!(meaning(name, command, body), Meaning::Primary(_)), "{name} {command} {body:?}");
    }

    #[test]
    fn the_primary() {
        for command in [
            "/usr/bin/curl -s -f http://127.0.0.1:8008/primary",
            "/usr/bin/curl -s -o /dev/null -w '%{http_code}' http://localhost:8008/leader",
            "/usr/bin/wget -q -O /dev/null http://10.0.0.1:8008/master",
            "/usr/bin/curl -fsk https://127.0.0.1:8008/read-write?lag=1",
            "/bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/8008; printf \"GET /primary HTTP/1.0\\r\\n\\r\\n\" >&3; grep -q 200 <&3'",
            "/bin/sh -c 'printf \"GET /leader HTTP/1.0\\r\\n\\r\\n\" | nc 127.0.0.1 8008 | grep -q \" 200 \"'",
            "/usr/bin/python3 -c \"import urllib.request as r; r.urlopen('http://127.0.0.1:8008/primary')\"",
            "/bin/sh -c 'patronictl -c /etc/patroni.yml list | grep $(hostname) | grep -q Leader'",
            "/bin/sh -c \"psql -Atc 'select pg_is_in_recovery()' | grep -q f\"",
            "/bin/sh -c \"psql -Atqc 'select 1/(not pg_is_in_recovery())::int'\"",
            "/bin/sh -c 'curl -s http://127.0.0.1:8008/patroni | jq -e \".role == \\\"primary\\\"\"'",
        ] {
            is_primary("chk", command, None);
        }
        let body = "#!/bin/sh\n# is it a /replica?\nwget -qO- http://127.0.0.1:8008/leader >/dev/null\n";
        is_primary("chk", "/etc/keepalived/check.sh", Some(body));
        is_primary("chk_patroni", "/etc/keepalived/check.sh", None);
        is_primary("chk", "/usr/local/bin/check_pg_primary", None);
        is_primary("chk", "/usr/local/bin/check.sh master postgres", Some("case $1 in esac"));
    }

    #[test]
    fn what_is_not_the_primary() {
        for (name, command, expected) in [
            ("chk", "/usr/bin/curl -f http://127.0.0.1:8008/replica?lag=1MB", Meaning::Replica),
            ("chk", "/usr/bin/curl -f http://127.0.0.1:8008/read-only", Meaning::Replica),
            ("chk_pg_standby", "/etc/keepalived/check.sh", Meaning::Replica),
            ("chk_haproxy", "/usr/bin/killall -0 haproxy", Meaning::Proxy("haproxy")),
            ("chk", "/bin/pidof pgbouncer", Meaning::Proxy("pgbouncer")),
            ("chk", "/usr/bin/pg_isready -q", Meaning::Database),
            ("chk_pg", "/etc/keepalived/check.sh", Meaning::Database),
            ("chk", "/usr/bin/curl -f http://127.0.0.1:8008/health", Meaning::Database),
            ("chk_patroni", "/usr/bin/curl -f http://127.0.0.1:8008/health", Meaning::Database),
            ("chk", "/bin/sh -c \"psql -Atc 'select pg_is_in_recovery()' | grep -q t\"", Meaning::Database),
            ("chk_sshd", "/usr/bin/killall -0 sshd", Meaning::Other),
            ("", "", Meaning::Other),
        ] {
            assert_eq!(meaning(name, command, None), expected, "{command}");
        }
        let both = "curl http://127.0.0.1:8008/primary || curl http://127.0.0.1:8008/replica";
        assert_eq!(meaning("chk", "/x", Some(both)), Meaning::Database);
    }
}

//! What the etcd user may do, against what the daemon does: it reads Patroni's keys, and reads and writes its own. Reading
//! is tried. Writing is not: it is looked up in the user's roles.

use super::areas::ETCD_RIGHTS as AREA;
use super::etcd::Endpoint;
use super::keys::{Contents, Permissions, Range, Read};
use super::report::Finding;
use crate::evidence::etcd::Settings;
use crate::evidence::etcd::keys::Keys;

pub(super) fn judge(settings: &Settings, endpoints: &[Endpoint], contents: Option<&Contents>) -> Vec<Finding> {
    let user = settings.credentials.as_ref().map(|credentials| credentials.user.as_str());
    let Some(contents) = contents else {
        // Nobody answered: told already. Or nobody was let in.
        let refused = endpoints.iter().find_map(Endpoint::refused_rights);
        return refused.map(|words| let_in(user, words)).into_iter().collect();
    };
    let mut findings: Vec<_> =
        endpoints.iter().find_map(Endpoint::refused_rights).map(|words| let_in(user, words)).into_iter().collect();
    let unreadable = unreadable(&settings.keys, contents);
    if !unreadable.is_empty() {
        let text = format!("{} may not read {}", named(user), unreadable.join(", "));
        findings.push(Finding::problem(AREA, text, grants(&settings.keys, &contents.permissions, &unreadable, "read")));
    }
    findings.extend(writing(user, &settings.keys, &contents.permissions));
    if findings.is_empty() {
        let text = match &contents.permissions {
            Permissions::Open => {
                "etcd rights: authentication is off, so everybody may read and write everything".to_owned()
            }
            _ => format!("{} may {}", named(user), allowed(&settings.keys)),
        };
        findings.push(Finding::ok(AREA, text));
    }
    findings
}

fn named(user: Option<&str>) -> String {
    user.map_or_else(|| "etcd rights: anybody".to_owned(), |user| format!("etcd rights: user {user}"))
}

fn allowed(keys: &Keys) -> String {
    match keys.locks.as_slice() {
        [] => "read Patroni's keys, which is all that fence = \"leader-key\" needs".to_owned(),
        locks => format!("read Patroni's keys, and read and write {}", locks.join(", ")),
    }
}

/// Why nobody is let in, and the way in.
fn let_in(user: Option<&str>, words: &str) -> Finding {
    let fix = match user {
        None => "name `username` and `password_file` under [etcd]; the README has the commands that make the user",
        Some(_) if words.contains("not enabled") => {
            "take `username` and `password_file` out of [etcd], or `etcdctl auth enable`"
        }
        Some(_) => "correct `username` and the content of `password_file` under [etcd], or make that user in etcd",
    };
    Finding::problem(AREA, format!("etcd rights: etcd refuses: {words}"), fix)
}

/// The keys that were refused to be read.
fn unreadable<'a>(keys: &'a Keys, contents: &Contents) -> Vec<&'a str> {
    let Contents { leader, config, initialize, member, locks, .. } = contents;
    let patronis =
        [(&keys.leader, leader), (&keys.config, config), (&keys.initialize, initialize), (&keys.member, member)];
    let denied =
        |(key, read): (&'a String, &Read)| matches!(read, Err(unread) if unread.denied).then_some(key.as_str());
    patronis.into_iter().chain(keys.locks.iter().zip(locks)).filter_map(denied).collect()
}

fn writing(user: Option<&str>, keys: &Keys, permissions: &Permissions) -> Option<Finding> {
    if keys.locks.is_empty() {
        return None;
    }
    match permissions {
        Permissions::Open => None,
        Permissions::Granted { ranges, .. } => {
            let unwritable = unwritable(keys, ranges);
            if unwritable.is_empty() {
                return None;
            }
            let text = format!("{} may not write {}", named(user), unwritable.join(", "));
            let fix = grants(keys, permissions, &unwritable, "readwrite");
            Some(Finding::problem(AREA, text, format!("{fix}; or fence = \"leader-key\" on every node")))
        }
        Permissions::Unknown(why) => {
            let text = format!(
                "{}: whether it may write {} could not be found out: {why}",
                named(user),
                keys.locks.join(", ")
            );
            let fix = format!("look at `etcdctl user get {} --detail` as etcd's root", user.unwrap_or_default());
            Some(Finding::warning(AREA, text, fix))
        }
    }
}

/// The locks for which no single permission allows to write.
fn unwritable<'a>(keys: &'a Keys, ranges: &[Range]) -> Vec<&'a str> {
    let may = |key: &str| ranges.iter().any(|range| range.write && range.covers(key));
    keys.locks.iter().map(String::as_str).filter(|key| !may(key)).collect()
}

/// The command that grants what is missing, for the user's first role.
fn grants(keys: &Keys, permissions: &Permissions, lacking: &[&str], right: &str) -> String {
    let role = match permissions {
        Permissions::Granted { roles, .. } => roles.first().map_or("pgvrrp", String::as_str),
        _ => "pgvrrp",
    };
    let patronis = keys.leader.trim_end_matches("leader");
    let mut prefixes = Vec::new();
    for key in lacking {
        let ours = keys.locks.iter().any(|lock| lock == key);
        let (prefix, right) =
            if ours { (format!("/pgvrrp/v1{patronis}"), "readwrite") } else { (patronis.to_owned(), right) };
        let command = format!("`etcdctl role grant-permission {role} --prefix=true {right} {prefix}`");
        if !prefixes.contains(&command) {
            prefixes.push(command);
        }
    }
    prefixes.join(" and ")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::keys::Unread;
    use super::super::report::Level;
    use super::*;

    fn keys() -> Keys {
        Keys::new("/service", "odoo", None, "db1", &[Ipv4Addr::new(10, 0, 20, 155)])
    }

    fn role(read: bool, write: bool, key: &[u8], end: &[u8]) -> Permissions {
        let range = Range { read, write, key: key.to_vec(), end: end.to_vec() };
        Permissions::Granted { roles: vec!["vip".to_owned()], ranges: vec![range] }
    }

    #[test]
    fn a_user_who_may_only_read() {
        let finding = writing(Some("reader"), &keys(), &role(true, false, b"/", b"\0")).unwrap();
        assert_eq!(finding.level, Level::Problem);
        assert_eq!(finding.text, "etcd rights: user reader may not write /pgvrrp/v1/service/odoo/10.0.20.155");
        let fix = finding.fix.unwrap();
        assert!(
            fix.starts_with("`etcdctl role grant-permission vip --prefix=true readwrite /pgvrrp/v1/service/odoo/`"),
            "{fix}"
        );
        assert_eq!(writing(Some("writer"), &keys(), &role(true, true, b"/pgvrrp/", b"/pgvrrp0")), None);
        let fenced_by_patroni = Keys { locks: Vec::new(), ..keys() };
        assert_eq!(writing(Some("reader"), &fenced_by_patroni, &role(true, false, b"/", b"\0")), None);
        let unknown = writing(Some("x"), &keys(), &Permissions::Unknown("no answer".to_owned())).unwrap();
        assert_eq!(unknown.level, Level::Warning);
    }

    #[test]
    fn keys_that_may_not_be_read() {
        let denied = || Err(Unread { why: "permission denied".to_owned(), denied: true });
        let contents = Contents {
            leader: Ok(None),
            config: denied(),
            initialize: Err(Unread { why: "no answer".to_owned(), denied: false }),
            member: Ok(None),
            locks: vec![denied()],
            members: Ok(Vec::new()),
            permissions: role(true, false, b"/service/odoo/leader", b""),
        };
        let keys = keys();
        let unreadable = unreadable(&keys, &contents);
        assert_eq!(unreadable, ["/service/odoo/config", "/pgvrrp/v1/service/odoo/10.0.20.155"]);
        let fix = grants(&keys, &contents.permissions, &unreadable, "read");
        assert_eq!(
            fix,
            "`etcdctl role grant-permission vip --prefix=true read /service/odoo/` and \
             `etcdctl role grant-permission vip --prefix=true readwrite /pgvrrp/v1/service/odoo/`"
        );
    }

    #[test]
    fn nobody_is_let_in() {
        assert!(let_in(None, "etcdserver: user name is empty").fix.unwrap().contains("username"));
        assert!(let_in(Some("x"), "etcdserver: authentication is not enabled").fix.unwrap().contains("take"));
        assert!(
            let_in(Some("x"), "authentication failed, invalid user ID or password").fix.unwrap().contains("correct")
        );
    }
}

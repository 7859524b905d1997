//! What the etcd user may do, against what the daemon does: it reads Patroni's keys, and reads and writes its own. Reading
//! is tried. Writing is not: it is looked up in the user's roles.

use super::areas::ETCD_RIGHTS as AREA;
use super::etcd::Endpoint;
use super::keys::{Contents, Permissions, Read, Role};
use super::report::Finding;
use crate::evidence::etcd::Settings;
use crate::evidence::etcd::keys::Keys;

/// The name of the README's role.
const ROLE: &str = "pgvrrp";

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
        findings.push(Finding::problem(AREA, text, grants(user, &settings.keys, &contents.permissions, &unreadable)));
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
    match locks(keys).as_str() {
        "" => "read Patroni's keys, which is all that fence = \"leader-key\" needs".to_owned(),
        locks => format!("read Patroni's keys, and read and write {locks}"),
    }
}

fn locks(keys: &Keys) -> String {
    keys.own().map(String::as_str).collect::<Vec<_>>().join(", ")
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
    patronis.into_iter().chain(keys.own().zip(locks)).filter_map(denied).collect()
}

fn writing(user: Option<&str>, keys: &Keys, permissions: &Permissions) -> Option<Finding> {
    keys.own().next()?;
    match permissions {
        Permissions::Open => None,
        Permissions::Granted(roles) => {
            let unwritable = unwritable(keys, roles);
            if unwritable.is_empty() {
                return None;
            }
            let text = format!("{} may not write {}", named(user), unwritable.join(", "));
            let fix = grants(user, keys, permissions, &unwritable);
            Some(Finding::problem(AREA, text, format!("{fix}; or fence = \"leader-key\" on every node")))
        }
        Permissions::Unknown(why) => {
            let who = user.map_or_else(|| "etcd rights: the certificate's user".to_owned(), |user| named(Some(user)));
            let locks = locks(keys);
            let text = format!("{who}: whether it may write {locks} could not be found out: {why}");
            let fix = format!("look at `etcdctl user get {} --detail` as etcd's root", user.unwrap_or("NAME"));
            Some(Finding::warning(AREA, text, fix))
        }
    }
}

/// The locks for which no single permission allows to write.
fn unwritable<'a>(keys: &'a Keys, roles: &[Role]) -> Vec<&'a str> {
    let may = |key: &str| roles.iter().any(|role| role.may_write(key));
    keys.own().map(String::as_str).filter(|key| !may(key)).collect()
}

/// The commands that grant what is missing.
fn grants(user: Option<&str>, keys: &Keys, permissions: &Permissions, lacking: &[&str]) -> String {
    let (role, is_granted) = role_to_widen(keys, permissions);
    let patronis = keys.leader.trim_end_matches("leader");
    let mut commands = Vec::new();
    if !is_granted {
        commands.push(format!("`etcdctl role add {role}`"));
    }
    for key in lacking {
        let ours = keys.own().any(|lock| lock == key);
        let (right, prefix) =
            if ours { ("readwrite", format!("/pgvrrp/v1{patronis}")) } else { ("read", patronis.to_owned()) };
        let command = format!("`etcdctl role grant-permission {role} --prefix=true {right} {prefix}`");
        if !commands.contains(&command) {
            commands.push(command);
        }
    }
    if !is_granted {
        commands.push(format!("`etcdctl user grant-role {} {role}`", user.unwrap_or(ROLE)));
    }
    format!("as etcd's root (--user root): {}", commands.join(" and "))
}

/// The role to give more rights to, and whether the user has it. Never one that others may have too: that of the
/// README's name is known to be pgvrrp's own, unless it may write Patroni's keys, as only Patroni has to.
fn role_to_widen(keys: &Keys, permissions: &Permissions) -> (&'static str, bool) {
    let Permissions::Granted(roles) = permissions else { return (ROLE, false) };
    match roles.iter().find(|role| role.name == ROLE) {
        Some(role) if role.may_write(&keys.leader) => ("pgvrrp-locks", false),
        role => (ROLE, role.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::keys::{Range, Unread};
    use super::super::report::Level;
    use super::*;

    fn keys() -> Keys {
        Keys::new("/service", "odoo", None, "db1", &[Some(IpAddr::from([10, 0, 20, 155]))])
    }

    fn role(name: &str, read: bool, write: bool, key: &[u8], end: &[u8]) -> Permissions {
        let range = Range { read, write, key: key.to_vec(), end: end.to_vec() };
        Permissions::Granted(vec![Role { name: name.to_owned(), ranges: vec![range] }])
    }

    #[test]
    fn a_user_who_may_only_read() {
        let finding = writing(Some("reader"), &keys(), &role("pgvrrp", true, false, b"/", b"\0")).unwrap();
        assert_eq!(finding.level, Level::Problem);
        assert_eq!(finding.text, "etcd rights: user reader may not write /pgvrrp/v1/service/odoo/10.0.20.155");
        let fix = finding.fix.unwrap();
        assert!(
            fix.contains(
                "root): `etcdctl role grant-permission pgvrrp --prefix=true readwrite /pgvrrp/v1/service/odoo/`; or"
            ),
            "{fix}"
        );
        assert_eq!(writing(Some("writer"), &keys(), &role("pgvrrp", true, true, b"/pgvrrp/", b"/pgvrrp0")), None);
        let fenced_by_patroni = Keys { locks: Vec::new(), ..keys() };
        assert_eq!(writing(Some("reader"), &fenced_by_patroni, &role("pgvrrp", true, false, b"/", b"\0")), None);
        let unknown = writing(Some("x"), &keys(), &Permissions::Unknown("no answer".to_owned())).unwrap();
        assert_eq!(unknown.level, Level::Warning);
        let by_certificate = writing(None, &keys(), &Permissions::Unknown("why".to_owned())).unwrap();
        assert!(by_certificate.text.starts_with("etcd rights: the certificate's user: whether"), "{by_certificate:?}");
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
            permissions: role("pgvrrp", true, false, b"/service/odoo/leader", b""),
        };
        let keys = keys();
        let unreadable = unreadable(&keys, &contents);
        assert_eq!(unreadable, ["/service/odoo/config", "/pgvrrp/v1/service/odoo/10.0.20.155"]);
        let fix = grants(Some("pgvrrp"), &keys, &contents.permissions, &unreadable);
        assert_eq!(
            fix,
            "as etcd's root (--user root): `etcdctl role grant-permission pgvrrp --prefix=true read /service/odoo/` and \
             `etcdctl role grant-permission pgvrrp --prefix=true readwrite /pgvrrp/v1/service/odoo/`"
        );
    }

    #[test]
    fn a_role_of_its_own_is_made_where_there_is_none() {
        let keys = keys();
        let fix = |permissions| grants(Some("vip"), &keys, &permissions, &[keys.own().next().unwrap().as_str()]);
        let grant = "role grant-permission pgvrrp --prefix=true readwrite /pgvrrp/v1/service/odoo/`";
        let own = format!("`etcdctl role add pgvrrp` and `etcdctl {grant} and `etcdctl user grant-role vip pgvrrp`");
        for permissions in [
            Permissions::Granted(Vec::new()),
            role("reader", true, false, b"/", b"\0"),
            role("patroni", true, true, b"/service/", b"/service0"),
        ] {
            let commands = fix(permissions);
            assert!(commands.ends_with(&own), "{commands}");
        }
        let shared = fix(role("pgvrrp", true, true, b"/service/", b"/service0"));
        assert!(shared.contains("role add pgvrrp-locks") && !shared.contains("permission pgvrrp "), "{shared}");
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

//! Why PostgreSQL gives no session, and what to do about that.
//!
//! The server's language is not known, so it is judged by SQLSTATE, with which the words of a server begin.

use std::time::Duration;

use super::areas::POSTGRES as AREA;
use super::login::{Login, Place, quoted};
use super::report::Finding;
use crate::evidence::postgres::session::TLS;

/// Why there is no session.
pub(super) enum Silence {
    /// There is no server.
    Down(String),
    /// A server does not let us ask.
    Refused(String),
    /// Nothing came in time.
    Late(String),
}

/// `timeout` is how long the daemon waits; `daemon` is what a running daemon says of PostgreSQL's role, if it says so.
pub(super) fn judge(login: &Login, silence: &Silence, timeout: Duration, daemon: Option<&str>) -> Finding {
    match silence {
        Silence::Down(detail) if sqlstate(detail) == "57P03" => Finding::warning(
            AREA,
            format!("PostgreSQL: is there, and takes no connections now: {detail}"),
            "wait until it has started (or stopped); if it stays so, its log says why: a long recovery, or hot_standby is off",
        ),
        Silence::Down(detail) => Finding::problem(AREA, format!("PostgreSQL: no server: {detail}"), start(login)),
        Silence::Late(late) => Finding::problem(
            AREA,
            format!("PostgreSQL: no session: {late}"),
            format!("see whether the server hangs; `timeout` under [postgres] is {timeout:?}"),
        ),
        Silence::Refused(detail) => refused(login, detail, daemon),
    }
}

fn start(login: &Login) -> String {
    let place = match login.place {
        Place::Socket(_) => "host is the directory of the Unix socket",
        Place::Tcp { .. } => {
            "host and port are those of Patroni's postgresql.listen, which has to include the loopback address; or use the Unix \
             socket"
        }
    };
    format!("start Patroni, which starts PostgreSQL, or correct `connection` under [postgres]: {place}")
}

fn refused(login: &Login, detail: &str, daemon: Option<&str>) -> Finding {
    if detail.starts_with(TLS) {
        return Finding::problem(
            AREA,
            format!("PostgreSQL: no session: {detail}"),
            "the server's certificate is in ssl_cert_file: ca_file under [postgres] has to be the authority that has signed it, and \
             with sslmode = \"verify-full\" it has to be for the host in `connection`",
        );
    }
    let (role, database) = (quoted(&login.role), quoted(&login.database));
    match sqlstate(detail) {
        // Who may log in by `peer` depends on the system user, and this one need not be the daemon's.
        "28000" if detail.to_lowercase().contains("peer") => Finding::warning(
            AREA,
            format!("PostgreSQL: not checked, it does not let this system user in{}: {detail}", answered(daemon)),
            format!(
                "run this as the daemon's user: `sudo -u pgvrrp pgvrrp doctor`; if that is refused as well, let it in by {}",
                login.pg_hba()
            ),
        ),
        "28000" => Finding::problem(
            AREA,
            format!("PostgreSQL: does not let role {role} into database {database}: {detail}"),
            format!("make the role if it is missing (CREATE ROLE {role} LOGIN), and let it in by {}", login.pg_hba()),
        ),
        "28P01" => Finding::problem(
            AREA,
            format!("PostgreSQL: the password of role {role} is wrong, or it has none: {detail}"),
            format!(
                "correct the content of password_file under [postgres], or set that password: `\\password {role}` in psql"
            ),
        ),
        "3D000" => Finding::problem(
            AREA,
            format!("PostgreSQL: there is no database {database}: {detail}"),
            "name one that exists as dbname in `connection` under [postgres]: postgres",
        ),
        "42501" => Finding::problem(
            AREA,
            format!("PostgreSQL: role {role} lacks a right, so the daemon cannot ask: {detail}"),
            format!(
                "as a superuser, {}; if the message names the database: GRANT CONNECT ON DATABASE {database} TO {role}",
                login.grant_identifier()
            ),
        ),
        "53300" => full(&role, detail, daemon),
        _ => without_code(login, detail, daemon),
    }
}

/// A daemon that has its session keeps it. One that has none takes the role for unknown.
fn full(role: &str, detail: &str, daemon: Option<&str>) -> Finding {
    let text = format!(
        "PostgreSQL: is full{}: {detail}. A daemon without a session holds what it has and takes nothing",
        answered(daemon)
    );
    let fix = format!(
        "raise max_connections by `patronictl edit-config`, or let fewer clients in (a pooler, CONNECTION LIMIT); \
         reserved_connections and GRANT pg_use_reserved_connections TO {role} keep a place for it from PostgreSQL 16 on; \
         superuser_reserved_connections are for superusers only"
    );
    if daemon.is_some() { Finding::warning(AREA, text, fix) } else { Finding::problem(AREA, text, fix) }
}

/// What the session or the kernel says instead of the server.
fn without_code(login: &Login, detail: &str, daemon: Option<&str>) -> Finding {
    match &login.place {
        Place::Socket(directory) if detail.contains("socket directory") => {
            let text = format!("PostgreSQL: this system user may not reach its socket{}: {detail}", answered(daemon));
            let fix = format!(
                "run this as the daemon's user: `sudo -u pgvrrp pgvrrp doctor`; if that is refused as well, open {} to it (`chmod \
                 o+x`, or `usermod -aG` with the directory's group), and see unix_socket_permissions",
                directory.display()
            );
            // The daemon's user may have the right that this one lacks.
            if daemon.is_some() { Finding::warning(AREA, text, fix) } else { Finding::problem(AREA, text, fix) }
        }
        _ if detail.contains("password missing") => Finding::problem(
            AREA,
            format!("PostgreSQL: wants a password for role {}, and none is configured", quoted(&login.role)),
            format!("name its password_file under [postgres], or let it in by {}", login.pg_hba()),
        ),
        _ => Finding::problem(
            AREA,
            format!("PostgreSQL: no session: {detail}"),
            "see PostgreSQL's log for what it says about this, and `connection` under [postgres]",
        ),
    }
}

fn answered(daemon: Option<&str>) -> String {
    daemon.map_or_else(String::new, |role| format!("; the daemon is answered: {role}"))
}

/// The code at the beginning of a server's words; empty if these are none.
fn sqlstate(detail: &str) -> &str {
    let code = detail.split_once(": ").map_or("", |(code, _)| code);
    let is_code = code.len() == 5 && code.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    if is_code { code } else { "" }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    fn found(connection: &str, silence: Silence, daemon: Option<&str>) -> (Level, String, String) {
        let login = Login::of(&connection.parse().unwrap());
        let Finding { level, text, fix, .. } = judge(&login, &silence, Duration::from_millis(500), daemon);
        (level, text, fix.unwrap())
    }

    fn refused(detail: &str) -> (Level, String, String) {
        found("host=/run/pg user=vip dbname=odoo", Silence::Refused(detail.to_owned()), None)
    }

    #[test]
    fn each_refusal_has_its_own_fix() {
        for (detail, text, fix) in [
            ("28000: role \"vip\" does not exist", "role vip into database odoo", "CREATE ROLE vip LOGIN"),
            ("28000: kein Eintrag in pg_hba.conf", "role vip into database odoo", "local odoo vip scram-sha-256"),
            ("28P01: password authentication failed", "password of role vip is wrong", "password_file"),
            ("3D000: database \"odoo\" does not exist", "no database odoo", "dbname"),
            ("42501: permission denied for function", "lacks a right", "in database odoo: GRANT EXECUTE ON FUNCTION"),
            ("42501: permission denied for database", "lacks a right", "GRANT CONNECT ON DATABASE odoo TO vip"),
            ("53300: sorry, too many clients already", "is full", "max_connections"),
            ("invalid configuration: password missing", "wants a password for role vip", "password_file"),
            (
                "/run/pg: Permission denied: may this user reach PostgreSQL's socket directory?",
                "socket",
                "open /run/pg",
            ),
            ("XX000: what nobody expects", "no session: XX000", "log"),
        ] {
            let (level, found_text, found_fix) = refused(detail);
            assert_eq!(level, Level::Problem, "{detail}");
            assert!(found_text.contains(text) && found_fix.contains(fix), "{detail}: {found_text}, {found_fix}");
        }
    }

    #[test]
    fn a_server_that_starts_is_waited_for() {
        let (level, text, fix) =
            found("host=/run/pg", Silence::Down("57P03: the database system is starting up".to_owned()), None);
        assert_eq!(level, Level::Warning);
        assert!(text.contains("is there") && fix.starts_with("wait"), "{text} {fix}");
    }

    #[test]
    fn no_server_at_a_socket_and_at_an_address() {
        let down = |host: &str| {
            found(&format!("host={host}"), Silence::Down("refused: Connection refused".to_owned()), None).2
        };
        assert!(down("/run/pg").contains("directory of the Unix socket"));
        assert!(down("127.0.0.1").contains("postgresql.listen") && !down("127.0.0.1").contains("directory"));
    }

    #[test]
    fn by_tcp_the_line_is_one_for_hosts() {
        let refusal = Silence::Refused("28000: no pg_hba.conf entry for host \"127.0.0.1\"".to_owned());
        let (_, _, fix) = found("host=127.0.0.1 user=vip dbname=odoo", refusal, None);
        assert!(fix.contains("host odoo vip samehost"), "{fix}");
    }

    #[test]
    fn another_system_user_than_the_daemons() {
        let (level, _, fix) = refused("28000: Peer authentication failed for user \"vip\": does pg_hba.conf ...");
        assert!(level == Level::Warning && fix.contains("sudo -u pgvrrp"), "{fix}");
    }

    #[test]
    fn a_daemon_that_is_answered_has_its_session() {
        let level = |detail: &str| {
            let (level, text, _) = found("host=/run/pg", Silence::Refused(detail.to_owned()), Some("primary"));
            assert!(text.contains("the daemon is answered: primary"), "{text}");
            level
        };
        assert_eq!(level("53300: sorry, too many clients already"), Level::Warning);
        assert_eq!(level("/run/pg: denied: may this user reach PostgreSQL's socket directory?"), Level::Warning);
    }

    #[test]
    fn codes() {
        assert_eq!(sqlstate("57P03: the database system is starting up"), "57P03");
        for other in ["", "error: what", "::1:5432: refused", "/run/pg/.s.PGSQL.5432: refused"] {
            assert_eq!(sqlstate(other), "", "{other}");
        }
    }
}

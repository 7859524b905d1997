//! As whom, and where, the configured connection asks PostgreSQL.

use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::areas::POSTGRES as AREA;
use super::report::Finding;

/// The system user of the systemd unit: `peer` lets it in as the role of that name.
const DAEMONS_USER: &str = "pgvrrp";

/// The connection's role, database and place.
pub(super) struct Login {
    pub(super) role: String,
    pub(super) database: String,
    pub(super) place: Place,
}

/// Where the server is asked.
pub(super) enum Place {
    /// The directory of its Unix socket.
    Socket(PathBuf),
    /// A loopback address.
    Tcp {
        /// Whether it is to have TLS, as a line `hostssl` asks for.
        tls: bool,
    },
}

impl Login {
    /// With the defaults of the daemon's own session.
    pub(super) fn of(connection: &Config) -> Self {
        let role = connection.get_user().map_or_else(system_user, str::to_owned);
        let database = connection.get_dbname().unwrap_or(&role).to_owned();
        let place = match (connection.get_hostaddrs().first(), connection.get_hosts().first()) {
            (Some(_), _) | (None, Some(Host::Tcp(_))) => {
                Place::Tcp { tls: connection.get_ssl_mode() == SslMode::Require }
            }
            (None, Some(Host::Unix(directory))) => Place::Socket(directory.clone()),
            (None, None) => Place::Socket(PathBuf::from("/var/run/postgresql")),
        };
        Self { role, database, place }
    }

    /// The line that lets this login in, as Patroni is told of it. Nobody comes in by `peer` under another name.
    pub(super) fn pg_hba(&self) -> String {
        let (database, role) = (quoted(&self.database), quoted(&self.role));
        let line = match self.place {
            Place::Socket(_) if self.role == DAEMONS_USER => format!("local {database} {role} peer"),
            Place::Socket(_) => {
                format!("local {database} {role} scram-sha-256 (and its password_file under [postgres])")
            }
            Place::Tcp { tls } => {
                let host = if tls { "hostssl" } else { "host" };
                format!("{host} {database} {role} samehost scram-sha-256 (and its password_file under [postgres])")
            }
        };
        format!("Patroni's postgresql.pg_hba, before the lines that are there: {line}")
    }

    /// The statement that lets this role read the system identifier. A function's rights are those of one database.
    pub(super) fn grant_identifier(&self) -> String {
        let (database, role) = (quoted(&self.database), quoted(&self.role));
        format!("in database {database}: GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO {role}")
    }

    /// The unit gives the daemon directories of its own for `/tmp` and `/var/tmp`. `daemon` is PostgreSQL's role as the
    /// daemon knows it: one that is answered is not hidden from.
    pub(super) fn hidden_socket(&self, daemon: Option<&str>) -> Option<Finding> {
        let Place::Socket(directory) = &self.place else { return None };
        let private = ["/tmp", "/var/tmp"].iter().any(|tmp| directory.starts_with(Path::new(tmp)));
        if !private || daemon.is_some() {
            return None;
        }
        let text = format!(
            "PostgreSQL socket in {}: the daemon of the systemd unit cannot see it, since that has PrivateTmp=yes",
            directory.display()
        );
        let fix = "have a socket elsewhere too (unix_socket_directories: '/tmp, /var/run/postgresql' by Patroni) and name that \
                   directory as host in `connection`, or set PrivateTmp=no by `systemctl edit pgvrrp`";
        Some(Finding::warning(AREA, text, fix))
    }
}

/// PostgreSQL's clients take it for the role where none is named.
fn system_user() -> String {
    let user = User::from_uid(Uid::effective()).ok().flatten();
    user.map_or_else(|| DAEMONS_USER.to_owned(), |user| user.name)
}

/// A name as SQL and pg_hba.conf want it.
pub(super) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(connection: &str) -> Login {
        Login::of(&connection.parse().unwrap())
    }

    #[test]
    fn an_address_is_tcp() {
        assert!(matches!(login("hostaddr=127.0.0.1 user=pgvrrp dbname=postgres").place, Place::Tcp { tls: false }));
        assert!(matches!(login("user=pgvrrp dbname=postgres").place, Place::Socket(_)));
    }

    #[test]
    fn the_line_that_lets_it_in() {
        let line = |connection: &str| login(connection).pg_hba();
        assert!(line("host=/var/run/postgresql user=pgvrrp dbname=postgres").ends_with("local postgres pgvrrp peer"));
        assert!(line("host=/run/pg user=vip dbname=odoo").contains("local odoo vip scram-sha-256"));
        assert!(line("host=localhost user=pgvrrp dbname=postgres").contains("host postgres pgvrrp samehost"));
        let with_tls = line("host=localhost user=pgvrrp dbname=postgres sslmode=require");
        assert!(with_tls.contains("hostssl postgres pgvrrp samehost"));
        assert!(line("host=/run/pg user=my-vip").contains("local \"my-vip\" \"my-vip\" scram-sha-256"));
    }

    #[test]
    fn a_role_that_is_not_named_is_the_system_users() {
        let Login { role, database, .. } = login("host=/run/pg");
        assert!(!role.is_empty() && role == database);
    }

    #[test]
    fn a_socket_that_the_unit_hides() {
        let hidden = |host: &str| login(&format!("host={host} user=pgvrrp")).hidden_socket(None);
        for host in ["/tmp", "/tmp/pg", "/var/tmp/pg"] {
            assert!(hidden(host).unwrap().text.contains("PrivateTmp"), "{host}");
        }
        for host in ["/var/run/postgresql", "/tmpfs/pg", "localhost"] {
            assert_eq!(hidden(host), None, "{host}");
        }
        assert_eq!(login("host=/tmp user=pgvrrp").hidden_socket(Some("primary")), None);
    }
}

//! One session with the local PostgreSQL.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{MakeTlsConnect, NoTls, TlsConnect};
use tokio_postgres::{Client, Config, Error, SimpleQueryMessage};

use super::bounded::{Allowance, Bounded};
use super::tls;
use crate::evidence::tls::explain;
use crate::process::Process;

/// PostgreSQL's states in which the server is no server: starting up, shutting down, in recovery without connections.
const CANNOT_CONNECT_NOW: &str = "57P03";

/// With this begins what is wrong with TLS.
pub(crate) const TLS: &str = "TLS: ";

/// Where the server is, and as whom to ask it.
#[derive(Debug)]
pub(crate) struct Target {
    config: Config,
    place: Place,
    tls: tls::Settings,
}

#[derive(Debug)]
enum Place {
    Unix(PathBuf),
    Tcp(String, u16),
}

/// Why there is no session.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no server, or it is starting up or shutting down.
    Down(String),
    /// A server answers and does not let us ask.
    Alive {
        /// Its words.
        detail: String,
        /// Which postmaster.
        postmaster: Option<i32>,
    },
}

/// A session, and the first answers on it.
pub(crate) struct Session {
    client: Client,
    /// Serves the client. It would go on for as long as a question is unanswered, and keep its place in PostgreSQL.
    connection: JoinHandle<()>,
    allowance: Allowance,
    postmaster: Option<i32>,
    /// Of the server; `None` if this role may not see it.
    pub(crate) system_identifier: Option<String>,
}

/// Resolves when a session is over.
pub(crate) struct Ended(oneshot::Receiver<String>);

impl Ended {
    /// Waits for the end; says how it came. Stays resolved.
    pub(crate) async fn wait(&mut self) -> String {
        if self.0.is_terminated() {
            return "the session is over".to_owned();
        }
        (&mut self.0).await.unwrap_or_else(|_| "the session is over".to_owned())
    }
}

impl Target {
    /// The first host of the connection string, by its `hostaddr` if it has one, as libpq does; by default the directory where
    /// Debian's PostgreSQL puts its socket.
    pub(crate) fn new(mut config: Config, tls: tls::Settings) -> Self {
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let place = match (config.get_hostaddrs().first(), config.get_hosts().first()) {
            (Some(address), _) => Place::Tcp(address.to_string(), port),
            (None, Some(Host::Unix(directory))) => Place::Unix(directory.join(format!(".s.PGSQL.{port}"))),
            (None, Some(Host::Tcp(host))) => Place::Tcp(host.clone(), port),
            (None, None) => Place::Unix(PathBuf::from(format!("/var/run/postgresql/.s.PGSQL.{port}"))),
        };
        config.application_name("pgvrrp");
        Self { config, place, tls }
    }

    /// The name for which the server's certificate has to be: that of `host`, as libpq has it, wherever it leads.
    fn host(&self) -> String {
        match (self.config.get_hosts().first(), &self.place) {
            (Some(Host::Tcp(name)), _) | (_, Place::Tcp(name, _)) => name.clone(),
            (_, Place::Unix(_)) => String::new(),
        }
    }
}

impl Session {
    /// Connects, sets the session up and asks which server this is. The second value tells when the session is over.
    pub(crate) async fn open(target: &Target) -> Result<(Self, Ended), Failure> {
        match &target.place {
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|error| unreachable(&error, &path.display().to_string()))?;
                // The kernel gives the credentials of whoever called listen(): the postmaster, not the backend. From inside
                // a container every postmaster of the host may look alike, so none is taken for the former one.
                let pid = stream.peer_cred().ok().and_then(|credentials| credentials.pid());
                let postmaster = pid.and_then(|pid| Process::new(pid).number());
                Self::start(target, stream, NoTls, postmaster).await
            }
            Place::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(|error| unreachable(&error, &format!("{host}:{port}")))?;
                let _ = stream.set_nodelay(true);
                if target.config.get_ssl_mode() == SslMode::Disable {
                    return Self::start(target, stream, NoTls, None).await;
                }
                let alive = |detail| Failure::Alive { detail, postmaster: None };
                let mut connector = tls::connector(&target.tls).await.map_err(alive)?;
                // It cannot fail: a name that is none is told by the handshake.
                let Ok(tls) = MakeTlsConnect::<Bounded<TcpStream>>::make_tls_connect(&mut connector, &target.host());
                Self::start(target, stream, tls, None).await
            }
        }
    }

    async fn start<S, T>(target: &Target, stream: S, tls: T, postmaster: Option<i32>) -> Result<(Self, Ended), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: TlsConnect<Bounded<S>>,
        T::Stream: Send + 'static,
    {
        let allowance = Allowance::new();
        let stream = Bounded::new(stream, allowance.clone());
        let alive = |error: &Error| classify(error, postmaster);
        let (client, connection) = target.config.connect_raw(stream, tls).await.map_err(|error| alive(&error))?;
        let (over, ended) = oneshot::channel();
        let connection = tokio::spawn(async move {
            let how = match connection.await {
                Ok(()) => "closed".to_owned(),
                Err(error) => describe(&error),
            };
            let _ = over.send(how);
        });
        let mut session = Self { client, connection, allowance, postmaster, system_identifier: None };
        // The session is idle most of the time and must not be ended for that. Older servers do not know the second
        // setting, so its failure is none.
        let _ = session.client.simple_query("SET idle_session_timeout = 0").await;
        let _ = session.client.simple_query("SET statement_timeout = 0").await;
        session.system_identifier = session
            .value("SELECT system_identifier FROM pg_catalog.pg_control_system()")
            .await
            .map_err(|error| alive(&error))?;
        Ok((session, Ended(ended)))
    }

    /// The process that listens, if the connection is by a Unix socket and it has a number here.
    pub(crate) fn postmaster(&self) -> Option<i32> {
        self.postmaster
    }

    /// Whether the server is in recovery.
    pub(crate) async fn ask(&self) -> Result<bool, String> {
        match self.value("SELECT pg_catalog.pg_is_in_recovery()").await {
            Ok(Some(value)) if value == "t" => Ok(true),
            Ok(Some(value)) if value == "f" => Ok(false),
            Ok(other) => Err(format!("pg_is_in_recovery() returned {other:?}")),
            Err(error) => Err(describe(&error)),
        }
    }

    /// The first column of the first row of the answer, if there is one and it is not NULL.
    pub(crate) async fn value(&self, query: &str) -> Result<Option<String>, Error> {
        self.allowance.renew();
        let answers = self.client.simple_query(query).await?;
        Ok(answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn unreachable(error: &io::Error, place: &str) -> Failure {
    let detail = format!("{place}: {error}");
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Failure::Down(detail),
        ErrorKind::PermissionDenied => Failure::Alive {
            detail: format!("{detail}: may this user reach PostgreSQL's socket directory?"),
            postmaster: None,
        },
        // Too many open files, no memory: that this host cannot ask says nothing about the server.
        _ => Failure::Alive { detail, postmaster: None },
    }
}

fn classify(error: &Error, postmaster: Option<i32>) -> Failure {
    match error.code() {
        Some(code) if code.code() == CANNOT_CONNECT_NOW => Failure::Down(describe(error)),
        // Ended in the middle of the greeting, without a word: the postmaster is on its way out, or full of clients.
        _ => Failure::Alive { detail: describe(error), postmaster },
    }
}

/// The server's own words, with their code.
pub(crate) fn describe(error: &Error) -> String {
    if let Some(trouble) = explain(error) {
        return format!("{TLS}{}", trouble.words);
    }
    match error.as_db_error() {
        Some(db) => {
            let help = match db.code().code() {
                "28000" => ": does pg_hba.conf let this user in?",
                "28P01" => ": is the password right?",
                "42501" if db.message().contains("pg_control_system") => ": the role needs the right to call it",
                _ => "",
            };
            format!("{}: {}{help}", db.code().code(), db.message())
        }
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(connection: &str) -> Target {
        let files = pgvrrp_config::Tls { ca_file: None, identity: None };
        Target::new(
            connection.parse().expect("the connection is right"),
            tls::Settings { verify: tls::Verify::Nothing, files },
        )
    }

    #[test]
    fn the_certificate_is_for_the_host_wherever_that_leads() {
        for (connection, host) in [
            ("host=localhost user=pgvrrp", "localhost"),
            ("hostaddr=127.0.0.1 user=pgvrrp", "127.0.0.1"),
            ("host=db1.example hostaddr=127.0.0.1 user=pgvrrp", "db1.example"),
        ] {
            assert_eq!(target(connection).host(), host);
        }
    }

    #[test]
    fn the_place_is_where_libpq_would_go() {
        let place = |connection: &str| format!("{:?}", target(connection).place);
        assert_eq!(place("user=pgvrrp"), r#"Unix("/var/run/postgresql/.s.PGSQL.5432")"#);
        assert_eq!(place("host=/tmp port=5433 user=pgvrrp"), r#"Unix("/tmp/.s.PGSQL.5433")"#);
        assert_eq!(place("host=localhost user=pgvrrp"), r#"Tcp("localhost", 5432)"#);
        assert_eq!(place("hostaddr=127.0.0.1 user=pgvrrp"), r#"Tcp("127.0.0.1", 5432)"#);
        assert_eq!(place("host=localhost hostaddr=127.0.0.1 user=pgvrrp"), r#"Tcp("127.0.0.1", 5432)"#);
    }
}

//! One client per endpoint, and which endpoint to ask first.
//!
//! A balanced client keeps sending to a member that is dead; so every endpoint has a client of its own, which is thrown
//! away when a request on it fails, and the next request goes to the endpoint that answered last.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use pgvrrp_config::{Pem, Tls};
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::{debug, info, warn};

use super::version::Version;
use crate::evidence::tls::{self, Trouble};

/// User and password for etcd.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// Never printed.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// All endpoints of one etcd cluster.
#[derive(Debug)]
pub(super) struct Endpoints {
    all: Vec<Endpoint>,
    tls: Option<Tls>,
    credentials: Option<Credentials>,
    timeout: Duration,
    /// Index of the endpoint that answered last.
    preferred: AtomicUsize,
    /// Told when that is another one.
    moved: Notify,
}

#[derive(Debug)]
struct Endpoint {
    member: Member,
    state: Mutex<State>,
    version_seen: AtomicBool,
}

#[derive(Default)]
struct State {
    client: Option<Client>,
    /// What the name meant when it last resolved: kept for the time when DNS is down.
    address: Option<SocketAddr>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Endpoints {
    pub(super) fn new(
        urls: Vec<String>,
        tls: Option<Tls>,
        credentials: Option<Credentials>,
        timeout: Duration,
    ) -> Self {
        let all = urls.into_iter().map(|url| Endpoint {
            member: Member::new(url),
            state: Mutex::default(),
            version_seen: AtomicBool::new(false),
        });
        Self { all: all.collect(), tls, credentials, timeout, preferred: AtomicUsize::new(0), moved: Notify::new() }
    }

    /// The deadline of one request.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks one endpoint after the other, beginning with the one that answered last, until one answers. `ask` gets a
    /// client and the endpoint's URL; it is given `2 * timeout` at each, since it may consist of several requests. It may
    /// be called twice for an endpoint.
    pub(super) async fn ask<T>(&self, ask: impl AsyncFn(Client, &str) -> Result<T, Failed>) -> Result<T, String> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut errors = Vec::new();
        for offset in 0..self.all.len() {
            let index = (first + offset) % self.all.len();
            match self.ask_at(index, &ask).await {
                Ok(answer) => {
                    self.prefer(index);
                    return Ok(answer);
                }
                Err(error) => errors.push(format!("{}: {error}", self.all[index].member.url)),
            }
        }
        Err(errors.join("; "))
    }

    async fn ask_at<T>(&self, index: usize, ask: impl AsyncFn(Client, &str) -> Result<T, Failed>) -> Result<T, String> {
        let mut outcome = self.ask_once(index, &ask).await;
        if let Err(Failed { cause: Cause::Login, .. }) = outcome {
            // The next client shows the password anew.
            outcome = self.ask_once(index, &ask).await;
        }
        match outcome {
            Ok(answer) => Ok(answer),
            Err(Failed { words, cause: Cause::Connection }) => Err(self.refusal(index).await.unwrap_or(words)),
            Err(Failed { words, .. }) => Err(words),
        }
    }

    async fn ask_once<T>(
        &self,
        index: usize,
        ask: impl AsyncFn(Client, &str) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let client = self.client(index).await?;
        let url = &self.all[index].member.url;
        let outcome = timeout(self.timeout * 2, ask(client, url)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.timeout * 2).into()));
        if outcome.is_err() {
            self.forget(index).await;
        }
        outcome
    }

    async fn refusal(&self, index: usize) -> Option<String> {
        let endpoint = &self.all[index];
        let address = endpoint.state.lock().await.address?;
        let refusal = timeout(self.timeout, endpoint.member.refusal(address, self.tls.as_ref())).await.ok()?;
        refusal.map(|trouble| trouble.words)
    }

    /// A client for the endpoint that answered last, for requests that are not to be sent twice.
    pub(super) async fn preferred(&self) -> Result<Client, String> {
        let index = self.preferred.load(Ordering::Relaxed);
        self.client(index).await.map_err(|failed| format!("{}: {}", self.all[index].member.url, failed.words))
    }

    /// After a failure of a request on the [`preferred`](Self::preferred) client: the next one is asked first.
    pub(super) async fn preferred_failed(&self) {
        let index = self.preferred.load(Ordering::Relaxed);
        self.forget(index).await;
        self.prefer((index + 1) % self.all.len());
    }

    /// Waits until another endpoint is asked first than before.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    fn prefer(&self, index: usize) {
        if self.preferred.swap(index, Ordering::Relaxed) != index {
            self.moved.notify_one();
        }
    }

    async fn forget(&self, index: usize) {
        self.all[index].state.lock().await.client = None;
    }

    async fn client(&self, index: usize) -> Result<Client, Failed> {
        let endpoint = &self.all[index];
        let mut state = endpoint.state.lock().await;
        if let Some(client) = &state.client {
            return Ok(client.clone());
        }
        state.address = self.resolve(endpoint, state.address).await;
        let address = state.address.ok_or_else(|| format!("{} does not resolve", endpoint.member.authority()))?;
        let options = ConnectOptions::new().with_connect_timeout(self.timeout).with_require_leader(true);
        let connecting = endpoint.member.connect(address, self.tls.as_ref(), self.credentials.as_ref(), options);
        // A password is slow to check on purpose, and a check that is given up is made all the same, before the next.
        let limit = if self.credentials.is_some() { self.timeout * 2 } else { self.timeout };
        let client = match timeout(limit, connecting).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(format!("no connection within {limit:?}").into()),
        };
        state.client = Some(client.clone());
        if !endpoint.version_seen.swap(true, Ordering::Relaxed) {
            tokio::spawn(warn_of_version(endpoint.member.url.clone(), client.clone(), self.timeout));
        }
        Ok(client)
    }

    async fn resolve(&self, endpoint: &Endpoint, known: Option<SocketAddr>) -> Option<SocketAddr> {
        let authority = endpoint.member.authority();
        if let Ok(address) = authority.parse() {
            return Some(address);
        }
        match timeout(self.timeout, tokio::net::lookup_host(authority)).await {
            Ok(Ok(mut found)) => found.next().or(known),
            Ok(Err(error)) => {
                debug!(endpoint = endpoint.member.url, %error, "name does not resolve; keeping the address known before");
                known
            }
            Err(_) => known,
        }
    }
}

/// Why a question came to nothing.
#[derive(Debug)]
pub(super) struct Failed {
    words: String,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The token is not good any more: its time is over, or the users have changed since.
    Login,
    /// There was no connection, or it broke.
    Connection,
    /// Anything else.
    Other,
}

impl From<String> for Failed {
    fn from(words: String) -> Self {
        Self { words, cause: Cause::Other }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let cause = match &error {
            // gRPC code 16, Unauthenticated.
            Error::GRpcStatus(status) if status.code() as i32 == 16 || is_outdated(status.message()) => Cause::Login,
            error if is_broken(error) => Cause::Connection,
            _ => Cause::Other,
        };
        Self { words: describe(&error), cause }
    }
}

/// Whether a signed token is from before the last change of a user or role. etcd has no code for that of its own: as of 3.5
/// it is InvalidArgument, before that Unknown.
fn is_outdated(words: &str) -> bool {
    ["auth: revision in header is old", "revision of auth store is old"].iter().any(|old| words.contains(old))
}

/// Whether it is the connection that failed: what etcd itself says comes without a source.
pub(crate) fn is_broken(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if std::error::Error::source(status).is_some())
}

/// One member of etcd, as the configuration names it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    url: String,
}

impl Member {
    pub(crate) fn new(url: String) -> Self {
        Self { url }
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> &str {
        self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest)
    }

    /// The name or address for which its certificate has to be.
    fn host(&self) -> &str {
        let authority = self.authority();
        authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']'])
    }

    pub(crate) fn has_tls(&self) -> bool {
        self.url.starts_with("https:")
    }

    /// A client for this member, which is at `address`. With credentials it has proved who it is when this returns;
    /// without, nothing may have been sent yet.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        tls: Option<&Tls>,
        credentials: Option<&Credentials>,
        mut options: ConnectOptions,
    ) -> Result<Client, Error> {
        if let Some(Credentials { user, password }) = credentials {
            options = options.with_user(user, password).with_auto_token_refresh(true);
        }
        let mut scheme = "http";
        if let Some(tls) = tls.filter(|_| self.has_tls()) {
            options = options.with_tls(tls_options(tls).await?.domain_name(self.host()));
            scheme = "https";
        }
        Client::connect([format!("{scheme}://{address}")], Some(options)).await
    }

    /// What about TLS makes this member end a connection. A client is refused only after it has taken the handshake for done
    /// (as of TLS 1.3), and what remains of that above HTTP/2 is that the connection was closed: so it is looked at by itself.
    pub(crate) async fn refusal(&self, address: SocketAddr, tls: Option<&Tls>) -> Option<Trouble> {
        let pem = match tls {
            Some(tls) => tls::read(tls).await.ok()?,
            None => Pem::default(),
        };
        let mut config = tls::client_config(&pem).ok()?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from(self.host().to_owned()).ok()?;
        let stream = TcpStream::connect(address).await.ok()?;
        let greeted = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        match (greeted, tls) {
            (Ok(mut stream), _) => stream.read_u8().await.err().and_then(|error| tls::explain(&error)),
            (Err(error), Some(_)) => tls::explain(&error).or_else(|| Some(Trouble::no_tls_there())),
            // Whose certificate it has does not matter here: it has one.
            (Err(error), None) => tls::explain(&error).map(|_| Trouble::tls_there()),
        }
    }
}

/// What is in the files now: they may have been renewed since the last connection.
async fn tls_options(tls: &Tls) -> Result<TlsOptions, Error> {
    let pem = tls::read(tls).await.map_err(Error::InvalidArgs)?;
    let mut options = TlsOptions::new();
    if let Some(authorities) = pem.authorities {
        options = options.ca_certificate(Certificate::from_pem(authorities));
    }
    if let Some((certificate, key)) = pem.identity {
        options = options.identity(Identity::from_pem(certificate, key));
    }
    Ok(options)
}

/// etcd's own words, without the client's wrapping.
pub(crate) fn describe(error: &Error) -> String {
    if let Some(trouble) = tls_trouble(error) {
        return trouble.words;
    }
    match error {
        Error::GRpcStatus(status) => {
            // gRPC code 7, PermissionDenied.
            let help = if status.code() as i32 == 7 {
                ": this etcd user lacks a right, see the README for the role it needs"
            } else {
                ""
            };
            format!("{}{help}", status.message())
        }
        Error::InvalidArgs(words) => words.clone(),
        other => other.to_string(),
    }
}

/// What is wrong with TLS, if that is what is wrong.
pub(crate) fn tls_trouble(error: &Error) -> Option<Trouble> {
    match error {
        Error::GRpcStatus(status) => tls::explain(status),
        Error::TransportError(error) => tls::explain(error),
        _ => None,
    }
}

/// Says once per endpoint if its etcd is too old for the promise to hold while etcd itself stalls or elects.
async fn warn_of_version(url: String, mut client: Client, limit: Duration) {
    let Ok(Ok(status)) = timeout(limit, client.status()).await else { return };
    let version = status.version();
    if Version::parse(version).is_sound() {
        info!(endpoint = url, version, "etcd");
    } else {
        warn!(
            endpoint = url,
            version,
            "this etcd can serve stale reads or revoke leases early while it stalls or elects; 3.5.28, 3.6.9 or newer cannot"
        );
    }
}

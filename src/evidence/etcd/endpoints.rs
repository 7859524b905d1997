//! One client per endpoint, and which endpoint to ask first.
//!
//! A balanced client keeps sending to a member that is dead; so every endpoint has a client of its own, which is thrown
//! away when a request on it fails, and the next request goes to the endpoint that answered last.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use pgvrrp_config::Tls;
use tokio::sync::{Mutex, Notify};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::version::Version;
use crate::evidence::tls;

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
    /// client and the endpoint's URL; it is given `2 * timeout` at each, since it may consist of several requests.
    pub(super) async fn ask<T>(&self, ask: impl AsyncFn(Client, &str) -> Result<T, String>) -> Result<T, String> {
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

    async fn ask_at<T>(&self, index: usize, ask: impl AsyncFn(Client, &str) -> Result<T, String>) -> Result<T, String> {
        let client = self.client(index).await?;
        let url = &self.all[index].member.url;
        let outcome = timeout(self.timeout * 2, ask(client, url)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.timeout * 2)));
        if outcome.is_err() {
            self.forget(index).await;
        }
        outcome
    }

    /// A client for the endpoint that answered last, for requests that are not to be sent twice.
    pub(super) async fn preferred(&self) -> Result<Client, String> {
        let index = self.preferred.load(Ordering::Relaxed);
        self.client(index).await.map_err(|error| format!("{}: {error}", self.all[index].member.url))
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

    async fn client(&self, index: usize) -> Result<Client, String> {
        let endpoint = &self.all[index];
        let mut state = endpoint.state.lock().await;
        if let Some(client) = &state.client {
            return Ok(client.clone());
        }
        state.address = self.resolve(endpoint, state.address).await;
        let address = state.address.ok_or_else(|| format!("{} does not resolve", endpoint.member.authority()))?;
        let options = ConnectOptions::new().with_connect_timeout(self.timeout).with_require_leader(true);
        let connecting = endpoint.member.connect(address, self.tls.as_ref(), self.credentials.as_ref(), options);
        let client = match timeout(self.timeout, connecting).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(describe(&error)),
            Err(_) => return Err(format!("no connection within {:?}", self.timeout)),
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
}

/// What is in the files now: they may have been renewed since the last connection.
async fn tls_options(tls: &Tls) -> Result<TlsOptions, Error> {
    let tls = tls.clone();
    // A disk that does not answer must not keep anything else waiting.
    let pem = spawn_blocking(move || tls.read()).await.map_err(|error| Error::Internal(error.to_string()))?;
    let pem = pem.map_err(|unusable| Error::InvalidArgs(unusable.to_string()))?;
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
pub(crate) fn tls_trouble(error: &Error) -> Option<tls::Trouble> {
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

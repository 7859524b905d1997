//! One client per endpoint, and which endpoint to ask first.
//!
//! A balanced client keeps sending to a member that is dead; so every endpoint has a client of its own, which is thrown
//! away when a request on it fails, and the next request goes to the endpoint that answered last.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use pgvrrp_config::Tls;
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::Settings;
use super::failed::{Cause, Failed};
use super::member::{Credentials, Member};
use super::version::Version;
use crate::clock;

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
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings { endpoints, tls, credentials, timeout, .. } = settings.clone();
        let all = endpoints.into_iter().map(|url| Endpoint {
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
                Err(error) => errors.push(format!("{}: {error}", self.all[index].member.url())),
            }
        }
        Err(errors.join("; "))
    }

    async fn ask_at<T>(&self, index: usize, ask: impl AsyncFn(Client, &str) -> Result<T, Failed>) -> Result<T, String> {
        let asked = clock::now();
        let mut outcome = self.ask_once(index, &ask).await;
        if let Err(Failed { cause: Cause::Login, .. }) = outcome {
            // The next client shows the password anew.
            outcome = self.ask_once(index, &ask).await;
        }
        match outcome {
            Ok(answer) => Ok(answer),
            // A refusal comes at once. Where nothing came, to look at that as well would keep the next endpoint waiting.
            Err(Failed { words, cause: Cause::Connection }) if clock::now().since(asked) < self.timeout / 2 => {
                Err(self.refusal(index).await.unwrap_or(words))
            }
            Err(Failed { words, .. }) => Err(words),
        }
    }

    async fn ask_once<T>(
        &self,
        index: usize,
        ask: impl AsyncFn(Client, &str) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let client = self.client(index).await?;
        let url = self.all[index].member.url();
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
        let refusal = timeout(self.timeout / 2, endpoint.member.refusal(address, self.tls.as_ref())).await.ok()?;
        refusal.map(|trouble| trouble.words)
    }

    /// A client for the endpoint that answered last, for requests that are not to be sent twice.
    pub(super) async fn preferred(&self) -> Result<Client, String> {
        let index = self.preferred.load(Ordering::Relaxed);
        self.client(index).await.map_err(|failed| format!("{}: {}", self.all[index].member.url(), failed.words))
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
            tokio::spawn(warn_of_version(endpoint.member.url().to_owned(), client.clone(), self.timeout));
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
                debug!(endpoint = endpoint.member.url(), %error, "name does not resolve; keeping the address known before");
                known
            }
            Err(_) => known,
        }
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

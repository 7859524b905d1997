//! Each endpoint of etcd by itself: is it there, which version, does it have a leader, and does it answer a linearizable
//! read, which takes a majority?

use std::net::SocketAddr;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error, ResponseHeader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::patience::Patience;
use crate::clock;
use crate::evidence::etcd::{Member, Settings, describe, is_broken, tls_trouble};
use crate::evidence::patroni;
use crate::evidence::tls::Trouble;

/// What all the questions to one endpoint may take together.
const TOGETHER: Duration = Duration::from_secs(4);

/// One endpoint, and what it said.
pub(crate) struct Endpoint {
    /// `host:port`.
    pub(crate) authority: String,
    /// Why there is no word from it at all, or its words.
    pub(crate) answer: Result<Answer, Unreachable>,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// Its name has no address.
    Name(String),
    /// Nobody accepts it there.
    Host(String),
}

/// What a member says about itself.
pub(crate) struct Answer {
    pub(crate) version: Option<String>,
    pub(crate) cluster_id: Option<u64>,
    pub(crate) leader: Option<Leader>,
    /// What it complains of: alarms of any member, and that it has no leader.
    pub(crate) errors: Vec<String>,
    /// A client that is known to work, and how long a linearizable read took on it.
    pub(crate) read: Result<(Client, Duration), Refusal>,
}

/// Whom a member follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leader {
    /// Nobody: it is without a majority, or an election is under way.
    None,
    /// It is the leader.
    Itself,
    /// Another member.
    Another,
}

/// Why a read was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// etcd does not know this user, or wants one.
    Rights(String),
    /// There is no TLS between here and there.
    Tls(Trouble),
    /// Anything else: no leader, no answer in time.
    Other(String),
}

impl Refusal {
    fn of(error: &Error) -> Self {
        if let Some(trouble) = tls_trouble(error) {
            return Self::Tls(trouble);
        }
        let text = describe(error);
        let rights = match error {
            // gRPC codes: invalid argument, permission denied, failed precondition, unauthenticated.
            Error::GRpcStatus(status) => match status.code() as i32 {
                7 | 16 => true,
                3 | 9 => text.contains("auth") || text.contains("user name"),
                _ => false,
            },
            _ => false,
        };
        if rights { Self::Rights(text) } else { Self::Other(text) }
    }
}

impl Endpoint {
    /// A client on which a read was answered.
    pub(crate) fn reader(&mut self) -> Option<Client> {
        let (client, _) = self.answer.as_ref().ok()?.read.as_ref().ok()?;
        Some(client.clone())
    }

    /// Why nothing can be read from it; empty if something can.
    pub(crate) fn trouble(&self) -> String {
        let refusal = match &self.answer {
            Err(Unreachable::Name(why) | Unreachable::Host(why)) => return why.clone(),
            Ok(answer) => answer.read.as_ref().err(),
        };
        match refusal {
            Some(Refusal::Rights(why) | Refusal::Other(why)) => why.clone(),
            Some(Refusal::Tls(trouble)) => trouble.words.clone(),
            None => String::new(),
        }
    }

    /// What this endpoint said about the user's rights, if it refused for them.
    pub(crate) fn refused_rights(&self) -> Option<&str> {
        match &self.answer.as_ref().ok()?.read {
            Err(Refusal::Rights(text)) => Some(text),
            _ => None,
        }
    }
}

/// Asks all endpoints at the same time; in the order of the configuration.
pub(crate) async fn ask(settings: &Settings) -> Vec<Endpoint> {
    let mut asked = JoinSet::new();
    for (index, url) in settings.endpoints.iter().enumerate() {
        let (url, settings) = (url.clone(), settings.clone());
        // A local task: the question for the version by HTTP is one.
        asked.spawn_local(async move { (index, examine(&url, &settings).await) });
    }
    let mut endpoints = asked.join_all().await;
    endpoints.sort_by_key(|(index, _)| *index);
    endpoints.into_iter().map(|(_, endpoint)| endpoint).collect()
}

async fn examine(url: &str, settings: &Settings) -> Endpoint {
    let member = Member::new(url.to_owned());
    let authority = member.authority().to_owned();
    let patience = Patience::of(TOGETHER);
    let answer = match reach(&authority, patience).await {
        Ok(address) => Ok(converse(&member, address, settings, patience).await),
        Err(why) => Err(why),
    };
    Endpoint { authority, answer }
}

/// The address that accepts a connection.
async fn reach(authority: &str, patience: Patience) -> Result<SocketAddr, Unreachable> {
    let address = resolve(authority, patience).await.map_err(Unreachable::Name)?;
    match patience.wait(TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(address),
        Ok(Err(error)) => Err(Unreachable::Host(format!("not reachable: {error}"))),
        Err(late) => Err(Unreachable::Host(format!("not reachable: {late}"))),
    }
}

async fn resolve(authority: &str, patience: Patience) -> Result<SocketAddr, String> {
    let found =
        patience.wait(tokio::net::lookup_host(authority)).await.map_err(|_| "its name did not resolve in time")?;
    let address = found.map_err(|error| format!("its name does not resolve: {error}"))?.next();
    address.ok_or_else(|| "its name resolves to nothing".to_owned())
}

async fn converse(member: &Member, address: SocketAddr, settings: &Settings, patience: Patience) -> Answer {
    let read_not_yet = Err(Refusal::Other(String::new()));
    let mut answer = Answer { version: None, cluster_id: None, leader: None, errors: Vec::new(), read: read_not_yet };
    // Without credentials, and without asking for a leader: what a member says about itself needs neither.
    let anonymous = member.connect(address, settings.tls.as_ref(), None, ConnectOptions::new());
    let status = match patience.wait(anonymous).await {
        Ok(Ok(mut client)) => patience.wait(client.status()).await,
        Ok(Err(error)) => Ok(Err(error)),
        Err(late) => Err(late),
    };
    if let Ok(Ok(status)) = &status {
        answer.version = Some(status.version().to_owned());
        answer.errors = status.errors().to_vec();
        answer.cluster_id = status.header().map(ResponseHeader::cluster_id);
        answer.leader = status.header().map(|header| match status.leader() {
            0 => Leader::None,
            leader if leader == header.member_id() => Leader::Itself,
            _ => Leader::Another,
        });
    }
    // One that refuses the question may still tell its version; one that is silent is not asked again.
    if let Ok(Err(_)) = status
        && !member.has_tls()
        && let Ok(Ok(body)) = patience.wait(patroni::ask(&format!("http://{address}/version"))).await
    {
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        answer.version = body["etcdserver"].as_str().map(str::to_owned);
    }
    answer.read = read(member, address, settings, patience).await;
    answer
}

/// One read as the daemon makes it.
async fn read(
    member: &Member,
    address: SocketAddr,
    settings: &Settings,
    patience: Patience,
) -> Result<(Client, Duration), Refusal> {
    let options = ConnectOptions::new().with_require_leader(true);
    let client = member.connect(address, settings.tls.as_ref(), settings.credentials.as_ref(), options);
    let client = patience.wait(client).await;
    let mut client = client.map_err(Refusal::Other)?.map_err(|error| Refusal::of(&error))?;
    // The first question on a connection also makes it.
    let _ = patience.wait(client.status()).await;
    let asked = clock::now();
    let answer = patience.wait(client.get(settings.keys.leader.as_str(), None)).await.map_err(Refusal::Other)?;
    match answer {
        Ok(_) => Ok((client, clock::now().since(asked))),
        // Whether this user may read that very key is the next area's question: the client works.
        Err(Error::GRpcStatus(status)) if status.code() as i32 == 7 => Ok((client, clock::now().since(asked))),
        Err(error) if is_broken(&error) => match patience.wait(member.refusal(address, settings.tls.as_ref())).await {
            Ok(Some(trouble)) => Err(Refusal::Tls(trouble)),
            _ => Err(Refusal::of(&error)),
        },
        Err(error) => Err(Refusal::of(&error)),
    }
}

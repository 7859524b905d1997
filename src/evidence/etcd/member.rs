//! One member: a client for it, with TLS and credentials where there are to be.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use pgvrrp_config::{Pem, Tls};
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

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

/// One member of etcd, as the configuration names it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    url: String,
}

impl Member {
    pub(crate) fn new(url: String) -> Self {
        Self { url }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
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

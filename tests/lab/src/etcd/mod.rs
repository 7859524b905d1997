//! etcd: its members, and access to its keys.

mod client;
mod member;

use crate::network::Node;

pub use client::{EtcdClient, KeyValue, ROOT_USER};
pub(crate) use client::{base64, key_value, prefix_end, token};
pub use member::Member;

/// Where clients reach a member.
pub const CLIENT_PORT: u16 = 2379;

/// Where the lab itself reaches a member whose other port has TLS.
const PLAIN_PORT: u16 = 2378;

/// Where members reach each other.
pub const PEER_PORT: u16 = 2380;

/// Where etcd runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EtcdLayout {
    /// One member on dcs.
    #[default]
    Single,
    /// Three members, on db1, db2 and dcs.
    Spread,
}

impl EtcdLayout {
    /// The nodes that have a member.
    #[must_use]
    pub const fn nodes(self) -> &'static [Node] {
        match self {
            Self::Single => &[Node::Dcs],
            Self::Spread => &[Node::Db1, Node::Db2, Node::Dcs],
        }
    }
}

/// What etcd gives a client for its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// Good for so many seconds after it was last used.
    Simple(u32),
    /// Signed: good for so many seconds however often it is used, until any user or role is changed.
    Jwt(u32),
}

impl Default for Tokens {
    /// etcd's own.
    fn default() -> Self {
        Self::Simple(300)
    }
}

/// The URL for clients of a member.
#[must_use]
pub fn client_url(node: Node, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}:{CLIENT_PORT}", node.ip())
}

fn url(node: Node, port: u16) -> String {
    format!("http://{}:{port}", node.ip())
}

//! etcd: its members, and access to its keys.

mod client;
mod member;

use crate::network::Node;

pub use client::{EtcdClient, KeyValue, ROOT_USER};
pub(crate) use client::{base64, key_value, prefix_end, token};
pub use member::Member;

/// Where clients reach a member.
pub const CLIENT_PORT: u16 = 2379;

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

/// The address of a member's port as a URL.
#[must_use]
pub fn url(node: Node, port: u16) -> String {
    format!("http://{}:{port}", node.ip())
}

//! The machines of the reference setup and the wire between them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::netns::Namespace;
use crate::site::Site;

/// The virtual IP of the reference setup.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 155);

/// The interface of every machine.
pub const INTERFACE: &str = "eth0";

/// The bridge, in the namespace of the wire.
pub(crate) const BRIDGE: &str = "br0";

/// A machine of the reference setup: a network namespace on the bridge, with one interface, eth0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Node {
    /// PostgreSQL, Patroni and the daemon: 10.0.20.11.
    Db1,
    /// The same: 10.0.20.12.
    Db2,
    /// etcd: 10.0.20.13.
    Dcs,
    /// The application: 10.0.20.100.
    Client,
}

impl Node {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Db1, Self::Db2, Self::Dcs, Self::Client];

    /// Those with a database.
    pub const DATABASES: [Self; 2] = [Self::Db1, Self::Db2];

    /// Its name, which is Patroni's member name too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Db1 => "db1",
            Self::Db2 => "db2",
            Self::Dcs => "dcs",
            Self::Client => "client",
        }
    }

    /// The machine of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|n| n.name() == name)
    }

    /// Its own address; the prefix length is 24.
    #[must_use]
    pub const fn ip(self) -> Ipv4Addr {
        let host = match self {
            Self::Db1 => 11,
            Self::Db2 => 12,
            Self::Dcs => 13,
            Self::Client => 100,
        };
        Ipv4Addr::new(10, 0, 20, host)
    }

    /// The other database node.
    ///
    /// # Panics
    /// For a node without a database.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Db1 => Self::Db2,
            Self::Db2 => Self::Db1,
            Self::Dcs | Self::Client => panic!("{self} has no counterpart"),
        }
    }

    /// Its hardware address: 02:00 and the four bytes of its IP address.
    #[must_use]
    pub const fn mac(self) -> [u8; 6] {
        let [a, b, c, d] = self.ip().octets();
        [0x02, 0, a, b, c, d]
    }

    /// The machine that has this hardware address.
    #[must_use]
    pub fn from_mac(mac: [u8; 6]) -> Option<Self> {
        Self::ALL.into_iter().find(|n| n.mac() == mac)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The namespaces of one lab.
#[derive(Debug)]
pub(crate) struct Network {
    /// The wire: a namespace that has only the bridge, so that nothing of the host's can collide with it.
    pub(crate) lan: Namespace,
    pub(crate) nodes: BTreeMap<Node, Namespace>,
}

impl Network {
    pub(crate) fn build(site: &Site) -> Result<Self> {
        let lan = site.make_namespace("lan")?;
        make_bridge(&lan, BRIDGE)?;
        let mut nodes = BTreeMap::new();
        for node in Node::ALL {
            let namespace = site.make_namespace(node.name())?;
            plug_in(&lan, BRIDGE, node.name(), &namespace, INTERFACE, node.mac())?;
            namespace.ip_batch(&format!("addr add {}/24 dev {INTERFACE}\nlink set {INTERFACE} up\n", node.ip()))?;
            nodes.insert(node, namespace);
        }
        Ok(Self { lan, nodes })
    }
}

/// A wire of its own in the namespace of the wires.
pub(crate) fn make_bridge(lan: &Namespace, bridge: &str) -> Result<()> {
    // Snooping would hold back multicast that nobody asked for, and the probe asks for nothing.
    lan.ip_batch(&format!("link add {bridge} type bridge mcast_snooping 0\nlink set {bridge} up\n"))
}

/// Makes an interface in `namespace` whose other end, `port`, is on the bridge. The interface itself is down.
pub(crate) fn plug_in(
    lan: &Namespace,
    bridge: &str,
    port: &str,
    namespace: &Namespace,
    interface: &str,
    mac: [u8; 6],
) -> Result<()> {
    let mac = mac.map(|b| format!("{b:02x}")).join(":");
    lan.ip_batch(&format!(
        "link add {port} type veth peer name {interface} address {mac} netns {}\n\
         link set {port} master {bridge} up\n",
        namespace.name(),
    ))
}

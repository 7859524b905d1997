//! What the file says, once it is known to be right.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use vrrp::types::{Interval, Priority, Vrid};

use crate::secret::Secret;
use crate::tls::Tls;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `node`: this node's Patroni member name; without Patroni, what status calls it. Not empty, no `/`.
    pub node: String,
    /// `interface`: the network interface of the VIPs that name none of their own; a name the kernel would accept (1 to 15
    /// bytes).
    pub interface: String,
    /// `runtime_dir`: control socket, lock and incarnation live there. Absolute. Default `/run/pgvrrp`.
    pub runtime_dir: PathBuf,
    /// What VIPs that follow the primary need; `None` if and only if there is no such VIP.
    pub cluster: Option<Cluster>,
    /// `[http]`.
    pub http: Http,
    /// `[log]`.
    pub log: Log,
    /// `[hooks] timeout`: how long a hook may take, 100 ms to 600 s. Default 10 s.
    pub hook_timeout: Duration,
    /// `[[vip]]`: at least one; names and addresses are each different, and so are virtual router IDs on one interface for
    /// one address family.
    pub vips: Vec<Vip>,
}

impl Config {
    /// Whether there is a VIP that follows the primary, and with it a cluster.
    pub const fn follows_primary(&self) -> bool {
        self.cluster.is_some()
    }
}

/// The cluster whose primary VIPs follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// `fence`: what keeps two nodes from holding a VIP. The same on every node.
    pub fence: Fence,
    /// `[patroni]`.
    pub patroni: Patroni,
    /// `[etcd]`.
    pub etcd: Etcd,
    /// `[postgres]`.
    pub postgres: Postgres,
    /// `[policy]`.
    pub policy: Policy,
    /// `[clients]`.
    pub clients: Clients,
}

/// How nodes tell each other of a VIP's clients, so that these can be told when its holder is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// `port`: the UDP port on which each node's daemon listens, the same on every node. Default 9155. `None` with
    /// `tell = false`.
    pub port: Option<u16>,
    /// `services`: the TCP ports on a VIP whose connections matter, each once. Empty, the default, for all.
    pub services: Vec<u16>,
}

/// Where Patroni's keys are: `<namespace>/<scope>[/<group>]/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patroni {
    /// `namespace`: with a leading slash and no trailing one, as Patroni makes it. Default `/service`.
    pub namespace: String,
    /// `scope`: the cluster's name. Not empty, no `/`.
    pub scope: String,
    /// `group`: the Citus group, if Patroni has one configured.
    pub group: Option<u32>,
}

/// How etcd is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// `endpoints`: at least one, each `http://host:port` and nothing more, no two the same; or all of them `https://`.
    pub endpoints: Vec<String>,
    /// `ca_file`, `cert_file` and `key_file`: given if and only if the endpoints are `https://`, and then there is a
    /// `ca_file`.
    pub tls: Option<Tls>,
    /// `username`: given if and only if there is a password.
    pub username: Option<String>,
    /// The content of `password_file`.
    pub password: Option<Secret>,
    /// `request_timeout`: the deadline of one request to one endpoint, 100 ms to 5 s. Default 1 s.
    pub request_timeout: Duration,
}

/// How the PostgreSQL of this host is asked for its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    /// `connection`: a libpq key/value string or URL that tokio-postgres understands. It leads to one Unix socket or
    /// loopback address and holds no password. Default `host=/var/run/postgresql user=pgvrrp dbname=postgres`.
    pub connection: String,
    /// `sslmode`, or that of `connection`: below `Require` for a Unix socket. Default `prefer`.
    pub ssl_mode: SslMode,
    /// `ca_file`, `cert_file` and `key_file`: there is a `ca_file` if and only if the server's certificate is verified.
    pub tls: Tls,
    /// The content of `password_file`.
    pub password: Option<Secret>,
    /// `timeout`: the deadline of one question, 50 ms to 5 s. Default 500 ms.
    pub timeout: Duration,
}

/// `postgres.sslmode`, by libpq's words: how much TLS a connection by TCP has. A Unix socket has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// `"disable"`: none.
    Disable,
    /// `"prefer"`: what the server has, whoever it is.
    #[default]
    Prefer,
    /// `"require"`: with whomever.
    Require,
    /// `"verify-ca"`: with one whose certificate an authority in `ca_file` has signed.
    VerifyCa,
    /// `"verify-full"`: and signed for the host that `connection` names.
    VerifyFull,
}

impl SslMode {
    /// The word that stands in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// Whether the server has to show a certificate that is believed.
    pub const fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyFull)
    }
}

/// The read-only HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `listen`: `None` for `"off"`. Default `[::]:9155`.
    pub listen: Option<SocketAddr>,
}

/// What to do where there is no single right answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `postgres_down`: this node has the leader key, its PostgreSQL is down or restarting.
    pub postgres_down: PostgresDown,
    /// `paused`: Patroni is paused, the leader key has expired, PostgreSQL is still primary.
    pub paused: Paused,
    /// `foreign_active`: a router that is not pgvrrp is Active when this node may take the VIP.
    pub foreign_active: ForeignActive,
    /// `failsafe`: etcd is out of reach, Patroni stays primary by its failsafe mode.
    pub failsafe: Failsafe,
}

/// `fence`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fence {
    /// `"lock"`: a key of pgvrrp's own in etcd.
    #[default]
    Lock,
    /// `"leader-key"`: Patroni's leader key alone; for an etcd user that may not write.
    LeaderKey,
}

/// `policy.failsafe`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failsafe {
    /// `"auto"`: the VIP stays while Patroni says that it is primary by its failsafe mode.
    #[default]
    Auto,
    /// `"drop"`: the VIP leaves at its deadline all the same.
    Drop,
}

/// `policy.postgres_down`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PostgresDown {
    /// `"release"`: the VIP leaves once the sessions have ended.
    #[default]
    Release,
    /// `"hold"`: the VIP stays while the leader key does.
    Hold,
}

/// `policy.paused`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paused {
    /// `"hold"`: the VIP stays while this node's lock in etcd does.
    #[default]
    Hold,
    /// `"release"`: the VIP leaves, as without a pause.
    Release,
}

/// `policy.foreign_active`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForeignActive {
    /// `"advertise-first"`: make the other router yield, then bind; 100 ms later at most.
    #[default]
    AdvertiseFirst,
    /// `"bind-at-once"`.
    BindAtOnce,
}

/// `[log]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// `level`. Default `info`.
    pub level: LogLevel,
    /// `format`. Default `auto`.
    pub format: LogFormat,
}

/// `log.format`: in which form lines are written, and where to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `"auto"`: to journald where standard error is its, else as text.
    #[default]
    Auto,
    /// `"text"`: to standard error; in colours on a terminal.
    Text,
    /// `"json"`: to standard error, an object a line.
    Json,
    /// `"journald"`: to journald, with fields.
    Journald,
}

impl LogFormat {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Text, Self::Json, Self::Journald];

    /// The word that stands in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
            Self::Journald => "journald",
        }
    }
}

/// `log.level`: the least severe messages that are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// `"error"`.
    Error,
    /// `"warn"`.
    Warn,
    /// `"info"`.
    #[default]
    Info,
    /// `"debug"`.
    Debug,
    /// `"trace"`.
    Trace,
}

impl LogLevel {
    /// Every one, the least talkative first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The word that stands in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// One virtual router: its addresses move together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// `name`: for people and metric labels. Default: the first address.
    pub name: String,
    /// `address` or `addresses`, in the order of the file: at least one, at most 255 of a family, no two the same. Each is a
    /// unicast address that a host can have: not loopback, and neither the network nor the broadcast address of its IPv4
    /// prefix. The first IPv6 address is link-local (RFC 9568 section 5.2.9). The part after the slash is at least 1; without
    /// one it is 32 or 128.
    pub addresses: Vec<IpNet>,
    /// `virtual_router_id`, for each family that there are addresses of.
    pub virtual_router_id: Vrid,
    /// `interface`. Default: that at the top of the file.
    pub interface: String,
    /// `advertisement_interval`. Default 1 s.
    pub interval: Interval,
    /// `checksum`. Default `auto`.
    pub checksum: Checksum,
    /// `unicast_peers`: where advertisements go, and where they may come from; at least one for each family that there are
    /// addresses of, and none for another. No two the same, none of them a VIP. Empty, the default, for multicast.
    pub unicast_peers: Vec<IpAddr>,
    /// `mac`: `Virtual` only where all addresses are of one family, have no prefix length but that of a link-local IPv6
    /// address, and there are no unicast peers. Default `interface`.
    pub mac: Mac,
    /// `follows`, and what only one of its values gives a meaning to.
    pub follows: Follows,
    /// Those of `[hooks]`, unless the VIP has its own.
    pub hooks: Hooks,
}

/// Commands that are run when a VIP has come to this node or left it: a program, by its absolute path, and arguments; empty,
/// the default, for none. Each program was there and could be executed when the file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// `on_active`: it is here.
    pub on_active: Vec<String>,
    /// `on_backup`: it is not here, and this node could have it.
    pub on_backup: Vec<String>,
    /// `on_fault`: it is not here, and something keeps this node from having it.
    pub on_fault: Vec<String>,
    /// `on_stop`: the daemon has ended.
    pub on_stop: Vec<String>,
    /// `on_change`: any of these, after the one that is for it alone.
    pub on_change: Vec<String>,
}

impl Hooks {
    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        let Self { on_active, on_backup, on_fault, on_stop, on_change } = self;
        [on_active, on_backup, on_fault, on_stop, on_change].iter().all(|command| command.is_empty())
    }
}

/// `vip.follows`: who decides which node holds the VIP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Follows {
    /// `"primary"`: etcd does. The holder is the address owner, with priority 255.
    #[default]
    Primary,
    /// `"none"`: the routers among themselves; plain VRRP.
    None(Election),
}

impl Follows {
    /// Whether it is the primary.
    pub const fn is_primary(&self) -> bool {
        matches!(self, Self::Primary)
    }
}

/// How this node stands in the election of plain VRRP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// `priority`: 1 to 254. Default 100.
    pub priority: Priority,
    /// `preempt`: whether a holder of lower priority is relieved. Default `true`.
    pub preempt: bool,
    /// `preempt_delay`: how long that waits, 0 to 1000 s. Default 0 s, as it is without `preempt`.
    pub preempt_delay: Duration,
    /// `track_interfaces`: interfaces that have to be up beside that of the VIP. No two the same, and not that one.
    pub track_interfaces: Vec<String>,
}

/// `vip.mac`: at which MAC address the VIP is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mac {
    /// `"interface"`: that of the interface.
    #[default]
    Interface,
    /// `"virtual"`: the virtual router's own, which moves with the VIP (RFC 9568 section 7.3).
    Virtual,
}

/// `vip.checksum`: the form of the checksum that is sent. Both forms are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// `"auto"`: RFC 9568's form, until a peer is heard that uses the other.
    #[default]
    Auto,
    /// `"rfc9568"`: over the VRRP message alone (RFC 9568 section 5.2.8).
    Rfc9568,
    /// `"rfc5798"`: with an IPv4 pseudo-header in front, the usual reading of RFC 5798 (Keepalived's and FRR's default).
    Rfc5798,
}

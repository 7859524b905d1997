//! What the file says, once it is known to be right.
//!
//! A setting of which this version knows one value only (`follows`, `mac`) is checked when the file is read, and has no
//! field here.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use vrrp::types::{Interval, Vrid};

use crate::secret::Secret;
use crate::tls::Tls;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `node`: this node's Patroni member name. Not empty, no `/`.
    pub node: String,
    /// `interface`: the network interface that carries the VIPs; a name the kernel would accept (1 to 15 bytes).
    pub interface: String,
    /// `runtime_dir`: control socket, lock and incarnation live there. Absolute. Default `/run/pgvrrp`.
    pub runtime_dir: PathBuf,
    /// `fence`: what keeps two nodes from holding a VIP. The same on every node.
    pub fence: Fence,
    /// `[patroni]`.
    pub patroni: Patroni,
    /// `[etcd]`.
    pub etcd: Etcd,
    /// `[postgres]`.
    pub postgres: Postgres,
    /// `[http]`.
    pub http: Http,
    /// `[policy]`.
    pub policy: Policy,
    /// `[log] level`. Default `info`.
    pub log_level: LogLevel,
    /// `[[vip]]`: at least one; names, addresses and virtual router IDs are each different.
    pub vips: Vec<Vip>,
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
    /// The word that stands in the file, which is also the directive of a tracing filter.
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

/// One virtual IP, which is one virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// `name`: for people and metric labels. Default: the address.
    pub name: String,
    /// `address`: a unicast address that a host can have: not loopback, and neither the network nor the broadcast
    /// address of its prefix.
    pub address: Ipv4Addr,
    /// The part of `address` after the slash, 1 to 32. Default 32.
    pub prefix_len: u8,
    /// `virtual_router_id`.
    pub virtual_router_id: Vrid,
    /// `advertisement_interval`. Default 1 s.
    pub interval: Interval,
    /// `checksum`. Default `auto`.
    pub checksum: Checksum,
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

//! The words for what a finding is about. Programs read them: one that was printed stays.

pub(super) const CONFIGURATION: &str = "configuration";
pub(super) const CAPABILITIES: &str = "capabilities";
pub(super) const INTERFACE: &str = "interface";
pub(super) const SOCKETS: &str = "sockets";
pub(super) const FIREWALL: &str = "firewall";
pub(super) const MANAGERS: &str = "managers";
pub(super) const PEER: &str = "peer";
pub(super) const ETCD: &str = "etcd";
pub(super) const ETCD_RIGHTS: &str = "etcd-rights";
pub(super) const PATRONI: &str = "patroni";
pub(super) const POSTGRES: &str = "postgres";
pub(super) const DAEMON: &str = "daemon";

//! From the configuration's words to those of the daemon's parts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};
use pgvrrp_config::{Checksum, Cluster, Config, Fence, Follows, Mac, SslMode};
use vrrp::router::{ChecksumPolicy, Preempt};

use crate::clients;
use crate::evidence::etcd::keys::Keys;
use crate::evidence::{etcd, postgres};
use crate::gate::policy;
use crate::node::{self, Family, Identity, InterfaceId, Rules, Settings, VipSettings, lock_address};
use crate::virtual_mac;

/// What the node serves, as whom, and by which rules.
pub(crate) fn node_settings(config: &Config, me: Identity, drained: &BTreeSet<String>) -> Settings {
    let mut interfaces = Vec::new();
    let mut vips = all_vip_settings(config, &mut interfaces, drained);
    // For people, who look for them.
    vips.sort_by_key(|vip| vip.follows != node::Follows::Primary);
    Settings { me, interfaces, policy: policy(config), vips }
}

/// The same from another configuration of a daemon that runs already.
pub(crate) fn reloaded(known: &Settings, config: &Config, drained: &BTreeSet<String>) -> Settings {
    let mut interfaces = known.interfaces.clone();
    let wanted = all_vip_settings(config, &mut interfaces, drained);
    known.reloaded(interfaces, policy(config), wanted)
}

fn policy(config: &Config) -> policy::Policy {
    config.cluster.as_ref().map_or_else(policy::Policy::default, policy_settings)
}

fn all_vip_settings(config: &Config, interfaces: &mut Vec<String>, drained: &BTreeSet<String>) -> Vec<VipSettings> {
    let mut id = |name: &str| {
        let known = interfaces.iter().position(|known| known == name);
        InterfaceId(known.unwrap_or_else(|| {
            interfaces.push(name.to_owned());
            interfaces.len() - 1
        }))
    };
    config.vips.iter().map(|vip| vip_settings(vip, &mut id, drained)).collect()
}

fn vip_settings(
    vip: &pgvrrp_config::Vip,
    id: &mut impl FnMut(&str) -> InterfaceId,
    drained: &BTreeSet<String>,
) -> VipSettings {
    VipSettings {
        name: vip.name.clone(),
        addresses: vip.addresses.iter().map(|net| bound_as(*net, vip.mac)).collect(),
        virtual_router_id: vip.virtual_router_id,
        interface: id(&vip.interface),
        virtual_mac: (vip.mac == Mac::Virtual).then(|| id(&virtual_mac_name(vip))),
        interval: vip.interval,
        checksum: match vip.checksum {
            Checksum::Auto => ChecksumPolicy::Auto,
            Checksum::Rfc9568 => ChecksumPolicy::Rfc9568,
            Checksum::Rfc5798 => ChecksumPolicy::Rfc5798,
        },
        unicast_peers: vip.unicast_peers.clone(),
        follows: match &vip.follows {
            Follows::Primary => node::Follows::Primary,
            Follows::None(election) => node::Follows::None(Rules {
                priority: election.priority,
                preempt: if election.preempt { Preempt::After(election.preempt_delay) } else { Preempt::Never },
                track: election.track_interfaces.iter().map(|name| id(name)).collect(),
            }),
        },
        drained: drained.contains(&vip.name),
        former: Vec::new(),
        retired: false,
    }
}

/// The name of the interface with its virtual MAC. Its addresses are of one family.
pub(crate) fn virtual_mac_name(vip: &pgvrrp_config::Vip) -> String {
    let family = if vip.addresses.iter().any(|net| net.addr().is_ipv4()) { Family::V4 } else { Family::V6 };
    virtual_mac::name(family, vip.virtual_router_id, &vip.interface)
}

/// A link-local address brings the interface of a virtual MAC its way to link-local clients (RFC 4291 section 2.5.6); an
/// interface with an address of its own has that already.
fn bound_as(net: IpNet, mac: Mac) -> IpNet {
    match net {
        IpNet::V6(net) if mac == Mac::Virtual && net.addr().is_unicast_link_local() => {
            Ipv6Net::new(net.addr(), 64).unwrap_or(net).into()
        }
        net => net,
    }
}

/// What the operator wants where there is no single right answer.
pub(crate) fn policy_settings(config: &Cluster) -> policy::Policy {
    use pgvrrp_config as from;
    policy::Policy {
        postgres_down: match config.policy.postgres_down {
            from::PostgresDown::Release => policy::PostgresDown::Release,
            from::PostgresDown::Hold => policy::PostgresDown::Hold,
        },
        paused: match config.policy.paused {
            from::Paused::Hold => policy::Paused::Hold,
            from::Paused::Release => policy::Paused::Release,
        },
        foreign_active: match config.policy.foreign_active {
            from::ForeignActive::AdvertiseFirst => policy::ForeignActive::AdvertiseFirst,
            from::ForeignActive::BindAtOnce => policy::ForeignActive::BindAtOnce,
        },
        failsafe: match config.policy.failsafe {
            from::Failsafe::Auto => policy::Failsafe::Auto,
            from::Failsafe::Drop => policy::Failsafe::Drop,
        },
        fence: match config.fence {
            Fence::Lock => policy::Fence::Lock,
            Fence::LeaderKey => policy::Fence::LeaderKey,
        },
    }
}

/// Which etcd to ask, as whom, and for which keys.
pub(crate) fn etcd_settings(config: &Config, cluster: &Cluster) -> etcd::Settings {
    let credentials = cluster.etcd.username.as_ref().zip(cluster.etcd.password.as_ref());
    let vips = config.vips.iter().filter(|vip| vip.follows.is_primary());
    etcd::Settings {
        endpoints: cluster.etcd.endpoints.clone(),
        tls: cluster.etcd.tls.clone(),
        credentials: credentials
            .map(|(user, password)| etcd::Credentials { user: user.clone(), password: password.expose().to_owned() }),
        timeout: cluster.etcd.request_timeout,
        keys: keys(&config.node, cluster, vips.map(|vip| lock_address(&vip.addresses))),
    }
}

/// The keys of a node that serves these VIPs.
pub(crate) fn etcd_keys(settings: &Settings, cluster: &Cluster) -> Keys {
    let vips = settings.vips.iter();
    let locks = vips.map(|vip| lock_address(&vip.addresses).filter(|_| vip.follows == node::Follows::Primary));
    keys(&settings.me.member, cluster, locks)
}

/// Without V there is nothing of ours to read: its prefix may be out of this user's reach.
fn keys(node: &str, cluster: &Cluster, locks: impl Iterator<Item = Option<IpAddr>>) -> Keys {
    let locks: Vec<_> = locks.map(|lock| lock.filter(|_| cluster.fence == Fence::Lock)).collect();
    let patroni = &cluster.patroni;
    Keys::new(&patroni.namespace, &patroni.scope, patroni.group, node, &locks)
}

/// What the exchange of clients has to know.
pub(crate) fn client_settings(config: &Config) -> clients::Settings {
    clients::Settings {
        member: config.node.clone(),
        port: config.cluster.as_ref().and_then(|cluster| cluster.clients.port),
        services: config.cluster.as_ref().map(|cluster| cluster.clients.services.clone()).unwrap_or_default(),
        has_locks: config.cluster.as_ref().is_some_and(|cluster| cluster.fence == Fence::Lock),
    }
}

/// For each VIP the addresses whose clients are listed. A link-local one may be another host's on another link, and is nobody's
/// choice for that; of those that VRRP elects nothing is listed.
pub(crate) fn client_addresses(settings: &Settings) -> Vec<Vec<IpAddr>> {
    let listed = |vip: &VipSettings| vip.follows == node::Follows::Primary && !vip.retired;
    let addresses = |vip: &VipSettings| {
        let addresses = vip.addresses.iter().map(IpNet::addr).filter(|address| !node::is_link_local(*address));
        addresses.filter(|_| listed(vip)).collect()
    };
    settings.vips.iter().map(addresses).collect()
}

/// Which PostgreSQL to ask, as whom.
///
/// # Errors
/// What is wrong with the connection string.
pub(crate) fn postgres_settings(config: &Cluster) -> Result<postgres::Settings, String> {
    let mut connection: tokio_postgres::Config =
        config.postgres.connection.parse().map_err(|error: tokio_postgres::Error| {
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            format!("[postgres] connection: {why}")
        })?;
    if let Some(password) = &config.postgres.password {
        connection.password(password.expose());
    }
    connection.ssl_mode(match config.postgres.ssl_mode {
        SslMode::Disable => tokio_postgres::config::SslMode::Disable,
        SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
    });
    let verify = match config.postgres.ssl_mode {
        SslMode::Disable | SslMode::Prefer | SslMode::Require => postgres::tls::Verify::Nothing,
        SslMode::VerifyCa => postgres::tls::Verify::Authority,
        SslMode::VerifyFull => postgres::tls::Verify::Host,
    };
    let tls = postgres::tls::Settings { verify, files: config.postgres.tls.clone() };
    Ok(postgres::Settings { connection, tls, timeout: config.postgres.timeout })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    const CONFIG: &str = r#"
        node = "db1"
        interface = "eth0"
        [patroni]
        scope = "odoo"
        [etcd]
        endpoints = ["http://10.0.20.13:2379"]
        username = "pgvrrp"
        password_file = "password"
        [postgres]
        connection = "host=localhost user=pgvrrp"
        password_file = "password"
        [[vip]]
        address = "10.0.20.155"
        virtual_router_id = 155
    "#;

    /// Whatever of it gets into a log line or the message of a panic.
    #[test]
    fn what_the_askers_are_given_prints_no_password() {
        let dir = tempfile::tempdir().unwrap();
        let password = dir.path().join("password");
        std::fs::write(&password, "hunter2").unwrap();
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = Config::parse(Path::new("pgvrrp.toml"), CONFIG, dir.path()).unwrap();
        let cluster = config.cluster.as_ref().unwrap();
        let (etcd, postgres) = (etcd_settings(&config, cluster), postgres_settings(cluster).unwrap());
        assert_eq!(etcd.credentials.as_ref().unwrap().password, "hunter2");
        assert_eq!(postgres.connection.get_password(), Some(b"hunter2".as_slice()));
        let shown = format!("{config:?} {etcd:?} {postgres:?} {etcd:#?} {postgres:#?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

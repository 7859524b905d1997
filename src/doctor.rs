//! `pgvrrp doctor`: looks at everything on this node that the daemon will need, and says what is not as it should be and
//! what to do about that.
//!
//! It reads and asks, and changes nothing: no address is bound, nothing is written to etcd or PostgreSQL, and no lock of a
//! daemon is taken. So it can be run before the first start and at any time later.
//!
//! Each area first *asks* (etcd's endpoints, PostgreSQL and the daemon at the same time), and then *judges* the answers,
//! which is pure and tested without a cluster.

mod areas;
mod daemon;
mod endpoints;
pub(crate) mod etcd;
mod etcd_rights;
mod firewall;
mod interface;
pub(crate) mod keys;
mod listen;
mod login;
mod managers;
mod patience;
mod patroni;
mod peer;
mod postgres;
mod process;
mod refusal;
mod report;
mod timing;

use std::io;
use std::path::Path;

use pgvrrp_config::{Cluster, Config};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::settings::{etcd_settings, postgres_settings};
use login::Login;
pub use peer::Peer;
pub use report::{Finding, Level, Report};

/// PostgreSQL's, where it does not say which one it has.
const POSTGRES_PORT: u16 = 5432;

/// Looks at everything, within 8 s. `path` is where the configuration came from. With a `peer` it also tests the way to that one,
/// which takes its `wait` and 5 s at most; `say` is given what it is waiting for.
///
/// # Errors
/// If the system has no means left to ask anything: no descriptors, no threads.
pub fn run(config: &Config, path: &Path, peer: Option<Peer>, say: &dyn Fn(&str)) -> io::Result<Report> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let report = LocalSet::new().block_on(&runtime, examine(config, path, peer, say));
    // A name that does not resolve keeps a thread busy for longer than anybody wants to wait.
    runtime.shutdown_background();
    Ok(report)
}

async fn examine(config: &Config, path: &Path, peer: Option<Peer>, say: &dyn Fn(&str)) -> Report {
    let host = interface::ask(config);
    let segments = host.segments(config);
    let test_way = async {
        match peer {
            Some(peer) => peer::test(config, &segments, peer, say).await,
            None => vec![peer::untested()],
        }
    };
    let ask_cluster = async {
        match &config.cluster {
            Some(cluster) => ask_cluster(config, cluster).await,
            None => None,
        }
    };
    let (cluster, daemon, firewall, way) =
        tokio::join!(ask_cluster, daemon::ask(config.runtime_dir.clone()), firewall::ask(config), test_way);

    let mut findings = vec![configuration(config, path)];
    findings.extend(process::judge(daemon.running()));
    findings.extend(interface::judge(config, &host));
    findings.extend(managers::judge(config, &segments, Path::new("/"), daemon.ours()));
    findings.push(interface::reset());
    if let Some(firewall) = firewall {
        let postgres = cluster.as_ref().and_then(|asked| postgres::port(&asked.server)).unwrap_or(POSTGRES_PORT);
        let clients = config.cluster.as_ref().and_then(|cluster| cluster.clients.port);
        findings.extend(firewall::judge(config, &firewall, firewall::Ports { postgres, clients }));
    }
    findings.extend(daemon.status().map(peer::judge_heard).unwrap_or_default());
    findings.extend(way);
    if let (Some(cluster), Some(asked)) = (&config.cluster, cluster) {
        findings.extend(judge_cluster(config, cluster, &asked, &host, daemon.postgres_role()).await);
    }
    findings.extend(daemon::judge(config, &daemon));
    Report::new(findings)
}

/// What etcd and PostgreSQL said.
struct Asked {
    settings: crate::evidence::etcd::Settings,
    login: Login,
    endpoints: Vec<etcd::Endpoint>,
    keys: Option<keys::Contents>,
    server: postgres::Seen,
}

async fn ask_cluster(config: &Config, cluster: &Cluster) -> Option<Asked> {
    // The command line has made sure that there is a connection string.
    let postgres = postgres_settings(cluster).ok()?;
    let settings = etcd_settings(config, cluster);
    let login = Login::of(&postgres.connection);
    let ((endpoints, keys), server) = tokio::join!(ask_etcd(&settings), postgres::ask(postgres));
    Some(Asked { settings, login, endpoints, keys, server })
}

async fn judge_cluster(
    config: &Config,
    cluster: &Cluster,
    asked: &Asked,
    host: &interface::Host,
    daemon: Option<&str>,
) -> Vec<Finding> {
    let Asked { settings, login, endpoints, keys, server } = asked;
    let mut findings = Vec::new();
    findings.extend(endpoints::judge(endpoints));
    findings.extend(etcd_rights::judge(settings, endpoints, keys.as_ref()));
    match keys {
        Some(keys) => {
            findings.extend(patroni::judge(config, &settings.keys, keys, host.addresses(config)).await);
            findings.extend(timing::judge(cluster, &keys.config));
        }
        None => {
            findings.push(Finding::note(areas::PATRONI, "Patroni: not checked, since no key could be read from etcd"));
        }
    }
    let initialize = keys.as_ref().and_then(keys::Contents::system_identifier);
    let timeout = cluster.postgres.timeout;
    findings.extend(postgres::judge(config, timeout, login, server, initialize.as_deref(), daemon));
    findings
}

async fn ask_etcd(settings: &crate::evidence::etcd::Settings) -> (Vec<etcd::Endpoint>, Option<keys::Contents>) {
    let mut endpoints = etcd::ask(settings).await;
    let client = endpoints.iter_mut().find_map(etcd::Endpoint::reader);
    let keys = match client {
        Some(client) => Some(keys::read(client, settings).await),
        None => None,
    };
    (endpoints, keys)
}

/// Where Patroni's keys are, for people: with the Citus group, if there is one.
pub(crate) fn cluster(config: &Cluster) -> String {
    let group = config.patroni.group.map(|group| format!("/{group}")).unwrap_or_default();
    format!("{}/{}{group}", config.patroni.namespace, config.patroni.scope)
}

fn configuration(config: &Config, path: &Path) -> Finding {
    let addresses = config.vips.iter().flat_map(|vip| vip.addresses.iter().map(ToString::to_string));
    let cluster = config.cluster.as_ref().map(|config| format!(", cluster {}", cluster(config)));
    Finding::ok(
        areas::CONFIGURATION,
        format!(
            "configuration {}: valid; node {} on {}{}, VIP {}",
            path.display(),
            config.node,
            config.interface,
            cluster.unwrap_or_default(),
            addresses.collect::<Vec<_>>().join(", ")
        ),
    )
}

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
mod etcd;
mod etcd_rights;
mod interface;
mod keys;
mod listen;
mod login;
mod patience;
mod patroni;
mod postgres;
mod process;
mod refusal;
mod report;
mod timing;

use std::io;
use std::path::Path;

use pgvrrp_config::Config;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::daemon::etcd_settings;
use crate::evidence::postgres::Settings as PostgresSettings;
use login::Login;
pub use report::{Finding, Level, Report};

/// Looks at everything, within 8 s. `path` is where the configuration came from.
///
/// # Errors
/// If the system has no means left to ask anything: no descriptors, no threads.
pub fn run(config: &Config, path: &Path, postgres: PostgresSettings) -> io::Result<Report> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let report = LocalSet::new().block_on(&runtime, examine(config, path, postgres));
    // A name that does not resolve keeps a thread busy for longer than anybody wants to wait.
    runtime.shutdown_background();
    Ok(report)
}

async fn examine(config: &Config, path: &Path, postgres: PostgresSettings) -> Report {
    let settings = etcd_settings(config);
    let login = Login::of(&postgres.connection);
    let (etcd, server, daemon) =
        tokio::join!(ask_etcd(&settings), postgres::ask(postgres), daemon::ask(config.runtime_dir.clone()));
    let (endpoints, keys) = etcd;
    let host = interface::ask(&config.interface);

    let mut findings = vec![configuration(config, path)];
    findings.extend(process::judge(daemon.running()));
    findings.extend(interface::judge(config, &host));
    findings.push(interface::reset());
    findings.extend(endpoints::judge(&endpoints));
    findings.extend(etcd_rights::judge(&settings, &endpoints, keys.as_ref()));
    match &keys {
        Some(keys) => {
            findings.extend(patroni::judge(config, &settings.keys, keys, host.addresses(config)).await);
            findings.extend(timing::judge(config, &keys.config));
        }
        None => {
            findings.push(Finding::note(areas::PATRONI, "Patroni: not checked, since no key could be read from etcd"));
        }
    }
    let initialize = keys.as_ref().and_then(keys::Contents::system_identifier);
    findings.extend(postgres::judge(config, &login, &server, initialize.as_deref(), daemon.postgres_role()));
    findings.extend(daemon::judge(config, &daemon));
    Report::new(findings)
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
pub(crate) fn cluster(config: &Config) -> String {
    let group = config.patroni.group.map(|group| format!("/{group}")).unwrap_or_default();
    format!("{}/{}{group}", config.patroni.namespace, config.patroni.scope)
}

fn configuration(config: &Config, path: &Path) -> Finding {
    let vips: Vec<_> = config.vips.iter().map(|vip| format!("{}/{}", vip.address, vip.prefix_len)).collect();
    Finding::ok(
        areas::CONFIGURATION,
        format!(
            "configuration {}: valid; node {} on {}, cluster {}, VIP {}",
            path.display(),
            config.node,
            config.interface,
            cluster(config),
            vips.join(", ")
        ),
    )
}

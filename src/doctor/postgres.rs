//! The local PostgreSQL, asked by the same session that the daemon makes.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use pgvrrp_config::Config;

use super::areas::POSTGRES as AREA;
use super::listen::{Listen, Served};
use super::login::Login;
use super::patience::Patience;
use super::refusal::{self, Silence};
use super::report::Finding;
use crate::clock;
use crate::evidence::postgres::Settings;
use crate::evidence::postgres::session::{Failure, Session, Target, describe};

/// What all questions may take together.
const TOGETHER: Duration = Duration::from_secs(4);

/// What the server said; `Err` if there is no session.
pub(super) type Seen = Result<Server, Silence>;

/// What the server said.
pub(super) struct Server {
    connected_in: Duration,
    in_recovery: Result<bool, String>,
    version: Option<String>,
    port: Option<String>,
    system_identifier: Option<String>,
    listen_addresses: Option<String>,
    listen: Listen,
}

/// Asks, each question within the configured timeout, 2 s at most.
pub(super) async fn ask(settings: Settings) -> Seen {
    let patience = Patience::of(TOGETHER).with_question(settings.timeout);
    let began = clock::now();
    let target = Target::new(settings.connection, settings.tls);
    let (session, _ended) = match patience.wait(Session::open(&target)).await {
        Ok(Ok(session)) => session,
        Ok(Err(Failure::Down(detail))) => return Err(Silence::Down(detail)),
        Ok(Err(Failure::Alive { detail, .. })) => return Err(Silence::Refused(detail)),
        Err(late) => return Err(Silence::Late(late)),
    };
    let connected_in = clock::now().since(began);
    let in_recovery = patience.wait(session.ask()).await.flatten();
    let setting = async |name: &str| {
        let answer = patience.wait(session.value(&format!("SHOW {name}"))).await?;
        answer.map_err(|error| describe(&error)).map(Option::unwrap_or_default)
    };
    let listen_addresses = setting("listen_addresses").await.ok();
    let mut listen = Listen::parse(listen_addresses.as_deref().unwrap_or_default());
    for name in listen.names.clone() {
        if let Ok(Ok(found)) = patience.wait(tokio::net::lookup_host((name, 0))).await {
            listen.add(found.map(|address| address.ip()).collect::<Vec<_>>());
        }
    }
    Ok(Server {
        connected_in,
        in_recovery,
        version: setting("server_version").await.ok(),
        port: setting("port").await.ok(),
        system_identifier: session.system_identifier.clone(),
        listen_addresses,
        listen,
    })
}

/// On which it listens, if it said so.
pub(super) fn port(seen: &Seen) -> Option<u16> {
    seen.as_ref().ok()?.port.as_deref()?.parse().ok()
}

/// `initialize` is the cluster's system identifier according to etcd, if it is known; `daemon` is what a running daemon
/// says of PostgreSQL's role, if it says so.
pub(super) fn judge(
    config: &Config,
    timeout: Duration,
    login: &Login,
    seen: &Seen,
    initialize: Option<&str>,
    daemon: Option<&str>,
) -> Vec<Finding> {
    let mut findings: Vec<_> = login.hidden_socket(daemon).into_iter().collect();
    let server = match seen {
        Ok(server) => server,
        Err(silence) => {
            findings.push(refusal::judge(login, silence, timeout, daemon));
            return findings;
        }
    };
    findings.push(role(server));
    findings.extend(identity(login, server.system_identifier.as_deref(), initialize));
    for vip in config.vips.iter().filter(|vip| vip.follows.is_primary()) {
        findings.extend(vip.addresses.iter().map(|net| listening(server, net.addr())));
    }
    findings
}

fn role(server: &Server) -> Finding {
    let version = server.version.as_deref().unwrap_or("of unknown version");
    match server.in_recovery {
        Ok(recovery) => {
            let role = if recovery { "standby" } else { "primary" };
            let took = server.connected_in.as_secs_f64() * 1e3;
            Finding::ok(AREA, format!("PostgreSQL {version}: {role}, connected in {took:.1} ms"))
        }
        Err(ref why) => {
            let text = format!("PostgreSQL {version}: does not say whether it is primary or standby: {why}");
            Finding::problem(AREA, text, "look at its log; the role needs the right to call pg_is_in_recovery()")
        }
    }
}

fn identity(login: &Login, server: Option<&str>, initialize: Option<&str>) -> Option<Finding> {
    match (server, initialize) {
        (Some(server), Some(cluster)) if server == cluster => {
            Some(Finding::ok(AREA, format!("PostgreSQL system identifier: {server}, that of the cluster in etcd")))
        }
        (Some(server), Some(cluster)) => Some(Finding::problem(
            AREA,
            format!(
                "PostgreSQL system identifier: {server}, but the cluster in etcd has {cluster}: this is another cluster's server"
            ),
            "correct `connection` under [postgres] (which server?) or `namespace`, `scope` and, with Citus, `group` under [patroni] \
             (which cluster?)",
        )),
        (None, _) => Some(Finding::warning(
            AREA,
            "PostgreSQL system identifier: not told, so it cannot be compared with the cluster's in etcd",
            format!("as a superuser, {}", login.grant_identifier()),
        )),
        (Some(server), None) => Some(Finding::note(
            AREA,
            format!("PostgreSQL system identifier: {server}; the cluster's in etcd is not known"),
        )),
    }
}

fn listening(server: &Server, vip: IpAddr) -> Finding {
    let nonlocal = fs::read_to_string("/proc/sys/net/ipv4/ip_nonlocal_bind").is_ok_and(|value| value.trim() == "1");
    let port = server.port.as_deref().unwrap_or("?");
    let Some(setting) = &server.listen_addresses else {
        return Finding::warning(
            AREA,
            format!("PostgreSQL on {vip}: listen_addresses could not be read"),
            "look at it: it has to be '*'",
        );
    };
    judge_listening(setting, server.listen.serves(vip), vip, port, nonlocal)
}

fn judge_listening(setting: &str, served: Served, vip: IpAddr, port: &str, nonlocal: bool) -> Finding {
    // listen_addresses is one of the settings that Patroni makes itself: edit-config would not change it.
    let fix = format!(
        "postgresql.listen: '*:{port}' in this node's Patroni configuration file (listen_addresses cannot be set by edit-config), \
         then `patronictl reload` and `patronictl restart`"
    );
    let text = format!("PostgreSQL on {vip}: listen_addresses is '{setting}', port {port}");
    match served {
        Served::Yes => Finding::ok(AREA, text),
        Served::IfBoundAtStart if nonlocal => Finding::ok(AREA, format!("{text} (with net.ipv4.ip_nonlocal_bind = 1)")),
        Served::IfBoundAtStart => Finding::problem(
            AREA,
            format!("{text}: a server that starts while the VIP is elsewhere will not listen on it"),
            format!("{fix}; or net.ipv4.ip_nonlocal_bind = 1 and a restart"),
        ),
        Served::No => Finding::problem(AREA, format!("{text}: connections to the VIP would be refused"), fix),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn the_server_of_this_cluster() {
        let login = Login::of(&"host=/run/pg user=pgvrrp dbname=postgres".parse().unwrap());
        let level = |server, cluster| identity(&login, server, cluster).map(|finding| finding.level);
        assert_eq!(level(Some("7"), Some("7")), Some(Level::Ok));
        assert_eq!(level(Some("8"), Some("7")), Some(Level::Problem));
        assert_eq!(level(None, Some("7")), Some(Level::Warning));
        assert_eq!(level(Some("7"), None), Some(Level::Note));
    }

    #[test]
    fn a_vip_that_postgresql_does_not_listen_on() {
        let vip = IpAddr::from([10, 0, 20, 155]);
        let finding = |setting: &str, nonlocal| {
            judge_listening(setting, Listen::parse(setting).serves(vip), vip, "5433", nonlocal)
        };
        assert_eq!(finding("*", false).level, Level::Ok);
        assert_eq!(finding("10.0.20.155", true).level, Level::Ok);
        assert_eq!(finding("10.0.20.155", false).level, Level::Problem);
        let refused = finding("10.0.20.11", true);
        assert_eq!(refused.level, Level::Problem);
        assert!(refused.fix.unwrap().contains("'*:5433'"));
    }
}

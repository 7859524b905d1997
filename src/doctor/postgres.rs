//! The local PostgreSQL, asked by the same session that the daemon makes.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use pgvrrp_config::Config;

use super::areas::POSTGRES as AREA;
use super::listen::{Listen, Served};
use super::patience::Patience;
use super::report::Finding;
use crate::clock;
use crate::evidence::postgres::Settings;
use crate::evidence::postgres::session::{Failure, Session, Target, describe};

/// What all questions may take together.
const TOGETHER: Duration = Duration::from_secs(4);

/// What the server said; `Err` if there is no session.
pub(super) type Seen = Result<Server, Silence>;

/// Why there is no session.
pub(super) enum Silence {
    /// There is no server.
    Down(String),
    /// A server does not let us ask.
    Refused(String),
    /// Nothing came in time.
    Late(String),
}

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
    let target = Target::new(settings.connection);
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

/// `initialize` is the cluster's system identifier according to etcd, if it is known; `daemon` is what a running daemon
/// says of PostgreSQL's role, if it says so.
pub(super) fn judge(config: &Config, seen: &Seen, initialize: Option<&str>, daemon: Option<&str>) -> Vec<Finding> {
    let server = match seen {
        Ok(server) => server,
        Err(silence) => return vec![unasked(config, silence, daemon)],
    };
    let mut findings = vec![role(server)];
    findings.extend(identity(server.system_identifier.as_deref(), initialize));
    for vip in &config.vips {
        findings.push(listening(server, vip.address));
    }
    findings
}

fn unasked(config: &Config, silence: &Silence, daemon: Option<&str>) -> Finding {
    match silence {
        // Who may log in by `peer` depends on the system user, and this one need not be the daemon's.
        Silence::Refused(detail) if is_about_the_system_user(detail) => {
            let answered = daemon.map_or_else(String::new, |role| format!("; the daemon is answered: {role}"));
            Finding::warning(
                AREA,
                format!("PostgreSQL: not checked, it does not let this system user in{answered}: {detail}"),
                "run this as the daemon's user: `sudo -u pgvrrp pgvrrp doctor`; if that is refused as well, let it in by \
                 Patroni's postgresql.pg_hba: local postgres pgvrrp peer",
            )
        }
        Silence::Refused(detail) => Finding::problem(
            AREA,
            format!("PostgreSQL: does not let this user ask: {detail}"),
            "make the role (CREATE ROLE pgvrrp LOGIN), and let it in by Patroni's postgresql.pg_hba: local postgres pgvrrp peer",
        ),
        Silence::Down(detail) => Finding::problem(
            AREA,
            format!("PostgreSQL: no server: {detail}"),
            "start Patroni, which starts PostgreSQL, or correct `connection` under [postgres]: host is the directory of the \
             Unix socket",
        ),
        Silence::Late(late) => Finding::problem(
            AREA,
            format!("PostgreSQL: no session: {late}"),
            format!("see whether the server hangs; `timeout` under [postgres] is {:?}", config.postgres.timeout),
        ),
    }
}

/// The server's language is not known; its code and the method's name are in every one.
fn is_about_the_system_user(detail: &str) -> bool {
    detail.starts_with("28000:") && detail.to_lowercase().contains("peer")
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

fn identity(server: Option<&str>, initialize: Option<&str>) -> Option<Finding> {
    match (server, initialize) {
        (Some(server), Some(cluster)) if server == cluster => {
            Some(Finding::ok(AREA, format!("PostgreSQL system identifier: {server}, that of the cluster in etcd")))
        }
        (Some(server), Some(cluster)) => Some(Finding::problem(
            AREA,
            format!(
                "PostgreSQL system identifier: {server}, but the cluster in etcd has {cluster}: this is another cluster's server"
            ),
            "correct `connection` under [postgres] (which server?) or `namespace` and `scope` under [patroni] (which cluster?)",
        )),
        (None, _) => Some(Finding::warning(
            AREA,
            "PostgreSQL system identifier: not told, so it cannot be compared with the cluster's in etcd",
            "grant the role the right: GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO pgvrrp",
        )),
        (Some(server), None) => Some(Finding::note(
            AREA,
            format!("PostgreSQL system identifier: {server}; the cluster's in etcd is not known"),
        )),
    }
}

fn listening(server: &Server, vip: Ipv4Addr) -> Finding {
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

fn judge_listening(setting: &str, served: Served, vip: Ipv4Addr, port: &str, nonlocal: bool) -> Finding {
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
        let level = |server, cluster| identity(server, cluster).map(|finding| finding.level);
        assert_eq!(level(Some("7"), Some("7")), Some(Level::Ok));
        assert_eq!(level(Some("8"), Some("7")), Some(Level::Problem));
        assert_eq!(level(None, Some("7")), Some(Level::Warning));
        assert_eq!(level(Some("7"), None), Some(Level::Note));
    }

    #[test]
    fn another_system_user_than_the_daemons() {
        assert!(is_about_the_system_user(
            "28000: Peer authentication failed for user \"pgvrrp\": does pg_hba.conf ..."
        ));
        assert!(!is_about_the_system_user("28000: role \"pgvrrp\" does not exist"));
        assert!(!is_about_the_system_user("28P01: password authentication failed"));
    }

    #[test]
    fn a_vip_that_postgresql_does_not_listen_on() {
        let vip = Ipv4Addr::new(10, 0, 20, 155);
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

//! TLS to etcd, with certificates on both sides, and to PostgreSQL: the daemon does what it does without, and says what is
//! wrong where TLS cannot be had.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::certificates::{Authority, Files};
use lab::daemon::{Config, Launch};
use lab::patroni::{Timing, host_name};
use lab::process::Process;
use lab::{Node, Options};

use crate::doctor::examine;
use crate::refusals::{named, waits};
use crate::rights;
use crate::stage::{Stage, play, play_with};

const SECOND: Duration = Duration::from_secs(1);

fn with_tls() -> Options {
    Options { etcd_tls: true, ..Options::default() }
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

fn set_identity(config: &mut Config, Files { cert, key }: &Files) {
    config.set("etcd", "cert_file", &quoted(cert)).set("etcd", "key_file", &quoted(key));
}

#[test]
fn a_whole_cluster() {
    // Patroni has to outlive etcd's restart without stepping down, on a busy machine too.
    play(Options { timing: Timing::DEFAULT, ..with_tls() }, |stage| {
        for node in Node::DATABASES {
            examine(stage, node, "tls", &Config::reference(stage.lab, node), &[])?.is_well()?;
        }
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, 20 * SECOND)?;
        stage.wait_writes(5 * SECOND)?;
        stage.lab.wait_settled(Node::Db2, 60 * SECOND)?;
        // Whoever makes a new connection makes it by the same files.
        stage.lab.members()[0].kill();
        stage.lab.members()[0].start()?;
        stage.calm(15 * SECOND)?;
        stage.daemon(Node::Db2, |daemon| {
            let etcd = &daemon.status()?["etcd"];
            ensure!(etcd["endpoint"] == "https://10.0.20.13:2379" && etcd["error"].is_null(), "{etcd}");
            Ok(())
        })
    });
}

/// With authentication on and no password, etcd's user is the one that the certificate names.
#[test]
fn a_certificate_in_place_of_a_password() {
    play_with(Options { etcd_auth: true, ..with_tls() }, |stage| {
        rights::grant(stage)?;
        let identity = stage.lab.authority().issue("pgvrrp", &[], stage.lab.tools().account)?;
        for node in Node::DATABASES {
            let mut launch = Launch::reference(stage.lab, node);
            set_identity(&mut launch.config, &identity);
            let examined = examine(stage, node, "by-name", &launch.config, &[])?;
            examined.is_well()?;
            examined.says("etcd-rights", "warning", "the certificate's user", "etcdctl user get")?;
            stage.launch(node, &launch)?;
        }
        stage.wait_vip(Node::Db1, 10 * SECOND)?;
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, 20 * SECOND)
    });
}

#[test]
fn a_renewed_certificate_needs_no_restart() {
    play_with(with_tls(), |stage| {
        let authority = stage.lab.authority();
        let owner = stage.lab.tools().account;
        let mut launch = Launch::reference(stage.lab, Node::Db1);
        set_identity(&mut launch.config, &authority.issue_expired("renewed", &[], owner)?);
        stage.launch(Node::Db1, &launch)?;
        stage.wait_reason(Node::Db1, "etcd_unasked", 10 * SECOND)?;
        stage.status_says(Node::Db1, "refuses the client certificate")?;
        ensure!(stage.holders().is_empty(), "the VIP is bound");
        authority.issue("renewed", &[], owner)?;
        stage.wait_vip(Node::Db1, 10 * SECOND)
    });
}

/// What the daemon waits for, says and logs, and what `doctor` says of it.
struct Wrong<'a> {
    name: &'a str,
    set: &'a dyn Fn(&mut Config),
    words: &'a str,
    fix: &'a str,
}

#[test]
fn says_what_is_wrong() {
    play_with(with_tls(), |stage| {
        let owner = stage.lab.tools().account;
        let other = Authority::new(&stage.lab.dir().join("other"))?;
        let others = other.issue("client", &[], owner)?;
        let expired = stage.lab.authority().issue_expired("expired", &[], owner)?;
        let old = stage.lab.authority().issue_expired("old-server", &["10.0.20.13"], owner)?;
        let elsewhere = stage.lab.authority().issue("other-server", &["etcd.example", "10.0.20.14"], owner)?;
        let _old = etcd(stage, 12_379, &old)?;
        let _elsewhere = etcd(stage, 13_379, &elsewhere)?;
        for wrong in [
            Wrong {
                name: "other-authority",
                set: &|config| _ = config.set("etcd", "ca_file", &quoted(&other.certificate())),
                words: "its certificate is not signed by an authority in ca_file",
                fix: "ca_file",
            },
            Wrong {
                name: "no-certificate",
                set: &|config| _ = config.remove("etcd", "cert_file").remove("etcd", "key_file"),
                words: "client certificate",
                fix: "cert_file and key_file",
            },
            Wrong {
                name: "others-certificate",
                set: &|config| set_identity(config, &others),
                words: "it refuses the client certificate",
                fix: "cert_file and key_file",
            },
            Wrong {
                name: "expired-certificate",
                set: &|config| set_identity(config, &expired),
                words: "it refuses the client certificate",
                fix: "cert_file and key_file",
            },
            Wrong {
                name: "expired-server",
                set: &|config| _ = config.set("etcd", "endpoints", "[\"https://10.0.20.13:12379\"]"),
                words: "its certificate has expired",
                fix: "renew",
            },
            Wrong {
                name: "other-name",
                set: &|config| _ = config.set("etcd", "endpoints", "[\"https://10.0.20.13:13379\"]"),
                words: "its certificate is not for 10.0.20.13, but for etcd.example, 10.0.20.14",
                fix: "subjectAltName",
            },
            Wrong {
                name: "no-tls-there",
                set: &|config| _ = config.set("etcd", "endpoints", "[\"https://10.0.20.13:2378\"]"),
                words: "it closes the connection in the TLS handshake",
                fix: "is TLS on there",
            },
            Wrong {
                name: "tls-there",
                set: &|config| {
                    config.set("etcd", "endpoints", "[\"http://10.0.20.13:2379\"]");
                    for key in ["ca_file", "cert_file", "key_file"] {
                        config.remove("etcd", key);
                    }
                },
                words: "it has TLS, which the endpoint is not written with",
                fix: "https://",
            },
        ] {
            let mut launch = named(stage, wrong.name);
            (wrong.set)(&mut launch.config);
            examine(stage, Node::Db1, wrong.name, &launch.config, &[])?.says(
                "etcd",
                "problem",
                wrong.words,
                wrong.fix,
            )?;
            waits(stage, &launch, "etcd_unasked", wrong.words)?;
            let log = std::fs::read_to_string(stage.lab.dir().join(format!("db1/{}.log", wrong.name)))?;
            ensure!(log.contains(wrong.words), "{}: not in the log:\n{log}", wrong.name);
        }
        Ok(())
    });
}

/// The role that asks by TCP, and its password.
const ROLE: (&str, &str) = ("vip", "secret-of-the-role");

/// Asks PostgreSQL by TCP, with TLS and by password, as strictly as can be.
fn by_tcp(stage: &Stage<'_>, node: Node) -> Result<Launch> {
    let mut launch = Launch::reference(stage.lab, node);
    let password = stage.lab.dir().join(format!("{node}-postgres-password"));
    std::fs::write(&password, ROLE.1)?;
    std::fs::set_permissions(&password, Permissions::from_mode(0o600))?;
    let connection = format!("host={} hostaddr=127.0.0.1 user={} dbname=postgres", host_name(node), ROLE.0);
    launch.config.set("postgres", "connection", &format!("\"{connection}\""));
    launch.config.set("postgres", "sslmode", "\"verify-full\"");
    launch.config.set("postgres", "ca_file", &quoted(&stage.lab.authority().certificate()));
    launch.config.set("postgres", "password_file", &quoted(&password));
    Ok(launch)
}

/// How the daemon's session is secured, as PostgreSQL sees it.
fn has_tls(stage: &Stage<'_>, node: Node) -> Result<String> {
    stage
        .lab
        .database(node)
        .sql("select ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'pgvrrp' limit 1")
}

fn make_roles(stage: &Stage<'_>) -> Result<()> {
    let (role, password) = ROLE;
    let statement = format!("create role {role} login password '{password}'; create role certified login");
    stage.lab.database(Node::Db1).sql(&statement).map(drop)
}

#[test]
fn postgresql_by_tcp() {
    play_with(Options { postgres_tls: true, ..Options::default() }, |stage| {
        make_roles(stage)?;
        for node in Node::DATABASES {
            let launch = by_tcp(stage, node)?;
            examine(stage, node, "tcp", &launch.config, &[])?.is_well()?;
            stage.launch(node, &launch)?;
        }
        stage.wait_vip(Node::Db1, 10 * SECOND)?;
        stage.probes.borrow_mut().add_hasty_client()?;
        ensure!(has_tls(stage, Node::Db1)? == "t", "no TLS");
        for target in [Node::Db2, Node::Db1] {
            stage.lab.switchover(target)?;
            stage.wait_vip(target, 20 * SECOND)?;
            stage.wait_writes(10 * SECOND)?;
            stage.lab.wait_settled(target, 60 * SECOND)?;
            let lag = stage.analysis().moves().pop().and_then(|moved| moved.lag()).context("no lag")?;
            println!("VIP lag with TLS to PostgreSQL: {lag:?}");
        }
        ensure!(!stage.recording().contains(ROLE.1), "a recording holds a secret");
        for node in Node::DATABASES {
            stage.daemon(node, |daemon| {
                let seen = [daemon.log(), daemon.status()?.to_string(), daemon.metrics()?];
                ensure!(seen.iter().all(|text| !text.contains(ROLE.1)), "something holds a secret");
                Ok(())
            })?;
        }
        // The certificate in place of the password.
        let identity = stage.lab.authority().issue("certified", &[], stage.lab.tools().account)?;
        let mut launch = by_tcp(stage, Node::Db1)?;
        launch.config.set("postgres", "connection", "\"host=localhost user=certified dbname=postgres\"");
        launch.config.set("postgres", "sslmode", "\"verify-ca\"").remove("postgres", "password_file");
        launch.config.set("postgres", "cert_file", &quoted(&identity.cert));
        launch.config.set("postgres", "key_file", &quoted(&identity.key));
        examine(stage, Node::Db1, "certificate", &launch.config, &[])?.is_well()
    });
}

#[test]
fn says_what_is_wrong_with_postgresql() {
    play_with(Options { postgres_tls: true, ..Options::default() }, |stage| {
        make_roles(stage)?;
        let other = Authority::new(&stage.lab.dir().join("other"))?;
        let say = |name: &str, set: &dyn Fn(&mut Config), words: &str, fix: &str| {
            let mut launch = Launch { name: name.to_owned(), ..by_tcp(stage, Node::Db1)? };
            set(&mut launch.config);
            let examined = examine(stage, Node::Db1, name, &launch.config, &[])?;
            examined.says("postgres", "problem", words, fix)?;
            waits(stage, &launch, "postgres_unknown", words)
        };
        let other = quoted(&other.certificate());
        let set_other = |config: &mut Config| _ = config.set("postgres", "ca_file", &other);
        say("other-authority", &set_other, "its certificate is not signed by an authority in ca_file", "ca_file")?;
        let localhost = |config: &mut Config| {
            config.set("postgres", "connection", "\"host=localhost user=vip dbname=postgres\"");
        };
        let words = "its certificate is not for localhost, but for db1.example";
        say("other-host", &localhost, words, "verify-full")?;
        let clear = |config: &mut Config| {
            config.set("postgres", "sslmode", "\"disable\"").remove("postgres", "ca_file");
        };
        say("no-tls", &clear, "no encryption", "let it in by Patroni")?;
        let server = format!("postgres-{}", Node::Db1);
        let names = [host_name(Node::Db1)];
        let names = names.each_ref().map(String::as_str);
        stage.lab.authority().issue_expired(&server, &names, stage.lab.tools().account)?;
        stage.lab.database(Node::Db1).sql("select pg_reload_conf()")?;
        say("expired", &|_| {}, "its certificate has expired", "ssl_cert_file")?;
        // Renewed, it needs nothing of the daemon.
        stage.launch(Node::Db1, &by_tcp(stage, Node::Db1)?)?;
        stage.wait_reason(Node::Db1, "postgres_unknown", 10 * SECOND)?;
        stage.lab.authority().issue(&server, &names, stage.lab.tools().account)?;
        stage.lab.database(Node::Db1).sql("select pg_reload_conf()")?;
        stage.wait_vip(Node::Db1, 10 * SECOND)
    });
}

/// An etcd of its own on dcs, with this certificate.
fn etcd(stage: &Stage<'_>, port: u16, Files { cert, key }: &Files) -> Result<Process> {
    let tools = stage.lab.tools();
    let (client, peer) = (format!("https://10.0.20.13:{port}"), format!("http://127.0.0.1:{}", port + 1));
    let mut command = stage.lab.namespace(Node::Dcs).command(&tools.etcd);
    command.arg("--data-dir").arg(stage.lab.dir().join(format!("etcd-{port}")));
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("default={peer}")]);
    command.arg("--cert-file").arg(cert).arg("--key-file").arg(key);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Process::spawn("another etcd", command)
}

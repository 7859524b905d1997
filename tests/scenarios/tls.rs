//! A cluster whose etcd has TLS and asks its clients for a certificate: the daemon does there what it does elsewhere, and
//! says what is wrong where TLS cannot be had.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::certificates::{Authority, Files};
use lab::daemon::{Config, Launch};
use lab::process::Process;
use lab::{Node, Options};

use crate::doctor::examine;
use crate::refusals::{named, waits};
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
    play(with_tls(), |stage| {
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

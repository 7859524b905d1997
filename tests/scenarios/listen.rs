//! `pgvrrp listen` beside routers of another make, and of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::keepalived::Keepalived;
use lab::process::Process;
use lab::{Node, Options};
use serde_json::{Value, json};

use crate::stage::{Stage, binary, play_with};

/// Version 3 for either family, and version 2.
const KEEPALIVED: &str = "vrrp_instance a {
    version 3
    interface eth0
    virtual_router_id 51
    priority 100
    advert_int 0.5
    virtual_ipaddress {
        10.0.20.200/32
    }
}
vrrp_instance b {
    version 3
    interface eth0
    virtual_router_id 52
    priority 101
    advert_int 0.5
    virtual_ipaddress {
        fe80::200/64
        fd00::200/64
    }
}
vrrp_instance c {
    version 2
    interface eth0
    virtual_router_id 53
    priority 102
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass secret
    }
    virtual_ipaddress {
        10.0.20.201/32
    }
}
";

/// Listens on db1 until the goodbyes of these virtual routers have been heard. Returns the lines.
fn hear(stage: &Stage<'_>, args: &[&str], until: impl Fn(&[String]) -> bool) -> Result<Vec<String>> {
    let path = stage.lab.dir().join("db1/heard");
    let mut command = stage.lab.namespace(Node::Db1).command(binary());
    command.arg("listen").args(args).stdout(File::create(&path)?).stderr(Stdio::inherit());
    let listens = Process::spawn("pgvrrp listen", command)?;
    let lines = || -> Result<Vec<String>> { Ok(BufReader::new(File::open(&path)?).lines().collect::<Result<_, _>>()?) };
    stage.lab.wait_until("everybody to be heard", Duration::from_secs(20), || Ok(until(&lines()?)))?;
    ensure!(listens.is_running(), "it has ended");
    lines()
}

#[test]
fn keepalived_of_both_versions_and_families_and_the_own_daemon() {
    play_with(Options::default(), |stage| {
        stage.start_daemon(Node::Db1)?;
        let _keepalived = Keepalived::start_with(stage.lab, Node::Db2, KEEPALIVED)?;
        let names = [51, 52, 53, 155];
        let parsed = |line: &String| serde_json::from_str::<Value>(line).unwrap_or_default();
        let all =
            |lines: &[String]| names.iter().all(|id| lines.iter().any(|line| parsed(line)["virtual_router_id"] == *id));
        let lines = hear(stage, &["--json"], all)?;
        let of = |id: i32| {
            let found = lines.iter().map(parsed).find(|line| line["virtual_router_id"] == id).context("not heard")?;
            let keys = ["interface", "ours", "version", "priority", "interval_ms", "addresses", "checksum"];
            ensure!(found["fault"] == Value::Null && found["ttl"] == 255, "{found}");
            Ok(Value::from(keys.map(|key| found[key].clone()).to_vec()))
        };
        ensure!(of(51)? == json!(["eth0", false, 3, 100, 500, ["10.0.20.200"], "rfc5798"]), "{}", of(51)?);
        ensure!(of(52)? == json!(["eth0", false, 3, 101, 500, ["fe80::200", "fd00::200"], "rfc9568"]), "{}", of(52)?);
        ensure!(of(53)? == json!(["eth0", false, 2, 102, 1000, ["10.0.20.201"], null]), "{}", of(53)?);
        ensure!(of(155)? == json!(["eth0", true, 3, 255, 1000, ["10.0.20.155"], "rfc9568"]), "{}", of(155)?);
        // For people, on the one interface.
        let lines = hear(stage, &["--interface", "eth0"], |lines| lines.iter().any(|line| line.contains("VRRPv2")))?;
        let version2 = lines.iter().find(|line| line.contains("VRRPv2")).context("version 2 was not heard")?;
        println!("{version2}");
        ensure!(version2.contains("10.0.20.12 ") && version2.contains("with a password in clear text"), "{version2}");
        ensure!(!version2.contains("secret"), "{version2}");
        // Whoever has seen enough.
        let mut command = stage.lab.namespace(Node::Db1).command(binary());
        command.arg("listen").stdout(Stdio::piped());
        let mut child = command.spawn()?;
        drop(child.stdout.take());
        ensure!(child.wait()?.success(), "an end of its output is no failure");
        Ok(())
    });
}

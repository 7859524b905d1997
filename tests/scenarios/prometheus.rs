//! A real Prometheus scrapes the daemons: the rules and the dashboard that are shipped ask for what is there, no alert
//! fires while all is well, and those do that should.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::prerequisites::Monitoring;
use lab::prometheus::Prometheus;
use lab::{Node, Options};
use pgvrrp::transport::Announcer;
use pgvrrp::transport::v4::AdvertSender;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use crate::clients::by_hand;
use crate::conflicts::rival;
use crate::stage::{Stage, play};

const RULES: &str = include_str!("../../packaging/prometheus/pgvrrp.rules.yml");
const DASHBOARD: &str = include_str!("../../packaging/grafana/pgvrrp.json");

/// What these tell of may happen on a machine with much else to do.
const OF_THE_MACHINE: [&str; 3] = ["PgvrrpLate", "PgvrrpLoopStalls", "PgvrrpMoveSlow"];

/// A scrape, an evaluation, a second of `for`, and another evaluation, with much time to spare.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn rules_and_dashboard_on_a_real_cluster() {
    let options = Options { failsafe_mode: true, ..Options::default() };
    play(options, |stage| {
        one_of_each(stage)?;
        let prometheus = Prometheus::start(stage.lab, &sooner(RULES))?;
        let seen = |expression: &str| Ok(!prometheus.query(expression)?.is_empty());
        stage.lab.wait_until("some scrapes of both daemons", SOON, || {
            seen("count(count_over_time(pgvrrp_vip_held[1m]) > 3) == 2")
        })?;
        is_well_formed(stage)?;
        stage.lab.wait_until("calm", SOON, || rules_are_calm(&prometheus))?;
        rules_have_data(&prometheus)?;
        panels_have_data(&prometheus)?;

        conflict(stage)?;
        for _ in 0..4 {
            stage.lab.namespace(Node::Db1).ip(&["addr", "del", "10.0.20.155/32", "dev", "eth0"])?;
            stage.wait_vip(Node::Db1, SOON)?;
        }
        stage.lab.pause(true)?;
        fires(stage, &prometheus, &["PgvrrpAddressRepaired", "PgvrrpConflict", "PgvrrpPatroniPaused"])?;
        stage.lab.pause(false)?;
        ends(stage, &prometheus, &["PgvrrpPatroniPaused"])?;

        by_hand(stage, "drain")?;
        fires(stage, &prometheus, &["PgvrrpVipDrained", "PgvrrpVipHeldByNobody"])?;
        by_hand(stage, "undrain")?;
        stage.wait_vip(Node::Db1, SOON)?;
        ends(stage, &prometheus, &["PgvrrpVipDrained", "PgvrrpVipHeldByNobody"])?;

        stage.daemon(Node::Db2, |daemon| daemon.terminate().map(drop))?;
        fires(stage, &prometheus, &["PgvrrpDown", "PgvrrpNobodyToTakeOver"])?;
        stage.start_daemon(Node::Db2)?;
        ends(stage, &prometheus, &["PgvrrpDown", "PgvrrpNobodyToTakeOver"])?;

        stage.lab.members()[0].kill();
        fires(stage, &prometheus, &["PgvrrpEtcdSilent", "PgvrrpFailsafeActive"])?;
        stage.lab.members()[0].start()?;
        ends(stage, &prometheus, &["PgvrrpEtcdSilent", "PgvrrpFailsafeActive"])?;
        println!("still firing: {:?}", prometheus.firing()?);
        Ok(())
    });
}

/// The rules with so little patience that a test can wait for it.
fn sooner(rules: &str) -> String {
    let line =
        |line: &str| if line.trim().starts_with("for: ") { "        for: 1s".to_owned() } else { line.to_owned() };
    rules.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Series that are absent before the first of their kind.
fn one_of_each(stage: &Stage<'_>) -> Result<()> {
    stage.lab.namespace(Node::Client).run(|| -> Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112)))?;
        socket.bind_device(Some(b"eth0"))?;
        // From another segment, by its TTL.
        socket.set_multicast_ttl_v4(1)?;
        socket.send_to(&[0; 12], &SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 18), 0).into())?;
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        for node in Node::DATABASES {
            socket.send_to(b"no list", (node.ip(), lab::daemon::HTTP_PORT))?;
        }
        Ok(())
    })?
}

/// Somebody else claims the VIP.
fn conflict(stage: &Stage<'_>) -> Result<()> {
    stage.lab.namespace(Node::Client).run(|| -> Result<()> {
        AdvertSender::open("eth0")?.send(&rival(254))?;
        let index = nix::net::if_::if_nametoindex("eth0")?;
        Ok(Announcer::open()?.announce(index, [2, 0, 0, 0, 0, 0x77], lab::VIP.into())?)
    })?
}

/// By Prometheus' own judgement of names, units and texts.
fn is_well_formed(stage: &Stage<'_>) -> Result<()> {
    let metrics = stage.daemon(Node::Db1, lab::Daemon::metrics)?;
    let mut command = Command::new(Monitoring::find()?.promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn()?;
    promtool.stdin.take().context("no standard input")?.write_all(metrics.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success() && said.is_empty(), "promtool check metrics: {said}");
    Ok(())
}

fn rules_are_calm(prometheus: &Prometheus) -> Result<bool> {
    for rule in prometheus.rules()? {
        ensure!(rule["health"] == "ok", "{} has not been evaluated: {}", rule["name"], rule["lastError"]);
        let name = rule["name"].as_str().unwrap_or_default();
        let may_fire = OF_THE_MACHINE.contains(&name);
        ensure!(rule["type"] == "recording" || rule["state"] == "inactive" || may_fire, "{name} is {}", rule["alerts"]);
    }
    Ok(true)
}

fn rules_have_data(prometheus: &Prometheus) -> Result<()> {
    let rules = prometheus.rules()?;
    let queries = rules.iter().filter_map(|rule| rule["query"].as_str());
    let queries: Vec<_> = queries.map(without_threshold).collect();
    println!("{} rules", queries.len());
    have_data(prometheus, &queries)
}

/// The same expression, but that it says what is compared instead of leaving it out. What an alert makes exceptions of need
/// not exist.
fn without_threshold(query: &str) -> String {
    let wanted = query.split(" unless ").next().unwrap_or_default().replace("absent(", "(");
    let wanted = match wanted.split_once("pgvrrp_gate_reason{") {
        // Which reason is there differs from node to node.
        Some((before, after)) => {
            format!("{before}pgvrrp_gate_reason{}", after.split_once('}').map_or("", |(_, rest)| rest))
        }
        None => wanted,
    };
    let word = |word: &str| if ["==", ">", "<"].contains(&word) { format!("{word} bool") } else { word.to_owned() };
    wanted.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

fn panels_have_data(prometheus: &Prometheus) -> Result<()> {
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let panels = dashboard["panels"].as_array().context("no panels")?.iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<_> = targets.filter_map(|target| target["expr"].as_str()).map(filled_in).collect();
    println!("{} queries of the dashboard", queries.len());
    let annotations = dashboard["annotations"]["list"].as_array().context("no annotations")?.iter();
    let annotations = annotations.filter_map(|annotation| annotation["expr"].as_str());
    let annotations: Vec<_> = annotations.map(|query| without_threshold(&filled_in(query))).collect();
    have_data(prometheus, &[queries, annotations].concat())
}

/// With what Grafana puts in place of its variables.
fn filled_in(query: &str) -> String {
    let values = [
        ("$__rate_interval", "1m"),
        ("$__interval", "15s"),
        ("$__range", "1h"),
        ("$cluster", "odoo"),
        ("$job", "pgvrrp"),
        ("$vip", ".*"),
    ];
    values.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value))
}

fn have_data(prometheus: &Prometheus, queries: &[String]) -> Result<()> {
    let mut empty = Vec::new();
    for query in queries {
        if prometheus.query(query)?.is_empty() {
            empty.push(query.as_str());
        }
    }
    ensure!(!queries.is_empty() && empty.is_empty(), "without data:\n{}", empty.join("\n"));
    Ok(())
}

fn fires(stage: &Stage<'_>, prometheus: &Prometheus, alerts: &[&str]) -> Result<()> {
    stage.lab.wait_until(&format!("{alerts:?} to fire"), SOON, || {
        let firing = prometheus.firing()?;
        Ok(alerts.iter().all(|alert| firing.iter().any(|name| name == alert)))
    })
}

fn ends(stage: &Stage<'_>, prometheus: &Prometheus, alerts: &[&str]) -> Result<()> {
    stage.lab.wait_until(&format!("{alerts:?} to end"), SOON, || {
        let firing = prometheus.firing()?;
        Ok(alerts.iter().all(|alert| firing.iter().all(|name| name != alert)))
    })
}

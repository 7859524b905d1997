//! Whoever looks at the daemon, be it all the time or without ever taking the answer, changes nothing about the VIP.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::HTTP_PORT;
use lab::http::{self, Request};
use lab::{Node, Options};

use crate::stage::{Stage, play, times};

const SECOND: Duration = Duration::from_secs(1);

fn server(node: Node) -> SocketAddr {
    (node.ip(), HTTP_PORT).into()
}

/// The VIP moves, and as fast as ever.
fn moves_to(stage: &Stage<'_>, target: Node) -> Result<f64> {
    stage.lab.switchover(target)?;
    stage.wait_vip(target, 20 * SECOND)?;
    stage.lab.wait_settled(target, 60 * SECOND)?;
    let lag = stage.analysis().moves().pop().and_then(|moved| moved.lag()).context("no lag")?;
    ensure!(lag.at_least < 500.0, "{lag:?}");
    Ok(lag.at_most)
}

#[test]
fn a_scrape_every_100_milliseconds_during_switchovers() {
    play(Options::default(), |stage| {
        let (ended, answers, failures) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let scrape = |node| {
            let client = stage.lab.namespace(Node::Client);
            let scrapes = || {
                while !ended.load(Ordering::Relaxed) {
                    let answer = http::request(server(node), Request::get("/metrics"), SECOND);
                    let is_whole = answer.is_ok_and(|a| a.status == 200 && a.body.contains("pgvrrp_vip_held"));
                    if is_whole { &answers } else { &failures }.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(100));
                }
            };
            client.run(scrapes)
        };
        let lags = thread::scope(|scope| {
            for node in Node::DATABASES {
                scope.spawn(move || scrape(node));
            }
            let targets = [Node::Db2, Node::Db1].into_iter().cycle().take(times(2, 10));
            let lags = targets.map(|target| moves_to(stage, target)).collect::<Result<Vec<_>>>();
            ended.store(true, Ordering::Relaxed);
            lags
        })?;
        let (answers, failures) = (answers.into_inner(), failures.into_inner());
        println!("{answers} scrapes, {failures} without an answer; VIP lag (ms, upper bound): {lags:?}");
        ensure!(answers > 20 && failures * 20 < answers, "{answers} answers, {failures} failures");
        Ok(())
    });
}

#[test]
fn connections_that_lie_on_the_http_port_take_nothing_from_the_daemon() {
    play(Options::default(), |stage| {
        let client = stage.lab.namespace(Node::Client);
        let connect = || {
            let open = |i| {
                let mut connection = TcpStream::connect_timeout(&server(Node::Db1), Duration::from_millis(200)).ok()?;
                if i % 2 == 0 {
                    // Asks for more than fits into any buffer, and reads none of it.
                    let asked = connection.write_all("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100).as_bytes());
                    asked.ok()?;
                }
                Some(connection)
            };
            (0..300).filter_map(open).collect::<Vec<_>>()
        };
        let idle = client.run(connect)?;
        ensure!(idle.len() > 32, "only {} connections were opened", idle.len());
        has_few_descriptors(stage)?;
        // The VIP moves as always, and whoever looks by the control socket sees it.
        moves_to(stage, Node::Db2)?;
        stage.status_says(Node::Db1, "db2 holds the leader key")?;
        drop(idle);
        stage.lab.wait_until("HTTP to answer again", 5 * SECOND, || {
            stage.daemon(Node::Db1, |daemon| Ok(daemon.metric("pgvrrp_etcd_up")?.is_some()))
        })
    });
}

#[test]
fn connections_that_lie_on_the_control_socket_take_nothing_from_the_daemon() {
    play(Options::default(), |stage| {
        let path = stage.lab.dir().join("db1/run/control.sock");
        let mut held = Vec::new();
        for i in 0..300 {
            let mut connection = UnixStream::connect(&path)?;
            if i % 2 == 0 {
                // Asks, and never reads.
                connection.write_all(b"j")?;
            }
            held.push(connection);
        }
        has_few_descriptors(stage)?;
        moves_to(stage, Node::Db2)?;
        moves_to(stage, Node::Db1)?;
        // They are served eight at a time for two seconds each; HTTP answers meanwhile.
        ensure!(stage.daemon(Node::Db1, |daemon| daemon.metric("pgvrrp_etcd_up"))? == Some(1.0), "etcd is not up");
        drop(held);
        stage.lab.wait_until("the control socket to answer", 5 * SECOND, || {
            stage.daemon(Node::Db1, |daemon| daemon.status().map(|_| true))
        })
    });
}

fn has_few_descriptors(stage: &Stage<'_>) -> Result<()> {
    let pid = stage.daemon(Node::Db1, |daemon| Ok(daemon.process().pid()))?;
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    ensure!(descriptors < 100, "{descriptors} descriptors");
    Ok(())
}

//! Whoever looks at the daemon, be it all the time or without ever taking the answer, changes nothing about the VIP.

use std::io::{Read, Write};
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

/// Looks again and again while the VIP moves to and fro. Returns how often there was an answer, and how often not.
fn looked_at(
    stage: &Stage<'_>,
    looks: &[&(dyn Fn(Node) -> Result<bool> + Sync)],
    pause: Duration,
) -> Result<[usize; 2]> {
    let (ended, answers, failures) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let again_and_again = |node, look: &(dyn Fn(Node) -> Result<bool> + Sync)| {
        while !ended.load(Ordering::Relaxed) {
            let is_whole = look(node).unwrap_or(false);
            if is_whole { &answers } else { &failures }.fetch_add(1, Ordering::Relaxed);
            thread::sleep(pause);
        }
    };
    let client = stage.lab.namespace(Node::Client);
    let lags = thread::scope(|scope| {
        for node in Node::DATABASES {
            for look in looks {
                let again_and_again = &again_and_again;
                scope.spawn(move || client.run(|| again_and_again(node, *look)));
            }
        }
        let targets = [Node::Db2, Node::Db1].into_iter().cycle().take(times(2, 10));
        let lags = targets.map(|target| moves_to(stage, target)).collect::<Result<Vec<_>>>();
        ended.store(true, Ordering::Relaxed);
        lags
    })?;
    let (answers, failures) = (answers.into_inner(), failures.into_inner());
    println!("{answers} answers, {failures} without one; VIP lag (ms, upper bound): {lags:?}");
    Ok([answers, failures])
}

fn scrape(node: Node) -> Result<bool> {
    let answer = http::request(server(node), Request::get("/metrics"), SECOND)?;
    Ok(answer.status == 200 && answer.body.contains("pgvrrp_vip_held"))
}

#[test]
fn a_scrape_every_100_milliseconds_during_switchovers() {
    play(Options::default(), |stage| {
        let [answers, failures] = looked_at(stage, &[&scrape], Duration::from_millis(100))?;
        ensure!(answers > 20 && failures * 20 < answers, "{answers} answers, {failures} failures");
        Ok(())
    });
}

/// As fast as it can be asked, by more than are served at a time.
#[test]
fn http_and_control_socket_under_load_during_switchovers() {
    play(Options::default(), |stage| {
        let dir = stage.lab.dir();
        let ask = |node: Node| -> Result<bool> {
            let mut socket = UnixStream::connect(dir.join(format!("{node}/run/control.sock")))?;
            socket.set_read_timeout(Some(SECOND))?;
            socket.write_all(b"j")?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok(answer.contains("10.0.20.155"))
        };
        let mut looks: Vec<&(dyn Fn(Node) -> Result<bool> + Sync)> = vec![&scrape; 12];
        looks.extend([&ask as &(dyn Fn(Node) -> Result<bool> + Sync); 12]);
        let [answers, _] = looked_at(stage, &looks, Duration::ZERO)?;
        ensure!(answers > 1000, "{answers} answers");
        has_few_descriptors(stage)
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

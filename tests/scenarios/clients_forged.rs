//! What strangers send to the port for lists of clients, and stray acknowledgements to whom they do not concern.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Application, Node, Options, Time};
use pgvrrp::clients::{Client, Header, write};
use pgvrrp::evidence::etcd::keyring::{Secret, secret_of};
use pgvrrp::transport::Tickler;
use pgvrrp_netlink::SockDiag;

use crate::stage::{Stage, play};

const VIP: &str = "10.0.20.155";
const KEY: &str = "/pgvrrp/v1/service/odoo/10.0.20.155";

/// How often db2 has refused a datagram for this reason.
fn refused(stage: &Stage<'_>, reason: &str) -> Result<f64> {
    let series = format!("pgvrrp_client_lists_refused_total{{reason=\"{reason}\"}}");
    Ok(stage.daemon(Node::Db2, |daemon| daemon.metric(&series))?.unwrap_or(0.0))
}

/// Sends it to db2 from a node's own address, and waits until it has been refused for this reason.
fn send(stage: &Stage<'_>, from: Node, datagrams: &[Vec<u8>], reason: &str) -> Result<()> {
    let before = refused(stage, reason)?;
    let socket = stage.lab.namespace(from).run(|| UdpSocket::bind((from.ip(), 0)))??;
    for datagram in datagrams {
        socket.send_to(datagram, (Node::Db2.ip(), 9155))?;
    }
    stage.lab.wait_until(&format!("a list to be refused: {reason}"), Duration::from_secs(5), || {
        Ok(refused(stage, reason)? >= before + datagrams.len() as f64)
    })
}

/// V's secret and revision.
fn lock(stage: &Stage<'_>) -> Result<(Secret, i64)> {
    let lock = stage.lab.etcd().get(KEY)?.context("no lock")?;
    Ok((secret_of(lock.value.as_bytes()).context("no secret in it")?, lock.mod_revision))
}

fn listed(stage: &Stage<'_>) -> Result<f64> {
    let series = format!("pgvrrp_listed_clients{{vip=\"{VIP}\"}}");
    Ok(stage.daemon(Node::Db2, |daemon| daemon.metric(&series))?.unwrap_or(0.0))
}

#[test]
fn forged_lists_are_refused_and_counted() {
    play(Options::default(), |stage| {
        let crowd = Application::crowd(stage.lab, 20, 0, true)?;
        stage.lab.wait_until("the list to be on db2", Duration::from_secs(5), || Ok(listed(stage)? >= 20.0))?;
        let (right, revision) = lock(stage)?;
        let wrong = Secret::random().context("no randomness")?;
        let vip: SocketAddr = format!("{VIP}:5432").parse()?;
        let list = |secret: &Secret, revision: i64, local: SocketAddr| {
            let header = Header { revision, number: 1 };
            write(header, local.ip(), secret, &[Client { local, remote: "10.0.20.77:40000".parse().expect("right") }])
        };
        send(stage, Node::Client, &[b"nonsense".to_vec(), vec![0xff; 1400], Vec::new()], "malformed")?;
        send(stage, Node::Client, &list(&wrong, revision, vip), "stranger")?;
        send(stage, Node::Client, &list(&right, revision, vip), "stranger")?;
        send(stage, Node::Client, &list(&right, revision + 1, vip), "other_lock")?;
        // From the holder's own address, as one could pretend to.
        send(stage, Node::Db1, &list(&wrong, revision, vip), "forged")?;
        send(stage, Node::Db1, &list(&right, revision, vip), "old")?;
        send(stage, Node::Db1, &list(&right, revision, "10.0.20.11:5432".parse()?), "other_address")?;
        ensure!(listed(stage)? >= 20.0, "the genuine list is gone");
        let memory = || stage.daemon(Node::Db2, |daemon| daemon.process().resident_bytes());
        let (before, since) = (memory()?, Time::now());
        let flood = list(&wrong, revision, vip);
        let socket = stage.lab.namespace(Node::Client).run(|| UdpSocket::bind((Node::Client.ip(), 0)))??;
        let mut sent = 0_u64;
        while since.elapsed() < Duration::from_secs(5) {
            for datagram in &flood {
                // A full buffer is no reason to stop.
                sent += u64::from(socket.send_to(datagram, (Node::Db2.ip(), 9155)).is_ok());
            }
        }
        stage.undisturbed(since)?;
        let grown = memory()?.saturating_sub(before);
        println!("{sent} forged lists in 5 s; db2's daemon has grown by {} kB", grown / 1024);
        ensure!(grown < 4 << 20, "{grown} bytes");
        stage.lab.wait_until("genuine lists to be taken", Duration::from_secs(5), || Ok(listed(stage)? >= 20.0))?;
        ensure!(stage.holders() == [Node::Db1], "the VIP has moved");
        drop(crowd);
        Ok(())
    });
}

#[test]
fn stray_acknowledgements_harm_no_connection_that_lives() {
    play(Options::default(), |stage| {
        let crowd = Application::crowd(stage.lab, 20, 5, false)?;
        let workers = Application::held(stage.lab, 8, true)?;
        let [db1, db2, client] = [Node::Db1, Node::Db2, Node::Client].map(|node| stage.lab.namespace(node));
        // Between two other hosts.
        let target = SocketAddr::from((Node::Db2.ip(), 5432));
        let other = client.run(|| TcpStream::connect(target))??;
        let elsewhere = Client { local: target, remote: other.local_addr()? };
        let begun = Time::now();
        let mut sent = 0;
        while begun.elapsed() < Duration::from_secs(10) {
            // To all that are connected now, from their own server and from a host that has nothing to do with them; and
            // to the server, in the clients' names.
            let mut clients = db1.run(|| -> Result<Vec<Client>> {
                let mut found = Vec::new();
                SockDiag::open()?.clients(
                    VIP.parse::<std::net::IpAddr>()?,
                    &[],
                    Duration::from_secs(1),
                    &mut |client| {
                        found.push(Client { local: client.local, remote: client.remote });
                    },
                )?;
                Ok(found)
            })??;
            ensure!(clients.len() >= 33, "{} are left", clients.len());
            clients.push(elsewhere);
            for namespace in [db1, db2] {
                sent += namespace.run(|| {
                    let tickler = Tickler::open();
                    clients.iter().filter(|client| tickler.send(client.local, client.remote).is_ok()).count()
                })?;
            }
            sent += client.run(|| {
                let tickler = Tickler::open();
                clients.iter().filter(|client| tickler.send(client.remote, client.local).is_ok()).count()
            })?;
            thread::sleep(Duration::from_millis(20));
        }
        println!("{} stray acknowledgements sent at living connections", sent * 4);
        for application in [&crowd, &workers] {
            let told = lab::application::Account::of(application, begun, begun).first_told();
            ensure!(told.is_none(), "{} was told of an end: {}", application.name(), application.log());
        }
        stage.undisturbed(begun)?;
        ensure!(other.take_error()?.is_none() && other.peer_addr().is_ok(), "the connection between others is gone");
        let served = lab::application::Account::of(&workers, Time::now(), Time::now());
        stage.lab.wait_until("the workers to go on", Duration::from_secs(5), || {
            let served = lab::application::Account::of(&workers, begun, begun);
            Ok(served.all_served().is_some())
        })?;
        drop((served, other));
        ensure!(stage.holders() == [Node::Db1], "the VIP has moved");
        Ok(())
    });
}

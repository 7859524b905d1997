//! The configuration is read again while clients are at work.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::process::Output;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::daemon::{Daemon, Launch};
use lab::{Node, Options, Time};
use nix::sys::signal::Signal;

use crate::stage::{Stage, play};

const LIST: &str = "[\"10.0.20.155\", \"10.0.20.156\"]";
const SECOND_VIP: &str = "
[[vip]]
address = \"10.0.20.157\"
virtual_router_id = 157
follows = \"primary\"
";

/// Writes another configuration, and asks the daemon to read it.
fn reload(stage: &Stage<'_>, node: Node, text: &str) -> Result<Output> {
    stage.daemon(node, |daemon| {
        fs::write(daemon.config_path(), text)?;
        daemon.command(&["reload".as_ref(), "--config".as_ref(), daemon.config_path().as_os_str()])
    })
}

/// The same on every node; each says the same of it.
fn reload_all(stage: &Stage<'_>, change: impl Fn(&mut Launch) -> String, said: &str) -> Result<()> {
    for node in Node::DATABASES {
        let text = change(&mut Launch::reference(stage.lab, node));
        let output = reload(stage, node, &text)?;
        let answer = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        print!("{node}: {answer}");
        ensure!(output.status.success() && answer == said, "{}: {answer}", output.status);
    }
    Ok(())
}

fn is_bound(stage: &Stage<'_>, node: Node, address: &str) -> Result<bool> {
    let listing = stage.lab.namespace(node).ip(&["-oneline", "address", "show", "dev", "eth0"])?;
    Ok(listing.contains(&format!(" {address}/")))
}

/// Waits until an address is on the first node alone, or on none.
fn wait_address(stage: &Stage<'_>, address: &str, here: bool) -> Result<()> {
    stage.lab.wait_until(&format!("{address} to be where it belongs"), Duration::from_secs(5), || {
        Ok(is_bound(stage, Node::Db1, address)? == here && !is_bound(stage, Node::Db2, address)?)
    })
}

fn connect(stage: &Stage<'_>, address: &str) -> Result<TcpStream> {
    let target = format!("{address}:5432");
    let stream = stage.lab.namespace(Node::Client).run(|| TcpStream::connect(target))??;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// The client of an address that was taken out is told.
fn ensure_told(mut stream: TcpStream) -> Result<()> {
    let told = stream.read(&mut [0]);
    ensure!(matches!(&told, Err(error) if error.kind() == ErrorKind::ConnectionReset), "{told:?}");
    Ok(())
}

#[test]
fn addresses_and_vips_come_and_go_beside_living_clients() {
    play(Options::default(), |stage| {
        let sessions = stage.probes.borrow_mut().open_sessions(5)?;
        let (before, holding) = (Time::now(), stage.last_holding(Node::Db1)?);
        reload_all(stage, |launch| launch.config.render(), "nothing has changed\n")?;
        // One more address of the VIP.
        let list = |launch: &mut Launch| launch.config.remove("vip", "address").set("vip", "addresses", LIST).render();
        reload_all(stage, list, "10.0.20.155: changed +10.0.20.156\n")?;
        wait_address(stage, "10.0.20.156", true)?;
        let client = connect(stage, "10.0.20.156")?;
        // Out again: its clients are told, and nobody else is.
        reload_all(stage, |launch| launch.config.render(), "10.0.20.155: changed -10.0.20.156\n")?;
        wait_address(stage, "10.0.20.156", false)?;
        ensure_told(client)?;
        // A second VIP, with its own lock.
        reload_all(stage, |launch| launch.config.render() + SECOND_VIP, "10.0.20.157: added\n")?;
        wait_address(stage, "10.0.20.157", true)?;
        let client = connect(stage, "10.0.20.157")?;
        reload_all(stage, |launch| launch.config.render(), "10.0.20.157: removed\n")?;
        wait_address(stage, "10.0.20.157", false)?;
        ensure_told(client)?;
        stage.lab.wait_until("the second VIP to be forgotten", Duration::from_secs(3), || {
            let status = stage.daemon(Node::Db1, Daemon::status)?;
            Ok(status["vips"].as_array().is_some_and(|vips| vips.len() == 1))
        })?;
        stage.calm(Duration::from_secs(2))?;
        stage.nobody_noticed(&holding, before, &sessions)?;
        // And it moves as before.
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, Duration::from_secs(10))?;
        stage.wait_writes(Duration::from_secs(5))
    });
}

/// Or waits until none is shown, in status and metrics.
fn wait_refusal_shown(stage: &Stage<'_>, shown: bool) -> Result<()> {
    stage.lab.wait_until("the refusal to be shown, or gone", Duration::from_secs(2), || {
        let status = stage.daemon(Node::Db1, Daemon::status)?;
        let told = status["config"]["refusal"].as_str().is_some_and(|why| why.contains("virtual_router"));
        let metric = stage.daemon(Node::Db1, |daemon| daemon.metric("pgvrrp_config_last_reload_successful"))?;
        Ok(told == shown && metric == Some(if shown { 0.0 } else { 1.0 }))
    })
}

#[test]
fn what_cannot_be_taken_changes_nothing_and_says_why() {
    play(Options::default(), |stage| {
        let (before, holding) = (Time::now(), stage.last_holding(Node::Db1)?);
        let good = Launch::reference(stage.lab, Node::Db1).config.render();
        let wrong = good.replace("virtual_router_id", "virtual_router");
        let output = reload(stage, Node::Db1, &wrong)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(78) && said.contains("goes on with the former"), "{said}");
        wait_refusal_shown(stage, true)?;
        reload(stage, Node::Db1, &good)?;
        wait_refusal_shown(stage, false)?;
        // The same by a signal.
        stage.daemon(Node::Db1, |daemon| {
            fs::write(daemon.config_path(), &wrong)?;
            daemon.process().signal(Signal::SIGHUP)
        })?;
        wait_refusal_shown(stage, true)?;
        let refused = |text: &str, code: i32, words: &[&str]| {
            let output = reload(stage, Node::Db1, text)?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            print!("{said}");
            ensure!(output.status.code() == Some(code) && words.iter().all(|word| said.contains(word)), "{said}");
            Ok(())
        };
        refused(&good.replace("scope = ", "namespace = \"/other\"\nscope = "), 75, &["[patroni]", "handover"])?;
        // Whom it would ask is asked first.
        refused(&good.replace(":2379", ":2378"), 75, &["[etcd]", ":2378", "goes on with the former"])?;
        refused(&good.replace("user=pgvrrp", "user=nobody"), 75, &["[postgres]", "nobody", "goes on with the former"])?;
        // What could not be bound now would make the VIP leave that may stay.
        let database = stage.lab.database(Node::Db1);
        database.sql("ALTER ROLE pgvrrp CONNECTION LIMIT 0")?;
        database.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgvrrp'")?;
        stage.wait_reason(Node::Db1, "holding_unanswered", Duration::from_secs(5))?;
        let longer = good.replace("address = \"10.0.20.155\"", &format!("addresses = {LIST}"));
        refused(&longer, 75, &["10.0.20.156", "all of the VIP would leave", "goes on with the former"])?;
        database.sql("ALTER ROLE pgvrrp CONNECTION LIMIT -1")?;
        stage.wait_reason(Node::Db1, "holding", Duration::from_secs(5))?;
        let output = reload(stage, Node::Db1, &good)?;
        ensure!(output.stdout == b"nothing has changed\n", "{output:?}");
        stage.calm(Duration::from_secs(2))?;
        ensure!(stage.last_holding(Node::Db1)?.from == holding.from, "the VIP left and came back");
        stage.undisturbed(before)
    });
}

/// Another way to the same etcd and the same PostgreSQL, and another port for HTTP.
#[test]
fn whom_it_asks_and_where_it_listens_change_beside_living_clients() {
    play(Options::default(), |stage| {
        let sessions = stage.probes.borrow_mut().open_sessions(5)?;
        let (before, holding) = (Time::now(), stage.last_holding(Node::Db1)?);
        let other = |launch: &mut Launch| {
            launch.config.set("etcd", "endpoints", "[\"http://10.0.20.13:2378\", \"http://10.0.20.13:2379\"]");
            let directory = stage.lab.database(Node::Db1).socket_dir();
            let connection = format!("\"host={} user=pgvrrp dbname=template1\"", directory.display());
            launch.config.set("postgres", "connection", &connection);
            launch.config.set("http", "listen", "\"[::]:9156\"").render()
        };
        let text = other(&mut Launch::reference(stage.lab, Node::Db1));
        let output = reload(stage, Node::Db1, &text)?;
        ensure!(output.stdout == b"[etcd]: changed\n[postgres]: changed\n[http]: changed\n", "{output:?}");
        let sessions_of_it = "select string_agg(datname, ', ') from pg_stat_activity where application_name = 'pgvrrp'";
        stage.lab.wait_until("the session to be the other one, and the only one", Duration::from_secs(3), || {
            Ok(stage.lab.database(Node::Db1).sql(sessions_of_it)?.trim() == "template1")
        })?;
        let port = |number| stage.lab.namespace(Node::Db1).run(|| TcpStream::connect(("127.0.0.1", number)).is_ok());
        stage
            .lab
            .wait_until("HTTP to be at the other port", Duration::from_secs(3), || Ok(port(9156)? && !port(9155)?))?;
        stage.calm(Duration::from_secs(5))?;
        let status = stage.daemon(Node::Db1, Daemon::status)?;
        for source in ["etcd", "postgres"] {
            ensure!(status[source]["age"].as_f64().is_some_and(|age| age < 3.0), "{}", status[source]);
        }
        // And back. The daemon hears of what etcd and PostgreSQL say as before: the VIP moves.
        let output = reload(stage, Node::Db1, &Launch::reference(stage.lab, Node::Db1).config.render())?;
        ensure!(output.status.success(), "{output:?}");
        stage.calm(Duration::from_secs(3))?;
        stage.nobody_noticed(&holding, before, &sessions)?;
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, Duration::from_secs(10))?;
        stage.wait_writes(Duration::from_secs(5))
    });
}

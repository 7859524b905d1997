//! What the daemon tells systemd, and when it falls silent.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::{Daemon, Launch};
use lab::{Node, Options, Time};

use crate::stage::play_with;

/// Reads messages until one begins like this.
fn await_message(socket: &UnixDatagram, prefix: &str, limit: Duration) -> Result<String> {
    let start = Time::now();
    let mut buffer = [0; 4096];
    while start.elapsed() < limit {
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if let Some(line) = message.lines().find(|line| line.starts_with(prefix)) {
            return Ok(line.to_owned());
        }
    }
    anyhow::bail!("no message that begins with {prefix:?} within {limit:?}")
}

/// What remains is what the daemon is for; `docs/THREATS.md` goes through it.
#[test]
fn the_unit_leaves_little_exposed() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/pgvrrp.service");
    // In tenths.
    let args = ["security", "--no-pager", "--offline=true", "--threshold=20", unit];
    let output =
        Command::new("systemd-analyze").args(args).output().expect("systemd-analyze (of Debian's systemd) runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", said.lines().last().unwrap_or_default());
}

#[test]
fn ready_status_and_watchdog() {
    play_with(Options::default(), |stage| {
        let path = stage.lab.dir().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut launch = Launch::reference(stage.lab, Node::Db1);
        launch.wrapper =
            vec!["env".to_owned(), format!("NOTIFY_SOCKET={}", path.display()), "WATCHDOG_USEC=2000000".to_owned()];
        stage.launch(Node::Db1, &launch)?;
        await_message(&socket, "READY=1", Duration::from_secs(5))?;
        await_message(&socket, "STATUS=10.0.20.155 here: this node holds the leader key", Duration::from_secs(5))?;
        await_message(&socket, "WATCHDOG=1", Duration::from_secs(2))?;

        // A daemon that does not run feeds no watchdog.
        stage.daemon(Node::Db1, Daemon::freeze)?;
        while socket.recv(&mut [0; 4096]).is_ok() {}
        let silent = await_message(&socket, "WATCHDOG=1", Duration::from_secs(2));
        ensure!(silent.is_err(), "the watchdog was fed by a stopped daemon");
        stage.daemon(Node::Db1, Daemon::thaw)?;
        await_message(&socket, "WATCHDOG=1", Duration::from_secs(3)).context("after it went on")?;

        stage.daemon(Node::Db1, |daemon| daemon.process().signal(nix::sys::signal::Signal::SIGTERM))?;
        await_message(&socket, "STOPPING=1", Duration::from_secs(2))?;
        Ok(())
    });
}

//! A VIP with addresses of both families, and one that is sent away by hand.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::Launch;
use lab::{Node, Options, Time};

use crate::stage::{Stage, play, play_with};

const LINK_LOCAL: &str = "fe80::200:5eff:fe00:29b";
const GLOBAL: &str = "fd00:20::155";
const LIST: &str = "[\"10.0.20.155\", \"fe80::200:5eff:fe00:29b\", \"fd00:20::155/64\"]";

/// The host's addresses among those of the VIP, as `ip` lists them.
fn bound(stage: &Stage<'_>, node: Node) -> Result<Vec<&'static str>> {
    let listing = stage.lab.namespace(node).ip(&["-oneline", "address", "show", "dev", "eth0"])?;
    let is_there = |address: &&str| listing.contains(&format!(" {address}/"));
    Ok(["10.0.20.155", LINK_LOCAL, GLOBAL].into_iter().filter(is_there).collect())
}

/// Waits until all of it is on one node, and nothing on the other.
fn wait_on(stage: &Stage<'_>, node: Node, limit: Duration) -> Result<()> {
    stage.wait_vip(node, limit)?;
    let other = if node == Node::Db1 { Node::Db2 } else { Node::Db1 };
    stage.lab.wait_until("all of them in one place", Duration::from_secs(2), || {
        Ok(bound(stage, node)?.len() == 3 && bound(stage, other)?.is_empty())
    })
}

#[test]
fn both_families_move_as_one() {
    play_with(Options::default(), |stage| {
        for node in Node::DATABASES {
            let mut launch = Launch::reference(stage.lab, node);
            launch.config.remove("vip", "address").set("vip", "addresses", LIST);
            stage.launch(node, &launch)?;
        }
        wait_on(stage, Node::Db1, Duration::from_secs(10))?;
        stage.probes.borrow_mut().add_hasty_client()?;
        let before = Time::now();
        stage.lab.switchover(Node::Db2)?;
        wait_on(stage, Node::Db2, Duration::from_secs(30))?;
        println!("moved within {:.1?}", before.elapsed());
        // A neighbour reaches it over IPv6, and the host does not use it for itself.
        let client = stage.lab.namespace(Node::Client);
        client.ip(&["address", "add", "fd00:20::99/64", "dev", "eth0", "nodad"])?;
        let mut ping = client.command("ping");
        let pinged = ping.args(["-6", "-c", "1", "-W", "2", GLOBAL]).output();
        if let Ok(pinged) = pinged {
            ensure!(pinged.status.success(), "{}", String::from_utf8_lossy(&pinged.stdout));
        }
        let listing = stage.lab.namespace(Node::Db2).ip(&["-6", "address", "show", "dev", "eth0"])?;
        let line = listing.lines().find(|line| line.contains(GLOBAL)).context("it is gone")?;
        ensure!(line.contains("nodad") && line.contains("deprecated"), "{line}");
        // One of several that somebody removes is back at once; the others never left.
        let holding = stage.last_holding(Node::Db2)?;
        stage.lab.namespace(Node::Db2).ip(&["address", "delete", &format!("{GLOBAL}/64"), "dev", "eth0"])?;
        stage.lab.wait_until("it to be back", Duration::from_secs(1), || Ok(bound(stage, Node::Db2)?.len() == 3))?;
        ensure!(stage.last_holding(Node::Db2)?.from == holding.from, "the others have moved");
        let status = stage.vip_status(Node::Db2)?;
        ensure!(status["counters"]["repaired"] == 1 && status["held"] == true, "{status}");
        let address: IpAddr = GLOBAL.parse()?;
        ensure!(status["addresses"].to_string().contains(&address.to_string()), "{status}");
        stage.wait_writes(Duration::from_secs(5))
    });
}

#[test]
fn drained_by_hand() {
    play(Options::default(), |stage| {
        let ask = |words: &[&str]| {
            stage.daemon(Node::Db1, |daemon| {
                let mut args: Vec<&std::ffi::OsStr> = words.iter().map(AsRef::as_ref).collect();
                args.extend(["--config".as_ref(), daemon.config_path().as_os_str()]);
                daemon.command(&args)
            })
        };
        let begun = Time::now();
        let output = ask(&["drain", "10.0.20.155", "--keep"])?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        ensure!(output.status.success(), "{output:?}");
        println!("drained after {:.1?}", begun.elapsed());
        ensure!(stage.holders().is_empty(), "it is still here");
        stage.wait_reason(Node::Db1, "drained", Duration::from_secs(2))?;
        // The other node does not lead, so it has no business having it.
        stage.calm(Duration::from_secs(3))?;
        // Kept over a restart.
        stage.daemon(Node::Db1, |daemon| daemon.process().terminate(Duration::from_secs(5)).map(drop))?;
        stage.start_daemon(Node::Db1)?;
        stage.wait_reason(Node::Db1, "drained", Duration::from_secs(5))?;
        stage.calm(Duration::from_secs(3))?;
        let output = ask(&["undrain", "10.0.20.155"])?;
        ensure!(output.status.success() && output.stdout.starts_with(b"10.0.20.155: HERE"), "{output:?}");
        stage.wait_vip(Node::Db1, Duration::from_secs(10))?;
        stage.wait_writes(Duration::from_secs(5))?;
        let output = ask(&["drain", "10.0.20.156"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(75) && said.contains("10.0.20.155"), "{said}");
        ensure!(stage.holders() == [Node::Db1], "it has moved");
        Ok(())
    });
}

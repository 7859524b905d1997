//! `pgvrrp doctor` on a real cluster with its daemons: the way of protocol 112 between the nodes.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::daemon::Config;
use lab::doctor::{Doctor, Found};
use lab::{Direction, Node, Options, Time, Traffic};

use crate::doctor::examine;
use crate::stage::{Stage, binary, play};

/// As long as a daemon may not have heard anybody yet, and a bit.
const GROWN: Duration = Duration::from_secs(16);

/// Both doctors at once. What the other areas say is not looked at.
fn both(stage: &Stage<'_>) -> Result<[Found; 2]> {
    let one = |node: Node, peer: Node| {
        let dir = stage.lab.dir().join(node.name());
        let config = dir.join("doctor.toml");
        fs::write(&config, Config::reference(stage.lab, node).render())?;
        Doctor::start(stage.lab.namespace(node), &dir, &binary(), &config, peer.ip().into(), 10)
    };
    let doctors = [one(Node::Db1, Node::Db2)?, one(Node::Db2, Node::Db1)?];
    Ok([doctors[0].finish(Duration::from_secs(20))?, doctors[1].finish(Duration::from_secs(20))?])
}

fn says(found: &Found, level: &str, text: &str, fix: &str) -> Result<()> {
    let is = |[a, b, c]: &[&str; 3]| *a == level && b.contains(text) && c.contains(fix);
    ensure!(found.of("peer").iter().any(is), "no {level} with {text:?} and the fix {fix:?}: {:#?}", found.of("peer"));
    Ok(())
}

#[test]
fn the_way_to_the_other_node_and_back() {
    play(Options::default(), |stage| {
        let (since, started) = (Time::now(), stage.last_holding(Node::Db1)?);
        let [db1, db2] = both(stage)?;
        for (found, other) in [(&db1, "10.0.20.12"), (&db2, "10.0.20.11")] {
            says(found, "ok", &format!("IPv4 multicast: arrives here from {other}, and there from here"), "")?;
            ensure!(found.code == Some(0), "{:#}", found.report);
        }
        std::thread::sleep(GROWN.saturating_sub(since.elapsed()));
        let config = Config::reference(stage.lab, Node::Db2);
        let plain = |name: &str| examine(stage, Node::Db2, name, &config, &[]);
        let heard = plain("heard")?;
        heard.says("peer", "ok", "10.0.20.11 is heard to advertise VIP 10.0.20.155", "")?;
        heard.says("peer", "note", "to the other nodes and back: not tested", "`pgvrrp doctor --peer ADDRESS`")?;

        // Nothing of a VIP that follows the primary depends on it: no problem, but worth a warning.
        stage.lab.cut(Node::Db2, Traffic::Vrrp, Direction::In)?;
        // As long as a silence may be a hiccup.
        std::thread::sleep(Duration::from_secs(5));
        let [db1, db2] = both(stage)?;
        says(
            &db1,
            "warning",
            "from this host to 10.0.20.12: arrives at the interface, and 10.0.20.12 itself",
            "on 10.0.20.12",
        )?;
        says(
            &db2,
            "warning",
            "from 10.0.20.11 to this host: arrives at the interface, and this host itself",
            "on this host",
        )?;
        says(&db2, "warning", "db1 has VIP 10.0.20.155, and is not heard to advertise it", "doctor --peer")?;
        ensure!((db1.code, db2.code) == (Some(0), Some(0)), "{:#}\n{:#}", db1.report, db2.report);
        stage.lab.heal_all()?;

        let dropped = ["setpriv", "--bounding-set=-net_raw,-net_admin", "--inh-caps=-net_raw,-net_admin"];
        let path = stage.lab.dir().join("db2/doctor.toml");
        let mut command = stage.lab.namespace(Node::Db2).command(dropped[0]);
        command.args(&dropped[1..]).arg(binary()).args(["doctor", "--peer", "10.0.20.11", "--wait", "1", "--config"]);
        let output = command.arg(path).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = "warning  peer 10.0.20.11: not tested: Operation not permitted (os error 1): to send and hear protocol 112 needs CAP_NET_RAW";
        ensure!(text.contains(told), "{text}");

        ensure!(stage.last_holding(Node::Db1)?.from == started.from, "the VIP moved");
        stage.undisturbed(since)
    });
}

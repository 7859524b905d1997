//! The whole cluster as it is seen from one node: `status --cluster`, `history`, and the page.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::HTTP_PORT;
use lab::{Browser, Direction, Node, Options, Traffic};
use serde_json::Value;

use crate::stage::{Stage, play};

const SECOND: Duration = Duration::from_secs(1);

/// Exit code, and what is printed and complained of.
fn run(stage: &Stage<'_>, node: Node, args: &[&str]) -> Result<(Option<i32>, String)> {
    stage.daemon(node, |daemon| {
        let config = daemon.config_path();
        let mut all: Vec<&std::ffi::OsStr> = args.iter().map(AsRef::as_ref).collect();
        all.extend(["--config".as_ref(), config.as_os_str()]);
        let output = daemon.command(&all)?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
    })
}

/// Waits until the view from a node has this exit code and all these words, and prints it.
fn wait_view(stage: &Stage<'_>, node: Node, code: i32, words: &[&str]) -> Result<()> {
    let mut last = String::new();
    let seen = std::cell::RefCell::new(&mut last);
    let found = stage.lab.wait_until(&format!("exit code {code} and {words:?}"), 15 * SECOND, || {
        let (found, text) = run(stage, node, &["status", "--cluster"])?;
        let is = found == Some(code) && words.iter().all(|word| text.contains(word));
        **seen.borrow_mut() = format!("exit code {found:?}\n{text}");
        Ok(is)
    });
    println!("{last}");
    found.context(last)
}

fn keep(browser: &mut Browser, name: &str, width: u32, dark: bool) -> Result<()> {
    let picture = browser.picture(width, dark)?;
    if let Some(dir) = std::env::var_os("PGVRRP_PICTURES") {
        fs::write(PathBuf::from(dir).join(name), picture)?;
    }
    Ok(())
}

#[test]
fn all_nodes_are_seen_from_each() {
    play(Options::default(), |stage| {
        wait_view(
            stage,
            Node::Db2,
            0,
            &["the leader key is db1's", "its lock is db1's", "nothing is wrong with that"],
        )?;
        let look = || -> Result<Value> {
            Ok(serde_json::from_str(&run(stage, Node::Db1, &["status", "--cluster", "--json"])?.1)?)
        };
        // Patroni on the standby says so when it has started.
        let lag_is_known = || Ok(look()?["nodes"]["db2"]["member"]["lag"].is_u64());
        stage.lab.wait_until("Patroni to say how far db2 is behind", 30 * SECOND, lag_is_known)?;
        let json = look()?;
        let place = |node: &str| &json["nodes"][node]["daemon"]["vips"]["10.0.20.155"]["held"];
        ensure!(place("db1") == true && place("db2") == false && json["wrong"] == Value::Array(Vec::new()), "{json}");

        let mut page = Browser::start(stage.lab.namespace(Node::Db1), &stage.lab.dir())?;
        page.open(&format!("http://127.0.0.1:{HTTP_PORT}/"))?;
        page.wait_text("HERE", 5 * SECOND)?;
        page.wait_text("the leader key is mine", 5 * SECOND)?;
        stage.lab.switchover(Node::Db2)?;
        page.wait_text("db2 has its lock", 30 * SECOND)?;
        stage.lab.wait_settled(Node::Db2, 60 * SECOND)?;
        stage.lab.switchover(Node::Db1)?;
        page.wait_text("HERE", 30 * SECOND)?;
        stage.lab.wait_settled(Node::Db1, 60 * SECOND)?;
        page.wait_text("primary: accepts writes", 5 * SECOND)?;
        keep(&mut page, "cluster.png", 860, false)?;
        keep(&mut page, "cluster-phone.png", 360, true)?;
        ensure!(page.complaints().is_empty(), "{:?}", page.complaints());
        println!("{}", run(stage, Node::Db1, &["status"])?.1);
        let (code, history) = run(stage, Node::Db1, &["history"])?;
        println!("{history}");
        let phases = ["lock ", "promotion ", "bind "];
        let whole = history.lines().filter(|line| phases.iter().all(|phase| line.contains(phase))).count();
        ensure!(code == Some(0) && whole == 2, "{history}");

        // From a node without a daemon, by etcd and the other's.
        stage.daemon(Node::Db2, |daemon| {
            daemon.kill();
            Ok(())
        })?;
        wait_view(stage, Node::Db2, 1, &["WRONG: no daemon answers for db2: ", "10.0.20.155"])?;
        // And the other way round.
        wait_view(stage, Node::Db1, 1, &["WRONG: no daemon answers for db2: http://10.0.20.12:9155/status: "])?;
        // With neither: the node is cut off, and has no daemon.
        stage.lab.cut(Node::Db2, Traffic::All, Direction::Both)?;
        wait_view(stage, Node::Db2, 69, &["nobody answers: "])?;
        stage.lab.heal(Node::Db2)?;
        Ok(())
    });
}

/// Each daemon is alone with what it hears, and so is whoever looks.
#[test]
fn without_etcd_the_others_are_found_by_what_is_heard() {
    play(Options::default(), |stage| {
        stage.lab.cut(Node::Db2, Traffic::Etcd, Direction::Both)?;
        wait_view(stage, Node::Db2, 1, &["WRONG: etcd could not be read", "db1   10.0.20.155  primary"])?;
        stage.lab.heal(Node::Db2)?;
        wait_view(stage, Node::Db2, 0, &["nothing is wrong with that"])
    });
}

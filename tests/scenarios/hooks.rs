//! Hooks are told of each move, and of nothing that is none: the next daemon's taking over what it finds here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::{Daemon, Launch};
use lab::{Node, Options};

use crate::stage::{Stage, play_with};

const SECOND: Duration = Duration::from_secs(1);

/// With a hook for everything, which writes down the state that it is told.
fn launch(stage: &Stage<'_>, node: Node) -> Result<Launch> {
    let dir = stage.lab.dir().join(node.name());
    let hook = dir.join("hook");
    fs::write(&hook, format!("#!/bin/sh\necho \"$3\" >> {}\n", dir.join("told").display()))?;
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
    let mut launch = Launch::reference(stage.lab, node);
    launch.config.set("hooks", "on_change", &format!("[\"{}\"]", hook.display()));
    Ok(launch)
}

fn told(stage: &Stage<'_>, node: Node) -> Vec<String> {
    let text = fs::read_to_string(stage.lab.dir().join(node.name()).join("told")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn wait_told(stage: &Stage<'_>, node: Node, wanted: &[&str]) -> Result<()> {
    let all = || told(stage, node);
    let waited = stage.lab.wait_until(&format!("{node}'s hooks"), 10 * SECOND, || Ok(all() == wanted));
    waited.with_context(|| format!("told {:?}, and not {wanted:?}", all()))
}

#[test]
fn hooks_are_told_of_moves_and_of_no_takeover_by_the_next_daemon() {
    play_with(Options::default(), |stage| {
        // One after the other, so that each begins where nothing is under way.
        let launches = Node::DATABASES.map(|node| launch(stage, node)).into_iter().collect::<Result<Vec<_>>>()?;
        for (node, launch) in Node::DATABASES.into_iter().zip(&launches) {
            stage.launch(node, launch)?;
        }
        stage.wait_vip(Node::Db1, 10 * SECOND)?;
        wait_told(stage, Node::Db1, &["MASTER"])?;
        wait_told(stage, Node::Db2, &["BACKUP"])?;
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, 20 * SECOND)?;
        stage.lab.wait_settled(Node::Db2, 60 * SECOND)?;
        wait_told(stage, Node::Db1, &["MASTER", "BACKUP"])?;
        wait_told(stage, Node::Db2, &["BACKUP", "MASTER"])?;

        // Each move is one line of the log, with what it was founded on.
        let log = stage.daemon(Node::Db1, |daemon| Ok(daemon.log()))?;
        println!("{log}");
        for (event, reason) in [("gained", "holding"), ("lost", "postgres_down")] {
            let marks = format!("vip=\"10.0.20.155\" event=\"{event}\" reason=\"{reason}\" evidence=\"etcd: ");
            let lines: Vec<_> = log.lines().filter(|line| line.contains(&marks)).collect();
            ensure!(lines.len() == 1 && lines[0].contains("; PostgreSQL: "), "{event}: {lines:?}\n{log}");
        }

        let launch = &launches[1];
        let config = stage.daemon(Node::Db2, |daemon| Ok(daemon.config_path().to_owned()))?;
        let namespace = stage.lab.namespace(Node::Db2).clone();
        let asker = thread::spawn(move || {
            namespace.command(crate::stage::binary()).args(["handover", "--config"]).arg(config).output()
        });
        let status = stage.daemon(Node::Db2, |daemon| daemon.process().wait(5 * SECOND))?;
        ensure!(status.success(), "the daemon ended with {status}");
        stage.launch(Node::Db2, launch)?;
        let output = asker.join().ok().context("the asker panicked")??;
        ensure!(output.status.success(), "{output:?}");
        stage.calm(4 * SECOND)?;

        stage.daemon(Node::Db2, |daemon| Ok(daemon.kill()))?;
        stage.launch(Node::Db2, launch)?;
        stage.calm(4 * SECOND)?;
        ensure!(told(stage, Node::Db2) == ["BACKUP", "MASTER"], "{:?}", told(stage, Node::Db2));

        stage.daemon(Node::Db2, Daemon::terminate)?;
        // When it has ended, so has the hook.
        ensure!(told(stage, Node::Db2) == ["BACKUP", "MASTER", "STOP"], "{:?}", told(stage, Node::Db2));
        Ok(())
    });
}

//! etcd with passwords gives tokens for them, and takes them back: their time runs out, and with every change of a user or a
//! role the older ones may count no more. Neither moves the VIP, nor is it an error that anybody is told of.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::daemon::Launch;
use lab::etcd::Tokens;
use lab::patroni::Timing;
use lab::{Direction, Node, Options, Time, Traffic};

use crate::rights;
use crate::stage::{Stage, play_with};

const SECOND: Duration = Duration::from_secs(1);

/// Longer than any token of these tests is good for.
const LONG: Duration = Duration::from_secs(15);

fn play(tokens: Tokens, act: impl FnOnce(&Stage<'_>) -> Result<()>) {
    // With its shortest times Patroni itself would not survive the hiccup.
    let options = Options { timing: Timing::DEFAULT, etcd_auth: true, etcd_tokens: tokens, ..Options::default() };
    play_with(options, |stage| {
        rights::grant(stage)?;
        for node in Node::DATABASES {
            let mut launch = Launch::reference(stage.lab, node);
            let password = stage.lab.dir().join(format!("{node}-password"));
            launch.config.set_etcd_user("pgvrrp", "secret-of-the-readme", &password)?;
            stage.launch(node, &launch)?;
        }
        stage.wait_vip(Node::Db1, 10 * SECOND)?;
        stage.probes.borrow_mut().add_hasty_client()?;
        act(stage)
    });
}

/// How many rounds came to nothing so far.
fn errors(stage: &Stage<'_>, node: Node) -> Result<f64> {
    stage.daemon(node, |daemon| Ok(daemon.metric("pgvrrp_etcd_errors_total")?.unwrap_or_default()))
}

/// The VIP stays where it is, and no round fails.
fn undisturbed(stage: &Stage<'_>, span: Duration) -> Result<()> {
    let before = [errors(stage, Node::Db1)?, errors(stage, Node::Db2)?];
    stage.calm(span)?;
    let after = [errors(stage, Node::Db1)?, errors(stage, Node::Db2)?];
    for node in Node::DATABASES {
        stage.daemon(node, |daemon| {
            let etcd = daemon.status()?["etcd"].clone();
            ensure!(etcd["error"].is_null(), "{node}: {etcd}");
            Ok(())
        })?;
    }
    ensure!(before == after, "rounds failed: {before:?} {after:?}");
    Ok(())
}

/// Any change of a user or a role makes a new revision of them all.
fn change_a_role(stage: &Stage<'_>, name: &str) -> Result<()> {
    stage.lab.etcd().etcdctl(&["role", "add", name]).map(drop)
}

#[test]
fn tokens_that_nobody_used_for_too_long() {
    play(Tokens::Simple(3), |stage| {
        undisturbed(stage, LONG)?;
        // A hiccup that outlasts the token, and not the VIP.
        stage.lab.cut(Node::Db1, Traffic::Etcd, Direction::Both)?;
        std::thread::sleep(5 * SECOND);
        stage.lab.heal_all()?;
        stage.calm(LONG)?;
        // The password is another one, and then the former again: the tokens of this user are gone.
        let since = Time::now();
        for password in ["another", "secret-of-the-readme"] {
            stage.lab.etcd().etcdctl(&["user", "delete", "pgvrrp"])?;
            stage.lab.etcd().etcdctl(&["user", "add", &format!("pgvrrp:{password}")])?;
            stage.lab.etcd().etcdctl(&["user", "grant-role", "pgvrrp", "pgvrrp"])?;
        }
        stage.calm(LONG)?;
        stage.undisturbed(since)?;
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, 20 * SECOND)
    });
}

#[test]
fn tokens_that_end_however_often_they_are_used() {
    play(Tokens::Jwt(3), |stage| {
        undisturbed(stage, LONG)?;
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, 20 * SECOND)
    });
}

#[test]
fn tokens_from_before_a_change_of_the_users() {
    play(Tokens::Jwt(600), |stage| {
        for name in ["one", "two", "three"] {
            change_a_role(stage, name)?;
            undisturbed(stage, 5 * SECOND)?;
        }
        // The watch had to be made anew as well: a move is noticed at once.
        change_a_role(stage, "four")?;
        std::thread::sleep(2 * SECOND);
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, 20 * SECOND)?;
        stage.wait_writes(5 * SECOND)
    });
}

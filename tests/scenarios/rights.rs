//! The rights that the README grants are enough, and no more than that is used.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::daemon::Launch;
use lab::{Node, Options};

use crate::stage::{Stage, play_with};

const README: &str = include_str!("../../README.md");
const OPERATE: &str = include_str!("../../docs/OPERATE.md");

/// What a page says below this mark in its source, so that what is tried here is what is printed there.
fn lines(page: &str, mark: &str) -> Vec<String> {
    let begin = format!("<!-- {mark} -->");
    let block = page.split(&begin).nth(1).unwrap_or_default();
    let lines =
        block.lines().skip_while(|line| !line.starts_with("```")).skip(1).take_while(|line| !line.starts_with("```"));
    lines.map(str::to_owned).filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect()
}

/// Does what a page says, as etcd's root.
fn etcdctl(stage: &Stage<'_>, page: &str, mark: &str) -> Result<()> {
    let commands = lines(page, mark);
    ensure!(!commands.is_empty(), "the commands of {mark:?} were not found");
    for command in &commands {
        let words: Vec<_> = command.split_whitespace().skip(1).map(|word| word.trim_matches('\'')).collect();
        stage.lab.etcd().etcdctl(&words)?;
    }
    Ok(())
}

/// Makes the users of the README.
pub(crate) fn grant(stage: &Stage<'_>) -> Result<()> {
    etcdctl(stage, README, "etcd rights")?;
    let statements = lines(README, "postgres rights");
    ensure!(!statements.is_empty(), "the README's SQL was not found");
    stage.lab.database(Node::Db1).sql("drop role pgvrrp")?;
    for statement in &statements {
        stage.lab.database(Node::Db1).sql(statement)?;
    }
    Ok(())
}

#[test]
fn an_own_user_with_two_capabilities_and_what_the_readme_grants() {
    play_with(Options { etcd_auth: true, ..Options::default() }, |stage| {
        grant(stage)?;
        for node in Node::DATABASES {
            let dir = stage.lab.dir().join(format!("{node}-unprivileged"));
            std::fs::create_dir(&dir)?;
            std::os::unix::fs::chown(&dir, Some(65534), Some(65534))?;
            let password = dir.join("etcd-password");
            let mut launch = Launch::reference(stage.lab, node);
            launch.config.set("", "runtime_dir", &format!("\"{}/run\"", dir.display()));
            launch.config.set_etcd_user("pgvrrp", "secret-of-the-readme", &password)?;
            std::os::unix::fs::chown(&password, Some(65534), Some(65534))?;
            launch.wrapper = [
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--no-new-privs",
                "--bounding-set=-all,+net_admin,+net_raw",
                "--inh-caps=-all,+net_admin,+net_raw",
                "--ambient-caps=-all,+net_admin,+net_raw",
            ]
            .map(str::to_owned)
            .to_vec();
            stage.launch(node, &launch)?;
        }
        stage.wait_vip(Node::Db1, Duration::from_secs(10))?;
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, Duration::from_secs(20))?;
        ensure!(!stage.recording().contains("secret-of-the-readme"), "a recording holds a secret");
        for node in Node::DATABASES {
            stage.daemon(node, |daemon| {
                let log = daemon.log();
                ensure!(!log.contains("secret-of-the-readme"), "the log holds a secret");
                ensure!(!daemon.status()?.to_string().contains("secret-of-the-readme"), "the status holds a secret");
                Ok(())
            })?;
        }
        handover_by_root(stage)
    });
}

/// Root may read the password, the next daemon may not: nothing is handed over.
fn handover_by_root(stage: &Stage<'_>) -> Result<()> {
    let password = stage.lab.dir().join("db2-unprivileged/etcd-password");
    let holding = stage.last_holding(Node::Db2)?;
    std::os::unix::fs::chown(&password, Some(0), Some(0))?;
    let output = stage.daemon(Node::Db2, |daemon| {
        daemon.command(&["handover".as_ref(), "--config".as_ref(), daemon.config_path().as_ref()])
    })?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    print!("{said}");
    ensure!(output.status.code() == Some(78), "{}: {said}", output.status);
    ensure!(said.contains("runs as user 65534; this one goes on") && said.contains("password_file"), "{said}");
    stage.calm(Duration::from_secs(2))?;
    ensure!(stage.last_holding(Node::Db2)?.from == holding.from, "the VIP moved");
    Ok(())
}

/// A daemon with this user of etcd's.
fn with_user(stage: &Stage<'_>, node: Node, name: &str, password: &str) -> Result<Launch> {
    let mut launch = Launch::reference(stage.lab, node);
    let file = stage.lab.dir().join(format!("{node}-{name}.password"));
    launch.config.set_etcd_user(name, password, &file)?;
    Ok(launch)
}

/// As `docs/OPERATE.md` has it: a second user, a reload on each node, and the first one is deleted.
#[test]
fn another_password_without_moving_the_vip() {
    play_with(Options { etcd_auth: true, ..Options::default() }, |stage| {
        grant(stage)?;
        for node in Node::DATABASES {
            stage.launch(node, &with_user(stage, node, "pgvrrp", "secret-of-the-readme")?)?;
        }
        stage.wait_vip(Node::Db1, Duration::from_secs(10))?;
        let holding = stage.last_holding(Node::Db1)?;
        etcdctl(stage, OPERATE, "etcd second user")?;
        for node in Node::DATABASES {
            let next = with_user(stage, node, "pgvrrp2", "another-secret-of-the-docs")?;
            let output = stage.daemon(node, |daemon| {
                std::fs::write(daemon.config_path(), next.config.render())?;
                daemon.command(&["reload".as_ref(), "--config".as_ref(), daemon.config_path().as_ref()])
            })?;
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            print!("{node}: {said}");
            ensure!(output.status.success(), "{}: {said}", output.status);
        }
        etcdctl(stage, OPERATE, "etcd first user")?;
        // Longer than without a proof.
        stage.calm(Duration::from_secs(20))?;
        ensure!(stage.last_holding(Node::Db1)?.from == holding.from, "the VIP left and came back");
        Ok(())
    });
}

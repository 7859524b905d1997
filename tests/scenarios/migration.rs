//! The way from Keepalived with a check script to pgvrrp and back, as `docs/MIGRATE-KEEPALIVED.md` describes it: the
//! configuration comes from `pgvrrp import`, and the figures stand there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::analysis::Analysis;
use lab::daemon::{Config, Launch};
use lab::keepalived::Keepalived;
use lab::{Lab, Node, Options, Time};

use crate::stage::{Stage, binary, play_with, times};

const SECOND: Duration = Duration::from_secs(1);

/// A client's sessions through the VIP that stay open.
pub(crate) const SESSIONS: usize = 5;

/// Asks Patroni as many such scripts do, with what every host has.
pub(crate) fn check_script(node: Node) -> String {
    format!(
        "#!/bin/bash\nexec 3<>/dev/tcp/{}/8008 || exit 1\nprintf 'GET /primary HTTP/1.0\\r\\n\\r\\n' >&3\nread -r -t 2 answer <&3\n[[ \
         $answer == *' 200 '* ]]\n",
        node.ip()
    )
}

fn write_check(lab: &Lab, node: Node) -> Result<PathBuf> {
    let path = lab.dir().join(node.name()).join("chk_patroni.sh");
    fs::write(&path, check_script(node))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// The configuration that is found everywhere.
pub(crate) fn keepalived_conf(version: u8, node: Node, check: &Path) -> String {
    format!(
        "global_defs {{
    router_id {node}
    vrrp_version {version}
    enable_script_security
    script_user root
}}

vrrp_script chk_patroni {{
    script \"{}\"
    interval 1
    fall 2
    rise 2
}}

vrrp_instance odoo {{
    state BACKUP
    interface eth0
    virtual_router_id 155
    priority {}
    advert_int 1
    authentication {{
        auth_type PASS
        auth_pass 1111
    }}
    virtual_ipaddress {{
        10.0.20.155/32
    }}
    track_script {{
        chk_patroni
    }}
}}
",
        check.display(),
        if node == Node::Db1 { 100 } else { 90 }
    )
}

/// One cluster on its way.
pub(crate) struct Way<'a> {
    pub(crate) stage: &'a Stage<'a>,
    pub(crate) version: u8,
}

impl Way<'_> {
    fn lab(&self) -> &Lab {
        self.stage.lab
    }

    pub(crate) fn keepalived(&self, node: Node) -> Result<Keepalived> {
        let check = write_check(self.lab(), node)?;
        Keepalived::start_with(self.lab(), node, &keepalived_conf(self.version, node, &check))
    }

    /// On the standby, where its script fails. Returns when it has said so: before that, it may not be ready to be stopped.
    pub(crate) fn standby_keepalived(&self) -> Result<Keepalived> {
        let path = self.lab().dir().join(Node::Db2.name()).join("keepalived.log");
        let faults =
            || fs::read_to_string(&path).unwrap_or_default().matches("VRRP_Script(chk_patroni) failed").count();
        let before = faults();
        let keepalived = self.keepalived(Node::Db2)?;
        self.lab()
            .wait_until("the check to fail on the standby", 10 * SECOND, || Ok(faults() > before))
            .with_context(|| keepalived.log())?;
        Ok(keepalived)
    }

    /// What `pgvrrp import` makes of this node's files.
    fn import(&self, node: Node) -> Result<Launch> {
        let dir = self.lab().dir().join(node.name());
        let mut command = self.lab().namespace(node).command(binary());
        command.arg("import").arg(dir.join("keepalived.conf")).arg("--patroni").arg(dir.join("patroni.json"));
        let Output { status, stdout, stderr } = command.output()?;
        let explanation = String::from_utf8_lossy(&stderr);
        // Version 2 is what the operator has to be told of.
        let expected = if self.version == 3 { 0 } else { 1 };
        ensure!(status.code() == Some(expected), "{status}: {explanation}");
        ensure!(explanation.contains("it asks Patroni's REST API"), "{explanation}");
        let toml: toml::Table = toml::from_str(&String::from_utf8_lossy(&stdout))?;
        let mut launch = Launch::reference(self.lab(), node);
        // The places of files are the lab's own.
        let mut config = Config::reference(self.lab(), node);
        for (section, key) in [("vip", "address"), ("vip", "follows"), ("patroni", "scope"), ("etcd", "endpoints")] {
            config.remove(section, key);
        }
        for (key, value) in toml {
            match value {
                toml::Value::Table(table) => set_all(&mut config, &key, &table),
                toml::Value::Array(list) => {
                    let vip = list.first().and_then(toml::Value::as_table).context("no [[vip]]")?;
                    set_all(&mut config, &key, vip);
                }
                value => {
                    config.set("", &key, &value.to_string());
                }
            }
        }
        launch.config = config;
        Ok(launch)
    }

    fn start_ours(&self, node: Node) -> Result<()> {
        self.stage.launch(node, &self.import(node)?)
    }

    fn stop_ours(&self, node: Node) -> Result<()> {
        self.stage.daemon(node, |daemon| daemon.terminate().map(drop))
    }

    fn step(&self, what: &str, act: impl FnOnce() -> Result<()>) -> Result<Step> {
        step(self.stage, &format!("version {}, {what}", self.version), act)
    }
}

/// What a step of the way has cost.
pub(crate) struct Step {
    /// For how long nobody had the VIP, in milliseconds.
    pub(crate) absent: f64,
    /// How many of [`SESSIONS`] open sessions ended.
    pub(crate) ended: usize,
}

/// A step with the primary on db1, where the VIP is at its end.
pub(crate) fn step(stage: &Stage<'_>, what: &str, act: impl FnOnce() -> Result<()>) -> Result<Step> {
    let sessions = stage.probes.borrow_mut().open_sessions(SESSIONS)?;
    let begun = Time::now();
    act()?;
    stage.wait_vip(Node::Db1, 15 * SECOND)?;
    stage.wait_writes(10 * SECOND)?;
    let analysis = stage.analysis();
    let absent = absent(&analysis, begun).as_secs_f64() * 1000.0;
    let (_, gap) = analysis.longest_write_gap(begun).context("no writes")?;
    let ended = analysis.session_ends().filter(|(session, ..)| sessions.contains(session)).count();
    let gap = gap.as_secs_f64() * 1000.0;
    println!(
        "{what}: nobody had the VIP for {absent:.1} ms, longest time between two writes {gap:.1} ms, {ended} of {SESSIONS} \
         open sessions ended"
    );
    Ok(Step { absent, ended })
}

fn set_all(config: &mut Config, section: &str, table: &toml::Table) {
    for (key, value) in table {
        config.set(section, key, &value.to_string());
    }
}

/// The longest time since then for which no node had it.
fn absent(analysis: &Analysis, since: Time) -> Duration {
    let holdings = analysis.holdings();
    let gaps = holdings.iter().zip(holdings.iter().skip(1)).filter_map(|(one, next)| {
        let end = one.to.filter(|end| *end > since)?;
        (next.from > end).then(|| next.from.since(end))
    });
    gaps.max().unwrap_or_default()
}

/// Both ways to pgvrrp, and the way back after each.
fn there_and_back(version: u8) {
    play_with(Options::default(), |stage| {
        let way = Way { stage, version };
        let mut primary = way.keepalived(Node::Db1)?;
        let mut standby = way.standby_keepalived()?;
        stage.wait_vip(Node::Db1, 20 * SECOND).with_context(|| primary.log())?;
        stage.probes.borrow_mut().add_hasty_client()?;
        for _ in 0..times(1, 5) {
            // One after the other.
            let Step { absent, .. } = way.step("one after the other", || {
                standby.stop()?;
                primary.stop()?;
                way.start_ours(Node::Db1)
            })?;
            ensure!(absent < 5000.0, "{absent}");
            way.start_ours(Node::Db2)?;
            stage.lab.wait_settled(Node::Db1, 30 * SECOND)?;
            stage.calm(2 * SECOND)?;
            (primary, standby) = back(&way)?;

            // The new one beside the old one, on the primary.
            let Step { absent, .. } = way.step("beside Keepalived on the primary", || {
                standby.stop()?;
                way.start_ours(Node::Db1)?;
                let holds = || Ok(stage.vip_status(Node::Db1)?["reason"] == "holding");
                stage.lab.wait_until("db1 to hold the VIP", 10 * SECOND, holds)?;
                primary.stop()
            })?;
            ensure!(absent < 5000.0, "{absent}");
            way.start_ours(Node::Db2)?;
            stage.lab.wait_settled(Node::Db1, 30 * SECOND)?;
            stage.calm(2 * SECOND)?;
            // It is pgvrrp's: it follows the primary at once.
            stage.lab.switchover(Node::Db2)?;
            stage.wait_vip(Node::Db2, 20 * SECOND)?;
            stage.lab.wait_settled(Node::Db2, 30 * SECOND)?;
            stage.lab.switchover(Node::Db1)?;
            stage.wait_vip(Node::Db1, 20 * SECOND)?;
            stage.lab.wait_settled(Node::Db1, 30 * SECOND)?;
            (primary, standby) = back(&way)?;
        }
        Ok(())
    });
}

/// From pgvrrp to Keepalived.
fn back(way: &Way<'_>) -> Result<(Keepalived, Keepalived)> {
    let mut primary = None;
    way.step("back to Keepalived", || {
        way.stop_ours(Node::Db2)?;
        way.stop_ours(Node::Db1)?;
        primary = Some(way.keepalived(Node::Db1)?);
        Ok(())
    })?;
    Ok((primary.context("it was started")?, way.standby_keepalived()?))
}

#[test]
fn from_keepalived_of_version_3_and_back() {
    there_and_back(3);
}

/// The same way with other adverts: in the full run only.
#[test]
fn from_keepalived_of_version_2_and_back() {
    if times(0, 1) == 0 {
        return;
    }
    there_and_back(2);
}

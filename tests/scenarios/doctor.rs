//! `pgvrrp doctor` on a real cluster: nothing is wrong where nothing is, and each thing that is wrong is named together
//! with its fix.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::daemon::{Config, Daemon, Launch};
use lab::etcd::{EtcdLayout, Member};
use lab::http::Request;
use lab::{Node, Options};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::refusals::stranger;
use crate::rights;
use crate::stage::{Stage, binary, play_with};

/// The longest that it may take, however much is out of reach.
const LONGEST: Duration = Duration::from_secs(8);

/// What `doctor --json` printed.
#[derive(Debug)]
pub(crate) struct Examined {
    code: Option<i32>,
    json: Value,
}

impl Examined {
    /// The text and the fix of each finding of an area and level.
    fn of(&self, area: &str, level: &str) -> Vec<(&str, &str)> {
        let findings = self.json["findings"].as_array().into_iter().flatten();
        let these = findings.filter(|finding| finding["area"] == area && finding["level"] == level);
        these.map(|f| (f["text"].as_str().unwrap_or_default(), f["fix"].as_str().unwrap_or_default())).collect()
    }

    /// There is such a finding, with these words in its text and in its fix.
    pub(crate) fn says(&self, area: &str, level: &str, text: &str, fix: &str) -> Result<()> {
        let found = self.of(area, level).iter().any(|(found, help)| found.contains(text) && help.contains(fix));
        ensure!(found, "no {level} of {area} with {text:?} and the fix {fix:?}:\n{:#}", self.json);
        let code = if self.json["problems"] == 0 { 0 } else { 1 };
        ensure!(self.code == Some(code), "exit code {:?} with {} problems", self.code, self.json["problems"]);
        Ok(())
    }

    /// Whatever is wrong, there is something to do about it; what is as it should be needs nothing.
    fn helps(&self) -> Result<()> {
        for finding in self.json["findings"].as_array().into_iter().flatten() {
            let fix = finding["fix"].as_str();
            let is_right = match finding["level"].as_str() {
                Some("ok") => fix.is_none(),
                Some("note") => fix != Some(""),
                _ => fix.is_some_and(|fix| !fix.is_empty()),
            };
            ensure!(is_right, "the fix is {fix:?}: {finding:#}");
        }
        Ok(())
    }

    pub(crate) fn is_well(&self) -> Result<()> {
        ensure!(self.code == Some(0) && self.json["problems"] == 0, "{:?}\n{:#}", self.code, self.json);
        Ok(())
    }
}

fn write(stage: &Stage<'_>, node: Node, name: &str, config: &Config) -> Result<PathBuf> {
    let path = stage.lab.dir().join(node.name()).join(format!("{name}.toml"));
    std::fs::write(&path, config.render())?;
    Ok(path)
}

/// Runs it on a node, started by `wrapper`.
pub(crate) fn examine(
    stage: &Stage<'_>,
    node: Node,
    name: &str,
    config: &Config,
    wrapper: &[&str],
) -> Result<Examined> {
    let path = write(stage, node, name, config)?;
    let binary = binary();
    let began = Instant::now();
    let mut command = match wrapper.split_first() {
        None => stage.lab.namespace(node).command(&binary),
        Some((program, args)) => {
            let mut command = stage.lab.namespace(node).command(program);
            command.args(args).arg(&binary);
            command
        }
    };
    let output = command.args(["doctor", "--json", "--config"]).arg(&path).output()?;
    let took = began.elapsed();
    let printed = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(took < LONGEST, "{name}: took {took:?}: {said}");
    let json = serde_json::from_str(&printed).with_context(|| format!("{name}: {printed:?} {said}"))?;
    eprintln!("{name}: {:.2} s, {:?}", took.as_secs_f64(), output.status.code());
    let examined = Examined { code: output.status.code(), json };
    examined.helps()?;
    Ok(examined)
}

/// The configuration of the README, with the etcd user that it makes.
fn reference(stage: &Stage<'_>, node: Node) -> Result<Config> {
    let mut config = Config::reference(stage.lab, node);
    user(stage, &mut config, "pgvrrp", "secret-of-the-readme")?;
    Ok(config)
}

fn user(stage: &Stage<'_>, config: &mut Config, name: &str, password: &str) -> Result<()> {
    config.set_etcd_user(name, password, &stage.lab.dir().join(format!("password-{password}")))
}

/// The whole of what it changes in etcd: nothing.
fn revision(stage: &Stage<'_>) -> Result<Vec<(String, String)>> {
    let keys = stage.lab.etcd().get_prefix("/pgvrrp/")?;
    Ok(keys.into_iter().map(|kv| (kv.key, kv.value)).collect())
}

#[test]
fn names_what_is_wrong_and_the_fix() {
    let options = Options { etcd: EtcdLayout::Spread, etcd_auth: true, ..Options::default() };
    play_with(options, |stage| {
        rights::grant(stage)?;
        healthy_without_a_daemon(stage)?;
        wrong_names(stage)?;
        wrong_interface_and_prefix(stage)?;
        etcd_users(stage)?;
        without_capabilities(stage)?;
        refusals(stage)?;
        citus_and_standby_cluster(stage)?;
        another_server(stage)?;
        healthy_with_daemons(stage)?;
        as_another_user(stage)?;
        not_listening(stage)?;
        etcd_member_frozen(stage)?;
        etcd_without_authentication(stage)?;
        etcd_members_down(stage)
    });
}

#[test]
fn rules_that_keep_clients_from_being_told() {
    play_with(Options::default(), |stage| {
        let config = Config::reference(stage.lab, Node::Db1);
        let namespace = stage.lab.namespace(Node::Db1);
        let loose =
            |value: &str| namespace.run(|| std::fs::write("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", value));
        let examined = examine(stage, Node::Db1, "no-rules", &config, &[])?;
        examined.says("firewall", "ok", "no rules", "")?;
        examined.says("firewall", "ok", "the kernel has nf_tables", "")?;

        // The lab's etcd and its PostgreSQL have connections already, which conntrack then picks up.
        namespace
            .nft("table inet filter { chain input { type filter hook input priority 0; ct state invalid drop; }; }")?;
        let examined = examine(stage, Node::Db1, "invalid-loose", &config, &[])?;
        examined.says(
            "firewall",
            "ok",
            "no rule was seen that keeps packets from a VIP (nf_conntrack_tcp_loose = 1)",
            "",
        )?;
        loose("0")??;
        let examined = examine(stage, Node::Db1, "invalid-strict", &config, &[])?;
        let text = "inet filter input drops what clients answer when told that the primary's host died (ct state invalid drop, \
                    and net.netfilter.nf_conntrack_tcp_loose is 0)";
        examined.says("firewall", "warning", text, "nf_conntrack_tcp_loose = 1")?;
        examined.is_well()?;
        // The rule that is recommended, by the words in which it is.
        let fixes = examined.of("firewall", "warning");
        let rule =
            fixes.iter().find_map(|(_, fix)| fix.split_once("`nft '")?.1.split('\'').next()).context("no rule")?;
        namespace.nft(rule)?;
        let examined = examine(stage, Node::Db1, "mended", &config, &[])?;
        examined.says(
            "firewall",
            "ok",
            "no rule was seen that keeps packets from a VIP (nf_conntrack_tcp_loose = 0)",
            "",
        )?;
        loose("1")??;

        namespace.nft("flush ruleset; table ip closed { chain out { type filter hook output priority 0; udp dport 9155 drop; }; }")?;
        let examined = examine(stage, Node::Db1, "closed", &config, &[])?;
        examined.says(
            "firewall",
            "note",
            "lets the lists of clients out, UDP port 9155 (udp dport 9155 drop)",
            "insert rule ip closed out",
        )?;
        namespace.nft("flush ruleset")?;
        examine(stage, Node::Db1, "no-rules-again", &config, &[])?.says("firewall", "ok", "no rules", "")?;
        let nobody = ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
        examine(stage, Node::Db1, "hidden", &config, &nobody)?.says("firewall", "note", "needs CAP_NET_ADMIN", "")
    });
}

fn healthy_without_a_daemon(stage: &Stage<'_>) -> Result<()> {
    let before = revision(stage)?;
    for node in Node::DATABASES {
        let examined = examine(stage, node, "healthy", &reference(stage, node)?, &[])?;
        examined.is_well()?;
        examined.says("daemon", "note", "none runs", "")?;
        examined.says("sockets", "ok", "SOCK_DESTROY", "")?;
        examined.says("etcd-rights", "ok", "read and write /pgvrrp/v1/service/odoo/10.0.20.155", "")?;
        examined.says("patroni", "ok", "which is this host", "")?;
        examined.says("patroni", "ok", "ttl 20, loop_wait 1, retry_timeout 3", "")?;
        examined.says("postgres", "ok", if node == Node::Db1 { "primary" } else { "standby" }, "")?;
        examined.says("postgres", "ok", "system identifier", "")?;
        examined.says("postgres", "ok", "listen_addresses is '*'", "")?;
        ensure!(reads(&examined) == 3, "{:#}", examined.json);
    }
    ensure!(before == revision(stage)?, "it has written to etcd");
    ensure!(stage.holders().is_empty(), "the VIP is bound");
    let run = stage.lab.dir().join("db1/run");
    ensure!(!run.exists(), "it has made the runtime directory");
    Ok(())
}

/// How many endpoints answered a read. The lab's etcd may be one of the versions that are warned of.
fn reads(examined: &Examined) -> usize {
    let all = ["ok", "warning"].map(|level| examined.of("etcd", level));
    all.iter().flatten().filter(|(text, _)| text.contains(" ms")).count()
}

fn wrong_names(stage: &Stage<'_>) -> Result<()> {
    let mut config = reference(stage, Node::Db1)?;
    config.set("", "node", "\"db7\"");
    let examined = examine(stage, Node::Db1, "no-member", &config, &[])?;
    examined.says("patroni", "problem", "/service/odoo/members/db7 does not exist", "node = \"db1\"")?;
    examined.says("patroni", "problem", "", "db1, db2")?;

    config.set("", "node", "\"db2\"");
    let examined = examine(stage, Node::Db1, "other-member", &config, &[])?;
    examined.says("patroni", "problem", "belongs to another host", "node = \"db1\"")?;

    // The user of the README may not read another cluster's keys: that, and not that there is none, is what can be said.
    config.set("patroni", "scope", "\"crm\"");
    let examined = examine(stage, Node::Db1, "other-scope", &config, &[])?;
    examined.says("etcd-rights", "problem", "may not read /service/crm/leader", "read /service/crm/")
}

fn wrong_interface_and_prefix(stage: &Stage<'_>) -> Result<()> {
    let mut config = reference(stage, Node::Db1)?;
    config.set("", "interface", "\"eth7\"");
    examine(stage, Node::Db1, "no-interface", &config, &[])?.says(
        "interface",
        "problem",
        "does not exist",
        "ip link",
    )?;

    let mut config = reference(stage, Node::Db1)?;
    config.set("vip", "address", "\"10.0.20.155/24\"");
    stage.lab.namespace(Node::Db1).run(|| {
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", "0")
            .and_then(|()| std::fs::write("/proc/sys/net/ipv4/conf/all/promote_secondaries", "0"))
    })??;
    let examined = examine(stage, Node::Db1, "prefix", &config, &[])?;
    examined.says("interface", "problem", "promote_secondaries is 0", "(/32)")?;

    config.set("vip", "address", "\"10.0.21.155\"");
    examine(stage, Node::Db1, "subnet", &config, &[])?.says("interface", "warning", "in no subnet", "address of that")
}

fn etcd_users(stage: &Stage<'_>) -> Result<()> {
    let etcd = stage.lab.etcd();
    for command in [
        &["role", "add", "reader"][..],
        &["role", "grant-permission", "reader", "--prefix=true", "read", "/"],
        &["user", "add", "reader:only-reads"],
        &["user", "grant-role", "reader", "reader"],
    ] {
        etcd.etcdctl(command)?;
    }
    let mut config = reference(stage, Node::Db1)?;
    user(stage, &mut config, "reader", "only-reads")?;
    let examined = examine(stage, Node::Db1, "reader", &config, &[])?;
    // Whose role that is besides is not known: it gets one of its own.
    for fix in [
        "role add pgvrrp`",
        "grant-permission pgvrrp --prefix=true readwrite /pgvrrp/v1/service/odoo/",
        "user grant-role reader pgvrrp",
    ] {
        examined.says("etcd-rights", "problem", "may not write /pgvrrp/v1/service/odoo/10.0.20.155", fix)?;
    }
    config.set("", "fence", "\"leader-key\"");
    examine(stage, Node::Db1, "reader-leader-key", &config, &[])?.is_well()?;

    let mut config = reference(stage, Node::Db1)?;
    user(stage, &mut config, "pgvrrp", "wrong")?;
    let examined = examine(stage, Node::Db1, "wrong-password", &config, &[])?;
    examined.says("etcd-rights", "problem", "authentication failed", "password_file")?;
    ensure!(examined.of("etcd", "problem").is_empty(), "etcd itself is well: {:#}", examined.json);

    let config = Config::reference(stage.lab, Node::Db1);
    let examined = examine(stage, Node::Db1, "no-user", &config, &[])?;
    examined.says("etcd-rights", "problem", "user name is empty", "username")
}

fn without_capabilities(stage: &Stage<'_>) -> Result<()> {
    let config = reference(stage, Node::Db1)?;
    let dropped = ["setpriv", "--bounding-set=-net_raw,-net_admin", "--inh-caps=-net_raw,-net_admin"];
    let examined = examine(stage, Node::Db1, "no-rights", &config, &dropped)?;
    examined.says("capabilities", "problem", "lacks CAP_NET_ADMIN and CAP_NET_RAW", "systemd unit")
}

/// What a real server refuses, each with its own fix.
fn refusals(stage: &Stage<'_>) -> Result<()> {
    let database = stage.lab.database(Node::Db1);
    let socket = stage.lab.dir().join("db1/socket").display().to_string();
    let asked = |name: &str, connection: &str| {
        let mut config = reference(stage, Node::Db1)?;
        config.set("postgres", "connection", &format!("\"{connection}\""));
        examine(stage, Node::Db1, name, &config, &[])
    };
    let role = format!("host={socket} user=stranger dbname=postgres");
    asked("no-role", &role)?.says("postgres", "problem", "role stranger into", "CREATE ROLE stranger LOGIN")?;
    let database_only = format!("host={socket} user=pgvrrp dbname=crm");
    asked("no-database", &database_only)?.says("postgres", "problem", "no database crm", "dbname")?;
    let tcp = "host=127.0.0.1 user=pgvrrp dbname=postgres";
    asked("by-tcp", tcp)?.says("postgres", "problem", "role pgvrrp into", "host postgres pgvrrp samehost")?;
    asked("no-port", &format!("{tcp} port=1"))?.says("postgres", "problem", "no server", "postgresql.listen")?;

    let allowed = format!("host={socket} user=pgvrrp dbname=postgres");
    database.sql("ALTER ROLE pgvrrp CONNECTION LIMIT 0")?;
    asked("full", &allowed)?.says("postgres", "problem", "is full: 53300", "max_connections")?;
    database.sql("ALTER ROLE pgvrrp CONNECTION LIMIT -1")?;
    database.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")?;
    let fix = "GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO pgvrrp";
    asked("no-identifier", &allowed)?.says("postgres", "problem", "lacks a right", fix)?;
    // The fix is one.
    database.sql(fix)?;
    asked("identifier", &allowed)?.is_well()
}

/// Another cluster's keys beside the real one's, which does not notice: those of a Citus group that is a standby cluster.
fn citus_and_standby_cluster(stage: &Stage<'_>) -> Result<()> {
    let etcd = stage.lab.etcd();
    let mut config = reference(stage, Node::Db1)?;
    config.set("patroni", "group", "7");
    let examined = examine(stage, Node::Db1, "no-group", &config, &[])?;
    examined.says("configuration", "ok", "cluster /service/odoo/7,", "")?;
    examined.says("patroni", "problem", "/service/odoo/7/members/db1 does not exist", "`group`")?;

    let keys = [
        ("config", r#"{"standby_cluster":{"host":"10.0.30.11"}}"#),
        ("members/db1", r#"{"conn_url":"postgres://10.0.20.11:5432/postgres"}"#),
        ("leader", "db1"),
    ];
    for (key, value) in keys {
        etcd.put(&format!("/service/odoo/7/{key}"), value)?;
    }
    let examined = examine(stage, Node::Db1, "standby-cluster", &config, &[])?;
    examined.says("patroni", "warning", "standby cluster", "remove standby_cluster")?;
    for (key, _) in keys {
        etcd.delete(&format!("/service/odoo/7/{key}"))?;
    }
    examined.is_well()
}

/// A PostgreSQL that belongs to no cluster behind the configured socket, which listens on no address at all.
fn another_server(stage: &Stage<'_>) -> Result<()> {
    let dir = stage.lab.dir().join("stranger");
    let stranger = stranger(stage, &dir)?;
    let mut config = reference(stage, Node::Db1)?;
    config.set("postgres", "connection", &format!("\"host={} user=pgvrrp dbname=postgres\"", dir.display()));
    stage.lab.wait_until("the stranger's PostgreSQL", Duration::from_secs(10), || {
        Ok(!examine(stage, Node::Db1, "stranger", &config, &[])?.of("postgres", "ok").is_empty())
    })?;
    let examined = examine(stage, Node::Db1, "stranger", &config, &[])?;
    examined.says("postgres", "problem", "another cluster's server", "connection")?;
    examined.says("postgres", "problem", "connections to the VIP would be refused", "postgresql.listen: '*:5432'")?;
    stranger.kill();
    let examined = examine(stage, Node::Db1, "stranger-gone", &config, &[])?;
    examined.says("postgres", "problem", "no server", "connection")
}

fn healthy_with_daemons(stage: &Stage<'_>) -> Result<()> {
    for node in Node::DATABASES {
        let launch = Launch { config: reference(stage, node)?, ..Launch::reference(stage.lab, node) };
        stage.launch(node, &launch)?;
    }
    stage.wait_vip(Node::Db1, Duration::from_secs(10))?;
    for node in Node::DATABASES {
        let examined = examine(stage, node, "running", &reference(stage, node)?, &[])?;
        examined.is_well()?;
        let pid = stage.daemon(node, |daemon| Ok(daemon.process().pid()))?;
        examined.says("capabilities", "ok", &format!("the daemon (process {pid}) has"), "")?;
        examined.says("daemon", "ok", &format!("runs (process {pid})"), "")?;
        let bound = if node == Node::Db1 { "10.0.20.155: bound here" } else { "10.0.20.155: not bound here" };
        examined.says("daemon", "note", bound, "")?;
    }
    let path = write(stage, Node::Db1, "text", &reference(stage, Node::Db1)?)?;
    let output = stage.lab.namespace(Node::Db1).command(binary()).args(["doctor", "--config"]).arg(&path).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{text}");
    ensure!(text.lines().last().is_some_and(|line| line.starts_with("no problems, ")), "{text}");
    stage.calm(Duration::from_secs(1))?;

    stage.daemon(Node::Db2, Daemon::freeze)?;
    let examined = examine(stage, Node::Db2, "frozen", &reference(stage, Node::Db2)?, &[])?;
    examined.says("daemon", "problem", "does not answer", "SIGSTOP")?;
    stage.daemon(Node::Db2, Daemon::thaw)
}

/// A user who may not see the daemon, and has no rights: that says nothing about the daemon's.
fn as_another_user(stage: &Stage<'_>) -> Result<()> {
    let mut config = Config::reference(stage.lab, Node::Db1);
    config.set("", "fence", "\"leader-key\"");
    let nobody =
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
    let examined = examine(stage, Node::Db1, "nobody", &config, &nobody)?;
    examined.says("capabilities", "warning", "cannot see whether a daemon runs", "systemd unit")?;
    examined.says("daemon", "warning", "Permission denied", "as root")?;
    examined.says("sockets", "ok", "SOCK_DESTROY", "")?;
    examined.says("interface", "ok", "up", "")
}

/// Patroni's own setting on the replica, changed as an administrator would.
fn not_listening(stage: &Stage<'_>) -> Result<()> {
    let path = stage.lab.dir().join("db2/patroni.json");
    let mut patroni: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    patroni["postgresql"]["listen"] = "10.0.20.12,127.0.0.1:5432".into();
    std::fs::write(&path, patroni.to_string())?;
    let db2 = stage.lab.database(Node::Db2);
    db2.rest(Request::post("/reload", ""), Duration::from_secs(5))?;
    stage.lab.wait_until("a restart to be pending", Duration::from_secs(10), || {
        Ok(db2.state()?["pending_restart"] == true)
    })?;
    db2.rest(Request::post("/restart", "{}"), Duration::from_secs(20))?;
    let config = reference(stage, Node::Db2)?;
    let examined = examine(stage, Node::Db2, "listen", &config, &[])?;
    let text = "listen_addresses is '10.0.20.12,127.0.0.1', port 5432: connections to the VIP would be refused";
    examined.says("postgres", "problem", text, "postgresql.listen: '*:5432'")
}

fn member<'lab>(stage: &Stage<'lab>, node: Node) -> Result<&'lab Member> {
    stage.lab.members().iter().find(|member| member.node() == node).context("no such member")
}

/// It accepts connections, by the kernel's hand, and answers nothing.
fn etcd_member_frozen(stage: &Stage<'_>) -> Result<()> {
    let node = follower(stage)?;
    let member = member(stage, node)?;
    member.signal(Signal::SIGSTOP)?;
    let examined = examine(stage, Node::Db1, "etcd-frozen", &reference(stage, Node::Db1)?, &[]);
    member.signal(Signal::SIGCONT)?;
    let examined = examined?;
    examined.says(
        "etcd",
        "warning",
        &format!("etcd {}:2379: unknown version; a read failed: no answer within", node.ip()),
        "majority",
    )
}

/// A member whose silence the others do not notice; with the leader's there would be no reads until they elect another.
fn follower(stage: &Stage<'_>) -> Result<Node> {
    let status = stage.lab.etcd().etcdctl(&["endpoint", "status", "--cluster", "--write-out=json"])?;
    let status: Value = serde_json::from_str(&status).context("endpoint status is not JSON")?;
    let members = status.as_array().context("no list")?.iter();
    let follows = members.filter(|member| member["Status"]["leader"] != member["Status"]["header"]["member_id"]);
    let endpoints: Vec<_> = follows.filter_map(|member| member["Endpoint"].as_str()).collect();
    let found =
        [Node::Db2, Node::Dcs].into_iter().find(|node| endpoints.iter().any(|e| e.contains(&node.ip().to_string())));
    found.context("every member leads")
}

fn etcd_without_authentication(stage: &Stage<'_>) -> Result<()> {
    stage.lab.etcd().etcdctl(&["auth", "disable"])?;
    let examined = examine(stage, Node::Db1, "auth-off", &Config::reference(stage.lab, Node::Db1), &[])?;
    examined.says("etcd-rights", "ok", "authentication is off", "")?;
    let examined = examine(stage, Node::Db1, "needless-user", &reference(stage, Node::Db1)?, &[])?;
    examined.says("etcd-rights", "problem", "authentication is not enabled", "take `username`")
}

/// The last act: the daemons' own etcd user does not work any more.
fn etcd_members_down(stage: &Stage<'_>) -> Result<()> {
    let member = |node| member(stage, node);
    member(Node::Db2)?.kill();
    let config = Config::reference(stage.lab, Node::Db1);
    stage.lab.wait_until("a leader among the two others", Duration::from_secs(10), || {
        Ok(reads(&examine(stage, Node::Db1, "one-down", &config, &[])?) == 2)
    })?;
    let examined = examine(stage, Node::Db1, "one-down", &config, &[])?;
    examined.says("etcd", "warning", "10.0.20.12:2379: not reachable: ", "start this etcd member")?;
    // Patroni's own user does not work any more either, so PostgreSQL may be on its way out.
    ensure!(examined.of("etcd", "problem").is_empty(), "{:#}", examined.json);

    member(Node::Dcs)?.kill();
    let examined = examine(stage, Node::Db1, "two-down", &config, &[])?;
    examined.says("etcd", "problem", "no endpoint answers a read", "endpoints")?;
    examined.says("etcd", "problem", "etcd 10.0.20.11:2379", "majority")?;
    examined.says("patroni", "note", "not checked", "")?;
    Ok(())
}

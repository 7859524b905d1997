//! The daemon of this node: does it run, and what does it say?

use std::fs;
use std::io::{self, ErrorKind};
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pgvrrp_config::{Config, Fence};
use serde_json::Value;

use super::areas::DAEMON as AREA;
use super::managers::Ours;
use super::report::Finding;
use crate::observe::control::{self, Ask};
use crate::process::Process;

/// Whether a daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// As this process.
    As(Process),
    /// None does.
    No,
    /// This user may not know.
    Hidden,
}

/// What was found out about the daemon.
pub(super) struct Seen {
    /// Its process, if one is known to run.
    process: Option<Process>,
    /// Its status.
    status: io::Result<Value>,
}

impl Seen {
    /// Whether it runs.
    pub(super) fn running(&self) -> Running {
        match (self.process, &self.status) {
            (Some(process), _) => Running::As(process),
            (None, Err(error)) if error.kind() == ErrorKind::PermissionDenied => Running::Hidden,
            (None, _) => Running::No,
        }
    }

    /// Its status, if it answers.
    pub(super) fn status(&self) -> Option<&Value> {
        self.status.as_ref().ok()
    }

    /// Whether it binds the VIPs. One that does not answer may well.
    pub(super) fn ours(&self) -> Ours {
        let observes = self.status().is_some_and(|status| status["observing"] == true);
        if self.process.is_some() && !observes { Ours::Acts } else { Ours::Looks }
    }

    /// The role of PostgreSQL as the daemon last heard it, if that is one.
    pub(super) fn postgres_role(&self) -> Option<&str> {
        self.status()?["postgres"]["role"].as_str().filter(|role| matches!(*role, "primary" | "standby"))
    }
}

/// Asks by the control socket. A daemon without one is known by its lock on the runtime directory.
pub(super) async fn ask(runtime_dir: PathBuf) -> Seen {
    let asked = tokio::task::spawn_blocking(move || {
        let listener = control::listener(&runtime_dir).ok().map(|daemon| daemon.pid());
        let process = listener.or_else(|| holder(&runtime_dir)).map(Process::new);
        let status = control::ask(&runtime_dir, &Ask::Json);
        let status = status.and_then(|(answer, _)| serde_json::from_str(&answer).map_err(io::Error::other));
        Seen { process, status }
    });
    asked.await.unwrap_or_else(|error| Seen { process: None, status: Err(io::Error::other(error)) })
}

/// The process that has locked the runtime directory. To try the lock would be to take it from a daemon that starts.
fn holder(runtime_dir: &Path) -> Option<i32> {
    let lock = fs::metadata(runtime_dir.join("lock")).ok()?;
    let (major, minor) = (libc::major(lock.st_dev()), libc::minor(lock.st_dev()));
    let file = format!("{major:02x}:{minor:02x}:{}", lock.st_ino());
    locker(&fs::read_to_string("/proc/locks").ok()?, &file)
}

/// Reads proc_locks(5). A process of another PID namespace is listed as 0.
fn locker(locks: &str, file: &str) -> Option<i32> {
    locks.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let &[_, "FLOCK", _, _, pid, of, ..] = words.as_slice() else { return None };
        pid.parse().ok().filter(|pid| *pid > 0 && of == file)
    })
}

pub(super) fn judge(config: &Config, seen: &Seen) -> Vec<Finding> {
    let process = seen.process.map_or_else(String::new, |process| format!(" ({process})"));
    let socket = control::path(&config.runtime_dir);
    let status = match (&seen.status, seen.process) {
        (Ok(status), _) => status,
        (Err(error), _) if error.kind() == ErrorKind::PermissionDenied => {
            let text = format!("daemon: not checked: {}: {error}", socket.display());
            return vec![Finding::warning(AREA, text, "run this as root, or as a member of the daemon's group")];
        }
        (Err(_), None) => {
            let text = format!("daemon: none runs here with runtime_dir {}", config.runtime_dir.display());
            return vec![Finding::note(AREA, text)];
        }
        (Err(error), Some(_)) => {
            let text = format!("daemon: runs{process} and does not answer: {error}");
            let fix =
                "see whether it is stopped (SIGSTOP) and what its log says; restart it: `systemctl restart pgvrrp`";
            return vec![Finding::problem(AREA, text, fix)];
        }
    };
    let word = |key: &str| status[key].as_str().unwrap_or_default();
    let mut findings = Vec::new();
    if word("node") == config.node {
        findings.push(Finding::ok(AREA, format!("daemon: runs{process}, version {}", word("version"))));
    } else {
        let text = format!("daemon: runs{process} with another configuration: there its node is {}", word("node"));
        findings.push(Finding::warning(AREA, text, "restart it, if it is to use this configuration"));
    }
    for vip in status["vips"].as_array().into_iter().flatten() {
        let word = |key: &str| vip[key].as_str().unwrap_or_default();
        let held = if vip["held"].as_bool() == Some(true) { "bound here" } else { "not bound here" };
        findings.push(Finding::note(AREA, format!("daemon: VIP {}: {held}: {}", word("address"), word("why"))));
    }
    findings.extend(clients(config, status));
    findings
}

/// Whether the nodes know each other's clients.
fn clients(config: &Config, status: &Value) -> Vec<Finding> {
    /// A list comes several times a second, and every 10 s from a node with very many clients.
    const OLD: f64 = 15.0;
    let Some(port) = config.cluster.as_ref().and_then(|cluster| cluster.clients.port) else { return Vec::new() };
    if let Some(trouble) = status["clients_trouble"].as_str() {
        let text = format!("clients: those of a primary whose host dies are not told: {trouble}");
        let is_fence = config.cluster.as_ref().is_some_and(|cluster| cluster.fence == Fence::LeaderKey);
        let fix = "let nobody else have that port, or choose another with `port` in [clients], on every node";
        return vec![if is_fence { Finding::note(AREA, text) } else { Finding::warning(AREA, text, fix) }];
    }
    // A daemon that has just started has not heard of anybody yet.
    if status["uptime"].as_f64().is_none_or(|uptime| uptime < OLD) {
        return Vec::new();
    }
    let vips = status["vips"].as_array().into_iter().flatten().filter(|vip| vip["clients"].is_object());
    vips.filter_map(|vip| {
        let (name, clients) = (vip["address"].as_str().unwrap_or_default(), &vip["clients"]);
        let holder = vip["lock"]["holder"].as_str();
        if vip["held"] == true {
            let connected = clients["connected"].as_u64().unwrap_or_default();
            return Some(match clients["lists_sent"].as_u64() {
                Some(1..) => {
                    Finding::ok(AREA, format!("clients of {name}: {connected}; the other nodes are told of them"))
                }
                _ => {
                    let text = format!("clients of {name}: {connected}; no other node could be told of them");
                    Finding::warning(AREA, text, "nothing, if there is no other node; else see what keeps UDP from it")
                }
            });
        }
        let holder = holder.filter(|holder| *holder != config.node)?;
        let list = &clients["list"];
        Some(match (list["age"].as_f64(), list["clients"].as_u64()) {
            (Some(age), Some(known)) if age < OLD => {
                Finding::ok(AREA, format!("clients of {name}: {known} are known from {holder}, should its host die"))
            }
            _ => {
                let text = format!("clients of {name}: {holder} has it, and does not tell of its clients");
                let fix = format!("let UDP port {port} in from {holder}; its pgvrrp has to be of a version that tells");
                Finding::warning(AREA, text, fix)
            }
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 00:1a:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 00:1a:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 0 00:1a:78 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 13 00:1a:79 0 EOF\n";
        assert_eq!(locker(locks, "00:1a:77"), Some(12));
        assert_eq!(locker(locks, "00:1a:78"), None);
        assert_eq!(locker(locks, "00:1a:79"), None);
    }

    #[test]
    fn the_lock_of_a_runtime_directory_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()), None);
        let _held = crate::runtime_dir::RuntimeDir::open(dir.path()).unwrap();
        assert_eq!(holder(dir.path()), i32::try_from(std::process::id()).ok());
    }

    /// What is found in a status with this VIP, of a daemon that runs for a minute.
    fn found(vip: &str) -> Vec<String> {
        let text = "node = \"db1\"\ninterface = \"eth0\"\n[patroni]\nscope = \"odoo\"\n[etcd]\nendpoints = [\"http://10.0.20.13:2379\"]\n\
                    [[vip]]\naddress = \"10.0.20.155\"\nvirtual_router_id = 155\n";
        let config = Config::parse(Path::new("pgvrrp.toml"), text, Path::new("/")).unwrap();
        let status = format!(r#"{{"uptime": 60.0, "clients_trouble": null, "vips": [{vip}]}}"#);
        let findings = clients(&config, &serde_json::from_str(&status).unwrap());
        findings.iter().map(|finding| format!("{:?}: {}", finding.level, finding.text)).collect()
    }

    #[test]
    fn whether_the_nodes_know_each_others_clients() {
        let vip = |held: bool, holder: &str, clients: &str| {
            format!(
                r#"{{"address": "10.0.20.155", "held": {held}, "lock": {{"holder": {holder}}}, "clients": {clients}}}"#
            )
        };
        let known = r#"{"connected": null, "lists_sent": 0, "list": {"from": "db2", "clients": 7, "age": 0.2}}"#;
        assert_eq!(
            found(&vip(false, r#""db2""#, known)),
            ["Ok: clients of 10.0.20.155: 7 are known from db2, should its host die"]
        );
        let old = known.replace("0.2", "20.0");
        for clients in [old.as_str(), r#"{"connected": null, "lists_sent": 0, "list": null}"#] {
            let told = "Warning: clients of 10.0.20.155: db2 has it, and does not tell of its clients";
            assert_eq!(found(&vip(false, r#""db2""#, clients)), [told]);
        }
        let given = r#"{"connected": 3, "lists_sent": 9, "list": null}"#;
        assert_eq!(
            found(&vip(true, r#""db1""#, given)),
            ["Ok: clients of 10.0.20.155: 3; the other nodes are told of them"]
        );
        let kept = given.replace('9', "0");
        let told = "Warning: clients of 10.0.20.155: 3; no other node could be told of them";
        assert_eq!(found(&vip(true, r#""db1""#, &kept)), [told]);
        assert_eq!(found(&vip(false, "null", known)), [""; 0], "nobody has it");
        assert_eq!(found(&vip(true, "null", "null")), [""; 0], "VRRP elects");
    }
}

//! The daemon of this node: does it run, and what does it say?

use std::fs;
use std::io::{self, ErrorKind};
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pgvrrp_config::Config;
use serde_json::Value;

use super::areas::DAEMON as AREA;
use super::report::Finding;
use crate::observe::control::{self, Ask};

/// Whether a daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// As this process.
    As(i32),
    /// None does.
    No,
    /// This user may not know.
    Hidden,
}

/// What was found out about the daemon.
pub(super) struct Seen {
    /// Its process, if one is known to run.
    pid: Option<i32>,
    /// Its status.
    status: io::Result<Value>,
}

impl Seen {
    /// Whether it runs.
    pub(super) fn running(&self) -> Running {
        match (self.pid, &self.status) {
            (Some(pid), _) => Running::As(pid),
            (None, Err(error)) if error.kind() == ErrorKind::PermissionDenied => Running::Hidden,
            (None, _) => Running::No,
        }
    }

    /// The role of PostgreSQL as the daemon last heard it, if that is one.
    pub(super) fn postgres_role(&self) -> Option<&str> {
        self.status.as_ref().ok()?["postgres"]["role"].as_str().filter(|role| matches!(*role, "primary" | "standby"))
    }
}

/// Asks by the control socket. A daemon without one is known by its lock on the runtime directory.
pub(super) async fn ask(runtime_dir: PathBuf) -> Seen {
    let asked = tokio::task::spawn_blocking(move || {
        let pid = control::listener(&runtime_dir).ok().map(|daemon| daemon.pid()).or_else(|| holder(&runtime_dir));
        let status = control::ask(&runtime_dir, &Ask::Json);
        let status = status.and_then(|(answer, _)| serde_json::from_str(&answer).map_err(io::Error::other));
        Seen { pid, status }
    });
    asked.await.unwrap_or_else(|error| Seen { pid: None, status: Err(io::Error::other(error)) })
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
    let process = seen.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    let socket = control::path(&config.runtime_dir);
    let status = match (&seen.status, seen.pid) {
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
    findings
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
}

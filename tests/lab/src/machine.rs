//! A Debian with systemd as its process 1, on a node's network: what a package does is tried on it.
//!
//! It shares nothing else with this machine but the kernel and PostgreSQL's socket. It is made of Debian's packages by
//! debootstrap, once, and what is written while it runs is kept in memory.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::clock::Time;
use crate::cluster::Lab;
use crate::network::Node;
use crate::process::{self, Process};
use crate::site::PREFIX;

/// Ends with its process 1, and so do all its processes.
#[derive(Debug)]
pub struct Machine {
    process: Process,
    init: u32,
    groups: PathBuf,
}

impl Machine {
    /// Why no machine can be booted here, if that is so: it needs a branch of the control groups of version 2 to itself.
    #[must_use]
    pub fn obstacle() -> Option<String> {
        let tried = groups().and_then(|groups| {
            let branch = groups.join(format!("{PREFIX}{}-tried", std::process::id()));
            fs::create_dir(&branch).and_then(|()| fs::remove_dir(&branch)).context("no control group can be made")
        });
        tried.err().map(|error| format!("{error:#}"))
    }

    /// Boots what is in the directory `debian`, on the network of `node`, and waits until systemd has started everything.
    ///
    /// # Errors
    /// Where the kernel does not allow it, or if systemd has not started everything within 60 s.
    pub fn boot(lab: &Lab, node: Node, debian: &Path) -> Result<Self> {
        let dir = lab.dir().join(node.name());
        let scratch = dir.join("machine");
        fs::create_dir_all(&scratch)?;
        let groups = groups()?;
        sweep(&groups)?;
        let script = dir.join("machine.sh");
        fs::write(&script, include_str!("machine.sh"))?;
        let label = format!("{}-{node}", lab.dir().file_name().unwrap_or_default().to_string_lossy());
        let mut command = lab.namespace(node).command("unshare");
        command.args(["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "sh"]).arg(&script).arg(debian);
        command.arg(&scratch).arg(&label).arg(lab.database(node).socket_dir());
        let log = fs::File::create(dir.join("machine.log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        let process = Process::spawn(&format!("a machine on {node}"), command)?;
        let mut machine = Self { process, init: 0, groups: groups.join(&label) };
        machine.wait_booted(&dir.join("machine.log"))?;
        Ok(machine)
    }

    fn wait_booted(&mut self, log: &Path) -> Result<()> {
        let start = Time::now();
        while start.elapsed() < Duration::from_secs(60) {
            if let Some(status) = self.process.exit_status() {
                bail!("it does not boot ({status}): {}", fs::read_to_string(log)?);
            }
            self.init = process::children_of(self.process.pid()).first().copied().unwrap_or_default();
            let is_systemd =
                fs::read_to_string(format!("/proc/{}/comm", self.init)).is_ok_and(|name| name == "systemd\n");
            // A unit that failed, such as one that a machine of this kind has no use for, is no hindrance.
            if is_systemd && matches!(self.output(&["systemctl", "is-system-running"])?.trim(), "running" | "degraded")
            {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("it has not started everything within 60 s: {}", self.output(&["systemctl", "list-jobs"])?)
    }

    /// Runs a command there, as root, and waits for it.
    ///
    /// # Errors
    /// When it cannot be started; its exit status is in the result.
    pub fn run(&self, command: &[&str]) -> Result<Output> {
        let mut enter = Command::new("nsenter");
        enter.arg(format!("--target={}", self.init)).args(["--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup"]);
        // dpkg asks nobody, and translates nothing.
        enter.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"]);
        enter.args(command).stdin(Stdio::null()).output().context("cannot run nsenter (util-linux)")
    }

    /// What a command there prints, to standard output and then to standard error.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(&self, command: &[&str]) -> Result<String> {
        let output = self.run(command)?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// The same of one that has to succeed.
    ///
    /// # Errors
    /// When it does not, with what it has printed.
    pub fn succeed(&self, command: &[&str]) -> Result<String> {
        let output = self.run(command)?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if !output.status.success() {
            bail!("{}: {}\n{text}", command.join(" "), output.status);
        }
        Ok(text)
    }

    /// One of its files, as this machine sees it.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// The number by which this machine knows one of its processes.
    ///
    /// # Errors
    /// When it has no such process.
    pub fn process(&self, inside: u32) -> Result<u32> {
        let is_it = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let last = numbers.and_then(|numbers| numbers.split_whitespace().last()?.parse().ok());
            last == Some(inside) && same_namespace(*pid, self.init)
        };
        process::all_pids().into_iter().find(is_it).with_context(|| format!("no process {inside}"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.process.kill();
        let start = Time::now();
        // The kernel ends its processes a moment later. Empty groups that stay behind are in nobody's way.
        while let Err(error) = remove_groups(&self.groups) {
            if error.kind() != ErrorKind::ResourceBusy || start.elapsed() > Duration::from_secs(5) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn same_namespace(one: u32, other: u32) -> bool {
    let namespace = |pid| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    namespace(one).is_some_and(|one| Some(one) == namespace(other))
}

/// Where this machine has its control groups of version 2.
fn groups() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mounted = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    Ok(mounted.context("control groups of version 2 are not mounted")?.into())
}

/// Those of machines whose program was killed, and that are empty since.
fn sweep(groups: &Path) -> Result<()> {
    for entry in fs::read_dir(groups)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid| !process::is_alive(pid)) {
            let _ = remove_groups(&path);
        }
    }
    Ok(())
}

/// Groups can be removed from the innermost outwards.
fn remove_groups(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_groups(&path)?;
        }
    }
    fs::remove_dir(dir)
}

//! A host on a node: mounts and processes of its own. It shares the node's network, and everything else with this machine.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::clock::Time;
use crate::netns::Namespace;
use crate::process::{self, Process};

/// Ends with its process 1, and so do all its processes and mounts.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    init: u32,
    _process: Process,
}

impl Host {
    /// Runs a script of the shell, with these arguments, that mounts what the host has for itself and ends with
    /// `exec sleep`, and waits until it has come to that.
    ///
    /// # Errors
    /// Where the kernel does not allow it, or if the script ends, or has not come to its end within 10 s.
    pub fn set_up(namespace: &Namespace, script: &str, args: &[&OsStr]) -> Result<Self> {
        let mut unshare = namespace.command("unshare");
        unshare
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"])
            .args(args);
        let process = Process::spawn(&format!("a host on {}", namespace.name()), unshare)?;
        let start = Time::now();
        while start.elapsed() < Duration::from_secs(10) {
            if let Some(status) = process.exit_status() {
                bail!("the host on {} has ended ({status}), see above", namespace.name());
            }
            let init = process::children_of(process.pid()).first().copied().unwrap_or_default();
            if fs::read_to_string(format!("/proc/{init}/comm")).is_ok_and(|name| name == "sleep\n") {
                return Ok(Self { namespace: namespace.clone(), init, _process: process });
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("the host on {} is not there after 10 s", namespace.name())
    }

    /// One of its files, as this process sees it.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// A command that will run there, in this directory of the host's, with no standard input.
    pub fn command(&self, dir: &Path, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.namespace.command("nsenter");
        command.arg(format!("--target={}", self.init)).args(["--mount", "--pid"]);
        command.arg(format!("--wdns={}", dir.display())).arg("--").arg(program);
        command
    }
}

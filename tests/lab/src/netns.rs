//! Network namespaces: running code and commands inside them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

use crate::process::{self, Account};

/// Where iproute2 keeps named namespaces.
pub(crate) const NETNS_DIR: &str = "/run/netns";

/// A named network namespace, as `ip netns` knows it. Removing it is the job of the lab that made it.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    file: Arc<File>,
}

impl Namespace {
    /// Makes a namespace with its loopback interface up.
    ///
    /// # Errors
    /// Without root, or when the name is taken.
    pub fn create(name: &str) -> Result<Self> {
        ip(&["netns", "add", name])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Self::open(name)
    }

    /// Opens one that exists.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn open(name: &str) -> Result<Self> {
        let file = File::open(format!("{NETNS_DIR}/{name}")).with_context(|| format!("no network namespace {name}"))?;
        Ok(Self { name: name.to_owned(), file: Arc::new(file) })
    }

    /// Its name for `ip netns exec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` inside the namespace, on a thread of its own, and waits for it. A socket made there belongs to this
    /// namespace for ever, wherever it is used afterwards.
    ///
    /// # Errors
    /// When the namespace cannot be entered (root is needed) or `work` panics.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter the network namespace {}", self.name))?;
                Ok(work())
            });
            worker.join().unwrap_or_else(|_| bail!("a job in the network namespace {} panicked", self.name))
        })
    }

    /// A command that will run inside the namespace, with no standard input.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        let file = Arc::clone(&self.file);
        process::before_exec(&mut command, move || Ok(setns(file.as_fd(), CloneFlags::CLONE_NEWNET)?));
        command
    }

    /// The same, as another user.
    pub fn command_as(&self, program: impl AsRef<OsStr>, account: Account) -> Command {
        let mut command = self.command(program);
        process::run_as(&mut command, account);
        command
    }

    /// Runs `ip` inside the namespace and returns what it printed.
    ///
    /// # Errors
    /// With the complaint of `ip`.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        ip(&[&["-n", &self.name], args].concat())
    }

    /// Runs several `ip` commands, one per line, stopping at the first that fails.
    ///
    /// # Errors
    /// With the complaint of `ip`, which names the line.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        pipe_into(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), lines)
    }

    /// Loads nftables commands inside the namespace, all or nothing.
    ///
    /// # Errors
    /// With the complaint of `nft`.
    pub fn nft(&self, script: &str) -> Result<()> {
        pipe_into(self.command("nft").args(["-f", "-"]), script)
    }

    /// Every process whose network is this namespace.
    ///
    /// # Errors
    /// When the namespace's own file cannot be examined.
    pub fn pids(&self) -> Result<Vec<u32>> {
        let own = self.file.metadata()?;
        let inside = |pid: &u32| {
            std::fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|m| (m.dev(), m.ino()) == (own.dev(), own.ino()))
        };
        Ok(process::all_pids().into_iter().filter(inside).collect())
    }
}

/// Runs `ip` with these arguments and returns what it printed.
pub(crate) fn ip(args: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output().context("cannot run ip (iproute2)")?;
    if !output.status.success() {
        bail!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn pipe_into(command: &mut Command, text: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {program}"))?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(text.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{program}: {}\n{text}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

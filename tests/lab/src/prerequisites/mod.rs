//! The programs a lab is made of: what is used, and where it comes from.
//!
//! Servers (PostgreSQL, etcd, PgBouncer, Keepalived, vip-manager, FRR, Prometheus) that the machine does not have are downloaded as Debian packages
//! and unpacked below `target/lab`, not installed: no service is started or enabled, no user or cluster is made, and nothing that is
//! already there is upgraded. So are the browser that looks at the daemon's page and the container engine that runs it, which only the tests need. Patroni and the
//! applications' drivers live in a Python environment in the same place. Only small tools without a
//! service (ip, nft, protoc, the venv module) are installed by apt.

mod install;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::unistd::User;

use crate::process::Account;

pub use install::{debian, install, install_browser, install_podman};

/// The release of Patroni that the lab uses, as pip understands it.
pub const PATRONI: &str = "patroni[etcd3]==4.1.*";

/// The driver that Odoo, Patroni and most of Python use. It brings its own libpq.
pub const PSYCOPG2: &str = "psycopg2-binary==2.9.*";

/// The driver that has no libpq.
pub const ASYNCPG: &str = "asyncpg==0.32.*";

/// The programs of a lab, found on this machine.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The directory that has `postgres`, `initdb`, `psql` and the rest.
    pub postgres_bin: PathBuf,
    /// The etcd server, 3.4 or newer.
    pub etcd: PathBuf,
    /// Its command line client.
    pub etcdctl: PathBuf,
    /// Keepalived, for a neighbour that is not of our kind.
    pub keepalived: PathBuf,
    /// The interpreter of the Python environment that has Patroni.
    pub python: PathBuf,
    /// Where the unpacked packages' shared libraries are; to be in `LD_LIBRARY_PATH` for `postgres_bin`.
    pub libraries: Option<PathBuf>,
    /// Who PostgreSQL and Patroni run as: PostgreSQL refuses to run as root.
    pub account: Account,
}

impl Tools {
    /// Finds everything, installs nothing.
    ///
    /// # Errors
    /// With all that is missing, and the command that installs it.
    pub fn find() -> Result<Self> {
        refuse(&missing_for_cluster())?;
        let unpacked = unpacked_dir()?;
        let postgres_bin = postgres_bin().context("no PostgreSQL server")?;
        let libraries = postgres_bin.starts_with(&unpacked).then(|| unpacked.join("usr/lib").join(multiarch()));
        Ok(Self {
            postgres_bin,
            etcd: etcd_program("etcd").context("no etcd")?,
            etcdctl: etcd_program("etcdctl").context("no etcdctl")?,
            keepalived: keepalived_program().context("no keepalived")?,
            python: venv_dir()?.join("bin/python"),
            libraries,
            account: account()?,
        })
    }

    /// A program of PostgreSQL's, for [`Command`] or [`crate::netns::Namespace::command`].
    #[must_use]
    pub fn postgres_program(&self, name: &str) -> PathBuf {
        self.postgres_bin.join(name)
    }

    /// Gives `command` the environment that PostgreSQL's programs and Patroni need here.
    pub fn set_environment(&self, command: &mut Command) {
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
    }
}

/// The routers of other makes, found on this machine. A segment of routers needs nothing else.
#[derive(Clone, Debug)]
pub struct Rivals {
    /// Keepalived.
    pub keepalived: PathBuf,
    /// The directory that has FRR's `zebra` and `vrrpd`.
    pub frr: PathBuf,
}

impl Rivals {
    /// Finds them, installs nothing.
    ///
    /// # Errors
    /// With what is missing, and the command that installs it.
    pub fn find() -> Result<Self> {
        refuse(&named(&install::missing_for_routers()))?;
        Ok(Self {
            keepalived: keepalived_program().context("no keepalived")?,
            frr: frr_programs().context("no zebra and vrrpd")?,
        })
    }
}

/// What applications are made of, found on this machine. A cluster needs nothing of it.
#[derive(Clone, Debug)]
pub struct Applications {
    /// `pgbouncer`.
    pub pgbouncer: PathBuf,
    /// The interpreter of the Python environment that has the drivers.
    pub python: PathBuf,
}

impl Applications {
    /// Finds it, installs nothing.
    ///
    /// # Errors
    /// With what is missing, and the command that installs it.
    pub fn find() -> Result<Self> {
        refuse(&missing_for_applications())?;
        Ok(Self { pgbouncer: pgbouncer_program().context("no pgbouncer")?, python: venv_dir()?.join("bin/python") })
    }
}

/// What looks at daemons, found on this machine. A cluster needs nothing of it.
#[derive(Clone, Debug)]
pub struct Monitoring {
    /// The server.
    pub prometheus: PathBuf,
    /// What checks its configuration and rules.
    pub promtool: PathBuf,
}

impl Monitoring {
    /// Finds it, installs nothing.
    ///
    /// # Errors
    /// With what is missing, and the command that installs it.
    pub fn find() -> Result<Self> {
        refuse(&named(&install::missing_prometheus()))?;
        let program = |name| prometheus_program(name).with_context(|| format!("no {name}"));
        Ok(Self { prometheus: program("prometheus")?, promtool: program("promtool")? })
    }
}

/// vip-manager, found on this machine. A cluster does not need it.
///
/// # Errors
/// If it is not there: with the command that installs it.
pub fn vip_manager() -> Result<PathBuf> {
    refuse(&named(&install::missing_vip_manager()))?;
    vip_manager_program().context("no vip-manager")
}

/// Where podman was unpacked, with all that it needs: to be laid over `/etc` and `/usr`. Nothing if this machine has its own.
///
/// # Errors
/// If there is none: with the command that unpacks it.
pub fn podman() -> Result<Option<PathBuf>> {
    let installed = ["usr/bin/podman", "usr/bin/crun"];
    let has = |dir: &Path| installed.iter().all(|program| dir.join(program).exists());
    if has(Path::new("/")) {
        return Ok(None);
    }
    let dir = podman_dir()?;
    if !has(&dir) {
        bail!("no podman: `cargo xtask test` unpacks one");
    }
    Ok(Some(dir))
}

/// Lets `command`, which is to run `program`, find its shared libraries if it was unpacked and not installed.
pub(crate) fn set_libraries(command: &mut Command, program: &Path) -> Result<()> {
    let unpacked = unpacked_dir()?;
    if program.starts_with(&unpacked) {
        // Packages of before Debian's merge of /lib into /usr/lib, its libraries among them, know both.
        let directories = ["usr/lib", "lib"].map(|dir| unpacked.join(dir).join(multiarch()));
        // FRR and PulseAudio, which Chromium is linked with, have directories of their own for theirs.
        let own = ["frr", "pulseaudio"].map(|name| directories[0].join(name));
        command.env("LD_LIBRARY_PATH", std::env::join_paths(directories.into_iter().chain(own))?);
    }
    Ok(())
}

/// What the lab and the build of the workspace need and this machine lacks, in words for a person.
#[must_use]
pub fn missing() -> Vec<String> {
    let mut missing = missing_for_cluster();
    missing.extend(named(&install::missing_frr()));
    missing.extend(missing_for_applications());
    missing.extend(named(&install::missing_prometheus()));
    missing.extend(named(&install::missing_vip_manager()));
    missing
}

/// Without what only segments of routers, applications or monitoring need.
fn missing_for_cluster() -> Vec<String> {
    let mut missing = named(&install::missing_for_cluster());
    if !has_patroni() {
        missing.push(format!("{PATRONI} (PyPI)"));
    }
    missing
}

fn missing_for_applications() -> Vec<String> {
    let mut missing = named(&install::missing_pgbouncer());
    if !has_drivers() {
        missing.push(format!("{PSYCOPG2} and {ASYNCPG} (PyPI)"));
    }
    missing
}

fn named(packages: &[&str]) -> Vec<String> {
    packages.iter().map(|package| format!("Debian package {package}")).collect()
}

fn refuse(missing: &[String]) -> Result<()> {
    if !missing.is_empty() {
        let missing = missing.join(", ");
        bail!("missing: {missing}; `cargo xtask demo` and `cargo xtask test` install what is missing");
    }
    Ok(())
}

/// Where the lab keeps its programs: `target/lab` of the workspace, or /var/cache/pgvrrp-lab where an unprivileged
/// PostgreSQL could not read the former (a clone below /root).
pub(crate) fn home() -> Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let reachable = workspace.ancestors().all(|d| fs::metadata(d).is_ok_and(|m| m.permissions().mode() & 0o001 != 0));
    let home = if reachable { workspace.join("target/lab") } else { PathBuf::from("/var/cache/pgvrrp-lab") };
    Ok(home)
}

pub(crate) fn unpacked_dir() -> Result<PathBuf> {
    Ok(home()?.join("root"))
}

/// Apart from the others, since what is in it is to be found where a package would have it.
pub(crate) fn podman_dir() -> Result<PathBuf> {
    Ok(home()?.join("podman"))
}

pub(crate) fn venv_dir() -> Result<PathBuf> {
    Ok(home()?.join("venv"))
}

/// The newest PostgreSQL server of this machine, or else the unpacked one.
pub(crate) fn postgres_bin() -> Option<PathBuf> {
    let unpacked = unpacked_dir().ok()?.join("usr/lib/postgresql");
    [PathBuf::from("/usr/lib/postgresql"), unpacked].into_iter().find_map(|dir| {
        let versions = fs::read_dir(dir).ok()?.filter_map(|e| {
            let path = e.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            let bin = path.join("bin");
            (bin.join("postgres").exists() && bin.join("psql").exists()).then_some((version, bin))
        });
        versions.max().map(|(_, bin)| bin)
    })
}

/// `etcd` or `etcdctl`: this machine's, or else the unpacked one.
pub(crate) fn etcd_program(name: &str) -> Option<PathBuf> {
    let unpacked = unpacked_dir().ok()?.join("usr/bin");
    ["/usr/bin", "/usr/local/bin"]
        .into_iter()
        .map(PathBuf::from)
        .chain([unpacked])
        .map(|d| d.join(name))
        .find(|p| p.exists())
}

/// This machine's Keepalived, or else the unpacked one.
pub(crate) fn keepalived_program() -> Option<PathBuf> {
    let unpacked = unpacked_dir().ok()?.join("usr/sbin");
    [PathBuf::from("/usr/sbin"), unpacked].into_iter().map(|dir| dir.join("keepalived")).find(|path| path.exists())
}

/// This machine's vip-manager, or else the unpacked one.
pub(crate) fn vip_manager_program() -> Option<PathBuf> {
    let unpacked = unpacked_dir().ok()?.join("usr/bin");
    [PathBuf::from("/usr/bin"), unpacked].into_iter().map(|dir| dir.join("vip-manager")).find(|path| path.exists())
}

/// The directory of this machine's FRR, or else of the unpacked one.
pub(crate) fn frr_programs() -> Option<PathBuf> {
    let unpacked = unpacked_dir().ok()?.join("usr/lib/frr");
    [PathBuf::from("/usr/lib/frr"), unpacked].into_iter().find(|dir| dir.join("vrrpd").exists())
}

/// This machine's PgBouncer, or else the unpacked one.
pub(crate) fn pgbouncer_program() -> Option<PathBuf> {
    let unpacked = unpacked_dir().ok()?.join("usr/sbin");
    [PathBuf::from("/usr/sbin"), unpacked].into_iter().map(|dir| dir.join("pgbouncer")).find(|path| path.exists())
}

/// This machine's Chromium, or one that is made of it, or else the unpacked one.
pub(crate) fn browser_program() -> Option<PathBuf> {
    let unpacked = unpacked_dir().ok()?.join("usr/lib/chromium/chromium-headless-shell");
    let names = ["chromium-headless-shell", "chromium", "google-chrome"];
    let there = names.map(|name| Path::new("/usr/bin").join(name));
    there.into_iter().chain([unpacked]).find(|path| path.exists())
}

/// `prometheus` or `promtool`: this machine's, or else the unpacked one.
pub(crate) fn prometheus_program(name: &str) -> Option<PathBuf> {
    let unpacked = unpacked_dir().ok()?.join("usr/bin");
    [PathBuf::from("/usr/bin"), unpacked].into_iter().map(|dir| dir.join(name)).find(|path| path.exists())
}

fn has_patroni() -> bool {
    can_import("patroni, psycopg2")
}

fn has_drivers() -> bool {
    can_import("psycopg2, asyncpg")
}

fn can_import(modules: &str) -> bool {
    let import = format!("import {modules}");
    venv_dir().is_ok_and(|dir| succeeds(Command::new(dir.join("bin/python")).args(["-c", &import])))
}

pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Debian's name for this architecture's library directory.
fn multiarch() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

/// `postgres` where the machine has it, else `nobody`: making a user would be a change to the machine.
fn account() -> Result<Account> {
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw() });
        }
    }
    bail!("this machine has neither a user postgres nor a user nobody")
}

/// Fails unless run by root.
///
/// # Errors
/// With a message for the user.
pub fn require_root() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("root is needed: the lab makes network namespaces (try: sudo -E env \"PATH=$PATH\" cargo xtask ...)");
    }
    Ok(())
}

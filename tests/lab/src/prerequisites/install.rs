//! Brings what is missing to this machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

use super::{
    ASYNCPG, PATRONI, PSYCOPG2, Tools, browser_program, etcd_program, frr_programs, has_drivers, has_patroni, home,
    keepalived_program, pgbouncer_program, podman_dir, postgres_bin, prometheus_program, require_root, succeeds,
    unpacked_dir, venv_dir, vip_manager_program,
};

/// Debian's own interpreter, whatever else may come first in `PATH`: a version manager's below /root could not be run
/// by an unprivileged user.
const PYTHON: &str = "/usr/bin/python3";

/// Installs what is missing and finds everything. `progress` gets one line per step, before the step.
///
/// # Errors
/// Without root, on a system without apt, without network, or when a package cannot be had.
pub fn install(progress: &mut dyn FnMut(&str)) -> Result<Tools> {
    require_root()?;
    if super::missing().is_empty() {
        return Tools::find();
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this is neither Debian nor Ubuntu; please install by hand: {}", super::missing().join(", "));
    }
    let _locked = alone()?;
    install_packages(progress)?;
    if !has_patroni() {
        install_patroni(progress)?;
    }
    if !has_drivers() {
        install_drivers(progress)?;
    }
    Tools::find()
}

/// Two test programs may come here at once: the second waits, and finds everything in place.
fn alone() -> Result<Flock<File>> {
    let home = home()?;
    fs::create_dir_all(&home).with_context(|| format!("cannot make {home:?}"))?;
    let lock = File::create(home.join("lock"))?;
    Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| e).context("cannot lock")
}

/// What such a system has beside what every Debian has: systemd as process 1, and what pgvrrp's documents take for granted.
/// debootstrap does not know that dbus and libpam-systemd are what NetworkManager means by a message bus and a login manager.
const ON_A_MACHINE: [&str; 8] =
    ["systemd", "systemd-sysv", "man-db", "sudo", "keepalived", "dbus", "libpam-systemd", "network-manager"];

/// What Debian enables and not every system has: a test that is about it starts it.
const NOT_BY_ITSELF: [&str; 3] = ["NetworkManager", "NetworkManager-wait-online", "NetworkManager-dispatcher"];

/// A Debian, or Ubuntu, of this machine's release with systemd in a directory, to be booted ([`crate::Machine`]). Made of its
/// packages by debootstrap if it is not there yet.
///
/// # Errors
/// Without root, on a system without apt, or without network.
pub fn debian(progress: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    require_root()?;
    let _locked = alone()?;
    let made = home()?.join("debian");
    // Every package has that directory; files that dpkg keeps have the architecture in their names with some.
    let has = |package: &&str| made.join(format!("usr/share/doc/{package}")).exists();
    if ON_A_MACHINE.iter().all(has) {
        return Ok(made);
    }
    if !on_path("debootstrap") {
        progress("installing with apt: debootstrap");
        run(apt().args(["install", "--yes", "--no-install-recommends", "debootstrap"]))?;
    }
    let system = fs::read_to_string("/etc/os-release")?;
    let release = system.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let release = release.context("/etc/os-release names no release")?;
    progress(&format!("making a {release} with systemd in {}", made.display()));
    let unfinished = made.with_extension("unfinished");
    for former in [&unfinished, &made].into_iter().filter(|dir| dir.exists()) {
        fs::remove_dir_all(former)?;
    }
    let include = format!("--include={}", ON_A_MACHINE.join(","));
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &include, release]).arg(&unfinished);
    run(&mut debootstrap)?;
    run(Command::new("chroot").arg(&unfinished).args(["systemctl", "disable"]).args(NOT_BY_ITSELF))?;
    fs::rename(&unfinished, &made)?;
    Ok(made)
}

/// The same for the browser that looks at the daemon's page: 100 MB, which only the tests are to cost.
///
/// # Errors
/// As [`install`]; on Ubuntu, where there is no such package.
pub fn install_browser(progress: &mut dyn FnMut(&str)) -> Result<()> {
    let package = "chromium-headless-shell";
    if browser_program().is_some() {
        return Ok(());
    }
    require_root()?;
    let _locked = alone()?;
    if browser_program().is_some() {
        return Ok(());
    }
    progress("refreshing apt's package lists");
    run(apt().arg("update"))?;
    progress(&format!("downloading and unpacking, without installing: {package}"));
    unpack(&[package])
        .context("there has to be a Chromium, or a Chrome, as /usr/bin/chromium or /usr/bin/google-chrome")
}

/// The same for the container engine that runs the daemon as `docs/CONTAINERS.md` has it.
///
/// # Errors
/// As [`install`].
pub fn install_podman(progress: &mut dyn FnMut(&str)) -> Result<()> {
    require_root()?;
    let _locked = alone()?;
    if super::podman().is_ok() {
        return Ok(());
    }
    progress("refreshing apt's package lists");
    run(apt().arg("update"))?;
    progress("downloading and unpacking, without installing: podman and crun");
    unpack_into(&podman_dir()?, &["podman", "crun"])
}

/// Debian packages that a cluster needs: tools are installed, servers unpacked.
pub(super) fn missing_for_cluster() -> Vec<&'static str> {
    [missing_tools(), missing_servers()].concat()
}

/// Those that a segment of routers needs.
pub(super) fn missing_for_routers() -> Vec<&'static str> {
    let mut packages = missing_network_tools();
    packages.extend(missing_keepalived());
    packages.extend(missing_frr());
    packages
}

fn on_path(program: &str) -> bool {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter().any(|dir| Path::new(dir).join(program).exists())
}

fn missing_network_tools() -> Vec<&'static str> {
    let tools = [("ip", "iproute2"), ("nft", "nftables")];
    tools.into_iter().filter(|(program, _)| !on_path(program)).map(|(_, package)| package).collect()
}

fn missing_tools() -> Vec<&'static str> {
    let mut packages = missing_network_tools();
    let mut need = |there: bool, package| {
        if !there {
            packages.push(package);
        }
    };
    need(succeeds(Command::new(PYTHON).args(["-c", "import venv, ensurepip"])), "python3-venv");
    // For building the workspace: etcd's protocol is compiled from its description.
    need(on_path("protoc"), "protobuf-compiler");
    need(Path::new("/usr/include/google/protobuf/descriptor.proto").exists(), "libprotobuf-dev");
    packages
}

fn missing_servers() -> Vec<&'static str> {
    let mut packages = Vec::new();
    if postgres_bin().is_none() {
        packages.push("postgresql");
    }
    if etcd_program("etcd").is_none() {
        packages.push("etcd-server");
    }
    if etcd_program("etcdctl").is_none() {
        packages.push("etcd-client");
    }
    packages.extend(missing_keepalived());
    packages
}

fn missing_keepalived() -> Option<&'static str> {
    keepalived_program().is_none().then_some("keepalived")
}

pub(super) fn missing_frr() -> Vec<&'static str> {
    frr_programs().is_none().then_some("frr").into_iter().collect()
}

pub(super) fn missing_pgbouncer() -> Vec<&'static str> {
    pgbouncer_program().is_none().then_some("pgbouncer").into_iter().collect()
}

pub(super) fn missing_prometheus() -> Vec<&'static str> {
    let is_missing = ["prometheus", "promtool"].into_iter().any(|name| prometheus_program(name).is_none());
    is_missing.then_some("prometheus").into_iter().collect()
}

pub(super) fn missing_vip_manager() -> Vec<&'static str> {
    vip_manager_program().is_none().then_some("vip-manager").into_iter().collect()
}

fn install_packages(progress: &mut dyn FnMut(&str)) -> Result<()> {
    let others = [missing_frr(), missing_pgbouncer(), missing_prometheus(), missing_vip_manager()].concat();
    let servers = [missing_servers(), others].concat();
    let tools = missing_tools();
    if tools.is_empty() && servers.is_empty() {
        return Ok(());
    }
    progress("refreshing apt's package lists");
    run(apt().arg("update"))?;
    if !tools.is_empty() {
        progress(&format!("installing with apt: {}", tools.join(" ")));
        run(apt().args(["install", "--yes", "--no-install-recommends"]).args(&tools))?;
    }
    if !servers.is_empty() {
        progress(&format!("downloading and unpacking, without installing: {}", servers.join(" ")));
        unpack(&servers)?;
    }
    Ok(())
}

fn unpack(packages: &[&str]) -> Result<()> {
    unpack_into(&unpacked_dir()?, packages)
}

/// Downloads packages with all dependencies that the machine lacks, and unpacks them side by side.
fn unpack_into(dir: &Path, packages: &[&str]) -> Result<()> {
    let archives = home()?.join("packages");
    fs::create_dir_all(archives.join("partial"))?;
    let archives_option = format!("Dir::Cache::archives={}", archives.display());
    // As root: the sandbox user _apt could not write there, and apt would warn about it.
    let options = ["-o", &archives_option, "-o", "APT::Sandbox::User=root"];
    let install = ["install", "--yes", "--download-only", "--no-install-recommends"];
    run(apt().args(options).args(install).args(packages))?;
    for entry in fs::read_dir(&archives)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(dir))?;
        }
    }
    fs::remove_dir_all(&archives)?;
    Ok(())
}

fn install_patroni(progress: &mut dyn FnMut(&str)) -> Result<()> {
    let venv = venv_dir()?;
    progress(&format!("installing {PATRONI} from PyPI into {}", venv.display()));
    run(Command::new(PYTHON).args(["-m", "venv", "--clear"]).arg(&venv))?;
    pip(&[PATRONI, PSYCOPG2])
}

/// Beside Patroni, in its environment.
fn install_drivers(progress: &mut dyn FnMut(&str)) -> Result<()> {
    progress(&format!("installing {PSYCOPG2} and {ASYNCPG} from PyPI"));
    pip(&[PSYCOPG2, ASYNCPG])
}

fn pip(packages: &[&str]) -> Result<()> {
    let mut pip = Command::new(venv_dir()?.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
    run(&mut pip)
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=120", "--quiet=2"]);
    apt
}

/// Runs quietly; what the command printed is shown only if it fails.
fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!("{command:?} failed ({}):\n{}", output.status, String::from_utf8_lossy(&text).trim());
    }
    Ok(())
}

//! The Debian package on a Debian that is booted on a node, with systemd as its process 1 and nothing but the package's own
//! scripts and unit between dpkg and the daemon.
//!
//! `PGVRRP_PACKAGES` names two packages, the older version first, and `PGVRRP_DEBIAN` the system: see `cargo xtask package-test`.

use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::Config;
use lab::{Lab, Machine, Node, Options, Time};

use crate::stage::{Stage, binary, play_with};

const UNIT: &str = "pgvrrp.service";
const CONFIG: &str = "/etc/pgvrrp/pgvrrp.toml";

struct Given {
    packages: [PathBuf; 2],
    debian: PathBuf,
}

fn given() -> Option<Given> {
    let packages: Vec<_> = env::split_paths(&env::var_os("PGVRRP_PACKAGES").unwrap_or_default()).collect();
    let (Ok(packages), Some(debian)) = (packages.try_into(), env::var_os("PGVRRP_DEBIAN")) else {
        println!("skipped: PGVRRP_PACKAGES and PGVRRP_DEBIAN name no packages and no system to install them on");
        return None;
    };
    Some(Given { packages, debian: debian.into() })
}

/// The machine, and what was installed on it.
struct Installed<'a> {
    stage: &'a Stage<'a>,
    machine: Machine,
}

impl Installed<'_> {
    /// `dpkg --install`, which nothing that is wrong with the daemon may let fail.
    fn install(&self, package: &str) -> Result<String> {
        let said = self.machine.succeed(&["dpkg", "--install", package])?;
        print!("{said}");
        Ok(said)
    }

    fn systemctl(&self, command: &str) -> Result<String> {
        self.machine.succeed(&["systemctl", command, UNIT])
    }

    fn property(&self, name: &str) -> Result<String> {
        let said = self.machine.succeed(&["systemctl", "show", "--value", "--property", name, UNIT])?;
        Ok(said.trim().to_owned())
    }

    fn daemon(&self) -> Result<u32> {
        self.property("MainPID")?.parse().context("systemd knows no daemon")
    }

    fn journal(&self) -> String {
        let journal = self.machine.output(&["journalctl", "--no-pager", "--output=cat", "--unit", UNIT]);
        journal.unwrap_or_else(|error| error.to_string())
    }

    fn configure(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.machine.file(CONFIG), text)?)
    }

    fn wait_gone(&self) -> Result<()> {
        let gone = || Ok(self.stage.holders().is_empty());
        self.stage.lab.wait_until("the VIP to leave", Duration::from_secs(5), gone)?;
        let key = || Ok(self.stage.lab.etcd().get("/pgvrrp/v1/service/odoo/10.0.20.155")?.is_none());
        self.stage.lab.wait_until("the lock to leave", Duration::from_secs(5), key)
    }

    /// Whether any process of the daemon's is left there.
    fn runs(&self) -> bool {
        let machine = fs::metadata(self.machine.file("/usr/bin")).map(|dir| dir.dev()).ok();
        let is_its = |pid: &u32| {
            let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            let root = fs::metadata(format!("/proc/{pid}/root/usr/bin")).map(|dir| dir.dev()).ok();
            root == machine && program.to_string_lossy().starts_with("/usr/bin/pgvrrp")
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).any(|pid| is_its(&pid))
    }
}

/// What README.md has, for this lab: all the rest is as it comes.
fn configuration(lab: &Lab) -> String {
    let mut config = Config::reference(lab, Node::Db1);
    config.remove("", "runtime_dir").remove("postgres", "connection");
    config.render()
}

/// A cluster, with a machine that has the two packages on db1 and a daemon on db2.
fn play_on_a_machine(acts: &[fn(&Installed<'_>) -> Result<()>]) {
    let Some(given) = given() else { return };
    play_with(Options::default(), |stage| {
        stage.start_daemon(Node::Db2)?;
        let machine = Machine::boot(stage.lab, Node::Db1, &given.debian)?;
        for (package, name) in given.packages.iter().zip(["/root/older.deb", "/root/newer.deb"]) {
            fs::copy(package, machine.file(name))?;
        }
        let here = Installed { stage, machine };
        let result = acts.iter().try_for_each(|act| act(&here));
        result.map_err(|error| error.context(here.journal()))
    });
}

#[test]
fn installed_upgraded_and_removed() {
    play_on_a_machine(&[
        installs_without_being_configured,
        starts,
        upgrades_without_moving_the_vip,
        a_configuration_that_is_wrong_stops_nothing,
        reloads_and_restarts,
        is_removed,
    ]);
}

/// As README.md has it.
#[test]
fn changed_over_from_an_installation_by_hand() {
    play_on_a_machine(&[is_installed_by_hand, the_package_takes_over]);
}

fn is_installed_by_hand(here: &Installed<'_>) -> Result<()> {
    let unit = include_str!("../../packaging/pgvrrp.service").replace("/usr/", "/usr/local/");
    fs::copy(binary(), here.machine.file("/usr/local/bin/pgvrrp"))?;
    fs::write(here.machine.file("/etc/systemd/system/pgvrrp.service"), unit)?;
    let nobody = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "pgvrrp"];
    here.machine.succeed(&[&["useradd"], &nobody[..]].concat())?;
    here.machine.succeed(&["install", "-d", "-m", "750", "-g", "pgvrrp", "/etc/pgvrrp"])?;
    here.configure(&configuration(here.stage.lab))?;
    here.machine.succeed(&["systemctl", "daemon-reload"])?;
    here.machine.succeed(&["systemctl", "enable", "--now", "pgvrrp"])?;
    here.stage.wait_vip(Node::Db1, Duration::from_secs(10))
}

fn the_package_takes_over(here: &Installed<'_>) -> Result<()> {
    let (former, holding) = (here.daemon()?, here.stage.last_holding(Node::Db1)?);
    let said = here.install("/root/newer.deb")?;
    ensure!(said.contains("the daemon that runs is not of this package"), "{said}");
    // What is removed is the package, not what the operator runs.
    here.machine.succeed(&["dpkg", "--remove", "pgvrrp"])?;
    ensure!(here.daemon()? == former, "the operator's daemon was stopped");
    here.install("/root/newer.deb")?;
    here.machine.succeed(&["rm", "/etc/systemd/system/pgvrrp.service", "/usr/local/bin/pgvrrp"])?;
    here.machine.succeed(&["systemctl", "reenable", "pgvrrp"])?;
    print!("{}", here.machine.succeed(&["/usr/bin/pgvrrp", "handover"])?);
    here.stage.calm(Duration::from_secs(4))?;
    ensure!(here.stage.last_holding(Node::Db1)?.from == holding.from, "the VIP left and came back");
    let process = here.machine.process(here.daemon()?)?;
    let program = fs::read_link(format!("/proc/{process}/exe"))?;
    ensure!(program.ends_with("usr/bin/pgvrrp"), "it is {}", program.display());
    Ok(())
}

fn installs_without_being_configured(here: &Installed<'_>) -> Result<()> {
    let said = here.install("/root/older.deb")?;
    ensure!(said.contains("to be configured in /etc/pgvrrp/pgvrrp.toml"), "{said}");
    ensure!(here.systemctl("is-enabled")?.trim() == "enabled", "it would not start with the machine");
    // Neither fails: the machine boots as well with a package that is not configured.
    here.systemctl("start")?;
    ensure!(here.property("ActiveState")? == "inactive" && here.property("Result")? == "success", "it was started");
    let dir = fs::metadata(here.machine.file("/etc/pgvrrp"))?;
    let owner = here.machine.succeed(&["stat", "--format=%U:%G", "/etc/pgvrrp"])?;
    ensure!(dir.permissions().mode() & 0o7777 == 0o750 && owner.trim() == "root:pgvrrp", "{dir:?} {owner}");
    let conffiles = here.machine.succeed(&["dpkg-query", "--show", "--showformat=${Conffiles}", "pgvrrp"])?;
    ensure!(conffiles.is_empty(), "dpkg will ask about {conffiles}");
    // The example needs no more than to be filled in.
    here.machine.succeed(&["pgvrrp", "check", "/usr/share/doc/pgvrrp/examples/pgvrrp.toml"])?;
    Ok(())
}

/// With all that the unit takes from it and gives to it.
fn starts(here: &Installed<'_>) -> Result<()> {
    here.configure(&configuration(here.stage.lab))?;
    here.systemctl("start")?;
    here.stage.wait_vip(Node::Db1, Duration::from_secs(10))?;
    let process = here.machine.process(here.daemon()?)?;
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    ensure!(field(&status, "CapEff:") == "0000000000003000", "{status}");
    ensure!(field(&status, "CapBnd:") == "0000000000003000", "{status}");
    ensure!(field(&status, "Seccomp:") == "2" && field(&status, "NoNewPrivs:") == "1", "{status}");
    ensure!(!field(&status, "Uid:").starts_with('0'), "it runs as root: {status}");
    keeps_on_time(here, process, &status)?;
    let said = here.machine.succeed(&["pgvrrp", "status"])?;
    ensure!(said.contains("10.0.20.155"), "{said}");
    let doctor =
        here.machine.output(&["setpriv", "--reuid=pgvrrp", "--regid=pgvrrp", "--init-groups", "pgvrrp", "doctor"])?;
    print!("{doctor}");
    ensure!(doctor.contains("ok       daemon: runs"), "{doctor}");
    Ok(())
}

/// Memory that is locked, and real-time priority. systemd grants the limits for both only where it has that right itself, which
/// the host's own namespaces may lack.
fn keeps_on_time(here: &Installed<'_>, process: u32, status: &str) -> Result<()> {
    const SYS_RESOURCE: u64 = 1 << 24;
    let systemd = fs::read_to_string(here.machine.file("/proc/1/status"))?;
    if u64::from_str_radix(field(&systemd, "CapEff:"), 16)? & SYS_RESOURCE == 0 {
        println!("systemd has no CAP_SYS_RESOURCE here: locked memory and real-time priority are not looked at");
        return Ok(());
    }
    ensure!(field(status, "VmLck:") != "0 kB", "its memory is not locked: {status}");
    let threads = fs::read_dir(format!("/proc/{process}/task"))?;
    let policies = threads.map(|thread| policy(&fs::read_to_string(thread?.path().join("stat"))?));
    ensure!(policies.collect::<Result<Vec<_>>>()?.contains(&2), "no thread has real-time priority (SCHED_RR)");
    Ok(())
}

/// A line of /proc/PID/status.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default()
}

/// Field 41 of /proc/PID/stat. The second one is a name in parentheses, and may have spaces in it.
fn policy(stat: &str) -> Result<u32> {
    let (_, rest) = stat.rsplit_once(") ").context("strange stat")?;
    Ok(rest.split(' ').nth(38).context("short stat")?.parse()?)
}

fn upgrades_without_moving_the_vip(here: &Installed<'_>) -> Result<()> {
    let stage = here.stage;
    let sessions = {
        let mut probes = stage.probes.borrow_mut();
        probes.add_hasty_client()?;
        probes.open_sessions(5)?
    };
    let (start, former, holding) = (Time::now(), here.daemon()?, stage.last_holding(Node::Db1)?);
    let said = here.install("/root/newer.deb")?;
    ensure!(said.contains("has handed over to") && said.contains("10.0.20.155 HERE"), "{said}");
    ensure!(here.daemon()? != former, "it is the former process");
    stage.calm(Duration::from_secs(4))?;
    ensure!(stage.last_holding(Node::Db1)?.from == holding.from, "the VIP left and came back");
    stage.undisturbed(start)?;
    ensure!(stage.analysis().session_ends().all(|(index, ..)| !sessions.contains(&index)), "a session was ended");
    Ok(())
}

fn a_configuration_that_is_wrong_stops_nothing(here: &Installed<'_>) -> Result<()> {
    let (stage, former) = (here.stage, here.daemon()?);
    let holding = stage.last_holding(Node::Db1)?;
    here.configure(&format!("nonsense = 1\n{}", configuration(stage.lab)))?;
    let said = here.install("/root/newer.deb")?;
    ensure!(said.contains("nonsense") && said.contains("the daemon that runs goes on"), "{said}");
    ensure!(here.daemon()? == former, "the daemon was replaced");
    here.configure(&configuration(stage.lab))?;
    stage.calm(Duration::from_secs(4))?;
    ensure!(stage.last_holding(Node::Db1)?.from == holding.from, "the VIP left and came back");
    Ok(())
}

fn reloads_and_restarts(here: &Installed<'_>) -> Result<()> {
    let (stage, former) = (here.stage, here.daemon()?);
    let holding = stage.last_holding(Node::Db1)?;
    here.systemctl("reload")?;
    stage.calm(Duration::from_secs(2))?;
    ensure!(here.daemon()? == former, "a reload replaced the process");
    // Within the unit's bounds it is back in time as well.
    here.machine.succeed(&["systemctl", "kill", "--signal=KILL", UNIT])?;
    stage.calm(Duration::from_secs(5))?;
    ensure!(stage.last_holding(Node::Db1)?.from == holding.from, "the VIP left and came back");
    ensure!(here.daemon()? != former, "it was not killed");
    here.systemctl("stop")?;
    here.wait_gone()?;
    // One that was stopped is not started by an upgrade.
    here.install("/root/newer.deb")?;
    ensure!(here.property("ActiveState")? == "inactive", "it was started");
    here.systemctl("start")?;
    stage.wait_vip(Node::Db1, Duration::from_secs(10))
}

fn is_removed(here: &Installed<'_>) -> Result<()> {
    print!("{}", here.machine.succeed(&["dpkg", "--remove", "pgvrrp"])?);
    here.wait_gone()?;
    ensure!(!here.runs(), "a daemon is left");
    ensure!(
        fs::read_to_string(here.machine.file(CONFIG))? == configuration(here.stage.lab),
        "the configuration is gone"
    );
    print!("{}", here.machine.succeed(&["dpkg", "--purge", "pgvrrp"])?);
    let left = here.machine.succeed(&["find", "/", "-xdev", "-name", "*pgvrrp*", "-not", "-path", "/proc/*"])?;
    ensure!(left.is_empty(), "left behind:\n{left}");
    ensure!(!here.machine.file("/run/pgvrrp").exists(), "/run/pgvrrp is left behind");
    Ok(())
}

/// As in a chroot, or while an image is made: no systemd runs, nothing is started, nothing fails.
#[test]
fn installed_where_no_systemd_runs() {
    let Some(given) = given() else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let script = r#"
        set -ex
        mount --make-rprivate /
        mount -t tmpfs scratch "$2"
        mkdir "$2/root" "$2/upper" "$2/work"
        mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" scratch "$2/root"
        cp "$3" "$2/root/root/older.deb"
        cp "$4" "$2/root/root/newer.deb"
        export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C
        cd "$2/root"
        chroot . dpkg --install /root/older.deb
        chroot . getent passwd pgvrrp
        [ -L etc/systemd/system/multi-user.target.wants/pgvrrp.service ]
        cp usr/share/doc/pgvrrp/examples/pgvrrp.toml etc/pgvrrp/pgvrrp.toml
        chroot . dpkg --install /root/newer.deb
        chroot . dpkg --remove pgvrrp
        [ -e etc/pgvrrp/pgvrrp.toml ]
        chroot . dpkg --purge pgvrrp
        [ ! -e etc/pgvrrp ]
        [ ! -L etc/systemd/system/multi-user.target.wants/pgvrrp.service ]
    "#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"]).arg(&given.debian);
    let output = command.arg(scratch.path()).args(&given.packages).stdin(Stdio::null()).output().expect("unshare runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{}: {said}", output.status);
    println!("{said}");
}

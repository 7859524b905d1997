//! A place with podman, where what `docs/CONTAINERS.md` prints is typed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use lab::process::Process;
use lab::{Host, Machine, Node, prerequisites};
use serde_json::Value;

use crate::documented::pages::{Page, pages};
use crate::stage::{Stage, binary};

/// Makes what a host without systemd has for itself. $1: an empty directory, $2: podman's files, if this machine has none, $3: the
/// directory of PostgreSQL's socket.
const SET_UP: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs scratch "$1"
for dir in etc usr var; do
    over="/$dir"
    [ -z "$2" ] || [ ! -d "$2/$dir" ] || over="$2/$dir:$over"
    mkdir -p "$1/upper/$dir" "$1/work/$dir"
    mount -t overlay -o "lowerdir=$over,upperdir=$1/upper/$dir,workdir=$1/work/$dir" scratch "/$dir"
done
mount -t cgroup2 scratch /sys/fs/cgroup
mount -t tmpfs -o mode=755 scratch /run
mkdir -p /run/postgresql /var/lib/containers
mount --bind "$3" /run/postgresql
mount -t tmpfs scratch /var/lib/containers
! id pgvrrp 2>/dev/null || userdel pgvrrp
rm -rf /etc/pgvrrp
exec sleep 600
"#;

/// Puts podman's files, $1, into the system $2, and the libraries that it lacks.
const PUT: &str = r#"
set -e
cp -a "$1/etc" "$1/usr" "$2/"
libraries=$(echo "$1"/usr/lib/*-linux-gnu)
for program in podman conmon crun; do
    LD_LIBRARY_PATH=$libraries ldd "$1/usr/bin/$program" | grep -o '/[^ ]*'
done | sort -u | while read -r library; do
    [ -e "$2$library" ] || cp -L "$library" "$2/usr/lib/${libraries##*/}/"
done
"#;

/// No control groups, and lower limits than podman's own: this machine may not allow it to make or to raise them.
const CONTAINERS: &str = r#"[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"#;

/// What root may not set everywhere.
const WISHES: [&str; 3] = ["--ulimit rtprio=10", "--ulimit memlock=-1", "--oom-score-adj -900"];

const UNIT: &str = "/etc/systemd/system/pgvrrp.service";

#[derive(Debug)]
enum Place {
    /// Where a loop stands for systemd.
    Host(Host),
    /// Where there is one.
    Machine(Machine),
}

pub(super) struct Engine<'a> {
    pub(super) stage: &'a Stage<'a>,
    place: Place,
    page: Page,
    /// Where the image is made, as it is called there.
    context: PathBuf,
}

impl<'a> Engine<'a> {
    /// On a host of its own on db1.
    pub(super) fn on_a_host(stage: &'a Stage<'a>) -> Result<Self> {
        let dir = stage.lab.dir().join("container");
        let (scratch, context) = (dir.join("scratch"), dir.join("context"));
        fs::create_dir_all(&scratch)?;
        let podman = prerequisites::podman()?.unwrap_or_default();
        let socket = stage.lab.database(Node::Db1).socket_dir();
        let args = [scratch.as_os_str(), podman.as_os_str(), socket.as_os_str()];
        let host = Host::set_up(stage.lab.namespace(Node::Db1), SET_UP, &args)?;
        Self::new(stage, Place::Host(host), context)
    }

    /// On a Debian that is booted on db1, with the podman that was unpacked here.
    pub(super) fn on_a_machine(stage: &'a Stage<'a>, debian: &Path, podman: &Path) -> Result<Self> {
        let machine = Machine::boot(stage.lab, Node::Db1, debian)?;
        let put = Command::new("sh").args(["-c", PUT, "sh"]).arg(podman).arg(machine.file("")).status()?;
        ensure!(put.success(), "podman cannot be put there: {put}");
        machine.succeed(&["mkdir", "-p", "/var/lib/containers"])?;
        machine.succeed(&["mount", "-t", "tmpfs", "containers", "/var/lib/containers"])?;
        Self::new(stage, Place::Machine(machine), "/root/context".into())
    }

    fn new(stage: &'a Stage<'a>, place: Place, context: PathBuf) -> Result<Self> {
        let page = pages().into_iter().find(|page| page.name == "docs/CONTAINERS.md").context("no such page")?;
        let engine = Self { stage, place, page, context };
        fs::create_dir_all(engine.in_context(""))?;
        fs::write(engine.file("/etc/containers/containers.conf"), CONTAINERS)?;
        Ok(engine)
    }

    /// One of its files, as this process sees it.
    pub(super) fn file(&self, path: &str) -> PathBuf {
        match &self.place {
            Place::Host(host) => host.file(path),
            Place::Machine(machine) => machine.file(path),
        }
    }

    pub(super) fn in_context(&self, name: &str) -> PathBuf {
        self.file(&self.context.join(name).display().to_string())
    }

    fn block(&self, language: &str) -> Result<String> {
        let blocks = self.page.blocks();
        let block = blocks.into_iter().find(|block| block.language == language);
        Ok(block.with_context(|| format!("the page has no block of {language}"))?.text)
    }

    /// What is typed on the page, in its order.
    pub(super) fn typed(&self) -> Vec<String> {
        let blocks = self.page.blocks().into_iter().filter(|block| block.language == "console");
        blocks
            .flat_map(|block| {
                block.text.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect::<Vec<_>>()
            })
            .collect()
    }

    fn unit(&self) -> Result<String> {
        let mut unit = self.block("ini")?;
        if !has_sys_resource()? {
            WISHES.iter().for_each(|wish| unit = unit.replace(wish, ""));
        }
        Ok(unit)
    }

    /// A setting of the unit, on one line.
    pub(super) fn setting(&self, key: &str) -> Result<String> {
        let unit = self.unit()?.replace("\\\n", " ");
        let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        Ok(line.with_context(|| format!("the unit has no {key}"))?.to_owned())
    }

    pub(super) fn run(&self, line: &str) -> Result<Output> {
        const LIMIT: [&str; 5] = ["timeout", "--kill-after=5", "60", "bash", "-c"];
        let output = match &self.place {
            Place::Host(host) => host.command(&self.context, LIMIT[0]).args(&LIMIT[1..]).arg(line).output()?,
            Place::Machine(machine) => {
                let line = format!("cd {} && {line}", self.context.display());
                machine.run(&[&LIMIT[..], &[&line]].concat())?
            }
        };
        println!("# {line}\n{}", said(&output));
        Ok(output)
    }

    /// The same of what has to succeed. Returns what it printed.
    pub(super) fn succeed(&self, line: &str) -> Result<String> {
        let output = self.run(line)?;
        ensure!(output.status.success(), "{line}: {}: {}", output.status, said(&output));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The tarball that the page unpacks.
    pub(super) fn make_tarball(&self, name: &str) -> Result<()> {
        let top = name.strip_suffix(".tar.gz").context("it is no tarball")?;
        let bin = self.in_context(top).join("bin");
        fs::create_dir_all(&bin)?;
        fs::copy(binary(), bin.join("pgvrrp"))?;
        self.succeed(&format!("tar --create --gzip --file {name} {top}")).map(drop)
    }

    /// The page's with this at its end, and for a program that is not static the libraries that it is linked with.
    pub(super) fn write_containerfile(&self, end: &str) -> Result<()> {
        let mut text = self.block("dockerfile")?;
        let linked = Command::new("ldd").arg(binary()).output()?;
        let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
        for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
            let to = self.in_context("libraries").join(library.trim_start_matches('/'));
            fs::create_dir_all(to.parent().context("no directory")?)?;
            fs::copy(library, to)?;
        }
        if self.in_context("libraries").exists() {
            text += "COPY libraries /\n";
        }
        Ok(fs::write(self.in_context("Containerfile"), text + end)?)
    }

    /// Has the unit done what it does at its start, and again whenever it has ended. By a loop it is a process.
    pub(super) fn start(&self, line: &str) -> Result<Option<Process>> {
        let Place::Host(host) = &self.place else {
            fs::write(self.file(UNIT), self.unit()?)?;
            self.succeed("systemctl daemon-reload")?;
            return self.succeed(line).map(|_| None);
        };
        let (prepare, start) = (self.setting("ExecStartPre")?, self.setting("ExecStart")?);
        println!("# {start}");
        let script = format!("while [ ! -e stopped ]; do {prepare}; {start}; echo it has ended: $?; sleep 0.1; done");
        let log = fs::File::create(self.in_context("log"))?;
        let mut command = host.command(&self.context, "bash");
        command.args(["-c", &script]).stdout(log.try_clone()?).stderr(log);
        Process::spawn("the unit of the page", command).map(Some)
    }

    /// What the unit has said.
    pub(super) fn log(&self) -> String {
        match &self.place {
            Place::Host(_) => fs::read_to_string(self.in_context("log")).unwrap_or_default(),
            Place::Machine(machine) => {
                machine.output(&["journalctl", "--no-pager", "--unit", "pgvrrp"]).unwrap_or_default()
            }
        }
    }

    pub(super) fn inspect(&self, what: &str) -> Result<String> {
        Ok(self.succeed(&format!("podman inspect --format '{{{{.{what}}}}}' pgvrrp"))?.trim().to_owned())
    }

    pub(super) fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.succeed("podman exec pgvrrp pgvrrp status --json")?)?)
    }
}

pub(super) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// A field of /proc/PID/status.
pub(super) fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}

/// Whether limits may be raised here.
fn has_sys_resource() -> Result<bool> {
    const SYS_RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status")?;
    Ok(u64::from_str_radix(field(&status, "CapEff:"), 16)? & SYS_RESOURCE != 0)
}

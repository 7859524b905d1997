//! The daemon in a container, as `docs/CONTAINERS.md` has it: image, unit and commands are read from there and run with podman on
//! a node of a cluster. What systemd does by the unit, a loop does.
//!
//! podman has files of its own there, which go with the scenario, and makes no control groups.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::{Config, Daemon, Launch};
use lab::process::Process;
use lab::{Host, Node, Options, Time, prerequisites};
use serde_json::Value;

use crate::documented::pages::{Page, pages};
use crate::stage::{Stage, binary, play_with};

const SECOND: Duration = Duration::from_secs(1);

/// Makes what the host has for itself. $1: an empty directory, $2: podman's files, if this machine has none, $3: the directory of
/// PostgreSQL's socket.
const SET_UP: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs scratch "$1"
for dir in etc usr var; do
    over="/$dir"
    [ ! -d "$2/$dir" ] || over="$2/$dir:$over"
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
limit() { sed -n "s/^Max $1 *\\([^ ]*\\) *\\([^ ]*\\).*/\\1:\\2/p" /proc/self/limits | sed 's/unlimited/-1/g'; }
cat > /etc/containers/containers.conf <<END
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=$(limit 'open files')", "nproc=$(limit processes)"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
END
exec sleep 600
"#;

/// What root may not set everywhere: the rest of a line's words go with it.
const WISHES: [&str; 3] = ["--ulimit rtprio=10", "--ulimit memlock=-1", "--oom-score-adj -900"];

/// CAP_NET_ADMIN and CAP_NET_RAW, as /proc says it.
const BOTH: &str = "0000000000003000";

/// A host with podman.
struct Engine<'a> {
    stage: &'a Stage<'a>,
    host: Host,
    page: Page,
    /// Where the image is made.
    context: PathBuf,
}

impl<'a> Engine<'a> {
    fn set_up(stage: &'a Stage<'a>) -> Result<Self> {
        let dir = stage.lab.dir().join("container");
        let (scratch, context) = (dir.join("scratch"), dir.join("context"));
        for dir in [&scratch, &context] {
            fs::create_dir_all(dir)?;
        }
        let podman = prerequisites::podman()?.unwrap_or_default();
        let socket = stage.lab.database(Node::Db1).socket_dir();
        let args = [scratch.as_os_str(), podman.as_os_str(), socket.as_os_str()];
        let host = Host::set_up(stage.lab.namespace(Node::Db1), SET_UP, &args)?;
        let page = pages().into_iter().find(|page| page.name == "docs/CONTAINERS.md").context("no such page")?;
        Ok(Self { stage, host, page, context })
    }

    fn block(&self, language: &str) -> Result<String> {
        let blocks = self.page.blocks();
        let block = blocks.into_iter().find(|block| block.language == language);
        Ok(block.with_context(|| format!("the page has no block of {language}"))?.text)
    }

    /// What is typed on the page, in its order.
    fn typed(&self) -> Vec<String> {
        let blocks = self.page.blocks().into_iter().filter(|block| block.language == "console");
        blocks.flat_map(|block| block.text.lines().filter_map(typed).collect::<Vec<_>>()).collect()
    }

    /// A setting of the unit, on one line.
    fn unit(&self, key: &str) -> Result<String> {
        let unit = self.block("ini")?.replace("\\\n", " ");
        let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        let mut line = line.with_context(|| format!("the unit has no {key}"))?.to_owned();
        if !has_sys_resource()? {
            WISHES.iter().for_each(|wish| line = line.replace(wish, ""));
        }
        Ok(line)
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = self.host.command(&self.context, "timeout");
        command.args(["--kill-after=5", "60", "bash", "-c", script]);
        command
    }

    fn run(&self, line: &str) -> Result<Output> {
        let output = self.shell(line).output().context("cannot run nsenter (util-linux)")?;
        println!("# {line}\n{}", said(&output));
        Ok(output)
    }

    /// The same of what has to succeed. Returns what it printed.
    fn succeed(&self, line: &str) -> Result<String> {
        let output = self.run(line)?;
        ensure!(output.status.success(), "{line}: {}: {}", output.status, said(&output));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The tarball that the page unpacks.
    fn make_tarball(&self, name: &str) -> Result<()> {
        let top = name.strip_suffix(".tar.gz").context("it is no tarball")?;
        let bin = self.context.join(top).join("bin");
        fs::create_dir_all(&bin)?;
        fs::copy(binary(), bin.join("pgvrrp"))?;
        self.succeed(&format!("tar --create --gzip --file {name} {top}")).map(drop)
    }

    /// The page's, and for a program that is not static the libraries that it is linked with.
    fn write_containerfile(&self) -> Result<()> {
        let mut text = self.block("dockerfile")?;
        let linked = Command::new("ldd").arg(binary()).output()?;
        let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
        for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
            let to = self.context.join("libraries").join(library.trim_start_matches('/'));
            fs::create_dir_all(to.parent().context("no directory")?)?;
            fs::copy(library, to)?;
        }
        if self.context.join("libraries").exists() {
            text += "COPY libraries /\n";
        }
        Ok(fs::write(self.context.join("Containerfile"), text)?)
    }

    /// As systemd would: again whenever it has ended, until it is stopped.
    fn supervise(&self) -> Result<Process> {
        let (prepare, start) = (self.unit("ExecStartPre")?, self.unit("ExecStart")?);
        println!("# {start}");
        let script = format!("while [ ! -e stopped ]; do {prepare}; {start}; echo it has ended: $?; sleep 0.1; done");
        let mut command = self.host.command(&self.context, "bash");
        let log = fs::File::create(self.context.join("log"))?;
        command.args(["-c", &script]).stdout(log.try_clone()?).stderr(log);
        Process::spawn("the unit of the page", command)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.context.join("log")).unwrap_or_default()
    }

    fn inspect(&self, what: &str) -> Result<String> {
        Ok(self.succeed(&format!("podman inspect --format '{{{{.{what}}}}}' pgvrrp"))?.trim().to_owned())
    }

    fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.succeed("podman exec pgvrrp pgvrrp status --json")?)?)
    }
}

fn typed(line: &str) -> Option<String> {
    line.strip_prefix("# ").map(str::to_owned)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// A field of /proc/PID/status.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}

/// Whether limits may be raised here.
fn has_sys_resource() -> Result<bool> {
    const SYS_RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status")?;
    Ok(u64::from_str_radix(field(&status, "CapEff:"), 16)? & SYS_RESOURCE != 0)
}

/// Types what is on the page.
fn play_page(engine: &Engine<'_>) -> Result<Process> {
    let (stage, mut unit) = (engine.stage, None);
    let mut before = None;
    for line in engine.typed() {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["systemctl", "daemon-reload"] => {}
            ["systemctl", "enable", ..] => {
                let mut config = Config::reference(stage.lab, Node::Db1);
                config.remove("", "runtime_dir").remove("postgres", "connection");
                fs::write(engine.host.file("/etc/pgvrrp/pgvrrp.toml"), config.render())?;
                unit = Some(engine.supervise()?);
                stage.wait_vip(Node::Db1, 10 * SECOND)?;
                stage.probes.borrow_mut().add_hasty_client()?;
                let sessions = stage.probes.borrow_mut().open_sessions(5)?;
                before = Some((stage.last_holding(Node::Db1)?, Time::now(), sessions, engine.inspect("Image")?));
            }
            ["tar", "--extract", "--file", name, ..] => {
                engine.make_tarball(name)?;
                engine.succeed(&line)?;
            }
            ["podman", "build", ..] => {
                engine.write_containerfile()?;
                if unit.is_some() {
                    let file = engine.context.join("Containerfile");
                    fs::write(&file, fs::read_to_string(&file)? + "LABEL version=next\n")?;
                }
                engine.succeed(&line)?;
            }
            [.., "status"] => {
                let text = engine.succeed(&line)?;
                ensure!(text.contains("10.0.20.155/32: HERE"), "{text}");
            }
            [.., "doctor"] => doctor(&engine.succeed(&line)?)?,
            [.., "handover"] => {
                let text = engine.succeed(&line)?;
                ensure!(text.starts_with("the daemon has handed over to the next one within"), "{text}");
                ensure!(text.contains("10.0.20.155 HERE"), "{text}");
                let (holding, since, sessions, image) = before.as_ref().context("it has not been started")?;
                stage.calm(4 * SECOND)?;
                stage.nobody_noticed(holding, *since, sessions)?;
                ensure!(engine.inspect("Image")? != *image, "it is the former image");
                before = None;
            }
            _ => drop(engine.succeed(&line)?),
        }
    }
    ensure!(before.is_none(), "the page has no handover");
    unit.context("the page starts nothing")
}

/// What it says of the daemon that runs beside it, and that nothing is wrong.
fn doctor(text: &str) -> Result<()> {
    for words in [
        "(process 1) has CAP_NET_ADMIN and CAP_NET_RAW",
        "primary, connected",
        "daemon: runs (process 1)",
        "not to be seen from inside a container",
    ] {
        ensure!(text.contains(words), "{words:?} is not there: {text}");
    }
    ensure!(!text.contains("\nproblem"), "{text}");
    Ok(())
}

/// It has nothing that the page does not give it.
fn confined(engine: &Engine<'_>) -> Result<()> {
    let status = engine.host.file(&format!("/proc/{}/status", engine.inspect("State.Pid")?));
    let status = fs::read_to_string(status)?;
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        ensure!(field(&status, set) == BOTH, "{status}");
    }
    for (name, value) in [("Uid:", "899\t899\t899\t899"), ("NoNewPrivs:", "1"), ("Seccomp:", "2")] {
        ensure!(field(&status, name) == value, "{status}");
    }
    Ok(())
}

/// The next container goes on with what a killed one has left.
fn killed(engine: &Engine<'_>) -> Result<()> {
    let stage = engine.stage;
    let (holding, since) = (stage.last_holding(Node::Db1)?, Time::now());
    let sessions = stage.probes.borrow_mut().open_sessions(5)?;
    engine.succeed("podman kill --signal KILL pgvrrp")?;
    stage.calm(4 * SECOND)?;
    stage.nobody_noticed(&holding, since, &sessions)?;
    let uptime = engine.status()?["uptime"].as_f64().context("no uptime")?;
    ensure!(uptime < 4.5, "it was not killed: up {uptime} s");
    Ok(())
}

/// Whoever else serves this VIP on this host, in a container or not.
fn alone(engine: &Engine<'_>) -> Result<()> {
    let stage = engine.stage;
    let holding = stage.last_holding(Node::Db1)?;
    let again = engine.unit("ExecStart")?.replace("--name pgvrrp --replace", "--name second");
    let elsewhere = again.replace("/run/pgvrrp:", "/run/second:");
    fs::create_dir(engine.host.file("/run/second"))?;
    std::os::unix::fs::chown(engine.host.file("/run/second"), Some(899), Some(899))?;
    for (line, words) in [
        (&again, "another pgvrrp runs on this host: it holds /run/pgvrrp/lock"),
        (&elsewhere, "another pgvrrp runs on this host (outside this container), with another runtime_dir"),
    ] {
        let output = engine.run(line)?;
        ensure!(
            output.status.code() == Some(75) && said(&output).contains(words),
            "{}: {}",
            output.status,
            said(&output)
        );
    }
    // root's own.
    let launch = Launch { name: "of-the-host".to_owned(), ..Launch::reference(stage.lab, Node::Db1) };
    let own = Daemon::start(stage.lab, Node::Db1, &binary(), &launch)?;
    let status = own.process().wait(Duration::from_secs(5))?;
    let words = "with another runtime_dir, and serves 10.0.20.155 already";
    ensure!(status.code() == Some(75) && own.log().contains(words), "{status}: {}", own.log());
    ensure!(stage.last_holding(Node::Db1)?.from == holding.from, "the VIP left");
    Ok(())
}

/// A postmaster that has no number in the container is never taken for the former one.
fn postmaster_unknown(engine: &Engine<'_>) -> Result<()> {
    let (stage, database) = (engine.stage, engine.stage.lab.database(Node::Db1));
    database.sql("ALTER ROLE pgvrrp CONNECTION LIMIT 0")?;
    database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'pgvrrp'")?;
    stage.lab.wait_until("the VIP to leave", SECOND, || Ok(stage.holders().is_empty()))?;
    let why = engine.status()?["vips"][0]["why"].to_string();
    ensure!(why.contains("53300"), "{why}");
    database.sql("ALTER ROLE pgvrrp CONNECTION LIMIT -1")?;
    stage.wait_vip(Node::Db1, 5 * SECOND)
}

fn stopped(engine: &Engine<'_>, unit: &Process) -> Result<()> {
    let stage = engine.stage;
    fs::write(engine.context.join("stopped"), "")?;
    let asked = Time::now();
    engine.succeed(&engine.unit("ExecStop")?)?;
    let left = stage.last_holding(Node::Db1)?.to.context("still there")?.millis_after(asked);
    println!("the VIP left {left:.0} ms after it was asked for");
    ensure!(left < 1500.0, "it took {left} ms");
    unit.wait(5 * SECOND)?;
    ensure!(engine.log().trim_end().ends_with("it has ended: 0"), "it did not end by itself");
    ensure!(stage.lab.etcd().get_prefix("/pgvrrp/")?.is_empty(), "its lock is still there");
    // And it was the engine's container that had it: the other node goes on.
    stage.lab.switchover(Node::Db2)?;
    stage.wait_vip(Node::Db2, 10 * SECOND)
}

#[test]
fn in_a_container_as_the_page_has_it() {
    play_with(Options::default(), |stage| {
        stage.start_daemon(Node::Db2)?;
        let engine = Engine::set_up(stage)?;
        let played = play_page(&engine).and_then(|unit| {
            confined(&engine)?;
            killed(&engine)?;
            alone(&engine)?;
            postmaster_unknown(&engine)?;
            stopped(&engine, &unit)
        });
        played.map_err(|error| error.context(engine.log()))
    });
}

//! A router and a stranger on a wire, each in a network namespace.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio, id};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;

/// For what takes a second or so where nothing is wrong.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 155);
const ROUTER: usize = 0;
const STRANGER: usize = 1;
const STRANGERS_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 11);
const VRID: u8 = 155;
/// In hundredths of a second: the shortest there is.
const INTERVAL: u8 = 1;

/// A user that is nobody's.
pub(crate) const NOBODY: u32 = 65534;

/// All of it goes with the last file and process.
pub(crate) struct Stage {
    hosts: Vec<File>,
    dir: TempDir,
}

/// A daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
}

/// Somebody who takes the VIP and lets it go, over and over. Ends when dropped.
pub(crate) struct Flapper {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let stage = Self { hosts: vec![namespace(), namespace()], dir: tempfile::tempdir().unwrap() };
        // Of those that hooks run as.
        fs::set_permissions(stage.dir.path(), Permissions::from_mode(0o755)).unwrap();
        let there = format!("/proc/{}/fd/{}", id(), stage.hosts[STRANGER].as_raw_fd());
        stage.ip(ROUTER, &format!("link add eth0 type veth peer name eth0 netns {there}"));
        for host in [ROUTER, STRANGER] {
            stage.ip(host, "link set lo up");
            stage.ip(host, "link set eth0 up");
            stage.ip(host, &format!("address add 10.0.20.1{host}/24 dev eth0"));
        }
        stage
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir().join("pgvrrp.toml")
    }

    /// Writes the configuration of one VIP, with what a test has besides.
    pub(crate) fn configure(&self, tables: &str) {
        let text = format!(
            "node = \"lb1\"\ninterface = \"eth0\"\nruntime_dir = \"{}\"\n[http]\nlisten = \"127.0.0.1:9155\"\n{tables}\n\
             [[vip]]\nname = \"web\"\naddress = \"{VIP}\"\nvirtual_router_id = {VRID}\nfollows = \"none\"\n\
             advertisement_interval = \"{INTERVAL}0ms\"\n",
            self.dir().join("run").display()
        );
        fs::write(self.config(), text).unwrap();
    }

    /// Starts the daemon: behind `wrapper`, if there is one, with these variables and this standard error.
    pub(crate) fn start(&self, wrapper: &[&str], variables: &[(&str, String)], stderr: impl Into<Stdio>) -> Daemon {
        let binary = env!("CARGO_BIN_EXE_pgvrrp");
        let mut command = match wrapper.split_first() {
            None => Command::new(binary),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
        };
        for name in ["JOURNAL_STREAM", "NO_COLOR", "PGVRRP_LOG_LEVEL", "PGVRRP_LOG_FORMAT"] {
            command.env_remove(name);
        }
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.args(["run", "--config"]).arg(self.config()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        Daemon { child: self.on(ROUTER, || command.spawn().unwrap()) }
    }

    /// Starts it with standard error in a file, which is returned, too.
    pub(crate) fn start_logging(&self) -> (Daemon, PathBuf) {
        let log = self.dir().join("log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        (self.start(&[], &[], file), log)
    }

    /// Runs `pgvrrp` with this configuration: its exit code, and what it said.
    pub(crate) fn pgvrrp(&self, wrapper: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
        let words = [wrapper, &[env!("CARGO_BIN_EXE_pgvrrp")], arguments].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("--config").arg(self.config());
        let Output { status, stdout, stderr } = self.on(ROUTER, || command.output().unwrap());
        (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
    }

    /// What `pgvrrp status --json` says of the VIP; null while nobody answers.
    pub(crate) fn vip(&self) -> Value {
        let (_, text) = self.pgvrrp(&[], &["status", "--json"]);
        serde_json::from_str::<Value>(&text).unwrap_or_default()["vips"][0].clone()
    }

    /// The value of a series.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.on(ROUTER, || {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, 9155)), SOON).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_default()
    }

    pub(crate) fn holds(&self) -> bool {
        self.ip(ROUTER, "-o address show").contains(&format!(" {VIP}/"))
    }

    pub(crate) fn wait_until_held(&self) {
        wait_until("the VIP is here", || self.holds());
    }

    /// On the router.
    pub(crate) fn router_ip(&self, arguments: &str) -> String {
        self.ip(ROUTER, arguments)
    }

    /// Somebody on the wire advertises priority 255, says goodbye, and so on.
    pub(crate) fn flap(&self) -> Flapper {
        let end = Arc::new(AtomicBool::new(false));
        let socket = self.on(STRANGER, || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
            socket.set_multicast_ttl_v4(255).unwrap();
            socket.set_multicast_if_v4(&STRANGERS_ADDRESS).unwrap();
            socket
        });
        let seen = end.clone();
        let thread = thread::spawn(move || {
            let group = SocketAddr::from((Ipv4Addr::new(224, 0, 0, 18), 0)).into();
            while !seen.load(Ordering::Relaxed) {
                for priority in [255, 0] {
                    let _ = socket.send_to(&advert(priority), &group);
                    thread::sleep(Duration::from_millis(15));
                }
            }
        });
        Flapper { end, thread: Some(thread) }
    }

    fn ip(&self, host: usize, arguments: &str) -> String {
        let output = self.on(host, || Command::new("ip").args(arguments.split_whitespace()).output().expect("run ip"));
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn on<T: Send>(&self, host: usize, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                setns(&self.hosts[host], CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Daemon {
    /// SIGTERM, and its end.
    pub(crate) fn stop(mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Flapper {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// VRRPv3 for the VIP, with RFC 9568's checksum: over the message alone.
fn advert(priority: u8) -> [u8; 12] {
    let mut message = [0x31, VRID, priority, 1, 0, INTERVAL, 0, 0, 0, 0, 0, 0];
    message[8..].copy_from_slice(&VIP.octets());
    let sum: u32 = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    message[6..8].copy_from_slice(&(!u16::try_from(folded).unwrap()).to_be_bytes());
    message
}

fn namespace() -> File {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace (needs root)");
        File::open("/proc/thread-self/ns/net").unwrap()
    });
    thread.join().unwrap()
}

/// Writes an executable file.
pub(crate) fn script(path: &Path, text: &str) -> String {
    let mut whole = "#!/bin/sh\n".to_owned();
    writeln!(whole, "{text}").unwrap();
    fs::write(path, whole).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_for(SOON, what, condition);
}

#[allow(clippy::disallowed_methods, reason = "a test has to measure how long it waits")]
pub(crate) fn wait_for(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

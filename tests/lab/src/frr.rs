//! FRR's vrrpd as a neighbour on the segment: a router of a third make.
//!
//! It never binds an address. For each virtual router and family it wants a macvlan with the virtual router's MAC and
//! the addresses on it, made by somebody else, and lets traffic through while it is the Active router: it has zebra
//! switch the kernel's `protodown`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::clock::Time;
use crate::netns::Namespace;
use crate::prerequisites::set_libraries;
use crate::process::Process;
use crate::router::VirtualRouter;

/// The group of its terminals in Debian's package: it must exist and have the daemons' user in it.
const TERMINAL_GROUP: &str = "frrvty";

/// Starts a program in a mount namespace of its own, in which that group exists, and the directories that FRR makes
/// wherever it runs are gone with it.
const IN_PRIVATE: &str = "mount --bind \"$1\" /etc/group && mount -t tmpfs none /run && mount -t tmpfs none /var/tmp \
    && shift && exec \"$@\"";

/// What it says of an advertisement that it does not take.
const COMPLAINT: &str = "Datagram invalid";

/// Each virtual router hears what is for the others, and says so: that is none.
const FOR_ANOTHER: &str = "does not match our instance";

/// An FRR that was started: zebra and vrrpd. Both are killed when it is dropped, and the macvlans go.
#[derive(Debug)]
pub struct Frr {
    // In the order in which they must go.
    vrrpd: Process,
    zebra: Process,
    macvlans: Macvlans,
    dir: PathBuf,
}

impl Frr {
    /// Makes the macvlans and starts `zebra` and `vrrpd` from the directory `programs`, with their files below `dir`.
    /// Returns when every virtual router takes part.
    ///
    /// # Errors
    /// When a part cannot be started or is not ready within 10 s, or FRR cannot do what is asked.
    pub fn start(namespace: &Namespace, dir: &Path, programs: &Path, routers: &[VirtualRouter]) -> Result<Self> {
        ensure!(routers.iter().all(|router| router.unicast_peers.is_empty()), "FRR has no unicast");
        let dir = dir.join("frr");
        fs::create_dir_all(&dir)?;
        for socket in ["zserv.api", "zebra.vty", "vrrpd.vty"] {
            // Of one that was killed: it would look as if the new one were ready.
            let _ = fs::remove_file(dir.join(socket));
        }
        let groups = fs::read_to_string("/etc/group")?;
        fs::write(dir.join("group"), format!("{groups}{TERMINAL_GROUP}:x:65533:root\n"))?;
        fs::write(dir.join("zebra.conf"), "log stdout\n")?;
        fs::write(dir.join("vrrpd.conf"), config_of(routers))?;
        let macvlans = Macvlans::make(namespace, routers)?;
        let zebra = launch(namespace, &dir, programs, "zebra")?;
        let ready = wait_for("zebra", || dir.join("zserv.api").exists().then_some(()));
        ready.with_context(|| read(&dir.join("zebra.log")))?;
        let vrrpd = launch(namespace, &dir, programs, "vrrpd")?;
        let frr = Self { vrrpd, zebra, macvlans, dir };
        let wanted: usize = routers.iter().map(|router| router.families().len()).sum();
        let ready = wait_for("vrrpd", || frr.states().ok().filter(|states| started(states) == wanted));
        ready.with_context(|| frr.log())?;
        Ok(frr)
    }

    /// What `show vrrp json` says: one entry per virtual router.
    ///
    /// # Errors
    /// When vrrpd does not answer.
    pub fn states(&self) -> Result<Value> {
        let answer = self.tell(&["show vrrp json"])?;
        serde_json::from_str(&answer).context("show vrrp json is not JSON")
    }

    /// From now on it writes of every advertisement, and why it does not take one. At first it does not, which is faster.
    ///
    /// # Errors
    /// When vrrpd does not answer.
    pub fn explain(&self) -> Result<()> {
        self.tell(&["enable", "debug vrrp packets", "debug vrrp protocol"]).map(drop)
    }

    /// Gives commands to vrrpd, as `vtysh` does. Returns the last answer.
    fn tell(&self, commands: &[&str]) -> Result<String> {
        let mut terminal = UnixStream::connect(self.dir.join("vrrpd.vty"))?;
        terminal.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut answer = Vec::new();
        for command in commands {
            terminal.write_all(format!("{command}\0").as_bytes())?;
            answer.clear();
            // An answer ends in three zeros and a status.
            while !matches!(answer.as_slice(), [.., 0, 0, 0, _]) {
                let mut buffer = [0; 4096];
                let length = terminal.read(&mut buffer)?;
                if length == 0 {
                    bail!("vrrpd hung up at {command:?}");
                }
                answer.extend_from_slice(&buffer[..length]);
            }
        }
        answer.truncate(answer.len().saturating_sub(4));
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Everything that vrrpd has written.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.dir.join("vrrpd.log"))
    }

    /// What vrrpd has said of advertisements that it did not take, if it was told to [explain itself](Self::explain).
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let is_complaint = |line: &&str| line.contains(COMPLAINT) && !line.contains(FOR_ANOTHER);
        self.log().lines().filter(is_complaint).map(ToOwned::to_owned).collect()
    }

    /// SIGKILL to both. The macvlans stay as they are.
    pub fn kill(&self) {
        self.vrrpd.kill();
        self.zebra.kill();
    }

    /// SIGTERM to vrrpd, which says goodbye, and then to zebra.
    ///
    /// # Errors
    /// When one of them has ended already, or does not end with exit code 0 within 5 s.
    pub fn stop(&self) -> Result<()> {
        self.vrrpd.terminate(Duration::from_secs(5))?;
        self.zebra.terminate(Duration::from_secs(5)).map(drop)
    }

    /// The macvlans, which another daemon must not find.
    #[must_use]
    pub fn interfaces(&self) -> &[String] {
        &self.macvlans.names
    }
}

/// The interfaces made for one FRR.
#[derive(Debug)]
struct Macvlans {
    namespace: Namespace,
    names: Vec<String>,
}

impl Macvlans {
    fn make(namespace: &Namespace, routers: &[VirtualRouter]) -> Result<Self> {
        let mut made = Self { namespace: namespace.clone(), names: Vec::new() };
        for router in routers {
            for addresses in router.families() {
                let is_v6 = addresses.iter().any(IpAddr::is_ipv6);
                made.add(router, is_v6, &addresses)?;
            }
        }
        Ok(made)
    }

    fn add(&mut self, router: &VirtualRouter, is_v6: bool, addresses: &[IpAddr]) -> Result<()> {
        let (family, parent) = (if is_v6 { 6 } else { 4 }, router.interface);
        let name = format!("v{family}-{}", router.id);
        // Of one that was killed, and that nobody dropped.
        let _ = self.namespace.ip(&["link", "delete", &name]);
        let mac = format!("00:00:5e:00:0{}:{:02x}", if is_v6 { 2 } else { 1 }, router.id);
        self.namespace.ip(&["link", "add", &name, "link", parent, "type", "macvlan", "mode", "bridge"])?;
        self.names.push(name.clone());
        // Down until vrrpd decides: it would otherwise have the addresses from the start.
        let mut lines =
            format!("link set {name} addrgenmode none\nlink set {name} address {mac}\nlink set {name} protodown on\n");
        for address in addresses {
            let _ = match address {
                IpAddr::V4(address) => writeln!(lines, "addr add {address}/24 dev {name}"),
                IpAddr::V6(address) => writeln!(lines, "addr add {address}/64 dev {name} nodad"),
            };
        }
        let _ = writeln!(lines, "link set {name} up");
        self.namespace.ip_batch(&lines)
    }
}

impl Drop for Macvlans {
    fn drop(&mut self) {
        for name in &self.names {
            // Fails when the namespace is gone, and they with it.
            let _ = self.namespace.ip(&["link", "delete", name]);
        }
    }
}

fn launch(namespace: &Namespace, dir: &Path, programs: &Path, name: &str) -> Result<Process> {
    let program = programs.join(name);
    let file = |suffix: &str| dir.join(format!("{name}.{suffix}"));
    let mut command: Command = namespace.command("unshare");
    command.args(["--mount", "sh", "-c", IN_PRIVATE, "sh"]).arg(dir.join("group")).arg(&program);
    // No port: nobody asks by TCP.
    command.args(["-u", "root", "-g", "root", "-P", "0", "--vty_socket"]).arg(dir).arg("-i").arg(file("pid"));
    command.arg("-z").arg(dir.join("zserv.api")).arg("-f").arg(file("conf"));
    set_libraries(&mut command, &program)?;
    let log = File::options().create(true).append(true).open(file("log"))?;
    command.stdout(log.try_clone()?).stderr(log);
    Process::spawn(&format!("{name} in {}", namespace.name()), command)
}

/// How many virtual routers take part, each family for itself.
fn started(states: &Value) -> usize {
    let families = states.as_array().into_iter().flatten().flat_map(|router| [&router["v4"], &router["v6"]]);
    families.filter(|family| matches!(family["status"].as_str(), Some("Master" | "Backup"))).count()
}

fn config_of(routers: &[VirtualRouter]) -> String {
    let mut text = String::from("log stdout debugging\n");
    for router in routers {
        let VirtualRouter { id, priority, interface, .. } = router;
        let _ = write!(
            text,
            "interface {interface}\n vrrp {id} version 3\n vrrp {id} priority {priority}\n \
             vrrp {id} advertisement-interval {}\n",
            router.interval.as_millis()
        );
        if !router.preempt {
            let _ = writeln!(text, " no vrrp {id} preempt");
        }
        for address in &router.addresses {
            let family = if address.is_ipv6() { "ipv6" } else { "ip" };
            let _ = writeln!(text, " vrrp {id} {family} {address}");
        }
    }
    text
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    const LIMIT: Duration = Duration::from_secs(10);
    let start = Time::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if start.elapsed() > LIMIT {
            bail!("{what} is not ready after {LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

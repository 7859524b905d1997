//! Keepalived, the incumbent, as a neighbour on the segment: a router of another kind that wants the same VIP.

use std::fmt::Write;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::cluster::Lab;
use crate::netns::Namespace;
use crate::network::{INTERFACE, Node, VIP};
use crate::prerequisites::set_libraries;
use crate::process::{self, Process};
use crate::router::VirtualRouter;

/// What it says of an advertisement that it does not take, whatever comes before and after it.
const COMPLAINTS: [&str; 12] = [
    "Invalid VRRPv",
    "Invalid packet type",
    "ip address associated with VRID",
    "expected ",
    "vrrp packet too",
    "VRRP packet too",
    "invalid TTL/HL",
    "wrong version",
    "unexpected ip number count",
    "ip_tot_len mismatch",
    "interval mismatch",
    "icast packet but received",
];

/// A Keepalived that was started. It and its child are killed when this is dropped; as everything else in the lab's
/// namespaces, they do not outlive the test program either.
#[derive(Debug)]
pub struct Keepalived {
    log_path: PathBuf,
    process: Process,
}

impl Keepalived {
    /// Starts it on a node, to compete for the VIP on the reference setup's virtual router by VRRP version 3 with one
    /// advertisement a second. Returns at once; a Keepalived that hears nobody takes the VIP after three and a bit.
    ///
    /// # Errors
    /// When its files cannot be written or the program cannot be started.
    pub fn start(lab: &Lab, node: Node, priority: u8) -> Result<Self> {
        Self::start_with(lab, node, &config(priority))
    }

    /// Starts it with this configuration.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(lab: &Lab, node: Node, config: &str) -> Result<Self> {
        let dir = lab.dir().join(node.name());
        Self::start_in(lab.namespace(node), &dir, &lab.tools().keepalived, config)
    }

    /// Starts `program` in a network namespace, with its files in a directory. What another one has left there, which was
    /// killed, is no obstacle to it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_in(namespace: &Namespace, dir: &Path, program: &Path, config: &str) -> Result<Self> {
        let (config_path, log_path) = (dir.join("keepalived.conf"), dir.join("keepalived.log"));
        fs::write(&config_path, config).with_context(|| format!("cannot write {config_path:?}"))?;
        let log = File::options().create(true).append(true).open(&log_path)?;
        let mut command = namespace.command(program);
        // A machine without syslog would get its words on the console: a serial one stands still for that, with interrupts
        // off and everybody else on that processor.
        command.args(["--vrrp", "--dont-fork", "--log-console", "--no-syslog", "--log-detail"]);
        command.arg("--use-file").arg(&config_path);
        for (option, name) in [("--pid", "keepalived.pid"), ("--vrrp_pid", "keepalived-vrrp.pid")] {
            // It refuses to start beside the pid file of one that was killed, while that one's number is taken.
            let _ = fs::remove_file(dir.join(name));
            command.arg(option).arg(dir.join(name));
        }
        set_libraries(&mut command, program)?;
        command.stdout(log.try_clone()?).stderr(log);
        let process = Process::spawn(&format!("Keepalived in {}", namespace.name()), command)?;
        Ok(Self { log_path, process })
    }

    /// Everything that it has written to standard output and standard error.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log_path).unwrap_or_default()
    }

    /// What it has said of advertisements that it did not take.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let complaints = log.lines().filter(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint)));
        complaints.map(ToOwned::to_owned).collect()
    }

    /// SIGKILL to it and to its child, which does the work. What was bound stays bound.
    pub fn kill(&self) {
        // The child says goodbye in order if its parent goes first, and the parent starts another if the child does.
        let _ = self.process.signal(Signal::SIGSTOP);
        for child in process::children_of(self.process.pid()) {
            let _ = process::signal_pid(child, Signal::SIGKILL);
        }
        self.process.kill();
    }

    /// SIGTERM, and waits for its end, which takes it about a second: it says goodbye at the start of that.
    ///
    /// # Errors
    /// When it has ended already, or does not end with exit code 0 within 5 s.
    pub fn stop(&self) -> Result<()> {
        self.process.terminate(Duration::from_secs(5)).map(drop)
    }
}

impl Drop for Keepalived {
    /// Its child does the work, and can go on alone.
    fn drop(&mut self) {
        self.kill();
    }
}

fn config(priority: u8) -> String {
    format!(
        "global_defs {{
    vrrp_version 3
}}
vrrp_instance odoo {{
    interface {INTERFACE}
    state BACKUP
    virtual_router_id 155
    priority {priority}
    advert_int 1
    virtual_ipaddress {{
        {VIP}/32
    }}
}}
"
    )
}

/// A configuration with these virtual routers: one instance for each, and a second one for the other family if it has
/// addresses of both.
#[must_use]
pub fn config_of(routers: &[VirtualRouter]) -> String {
    let mut text = String::from("global_defs {\n    vrrp_version 3\n}\n");
    for router in routers {
        for addresses in router.families() {
            text += &instance(router, &addresses);
        }
    }
    text
}

fn instance(router: &VirtualRouter, addresses: &[IpAddr]) -> String {
    let VirtualRouter { id, priority, .. } = router;
    let is_v6 = addresses.iter().any(IpAddr::is_ipv6);
    let mut text = format!(
        "vrrp_instance v{id}_{} {{\n    interface {}\n    state BACKUP\n    virtual_router_id {id}\n    \
         priority {priority}\n    advert_int {}\n",
        if is_v6 { 6 } else { 4 },
        router.interface,
        router.interval.as_secs_f64(),
    );
    if !router.preempt {
        text += "    nopreempt\n";
    }
    let peers: Vec<_> = router.unicast_peers.iter().filter(|peer| peer.is_ipv6() == is_v6).collect();
    if !peers.is_empty() {
        // Otherwise it sends IPv6 with the kernel's hop limit of 64.
        text += "    unicast_ttl 255\n    unicast_peer {\n";
        for peer in peers {
            let _ = writeln!(text, "        {peer}");
        }
        text += "    }\n";
    }
    text += "    virtual_ipaddress {\n";
    for address in addresses {
        let _ = writeln!(text, "        {address}/{}", if is_v6 { 128 } else { 32 });
    }
    text + "    }\n}\n"
}

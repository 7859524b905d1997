//! Keepalived, the incumbent, as a neighbour on the segment: a router of another kind that wants the same VIP.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::cluster::Lab;
use crate::network::{INTERFACE, Node, VIP};
use crate::process::{self, Process};

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
        let (config_path, log_path) = (dir.join("keepalived.conf"), dir.join("keepalived.log"));
        fs::write(&config_path, config).with_context(|| format!("cannot write {config_path:?}"))?;
        let log = File::options().create(true).append(true).open(&log_path)?;
        let mut command = lab.namespace(node).command(&lab.tools().keepalived);
        command.args(["--vrrp", "--dont-fork", "--log-console", "--log-detail", "--use-file"]).arg(&config_path);
        command.arg("--pid").arg(dir.join("keepalived.pid")).arg("--vrrp_pid").arg(dir.join("keepalived-vrrp.pid"));
        if let Some(libraries) = lab.tools().keepalived_libraries()? {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command.stdout(log.try_clone()?).stderr(log);
        let process = Process::spawn(&format!("Keepalived on {node}"), command)?;
        Ok(Self { log_path, process })
    }

    /// Everything that it has written to standard output and standard error.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log_path).unwrap_or_default()
    }
}

impl Drop for Keepalived {
    /// Its child does the work, and can go on alone.
    fn drop(&mut self) {
        let children = process::children_of(self.process.pid());
        self.process.kill();
        for child in children {
            let _ = process::signal_pid(child, Signal::SIGKILL);
        }
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

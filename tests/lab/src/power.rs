//! A machine loses its power: from one moment to the next nothing leaves it, and nothing on it is left.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use nix::sys::signal::Signal;

use crate::clock::Time;
use crate::cluster::Lab;
use crate::network::{INTERFACE, Node};
use crate::process;

impl Lab {
    /// Takes the power from a database node: its cable first, so that not even the kernel's farewells (FIN, RST) are
    /// heard, then every process, then its addresses and sockets. Returns the moment of the first.
    ///
    /// # Errors
    /// When the cable cannot be pulled or something survives.
    pub fn power_off(&self, node: Node) -> Result<Time> {
        let namespace = self.namespace(node);
        // Looked up while everything still runs: what is between the cable and the kill must be short.
        let known = namespace.pids()?;
        // As the machine's init would be gone, too: Patroni must not see its child die, nor anybody restart anything.
        let kill = |pids: Vec<u32>| pids.into_iter().try_for_each(|pid| process::signal_pid(pid, Signal::SIGKILL));
        self.lan().ip(&["link", "set", node.name(), "down"])?;
        let at = Time::now();
        kill(known)?;
        // A process may have forked in between.
        loop {
            let pids: Vec<u32> = namespace.pids()?.into_iter().filter(|pid| process::is_alive(*pid)).collect();
            if pids.is_empty() {
                break;
            }
            if at.elapsed() > Duration::from_secs(5) {
                bail!("{} processes survive the loss of power on {node}", pids.len());
            }
            kill(pids)?;
            thread::sleep(Duration::from_millis(1));
        }
        self.database(node).kill_patroni();
        // What the dead left: sockets that would try to say goodbye again and again.
        namespace.command("ss").args(["--kill", "--tcp", "--all", "--no-header"]).output()?;
        namespace.ip(&["address", "flush", "dev", INTERFACE])?;
        Ok(at)
    }

    /// Gives it back: the machine is on the wire, with its own address and nothing running.
    ///
    /// # Errors
    /// When the network cannot be restored.
    pub fn power_on(&self, node: Node) -> Result<()> {
        self.namespace(node).ip(&["address", "replace", &format!("{}/24", node.ip()), "dev", INTERFACE])?;
        self.lan().ip(&["link", "set", node.name(), "up"]).map(drop)
    }
}

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
    /// Takes the power from a database node: everything stands still, its cable is pulled, so that not even the kernel's
    /// farewells (FIN, RST) are heard, and every process, its sockets and its addresses are gone. Returns the moment at
    /// which the cable was pulled.
    ///
    /// # Errors
    /// When the cable cannot be pulled or something survives.
    pub fn power_off(&self, node: Node) -> Result<Time> {
        let namespace = self.namespace(node);
        let signal = |pids: &[u32], signal| pids.iter().try_for_each(|pid| process::signal_pid(*pid, signal));
        let known = namespace.pids()?;
        // Nobody may see that the cable is gone, or that another has died, and still do something about it.
        signal(&known, Signal::SIGSTOP)?;
        self.lan().ip(&["link", "set", node.name(), "down"])?;
        let at = Time::now();
        signal(&known, Signal::SIGKILL)?;
        // A process may have forked in between.
        loop {
            let pids: Vec<u32> = namespace.pids()?.into_iter().filter(|pid| process::is_alive(*pid)).collect();
            if pids.is_empty() {
                break;
            }
            if at.elapsed() > Duration::from_secs(5) {
                bail!("{} processes survive the loss of power on {node}", pids.len());
            }
            signal(&pids, Signal::SIGKILL)?;
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

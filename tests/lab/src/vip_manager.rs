//! vip-manager, another incumbent: it binds the VIP where a key in etcd says so, and speaks no VRRP.
//!
//! Debian 12 has version 1.0, which knows the API of etcd 2 alone, and what is in etcd by the other API is not in that one.
//! So what Patroni says in its leader key is said there once more ([`Mirror`]): of a real vip-manager only the way to the
//! key is another one than with a newer version.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::cluster::Lab;
use crate::etcd::{CLIENT_PORT, EtcdClient, client_url};
use crate::http::{self, Request};
use crate::network::{INTERFACE, Node, VIP};
use crate::patroni::LEADER_KEY;
use crate::prerequisites::vip_manager;
use crate::process::Process;

/// How often the leader key is looked at.
const LOOKS: Duration = Duration::from_millis(10);

/// A vip-manager that was started. Killed when this is dropped.
#[derive(Debug)]
pub struct VipManager {
    process: Process,
}

impl VipManager {
    /// Starts it on a node, with the arguments that its unit gives it. Returns at once.
    ///
    /// # Errors
    /// When it is not there (see [`crate::prerequisites`]) or cannot be started.
    pub fn start(lab: &Lab, node: Node) -> Result<Self> {
        let log_path = lab.dir().join(node.name()).join("vip-manager.log");
        let log = File::options().create(true).append(true).open(&log_path)?;
        let mut command = lab.namespace(node).command(vip_manager()?);
        command.args([format!("--ip={VIP}"), "--netmask=32".to_owned(), format!("--interface={INTERFACE}")]);
        command.args([format!("--trigger-key={LEADER_KEY}"), format!("--trigger-value={node}")]);
        command.args(["--dcs-type=etcd".to_owned(), format!("--dcs-endpoints={}", client_url(Node::Dcs, false))]);
        command.stdout(log.try_clone()?).stderr(log);
        let process = Process::spawn(&format!("vip-manager on {node}"), command)?;
        Ok(Self { process })
    }

    /// SIGTERM, as systemd ends it. It does not know that signal: what it has bound stays bound.
    ///
    /// # Errors
    /// When it does not end by it within 5 s, or in order, which would make the documentation wrong.
    pub fn stop(&self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.wait(Duration::from_secs(5))?;
        ensure!(!status.success(), "it knows SIGTERM");
        Ok(())
    }
}

/// Says by the API of etcd 2 whatever Patroni's leader key says. Ends when dropped.
#[derive(Debug)]
pub struct Mirror {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    /// For a lab whose etcd has that API ([`crate::Options::etcd_v2`]).
    ///
    /// # Errors
    /// When etcd does not take it.
    pub fn start(lab: &Lab) -> Result<Self> {
        let (etcd, end) = (lab.etcd().clone(), Arc::new(AtomicBool::new(false)));
        let mut said = None;
        say(&etcd, &mut said)?;
        let is_over = end.clone();
        let thread = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                // A moment without etcd is one without news.
                let _ = say(&etcd, &mut said);
                thread::sleep(LOOKS);
            }
        });
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// `said` is the leader, if there is one, that was said last; itself `None` before the first time.
fn say(etcd: &EtcdClient, said: &mut Option<Option<String>>) -> Result<()> {
    let leader = etcd.get(LEADER_KEY)?.map(|key| key.value);
    if said.as_ref() == Some(&leader) {
        return Ok(());
    }
    let (method, path) = match &leader {
        Some(name) => ("PUT", format!("/v2/keys{LEADER_KEY}?value={name}")),
        None => ("DELETE", format!("/v2/keys{LEADER_KEY}")),
    };
    let server = SocketAddr::from((Node::Dcs.ip(), CLIENT_PORT));
    let request = Request { method, ..Request::get(&path) };
    let answer = etcd.namespace().run(|| http::request(server, request, Duration::from_secs(1)))??;
    // 404: it is not there to be deleted.
    let is_done = matches!((method, answer.status), (_, 200 | 201) | ("DELETE", 404));
    ensure!(is_done, "etcd answered {} to {method} {path}: {}", answer.status, answer.body);
    *said = Some(leader);
    Ok(())
}

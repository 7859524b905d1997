//! Eyes on a running lab. All probes write into one [`History`], stamped by one clock.

mod address;
mod clients;
mod frames;
mod keys;
mod role;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::unistd::gettid;
use tokio::runtime::{Builder, Runtime};

use crate::cluster::Lab;
use crate::history::History;
use crate::netns::Namespace;
use crate::network::{Node, VIP};
use crate::process;

pub use keys::OWN_PREFIX;

/// Tells every thread of a group of probes to end.
#[derive(Clone, Debug, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Running probes. They end when this is dropped, or by [`Self::stop`].
#[derive(Debug)]
pub struct Probes {
    client: Namespace,
    target: Ipv4Addr,
    history: History,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
    sessions: usize,
}

impl Probes {
    /// Starts the watchers: addresses on every node, the role of each PostgreSQL, the leader key and the daemon's keys,
    /// ARP and VRRP on the wire. None of them sends anything to the VIP.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn watch(lab: &Lab) -> Result<Self> {
        use address::AddressProbe;
        use frames::FrameProbe;
        use keys::KeyProbe;
        use role::RoleProbe;

        let history = History::new();
        let mut probes = Self {
            client: lab.namespace(Node::Client).clone(),
            target: VIP,
            history: history.clone(),
            stop: Stop::default(),
            threads: Vec::new(),
            sessions: 0,
        };
        let addresses = AddressProbe::new(lab.namespaces(), &history)?;
        probes.spawn_watcher("probe-address", move |stop| addresses.run(stop))?;
        let frames = FrameProbe::new(lab.lan(), &history)?;
        probes.spawn_watcher("probe-frames", move |stop| frames.run(stop))?;
        for keys in KeyProbe::all(lab, &history) {
            probes.spawn_watcher("probe-keys", move |stop| keys.run(stop))?;
        }
        for node in Node::DATABASES {
            let role = RoleProbe::new(node, lab.database(node).socket_dir(), &history);
            let runtime = runtime()?;
            probes.spawn_watcher(&format!("probe-role-{node}"), move |stop| role.run(stop, &runtime))?;
        }
        Ok(probes)
    }

    /// Adds the client in a hurry: every 10 ms a new connection to the VIP, one read, one insert, all within 200 ms.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn add_hasty_client(&mut self) -> Result<()> {
        let (target, history) = (self.target, self.history.clone());
        self.spawn_client("client-hasty", move |stop, runtime| clients::hasty(target, &history, stop, runtime))
    }

    /// Adds the patient client: every 50 ms a new connection to the VIP and one insert, with the kernel's defaults,
    /// without time limit and without a second try.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn add_patient_client(&mut self) -> Result<()> {
        let (target, history) = (self.target, self.history.clone());
        self.spawn_client("client-patient", move |stop, runtime| clients::patient(target, &history, stop, runtime))
    }

    /// Adds the careful client: every 50 ms a new connection to the VIP, one read, one insert of a value that nobody else
    /// uses, and that value read back, all within a second. The table is `careful (value bigint, node text)`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn add_careful_client(&mut self) -> Result<()> {
        let (target, history) = (self.target, self.history.clone());
        self.spawn_client("client-careful", move |stop, runtime| clients::careful(target, &history, stop, runtime))
    }

    /// Opens `count` connections to the VIP that then lie idle, with the kernel's default keepalive, until they are told
    /// that they are dead. Returns when all are open; they are numbered from 0 on over all calls.
    ///
    /// # Errors
    /// When one cannot be opened: somebody must hold the VIP.
    pub fn open_sessions(&mut self, count: usize) -> Result<std::ops::Range<usize>> {
        let numbers = self.sessions..self.sessions + count;
        self.sessions = numbers.end;
        let (target, history, range) = (self.target, self.history.clone(), numbers.clone());
        let (opened, result) = mpsc::sync_channel(1);
        self.spawn_client("client-sessions", move |stop, runtime| {
            let report = |result| drop(opened.send(result));
            clients::sessions(target, range, &history, stop, runtime, report);
        })?;
        result.recv().context("the probe ended")??;
        Ok(numbers)
    }

    /// What was seen so far. A clone goes on growing.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Ends all probes and returns what they saw. Attempts of the patient client that still wait are recorded as failed.
    #[must_use]
    pub fn stop(mut self) -> History {
        self.finish();
        self.history.clone()
    }

    fn finish(&mut self) {
        self.stop.set();
        for thread in self.threads.drain(..) {
            // A probe that panicked has said so on standard error.
            let _ = thread.join();
        }
    }

    /// What sees late stamps late: a watcher gets more of a busy machine than a client.
    fn spawn_watcher(&mut self, name: &str, work: impl FnOnce(&Stop) + Send + 'static) -> Result<()> {
        self.spawn(name, move |stop| {
            process::favour(gettid().as_raw().unsigned_abs());
            work(stop);
        })
    }

    fn spawn_client(&mut self, name: &str, work: impl FnOnce(&Stop, &Runtime) + Send + 'static) -> Result<()> {
        let namespace = self.client.clone();
        self.spawn(name, move |stop| {
            // Made and used in there: whatever thread the runtime starts is in the same network.
            let _ = namespace.run(|| runtime().map(|runtime| work(stop, &runtime)));
        })
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce(&Stop) + Send + 'static) -> Result<()> {
        let stop = self.stop.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&stop))?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.finish();
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

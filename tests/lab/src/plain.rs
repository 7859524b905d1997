//! The daemon of this project as a plain VRRP router, which follows nothing but its neighbours.

use std::fmt::Write;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::daemon::HTTP_PORT;
use crate::http::{self, Request};
use crate::netns::Namespace;
use crate::network::INTERFACE;
use crate::process::Process;
use crate::router::{Checksum, VirtualRouter};
use crate::segment::Segment;

/// The counter of packets that were not used, by reason.
const DISCARDS: &str = "pgvrrp_packets_discarded_total{";

/// What is no complaint: its own voice come back, and what was said to others.
const HARMLESS: [&str; 2] = ["own_address", "other_virtual_router"];

/// One that was started. Killed when dropped.
#[derive(Debug)]
pub struct Plain {
    config_path: PathBuf,
    log_path: PathBuf,
    namespace: Namespace,
    process: Process,
}

impl Plain {
    /// Writes the configuration and starts `binary run --config FILE`. Returns at once.
    ///
    /// # Errors
    /// When the file cannot be written or the program cannot be started.
    pub fn start(segment: &Segment, place: usize, routers: &[VirtualRouter], binary: &Path) -> Result<Self> {
        let runtime_dir = segment.dir(place).join("run");
        Self::start_with(segment, place, &config_of(&format!("r{}", place + 1), &runtime_dir, routers), binary)
    }

    /// The same with this configuration.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(segment: &Segment, place: usize, config: &str, binary: &Path) -> Result<Self> {
        let (dir, namespace) = (segment.dir(place), segment.namespace(place).clone());
        let (config_path, log_path) = (dir.join("pgvrrp.toml"), dir.join("pgvrrp.log"));
        fs::write(&config_path, config).with_context(|| format!("cannot write {config_path:?}"))?;
        let log = File::options().create(true).append(true).open(&log_path)?;
        let mut command = namespace.command(binary);
        command.arg("run").arg("--config").arg(&config_path).stdout(log.try_clone()?).stderr(log);
        let process = Process::spawn(&format!("pgvrrp in {}", namespace.name()), command)?;
        Ok(Self { config_path, log_path, namespace, process })
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// When it does not end with exit code 0 within 5 s.
    pub fn stop(&self) -> Result<()> {
        self.process.terminate(Duration::from_secs(5)).map(drop)
    }

    /// The process: its id, memory and CPU time.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Everything that it has written to standard output and standard error.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log_path).unwrap_or_default()
    }

    /// Its configuration file.
    #[must_use]
    pub fn config_path(&self) -> &Path {
        &self.config_path
    }

    /// Its metrics in Prometheus's text format.
    ///
    /// # Errors
    /// When it does not answer within a second.
    pub fn metrics(&self) -> Result<String> {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT));
        let answer =
            self.namespace.run(|| http::request(server, Request::get("/metrics"), Duration::from_secs(1)))??;
        Ok(answer.body)
    }

    /// The value of a series, such as `pgvrrp_adverts_total{vip="a",kind="sent"}`; 0 if there is none of that name.
    ///
    /// # Errors
    /// As [`Self::metrics`].
    pub fn metric(&self, series: &str) -> Result<f64> {
        let metrics = self.metrics()?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        Ok(value.unwrap_or_default())
    }

    /// The series that count advertisements which it did not take, other than those at zero.
    ///
    /// # Errors
    /// As [`Self::metrics`].
    pub fn complaints(&self) -> Result<Vec<String>> {
        let metrics = self.metrics()?;
        let harmless = |line: &str| HARMLESS.iter().any(|reason| line.contains(reason));
        let counts = metrics.lines().filter(|line| line.starts_with(DISCARDS) && !harmless(line));
        Ok(counts.map(ToOwned::to_owned).collect())
    }
}

/// The configuration of a node with these virtual routers.
#[must_use]
pub fn config_of(node: &str, runtime_dir: &Path, routers: &[VirtualRouter]) -> String {
    let mut text = format!(
        "node = \"{node}\"\ninterface = \"{INTERFACE}\"\nruntime_dir = \"{}\"\n\n[http]\nlisten = \"127.0.0.1:{HTTP_PORT}\"\n",
        runtime_dir.display(),
    );
    for router in routers {
        let VirtualRouter { id, priority, preempt, interface, .. } = router;
        let checksum = match router.checksum {
            Checksum::Auto => "auto",
            Checksum::Rfc9568 => "rfc9568",
            Checksum::Rfc5798 => "rfc5798",
        };
        let addresses = match router.addresses.as_slice() {
            [address] => format!("address = \"{address}\""),
            addresses => format!("addresses = {}", list(addresses)),
        };
        let _ = write!(
            text,
            "\n[[vip]]\n{addresses}\nvirtual_router_id = {id}\nfollows = \"none\"\npriority = {priority}\n\
             advertisement_interval = \"{}ms\"\nchecksum = \"{checksum}\"\npreempt = {preempt}\n",
            router.interval.as_millis(),
        );
        if *interface != INTERFACE {
            let _ = writeln!(text, "interface = \"{interface}\"");
        }
        if !router.track.is_empty() {
            let _ = writeln!(text, "track_interfaces = {:?}", router.track);
        }
        if !router.unicast_peers.is_empty() {
            let _ = writeln!(text, "unicast_peers = {}", list(&router.unicast_peers));
        }
    }
    text
}

fn list(addresses: &[IpAddr]) -> String {
    let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", quoted.join(", "))
}
